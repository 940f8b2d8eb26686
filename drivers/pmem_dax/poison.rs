// SPDX-License-Identifier: GPL-2.0

//! Bad memory.
//!
//! The bad sectors are looked at before any access: a fault answers with SIGBUS and the address, a
//! read with an I/O error, and neither lets the CPU run into a machine check that is known.

use crate::geometry::{
    whole_pages,
    Geometry, //
};
use kernel::prelude::*;
use kernel_ext::{
    badblocks::Badblocks,
    dax,
    units::{
        ByteRange,
        PageOffset, //
    },
};

/// The memory of a device, good and bad.
#[pin_data]
pub(crate) struct Media {
    pub(crate) geometry: Geometry,
    #[pin]
    pub(crate) badblocks: Badblocks,
}

impl Media {
    pub(crate) fn new(geometry: Geometry) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            geometry,
            badblocks <- Badblocks::new(),
        })
    }

    /// The part of `range` before the first bad sector.
    #[inline]
    pub(crate) fn good_start(&self, range: ByteRange) -> ByteRange {
        let bad = self
            .badblocks
            .first_in(range)
            .and_then(|sector| sector.to_bytes());

        match bad {
            Some(bad) => range.before(bad.max(range.start())),
            None => range,
        }
    }

    /// The first page in `range` that has a bad sector there.
    fn first_bad_page(&self, range: ByteRange) -> Option<ByteRange> {
        ByteRange::of_pages(self.badblocks.first_in(range)?.page(), 1)
    }

    /// Calls `f` with each page that has a bad sector in `range`.
    pub(crate) fn for_each_bad_page(&self, range: ByteRange, mut f: impl FnMut(ByteRange)) {
        let mut rest = range;

        while let Some(page) = self.first_bad_page(rest) {
            f(page);
            rest = rest.from(page.end());
        }
    }

    /// Calls `f` with the parts of `range` between such pages.
    #[inline]
    pub(crate) fn for_each_good_part(&self, range: ByteRange, mut f: impl FnMut(ByteRange)) {
        let mut rest = range;

        while let Some(page) = self.first_bad_page(rest) {
            f(rest.before(page.start()));
            rest = rest.from(page.end());
        }
        f(rest);
    }
}

impl dax::Operations for Media {
    #[inline(always)]
    fn is_bad(&self, page: PageOffset, pages: usize) -> bool {
        !self.badblocks.is_empty()
            && ByteRange::of_pages(page, pages)
                .is_none_or(|range| self.badblocks.first_in(range).is_some())
    }

    fn memory_failure(&self, range: ByteRange) {
        let pages = whole_pages(range).unwrap_or(range);

        if self.badblocks.set(pages).is_err() {
            pr_err!(
                "the list of bad blocks is full: bytes {:#x} to {:#x} are bad, and not in it\n",
                pages.start(),
                pages.end()
            );
        }
    }
}
