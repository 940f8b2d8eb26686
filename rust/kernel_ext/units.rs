// SPDX-License-Identifier: GPL-2.0

//! Units of a disk that is memory too: sectors, pages, page frames and bytes.
//!
//! Each is a type of its own, so adding a sector to a byte offset does not compile. The module
//! uses nothing of the kernel, so that it can be tested on a build host.

/// log2 of the bytes in a sector.
pub const SECTOR_SHIFT: u32 = 9;

/// The bytes of a sector.
pub const SECTOR_SIZE: u64 = 1 << SECTOR_SHIFT;

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

/// The size of what one entry of a page table maps.
///
/// As a number it is log2 of the pages.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Order {
    /// One page, 4 KiB.
    Pte = 0,
    /// What an entry of the middle directory maps, 2 MiB.
    Pmd = 9,
    /// What an entry of the upper directory maps, 1 GiB.
    Pud = 18,
}

impl Order {
    /// log2 of the pages.
    #[inline]
    pub const fn order(self) -> u32 {
        self as u32
    }

    /// The number of pages.
    #[inline]
    pub const fn pages(self) -> usize {
        1 << self.order()
    }

    /// log2 of the bytes.
    #[inline]
    pub const fn shift(self) -> u32 {
        self.order() + PAGE_SHIFT
    }

    /// The number of bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        1 << self.shift()
    }
}

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

    /// The page in which the sector lies.
    #[inline]
    pub fn page(self) -> PageOffset {
        // Sectors are counted in 64 bits, as pages are.
        PageOffset((self.0 >> (PAGE_SHIFT - SECTOR_SHIFT)) as usize)
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

    /// The first `len` bytes of it, or all if it has fewer.
    #[inline]
    pub fn first(self, len: u64) -> Self {
        self.before(self.start.saturating_add(len))
    }

    /// What comes after the first `len` bytes of it.
    #[inline]
    pub fn after(self, len: u64) -> Self {
        self.from(self.start.saturating_add(len))
    }

    /// The part of it that lies from `start` on.
    #[inline]
    pub fn from(self, start: u64) -> Self {
        let start = if self.start < start {
            start
        } else {
            self.start
        };

        Self {
            start: if start < self.end { start } else { self.end },
            end: self.end,
        }
    }

    /// The bytes of both, and all between them.
    #[inline]
    pub fn hull(self, other: Self) -> Self {
        Self {
            start: self.start.min(other.start),
            end: self.end.max(other.end),
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
#[path = "../../tools/testing/unit/units.rs"]
mod tests;
