// error: E0308
// SPDX-License-Identifier: GPL-2.0

//! Sectors, pages and bytes are not the same.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::units::{
    ByteRange,
    PageOffset,
    Sector, //
};

fn mixed(sector: Sector) -> Option<ByteRange> {
    ByteRange::of_pages(sector, 1)
}

fn also_mixed(page: PageOffset, sector: Sector) -> bool {
    page < sector
}
