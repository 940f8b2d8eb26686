// SPDX-License-Identifier: GPL-2.0

//! Tests of drivers/pmem_dax/geometry.rs, which run on the build host: tools/testing/host.

use super::*;
use inputs::{
    edgy,
    proptest::{
        prelude::*,
        sample::select, //
    },
};

const GIB: u64 = 1 << 30;

/// Numbers that are the same in each run, but not of a pattern that the code could rely on.
fn numbers() -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;

    std::iter::from_fn(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        Some(state)
    })
}

#[test]
fn memory_is_aligned() {
    assert!(Geometry::new(5 * GIB, GIB).is_ok());
    for (start, size) in [
        (5 * GIB + 4096, GIB),
        (5 * GIB, GIB + 4096),
        (5 * GIB, 0),
        (1, 1),
    ] {
        assert_eq!(
            Geometry::new(start, size).unwrap_err(),
            Misfit::Unaligned,
            "{start:#x} {size:#x}"
        );
    }
    assert_eq!(
        Geometry::new(u64::MAX - PMD_SIZE + 1, 2 * PMD_SIZE).unwrap_err(),
        Misfit::TooLarge
    );
}

#[test]
fn sizes_and_addresses() {
    let geometry = Geometry::new(5 * GIB, 4 * PMD_SIZE).unwrap();

    assert_eq!(geometry.first(), Pfn((5 * GIB >> 12) as usize));
    assert_eq!(geometry.pages(), 2048);
    assert_eq!(geometry.capacity(), Some(Sector(4 * PMD_SIZE / 512)));
    assert_eq!(geometry.phys(4097), Some(5 * GIB + 4097));
}

#[test]
fn nodes_start_and_end_at_pages() {
    assert!(Extent::new(Sector(2048), Sector(8)).is_some());
    assert!(Extent::new(Sector(0), Sector(0)).is_some());
    assert!(Extent::new(Sector(2049), Sector(8)).is_none());
    assert!(Extent::new(Sector(2048), Sector(9)).is_none());
    assert!(Extent::new(Sector(34), Sector(6)).is_none());
}

#[test]
fn offsets_of_partitions() {
    let partition = Extent::new(Sector(2048), Sector(4096)).unwrap();

    assert_eq!(partition.to_disk(PageOffset(0), 1), Some(PageOffset(256)));
    assert_eq!(
        partition.to_disk(PageOffset(7), 1 << 30),
        Some(PageOffset(263))
    );
    assert_eq!(partition.to_disk(PageOffset(usize::MAX), 1), None);
    assert_eq!(partition.to_disk(PageOffset(1 << 51), 1), None);
    // The last page that has an offset in bytes.
    let last = (i64::MAX as u64 >> 12) as usize - 256;
    assert!(partition.to_disk(PageOffset(last - 1), 1).is_some());
    assert!(partition.to_disk(PageOffset(last), 1).is_none());
}

#[test]
fn pages_lie_before_the_end() {
    assert!(lie_before(PageOffset(255), 1, Sector(2048)));
    assert!(lie_before(PageOffset(255), 1, Sector(2055)));
    assert!(!lie_before(PageOffset(256), 1, Sector(2048)));
    assert!(!lie_before(PageOffset(255), 1, Sector(2047)));
    assert!(!lie_before(PageOffset(0), 1, Sector(0)));
    assert!(lie_before(PageOffset(512), 512, Sector(8192)));
    assert!(!lie_before(PageOffset(513), 512, Sector(8192)));
    assert!(!lie_before(PageOffset(usize::MAX), 1, Sector(u64::MAX)));
    assert!(!lie_before(PageOffset(1), usize::MAX, Sector(u64::MAX)));
}

#[test]
fn large_pages_fit_where_they_are_placed() {
    let mut placed = 0;

    for (n, m) in numbers().zip(numbers().skip(1)).take(100_000) {
        let geometry = Geometry::new(n % 1024 * PMD_SIZE, 1024 * PMD_SIZE).unwrap();
        let page = PageOffset((m % 100_000) as usize);
        let pages = (n >> 32) as usize % 4096 + 1;
        let first = geometry.first().checked_add(page.0).unwrap();
        let order = if m & 1 == 0 { Order::Pmd } else { Order::Pud };
        let pages = if m & 1 == 0 { pages } else { pages * 512 };
        let Some(placement) = Placement::new(first, pages, order) else {
            // No whole large page of the media is in it.
            let block = first.0.next_multiple_of(order.pages());
            assert!(block + order.pages() > first.0 + pages);
            continue;
        };
        let hole = (m as usize >> 16) & !0xfff;
        let address = placement.adjust(hole).unwrap();

        assert!(address >= hole && address - hole < placement.extra);
        assert_eq!(address % order.bytes(), (first.0 << 12) % order.bytes());
        placed += 1;
    }
    assert!(placed > 10_000);
}

