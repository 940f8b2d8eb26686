// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! What mmap(2) prepares is gone when it was made.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::mapping::Area;

fn keep(area: Area<'_>) -> Area<'static> {
    area
}
