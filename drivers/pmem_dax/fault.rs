// SPDX-License-Identifier: GPL-2.0

//! A page fault, from the address to the page table.

use crate::{
    device::Device,
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
        Table, //
    },
    mm::fault::{
        Fault,
        Outcome, //
    },
    trace::{
        self,
        Refusal, //
    },
    units::{
        Order,
        PageOffset, //
    }, //
};

/// The most pages that a fault of one page maps besides, where not all of a folio fits.
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
/// Inlined into the callback of each order, where the order is a constant.
#[inline(always)]
pub(crate) fn handle<const FS_DAX: bool>(mapping: &Mapping<FS_DAX>, fault: Fault<'_>) -> Outcome {
    let Some(page) = fault.block() else {
        return refuse(mapping.device(), fault, Refusal::Outside);
    };

    if fault.is_shared() {
        map(mapping, fault, page, true)
    } else {
        handle_private(mapping, fault, page)
    }
}

/// The same for memory that file systems may map too. fs/dax.c looks for bad blocks, inserts the
/// pages and copies them, and keeps others away from the same place. We say what may be mapped.
pub(crate) fn handle_by_entries<const FS_DAX: bool>(
    mapping: &Mapping<FS_DAX>,
    fault: Fault<'_>,
) -> Outcome {
    let order = fault.order();
    let device = mapping.device();
    let node = mapping.node();
    if order == Order::Pud {
        return refuse(mapping.device(), fault, Refusal::Order);
    }
    let Some(page) = fault.block() else {
        return refuse(mapping.device(), fault, Refusal::Outside);
    };
    let writable = fault.may_store();
    // Before anything else is looked at, as in `map`.
    let Some(entries) = device.dax.enter_entries() else {
        return refuse(device, fault, Refusal::Removed);
    };

    if !lie_before(page, order.pages(), node.end()) {
        return refuse(device, fault, Refusal::End);
    }
    if writable && node.is_read_only() {
        return refuse(device, fault, Refusal::ReadOnly);
    }
    if writable && !mark(device, page, order) {
        return refuse(device, fault, Refusal::Sparse);
    }
    let outcome = entries.map(&fault);

    if outcome.is_refusal() {
        trace::fault_refused(&device.dax.data().name, &fault, Refusal::Entries);
    }
    outcome
}

/// Marks what is about to be mapped for stores. Returns false if it is not to be mapped by a page as
/// large as that.
#[inline(always)]
fn mark(device: &Device, page: PageOffset, order: Order) -> bool {
    match order {
        Order::Pte => device.dirty.mark_page(page),
        Order::Pmd => return device.dirty.mark_block(page),
        Order::Pud => device.dirty.mark_blocks(page, order.pages()),
    }
    true
}

/// Does not map what `fault` is for.
#[cold]
#[inline(never)]
fn refuse(device: &Device, fault: Fault<'_>, reason: Refusal) -> Outcome {
    trace::fault_refused(&device.dax.data().name, &fault, reason);
    fault.refuse()
}

/// The same for bad memory. A function of its own, so that the way to neither of them has to say
/// which it is.
#[cold]
#[inline(never)]
fn refuse_bad(device: &Device, fault: Fault<'_>) -> Outcome {
    trace::fault_refused(&device.dax.data().name, &fault, Refusal::Poison);
    match fault.order() {
        Order::Pte => Outcome::HW_POISON,
        _ => fault.refuse(),
    }
}

#[cold]
fn handle_private<const FS_DAX: bool>(
    mapping: &Mapping<FS_DAX>,
    fault: Fault<'_>,
    page: PageOffset,
) -> Outcome {
    match fault.order() {
        // fork would copy the entry without counting it (mm/huge_memory.c: copy_huge_pud).
        Order::Pud => refuse(mapping.device(), fault, Refusal::Private),
        _ if fault.is_write() => copy(mapping, fault, page),
        _ => map(mapping, fault, page, false),
    }
}

#[inline(always)]
fn map<const FS_DAX: bool>(
    mapping: &Mapping<FS_DAX>,
    fault: Fault<'_>,
    page: PageOffset,
    shared: bool,
) -> Outcome {
    let order = fault.order();
    let writable = shared && fault.may_store();
    let device = mapping.device();
    let node = mapping.node();

    if order == Order::Pud && order != device.dax.largest() {
        return refuse(device, fault, Refusal::Order);
    }
    if order != Order::Pte && fault.is_watched() {
        return refuse(device, fault, Refusal::Watched);
    }
    // Before anything else is looked at, as `Device::refault` is to catch what is found now.
    let Some(table) = device.dax.enter_table(page) else {
        return refuse(device, fault, Refusal::Removed);
    };
    if !lie_before(page, order.pages(), node.end()) {
        return refuse(device, fault, Refusal::End);
    }
    // A load would map the page for stores too, since the mapping is one for stores.
    if writable && node.is_read_only() {
        return refuse(device, fault, Refusal::ReadOnly);
    }
    let block = match table.direct_access(page, order) {
        Access::Block(block) => block,
        Access::Poisoned => return refuse_bad(device, fault),
        Access::Refused => return refuse(device, fault, Refusal::Unaligned),
    };

    if fault.is_superseded() || order == Order::Pte && !fault.ensure_table() {
        return Outcome::NO_PAGE;
    }
    // Before the page is there to be stored to, so that no sync can miss it.
    if writable && !mark(device, page, order) {
        return refuse(device, fault, Refusal::Sparse);
    }
    if order == Order::Pte {
        if let Some(outcome) = map_run(mapping, &table, &fault, writable) {
            return outcome;
        }
    }
    let outcome = fault.insert(block, shared && fault.is_write());

    if order == Order::Pte {
        device.order.set_next(PageOffset(page.0 + 1));
    }
    outcome
}

/// Maps the pages behind that of `fault` too, if it is the one that was expected and all of them are
/// good. `None` if the page of the fault was not mapped: it has to be, by itself.
#[inline(always)]
fn map_run<const FS_DAX: bool>(
    mapping: &Mapping<FS_DAX>,
    table: &Table<'_, Media>,
    fault: &Fault<'_>,
    writable: bool,
) -> Option<Outcome> {
    let device = mapping.device();
    if !device.order.is_next(fault.page()) {
        return None;
    }
    let run = fault.run(MOST_FOLLOWERS)?;
    let (first, pages) = run.reach();

    if !lie_before(first, pages, mapping.node().end()) {
        return None;
    }
    if writable {
        device.dirty.mark_pages(first, pages);
    }
    let outcome = table.map_run(fault, &run)?;

    device.order.set_next(PageOffset(run.last().0 + 1));
    Some(outcome)
}

/// Copies what a process stores to in a private mapping.
fn copy<const FS_DAX: bool>(
    mapping: &Mapping<FS_DAX>,
    fault: Fault<'_>,
    page: PageOffset,
) -> Outcome {
    let order = fault.order();

    if order != Order::Pte {
        return refuse(mapping.device(), fault, Refusal::Private);
    }
    let dax = &mapping.device().dax;
    let Some(table) = dax.enter_table(page) else {
        return refuse(mapping.device(), fault, Refusal::Removed);
    };
    if !lie_before(page, 1, mapping.node().end()) {
        return refuse(mapping.device(), fault, Refusal::End);
    }

    match table.direct_access(page, order) {
        Access::Block(block) => fault.copy(block),
        Access::Poisoned => refuse_bad(mapping.device(), fault),
        Access::Refused => refuse(mapping.device(), fault, Refusal::Unaligned),
    }
}
