// error: none
// SPDX-License-Identifier: GPL-2.0

//! Right use of what the others misuse.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::{
        Access,
        Device,
        Operations, //
    },
    units::{
        ByteRange,
        Order,
        PageOffset, //
    },
};

fn last_page<T: Operations>(device: &Device<T>, page: PageOffset) -> Option<Order> {
    let alive = device.enter()?;

    alive.memory().write_back(ByteRange::of_pages(page, 1)?);
    match device
        .enter_table(page)?
        .direct_access(page.checked_add(1)?, Order::Pte)
    {
        Access::Block(block) => Some(block.order()),
        _ => None,
    }
}
