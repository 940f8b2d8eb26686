// error: E0505
// SPDX-License-Identifier: GPL-2.0

//! The memory of a device may be gone once nobody keeps it alive.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::{
        Device,
        Operations, //
    },
    units::ByteRange,
};

fn late<T: Operations>(device: &Device<T>, range: ByteRange) -> Option<()> {
    let alive = device.enter()?;
    let memory = alive.memory();

    drop(alive);
    memory.write_back(range);
    Some(())
}
