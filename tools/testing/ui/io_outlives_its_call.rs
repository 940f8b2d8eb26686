// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! The control block of a read or a write is that of the call.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::fs::io::Io;

fn keep(io: Io<'_>) -> Io<'static> {
    io
}
