// error: E0505
// SPDX-License-Identifier: GPL-2.0

//! What the memory comes from goes with it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::dax::{
    Device,
    Operations, //
};

fn late<T: Operations>(device: &Device<T>) -> Option<()> {
    let entered = device.enter()?;
    let provider = entered.provider();

    drop(entered);
    let _ = core::ptr::from_ref(provider);
    Some(())
}
