// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! Nobody else looks at a fault, whose entries are read without a lock but that of its VMA.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::fault::Fault;

fn share(_: impl Sync) {}

fn lend(fault: Fault<'_>) {
    share(fault);
}
