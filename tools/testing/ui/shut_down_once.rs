// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! The memory goes once.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::disk::{
    Operations,
    Removed, //
};

fn twice<T: Operations>(disk: Removed<T>) {
    let _ = disk.shut_down(|_| (), |_| ());
    let _ = disk.shut_down(|_| (), |_| ());
}
