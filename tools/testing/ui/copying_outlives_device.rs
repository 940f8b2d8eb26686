// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! Who copies from a device cannot keep that for longer than the device.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Copying,
    Device,
    Operations, //
};

fn keep<T: Operations>(device: &Device<T>) -> Option<Copying<'static, T>> {
    device.enter_to_copy()
}
