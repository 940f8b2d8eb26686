// SPDX-License-Identifier: GPL-2.0

//! Tests of drivers/pmem_dax/dirty.rs, which run on the build host: tools/testing/host.
//!
//! Up to 8 GiB a bit of the summary stands for one word of 64 chunks, beyond for several.

use super::*;
use inputs::proptest::{
    collection::vec,
    prelude::*, //
};
use std::collections::{
    BTreeSet,
    HashSet, //
};

const GIB: u64 = 1 << 30;

/// Sizes on both sides of those where the shares get larger, and with a part of a word at the end.
const SIZES: [u64; 13] = [
    PMD_SIZE,
    63 * PMD_SIZE,
    64 * PMD_SIZE,
    65 * PMD_SIZE,
    GIB + 64 * PMD_SIZE,
    8 * GIB - PMD_SIZE,
    8 * GIB,
    8 * GIB + PMD_SIZE,
    16 * GIB,
    16 * GIB + PMD_SIZE,
    24 * GIB,
    64 * GIB,
    65 * GIB + 3 * PMD_SIZE,
];

fn all(len: u64) -> ByteRange {
    ByteRange::new(0, len).unwrap()
}

fn page_of(chunk: u64) -> PageOffset {
    PageOffset((chunk * PAGES_PER_CHUNK) as usize)
}

/// Parts in order, with those joined that touch each other.
fn joined(parts: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut result: Vec<(u64, u64)> = Vec::new();

    for (start, end) in parts {
        match result.last_mut() {
            Some(last) if last.1 == start => last.1 = end,
            _ => result.push((start, end)),
        }
    }
    result
}

/// What is found of `range`: start and end of each part.
fn parts(dirty: &Dirty, range: ByteRange) -> Vec<(u64, u64)> {
    let mut found = Vec::new();

    dirty.for_each(range, |part| found.push((part.start(), part.end())));
    joined(found)
}

/// What should be marked.
#[derive(Clone, Debug, Default)]
struct Model {
    blocks: BTreeSet<u64>,
    pages: BTreeSet<u64>,
    taken: BTreeSet<u64>,
}

impl Model {
    fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.pages.is_empty() && self.taken.is_empty()
    }

    /// Whether a chunk is written back as a whole.
    fn is_whole(&self, chunk: u64) -> bool {
        self.blocks.contains(&chunk) || self.taken.contains(&chunk)
    }

    /// What should be found of `range`.
    fn parts(&self, range: ByteRange) -> Vec<(u64, u64)> {
        let chunks = self.blocks.union(&self.taken);
        let pages = (self.pages.iter()).filter(|page| !self.is_whole(*page / PAGES_PER_CHUNK));
        let mut parts: Vec<_> = chunks
            .map(|chunk| (chunk * PMD_SIZE, (chunk + 1) * PMD_SIZE))
            .chain(pages.map(|page| (page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT)))
            .map(|(start, end)| (start.max(range.start()), end.min(range.end())))
            .filter(|(start, end)| start < end)
            .collect();

        parts.sort_unstable();
        joined(parts)
    }

    /// Takes what lies wholly in `range`: the chunks, and the parts of them.
    fn take(&mut self, range: ByteRange) -> (Vec<u64>, Vec<(u64, u64)>) {
        let first = range.start().div_ceil(PMD_SIZE);
        let end = range.end() / PMD_SIZE;
        let parts = match first < end {
            true => self.parts(ByteRange::new(first * PMD_SIZE, (end - first) * PMD_SIZE).unwrap()),
            false => Vec::new(),
        };
        let is_within = |chunk: u64| first <= chunk && chunk < end;
        let chunks: BTreeSet<u64> = (self.blocks.iter().copied())
            .chain(self.pages.iter().map(|page| page / PAGES_PER_CHUNK))
            .filter(|chunk| is_within(*chunk))
            .collect();

        self.blocks.retain(|chunk| !is_within(*chunk));
        self.pages.retain(|page| !is_within(page / PAGES_PER_CHUNK));
        self.taken.extend(&chunks);
        (chunks.into_iter().collect(), parts)
    }
}

