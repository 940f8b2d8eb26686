// SPDX-License-Identifier: GPL-2.0

//! Where things are on a device: pages, partitions and addresses that suit large pages.
//!
//! Nothing here needs a kernel; the tests run on the build host.

use kernel_ext::units::{
    ByteRange,
    Order,
    PageOffset,
    Pfn,
    Sector,
    PAGE_SHIFT,
    PAGE_SIZE,
    SECTOR_SIZE, //
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

    /// The physical address of the byte at `offset`.
    pub(crate) fn phys(&self, offset: u64) -> Option<u64> {
        PageOffset(self.first.0).to_bytes()?.checked_add(offset)
    }

    /// Whether there is a naturally aligned block of `order` in it.
    pub(crate) fn has_block(&self, order: Order) -> bool {
        let end = self.first.checked_add(self.pages);

        self.first
            .0
            .checked_next_multiple_of(order.pages())
            .and_then(|start| start.checked_add(order.pages()))
            .zip(end)
            .is_some_and(|(block_end, end)| block_end <= end.0)
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
        .is_some_and(|behind| behind <= end.page())
}

/// How to place a mapping so that large pages fit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Placement {
    /// Room to ask for beyond the length.
    pub(crate) extra: usize,
    colour: usize,
}

impl Placement {
    /// The placement of `pages` pages of which the first one is in the frame `first`. `None` if no
    /// block of `order` fits into them, wherever they are put.
    #[inline]
    pub(crate) fn new(first: Pfn, pages: usize, order: Order) -> Option<Self> {
        let blocks = first.0.checked_next_multiple_of(order.pages())?;

        if blocks.checked_add(order.pages())? > first.0.checked_add(pages)? {
            return None;
        }
        Some(Self {
            extra: order.bytes(),
            colour: (first.0 % order.pages()) << PAGE_SHIFT,
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

/// The sectors that lie wholly in `range`.
pub(crate) fn whole_sectors(range: ByteRange) -> ByteRange {
    let end = range.end() / SECTOR_SIZE * SECTOR_SIZE;

    match range.start().checked_next_multiple_of(SECTOR_SIZE) {
        Some(start) if start < end => range.from(start).before(end),
        _ => range.before(range.start()),
    }
}

/// The bytes of the pages that `range` touches.
pub(crate) fn whole_pages(range: ByteRange) -> Option<ByteRange> {
    let start = range.start() / PAGE_SIZE * PAGE_SIZE;
    let end = range.end().checked_next_multiple_of(PAGE_SIZE)?;

    ByteRange::new(start, end.checked_sub(start)?)
}

#[cfg(test)]
#[path = "../../tools/testing/unit/geometry.rs"]
mod tests;