#[test]
fn blocks_are_whole() {
    for (start, size, pmd, pud) in [
        (5 * GIB, GIB, true, true),
        (5 * GIB, GIB - PMD_SIZE, true, false),
        (5 * GIB + PMD_SIZE, GIB, true, false),
        (5 * GIB + PMD_SIZE, 2 * GIB - PMD_SIZE, true, true),
        (5 * GIB - PMD_SIZE, GIB + PMD_SIZE, true, true),
        (5 * GIB, PMD_SIZE, true, false),
    ] {
        let geometry = Geometry::new(start, size).unwrap();

        assert_eq!(geometry.has_block(Order::Pmd), pmd, "{start:#x} {size:#x}");
        assert_eq!(geometry.has_block(Order::Pud), pud, "{start:#x} {size:#x}");
    }
}

#[test]
fn transfers_stay_inside() {
    let at = |position, len| transfer(Sector(2048), Sector(16), position, len);

    assert_eq!(at(0, 512), ByteRange::new(1 << 20, 512));
    assert_eq!(at(8191, 2), ByteRange::new((1 << 20) + 8191, 1));
    assert_eq!(at(8192, 1), None);
    assert_eq!(at(0, 0), None);
    assert_eq!(at(u64::MAX, usize::MAX), None);
    assert_eq!(at(0, usize::MAX), ByteRange::new(1 << 20, 8192));
    assert_eq!(transfer(Sector(2048), Sector(0), 0, 1), None);
}

#[test]
fn pages_of_ranges() {
    let range = |start, len| ByteRange::new(start, len).unwrap();

    assert_eq!(whole_pages(range(4097, 1)), Some(range(4096, 4096)));
    assert_eq!(whole_pages(range(4096, 4096)), Some(range(4096, 4096)));
    assert_eq!(whole_pages(range(4095, 2)), Some(range(0, 8192)));
    assert_eq!(whole_pages(range(u64::MAX - 1, 1)), None);
    assert_eq!(whole_sectors(range(512, 1024)), range(512, 1024));
    assert_eq!(whole_sectors(range(511, 1026)), range(512, 1024));
    assert_eq!(whole_sectors(range(512, 1023)), range(512, 512));
    assert_eq!(whole_sectors(range(513, 1023)), range(1024, 512));
    for (start, len) in [(512, 511), (513, 1022), (0, 0), (700, 3), (u64::MAX - 1, 1)] {
        assert_eq!(whole_sectors(range(start, len)), range(start, 0));
    }
}

/// The number as one that no sum of a few overflows.
fn wide(n: impl TryInto<u128, Error: core::fmt::Debug>) -> u128 {
    n.try_into().unwrap()
}

/// What fits the type, as C's overflow checks have it.
fn narrow<T: TryFrom<u128>>(n: u128) -> Option<T> {
    T::try_from(n).ok()
}

const ORDERS: [Order; 3] = [Order::Pte, Order::Pmd, Order::Pud];

const PAGE: u128 = PAGE_SIZE as u128;

