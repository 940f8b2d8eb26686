// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! The SRCU that keeps a device alive is left by the thread that entered it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Alive,
    Operations, //
};

fn send(_: impl Send) {}

fn hand_over<T: Operations>(alive: Alive<'_, T>) {
    send(alive);
}
