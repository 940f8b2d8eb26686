// SPDX-License-Identifier: GPL-2.0

//! Which parts of a device may have been stored to through mappings since they were made durable.
//!
//! A store through a mapping stays in the CPU's caches until it is written back, and the driver is
//! not told of it. So what is mapped for stores is marked before it is mapped: a chunk of 2 MiB by
//! a large page, a page by a page. `sync.rs` takes the marks away again.
//!
//! This file is the set of marks, without the kernel; its tests run on the build host.

use crate::geometry::PMD_SIZE;
use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use kernel::prelude::*;
use kernel_ext::units::{
    ByteRange,
    PageOffset,
    PAGE_SHIFT, //
};

const BITS: u64 = u64::BITS as u64;
const PAGES_PER_CHUNK: u64 = PMD_SIZE >> PAGE_SHIFT;

/// The words of the marks of a chunk's pages.
const WORDS_PER_CHUNK: usize = (PAGES_PER_CHUNK / BITS) as usize;

/// A chunk of which more pages were mapped for stores between two syncs is not mapped by pages for
/// that any more. To bring a page back and to take it away costs some 3,300 instructions, and to
/// write it back 350; for a chunk it is 2,800 and 131,000.
const SPARSE_PAGES: u32 = 32;

/// A chunk that two syncs in so many milliseconds found marked by a large page is mapped by pages when the
/// third one does.
///
/// That is to be done for who syncs all the time alone: where mm has a page table it never puts a large
/// page again, unless the process unmaps the place.
const SPARSE_MS: u64 = 1000;

/// Bits that any thread may change at any time.
#[repr(transparent)]
struct Bits(AtomicU64);

impl Bits {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline(always)]
    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    #[inline(always)]
    fn set(&self, bits: u64) {
        self.0.fetch_or(bits, Ordering::AcqRel);
    }

    /// Clears `bits`, and returns those that were set.
    fn take(&self, bits: u64) -> u64 {
        self.0.fetch_and(!bits, Ordering::AcqRel) & bits
    }
}

/// What is known of 64 chunks, a bit for each. In a cache line.
#[repr(align(64))]
struct Chunks {
    // Those that were mapped for stores by a large page.
    blocks: Bits,
    // Those of which pages were.
    paged: Bits,
    // Those that a sync has: it took their marks and did not write them back yet, or did not make them
    // durable, if that may fail.
    taken: Bits,
    // Those of which the next store is to be mapped by a page, and those for which that did not pay.
    sparse: Bits,
    dense: Bits,
    // Those that were found marked by a large page lately, and those twice.
    once: Bits,
    twice: Bits,
    // The bit of their share.
    share: u64,
}

impl Chunks {
    const fn new(share: u64) -> Self {
        Self {
            share,
            blocks: Bits::new(),
            paged: Bits::new(),
            taken: Bits::new(),
            sparse: Bits::new(),
            dense: Bits::new(),
            once: Bits::new(),
            twice: Bits::new(),
        }
    }

    /// The chunks that are marked.
    fn marked(&self) -> u64 {
        self.blocks.load() | self.paged.load()
    }
}

/// What `f` makes of the numbers below `count`.
fn vector<T>(count: u64, f: impl Fn(u64) -> T) -> Result<KVVec<T>> {
    let mut vector = KVVec::with_capacity(usize::try_from(count)?, GFP_KERNEL)?;

    for index in 0..count {
        vector.push(f(index), GFP_KERNEL)?;
    }
    Ok(vector)
}

/// `count` ones, from a bit on.
#[inline(always)]
fn ones(first: u64, count: u64) -> u64 {
    u64::MAX >> (BITS - count) << first
}

/// The marks of a device.
///
/// They have three levels: a page, its chunk, and a share of all chunks. A fault sets them from below to
/// above, and none that maps a page leaves one of them out. A sync takes away those of chunks and pages
/// first, and that of the share when nothing is left. While one has a chunk, another one does not take it.
pub(crate) struct Dirty {
    // Shares with marks.
    summary: Bits,
    // Shares of which a sync looks whether the mark may go.
    settling: Bits,
    // How many syncs started to take marks, and how many of those are over.
    started: AtomicU64,
    over: AtomicU64,
    // A share has two to the power of this chunks, and no less than a word.
    share: u32,
    chunks: KVVec<Chunks>,
    // Pages that were mapped for stores by themselves.
    pages: KVVec<Bits>,
    // When what was found lately was forgotten, in milliseconds.
    epoch: AtomicU64,
    // Shares of which it is known how to map a chunk.
    hints: Bits,
}

