// SPDX-License-Identifier: GPL-2.0

//! Making durable what was stored through mappings.
//!
//! A sync writes back what is [marked](crate::dirty), and takes away the marks of what nothing can
//! store to any more without a fault that marks it again. For that, in this order, it
//!
//! 1. *takes* the marks;
//! 2. *waits* for the faults that there are, of which one may have found the mark still there;
//! 3. *protects*: it makes large pages read-only where they are mapped, so that reads go on, and
//!    removes single ones, as mm makes those writable again without asking
//!    (mm/memory.c: wp_page_shared); TLBs are flushed with that;
//! 4. *asks for references* that are not of mappings, and marks again what has one: who pins a page
//!    stores to it without a fault, and munmap(2), which clears an entry first and flushes TLBs
//!    later, has one until then. Not so for a dirty entry of a single page, which has all its counts up
//!    to the flush. That comes under the lock of the page table, which step 3 takes, too; or if the
//!    table is gone by then (PT_RECLAIM), step 3 finds that another flush is due, and flushes all
//!    (mm/mmu_gather.c: tlb_finish_mmu). So single pages have to be removed, not protected;
//! 5. *writes back*, and flushes the region.
//!
//! What is stored between 3 and 5 has marked the page again, so the next sync finds it. Several syncs work
//! side by side. What another one has, which took its marks and did not write it back yet, a sync waits for,
//! when all else is done. One that comes later finds nothing marked, and its own flush is enough: the CPU that
//! wrote back has done an atomic operation since, which waits for that as a fence does (Intel SDM, CLWB; on
//! arm64 dcache_clean_pop ends with a barrier). But where a flush may fail a sync waits for all of another, and
//! what that took is marked again if its flush failed; there a host flushes for one after the other anyway
//! (nd_virtio.c: virtio_pmem_flush). What is a part of a chunk alone is written back, whoever has it, and
//! stays marked.

use crate::{
    claim::Mode,
    device::Device,
    dirty::{
        bits_from,
        set_bits,
        Chunk,
        Dirty,
        Taken, //
    },
    geometry::PMD_SIZE,
    poison::Media, //
};
use core::sync::atomic::{
    AtomicBool,
    Ordering, //
};
use kernel::{
    new_condvar, new_mutex, new_spinlock,
    prelude::*,
    sync::{
        CondVar,
        Mutex,
        SpinLock, //
    },
    time::{
        Instant,
        Monotonic, //
    },
};
use kernel_ext::{
    dax::Alive,
    trace,
    units::{
        ByteRange,
        PageOffset,
        PAGE_SHIFT, //
    },
};

/// On whose account a sync is.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Account {
    /// A user's who wants his stores durable: fsync(2), msync(2). It tells how he stores.
    User,
    /// Everybody's: sync(2), BLKFLSBUF, sleep, the end of a mapping.
    System,
}

/// How often a sync that waits for others may find that yet others came first.
const PATIENCE: u32 = 8;

/// Where syncs wait for one another.
#[pin_data]
pub(crate) struct Syncs {
    // Whether a flush may fail: it is the host's.
    may_fail: bool,
    // Held until what a flush failed for is marked again.
    #[pin]
    whole: Mutex<()>,
    // Where syncs wait for those that have what they want of a word.
    #[pin]
    queues: [Queue; 16],
    // From when on the time of syncs is counted.
    since: Instant<Monotonic>,
}

#[pin_data]
struct Queue {
    is_empty: AtomicBool,
    #[pin]
    waiters: SpinLock<u32>,
    #[pin]
    over: CondVar,
}

impl Queue {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            is_empty: AtomicBool::new(true),
            waiters <- new_spinlock!(0, "pmem_dax waiting syncs"),
            over <- new_condvar!("pmem_dax waiting syncs"),
        })
    }
}

impl Syncs {
    /// `may_fail` says whether a flush may.
    pub(crate) fn new(may_fail: bool) -> impl PinInit<Self> {
        pin_init!(Self {
            may_fail,
            whole <- new_mutex!((), "pmem_dax syncs"),
            queues <- pin_init::pin_init_array_from_fn(|_| Queue::new()),
            since: Instant::now(),
        })
    }

    fn queue(&self, index: u64) -> &Queue {
        &self.queues[index as usize % self.queues.len()]
    }
}

