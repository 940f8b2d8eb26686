// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! Nobody but the call uses its control block.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::fs::io::Io;

fn send(_: impl Send) {}

fn hand_over(io: Io<'_>) {
    send(io);
}
