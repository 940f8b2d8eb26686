// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! A mapping is prepared by who holds the lock of the mm.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::mapping::Area;

fn send(_: impl Send) {}

fn hand_over(area: Area<'_>) {
    send(area);
}
