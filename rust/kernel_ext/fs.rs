// SPDX-License-Identifier: GPL-2.0

//! File systems and files.

pub mod io;
pub mod pseudo;
