// SPDX-License-Identifier: GPL-2.0

//! Memory management: mappings, faults and the pages of a device.

pub mod fault;
pub mod mapping;
pub(crate) mod memory_failure;
pub mod memremap;