/// A sync at work.
pub(crate) struct AtWork<'a> {
    dirty: &'a Dirty,
    turn: u64,
}

impl AtWork<'_> {
    /// Where it begins, so that syncs do not go one behind the other: another number for each, and zero if
    /// it is the only one.
    pub(crate) fn turn(&self) -> u64 {
        self.turn
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.dirty.over.fetch_add(1, Ordering::SeqCst);
    }
}

/// What was taken of the marks of one word of chunks.
pub(crate) struct Taken {
    // The word.
    index: u64,
    // No other sync takes these. Of some there was nothing left to take.
    claimed: u64,
    blocks: u64,
    paged: u64,
    // The marks of the pages of the chunks in `paged`, in that order.
    pages: [[u64; WORDS_PER_CHUNK]; Taken::MOST_PAGED],
}

/// A chunk of what was taken.
pub(crate) enum Chunk<'a> {
    /// It was mapped by large pages alone.
    Block(u64),
    /// It was mapped by pages, of which these are marked, and perhaps by large pages too.
    Pages(u64, bool, &'a [u64; WORDS_PER_CHUNK]),
}

impl Taken {
    /// As many chunks with pages are taken at a time: it is on the stack.
    const MOST_PAGED: usize = 8;

    /// Nothing.
    pub(crate) const fn new() -> Self {
        Self {
            index: 0,
            claimed: 0,
            blocks: 0,
            paged: 0,
            pages: [[0; WORDS_PER_CHUNK]; Self::MOST_PAGED],
        }
    }

    /// Which chunks of the word no other sync takes now.
    pub(crate) fn mask(&self) -> u64 {
        self.claimed
    }

    /// The word.
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The chunks.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Chunk<'_>> {
        let paged_before = |bit: u64| (self.paged & !(u64::MAX << bit)).count_ones() as usize;

        set_bits(self.blocks | self.paged).map(move |bit| {
            let number = self.index * BITS + bit;

            match self.pages.get(paged_before(bit)) {
                Some(pages) if self.paged >> bit & 1 != 0 => {
                    Chunk::Pages(number, self.blocks >> bit & 1 != 0, pages)
                }
                _ => Chunk::Block(number),
            }
        })
    }
}

/// The numbers of the bits that are set.
pub(crate) fn set_bits(mut word: u64) -> impl Iterator<Item = u64> {
    core::iter::from_fn(move || {
        let bit = u64::from(word.trailing_zeros());

        (word != 0).then(|| {
            word &= word - 1;
            bit
        })
    })
}

/// The numbers of the bits that are set, in turn: the first one is at place `number`, modulo their count.
pub(crate) fn bits_from(word: u64, number: u64) -> impl Iterator<Item = u64> {
    let place = number % u64::from(word.count_ones()).max(1);
    let first = set_bits(word).nth(place as usize).unwrap_or(0);

    set_bits(word.rotate_right(first as u32)).map(move |bit| (bit + first) % BITS)
}

impl Chunk<'_> {
    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Block(chunk) | Self::Pages(chunk, ..) => *chunk,
        }
    }

    /// Its first page.
    pub(crate) fn page(&self) -> PageOffset {
        PageOffset((self.number() * PAGES_PER_CHUNK) as usize)
    }

    /// The bytes of the chunk.
    pub(crate) fn range(&self) -> Option<ByteRange> {
        ByteRange::new(self.number() * PMD_SIZE, PMD_SIZE)
    }

    /// Calls `f` with the parts that may have been stored to.
    pub(crate) fn for_each_part(&self, mut f: impl FnMut(ByteRange)) {
        match self {
            Self::Pages(chunk, false, pages) => for_each_run(*chunk, |i| pages[i], f),
            _ => {
                if let Some(range) = self.range() {
                    f(range);
                }
            }
        }
    }
}

