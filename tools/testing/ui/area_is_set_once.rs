// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! A mapping gets its file once: the second would leak the reference of the first.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    fs::pseudo::BackingFile,
    mm::mapping::{
        Area,
        Operations, //
    },
    units::PageOffset,
};

fn twice<T: Operations>(area: Area<'_>, file: &BackingFile) {
    area.set_file::<T>(file, PageOffset(0));
    area.set_file::<T>(file, PageOffset(0));
}
