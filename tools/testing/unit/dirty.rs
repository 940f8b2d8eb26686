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
const SIZES: [u64; 14] = [
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
    3 << 40,
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
        let within = || ByteRange::new(first * PMD_SIZE, (end - first) * PMD_SIZE).unwrap();
        let parts = match first < end {
            true => self.parts(within()),
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

/// What a sync of `range` does, but for what the kernel is asked for. Chunks for which `keep` says
/// so are given back.
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

#[test]
fn a_share_is_claimed_by_one() {
    let dirty = Dirty::new(8 * GIB).unwrap();

    for share in 0..BITS {
        assert!(dirty.claim(share));
        assert!((0..BITS).all(|other| other > share || !dirty.claim(other)));
    }
    // Nothing is marked, but others have to wait.
    assert!(!dirty.is_empty());
    assert_eq!(dirty.marked(all(8 * GIB)), u64::MAX);
    dirty.release(0b101, false);
    assert_eq!(dirty.marked(all(8 * GIB)), !0b101);
    assert!(!dirty.claim(1));
    assert!(dirty.claim(2));
    assert!(dirty.claim(0));
    dirty.release(u64::MAX, true);
    assert!(dirty.is_empty());
}

#[test]
fn a_chunk_is_taken_with_its_pages() {
    let dirty = Dirty::new(64 * PMD_SIZE).unwrap();
    let mut taken = Taken::new();
    let mut rounds = Vec::new();

    for chunk in 0..64 {
        assert!(dirty.mark_block(page_of(chunk)));
        if chunk % 2 != 0 {
            dirty.mark_pages(PageOffset(page_of(chunk).0 + 60), 10);
        }
    }
    assert!(dirty.claim(0));
    while dirty.take(0, u64::MAX, &mut taken) {
        rounds.push(taken.mask());
        for chunk in taken.chunks() {
            match chunk {
                Chunk::Block(number) => assert_eq!(number % 2, 0),
                Chunk::Pages(number, is_block, pages) => {
                    assert!(is_block);
                    assert_eq!(number % 2, 1);
                    assert_eq!(pages[..2], [0xf << 60, 0x3f]);
                    assert_eq!(pages[2..], [0; WORDS_PER_CHUNK - 2]);
                }
            }
        }
    }
    assert_eq!(rounds.len(), 32 / Taken::MOST_PAGED);
    assert_eq!(rounds.iter().sum::<u64>(), u64::MAX);
}

#[test]
fn what_is_found_of_a_gibibyte() {
    let dirty = Dirty::new(8 * GIB).unwrap();

    // Not at the start of a word.
    dirty.mark_blocks(page_of(3 * 512 + 7), 1 << 18);
    assert_eq!(
        parts(&dirty, all(8 * GIB)),
        [(3 * GIB + 7 * PMD_SIZE, 4 * GIB + 7 * PMD_SIZE)]
    );
}

/// What is known of a chunk.
#[derive(Default)]
struct Hints {
    found: u32,
    sparse: bool,
    dense: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..inputs::config() })]

    #[test]
    fn chunks_that_lie_within(
        index in 0..1000u64,
        start in inputs::edgy(),
        bytes in inputs::edgy(),
        near in any::<bool>(),
    ) {
        let word = index * BITS * PMD_SIZE;
        let range = match near {
            true => ByteRange::new(
                (word + start % (80 * PMD_SIZE)).saturating_sub(8 * PMD_SIZE),
                bytes % (80 * PMD_SIZE),
            ),
            false => ByteRange::new(start % (4 << 40), bytes % (4 << 40)),
        }
        .unwrap();
        let is_within = |bit: u64| {
            let chunk = word + bit * PMD_SIZE;

            range.start() <= chunk && chunk + PMD_SIZE <= range.end()
        };
        let expected = (0..BITS).filter(|bit| is_within(*bit)).map(|bit| 1 << bit).sum::<u64>();

        prop_assert_eq!(Dirty::within(index, range), expected);
    }

    /// What a chunk is mapped by next, whatever was found of it before.
    #[test]
    fn any_hints(steps in vec((0..4u32, 0..1500u64, 0..100usize), 1..60)) {
        let dirty = Dirty::new(GIB).unwrap();
        let chunk = 300;
        let share = chunk >> dirty.share;
        let mut model = Hints::default();
        let mut now = 5 * SPARSE_MS;
        let mut epoch = 0;
        let mut taken = Taken::new();

        for (what, later, pages) in steps {
            // Often at once.
            now += later.saturating_sub(1000);
            prop_assert_eq!(dirty.mark_block(page_of(chunk)), !model.sparse);
            match what {
                0 => dirty.mark_pages(page_of(chunk), pages),
                1 => {
                    dirty.forget_hints();
                    model = Hints::default();
                }
                _ => (),
            }
            dirty.begin(now);
            if now - epoch >= SPARSE_MS {
                epoch = now;
                model.found = 0;
            }
            prop_assert!(dirty.claim(share));
            if dirty.take(chunk / BITS, 1 << (chunk % BITS), &mut taken) {
                for chunk in taken.chunks() {
                    match &chunk {
                        Chunk::Block(_) if !model.dense => {
                            model.found += 1;
                            model.sparse |= model.found > 2;
                        }
                        Chunk::Pages(_, false, _) if pages > SPARSE_PAGES as usize => {
                            (model.sparse, model.dense) = (false, true);
                        }
                        _ => (),
                    }
                    dirty.decide(&chunk);
                }
            }
            dirty.settle(share);
            dirty.release(1 << share, false);
            // Its neighbours are mapped as ever.
            prop_assert!(dirty.mark_block(page_of(chunk - 1)));
            prop_assert!(dirty.mark_block(page_of(chunk + 1)));
            prop_assert!(dirty.claim(share));
            dirty.take(chunk / BITS, 5 << ((chunk - 1) % BITS), &mut taken);
            dirty.settle(share);
            dirty.release(1 << share, false);
            prop_assert!(dirty.is_empty());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..inputs::config() })]

    /// What a sync took is found until it is durable, with what was marked meanwhile; and the
    /// shares say so.
    #[test]
    fn what_was_taken_is_found(
        chunks in 1..20_000u64,
        before in vec((inputs::edgy(), any::<bool>()), 1..40),
        meanwhile in vec((inputs::edgy(), any::<bool>()), 0..10),
        part in (inputs::edgy(), inputs::edgy()),
        keep in any::<u64>(),
        failed in any::<bool>(),
    ) {
        let len = chunks * PMD_SIZE;
        let dirty = Dirty::new(len).unwrap();
        let mut model = Model::default();
        let start = part.0 % len;
        let range = ByteRange::new(start, part.1 % (len - start + 1)).unwrap();
        let mark = |model: &mut Model, page: u64, by_page| {
            let page = page % (chunks * PAGES_PER_CHUNK);

            match by_page {
                true => {
                    dirty.mark_page(PageOffset(page as usize));
                    model.pages.insert(page);
                }
                false => {
                    assert!(dirty.mark_block(PageOffset(page as usize)));
                    model.blocks.insert(page / PAGES_PER_CHUNK);
                }
            }
        };
        let shares_of = |model: &Model| {
            (model.blocks.iter().copied())
                .chain(model.pages.iter().map(|page| page / PAGES_PER_CHUNK))
                .fold(0u64, |shares, chunk| shares | 1 << (chunk >> dirty.share))
        };

        for (page, by_page) in before {
            mark(&mut model, page, by_page);
        }
        prop_assert_eq!(dirty.marked(all(len)), shares_of(&model));

        let shares = dirty.marked(range);
        prop_assert_eq!(shares & !shares_of(&model), 0);
        let was = model.clone();
        let (numbers, _) = model.take(range);
        let mut taken = Taken::new();
        let mut kept = BTreeSet::new();

        for share in set_bits(shares) {
            prop_assert!(dirty.claim(share));
            for index in dirty.words(share) {
                let mut wanted = Dirty::within(index, range);

                while dirty.take(index, wanted, &mut taken) {
                    wanted &= !taken.mask();
                    for chunk in taken.chunks() {
                        if keep >> (chunk.number() % BITS) & 1 == 0 {
                            continue;
                        }
                        dirty.give_back(&chunk);
                        kept.insert(chunk.number());
                    }
                }
            }
        }
        // The marks of those are there again; and all of them are still taken.
        model.blocks.extend(was.blocks.intersection(&kept));
        model.pages.extend(was.pages.iter().filter(|page| {
            let chunk = **page / PAGES_PER_CHUNK;

            kept.contains(&chunk) && !was.blocks.contains(&chunk)
        }));
        for (page, by_page) in meanwhile {
            mark(&mut model, page, by_page);
        }
        prop_assert_eq!(parts(&dirty, all(len)), model.parts(all(len)));
        prop_assert_eq!(parts(&dirty, range), model.parts(range));
        set_bits(shares).for_each(|share| dirty.settle(share));
        prop_assert_eq!(dirty.summary.load(), shares_of(&model));
        prop_assert_eq!(dirty.marked(all(len)), shares_of(&model) | shares);
        prop_assert_eq!(parts(&dirty, all(len)), model.parts(all(len)));
        dirty.release(shares, failed);
        model.taken.clear();
        if failed {
            model.blocks.extend(numbers);
        }
        prop_assert_eq!(parts(&dirty, all(len)), model.parts(all(len)));
        prop_assert_eq!(dirty.marked(all(len)), shares_of(&model));
        prop_assert_eq!(dirty.is_empty(), model.is_empty());
    }
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

