// SPDX-License-Identifier: GPL-2.0

//! Which parts of a device may have been stored to through mappings.
//!
//! A store through a mapping stays in the CPU's caches until it is written back, and nobody tells
//! the driver of it. So each 2 MiB chunk of which a page was mapped writable is remembered, and
//! written back by every sync until the last close of the disk.

use crate::geometry::PMD_SIZE;
use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use kernel::prelude::*;
use kernel_ext::units::{
    ByteRange,
    Order,
    PageOffset,
    PAGE_SHIFT, //
};

/// A set of chunks.
///
/// A bit of a word is a chunk. A bit of the summary is a share of the words, and is set before any
/// bit of them, so that what a sync costs does not depend on the size of the device: it looks at
/// one word, and at the shares in which something is.
pub(crate) struct DirtyChunks {
    summary: AtomicU64,
    // A share has two to the power of this chunks.
    share: u32,
    words: KVVec<AtomicU64>,
}

const BITS: u64 = 64;
const PAGES_PER_CHUNK: usize = (PMD_SIZE >> PAGE_SHIFT) as usize;

impl DirtyChunks {
    /// The empty set of the chunks of `len` bytes.
    pub(crate) fn new(len: u64) -> Result<Self> {
        let count = usize::try_from(len.div_ceil(PMD_SIZE).div_ceil(BITS))?;
        let mut words = KVVec::with_capacity(count, GFP_KERNEL)?;

        for _ in 0..count {
            words.push(AtomicU64::new(0), GFP_KERNEL)?;
        }
        Ok(Self {
            summary: AtomicU64::new(0),
            share: count.div_ceil(BITS as usize).next_power_of_two().ilog2() + BITS.ilog2(),
            words,
        })
    }

    fn chunks(range: ByteRange) -> core::ops::Range<u64> {
        range.start() / PMD_SIZE..range.end().div_ceil(PMD_SIZE)
    }

    #[inline]
    fn word(&self, chunk: u64) -> Option<&AtomicU64> {
        self.words.get(usize::try_from(chunk / BITS).ok()?)
    }

    /// Adds the chunks that `range`, which is not empty, touches.
    pub(crate) fn mark(&self, range: ByteRange) {
        self.mark_chunks(Self::chunks(range));
    }

    /// Adds the chunks that the block of `order` at `page` is in: one, unless it is larger, since
    /// the memory starts at a multiple of 2 MiB.
    #[inline(always)]
    pub(crate) fn mark_block(&self, page: PageOffset, order: Order) {
        let first = (page.0 / PAGES_PER_CHUNK) as u64;

        match order {
            Order::Pte | Order::Pmd => self.mark_chunk(first),
            Order::Pud => self.mark_chunks(first..first + (order.pages() / PAGES_PER_CHUNK) as u64),
        }
    }

    /// Adds `chunks`, a word at a time. There are none behind the end.
    fn mark_chunks(&self, chunks: core::ops::Range<u64>) {
        // So many ones, from a bit on.
        let ones = |first: u64, count: u64| u64::MAX >> (BITS - count) << first;
        let end = chunks.end.min(self.words.len() as u64 * BITS);
        let mut chunk = chunks.start;
        if chunk >= end {
            return;
        }
        let first = chunk.wrapping_shr(self.share);
        let last = (end - 1).wrapping_shr(self.share);

        self.summary
            .fetch_or(ones(first, last - first + 1), Ordering::Relaxed);
        while chunk < end {
            let next = (chunk - chunk % BITS + BITS).min(end);

            if let Some(word) = self.word(chunk) {
                // As in `set`.
                word.fetch_or(ones(chunk % BITS, next - chunk), Ordering::Release);
            }
            chunk = next;
        }
    }

    #[inline(always)]
    fn mark_chunk(&self, chunk: u64) {
        if let Some(word) = self.word(chunk) {
            // Most faults find it set, and need not take the cache line from others.
            if word.load(Ordering::Acquire) >> (chunk % BITS) & 1 == 0 {
                self.set(word, chunk);
            }
        }
    }

    #[inline(always)]
    fn set(&self, word: &AtomicU64, chunk: u64) {
        // Less than 64, as `new` made the shares large enough.
        let share = chunk.wrapping_shr(self.share);

        self.summary
            .fetch_or(1u64.wrapping_shl(share as u32), Ordering::Relaxed);
        // Who finds the bit set finds that of the summary too.
        word.fetch_or(1 << (chunk % BITS), Ordering::Release);
    }

    /// Calls `f` with the part of `range` in each chunk that is in the set.
    pub(crate) fn for_each(&self, range: ByteRange, mut f: impl FnMut(ByteRange)) {
        let chunks = Self::chunks(range);
        let mut shares = self.summary.load(Ordering::Relaxed);

        while shares != 0 {
            let share = u64::from(shares.trailing_zeros());
            let first = share.wrapping_shl(self.share);
            let end = (share + 1).wrapping_shl(self.share);

            shares &= shares - 1;
            self.for_each_between(first.max(chunks.start), end.min(chunks.end), |chunk| {
                let start = (chunk * PMD_SIZE).max(range.start());
                let end = ((chunk + 1) * PMD_SIZE).min(range.end());

                match ByteRange::new(start, end.saturating_sub(start)) {
                    Some(part) if !part.is_empty() => f(part),
                    _ => (),
                }
            });
        }
    }

    /// The same for the chunks from `chunk` to `end`, without looking at the summary.
    fn for_each_between(&self, mut chunk: u64, end: u64, mut f: impl FnMut(u64)) {
        while chunk < end {
            let Some(word) = self.word(chunk) else {
                return;
            };
            // From the first one that is wanted on.
            let set = word.load(Ordering::Relaxed) & (u64::MAX << (chunk % BITS));

            chunk -= chunk % BITS;
            if set == 0 {
                chunk += BITS;
                continue;
            }
            chunk += u64::from(set.trailing_zeros());
            if chunk < end {
                f(chunk);
            }
            chunk += 1;
        }
    }

    /// Whether there is no chunk in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.summary.load(Ordering::Relaxed) == 0
    }

    /// Empties the set. Nobody adds to it meanwhile.
    pub(crate) fn clear(&self) {
        self.summary.store(0, Ordering::Relaxed);
        for word in self.words.iter() {
            word.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
#[path = "../../tools/testing/unit/dirty.rs"]
mod tests;
