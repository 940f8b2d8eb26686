// error: E0608
// SPDX-License-Identifier: GPL-2.0

//! Memory that other processes store to is copied, never borrowed as bytes.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::pmem::Memory;

fn borrow(memory: Memory<'_>) -> u8 {
    memory[0]
}
