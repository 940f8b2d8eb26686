// SPDX-License-Identifier: GPL-2.0

//! The block layer, as far as a driver without a request queue needs it.

pub mod attribute;
pub mod bio;
pub mod disk;
pub mod node;
pub(crate) mod opening;
