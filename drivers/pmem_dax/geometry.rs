// SPDX-License-Identifier: GPL-2.0

//! Where things are on a device: pages, partitions and addresses that suit large pages.
//!
//! Nothing here needs a kernel; the tests run on the build host.

use kernel_ext::units::{
    ByteRange,
    PageOffset,
    Pfn,
    Sector,
    PAGE_SHIFT,
    PAGE_SIZE,
    SECTOR_SHIFT, //
};

/// The bytes that one entry of the page middle directory maps.
pub(crate) const PMD_SIZE: u64 = 2 << 20;

/// The memory of a device.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    first: Pfn,
    pages: usize,
}

/// Why memory cannot be mapped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Misfit {
    /// The kernel adds and removes memory in units of 2 MiB.
    Unaligned,
    /// The end of it is not a physical address.
    TooLarge,
}

impl Geometry {
    /// The geometry of `size` bytes of memory at the physical address `start`.
    pub(crate) fn new(start: u64, size: u64) -> Result<Self, Misfit> {
        if start % PMD_SIZE != 0 || size % PMD_SIZE != 0 || size == 0 {
            return Err(Misfit::Unaligned);
        }
        start.checked_add(size).ok_or(Misfit::TooLarge)?;

        Ok(Self {
            first: Pfn::from_phys(start).ok_or(Misfit::Unaligned)?,
            pages: usize::try_from(size >> PAGE_SHIFT).map_err(|_| Misfit::TooLarge)?,
        })
    }

    /// The first page frame.
    pub(crate) fn first(&self) -> Pfn {
        self.first
    }

    /// The number of pages.
    pub(crate) fn pages(&self) -> usize {
        self.pages
    }

    /// All of the device.
    pub(crate) fn all(&self) -> Option<ByteRange> {
        ByteRange::of_pages(PageOffset(0), self.pages)
    }

    /// The number of sectors.
    pub(crate) fn capacity(&self) -> Option<Sector> {
        Some(Sector::containing(PageOffset(self.pages).to_bytes()?))
    }

    /// The frame of `page`, and how many pages there are from it on. `None` behind the end.
    #[inline]
    pub(crate) fn locate(&self, page: PageOffset) -> Option<(Pfn, usize)> {
        let available = self.pages.checked_sub(page.0)?;

        if available == 0 {
            return None;
        }
        Some((self.first.checked_add(page.0)?, available))
    }

    /// The physical address of the byte at `offset`.
    pub(crate) fn phys(&self, offset: u64) -> Option<u64> {
        PageOffset(self.first.0).to_bytes()?.checked_add(offset)
    }

    /// How far the physical address of `page` is above a boundary of 2 MiB.
    pub(crate) fn colour(&self, page: PageOffset) -> Option<u64> {
        let frame = self.first.checked_add(page.0)?;

        Some(PageOffset(frame.0).to_bytes()? % PMD_SIZE)
    }
}

/// Where a node, the disk or a partition of it, starts on the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Extent {
    start: PageOffset,
}

impl Extent {
    /// The node that has `sectors` sectors from `start` on. `None` unless it starts and ends at
    /// pages.
    #[inline]
    pub(crate) fn new(start: Sector, sectors: Sector) -> Option<Self> {
        sectors.to_page()?;
        Some(Self {
            start: start.to_page()?,
        })
    }

    /// The page of the disk that is `page` of the node, whether the node is that long or not:
    /// mmap(2) may go past the end of a file. `None` if some of the `pages` pages from there on
    /// cannot be counted in bytes.
    pub(crate) fn to_disk(self, page: PageOffset, pages: usize) -> Option<PageOffset> {
        // C counts bytes of a file in a signed 64-bit number.
        const MAX_PAGES: usize = (i64::MAX as u64 >> PAGE_SHIFT) as usize;
        let start = self.start.checked_add(page.0)?;

        if start.checked_add(pages)?.0 > MAX_PAGES {
            return None;
        }
        Some(start)
    }
}

/// Whether the `pages` pages from `page` of the disk on lie before the sector `end`.
#[inline]
pub(crate) fn lie_before(page: PageOffset, pages: usize, end: Sector) -> bool {
    page.checked_add(pages)
        .and_then(PageOffset::to_sector)
        .is_some_and(|behind| behind <= end)
}

/// How to place a mapping so that large pages fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Placement {
    /// Room to ask for beyond the length.
    pub(crate) extra: usize,
    colour: usize,
}

impl Placement {
    /// The placement of `pages` pages whose first one has `colour`. `None` if no large page fits
    /// into them, wherever they are put.
    pub(crate) fn new(colour: u64, pages: usize) -> Option<Self> {
        let len = PageOffset(pages).to_bytes()?;
        let skipped = (PMD_SIZE - colour % PMD_SIZE) % PMD_SIZE;

        if len < skipped.checked_add(PMD_SIZE)? {
            return None;
        }
        Some(Self {
            extra: usize::try_from(PMD_SIZE).ok()?,
            colour: usize::try_from(colour % PMD_SIZE).ok()?,
        })
    }

    /// The first address from `address` on that has the colour.
    pub(crate) fn adjust(self, address: usize) -> Option<usize> {
        let mask = self.extra.checked_sub(1)?;

        address.checked_add(self.colour.wrapping_sub(address) & mask)
    }
}

/// The bytes of a transfer at `position` that a node of `sectors` sectors has, as a range of the
/// disk on which the node starts at `start`. `None` if it has none of them.
#[inline]
pub(crate) fn transfer(
    start: Sector,
    sectors: Sector,
    position: u64,
    len: usize,
) -> Option<ByteRange> {
    let room = sectors.to_bytes()?.checked_sub(position)?;
    let len = u64::try_from(len).ok()?.min(room);

    if len == 0 {
        return None;
    }
    ByteRange::new(start.to_bytes()?.checked_add(position)?, len)
}

/// Whether `range` starts and ends at sectors.
pub(crate) fn whole_sectors(range: ByteRange) -> bool {
    (range.start() | range.end()) % (1 << SECTOR_SHIFT) == 0
}

/// The bytes of the pages that `range` touches.
pub(crate) fn whole_pages(range: ByteRange) -> Option<ByteRange> {
    let start = range.start() / PAGE_SIZE * PAGE_SIZE;
    let end = range.end().checked_next_multiple_of(PAGE_SIZE)?;

    ByteRange::new(start, end.checked_sub(start)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_page_is_located() {
        let geometry = Geometry::new(5 * GIB, 4 * PMD_SIZE).unwrap();

        for page in 0..2048 {
            assert_eq!(
                geometry.locate(PageOffset(page)),
                Some((Pfn((5 * GIB >> 12) as usize + page), 2048 - page))
            );
        }
        for page in [2048, 2049, usize::MAX] {
            assert_eq!(geometry.locate(PageOffset(page)), None);
        }
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
            let colour = geometry.colour(page).unwrap();
            let Some(placement) = Placement::new(colour, pages) else {
                // No whole large page of the media is in it.
                let first = (page.0 + 511) / 512 * 512;
                assert!(first + 512 > page.0 + pages);
                continue;
            };
            let hole = (m as usize >> 16) & !0xfff;
            let address = placement.adjust(hole).unwrap();

            assert!(address >= hole && address - hole < placement.extra);
            assert_eq!(address as u64 % PMD_SIZE, colour);
            placed += 1;
        }
        assert!(placed > 10_000);
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
        assert!(whole_sectors(range(512, 1024)));
        assert!(!whole_sectors(range(512, 1023)));
        assert!(!whole_sectors(range(511, 513)));
    }
}