/// What a sync of `range` does, but for what the kernel is asked for. Chunks for which `keep` says so are
/// given back.
fn sync(
    dirty: &Dirty,
    range: ByteRange,
    keep: impl Fn(u64) -> bool,
    failed: bool,
) -> (Vec<u64>, Vec<(u64, u64)>) {
    let shares = dirty.marked(range);
    let mut taken = Taken::new();
    let mut chunks = Vec::new();
    let mut parts = Vec::new();

    for share in set_bits(shares) {
        assert!(dirty.claim(share));
        assert!(!dirty.claim(share));
        for index in dirty.words(share) {
            let mut wanted = Dirty::within(index, range);

            while dirty.take(index, wanted, &mut taken) {
                assert_ne!(taken.mask(), 0);
                assert_eq!(taken.mask() & !wanted, 0);
                wanted &= !taken.mask();
                for chunk in taken.chunks() {
                    chunks.push(chunk.number());
                    assert_eq!(chunk.page(), page_of(chunk.number()));
                    chunk.for_each_part(|part| parts.push((part.start(), part.end())));
                    if keep(chunk.number()) {
                        dirty.give_back(&chunk);
                    }
                }
            }
        }
        dirty.settle(share);
    }
    dirty.release(shares, failed);
    chunks.sort_unstable();
    parts.sort_unstable();
    (chunks, joined(parts))
}

#[test]
fn nothing_is_marked_at_first() {
    for len in SIZES {
        let dirty = Dirty::new(len).unwrap();

        assert!(dirty.is_empty(), "{len:#x}");
        assert_eq!(dirty.marked(all(len)), 0, "{len:#x}");
        assert_eq!(parts(&dirty, all(len)), [], "{len:#x}");
    }
}

#[test]
fn each_chunk_is_found_by_itself() {
    for len in SIZES {
        let dirty = Dirty::new(len).unwrap();
        let chunks = len / PMD_SIZE;
        // All of the first and the last words, and some between, if there are many.
        let step = (chunks / 500).max(1) as usize;
        let some = (0..chunks.min(200))
            .chain((0..chunks).step_by(step))
            .chain(chunks.saturating_sub(200)..chunks);

        for chunk in some {
            let page = chunk * PAGES_PER_CHUNK + chunk % PAGES_PER_CHUNK;
            let whole = (chunk * PMD_SIZE, (chunk + 1) * PMD_SIZE);

            for by_page in [false, true] {
                let expected = match by_page {
                    true => {
                        dirty.mark_page(PageOffset(page as usize));
                        (page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT)
                    }
                    false => {
                        assert!(dirty.mark_block(PageOffset(page as usize)));
                        whole
                    }
                };

                assert!(!dirty.is_empty());
                assert_eq!(parts(&dirty, all(len)), [expected], "{chunk} of {len:#x}");
                // Neighbours do not have it.
                assert_eq!(parts(&dirty, all(chunk * PMD_SIZE)), []);
                assert_eq!(parts(&dirty, all(len).from(whole.1)), []);
                assert_eq!(
                    sync(&dirty, all(len), |_| false, false),
                    (vec![chunk], vec![expected])
                );
                assert!(dirty.is_empty());
            }
        }
    }
}

#[test]
fn what_is_behind_the_end_is_not_marked() {
    for len in SIZES {
        let dirty = Dirty::new(len).unwrap();
        let words = len.div_ceil(PMD_SIZE).div_ceil(BITS);

        assert!(dirty.mark_block(page_of(words * BITS)));
        dirty.mark_blocks(page_of(words * BITS), 1 << 18);
        dirty.mark_page(page_of(len / PMD_SIZE));
        dirty.mark_pages(page_of(len / PMD_SIZE), 512);
        assert!(dirty.is_empty(), "{len:#x}");
    }
}

#[test]
fn a_sync_looks_at_few_words() {
    for len in SIZES {
        let dirty = Dirty::new(len).unwrap();
        let words = len.div_ceil(PMD_SIZE).div_ceil(BITS);
        // At most 64 shares, none of them larger than it has to be.
        let share = (1 << dirty.share) / BITS;

        assert!(words.div_ceil(share) <= BITS, "{len:#x}");
        assert!(share == 1 || words.div_ceil(share) > BITS / 2, "{len:#x}");
        for index in 0..words {
            assert_eq!(dirty.word(index).unwrap().share, 1 << (index / share));
            assert!(dirty.words(index / share).contains(&index));
        }
    }
}

