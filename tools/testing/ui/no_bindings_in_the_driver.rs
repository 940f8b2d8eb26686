// error: E0433
// SPDX-License-Identifier: GPL-2.0

//! The driver cannot reach the bindings, which are for kernel_ext only.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

fn raw() -> usize {
    core::mem::size_of::<pmem_bindings::dax_operations>()
}
