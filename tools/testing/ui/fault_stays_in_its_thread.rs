// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! A fault is handled by the thread that took it, under the lock of its VMA.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::fault::Fault;

fn send(_: impl Send) {}

fn hand_over(fault: Fault<'_>) {
    send(fault);
}