#[test]
fn more_chunks_with_pages_than_are_taken_at_once() {
    let dirty = Dirty::new(GIB).unwrap();
    let mut model = Model::default();

    for chunk in 0..200 {
        let page = chunk * PAGES_PER_CHUNK + chunk * 2 % PAGES_PER_CHUNK;

        dirty.mark_page(PageOffset(page as usize));
        model.pages.insert(page);
        if chunk % 7 == 0 {
            assert!(dirty.mark_block(page_of(chunk)));
            model.blocks.insert(chunk);
        }
    }
    assert_eq!(
        sync(&dirty, all(GIB), |_| false, false),
        model.take(all(GIB))
    );
    assert!(dirty.is_empty());
}

#[test]
fn what_fails_is_marked_again_and_what_is_kept() {
    let dirty = Dirty::new(GIB).unwrap();

    dirty.mark_pages(PageOffset(700), 90);
    assert!(dirty.mark_block(page_of(70)));
    let marked = parts(&dirty, all(GIB));

    sync(&dirty, all(GIB), |_| true, false);
    assert_eq!(parts(&dirty, all(GIB)), marked);
    sync(&dirty, all(GIB), |_| false, true);
    // By the chunk.
    let failed = [
        (PMD_SIZE, 2 * PMD_SIZE),
        (70 * PMD_SIZE, 71 * PMD_SIZE), //
    ];

    assert_eq!(parts(&dirty, all(GIB)), failed);
    sync(&dirty, all(GIB), |_| false, false);
    assert!(dirty.is_empty());
}

#[test]
fn a_chunk_becomes_sparse_and_dense() {
    let dirty = Dirty::new(64 * GIB).unwrap();
    let decide = |by: &dyn Fn(), now| {
        let mut taken = Taken::new();

        by();
        dirty.begin(now);
        assert!(dirty.take(5, 1 << 9, &mut taken));
        taken.chunks().for_each(|chunk| dirty.decide(&chunk));
        dirty.release(1 << (5 * BITS >> dirty.share), false);
    };
    let page = page_of(5 * BITS + 9);
    let block = || assert!(dirty.mark_block(page));
    let pages = |count| move |dirty: &Dirty| dirty.mark_pages(page, count);
    let start = 10 * SPARSE_MS;

    // Not by what is long ago.
    for i in 0..10 {
        decide(&block, start + i * SPARSE_MS);
    }
    decide(&block, start + 20 * SPARSE_MS);
    decide(&block, start + 20 * SPARSE_MS + 1);
    decide(&block, start + 21 * SPARSE_MS - 1);
    assert!(!dirty.mark_block(page));
    assert!(dirty.mark_block(PageOffset(page.0 + 512)));
    // Stays so while there are few pages.
    decide(&|| pages(SPARSE_PAGES as usize)(&dirty), start);
    assert!(!dirty.mark_block(page));
    decide(&|| pages(SPARSE_PAGES as usize + 1)(&dirty), start);
    for _ in 0..10 {
        decide(&block, start + 20 * SPARSE_MS);
    }
    block();
    dirty.forget_hints();
    for _ in 0..3 {
        decide(&block, start + 20 * SPARSE_MS);
    }
    assert!(!dirty.mark_block(page));
    dirty.forget_hints();
    block();
}

/// What is done to the marks.
#[derive(Clone, Debug)]
enum Step {
    Block(u64),
    Gib(u64),
    Page(u64),
    Pages(u64, u64),
    Look(u64, u64),
    Sync(u64, u64, u64, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = || (inputs::edgy(), inputs::edgy());

    vec(
        prop_oneof![
            6 => inputs::edgy().prop_map(Step::Block),
            1 => inputs::edgy().prop_map(Step::Gib),
            6 => inputs::edgy().prop_map(Step::Page),
            6 => part().prop_map(|(page, count)| Step::Pages(page, count)),
            4 => part().prop_map(|(start, len)| Step::Look(start, len)),
            3 => (part(), any::<u64>(), prop::bool::weighted(0.1))
                .prop_map(|((start, len), keep, failed)| Step::Sync(start, len, keep, failed)),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..inputs::config() })]

