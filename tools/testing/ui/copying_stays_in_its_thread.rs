// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! The RCU read lock is left by the thread that took it, whatever it is wrapped in.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Copying,
    Operations, //
};

fn send(_: impl Send) {}

fn hand_over<T: Operations>(copying: Copying<'_, T>) {
    send(copying);
}
