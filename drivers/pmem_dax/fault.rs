// SPDX-License-Identifier: GPL-2.0

//! A page fault, from the address to the page table.

use crate::{
    geometry::lie_before,
    mapping::Mapping, //
};
use kernel_ext::{
    dax::Access,
    mm::fault::{
        Fault,
        Outcome, //
    },
    units::Order, //
};

/// Maps what a process touched.
///
/// Everything is looked at anew in each fault: the size, since a partition may shrink while it is
/// mapped; whether the device is there, since it may be removed; and the bad blocks.
///
/// Inlined into the callback of each order, where `order` is a constant.
#[inline(always)]
pub(crate) fn handle(mapping: &Mapping, fault: &mut Fault<'_>, order: Order) -> Outcome {
    let device = mapping.device();
    let node = mapping.node();

    let Some(page) = fault.block(order) else {
        return Outcome::FALLBACK;
    };
    if !lie_before(page, order.pages(), node.end()) {
        return Outcome::refuse(order);
    }
    // A load would map the page for stores too, since the mapping is one for stores.
    if fault.is_writable() && node.is_read_only() {
        return Outcome::refuse(order);
    }
    let copy_on_write = fault.is_write() && !fault.is_shared();
    if copy_on_write && order != Order::Pte {
        return Outcome::FALLBACK;
    }
    // fork would copy the entry without counting it (mm/huge_memory.c: copy_huge_pud).
    if order == Order::Pud && (order != device.dax.largest() || !fault.is_shared()) {
        return Outcome::FALLBACK;
    }

    let Some(alive) = device.dax.enter() else {
        return Outcome::refuse(order);
    };
    let block = match alive.direct_access(page, order) {
        Access::Block(block) => block,
        Access::Poisoned if order == Order::Pte => return Outcome::HW_POISON,
        Access::Poisoned | Access::Refused => return Outcome::refuse(order),
    };
    if copy_on_write {
        return fault.copy(block);
    }

    let _table = device.lock_table(fault.table_key(device.dax.largest()));
    if fault.is_superseded(order) {
        return Outcome::NO_PAGE;
    }
    // Before the page is there to be stored to, so that no sync can miss it.
    if fault.is_writable() {
        device.dirty.mark_block(page, order);
    }
    fault.insert(block)
}
