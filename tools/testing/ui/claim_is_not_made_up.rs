// error: E0423
// SPDX-License-Identifier: GPL-2.0

//! A device is held only by claiming it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::Claim;

fn pretend() -> Claim {
    Claim(core::ptr::NonNull::dangling())
}
