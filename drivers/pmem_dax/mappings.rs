// SPDX-License-Identifier: GPL-2.0

//! The mappings of a device, as others see them: how many there are, that they hold it, and who they
//! have to wait for.

use core::sync::atomic::{
    AtomicBool,
    AtomicU32,
    Ordering, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::{
        delay::fsleep,
        Delta, //
    },
};
use kernel_ext::block::node::Claim;

/// The locks of claims.
const LOCKS: usize = 16;

/// How many mappings there are of the disk and of each partition, by what they hold it, and how many
/// writers there are to their page caches, which must not be dirty under a mapping.
#[pin_data]
pub(crate) struct Mappings {
    counts: [AtomicU32; 256],
    // Those whose last mapping went, and whose marks are to go with the close of its file.
    left: [AtomicBool; 256],
    // Of the mappings, those that share a claim, which is at the same place of `claims`.
    sharers: [AtomicU32; 256],
    // With the lock, mappings of a node are made the first and are the last. mmap_lock may be held when
    // it is taken, and open_mutex of the disk is taken after it. It is held while a page cache is written
    // back, so partitions of low numbers have one each.
    #[pin]
    claims: [Mutex<[Option<Claim>; 256 / LOCKS]>; LOCKS],
    writers: AtomicU32,
}

impl Mappings {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            counts: [const { AtomicU32::new(0) }; 256],
            left: [const { AtomicBool::new(false) }; 256],
            sharers: [const { AtomicU32::new(0) }; 256],
            claims <- pin_init::pin_init_array_from_fn(|_| {
                new_mutex!([const { None }; 256 / LOCKS], "pmem_dax claims")
            }),
            writers: AtomicU32::new(0),
        })
    }

    /// Adds a mapping of the node of a partition to those that share a claim. If it is the first one,
    /// `claim` makes that, and counts it by [`add`](Self::add). May sleep.
    ///
    /// # Errors
    ///
    /// Those of `claim`.
    pub(crate) fn share(&self, partition: u8, claim: impl FnOnce() -> Result<Claim>) -> Result {
        let sharers = self.sharers.get(usize::from(partition)).ok_or(EINVAL)?;
        let join = || {
            sharers
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
                    (count != 0).then_some(count + 1)
                })
                .map(|_| self.add(partition))
        };

        if join().is_ok() {
            return Ok(());
        }
        let (lock, place) = Self::claim_of(partition);
        let mut claims = self.claims[lock].lock();

        if join().is_ok() {
            return Ok(());
        }
        claims[place] = Some(claim()?);
        sharers.store(1, Ordering::Release);
        Ok(())
    }

    /// Removes a mapping that was added by [`share`](Self::share). If it is the last one, `last` is called
    /// before the claim goes. May sleep.
    pub(crate) fn unshare(&self, partition: u8, last: impl FnOnce()) {
        let Some(sharers) = self.sharers.get(usize::from(partition)) else {
            return;
        };
        let leave = sharers.fetch_update(Ordering::AcqRel, Ordering::Acquire, |count| {
            (count > 1).then(|| count - 1)
        });

        if leave.is_ok() {
            return self.remove(partition);
        }
        let (lock, place) = Self::claim_of(partition);
        let mut claims = self.claims[lock].lock();

        // Others may have come meanwhile.
        if sharers.fetch_sub(1, Ordering::AcqRel) != 1 {
            return self.remove(partition);
        }
        last();
        self.remove(partition);
        claims[place] = None;
    }

    /// The lock of the claim of a partition, and its place behind that.
    fn claim_of(partition: u8) -> (usize, usize) {
        let partition = usize::from(partition);

        (partition % LOCKS, partition / LOCKS)
    }

    fn count(&self, partition: u8) -> Option<&AtomicU32> {
        self.counts.get(usize::from(partition))
    }

    pub(crate) fn add(&self, partition: u8) {
        if let Some(count) = self.count(partition) {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }

    pub(crate) fn remove(&self, partition: u8) {
        let place = usize::from(partition);

        if let (Some(count), Some(left)) = (self.counts.get(place), self.left.get(place)) {
            if count.fetch_sub(1, Ordering::AcqRel) == 1 {
                left.store(true, Ordering::Release);
            }
        }
    }

    /// Whether the last mapping of that partition went since this was asked.
    pub(crate) fn take_left(&self, partition: u8) -> bool {
        !self.any(partition)
            && (self.left.get(usize::from(partition)))
                .is_some_and(|left| left.swap(false, Ordering::AcqRel))
    }

    /// How many there are.
    pub(crate) fn all(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| u64::from(count.load(Ordering::Relaxed)))
            .sum()
    }

    /// Whether there is none at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts
            .iter()
            .all(|count| count.load(Ordering::SeqCst) == 0)
    }

    /// Whether there is one of that partition.
    #[inline]
    pub(crate) fn any(&self, partition: u8) -> bool {
        self.count(partition)
            .is_some_and(|count| count.load(Ordering::SeqCst) != 0)
    }

    /// Counts somebody who writes to the page cache of that partition, until the result is dropped. Not if
    /// any of the same bytes are mapped.
    ///
    /// Writers and mappings each count themselves first, and then look for the others.
    pub(crate) fn writer(&self, partition: u8) -> Option<Writer<'_>> {
        self.writers.fetch_add(1, Ordering::SeqCst);
        let writer = Writer(&self.writers);
        let mapped = match partition {
            0 => !self.is_empty(),
            _ => self.any(0) || self.any(partition),
        };

        (!mapped).then_some(writer)
    }

    /// Waits for those who write to the page cache, for a tenth of a second.
    ///
    /// # Errors
    ///
    /// `EBUSY`. It may be the caller who lets them wait: for a page fault of theirs, or for mmap_lock.
    #[inline]
    pub(crate) fn wait_for_writers(&self) -> Result {
        if self.writers.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        self.poll_writers()
    }

    #[cold]
    fn poll_writers(&self) -> Result {
        for _ in 0..100 {
            fsleep(Delta::from_millis(1));
            if self.writers.load(Ordering::SeqCst) == 0 {
                return Ok(());
            }
        }
        Err(EBUSY)
    }
}

/// See [`Mappings::writer`].
pub(crate) struct Writer<'a>(&'a AtomicU32);

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