/// Calls `f` with each run of the marked pages of a chunk, whose marks are `word`.
fn for_each_run(chunk: u64, word: impl Fn(usize) -> u64, mut f: impl FnMut(ByteRange)) {
    let mut start = None;

    for index in 0..WORDS_PER_CHUNK {
        let word = word(index);

        // Most words are all alike.
        if word == 0 && start.is_none() {
            continue;
        }
        for bit in 0..BITS {
            let page = chunk * PAGES_PER_CHUNK + index as u64 * BITS + bit;

            match (word >> bit & 1 != 0, start) {
                (true, None) => start = Some(page),
                (false, Some(first)) => {
                    start = None;
                    run(first, page, &mut f);
                }
                _ => (),
            }
        }
    }
    if let Some(first) = start {
        run(first, (chunk + 1) * PAGES_PER_CHUNK, &mut f);
    }
}

/// Calls `f` with the bytes of the pages from `first` to `end`.
fn run(first: u64, end: u64, f: &mut impl FnMut(ByteRange)) {
    if let Some(range) = ByteRange::new(first << PAGE_SHIFT, (end - first) << PAGE_SHIFT) {
        f(range);
    }
}

impl Dirty {
    /// No marks, of `len` bytes.
    pub(crate) fn new(len: u64) -> Result<Self> {
        let chunks = len.div_ceil(PMD_SIZE);
        let words = chunks.div_ceil(BITS);
        let share = words.div_ceil(BITS).next_power_of_two().ilog2() + BITS.ilog2();
        // There are no more than 64.
        let share_of = |index: u64| 1 << ((index * BITS) >> share);

        Ok(Self {
            summary: Bits::new(),
            settling: Bits::new(),
            started: AtomicU64::new(0),
            over: AtomicU64::new(0),
            share,
            chunks: vector(words, |index| Chunks::new(share_of(index)))?,
            pages: vector(chunks * WORDS_PER_CHUNK as u64, |_| Bits::new())?,
            epoch: AtomicU64::new(0),
            hints: Bits::new(),
        })
    }

    /// What is known of the chunks of a word. There are none behind the end.
    #[inline(always)]
    fn word(&self, index: u64) -> Option<&Chunks> {
        self.chunks.get(usize::try_from(index).ok()?)
    }

    /// Marks the chunk that `page`, which is about to be mapped for stores by a large page, is in. Returns
    /// false if it is to be mapped by pages instead.
    #[inline(always)]
    pub(crate) fn mark_block(&self, page: PageOffset) -> bool {
        let chunk = page.0 as u64 / PAGES_PER_CHUNK;
        let bit = 1 << (chunk % BITS);

        if let Some(word) = self.word(chunk / BITS) {
            // Most faults find it set, and need not take the cache line from others.
            if word.blocks.load() & bit == 0 {
                if word.sparse.load() & bit != 0 {
                    return false;
                }
                word.blocks.set(bit);
            }
            self.mark_share(word);
        }
        true
    }

    /// Marks the share of chunks.
    #[inline(always)]
    fn mark_share(&self, word: &Chunks) {
        if self.summary.load() & word.share == 0 {
            self.summary.set(word.share);
        }
    }

    /// Marks chunks of a word.
    fn mark_chunks(&self, index: u64, chunks: u64) {
        if let Some(word) = self.word(index) {
            word.blocks.set(chunks);
            self.mark_share(word);
        }
    }

    /// Marks the chunks of `pages` pages from `page` on, which one entry maps for stores.
    pub(crate) fn mark_blocks(&self, page: PageOffset, pages: usize) {
        let mut chunk = page.0 as u64 / PAGES_PER_CHUNK;
        let end = chunk + pages as u64 / PAGES_PER_CHUNK;

        while chunk < end {
            let count = (BITS - chunk % BITS).min(end - chunk);

            self.mark_chunks(chunk / BITS, ones(chunk % BITS, count));
            chunk += count;
        }
    }

    /// Marks a page that is about to be mapped for stores by itself.
    #[inline(always)]
    pub(crate) fn mark_page(&self, page: PageOffset) {
        let page = page.0 as u64;

        self.mark_some(page, 1 << (page % BITS));
    }

