// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! Memory is not kept for longer than what proves that it is there.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::{
        Alive,
        Operations, //
    },
    pmem::Memory,
};

fn keep<T: Operations>(alive: &Alive<'_, T>) -> Memory<'static> {
    alive.memory()
}
