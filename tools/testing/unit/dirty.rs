// SPDX-License-Identifier: GPL-2.0

//! Tests of drivers/pmem_dax/dirty.rs, which run on the build host: tools/testing/host.
//!
//! Up to 8 GiB a bit of the summary stands for one word of 64 chunks, beyond for several.

use super::*;
use inputs::proptest::{
    collection::vec,
    prelude::*,
    sample::select, //
};
use std::collections::BTreeSet;

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

/// Numbers that are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn all(len: u64) -> ByteRange {
    ByteRange::new(0, len).unwrap()
}

/// What is in `set` of `range`: start and end of each part.
fn parts(set: &DirtyChunks, range: ByteRange) -> Vec<(u64, u64)> {
    let mut found = Vec::new();

    set.for_each(range, |part| found.push((part.start(), part.end())));
    found
}

/// What should be: the chunks of `model`, cut to `range`.
fn expected(model: &BTreeSet<u64>, range: ByteRange) -> Vec<(u64, u64)> {
    model
        .iter()
        .map(|chunk| (chunk * PMD_SIZE, (chunk + 1) * PMD_SIZE))
        .map(|(start, end)| (start.max(range.start()), end.min(range.end())))
        .filter(|(start, end)| start < end)
        .collect()
}

#[test]
fn nothing_is_in_it_at_first() {
    for len in SIZES {
        let set = DirtyChunks::new(len).unwrap();

        assert!(set.is_empty(), "{len:#x}");
        assert_eq!(parts(&set, all(len)), [], "{len:#x}");
    }
}

#[test]
fn each_chunk_is_found_by_itself() {
    for len in SIZES {
        let chunks = len / PMD_SIZE;
        // All of the first and the last words, and some between, if there are many.
        let step = (chunks / 1000).max(1) as usize;
        let some = (0..chunks.min(200))
            .chain((0..chunks).step_by(step))
            .chain(chunks.saturating_sub(200)..chunks);

        let set = DirtyChunks::new(len).unwrap();
        for chunk in some {
            let model = BTreeSet::from([chunk]);

            set.mark(ByteRange::new(chunk * PMD_SIZE + 4096, 1).unwrap());
            assert!(!set.is_empty());
            assert_eq!(
                parts(&set, all(len)),
                expected(&model, all(len)),
                "{chunk} of {len:#x}"
            );
            // Neighbours do not have it.
            assert_eq!(parts(&set, all(chunk * PMD_SIZE)), []);
            assert_eq!(parts(&set, all(len).from((chunk + 1) * PMD_SIZE)), []);
            // Not `clear`, which looks at all words.
            set.words[(chunk / BITS) as usize].store(0, Ordering::Relaxed);
            set.summary.store(0, Ordering::Relaxed);
        }
    }
}

#[test]
fn all_that_was_marked_is_found_and_nothing_else() {
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);

    for len in SIZES {
        for _ in 0..8 {
            let set = DirtyChunks::new(len).unwrap();
            let mut model = BTreeSet::new();

            for _ in 0..numbers.below(40) {
                let start = numbers.below(len);
                let bytes = 1 + numbers.below((len - start).min(300 * PMD_SIZE));

                set.mark(ByteRange::new(start, bytes).unwrap());
                model.extend(start / PMD_SIZE..=(start + bytes - 1) / PMD_SIZE);

                let page = numbers.below(len / PMD_SIZE) * PAGES_PER_CHUNK as u64;
                set.mark_block(PageOffset(page as usize), Order::Pmd);
                model.insert(page / PAGES_PER_CHUNK as u64);
            }
            assert_eq!(set.is_empty(), model.is_empty());
            assert_eq!(parts(&set, all(len)), expected(&model, all(len)));
            for _ in 0..20 {
                let start = numbers.below(len);
                let range = ByteRange::new(start, 1 + numbers.below(len - start)).unwrap();

                assert_eq!(parts(&set, range), expected(&model, range), "{len:#x}");
            }
            set.clear();
            assert!(set.is_empty());
            assert_eq!(parts(&set, all(len)), []);
            // A bit that was left would keep the next mark from the summary.
            if let Some(chunk) = model.first() {
                set.mark(ByteRange::new(chunk * PMD_SIZE, 1).unwrap());
                assert_eq!(
                    parts(&set, all(len)),
                    expected(&BTreeSet::from([*chunk]), all(len))
                );
            }
        }
    }
}

