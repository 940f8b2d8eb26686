// SPDX-License-Identifier: GPL-2.0

//! Tests of rust/kernel_ext/units.rs, which run on the build host: tools/testing/host.

use super::*;
use inputs::{
    edgy,
    proptest::prelude::*, //
};

const EDGES: [u64; 9] = [0, 1, 511, 512, 4095, 4096, (1 << 63) - 1, 1 << 63, u64::MAX];

#[test]
fn sectors_to_bytes() {
    assert_eq!(Sector(3).to_bytes(), Some(1536));
    assert_eq!(Sector(u64::MAX >> 9).to_bytes(), Some(u64::MAX - 511));
    assert_eq!(Sector((u64::MAX >> 9) + 1).to_bytes(), None);
    for bytes in EDGES {
        let sector = Sector::containing(bytes);
        let start = sector.to_bytes().unwrap();

        assert!(start <= bytes && bytes - start < 512);
    }
}

#[test]
fn sectors_to_pages() {
    assert_eq!(Sector(0).to_page(), Some(PageOffset(0)));
    assert_eq!(Sector(16).to_page(), Some(PageOffset(2)));
    for sector in 1..8 {
        assert_eq!(Sector(sector).to_page(), None);
    }
    assert_eq!(Sector(40).page(), PageOffset(5));
    assert_eq!(Sector(47).page(), PageOffset(5));
}

#[test]
fn frames() {
    assert_eq!(Pfn::from_phys(0x14000_0000), Some(Pfn(0x14_0000)));
    assert_eq!(Pfn::from_phys(0x14000_0200), None);
    assert_eq!(Pfn(usize::MAX).checked_add(1), None);
}

#[test]
fn ranges_do_not_wrap() {
    for start in EDGES {
        for len in EDGES {
            match ByteRange::new(start, len) {
                Some(range) => {
                    assert_eq!(range.len(), len);
                    assert_eq!(range.is_empty(), len == 0);
                }
                None => assert!(start > u64::MAX - len),
            }
        }
    }
    assert_eq!(ByteRange::of_pages(PageOffset(1 << 51), 1 << 51), None);
}

#[test]
fn parts_of_ranges() {
    let range = ByteRange::new(100, 50).unwrap();

    for end in 0..200 {
        let part = range.before(end);

        assert_eq!(part.len(), end.clamp(100, 150) - 100);
        assert!(part.is_empty() || part.start() == 100);

        let rest = range.from(end);

        assert_eq!(part.len() + rest.len(), 50);
        assert!(rest.is_empty() || rest.end() == 150);

        let (first, after) = (range.first(end), range.after(end));

        assert_eq!((first.start(), first.len()), (100, end.min(50)));
        assert_eq!((after.end(), after.len()), (150, 50 - end.min(50)));
    }
    // An end that could not be counted.
    let last = ByteRange::new(u64::MAX - 1, 1).unwrap();

    assert_eq!(last.first(u64::MAX), last);
    assert!(last.after(u64::MAX).is_empty());
}

#[test]
fn hulls_of_ranges() {
    let range = |start, len| ByteRange::new(start, len).unwrap();

    assert_eq!(range(100, 10).hull(range(200, 5)), range(100, 105));
    assert_eq!(range(200, 5).hull(range(100, 10)), range(100, 105));
    assert_eq!(range(100, 10).hull(range(102, 3)), range(100, 10));
    assert_eq!(range(0, u64::MAX).hull(range(7, 1)), range(0, u64::MAX));
}

#[test]
fn touched_sectors() {
    for start in [0, 1, 2, 511, 512, 513, 1023, 1024, 1025] {
        for len in [0, 1, 2, 510, 511, 512, 513, 514, 1023, 1024, 1025, 1026] {
            let range = ByteRange::new(start, len).unwrap();
            let (first, count) = range.sectors();
            let touched = (0..5)
                .filter(|sector| (start..start + len).any(|byte| byte / 512 == *sector))
                .collect::<Vec<_>>();

            assert_eq!(count.0 as usize, touched.len());
            if let Some(expected) = touched.first() {
                assert_eq!(first.0, *expected);
            }
        }
    }
    let (first, count) = ByteRange::new(u64::MAX - 1, 1).unwrap().sectors();
    assert_eq!((first.0, count.0), (u64::MAX >> 9, 1));
}

// Each function beside the same in numbers that cannot overflow.
proptest! {
    #![proptest_config(inputs::config())]

    #[test]
    fn any_number(number in edgy(), more in edgy()) {
        let wide = u128::from(number);
        let sum = usize::try_from(wide + u128::from(more)).ok();

        prop_assert_eq!(Sector(number).to_bytes(), u64::try_from(wide * 512).ok());
        prop_assert_eq!(Sector::containing(number).0, number / 512);
        prop_assert_eq!(Sector(number).page().0 as u64, number / 8);
        prop_assert_eq!(
            Sector(number).to_page(),
            (number % 8 == 0).then_some(PageOffset(number as usize / 8))
        );
        prop_assert_eq!(PageOffset(number as usize).to_bytes(), u64::try_from(wide * 4096).ok());
        prop_assert_eq!(
            PageOffset(number as usize).checked_add(more as usize),
            sum.map(PageOffset)
        );
        prop_assert_eq!(
            Pfn::from_phys(number),
            (number % 4096 == 0).then_some(Pfn(number as usize / 4096))
        );
        prop_assert_eq!(Pfn(number as usize).checked_add(more as usize), sum.map(Pfn));
    }

    #[test]
    fn any_pages(start in edgy(), pages in edgy()) {
        let (first, len) = (u128::from(start) * 4096, u128::from(pages) * 4096);

        prop_assert_eq!(
            ByteRange::of_pages(PageOffset(start as usize), pages as usize)
                .map(|range| (u128::from(range.start()), u128::from(range.end()))),
            (first + len <= u128::from(u64::MAX)).then_some((first, first + len))
        );
    }

    #[test]
    fn any_part(start in edgy(), len in edgy(), at in edgy()) {
        let end = u128::from(start) + u128::from(len);
        let range = ByteRange::new(start, len);

        prop_assert_eq!(range.is_some(), end <= u128::from(u64::MAX));
        if let Some(range) = range {
            let (first, count) = range.sectors();
            let (before, from) = (range.before(at), range.from(at));

            prop_assert_eq!(before.len() + from.len(), len);
            prop_assert!(before.end() <= at || before.is_empty());
            prop_assert!(from.start() >= at || from.is_empty());
            prop_assert!(before.is_empty() || before.start() == start);
            prop_assert!(from.is_empty() || u128::from(from.end()) == end);
            prop_assert_eq!(first.0, start / 512);
            prop_assert_eq!(
                u128::from(count.0),
                if len == 0 { 0 } else { end.div_ceil(512) - u128::from(start / 512) }
            );
        }
    }
}