    /// Marks `pages` pages from `page` on, which are in one chunk.
    #[inline]
    pub(crate) fn mark_pages(&self, page: PageOffset, pages: usize) {
        let mut page = page.0 as u64;
        let end = page + pages as u64;

        while page < end {
            let count = (BITS - page % BITS).min(end - page);

            self.mark_some(page, ones(page % BITS, count));
            page += count;
        }
    }

    /// Marks pages of the word that `page` is in.
    #[inline(always)]
    fn mark_some(&self, page: u64, marks: u64) {
        let chunk = page / PAGES_PER_CHUNK;
        let bit = 1 << (chunk % BITS);
        let Some(pages) = self.pages.get((page / BITS) as usize) else {
            return;
        };

        if pages.load() & marks != marks {
            pages.set(marks);
        }
        if let Some(word) = self.word(chunk / BITS) {
            if word.paged.load() & bit == 0 {
                word.paged.set(bit);
            }
            self.mark_share(word);
        }
    }

    /// The shares that `range`, which is not empty, touches.
    #[inline]
    fn shares(&self, range: ByteRange) -> u64 {
        let share = |offset: u64| (offset / PMD_SIZE).wrapping_shr(self.share).min(BITS - 1);
        let first = share(range.start());

        ones(first, share(range.end() - 1) - first + 1)
    }

    /// The shares of `range` in which something may have been stored to.
    #[inline]
    pub(crate) fn marked(&self, range: ByteRange) -> u64 {
        // In this order: a sync that takes the mark of a share looks for others that are left, and marks it again
        // before it is content. The next one that looks finds those before it takes the mark.
        let marked = self.summary.load() | self.settling.load() | self.summary.load();

        if marked == 0 || range.is_empty() {
            return 0;
        }
        marked & self.shares(range)
    }

    /// Whether there is no mark at all, and no sync at work.
    pub(crate) fn is_empty(&self) -> bool {
        // In this order: if as many were over as have started, there was none in between, when nothing was
        // marked. Who is told so does not even flush.
        let over = self.over.load(Ordering::SeqCst);

        self.summary.load() == 0 && self.started.load(Ordering::SeqCst) == over
    }

    /// A sync that is about to take marks, until that is dropped: what it took is durable then, or marked
    /// again.
    pub(crate) fn at_work(&self) -> AtWork<'_> {
        let before = self.started.fetch_add(1, Ordering::SeqCst);

