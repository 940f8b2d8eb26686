// SPDX-License-Identifier: GPL-2.0

//! What a persistent memory block driver needs and the `kernel` crate does not have yet.
//!
//! The modules mirror the paths that they would have in `kernel`. They know nothing of the driver
//! that uses them. All unsafe code of the project is in this crate.

#![crate_name = "kernel_ext"]

use pmem_bindings as bindings;

#[doc(hidden)]
#[allow(dead_code)]
const __LOG_PREFIX: &[u8] = b"kernel_ext\0";

pub mod badblocks;
pub mod block;
pub mod compat;
pub mod dax;
mod device;
mod error;
pub mod fs;
mod ftrace;
pub mod mm;
mod module;
pub mod module_param;
pub mod nvdimm;
pub mod platform;
pub mod pmem;
pub mod ratelimit;
pub mod task;
#[cfg(CONFIG_KUNIT)]
mod tests;
pub mod trace;
pub mod units;