// Each function beside the same in numbers that cannot overflow.
proptest! {
    #![proptest_config(inputs::config())]

    #[test]
    fn any_memory(start in edgy(), size in edgy(), offset in edgy(), order in select(&ORDERS[..]), round: bool) {
        let (start, size) = if round {
            (start / PMD_SIZE * PMD_SIZE, size / PMD_SIZE * PMD_SIZE)
        } else {
            (start, size)
        };
        let end = wide(start) + wide(size);
        let fits = start % PMD_SIZE == 0 && size % PMD_SIZE == 0 && size > 0;

        match Geometry::new(start, size) {
            Err(Misfit::Unaligned) => prop_assert!(!fits),
            Err(Misfit::TooLarge) => prop_assert!(fits && end > wide(u64::MAX)),
            Ok(geometry) => {
                let block = wide(order.bytes());

                prop_assert!(fits && end <= wide(u64::MAX));
                prop_assert_eq!(wide(geometry.first().0) * PAGE, wide(start));
                prop_assert_eq!(wide(geometry.pages()) * PAGE, wide(size));
                prop_assert_eq!(geometry.capacity().unwrap().to_bytes(), Some(size));
                prop_assert_eq!(geometry.all(), ByteRange::new(0, size));
                prop_assert_eq!(geometry.phys(offset), narrow(wide(start) + wide(offset)));
                prop_assert_eq!(
                    geometry.has_block(order),
                    wide(start).next_multiple_of(block) + block <= end
                );
            }
        }
    }

    #[test]
    fn any_partition(start in edgy(), sectors in edgy(), page in edgy(), pages in edgy(), round: bool) {
        let (start, sectors) = if round { (start & !7, sectors & !7) } else { (start, sectors) };
        let extent = Extent::new(Sector(start), Sector(sectors));

        prop_assert_eq!(extent.is_some(), start % 8 == 0 && sectors % 8 == 0);
        if let Some(extent) = extent {
            let found = extent.to_disk(PageOffset(page as usize), pages as usize);
            let first = wide(start) / 8 + wide(page);
            let counted = (first + wide(pages)) * PAGE <= wide(i64::MAX as u64);

            prop_assert_eq!(found.map(|it| wide(it.0)), counted.then_some(first));
        }
    }

    #[test]
    fn any_end(page in edgy(), pages in edgy(), end in edgy()) {
        prop_assert_eq!(
            lie_before(PageOffset(page as usize), pages as usize, Sector(end)),
            (wide(page) + wide(pages)) * 8 <= wide(end)
        );
    }

    /// The end of what is asked for is near that of the node, where a mistake of one shows.
    #[test]
    fn any_page_near_the_end(sectors in edgy(), pages in 1..4usize, off in -3..4isize, more in 0..8u64) {
        let end = (sectors & !7).saturating_add(more);
        let page = (sectors as usize / 8).saturating_sub(pages).saturating_add_signed(off);

        prop_assert_eq!(
            lie_before(PageOffset(page), pages, Sector(end)),
            (wide(page) + wide(pages)) * 8 <= wide(end)
        );
    }

    #[test]
    fn any_placement(start in edgy(), pages in edgy(), hole in edgy(), order in select(&ORDERS[..])) {
        // Frames are numbered in 52 bits.
        let (first, pages) = (start as usize >> 12, pages as usize >> 12);
        let (frames, bytes) = (wide(order.pages()), wide(order.bytes()));
        let placement = Placement::new(Pfn(first), pages, order);

        prop_assert_eq!(
            placement.is_some(),
            wide(first).next_multiple_of(frames) + frames <= wide(first) + wide(pages)
        );
        if let Some(placement) = placement {
            let colour = wide(first) * PAGE % bytes;
            let next = wide(hole) + (colour + bytes - wide(hole) % bytes) % bytes;

            prop_assert_eq!(wide(placement.extra), bytes);
            prop_assert_eq!(placement.adjust(hole as usize), narrow(next));
        }
    }

    #[test]
    fn any_transfer(start in edgy(), sectors in edgy(), position in edgy(), len in edgy()) {
        let room = (wide(sectors) * 512).checked_sub(wide(position));
        let first = wide(start) * 512 + wide(position);
        let expected = room
            .filter(|_| wide(sectors) * 512 <= wide(u64::MAX) && wide(start) * 512 <= wide(u64::MAX))
            .map(|room| room.min(wide(len)))
            .filter(|len| *len > 0 && first + len <= wide(u64::MAX));
        let found = transfer(Sector(start), Sector(sectors), position, len as usize);

        prop_assert_eq!(
            found.map(|range| (wide(range.start()), wide(range.len()))),
            expected.map(|len| (first, len))
        );
    }

    #[test]
    fn any_range(start in edgy(), len in edgy()) {
        if let Some(range) = ByteRange::new(start, len) {
            let (start, end) = (wide(start), wide(start) + wide(len));
            let pages = (start / PAGE * PAGE, end.next_multiple_of(PAGE));
            let sectors = (start.next_multiple_of(512), end / 512 * 512);
            let whole = whole_sectors(range);

            prop_assert_eq!(
                whole_pages(range).map(|it| (wide(it.start()), wide(it.end()))),
                narrow::<u64>(pages.1).map(|_| pages)
            );
            if sectors.0 < sectors.1 {
                prop_assert_eq!((wide(whole.start()), wide(whole.end())), sectors);
            } else {
                prop_assert!(whole.is_empty());
                prop_assert_eq!(wide(whole.start()), start);
            }
        }
    }
}