impl Device {
    /// Makes durable what was stored through mappings within `range`, of the node that has the bytes
    /// `node`. May sleep.
    ///
    /// # Errors
    ///
    /// If the region cannot be flushed; the marks stay.
    #[inline]
    pub(crate) fn sync_stores(
        &self,
        alive: &Alive<'_, Media>,
        node: ByteRange,
        range: ByteRange,
        account: Account,
    ) -> Result {
        // Most calls for a part of the node are for a small one, which has no chunk as a whole.
        if range.len() < PMD_SIZE && node.start() < range.start() && range.end() < node.end() {
            if self.dax.has_write_cache() {
                self.write_back_marked(alive, range);
            }
            return alive.provider().flush(alive);
        }
        let _whole = match self.syncs.may_fail {
            true => Some(self.syncs.whole.lock()),
            false => None,
        };
        let shares = self.dirty.marked(range);

        if shares != 0 && self.dax.has_write_cache() {
            return self.sync_shares(alive, node, range, shares, account);
        }
        alive.provider().flush(alive)
    }

    #[inline(never)]
    fn sync_shares(
        &self,
        alive: &Alive<'_, Media>,
        node: ByteRange,
        range: ByteRange,
        shares: u64,
        account: Account,
    ) -> Result {
        let Some(whole) = self.whole_units(node, range) else {
            self.write_back_marked(alive, range);
            return alive.provider().flush(alive);
        };

        if account == Account::User {
            let now = self.syncs.since.elapsed().as_millis();

            self.dirty.begin(now as u64);
        }
        let at_work = self.dirty.at_work();
        let mut taken = Taken::new();
        let mut later = 0;

        // Not all begin at the same one. What others have is waited for when there is nothing else to do.
        for share in bits_from(shares, at_work.turn()) {
            if self.sync_share(alive, share, whole, account, &mut taken, false) {
                later |= 1 << share;
            }
        }
        for share in set_bits(later) {
            self.sync_share(alive, share, whole, account, &mut taken, true);
        }
        self.write_back_marked(alive, range.before(whole.start()));
        self.write_back_marked(alive, range.from(whole.end()));
        let result = alive.provider().flush(alive);

        if self.syncs.may_fail {
            self.dirty.release(shares, result.is_err());
        }
        drop(at_work);
        result
    }

    /// The units by which marks are taken, chunks or folios of 1 GiB, of which `range` has all that is
    /// the node's. What else is in one at an end of the node is synced too: once, instead of a part of it
    /// each time. `None` if there are none.
    fn whole_units(&self, node: ByteRange, range: ByteRange) -> Option<ByteRange> {
        let first = self.unit(range.start())?;
        let last = self.unit(range.end().checked_sub(1)?)?;
        let start = match range.start() == first.start() || range.start() <= node.start() {
            true => first.start(),
            false => first.end(),
        };
        let end = match range.end() == last.end() || range.end() >= node.end() {
            true => last.end(),
            false => last.start(),
        };

        ByteRange::new(start, end.checked_sub(start)?).filter(|whole| !whole.is_empty())
    }

    /// The unit that has the byte at `offset`.
    fn unit(&self, offset: u64) -> Option<ByteRange> {
        let start = offset / PMD_SIZE * PMD_SIZE;
        let page = PageOffset((start >> PAGE_SHIFT) as usize);

        self.dax
            .gigantic(page)
            .or_else(|| ByteRange::new(start, PMD_SIZE))
    }

    /// Takes the marks of a share, of what is in `whole`, and writes that back. What another sync has is
    /// waited for, if `waits`. Returns whether something is left to be.
    fn sync_share(
        &self,
        alive: &Alive<'_, Media>,
        share: u64,
        whole: ByteRange,
        account: Account,
        taken: &mut Taken,
        waits: bool,
    ) -> bool {
        let dirty = &self.dirty;
        let mut is_left = false;

        for index in dirty.words(share) {
            let mut wanted = Dirty::within(index, whole);

            loop {
                let others = dirty.take(index, wanted, taken);

                if taken.mask() != 0 {
                    // What stays marked, as it is pinned, is written back once.
                    wanted &= !taken.mask();
                    self.sync_taken(alive, taken, account);
                } else if others != 0 && waits {
                    wanted &= !self.wait_for(alive, index, others);
                } else {
                    is_left |= others != 0;
                    break;
                }
            }
        }
        if !self.syncs.may_fail {
            dirty.settle(share);
        }
        is_left
    }

