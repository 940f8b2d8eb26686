// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! The SRCU of faults is left by the thread that entered it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Entries,
    Operations, //
};

fn send(_: impl Send) {}

fn hand_over<T: Operations>(entries: Entries<'_, T>) {
    send(entries);
}
