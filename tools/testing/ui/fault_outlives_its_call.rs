// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! A fault is over when its handler returns.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::fault::Fault;

fn keep(fault: Fault<'_>) -> Fault<'static> {
    fault
}
