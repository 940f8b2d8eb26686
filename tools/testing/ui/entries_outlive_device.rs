// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! The proof that memory of file systems is there does not outlive the device.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Device,
    Entries,
    Operations, //
};

fn keep<T: Operations>(device: &Device<T>) -> Option<Entries<'static, T>> {
    device.enter_entries()
}
