// SPDX-License-Identifier: GPL-2.0

//! Units of a disk that is memory too: sectors, pages, page frames and bytes.
//!
//! Each is a type of its own, so adding a sector to a byte offset does not compile. The module
//! uses nothing of the kernel, so that it can be tested on a build host.

/// log2 of the bytes in a sector.
pub const SECTOR_SHIFT: u32 = 9;

/// log2 of the bytes in a page.
pub const PAGE_SHIFT: u32 = 12;

/// The bytes of a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;

/// A number of 512-byte sectors, or the position of one counted from the start of the disk.
///
/// C: `sector_t`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Sector(pub u64);

/// A number of pages, or the position of one counted from the start of the disk.
///
/// C: `pgoff_t`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct PageOffset(pub usize);

/// The number of a page frame: a physical address in pages.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Pfn(pub usize);

/// A half-open range of bytes, counted from the start of the disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl Sector {
    /// The position in bytes, or `None` if it does not fit 64 bits.
    #[inline]
    pub fn to_bytes(self) -> Option<u64> {
        if self.0 > u64::MAX >> SECTOR_SHIFT {
            return None;
        }
        Some(self.0 << SECTOR_SHIFT)
    }

    /// The sector in which the byte at `offset` lies.
    #[inline]
    pub fn containing(offset: u64) -> Self {
        Self(offset >> SECTOR_SHIFT)
    }

    /// The page that starts at this sector, or `None` if none does.
    #[inline]
    pub fn to_page(self) -> Option<PageOffset> {
        const SECTORS_PER_PAGE: u64 = 1 << (PAGE_SHIFT - SECTOR_SHIFT);

        if self.0 % SECTORS_PER_PAGE != 0 {
            return None;
        }
        Some(PageOffset(usize::try_from(self.0 / SECTORS_PER_PAGE).ok()?))
    }
}

impl PageOffset {
    /// The position in bytes, or `None` if it does not fit 64 bits.
    #[inline]
    pub fn to_bytes(self) -> Option<u64> {
        let pages = u64::try_from(self.0).ok()?;

        if pages > u64::MAX >> PAGE_SHIFT {
            return None;
        }
        Some(pages << PAGE_SHIFT)
    }

    /// The first sector of the page, or `None` if it does not fit 64 bits.
    #[inline]
    pub fn to_sector(self) -> Option<Sector> {
        Some(Sector::containing(self.to_bytes()?))
    }

    /// The position `pages` further on.
    #[inline]
    pub fn checked_add(self, pages: usize) -> Option<Self> {
        Some(Self(self.0.checked_add(pages)?))
    }
}

impl Pfn {
    /// The frame of the physical address `addr`, or `None` if no page starts there.
    #[inline]
    pub fn from_phys(addr: u64) -> Option<Self> {
        if addr % PAGE_SIZE != 0 {
            return None;
        }
        Some(Self(usize::try_from(addr >> PAGE_SHIFT).ok()?))
    }

    /// The frame `pages` further on.
    #[inline]
    pub fn checked_add(self, pages: usize) -> Option<Self> {
        Some(Self(self.0.checked_add(pages)?))
    }
}

impl ByteRange {
    /// The `len` bytes from `start` on, or `None` if their end does not fit 64 bits.
    #[inline]
    pub fn new(start: u64, len: u64) -> Option<Self> {
        Some(Self {
            start,
            end: start.checked_add(len)?,
        })
    }

    /// The `pages` pages from `start` on, or `None` if their end does not fit 64 bits.
    #[inline]
    pub fn of_pages(start: PageOffset, pages: usize) -> Option<Self> {
        Self::new(start.to_bytes()?, PageOffset(pages).to_bytes()?)
    }

    /// The offset of the first byte.
    #[inline]
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset behind the last byte.
    #[inline]
    pub fn end(self) -> u64 {
        self.end
    }

    /// The number of bytes.
    #[inline]
    pub fn len(self) -> u64 {
        self.end - self.start
    }

    /// Whether there are no bytes in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// The part of it that lies before `end`.
    #[inline]
    pub fn before(self, end: u64) -> Self {
        let end = if self.end < end { self.end } else { end };

        Self {
            start: if self.start < end { self.start } else { end },
            end,
        }
    }

    /// The sectors that it touches: the first one and how many.
    #[inline]
    pub fn sectors(self) -> (Sector, Sector) {
        let first = self.start >> SECTOR_SHIFT;
        let last = match self.end.checked_sub(1) {
            Some(last) if !self.is_empty() => (last >> SECTOR_SHIFT) + 1,
            _ => first,
        };

        (Sector(first), Sector(last - first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(PageOffset(5).to_sector(), Some(Sector(40)));
        assert_eq!(PageOffset(usize::MAX).to_sector(), None);
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
        }
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
}
