// error: E0505
// SPDX-License-Identifier: GPL-2.0

//! A page must not be mapped once the device may be gone.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::{
        Access,
        Device,
        Operations, //
    },
    mm::fault::{
        Fault,
        Outcome, //
    },
    units::{
        Order,
        PageOffset, //
    },
};

fn late<T: Operations>(device: &Device<T>, fault: &Fault<'_>, page: PageOffset) -> Option<Outcome> {
    let table = device.enter_table(page)?;
    let Access::Block(block) = table.direct_access(page, Order::Pte) else {
        return None;
    };

    drop(table);
    Some(fault.insert(block, false))
}
