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
//! 5. *writes back*, and flushes the region. If that fails, all is marked again.
//!
//! What is stored between 3 and 5 has marked the page again, so the next sync finds it. A sync of the
//! same part of the device waits for the one that is there ([`Claim`]), so none returns before what
//! it was called for is durable. What is a part of a chunk alone is written back, whoever took its
//! marks, and stays marked.

use crate::{
    claim::Mode,
    device::Device,
    dirty::{
        set_bits,
        Chunk,
        Dirty,
        Taken, //
    },
    geometry::PMD_SIZE,
    poison::Media, //
};
use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use kernel::{
    new_condvar, new_mutex,
    prelude::*,
    sync::{
        CondVar,
        Mutex, //
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

/// There are no more.
const SHARES: usize = u64::BITS as usize;

/// How often a sync may be too late for a share that was free.
const PATIENCE: u32 = 8;

/// Where syncs wait for one another.
#[pin_data]
pub(crate) struct Waiting {
    // How many were too late for each share too often.
    #[pin]
    impatient: Mutex<[u32; SHARES]>,
    #[pin]
    released: CondVar,
    // The shares of which there are some.
    wanted: AtomicU64,
    // From when on the time of syncs is counted.
    since: Instant<Monotonic>,
}

impl Waiting {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            impatient <- new_mutex!([0; SHARES], "pmem_dax syncs"),
            released <- new_condvar!("pmem_dax syncs"),
            wanted: AtomicU64::new(0),
            since: Instant::now(),
        })
    }
}

/// Shares of the marks that this sync alone takes, until it is dropped: then what was taken of them
/// is durable, or marked again.
struct Claim<'a> {
    device: &'a Device,
    shares: u64,
    failed: bool,
}

impl<'a> Claim<'a> {
    fn new(device: &'a Device) -> Self {
        Self {
            device,
            shares: 0,
            failed: true,
        }
    }

    /// Claims another share. May sleep.
    fn add(&mut self, share: u64) {
        let Device { dirty, syncs, .. } = self.device;
        let bit = 1 << share;

        if syncs.wanted.load(Ordering::Relaxed) & bit != 0 || !dirty.claim(share) {
            self.wait_for(share);
        }
        self.shares |= bit;
    }

    /// Claims a share that another sync has, or will have again before one that was woken is on a CPU. So
    /// one that was too late again and again is the next one.
    #[cold]
    fn wait_for(&self, share: u64) {
        let Device { dirty, syncs, .. } = self.device;
        let place = share as usize % SHARES;
        let mut impatient = syncs.impatient.lock();
        let mut tries = 0;

        while impatient[place] != 0 && tries <= PATIENCE || !dirty.claim(share) {
            if tries == PATIENCE {
                impatient[place] += 1;
                syncs.wanted.fetch_or(1 << share, Ordering::Relaxed);
            }
            tries += 1;
            syncs.released.wait(&mut impatient);
        }
        if tries > PATIENCE {
            impatient[place] -= 1;
            if impatient[place] == 0 {
                syncs.wanted.fetch_and(!(1 << share), Ordering::Relaxed);
            }
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.device.dirty.release(self.shares, self.failed);
        // Who found a share claimed waits by now.
        drop(self.device.syncs.impatient.lock());
        self.device.syncs.released.notify_all();
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
        let is_small =
            range.len() < PMD_SIZE && node.start() < range.start() && range.end() < node.end();
        let shares = match is_small {
            true => 0,
            false => self.dirty.marked(range),
        };

        if (is_small || shares != 0) && self.dax.has_write_cache() {
            match is_small {
                true => self.write_back_marked(alive, range),
                false => return self.sync_shares(alive, node, range, shares, account),
            }
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
        let mut claim = Claim::new(self);

        if account == Account::User {
            let now = self.syncs.since.elapsed().as_millis();

            self.dirty.begin(now as u64);
        }
        let mut taken = Taken::new();

        // All in their order, so that nobody waits for who waits for him.
        for share in set_bits(shares) {
            claim.add(share);
            self.sync_share(alive, share, whole, account, &mut taken);
        }
        self.write_back_marked(alive, range.before(whole.start()));
        self.write_back_marked(alive, range.from(whole.end()));
        let result = alive.provider().flush(alive);

        claim.failed = result.is_err();
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

    /// Takes the marks of a share, of what is in `whole`, and writes that back.
    fn sync_share(
        &self,
        alive: &Alive<'_, Media>,
        share: u64,
        whole: ByteRange,
        account: Account,
        taken: &mut Taken,
    ) {
        let dirty = &self.dirty;

        for index in dirty.words(share) {
            let mut wanted = Dirty::within(index, whole);

            while dirty.take(index, wanted, taken) {
                // What stays marked, as it is pinned, is written back once.
                wanted &= !taken.mask();
                self.sync_taken(alive, taken, account);
            }
        }
        dirty.settle(share);
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
