// SPDX-License-Identifier: GPL-2.0

//! The parts of the tool pmem-dax(8).
//!
//! In the order in which they use each other: [`root`] is where files are read, [`size`] how a
//! size is shown, [`log`] the log of the kernel, [`loops`] the only system call that is not safe. [`key`]
//! is by what a namespace is called, [`probe`] reads attributes that may block, [`bus`] is what the nd bus
//! has, [`modprobe`] and [`strict`] what the next boot makes of it, and [`users`] finds the users of a
//! disk. [`answer`] is what another program says, [`fstab`] what is mounted at boot, and [`signatures`]
//! what a move changes for what is on a disk. [`report`] and [`check`] answer questions, [`claims`],
//! [`moves`], [`refused`] and [`hold`] change something, and [`cli`] is what is typed.

#![deny(unsafe_code)]

pub mod answer;
pub mod bus;
pub mod check;
pub mod claims;
pub mod cli;
pub mod failure;
pub mod fstab;
pub mod hold;
pub mod key;
pub mod log;
pub mod loops;
pub mod modprobe;
pub mod moves;
pub mod probe;
pub mod refused;
pub mod report;
pub mod root;
pub mod signatures;
pub mod size;
pub mod strict;
pub mod users;