/// All orders in which faults, stores and syncs can meet, for one chunk: each access to an atomic
/// is a step. There are syncs of a page alone, which wait for nobody; sync(2), which does not even
/// flush if nothing is marked; and flushes that fail.
///
/// What was stored before a sync began is durable when that returns without an error, whoever
/// stored it.
mod pages {
    use super::*;
    use core::result::Result;
    use std::collections::{
        hash_map::Entry,
        HashMap,
        VecDeque, //
    };

    /// What can be left out, or be done out of order.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Without {
        Nothing,
        /// A fault marks the share first, and is content if it finds the page or the chunk marked.
        MarkingUpwards,
        /// The marks are taken, and the share is claimed then.
        ClaimingFirst,
        /// Syncs of a share one after the other.
        Exclusion,
        /// What is taken is noted before its marks go.
        NotingFirst,
        /// The marks are taken when nothing is mapped any more, not before.
        TakingFirst,
        /// Waiting for the faults that there are.
        Waiting,
        /// Asking for references.
        References,
        /// Writing back when that was asked, not before.
        WritingLast,
        /// Marking again what is referenced.
        GivingBack,
        /// Keeping the mark of a share of which a chunk is marked.
        Keeping,
        /// A second look for marks, when that of the share was taken.
        SettlingAgain,
        /// The mark of the share stays until what was taken is written back.
        SettlingLast,
        /// Marking again what was taken, if the flush failed.
        Failing,
        /// And that before the share is let go of.
        FailingFirst,
        /// A look at what is claimed, and a second one at the marks of the shares.
        Claims,
        SummaryAgain,
        /// For sync(2), a second look at what is claimed.
        ClaimsAgain,
        /// For a page, a look at what is taken, before its mark is looked at and behind it.
        Taken,
        TakenAgain,
        /// For a page, a second look at the chunk's mark.
        BlockAgain,
        /// A last look whether a chunk is taken, that was not and is not marked by a large page.
        TakenLast,
    }

    /// What a thread does. There are two pages, of one chunk.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    enum Op {
        /// Stores to a page, which is mapped by itself, or by a large page, if it has to be.
        Page(usize),
        Block(usize),
        /// A device stores to the first page, as long as it has it pinned.
        Device,
        /// fsync(2) of all, of one page, and of another part of the share.
        Sync,
        SyncPage(usize),
        SyncElsewhere,
        /// sync(2).
        SyncAll,
    }

    /// The marks of the chunk, of its pages and of its share.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    struct Marks {
        summary: bool,
        claimed: bool,
        block: bool,
        paged: bool,
        taken: bool,
        pages: u8,
    }

    impl Marks {
        fn to(self, dirty: &Dirty) {
            let word = dirty.word(0).unwrap();

            for (bits, set) in [
                (&dirty.summary, u64::from(self.summary)),
                (&dirty.claimed, u64::from(self.claimed)),
                (&word.blocks, u64::from(self.block)),
                (&word.paged, u64::from(self.paged)),
                (&word.taken, u64::from(self.taken)),
                (&dirty.pages[0], u64::from(self.pages)),
            ] {
                bits.0.store(set, Ordering::Relaxed);
            }
        }

        fn from(dirty: &Dirty) -> Self {
            let word = dirty.word(0).unwrap();

            Self {
                summary: dirty.summary.load() != 0,
                claimed: dirty.claimed.load() != 0,
                block: word.blocks.load() != 0,
                paged: word.paged.load() != 0,
                taken: word.taken.load() != 0,
                pages: dirty.pages[0].load() as u8,
            }
        }
    }

    /// What a thread does next.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    enum At {
        #[default]
        Start,
        // A fault.
        Lock,
        Insert,
        Unlock,
        // A mark, of a fault or of a sync.
        LoadPages,
        SetPages,
        LoadPaged,
        SetPaged,
        LoadBlock,
        SetBlock,
        LoadShare,
        SetShare,
        // A sync.
        Empty(usize),
        Marked(usize),
        Claim,
        TakePaged,
        TakeBlock,
        NoteTaken,
        ClearBlock,
        ClearPaged,
        ClearPages,
        Wait,
        Protect,
        References,
        WriteBack,
        SettleBlock(bool),
        SettlePaged(bool),
        ClearShare,
        SetShareAgain,
        Flush,
        LoadTaken,
        ClearTaken,
        Unclaim,
        // A sync of a page.
        PartBlock,
        PartPaged,
        PartTaken,
        PartBlockAgain,
        PartTakenLast,
        PartPagedAgain,
        PartPages,
        PartTakenAgain,
        End,
    }

    /// What it marks for.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    enum For {
        #[default]
        Fault,
        Reference,
        Failure,
    }

    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    struct Thread {
        /// How many of its `Op`s are over.
        over: usize,
        at: At,
        marks_for: For,
        /// Whether it saw what it looks for.
        seen: bool,
        /// What it took, or saw.
        block: bool,
        paged: bool,
        pages: u8,
        claims: bool,
        failed: bool,
        /// What has to be durable when its sync returns.
        owed: [u8; 2],
    }

    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    struct World {
        marks: Marks,
        /// Who has the lock of the chunk.
        locked: Option<usize>,
        /// What can be stored to: by a large page, and pages by themselves.
        block: bool,
        pages: u8,
        /// Whether a device has the first page.
        pinned: bool,
        /// So many flushes may fail.
        fails: u8,
        /// Stores are counted, for each page.
        stored: [u8; 2],
        written: [u8; 2],
        durable: [u8; 2],
        threads: [Thread; 3],
    }

    struct Case {
        threads: [&'static [Op]; 3],
        /// The first page was stored to by this before, and is pinned.
        pinned: Option<Op>,
        /// So many flushes may fail.
        fails: u8,
    }

    const NONE: Case = Case {
        threads: [&[]; 3],
        pinned: None,
        fails: 0,
    };

    #[derive(Clone, Copy, Eq, PartialEq)]
    enum Look {
        Summary,
        Claims,
        SummaryAgain,
        ClaimsAgain,
    }

    /// What `marked` looks at, and `is_empty`, in this order.
    const MARKED: &[Look] = &[Look::Summary, Look::Claims, Look::SummaryAgain];
    const EMPTY: &[Look] = &[
        Look::Summary,
        Look::Claims,
        Look::SummaryAgain,
        Look::ClaimsAgain,
    ];

    /// A mistake: what was stored is not durable.
    struct Late;

    impl World {
        fn new(case: &Case) -> Self {
            let block = matches!(case.pinned, Some(Op::Block(_)));
            let paged = matches!(case.pinned, Some(Op::Page(_)));

            Self {
                marks: Marks {
                    summary: block || paged,
                    block,
                    paged,
                    pages: paged.into(),
                    ..Marks::default()
                },
                block,
                pages: paged.into(),
                pinned: block || paged,
                fails: case.fails,
                ..Self::default()
            }
        }

        fn look(dirty: &Dirty, what: Look, without: Without) -> bool {
            match what {
                Look::Claims => without != Without::Claims && dirty.claimed.load() != 0,
                Look::Summary => dirty.summary.load() != 0,
                Look::SummaryAgain => without != Without::SummaryAgain && dirty.summary.load() != 0,
                Look::ClaimsAgain => without != Without::ClaimsAgain && dirty.claimed.load() != 0,
            }
        }

        fn write_back(&mut self, pages: u8) {
            for page in set_bits(pages.into()) {
                self.written[page as usize] = self.stored[page as usize];
            }
        }

        /// The next step of a thread: none if it has to wait, and both if a flush may fail.
        fn step(
            mut self,
            who: usize,
            case: &Case,
            dirty: &Dirty,
            without: Without,
        ) -> Result<Vec<Self>, Late> {
            let Some(op) = case.threads[who].get(self.threads[who].over).copied() else {
                return Ok(Vec::new());
            };
            let before = self;
            let mut thread = self.threads[who];
            let word = dirty.word(0).unwrap();
            let pages = &dirty.pages[0];
            let upwards = thread.marks_for != For::Fault || without != Without::MarkingUpwards;
            let is_by_page = match thread.marks_for {
                For::Fault => matches!(op, Op::Page(_)),
                For::Reference => !thread.block,
                For::Failure => false,
            };
            let marks = match (thread.marks_for, op) {
                (For::Fault, Op::Page(page)) => 1 << page,
                _ => u64::from(thread.pages),
            };
            // What was taken of the pages.
            let parts = match thread.block {
                true => 3,
                false => thread.pages,
            };
            let marked = match thread.marks_for {
                For::Fault => At::Insert,
                For::Reference if without == Without::WritingLast => At::SettleBlock(false),
                For::Reference => At::WriteBack,
                For::Failure if without == Without::FailingFirst => At::End,
                For::Failure => At::ClearTaken,
            };

            self.marks.to(dirty);
            thread.at = match thread.at {
                At::Start => match op {
                    Op::Page(page) | Op::Block(page)
                        if self.block || self.pages >> page & 1 != 0 =>
                    {
                        self.stored[page] += 1;
                        At::End
                    }
                    Op::Page(_) | Op::Block(_) => At::Lock,
                    Op::Device => {
                        self.stored[0] += u8::from(self.pinned);
                        At::End
                    }
                    Op::Sync => {
                        thread.owed = self.stored;
                        At::Marked(0)
                    }
                    Op::SyncPage(page) => {
                        thread.owed[page] = self.stored[page];
                        At::PartBlock
                    }
                    Op::SyncElsewhere => At::Marked(0),
                    Op::SyncAll => {
                        thread.owed = self.stored;
                        At::Empty(0)
                    }
                },
                // As a fault of fault.rs.
                At::Lock if self.locked.is_some() => return Ok(Vec::new()),
                At::Lock => {
                    self.locked = Some(who);
                    match is_by_page {
                        true => At::LoadPages,
                        false => At::LoadBlock,
                    }
                }
                At::Insert => {
                    match op {
                        Op::Page(page) => self.pages |= 1 << page,
                        _ => self.block = true,
                    }
                    At::Unlock
                }
                At::Unlock => {
                    self.locked = None;
                    At::Start
                }
                // As `mark_some`.
                At::LoadPages => match pages.load() & marks != marks {
                    true if upwards => At::SetPages,
                    true => At::LoadShare,
                    false if upwards => At::LoadPaged,
                    false => At::Insert,
                },
                At::SetPages => {
                    pages.set(marks);
                    At::LoadPaged
                }
                At::LoadPaged => match word.paged.load() & 1 == 0 {
                    true => At::SetPaged,
                    false if upwards => At::LoadShare,
                    false => At::Insert,
                },
                At::SetPaged => {
                    word.paged.set(1);
                    match upwards {
                        true => At::LoadShare,
                        false => At::Insert,
                    }
                }
                // As `mark_block`.
                At::LoadBlock => match word.blocks.load() & 1 == 0 {
                    true if upwards => At::SetBlock,
                    false if !upwards => At::Insert,
                    _ => At::LoadShare,
                },
                At::SetBlock => {
                    word.blocks.set(1);
                    match upwards {
                        true => At::LoadShare,
                        false => At::Insert,
                    }
                }
                // As `mark_share`.
                At::LoadShare => match dirty.summary.load() & word.share == 0 {
                    true => At::SetShare,
                    false if upwards => marked,
                    false if is_by_page => At::SetPages,
                    false => At::SetBlock,
                },
                At::SetShare => {
                    dirty.summary.set(word.share);
                    match upwards {
                        true => marked,
                        false if is_by_page => At::SetPages,
                        false => At::SetBlock,
                    }
                }
                // As `is_empty` and `marked`.
                At::Empty(look) => {
                    thread.seen |= Self::look(dirty, EMPTY[look], without);
                    match thread.seen {
                        true => {
                            thread.seen = false;
                            At::Marked(0)
                        }
                        false if look + 1 < EMPTY.len() => At::Empty(look + 1),
                        false => At::End,
                    }
                }
                At::Marked(look) => {
                    thread.seen |= Self::look(dirty, MARKED[look], without);
                    match thread.seen {
                        true if without == Without::ClaimingFirst => At::TakePaged,
                        true => At::Claim,
                        false if look + 1 < MARKED.len() => At::Marked(look + 1),
                        false => At::Flush,
                    }
                }
                // As sync.rs: sync_shares.
                At::Claim if !dirty.claim(0) && without != Without::Exclusion => {
                    return Ok(Vec::new());
                }
                At::Claim => {
                    thread.claims = true;
                    match without {
                        Without::TakingFirst => At::Wait,
                        Without::ClaimingFirst if thread.block || thread.paged => At::Wait,
                        Without::ClaimingFirst => At::SettleBlock(false),
                        _ => At::TakePaged,
                    }
                }
                // As `take`.
                At::TakePaged => {
                    thread.paged = word.paged.load() & 1 != 0 && op != Op::SyncElsewhere;
                    At::TakeBlock
                }
                At::TakeBlock => {
                    thread.block = word.blocks.load() & 1 != 0 && op != Op::SyncElsewhere;
                    match thread.paged || thread.block {
                        true if without == Without::NotingFirst => At::ClearBlock,
                        true => At::NoteTaken,
                        false if without == Without::ClaimingFirst => At::Claim,
                        false => At::SettleBlock(false),
                    }
                }
                At::NoteTaken => {
                    word.taken.set(1);
                    match without {
                        Without::NotingFirst => At::Wait,
                        _ => At::ClearBlock,
                    }
                }
                At::ClearBlock => {
                    word.blocks.take(thread.block.into());
                    At::ClearPaged
                }
                At::ClearPaged => {
                    word.paged.take(thread.paged.into());
                    At::ClearPages
                }
                At::ClearPages => {
                    if thread.paged {
                        thread.pages = pages.take(u64::MAX) as u8;
                    }
                    match without {
                        Without::NotingFirst => At::NoteTaken,
                        Without::ClaimingFirst => At::Claim,
                        Without::TakingFirst => At::References,
                        Without::SettlingLast => At::SettleBlock(false),
                        Without::Waiting => At::Protect,
                        _ => At::Wait,
                    }
                }
                // As sync.rs: sync_taken.
                At::Wait if self.locked.is_some() => return Ok(Vec::new()),
                At::Wait => At::Protect,
                At::Protect => {
                    match (thread.block, thread.paged) {
                        // What is there is not known yet.
                        _ if without == Without::TakingFirst => {
                            (self.block, self.pages) = (false, 0);
                        }
                        (true, true) => (self.block, self.pages) = (false, 0),
                        (true, false) => self.block = false,
                        _ => self.pages &= !thread.pages,
                    }
                    match without {
                        Without::TakingFirst => At::TakePaged,
                        Without::WritingLast => At::WriteBack,
                        _ => At::References,
                    }
                }
                At::References => {
                    let is_pinned = self.pinned && without != Without::References;

                    match without {
                        Without::WritingLast if !is_pinned => At::SettleBlock(false),
                        _ if !is_pinned || without == Without::GivingBack => At::WriteBack,
                        _ => {
                            thread.marks_for = For::Reference;
                            match thread.block {
                                true => At::SetBlock,
                                false if thread.pages == 0 => At::WriteBack,
                                false => At::LoadPages,
                            }
                        }
                    }
                }
                At::WriteBack => {
                    self.write_back(parts);
                    match without {
                        Without::WritingLast => At::References,
                        Without::SettlingLast => At::Flush,
                        _ => At::SettleBlock(false),
                    }
                }
                // As `settle`.
                At::SettleBlock(again) => {
                    thread.seen = word.blocks.load() & 1 != 0;
                    At::SettlePaged(again)
                }
                At::SettlePaged(again) => {
                    thread.seen |= word.paged.load() & 1 != 0;

                    let settled = match without {
                        Without::SettlingLast if thread.block || thread.paged => At::Wait,
                        _ => At::Flush,
                    };
                    match (again, thread.seen) {
                        (false, true) if without != Without::Keeping => settled,
                        (false, _) => At::ClearShare,
                        (true, true) => At::SetShareAgain,
                        (true, false) => settled,
                    }
                }
                At::ClearShare => {
                    dirty.summary.take(1);
                    match without {
                        Without::SettlingLast if thread.block || thread.paged => At::Wait,
                        Without::SettlingAgain | Without::Keeping => At::Flush,
                        _ => At::SettleBlock(true),
                    }
                }
                At::SetShareAgain => {
                    dirty.summary.set(1);
                    match without {
                        Without::SettlingLast if thread.block || thread.paged => At::Wait,
                        _ => At::Flush,
                    }
                }
                At::Flush => {
                    self.durable = self.written;
                    match thread.claims {
                        true if thread.failed => At::LoadTaken,
                        true => At::ClearTaken,
                        false => At::End,
                    }
                }
                // As `release`.
                At::LoadTaken => {
                    thread.seen = word.taken.load() & 1 != 0;
                    thread.marks_for = For::Failure;
                    match without {
                        Without::FailingFirst => At::ClearTaken,
                        Without::Failing => At::ClearTaken,
                        _ if thread.seen => At::SetBlock,
                        _ => At::ClearTaken,
                    }
                }
                At::ClearTaken => {
                    word.taken.take(1);
                    At::Unclaim
                }
                At::Unclaim => {
                    dirty.claimed.take(1);
                    match without {
                        Without::FailingFirst if thread.failed && thread.seen => At::SetBlock,
                        _ => At::End,
                    }
                }
                // As `for_chunks`, of one page.
                At::PartBlock => {
                    thread.block |= word.blocks.load() & 1 != 0;
                    At::PartPaged
                }
                At::PartPaged => {
                    thread.paged |= word.paged.load() & 1 != 0;
                    At::PartTaken
                }
                At::PartTaken => {
                    thread.block |= without != Without::Taken && word.taken.load() & 1 != 0;
                    At::PartBlockAgain
                }
                At::PartBlockAgain => {
                    thread.block |= without != Without::BlockAgain && word.blocks.load() & 1 != 0;
                    At::PartPagedAgain
                }
                At::PartPagedAgain => {
                    thread.paged |= word.paged.load() & 1 != 0;
                    At::PartTakenLast
                }
                At::PartTakenLast => {
                    thread.block |= without != Without::TakenLast && word.taken.load() & 1 != 0;
                    match (thread.block, thread.paged) {
                        (true, _) => {
                            self.write_back(part_of(op));
                            At::Flush
                        }
                        (false, true) => At::PartPages,
                        (false, false) => At::Flush,
                    }
                }
                At::PartPages => {
                    self.write_back(part_of(op) & pages.load() as u8);
                    At::PartTakenAgain
                }
                At::PartTakenAgain => {
                    if without != Without::TakenAgain && word.taken.load() & 1 != 0 {
                        self.write_back(part_of(op));
                    }
                    At::Flush
                }
                At::End => {
                    if (0..2).any(|page| self.durable[page] < thread.owed[page]) {
                        return Err(Late);
                    }
                    thread = Thread {
                        over: thread.over + 1,
                        ..Thread::default()
                    };
                    At::Start
                }
            };

            self.marks = Marks::from(dirty);
            self.threads[who] = thread;
            let mut worlds = vec![self];

            // That of who took marks: another one has nothing to say of what is lost.
            if before.threads[who].at == At::Flush && thread.claims && before.fails > 0 {
                let thread = Thread {
                    at: At::LoadTaken,
                    failed: true,
                    ..thread
                };

                // What was written back since the last one has to be again. Nobody can help those
                // who rely on it already.
                self.durable = before.durable;
                self.written = before.durable;
                self.fails -= 1;
                self.threads[who] = thread;
                self.threads.iter_mut().for_each(|it| it.owed = [0; 2]);
                worlds.push(self);
            }
            Ok(worlds)
        }
    }

    /// The page of a sync of one.
    fn part_of(op: Op) -> u8 {
        match op {
            Op::SyncPage(page) => 1 << page,
            _ => 0,
        }
    }

    /// Goes through all orders, and returns how many states there are, or the way to one that must
    /// not be.
    fn explore(case: &Case, without: Without) -> Result<usize, Vec<String>> {
        let dirty = Dirty::new(PMD_SIZE).unwrap();
        let start = World::new(case);
        let mut seen = HashMap::from([(start, None)]);
        let mut rest = VecDeque::from([start]);

        while let Some(world) = rest.pop_front() {
            let mut next = Vec::new();

            for who in 0..world.threads.len() {
                match world.step(who, case, &dirty, without) {
                    Ok(worlds) => next.extend(worlds.into_iter().map(|next| (next, who))),
                    Err(Late) => return Err(way(&seen, world, who)),
                }
            }
            // It may be unpinned at any time.
            if world.pinned {
                let unpinned = World {
                    pinned: false,
                    ..world
                };

                next.push((unpinned, world.threads.len()));
            }
            for (next, who) in next {
                if let Entry::Vacant(entry) = seen.entry(next) {
                    entry.insert(Some((world, who)));
                    rest.push_back(next);
                }
            }
        }
        Ok(seen.len())
    }

    /// Which threads made which steps until a thread was late.
    fn way(seen: &HashMap<World, Option<(World, usize)>>, last: World, who: usize) -> Vec<String> {
        let mut steps = vec![format!("{who}: {:?}", last.threads[who].at)];
        let mut world = last;

        while let Some((before, who)) = seen[&world] {
            steps.push(match before.threads.get(who) {
                Some(thread) => format!("{who}: {:?}", thread.at),
                None => String::from("unpinned"),
            });
            world = before;
        }
        steps.reverse();
        steps
    }

    use Op::*;

    /// Cases: the same page, two, a chunk, and both by turns.
    const PAGE: Case = two(
        &[Page(0), Sync, Page(0), Sync],
        &[Page(0), Sync, Page(0), Sync],
    );
    const PAGES: Case = two(
        &[Page(0), Sync, Page(0), Sync],
        &[Page(1), Sync, Page(1), Sync],
    );
    const BLOCK: Case = two(
        &[Block(0), Sync, Block(0), Sync],
        &[Block(1), Sync, Block(0), Sync],
    );
    const BOTH: Case = two(
        &[Page(0), Sync, Block(0), Sync],
        &[Block(1), Sync, Page(1), Sync],
    );

    /// Another sync of the share, a third thread that faults, and one that syncs alone.
    const ELSEWHERE: Case = two(
        &[Page(0), Sync, Page(1), Sync],
        &[SyncElsewhere, SyncElsewhere, Sync],
    );
    const FAULTS: Case = Case {
        threads: [&[Page(0), Sync], &[Page(0), Sync], &[Page(0)]],
        ..NONE
    };
    const SYNCS: Case = Case {
        threads: [&[Block(0), Sync], &[Sync], &[Sync]],
        ..NONE
    };

    /// sync(2).
    const ALL: Case = two(
        &[Page(0), SyncAll, Page(0), SyncAll],
        &[Page(0), Sync, Page(1), Sync],
    );

    /// Syncs of a page.
    const PART: Case = two(
        &[Page(0), SyncPage(0), Page(0), SyncPage(0)],
        &[Page(1), Sync, Page(1), Sync],
    );
    const PART_OF_BLOCK: Case = two(
        &[Block(0), SyncPage(0), Page(0), SyncPage(0)],
        &[Block(1), Sync, Page(1), Sync],
    );

    /// A device stores.
    const PINNED: Case = Case {
        pinned: Some(Page(0)),
        ..two(&[Device, Sync, Device, Sync], &[Page(1), Sync, Sync])
    };
    const PINNED_BLOCK: Case = Case {
        pinned: Some(Block(0)),
        ..two(&[Device, Sync, Device, Sync], &[Block(1), Sync, Sync])
    };
    const PINNED_PART: Case = Case {
        pinned: Some(Page(0)),
        ..two(
            &[Device, SyncPage(0), Device, SyncPage(0)],
            &[Page(1), Sync, Sync],
        )
    };
    const PINNED_ALL: Case = Case {
        pinned: Some(Page(0)),
        ..two(&[Device, SyncAll, Device, SyncAll], &[Page(1), Sync, Sync])
    };

    /// A flush fails.
    const FAILS: Case = Case {
        fails: 1,
        ..two(&[Page(0), Sync, Sync], &[Page(1), Sync, Sync])
    };
    const FAILS_BLOCK: Case = Case {
        fails: 1,
        ..two(&[Block(0), Sync, Page(0), Sync], &[Block(1), Sync])
    };
    const FAILS_PART: Case = Case {
        fails: 1,
        ..two(&[Page(0), SyncPage(0), SyncPage(0)], &[Page(1), Sync])
    };
    const FAILS_AND_AGAIN: Case = Case {
        fails: 1,
        ..two(&[Block(0), SyncPage(0)], &[Sync, Sync])
    };
    const FAILS_PART_OF_BLOCK: Case = Case {
        fails: 1,
        ..two(&[Block(0), SyncPage(0), SyncPage(0)], &[Page(1), Sync])
    };
    const FAILS_ALL: Case = Case {
        fails: 1,
        ..two(&[Page(0), SyncAll, SyncAll], &[Page(1), Sync, Sync])
    };

    const fn two(first: &'static [Op], second: &'static [Op]) -> Case {
        Case {
            threads: [first, second, &[]],
            ..NONE
        }
    }

    #[test]
    fn no_store_is_missed() {
        for (case, name) in [
            (PAGE, "page"),
            (PAGES, "pages"),
            (BLOCK, "block"),
            (BOTH, "both"),
            (ELSEWHERE, "elsewhere"),
            (FAULTS, "faults"),
            (SYNCS, "syncs"),
            (ALL, "all"),
            (PART, "part"),
            (PART_OF_BLOCK, "part of block"),
            (PINNED, "pinned"),
            (PINNED_BLOCK, "pinned block"),
            (PINNED_PART, "pinned part"),
            (PINNED_ALL, "pinned all"),
            (FAILS, "fails"),
            (FAILS_BLOCK, "fails block"),
            (FAILS_PART, "fails part"),
            (FAILS_PART_OF_BLOCK, "fails part of block"),
            (FAILS_AND_AGAIN, "fails and again"),
            (FAILS_ALL, "fails all"),
        ] {
            match explore(&case, Without::Nothing) {
                Ok(states) => assert!(states > 1000, "{name}: {states}"),
                Err(way) => panic!("{name}:\n{}", way.join("\n")),
            }
        }
    }

    /// And each part of it is needed for that.
    #[test]
    fn nothing_can_be_left_out() {
        for (case, without) in [
            (PAGE, Without::MarkingUpwards),
            (BLOCK, Without::MarkingUpwards),
            (PAGES, Without::ClaimingFirst),
            (PAGES, Without::Exclusion),
            (PART, Without::NotingFirst),
            (PAGES, Without::TakingFirst),
            (PAGE, Without::Waiting),
            (BLOCK, Without::Waiting),
            (PINNED, Without::References),
            (PINNED, Without::WritingLast),
            (PINNED_BLOCK, Without::WritingLast),
            (PINNED, Without::GivingBack),
            (ELSEWHERE, Without::Keeping),
            (PAGES, Without::SettlingAgain),
            (PAGES, Without::SettlingLast),
            (FAILS, Without::Failing),
            (FAILS_BLOCK, Without::FailingFirst),
            (PAGE, Without::Claims),
            (PINNED, Without::Claims),
            (PAGE, Without::SummaryAgain),
            (PINNED, Without::SummaryAgain),
            (ALL, Without::ClaimsAgain),
            (FAILS_AND_AGAIN, Without::Taken),
            (PART, Without::TakenAgain),
            (FAILS_PART, Without::BlockAgain),
            (FAILS_AND_AGAIN, Without::TakenLast),
        ] {
            assert!(explore(&case, without).is_err(), "{without:?}");
        }
    }
}