        AtWork {
            dirty: self,
            turn: match self.over.load(Ordering::Relaxed) < before {
                true => before,
                false => 0,
            },
        }
    }

    /// What was [taken](Self::take) is written back, and the flush that makes it durable cannot fail.
    pub(crate) fn written(&self, taken: &Taken) {
        if let Some(word) = self.word(taken.index) {
            // Who waits for it says so before it looks at it.
            word.taken.0.fetch_and(!taken.mask(), Ordering::SeqCst);
        }
    }

    /// What was taken of `shares` is durable, or not if `failed`: then it is marked again, as chunks. Takes
    /// their marks otherwise, as [`settle`](Self::settle) does. No other sync is at work.
    pub(crate) fn release(&self, shares: u64, failed: bool) {
        for index in set_bits(shares).flat_map(|share| self.words(share)) {
            let Some(word) = self.word(index) else {
                continue;
            };
            let taken = word.taken.load();

            if taken == 0 {
                continue;
            }
            if failed {
                self.mark_chunks(index, taken);
            }
            word.taken.take(taken);
        }
        set_bits(shares).for_each(|share| self.settle(share));
    }

    /// The words of the chunks of a share.
    pub(crate) fn words(&self, share: u64) -> core::ops::Range<u64> {
        let words = 1u64.wrapping_shl(self.share) / BITS;

        share * words..((share + 1) * words).min(self.chunks.len() as u64)
    }

    /// Takes the mark of a share if nothing of it is marked any more, and no sync has something of it. To be
    /// called when what was taken is written back.
    pub(crate) fn settle(&self, share: u64) {
        let bit = 1u64.wrapping_shl(share as u32);

        // One at a time, which looks all that time: see `marked`.
        if self.settling.0.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
            return;
        }
        if !self.is_marked(share) {
            self.summary.0.fetch_and(!bit, Ordering::SeqCst);
            // A fault may have found it set, after it marked a chunk that was not seen.
            if self.is_marked(share) {
                self.summary.set(bit);
            }
        }
        self.settling.take(bit);
    }

    /// Whether a chunk of a share is marked, or taken.
    fn is_marked(&self, share: u64) -> bool {
        // In this order: who takes a mark notes that before. Who gives one back marks the share.
        self.words(share)
            .filter_map(|index| self.word(index))
            .any(|word| word.marked() != 0 || word.taken.load() != 0)
    }

    /// Takes the marks of those chunks of a word that are `wanted`, and that no other sync has, or of as many
    /// as it may at a time, into `taken`. Returns which of the wanted ones another sync has.
    ///
    /// What is neither taken nor returned is written back, but for what is stored to meanwhile.
    pub(crate) fn take(&self, index: u64, wanted: u64, taken: &mut Taken) -> u64 {
        taken.index = index;
        (taken.claimed, taken.blocks, taken.paged) = (0, 0, 0);
        let Some(word) = self.word(index) else {
            return 0;
        };
        // In this order: what is not marked, as another sync took it, that one has or has written back.
        let blocks = word.blocks.load() & wanted;
        let paged = word.paged.load() & wanted;
        let others = word.taken.load() & wanted;
        let mut claimed = (blocks | paged) & !others;

        if claimed == 0 {
            return others;
        }
        let mut too_many = paged & claimed;

        for _ in 0..Taken::MOST_PAGED {
            too_many &= too_many.wrapping_sub(1);
        }
        claimed &= !too_many;
        // First, as who finds nothing marked looks here next; and who sets it has the chunk.
        let others = others | word.taken.0.fetch_or(claimed, Ordering::AcqRel) & claimed;

        taken.claimed = claimed & !others;
        taken.blocks = word.blocks.take(taken.claimed);
        taken.paged = word.paged.take(taken.claimed & paged);
        for (bit, marks) in set_bits(taken.paged).zip(&mut taken.pages) {
            for (pages, marks) in self.pages_of(index * BITS + bit).iter().zip(marks) {
                *marks = pages.take(u64::MAX);
            }
        }
        others
    }

    /// Whether another sync still has some of the chunks of a word.
    pub(crate) fn is_taken(&self, index: u64, chunks: u64) -> bool {
        self.word(index)
            .is_some_and(|word| word.taken.0.load(Ordering::SeqCst) & chunks != 0)
    }

    /// The marks of a chunk's pages.
    fn pages_of(&self, chunk: u64) -> &[Bits] {
        let first = chunk as usize * WORDS_PER_CHUNK;

        self.pages
            .get(first..first + WORDS_PER_CHUNK)
            .unwrap_or_default()
    }

    /// The bytes of a chunk, by its word and its bit there.
    pub(crate) fn chunk(index: u64, bit: u64) -> Option<ByteRange> {
        ByteRange::new((index * BITS + bit) * PMD_SIZE, PMD_SIZE)
    }

    /// The chunks of a word that lie wholly in `range`.
    pub(crate) fn within(index: u64, range: ByteRange) -> u64 {
        let word = index * BITS;
        let first = range.start().div_ceil(PMD_SIZE).clamp(word, word + BITS);
        let end = (range.end() / PMD_SIZE).clamp(word, word + BITS);

        if first >= end {
            return 0;
        }
        ones(first - word, end - first)
    }

    /// Gives back the marks of a chunk, which can still be stored to. It stays taken.
    pub(crate) fn give_back(&self, chunk: &Chunk<'_>) {
        let number = chunk.number();

        match chunk {
            Chunk::Block(_) | Chunk::Pages(_, true, _) => {
                self.mark_chunks(number / BITS, 1 << (number % BITS));
            }
            Chunk::Pages(_, false, pages) => {
                for (i, marks) in pages.iter().enumerate().filter(|(_, marks)| **marks != 0) {
                    self.mark_some(number * PAGES_PER_CHUNK + i as u64 * BITS, *marks);
                }
            }
        }
    }

    /// Decides how a chunk is mapped for the next store to it, after its marks were taken by a user's sync.
    /// Chunks to which is stored here and there are to be written back, and so mapped, by pages.
    pub(crate) fn decide(&self, chunk: &Chunk<'_>) {
        let number = chunk.number();
        let bit = 1 << (number % BITS);
        let Some(word) = self.word(number / BITS) else {
            return;
        };

        match chunk {
            Chunk::Block(_) if word.dense.load() & bit == 0 => {
                let hint = match (word.once.load() & bit, word.twice.load() & bit) {
                    (0, _) => &word.once,
                    (_, 0) => &word.twice,
                    _ => &word.sparse,
                };

                hint.set(bit);
                self.hints.set(word.share);
            }
            Chunk::Pages(_, false, pages)
                if pages.iter().map(|marks| marks.count_ones()).sum::<u32>() > SPARSE_PAGES =>
            {
                word.sparse.take(bit);
                word.dense.set(bit);
                self.hints.set(word.share);
            }
            _ => (),
        }
    }

    /// Starts a user's sync at a time in milliseconds. What was found before is forgotten now and then.
    pub(crate) fn begin(&self, now: u64) {
        if now.wrapping_sub(self.epoch.load(Ordering::Relaxed)) < SPARSE_MS {
            return;
        }
        self.epoch.store(now, Ordering::Relaxed);
        self.for_each_hint(self.hints.load(), |word| {
            word.once.take(u64::MAX);
            word.twice.take(u64::MAX);
        });
    }

    /// Forgets how chunks are to be mapped.
    pub(crate) fn forget_hints(&self) {
        // Whoever decides meanwhile sets the bit of the share last.
        let shares = self.hints.take(u64::MAX);

        self.for_each_hint(shares, |word| {
            for hints in [&word.sparse, &word.dense, &word.once, &word.twice] {
                hints.take(u64::MAX);
            }
        });
    }

    /// Calls `f` with the words of chunks of `shares`.
    fn for_each_hint(&self, shares: u64, f: impl FnMut(&Chunks)) {
        set_bits(shares)
            .flat_map(|share| self.words(share))
            .filter_map(|index| self.word(index))
            .for_each(f);
    }

    /// Calls `f` with each part of `range` that is marked, or was taken and may not be durable yet.
    pub(crate) fn for_each(&self, range: ByteRange, mut f: impl FnMut(ByteRange)) {
        if range.is_empty() {
            return;
        }
        let first = range.start() / PMD_SIZE;
        let last = (range.end() - 1) / PMD_SIZE;

        if first == last {
            return self.for_chunks(first / BITS, 1 << (first % BITS), range, &mut f);
        }
        for index in set_bits(self.marked(range)).flat_map(|share| self.words(share)) {
            let word = index * BITS;
            let first = first.clamp(word, word + BITS);
            let end = (last + 1).clamp(word, word + BITS);

            if first < end {
                self.for_chunks(index, ones(first - word, end - first), range, &mut f);
            }
        }
    }

    /// The same for the chunks of a word that are `wanted`.
    #[inline]
    fn for_chunks(&self, index: u64, wanted: u64, range: ByteRange, f: &mut impl FnMut(ByteRange)) {
        let Some(word) = self.word(index) else {
            return;
        };
        // In this order: what is not marked any more was taken before, and what is not taken any more is
        // durable, or was marked again, or taken again since.
        let blocks = word.blocks.load();
        let paged = word.paged.load();
        let blocks = blocks | word.taken.load() | word.blocks.load();
        let paged = paged | word.paged.load();
        let blocks = blocks | word.taken.load();

        for bit in set_bits((blocks | paged) & wanted) {
            let chunk = index * BITS + bit;
            let whole = Self::chunk(index, bit);
            let mut cut = |part: ByteRange| {
                let part = part.from(range.start()).before(range.end());

                if !part.is_empty() {
                    f(part);
                }
            };

            if blocks >> bit & 1 != 0 {
                whole.into_iter().for_each(cut);
                continue;
            }
            let pages = self.pages_of(chunk);

            for_each_run(chunk, |i| pages.get(i).map_or(0, Bits::load), &mut cut);
            // They may have been taken while they were looked at.
            if word.taken.load() >> bit & 1 != 0 {
                whole.into_iter().for_each(cut);
            }
        }
    }
}

#[cfg(test)]
#[path = "../../tools/testing/unit/dirty.rs"]
mod tests;
