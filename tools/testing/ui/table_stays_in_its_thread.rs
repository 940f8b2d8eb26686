// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! A mutex of page tables is unlocked by the thread that locked it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Operations,
    Table, //
};

fn send(_: impl Send) {}

fn hand_over<T: Operations>(table: Table<'_, T>) {
    send(table);
}