    /// Also of sizes at which the words of a share are not all there.
    #[test]
    fn any_steps(chunks in prop_oneof![1..70u64, 1..20_000u64, 4_000..4_200u64], steps in steps()) {
        let len = chunks * PMD_SIZE;
        let dirty = Dirty::new(len).unwrap();
        let mut model = Model::default();
        let part = |start, bytes| {
            let start = start % len;

            ByteRange::new(start, bytes % (len - start + 1)).unwrap()
        };

        for step in steps {
            match step {
                Step::Block(page) => {
                    let page = page % (chunks * PAGES_PER_CHUNK);

                    prop_assert!(dirty.mark_block(PageOffset(page as usize)));
                    model.blocks.insert(page / PAGES_PER_CHUNK);
                }
                Step::Gib(chunk) => {
                    let chunk = chunk % chunks;

                    if chunk + 512 <= chunks {
                        dirty.mark_blocks(page_of(chunk), 1 << 18);
                        model.blocks.extend(chunk..chunk + 512);
                    }
                }
                Step::Page(page) => {
                    let page = page % (chunks * PAGES_PER_CHUNK);

                    dirty.mark_page(PageOffset(page as usize));
                    model.pages.insert(page);
                }
                Step::Pages(page, count) => {
                    let page = page % (chunks * PAGES_PER_CHUNK);
                    let count = count % (PAGES_PER_CHUNK - page % PAGES_PER_CHUNK) + 1;

                    dirty.mark_pages(PageOffset(page as usize), count as usize);
                    model.pages.extend(page..page + count);
                }
                Step::Look(start, bytes) => {
                    let range = part(start, bytes);

                    prop_assert_eq!(parts(&dirty, range), model.parts(range));
                    // No more than it has to: what a sync asks first.
                    if dirty.marked(range) == 0 {
                        prop_assert_eq!(model.parts(range), []);
                    }
                }
                Step::Sync(start, bytes, keep, failed) => {
                    let range = part(start, bytes);
                    let before = model.clone();
                    let expected = model.take(range);
                    let keeps = |chunk: u64| keep >> (chunk % 64) & 1 != 0;

                    prop_assert_eq!(sync(&dirty, range, keeps, failed), expected);
                    model.taken.clear();
                    let gone = |chunk: u64| range.start() <= chunk * PMD_SIZE
                        && (chunk + 1) * PMD_SIZE <= range.end();

                    // A chunk that was in both is marked as a whole again.
                    model.blocks.extend(before.blocks.iter().filter(|it| keeps(**it)));
                    model.pages.extend(before.pages.iter().filter(|page| {
                        let chunk = **page / PAGES_PER_CHUNK;

                        keeps(chunk) && !before.blocks.contains(&chunk)
                    }));
                    if failed {
                        model.blocks.extend(before.blocks.iter().filter(|it| gone(**it)));
                        model.blocks.extend((before.pages.iter())
                            .map(|page| page / PAGES_PER_CHUNK)
                            .filter(|chunk| gone(*chunk)));
                    }
                }
            }
            prop_assert_eq!(dirty.is_empty(), model.is_empty());
        }
        prop_assert_eq!(parts(&dirty, all(len)), model.parts(all(len)));
    }
}

/// All orders in which faults, stores and syncs can meet, for one chunk, step by step.
///
/// Each of two threads stores, by a fault if it has to, and syncs; thrice. What one of them stored before its
/// sync began is durable when that returns, whatever the order.
mod orders {
    use super::*;
    use core::result::Result;

