// SPDX-License-Identifier: GPL-2.0

//! A page fault, from the address to the page table.

use crate::{
    geometry::lie_before,
    mapping::Mapping,
    poison::Media, //
};
use core::sync::atomic::{
    AtomicUsize,
    Ordering, //
};
use kernel_ext::{
    dax::{
        Access,
        Alive,
        Block, //
    },
    mm::fault::{
        Fault,
        Outcome, //
    },
    units::{
        Order,
        PageOffset, //
    }, //
};

/// The most pages that a fault of one page maps besides.
const MOST_FOLLOWERS: usize = 64;

/// Which pages will be touched next if somebody goes through the memory in order.
///
/// A guess, of which several may go on at once: one for each chunk of 2 MiB, more or less.
pub(crate) struct TouchOrder {
    next: [AtomicUsize; Self::GUESSES],
}

impl TouchOrder {
    const GUESSES: usize = 64;

    pub(crate) fn new() -> Self {
        Self {
            next: [const { AtomicUsize::new(0) }; Self::GUESSES],
        }
    }

    #[inline]
    fn guess(&self, page: PageOffset) -> &AtomicUsize {
        &self.next[page.0 / Order::Pmd.pages() % Self::GUESSES]
    }

    /// Whether `page` is the one that was expected.
    #[inline]
    pub(crate) fn is_next(&self, page: PageOffset) -> bool {
        self.guess(page).load(Ordering::Relaxed) == page.0
    }

    /// Expects `page` to be touched next.
    #[inline]
    pub(crate) fn set_next(&self, page: PageOffset) {
        self.guess(page).store(page.0, Ordering::Relaxed);
    }
}

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
    if fault.is_write() && !fault.is_shared() {
        return copy(mapping, fault, page, order);
    }
    // fork would copy the entry without counting it (mm/huge_memory.c: copy_huge_pud).
    if order == Order::Pud && (order != device.dax.largest() || !fault.is_shared()) {
        return Outcome::FALLBACK;
    }

    // From here on, as `Device::refault` is to catch what is found now.
    let _table = device.lock_table(fault.table_key(device.dax.largest()));
    if !lie_before(page, order.pages(), node.end()) {
        return Outcome::refuse(order);
    }
    // A load would map the page for stores too, since the mapping is one for stores.
    if fault.is_writable() && node.is_read_only() {
        return Outcome::refuse(order);
    }
    let Some(alive) = device.dax.enter() else {
        return Outcome::refuse(order);
    };
    let block = match find(&alive, page, order) {
        Ok(block) => block,
        Err(outcome) => return outcome,
    };

    if fault.is_superseded(order) {
        return Outcome::NO_PAGE;
    }
    // Before the page is there to be stored to, so that no sync can miss it.
    if fault.is_writable() {
        device.dirty.mark_block(page, order);
    }
    let outcome = fault.insert(block);

    if order == Order::Pte && outcome == Outcome::NO_PAGE {
        let mut last = page.0;

        if device.order.is_next(page) {
            let followers = fault.followers(MOST_FOLLOWERS);

            if followers != 0 {
                insert_followers(mapping, fault, &alive, page, followers);
                last += followers;
            }
        }
        device.order.set_next(PageOffset(last + 1));
    }
    outcome
}

/// Copies what a process stores to in a private mapping.
#[cold]
fn copy(mapping: &Mapping, fault: &mut Fault<'_>, page: PageOffset, order: Order) -> Outcome {
    if order != Order::Pte {
        return Outcome::FALLBACK;
    }
    if !lie_before(page, 1, mapping.node().end()) {
        return Outcome::refuse(order);
    }
    let Some(alive) = mapping.device().dax.enter() else {
        return Outcome::refuse(order);
    };

    match find(&alive, page, order) {
        Ok(block) => fault.copy(block),
        Err(outcome) => outcome,
    }
}

/// The block to be mapped, or what the fault comes to without one.
#[inline(always)]
fn find<'a>(
    alive: &'a Alive<'_, Media>,
    page: PageOffset,
    order: Order,
) -> Result<Block<'a>, Outcome> {
    match alive.direct_access(page, order) {
        Access::Block(block) => Ok(block),
        Access::Poisoned if order == Order::Pte => Err(Outcome::HW_POISON),
        Access::Poisoned | Access::Refused => Err(Outcome::refuse(order)),
    }
}

/// Maps the `pages` pages behind `page` too, or none of them.
fn insert_followers(
    mapping: &Mapping,
    fault: &Fault<'_>,
    alive: &Alive<'_, Media>,
    page: PageOffset,
    pages: usize,
) {
    let Some(next) = page.checked_add(1) else {
        return;
    };
    if !lie_before(next, pages, mapping.node().end()) {
        return;
    }
    let Some(run) = alive.run(next, pages) else {
        return;
    };

    if fault.is_writable() {
        // The fault's own page marked the chunk that the first one is in.
        mapping
            .device()
            .dirty
            .mark_block(PageOffset(page.0 + pages), Order::Pte);
    }
    fault.insert_followers(run);
}