#[test]
fn blocks_of_each_order() {
    let len = 64 * GIB;
    let set = DirtyChunks::new(len).unwrap();

    set.mark_block(PageOffset(511), Order::Pte);
    set.mark_block(PageOffset(512), Order::Pte);
    set.mark_block(PageOffset(63 << 18), Order::Pud);
    assert_eq!(
        parts(&set, all(len)),
        expected(&(0..2).chain(63 * 512..64 * 512).collect(), all(len))
    );
}

#[test]
fn what_is_behind_the_end_is_not_marked() {
    for len in SIZES {
        let set = DirtyChunks::new(len).unwrap();
        let words = len.div_ceil(PMD_SIZE).div_ceil(BITS);

        set.mark(ByteRange::new(words * BITS * PMD_SIZE, 4 * GIB).unwrap());
        assert!(set.is_empty(), "{len:#x}");
    }
}

#[test]
fn a_sync_looks_at_few_words() {
    for len in SIZES {
        let set = DirtyChunks::new(len).unwrap();
        let words = len.div_ceil(PMD_SIZE).div_ceil(BITS);

        // At most 64 shares, none of them larger than it has to be.
        let share = (1 << set.share) / BITS;
        assert!(words.div_ceil(share) <= BITS, "{len:#x}");
        assert!(share == 1 || words.div_ceil(share) > BITS / 2, "{len:#x}");
    }
}

const ORDERS: [Order; 3] = [Order::Pte, Order::Pmd, Order::Pud];

/// What is done to a set.
#[derive(Clone, Debug)]
enum Step {
    Mark(u64, u64),
    Block(u64, Order),
    Look(u64, u64),
    Clear,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let part = || (inputs::edgy(), inputs::edgy());

    vec(
        prop_oneof![
            8 => part().prop_map(|(start, len)| Step::Mark(start, len)),
            8 => (inputs::edgy(), select(&ORDERS[..])).prop_map(|(page, order)| Step::Block(page, order)),
            4 => part().prop_map(|(start, len)| Step::Look(start, len)),
            1 => Just(Step::Clear),
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
        let set = DirtyChunks::new(len).unwrap();
        let mut model = BTreeSet::new();
        let part = |start, bytes| {
            let start = start % len;

            ByteRange::new(start, bytes % (len - start + 1)).unwrap()
        };

        for step in steps {
            match step {
                Step::Mark(start, bytes) => {
                    // No more than a test has time for.
                    let range = part(start, bytes % (300 * PMD_SIZE));

                    if !range.is_empty() {
                        set.mark(range);
                        model.extend(range.start() / PMD_SIZE..range.end().div_ceil(PMD_SIZE));
                    }
                }
                Step::Block(page, order) => {
                    let page = page % (len >> PAGE_SHIFT) / order.pages() as u64 * order.pages() as u64;
                    let first = page / PAGES_PER_CHUNK as u64;
                    let count = (order.pages() / PAGES_PER_CHUNK).max(1) as u64;

                    if first + count <= chunks {
                        set.mark_block(PageOffset(page as usize), order);
                        model.extend(first..first + count);
                    }
                }
                Step::Look(start, bytes) => {
                    let range = part(start, bytes);

                    prop_assert_eq!(parts(&set, range), expected(&model, range));
                }
                Step::Clear => {
                    set.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(set.is_empty(), model.is_empty());
        }
        prop_assert_eq!(parts(&set, all(len)), expected(&model, all(len)));
    }
}
