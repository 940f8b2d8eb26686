// error: unsafe
// SPDX-License-Identifier: GPL-2.0

//! The driver has no unsafe code.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

fn raw(address: *const u8) -> u8 {
    unsafe { *address }
}
