// SPDX-License-Identifier: GPL-2.0

//! Bindings of the C interfaces that the kernel crate does not have.
//!
//! Only `kernel_ext` may use this crate. Types that the kernel crate has are taken from there, so
//! a `struct device` is the same type in both.

#![crate_name = "pmem_bindings"]
#![allow(
    clippy::all,
    missing_docs,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    improper_ctypes,
    unreachable_pub,
    unsafe_op_in_unsafe_fn,
    dead_code,
    unused_imports
)]

#[allow(clippy::undocumented_unsafe_blocks)]
mod generated {
    use kernel::{
        bindings::*,
        ffi,
        prelude::Zeroable, //
    };

    include!(env!("PMEM_BINDINGS"));
}

pub use generated::*;
pub use kernel::bindings::*;

// The kernel crate has these by name only, or where the kernel has no macro, or inline function, for
// them.
pub use generated::{
    badblocks,
    cc_platform_has,
    ftrace_func_entry,
    ftrace_hash,
    iomap,
    iomap_ops,
    synchronize_rcu_tasks, //
};