    /// Waits for other syncs, which have those chunks of a word. May sleep.
    ///
    /// One after the other may have them before this one is on a CPU again. So in the end it writes back what is
    /// marked of them. Returns of which.
    #[cold]
    fn wait_for(&self, alive: &Alive<'_, Media>, index: u64, chunks: u64) -> u64 {
        let queue = self.syncs.queue(index);
        let mut waiters = queue.waiters.lock();

        queue.is_empty.store(false, Ordering::SeqCst);
        *waiters += 1;
        for _ in 0..PATIENCE {
            if !self.dirty.is_taken(index, chunks) {
                break;
            }
            queue.over.wait(&mut waiters);
        }
        *waiters -= 1;
        queue.is_empty.store(*waiters == 0, Ordering::SeqCst);
        drop(waiters);
        if !self.dirty.is_taken(index, chunks) {
            return 0;
        }
        set_bits(chunks)
            .filter_map(|bit| Dirty::chunk(index, bit))
            .for_each(|chunk| self.write_back_marked(alive, chunk));
        chunks
    }

    /// What was taken is written back, and others need not wait for it any more.
    fn written(&self, taken: &Taken) {
        let queue = self.syncs.queue(taken.index());

        self.dirty.written(taken);
        if !queue.is_empty.load(Ordering::SeqCst) {
            // Who found it taken waits by now.
            drop(queue.waiters.lock());
            queue.over.notify_all();
        }
    }

    fn sync_taken(&self, alive: &Alive<'_, Media>, taken: &Taken, account: Account) {
        self.dax
            .wait_for_faults_at(taken.chunks().map(|chunk| chunk.page()));
        let mut gigantic = None;
        let mut pinned = 0u64;

        for (i, chunk) in taken.chunks().enumerate() {
            // It stays marked, and who pins a lot of memory has no use of a fault for each of it.
            if chunk.range().is_some_and(|range| alive.is_pinned(range)) {
                pinned |= 1 << i;
            } else {
                self.protect(&chunk, &mut gigantic);
            }
        }
        for (i, chunk) in taken.chunks().enumerate() {
            // Of what is protected it is asked now: see above.
            if pinned >> i & 1 != 0 || self.is_referenced(alive, &chunk) {
                self.dirty.give_back(&chunk);
            } else if account == Account::User && self.dax.gigantic(chunk.page()).is_none() {
                self.dirty.decide(&chunk);
            }
        }
        // Now, so that what a pin stored before it went is written back.
        for chunk in taken.chunks() {
            chunk.for_each_part(|part| self.write_back(alive, part));
        }
        if !self.syncs.may_fail {
            self.written(taken);
        }
    }

    /// Whether what was taken of a chunk may be stored to without a mapping.
    fn is_referenced(&self, alive: &Alive<'_, Media>, chunk: &Chunk<'_>) -> bool {
        match (self.mode, chunk.range()) {
            (Mode::Generic, Some(range)) => alive.is_referenced(range),
            _ => {
                let mut any = false;

                chunk.for_each_part(|part| any |= alive.is_referenced(part));
                any
            }
        }
    }

    /// Lets nobody store to what was taken of a chunk without a fault. `gigantic` is the folio of 1 GiB that
    /// was removed last.
    fn protect(&self, chunk: &Chunk<'_>, gigantic: &mut Option<ByteRange>) {
        if let Chunk::Block(_) | Chunk::Pages(_, true, _) = chunk {
            if let Some(folio) = self.dax.gigantic(chunk.page()) {
                // C cannot protect such an entry (mm/page_vma_mapped.c: page_vma_mapped_walk).
                if gigantic.replace(folio) != Some(folio) {
                    self.dax.unmap(folio);
                }
                return;
            }
            // Also if there are pages beside: it waits for who moves the entry, as to remove it does not
            // (mm/huge_memory.c: move_huge_pmd, mm/memory.c: zap_pmd_range).
            if self.dax.write_protect(chunk.page()) && matches!(chunk, Chunk::Block(_)) {
                return;
            }
        }
        chunk.for_each_part(|part| self.dax.unmap(part));
    }

    /// Writes back what is marked of `range`, and leaves it marked.
    pub(crate) fn write_back_marked(&self, alive: &Alive<'_, Media>, range: ByteRange) {
        self.dirty
            .for_each(range, |part| self.write_back(alive, part));
    }

    fn write_back(&self, alive: &Alive<'_, Media>, part: ByteRange) {
        let media = self.dax.data();

        // What is bad is lost, and may not be mapped in the kernel.
        media.for_each_good_part(part, |part| {
            if !part.is_empty() {
                alive.memory().write_back(part);
                trace::write_back(&media.name, part);
            }
        });
    }
}
