// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! The proof that memory is there does not outlive the device.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::{
        Device,
        Operations,
        Table, //
    },
    units::PageOffset,
};

fn keep<T: Operations>(device: &Device<T>) -> Option<Table<'static, T>> {
    device.enter_table(PageOffset(0))
}
