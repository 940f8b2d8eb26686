// error: E0599
// SPDX-License-Identifier: GPL-2.0

//! The memory does not go while the disk may have bios.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::disk::{
    Operations,
    Registration, //
};

fn early<T: Operations>(disk: Registration<T>) {
    let _ = disk.shut_down(|_| (), |_| ());
}