    /// What can be left out of the order.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Without {
        Nothing,
        /// The share is marked before the chunk, and not looked at if the chunk is.
        MarkingUpwards,
        /// 2.
        Waiting,
        /// 4, or its place: before 3.
        References,
        /// A look at the shares that are claimed.
        Claims,
        /// The second look at the summary.
        SecondLook,
        /// The second look for marks, when that of the share was taken.
        SettlingAgain,
        /// Syncs of a share one after the other.
        Exclusion,
        /// 1 comes after 3.
        TakingFirst,
    }

    /// What the second thread does.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    enum Kind {
        /// The same.
        Same,
        /// It stores by a device, without a fault, as long as that has the page pinned.
        Pins,
        /// It stores nothing, and syncs another part of the share.
        Elsewhere,
    }

    /// The atomics of the marks, of one chunk.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    struct Marks {
        summary: bool,
        claimed: bool,
        block: bool,
        taken: bool,
    }

    impl Marks {
        fn to(self, dirty: &Dirty) {
            let word = dirty.word(0).unwrap();

            for (bits, set) in [
                (&dirty.summary, self.summary),
                (&dirty.claimed, self.claimed),
                (&word.blocks, self.block),
                (&word.taken, self.taken),
            ] {
                bits.take(u64::MAX);
                bits.set(u64::from(set));
            }
        }

        fn from(dirty: &Dirty) -> Self {
            let word = dirty.word(0).unwrap();

            Self {
                summary: dirty.summary.load() != 0,
                claimed: dirty.claimed.load() != 0,
                block: word.blocks.load() != 0,
                taken: word.taken.load() != 0,
            }
        }
    }

    /// Where a thread is.
    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    enum At {
        Store,
        Lock,
        MarkBlock,
        MarkShare,
        Insert,
        Unlock,
        Summary,
        Claimed(bool),
        SummaryAgain(bool),
        Claim,
        SetTaken,
        TakeBlock,
        Wait,
        Protect,
        References,
        GiveBack,
        WriteBack,
        Settle,
        TakeShare,
        SettleAgain,
        Release,
        End,
    }

    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    struct Thread {
        at: At,
        rounds: u8,
        kind: Kind,
        /// What has to be durable when its sync returns.
        owed: u8,
        took: bool,
        pinned: bool,
    }

    #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
    struct World {
        marks: Marks,
        locked: Option<usize>,
        mapped: bool,
        /// Whether a device has the page still.
        pinned: bool,
        /// Stores are counted.
        stored: u8,
        durable: u8,
        threads: [Thread; 2],
    }

    impl World {
        /// The next step of a thread; `None` if it has to wait. What is broken if that is seen.
        fn step(
            mut self,
            who: usize,
            dirty: &Dirty,
            without: Without,
        ) -> Option<Result<Self, Self>> {
            let mut thread = self.threads[who];
            let word = dirty.word(0).unwrap();

            self.marks.to(dirty);
            thread.at = match thread.at {
                At::Store => {
                    let may_store = match thread.kind {
                        Kind::Same => self.mapped,
                        Kind::Pins => self.pinned,
                        Kind::Elsewhere => false,
                    };

                    match thread.kind {
                        _ if may_store => {
                            self.stored += 1;
                            thread.owed = self.stored;
                            At::Summary
                        }
                        Kind::Same => At::Lock,
                        Kind::Pins => At::End,
                        Kind::Elsewhere => At::Summary,
                    }
                }
                At::Lock if self.locked.is_some() => return None,
                At::Lock => {
                    self.locked = Some(who);
                    match without {
                        Without::MarkingUpwards if word.blocks.load() != 0 => At::Insert,
                        Without::MarkingUpwards => At::MarkShare,
                        _ => At::MarkBlock,
                    }
                }
                At::MarkBlock => {
                    word.blocks.set(1);
                    match without {
                        Without::MarkingUpwards => At::Insert,
                        _ => At::MarkShare,
                    }
                }
                At::MarkShare => {
                    dirty.mark_share(word);
                    match without {
                        Without::MarkingUpwards => At::MarkBlock,
                        _ => At::Insert,
                    }
                }
                At::Insert => {
                    self.mapped = true;
                    At::Unlock
                }
                At::Unlock => {
                    self.locked = None;
                    At::Store
                }
                At::Summary => At::Claimed(dirty.summary.load() != 0),
                At::Claimed(found) => {
                    let claimed = dirty.claimed.load() != 0 && without != Without::Claims;

                    At::SummaryAgain(found || claimed)
                }
                At::SummaryAgain(found) => {
                    let again = dirty.summary.load() != 0 && without != Without::SecondLook;

                    match found || again {
                        true => At::Claim,
                        false => At::End,
                    }
                }
                At::Claim => match dirty.claim(0) || without == Without::Exclusion {
                    true if without == Without::TakingFirst => At::Wait,
                    true => At::SetTaken,
                    false => return None,
                },
                At::SetTaken => {
                    thread.took = word.blocks.load() != 0 && thread.kind != Kind::Elsewhere;
                    match thread.took {
                        true => {
                            word.taken.set(1);
                            At::TakeBlock
                        }
                        false => At::Settle,
                    }
                }
                At::TakeBlock => {
                    word.blocks.take(1);
                    match without {
                        Without::Waiting => At::Protect,
                        Without::TakingFirst => At::References,
                        _ => At::Wait,
                    }
                }
                At::Wait if self.locked.is_some() => return None,
                At::Wait => At::Protect,
                At::Protect => {
                    self.mapped = false;
                    match without {
                        Without::TakingFirst => At::SetTaken,
                        _ => At::References,
                    }
                }
                At::References => {
                    thread.pinned = self.pinned && without != Without::References;
                    match thread.pinned {
                        true => At::GiveBack,
                        false => At::WriteBack,
                    }
                }
                At::GiveBack => {
                    dirty.mark_chunks(0, 1);
                    At::WriteBack
                }
                At::WriteBack => {
                    self.durable = self.stored;
                    At::Settle
                }
                // As `settle`.
                At::Settle if dirty.is_marked(0) => At::Release,
                At::Settle => At::TakeShare,
                At::TakeShare => {
                    dirty.summary.take(1);
                    match without {
                        Without::SettlingAgain => At::Release,
                        _ => At::SettleAgain,
                    }
                }
                At::SettleAgain => {
                    if dirty.is_marked(0) {
                        dirty.summary.set(1);
                    }
                    At::Release
                }
                At::Release => {
                    dirty.release(1, false);
                    At::End
                }
                At::End => return None,
            };
            self.marks = Marks::from(dirty);
            let is_late = thread.at == At::End && self.durable < thread.owed;

            if thread.at == At::End && thread.rounds > 0 {
                thread.rounds -= 1;
                thread.at = At::Store;
            }
            self.threads[who] = thread;
            Some(if is_late { Err(self) } else { Ok(self) })
        }
    }

    /// Goes through all orders, and returns how many states there are, or one that must not be.
    fn explore(kind: Kind, without: Without) -> Result<usize, World> {
        let dirty = Dirty::new(PMD_SIZE).unwrap();
        let pins = kind == Kind::Pins;
        let thread = |kind| Thread {
            at: At::Store,
            rounds: 2,
            kind,
            owed: 0,
            took: false,
            pinned: false,
        };
        let mut start = World {
            marks: Marks::default(),
            locked: None,
            mapped: false,
            pinned: pins,
            stored: 0,
            durable: 0,
            threads: [thread(Kind::Same), thread(kind)],
        };

        // It was pinned through a mapping.
        start.marks.block = pins;
        start.marks.summary = pins;
        let mut seen = HashSet::from([start]);
        let mut rest = vec![start];

        while let Some(world) = rest.pop() {
            let mut next: Vec<_> = (0..2)
                .filter_map(|who| world.step(who, &dirty, without))
                .collect();

            // It may be unpinned at any time.
            if world.pinned {
                next.push(Ok(World {
                    pinned: false,
                    ..world
                }));
            }
            for world in next {
                let world = world?;

                if seen.insert(world) {
                    rest.push(world);
                }
            }
        }
        Ok(seen.len())
    }

    #[test]
    fn no_store_is_missed() {
        for kind in [Kind::Same, Kind::Pins, Kind::Elsewhere] {
            let states = explore(kind, Without::Nothing).unwrap();

            assert!(states > 1000, "{states}");
        }
    }

    /// And each part of the order is needed for that.
    #[test]
    fn nothing_can_be_left_out() {
        for (kind, without) in [
            (Kind::Same, Without::MarkingUpwards),
            (Kind::Same, Without::Waiting),
            (Kind::Pins, Without::References),
            (Kind::Same, Without::Claims),
            (Kind::Same, Without::SecondLook),
            (Kind::Same, Without::SettlingAgain),
            (Kind::Same, Without::Exclusion),
            (Kind::Same, Without::TakingFirst),
        ] {
            assert!(explore(kind, without).is_err(), "{without:?}");
        }
    }
}
