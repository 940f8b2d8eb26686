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
    let at_work = dirty.at_work();
    let mut taken = Taken::new();
    let mut chunks = Vec::new();
    let mut parts = Vec::new();

    for share in set_bits(shares) {
        for index in dirty.words(share) {
            let mut wanted = Dirty::within(index, range);

            loop {
                assert_eq!(dirty.take(index, wanted, &mut taken), 0);
                if taken.mask() == 0 {
                    break;
                }
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
    }
    dirty.release(shares, failed);
    assert!(!dirty.is_empty());
    drop(at_work);
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
        assert_eq!(dirty.take(5, 1 << 9, &mut taken), 0);
        assert_eq!(taken.mask(), 1 << 9);
        taken.chunks().for_each(|chunk| dirty.decide(&chunk));
        dirty.written(&taken);
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
fn no_mark_is_not_all_while_syncs_are_at_work() {
    let dirty = Dirty::new(8 * GIB).unwrap();
    let syncs = [dirty.at_work(), dirty.at_work()];

    assert_eq!(syncs[0].turn(), 0);
    assert_eq!(syncs[1].turn(), 1);

    assert_eq!(dirty.marked(all(8 * GIB)), 0);
    for sync in syncs {
        assert!(!dirty.is_empty());
        drop(sync);
    }
    assert!(dirty.is_empty());
    assert_eq!(dirty.at_work().turn(), 0);
}

#[test]
fn what_is_written_back_is_not_taken_any_more() {
    let dirty = Dirty::new(8 * GIB).unwrap();
    let mut taken = Taken::new();

    for chunk in [64, 65, 127, 128] {
        dirty.mark_page(page_of(chunk));
    }
    dirty.take(1, 0b11, &mut taken);
    assert_eq!(taken.mask(), 0b11);
    dirty.take(2, 1, &mut taken);
    assert_eq!(taken.mask(), 1);
    // Of the last word alone.
    dirty.written(&taken);
    assert!(dirty.is_taken(1, 0b10));
    assert!(!dirty.is_taken(1, !0b11));
    assert!(!dirty.is_taken(2, u64::MAX));
    let expected = [
        (64 * PMD_SIZE, 66 * PMD_SIZE),
        (127 * PMD_SIZE, 127 * PMD_SIZE + 4096),
    ];

    assert_eq!(parts(&dirty, all(8 * GIB)), expected);
}

#[test]
fn what_a_sync_has_is_not_taken_by_another_one() {
    let dirty = Dirty::new(8 * GIB).unwrap();
    let (mut first, mut second) = (Taken::new(), Taken::new());

    for chunk in [1, 2] {
        assert!(dirty.mark_block(page_of(chunk)));
    }
    assert_eq!(dirty.take(0, 0b010, &mut first), 0);
    // Marked again, but that has to wait.
    assert!(dirty.mark_block(page_of(1)));
    assert_eq!(dirty.take(0, 0b110, &mut second), 0b010);
    assert_eq!(second.mask(), 0b100);
    assert_eq!(dirty.take(0, 0b011, &mut second), 0b010);
    assert_eq!(second.mask(), 0);
    dirty.written(&first);
    assert_eq!(dirty.take(0, 0b011, &mut second), 0);
    assert_eq!(second.mask(), 0b010);
}

#[test]
fn bits_come_in_turn_from_any_place() {
    let word = 1 << 3 | 1 << 4 | 1 << 60;
    let from = |number| bits_from(word, number).collect::<Vec<_>>();

    assert_eq!(from(0), [3, 4, 60]);
    assert_eq!(from(1), [4, 60, 3]);
    assert_eq!(from(5), [60, 3, 4]);
    assert_eq!(bits_from(1 << 63, u64::MAX).collect::<Vec<_>>(), [63]);
    assert_eq!(bits_from(u64::MAX, 7).count(), 64);
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
    let mut wanted = u64::MAX;

    loop {
        assert_eq!(dirty.take(0, wanted, &mut taken), 0);
        if taken.mask() == 0 {
            break;
        }
        wanted &= !taken.mask();
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
            prop_assert_eq!(dirty.take(chunk / BITS, 1 << (chunk % BITS), &mut taken), 0);
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
            dirty.written(&taken);
            dirty.settle(share);
            // Its neighbours are mapped as ever.
            prop_assert!(dirty.mark_block(page_of(chunk - 1)));
            prop_assert!(dirty.mark_block(page_of(chunk + 1)));
            dirty.take(chunk / BITS, 5 << ((chunk - 1) % BITS), &mut taken);
            // Nothing of it is marked, but something is taken.
            dirty.settle(share);
            prop_assert!(!dirty.is_empty());
            dirty.written(&taken);
            dirty.settle(share);
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
        let at_work = dirty.at_work();
        let mut taken = Taken::new();
        let mut kept = BTreeSet::new();

        for share in set_bits(shares) {
            for index in dirty.words(share) {
                let mut wanted = Dirty::within(index, range);

                loop {
                    prop_assert_eq!(dirty.take(index, wanted, &mut taken), 0);
                    if taken.mask() == 0 {
                        break;
                    }
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
        prop_assert_eq!(dirty.marked(all(len)), shares_of(&model) | shares);
        prop_assert!(!dirty.is_empty());
        dirty.release(shares, failed);
        drop(at_work);
        model.taken.clear();
        if failed {
            model.blocks.extend(numbers);
        }
        prop_assert_eq!(parts(&dirty, all(len)), model.parts(all(len)));
        prop_assert_eq!(dirty.summary.load(), shares_of(&model));
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
        /// A look at what others have, when the marks were looked at.
        Others,
        OthersLast,
        /// Leaving a chunk to who set its bit first.
        Claiming,
        /// And that before its marks go.
        ClaimingFirst,
        /// Waiting for what others have.
        WaitingForOthers,
        /// One sync after the other, where a flush may fail.
        WholeExclusion,
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
        /// Keeping the mark of a share of which a sync has a chunk.
        SettlingTaken,
        /// That one sync at a time looks whether the mark of a share may go.
        SettlingAlone,
        /// Marking again what was taken, if the flush failed.
        Failing,
        /// And that before others may look.
        FailingFirst,
        /// A look at whether the mark of the share may come back, and a second one at that.
        Settling,
        SummaryAgain,
        /// For sync(2), to compare how many are over and have started; and that in this order.
        Counting,
        CountingOverFirst,
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
        settling: bool,
        started: u8,
        over: u8,
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
                (&dirty.settling, u64::from(self.settling)),
                (&word.blocks, u64::from(self.block)),
                (&word.paged, u64::from(self.paged)),
                (&word.taken, u64::from(self.taken)),
                (&dirty.pages[0], u64::from(self.pages)),
            ] {
                bits.0.store(set, Ordering::Relaxed);
            }
            dirty.started.store(self.started.into(), Ordering::Relaxed);
            dirty.over.store(self.over.into(), Ordering::Relaxed);
        }

        fn from(dirty: &Dirty) -> Self {
            let word = dirty.word(0).unwrap();

            Self {
                summary: dirty.summary.load() != 0,
                settling: dirty.settling.load() != 0,
                started: dirty.started.load(Ordering::Relaxed) as u8,
                over: dirty.over.load(Ordering::Relaxed) as u8,
                block: word.blocks.load() != 0,
                paged: word.paged.load() != 0,
                taken: word.taken.load() != 0,
                pages: dirty.pages[0].load() as u8,
            }
        }
    }

    /// What a thread does next.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
        LockWhole,
        Marked(usize),
        Count,
        LookBlock,
        LookPaged,
        Others,
        Claim,
        WaitForOthers,
        ClearBlock,
        ClearPaged,
        ClearPages,
        Wait,
        Protect,
        References,
        WriteBack,
        SettleBlock(bool),
        SettlePaged(bool),
        SettleTaken(bool),
        SetSettling,
        ClearShare,
        SetShareAgain,
        ClearSettling,
        Flush,
        LoadTaken,
        ClearTaken,
        Over,
        UnlockWhole,
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
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
    enum For {
        #[default]
        Fault,
        Reference,
        Failure,
    }

    #[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
        count: u8,
        is_at_work: bool,
        /// Whether another one has the chunk, and whether it is to be waited for now.
        others: bool,
        waits: bool,
        failed: bool,
        /// What has to be durable when its sync returns.
        owed: [u8; 2],
    }

    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    struct World {
        marks: Marks,
        /// Who has the lock of the chunk.
        locked: Option<usize>,
        /// Who has that of all syncs.
        whole: Option<usize>,
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
        /// So many flushes may fail. If none may, the driver knows it.
        fails: u8,
        /// Whether a sync may have waited for others long enough.
        gives_up: bool,
    }

    const NONE: Case = Case {
        threads: [&[]; 3],
        pinned: None,
        fails: 0,
        gives_up: false,
    };

    #[derive(Clone, Copy, Eq, PartialEq)]
    enum Look {
        Summary,
        Settling,
        SummaryAgain,
    }

    /// What `marked` looks at, in this order.
    const MARKED: &[Look] = &[Look::Summary, Look::Settling, Look::SummaryAgain];

    impl Case {
        /// Whether it is of interest which syncs are at work.
        fn counts(&self) -> bool {
            self.fails > 0 || (self.threads.iter()).any(|ops| ops.contains(&Op::SyncAll))
        }

        /// The same world, if two threads do the same and have no lock: it matters not which is where.
        fn canonical(&self, mut world: World) -> World {
            if self.threads[1] == self.threads[2]
                && world.whole.is_none()
                && world.locked.is_none_or(|who| who == 0)
            {
                world.threads[1..].sort_unstable();
            }
            world
        }
    }

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
                Look::Summary => dirty.summary.load() != 0,
                Look::Settling => without != Without::Settling && dirty.settling.load() != 0,
                Look::SummaryAgain => without != Without::SummaryAgain && dirty.summary.load() != 0,
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
            let may_fail = case.fails > 0;
            // What is next when it is written back.
            let written = match may_fail {
                true => At::Flush,
                false => At::ClearTaken,
            };
            let marked = match thread.marks_for {
                For::Fault => At::Insert,
                For::Reference if without == Without::WritingLast => written,
                For::Reference => At::WriteBack,
                For::Failure if without == Without::FailingFirst => At::End,
                For::Failure => At::ClearTaken,
            };
            let sync = match may_fail && without != Without::WholeExclusion {
                true => At::LockWhole,
                false => At::Marked(0),
            };
            let settled = match may_fail {
                true => At::Over,
                false if thread.others && !thread.waits => At::LookBlock,
                false => At::Flush,
            };
            // As sync.rs: sync_share, when nothing can be taken.
            let at_last = match may_fail {
                true => At::Flush,
                false => At::SetSettling,
            };
            let first = match without {
                _ if op == Op::SyncElsewhere => at_last,
                Without::TakingFirst => At::Wait,
                _ => At::LookBlock,
            };
            let over = match may_fail {
                true => At::UnlockWhole,
                false => At::End,
            };
            let part_over = match op {
                Op::SyncPage(_) => At::Flush,
                _ => at_last,
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
                        sync
                    }
                    Op::SyncPage(page) => {
                        thread.owed[page] = self.stored[page];
                        At::PartBlock
                    }
                    Op::SyncElsewhere => sync,
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
                // As `is_empty`.
                At::Empty(0) => {
                    thread.count = match without {
                        Without::CountingOverFirst => self.marks.started,
                        _ => self.marks.over,
                    };
                    At::Empty(1)
                }
                At::Empty(1) if dirty.summary.load() != 0 => sync,
                At::Empty(1) => At::Empty(2),
                At::Empty(_) => {
                    let count = match without {
                        Without::CountingOverFirst => self.marks.over,
                        Without::Counting => thread.count,
                        _ => self.marks.started,
                    };

                    match count == thread.count {
                        true => At::End,
                        false => sync,
                    }
                }
                // As sync.rs: sync_stores.
                At::LockWhole if self.whole.is_some() => return Ok(Vec::new()),
                At::LockWhole => {
                    self.whole = Some(who);
                    At::Marked(0)
                }
                // As `marked`.
                At::Marked(look) => {
                    thread.seen |= Self::look(dirty, MARKED[look], without);
                    match thread.seen {
                        true if !case.counts() => {
                            thread.is_at_work = true;
                            first
                        }
                        true => At::Count,
                        false if look + 1 < MARKED.len() => At::Marked(look + 1),
                        false => At::Flush,
                    }
                }
                // As sync.rs: sync_shares.
                At::Count => {
                    dirty.started.fetch_add(1, Ordering::Relaxed);
                    thread.is_at_work = true;
                    first
                }
                // As `take`.
                At::LookBlock => {
                    // The second time is the second round.
                    thread.waits = thread.others;
                    thread.others = without == Without::OthersLast && word.taken.load() & 1 != 0;
                    thread.block = word.blocks.load() & 1 != 0;
                    At::LookPaged
                }
                At::LookPaged => {
                    thread.paged = word.paged.load() & 1 != 0;
                    At::Others
                }
                At::Others => {
                    if !matches!(without, Without::Others | Without::OthersLast) {
                        thread.others = word.taken.load() & 1 != 0;
                    }
                    match (thread.others, thread.block || thread.paged) {
                        (false, true) if without == Without::ClaimingFirst => At::ClearBlock,
                        (false, true) => At::Claim,
                        (false, false) => at_last,
                        (true, _) if thread.waits => At::WaitForOthers,
                        (true, _) => at_last,
                    }
                }
                At::Claim => {
                    let is_mine = word.taken.0.fetch_or(1, Ordering::AcqRel) & 1 == 0;

                    thread.others = !is_mine && without != Without::Claiming;
                    match without {
                        Without::ClaimingFirst => At::Wait,
                        _ if !thread.others => At::ClearBlock,
                        _ if thread.waits => At::WaitForOthers,
                        _ => at_last,
                    }
                }
                // As sync.rs: wait_for.
                At::WaitForOthers if without == Without::WaitingForOthers => at_last,
                At::WaitForOthers if word.taken.load() & 1 != 0 && !case.gives_up => {
                    return Ok(Vec::new());
                }
                At::WaitForOthers if word.taken.load() & 1 != 0 => {
                    (thread.block, thread.paged) = (false, false);
                    At::PartBlock
                }
                At::WaitForOthers => At::LookBlock,
                At::ClearBlock => {
                    thread.block = word.blocks.take(1) != 0;
                    At::ClearPaged
                }
                At::ClearPaged => {
                    thread.paged = word.paged.take(thread.paged.into()) != 0;
                    At::ClearPages
                }
                At::ClearPages => {
                    if thread.paged {
                        thread.pages = pages.take(u64::MAX) as u8;
                    }
                    match without {
                        Without::ClaimingFirst => At::Claim,
                        Without::TakingFirst => At::References,
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
                        Without::TakingFirst => At::LookBlock,
                        Without::WritingLast => At::WriteBack,
                        _ if case.pinned.is_none() => At::WriteBack,
                        _ => At::References,
                    }
                }
                At::References => {
                    let is_pinned = self.pinned && without != Without::References;

                    match without {
                        Without::WritingLast if !is_pinned => written,
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
                        _ => written,
                    }
                }
                // As `settle`.
                At::SettleBlock(again) => {
                    thread.seen = word.blocks.load() & 1 != 0;
                    At::SettlePaged(again)
                }
                At::SettlePaged(again) => {
                    thread.seen |= word.paged.load() & 1 != 0;
                    At::SettleTaken(again)
                }
                At::SettleTaken(again) => {
                    thread.seen |= without != Without::SettlingTaken && word.taken.load() & 1 != 0;
                    match (again, thread.seen) {
                        (false, true) if without != Without::Keeping => At::ClearSettling,
                        (false, _) => At::ClearShare,
                        (true, true) => At::SetShareAgain,
                        (true, false) => At::ClearSettling,
                    }
                }
                At::SetSettling => {
                    let is_alone = dirty.settling.0.fetch_or(1, Ordering::AcqRel) & 1 == 0;

                    match is_alone || without == Without::SettlingAlone {
                        true => At::SettleBlock(false),
                        false => settled,
                    }
                }
                At::ClearShare => {
                    dirty.summary.take(1);
                    match without {
                        Without::SettlingAgain | Without::Keeping => At::ClearSettling,
                        _ => At::SettleBlock(true),
                    }
                }
                At::SetShareAgain => {
                    dirty.summary.set(1);
                    At::ClearSettling
                }
                At::ClearSettling => {
                    dirty.settling.take(1);
                    settled
                }
                At::Flush => {
                    self.durable = self.written;
                    match thread.is_at_work {
                        true if thread.failed => At::LoadTaken,
                        true if may_fail => At::ClearTaken,
                        true if case.counts() => At::Over,
                        _ => over,
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
                // Or as `written`.
                At::ClearTaken => {
                    word.taken.take(1);
                    At::SetSettling
                }
                At::Over => {
                    dirty.over.fetch_add(1, Ordering::Relaxed);
                    over
                }
                At::UnlockWhole => {
                    if self.whole == Some(who) {
                        self.whole = None;
                    }
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
                            part_over
                        }
                        (false, true) => At::PartPages,
                        (false, false) => part_over,
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
                    part_over
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

            // It may also wait.
            if before.threads[who].at == At::WaitForOthers && thread.at == At::PartBlock {
                worlds.push(before);
            }

            // That of who took marks: another one has nothing to say of what is lost.
            if before.threads[who].at == At::Flush && thread.is_at_work && before.fails > 0 {
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
            // Of others that were waited for too long.
            _ => 3,
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
                let next = case.canonical(next);

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

    const GIVES_UP: Case = Case {
        gives_up: true,
        ..two(&[Page(0), Sync, Block(1), Sync], &[Page(0), Sync])
    };

    /// sync(2).
    const ALL: Case = two(
        &[Page(0), SyncAll, Page(0), SyncAll],
        &[Page(0), Sync, Page(1), Sync],
    );

    const ALL_AND_SYNCS: Case = Case {
        threads: [&[Page(0), SyncAll], &[Sync], &[Sync]],
        ..NONE
    };

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
            (GIVES_UP, "gives up"),
            (ALL, "all"),
            (ALL_AND_SYNCS, "all and syncs"),
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
            (PAGE, Without::Others),
            (PAGE, Without::OthersLast),
            (SYNCS, Without::Claiming),
            (PART, Without::ClaimingFirst),
            (PAGES, Without::WaitingForOthers),
            (FAILS, Without::WholeExclusion),
            (PAGES, Without::TakingFirst),
            (PAGE, Without::Waiting),
            (BLOCK, Without::Waiting),
            (PINNED, Without::References),
            (PINNED, Without::WritingLast),
            (PINNED_BLOCK, Without::WritingLast),
            (PINNED, Without::GivingBack),
            (ELSEWHERE, Without::Keeping),
            (PAGES, Without::SettlingAgain),
            (SYNCS, Without::SettlingTaken),
            (SYNCS, Without::SettlingAlone),
            (FAILS, Without::Failing),
            (FAILS_BLOCK, Without::FailingFirst),
            (PAGE, Without::Settling),
            (PAGE, Without::SummaryAgain),
            (PINNED, Without::SummaryAgain),
            (ALL, Without::Counting),
            (ALL_AND_SYNCS, Without::CountingOverFirst),
            (FAILS_AND_AGAIN, Without::Taken),
            (PART, Without::TakenAgain),
            (FAILS_PART, Without::BlockAgain),
            (FAILS_AND_AGAIN, Without::TakenLast),
        ] {
            assert!(explore(&case, without).is_err(), "{without:?}");
        }
    }
}
