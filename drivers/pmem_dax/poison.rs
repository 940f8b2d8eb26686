// SPDX-License-Identifier: GPL-2.0

//! Bad memory.
//!
//! The bad sectors are looked at before any access: a fault answers with SIGBUS and the address, a
//! read with an I/O error, and neither lets the CPU run into a machine check that is known.

use crate::geometry::{
    whole_pages,
    whole_sectors,
    Geometry, //
};
use kernel::{
    prelude::*,
    str::CString, //
};
use kernel_ext::{
    badblocks::Badblocks,
    dax::{
        self,
        Alive, //
    },
    mm::memremap::Span,
    nvdimm::{
        Namespace,
        Region, //
    },
    pmem::Memory,
    trace,
    units::{
        ByteRange,
        PageOffset, //
    },
};

/// The memory of a device, good and bad.
#[pin_data]
pub(crate) struct Media {
    /// The name of the disk.
    pub(crate) name: CString,
    pub(crate) geometry: Geometry,
    #[pin]
    pub(crate) badblocks: Badblocks,
}

impl Media {
    pub(crate) fn new(name: CString, geometry: Geometry) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            name,
            geometry,
            badblocks <- Badblocks::new(),
        })
    }

    /// Adds what the hardware knows to be bad, in `data` of `namespace`. May sleep.
    pub(crate) fn populate(&self, namespace: &Namespace<'_>, data: &Span) {
        namespace.populate(&self.badblocks, data);
        if !trace::poison_set_is_enabled() {
            return;
        }
        if let Some(all) = self.geometry.all() {
            self.for_each_bad_page(all, |page| trace::poison_set(&self.name, page));
        }
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

    /// Makes the kernel map the pages of the list: it does not if another driver had them when they went
    /// bad, and what is good of them could not be written to. May sleep.
    ///
    /// # Errors
    ///
    /// That of the last one that stays unmapped.
    pub(crate) fn map_bad_pages(&self, alive: &Alive<'_, Self>) -> Result {
        let mut result = Ok(());

        if let Some(all) = self.geometry.all() {
            self.for_each_bad_page(all, |page| {
                if let Err(error) = alive.map_for_kernel(page) {
                    pr_err!(
                        "{}: bytes {:#x} to {:#x} stay unmapped in the kernel: its page table could not be changed: restart before a driver uses them\n",
                        &*self.name,
                        page.start(),
                        page.end()
                    );
                    result = Err(error);
                }
            });
        }
        result
    }

    /// Makes the hardware forget that memory in `range` is bad, whose content is undefined then.
    #[cold]
    fn heal(&self, alive: &Alive<'_, Self>, range: ByteRange) -> Result {
        let whole = whole_sectors(range);
        let ends = [range.before(whole.start()), range.from(whole.end())];
        let mut result = Ok(());

        if ends
            .iter()
            .any(|end| self.badblocks.first_in(*end).is_some())
        {
            return Err(EIO);
        }
        // By pages: firmware is not to be relied on with more (drivers/nvdimm/pmem.c).
        self.for_each_bad_page(whole, |page| {
            if result.is_ok() {
                result = self.heal_page(alive, whole.from(page.start()).before(page.end()));
            }
        });
        result
    }

    fn heal_page(&self, alive: &Alive<'_, Self>, part: ByteRange) -> Result {
        let start = self.geometry.phys(part.start()).ok_or(EIO)?;
        let cleared = alive.provider().clear_poison(alive, start, part.len())?;

        if cleared < part.len() {
            return Err(EIO);
        }
        // It may be that the kernel does not map it since another driver had it.
        alive.map_for_kernel(part).map_err(|_| EIO)?;
        alive.memory().invalidate(part);
        trace::poison_clear(&self.name, part);
        Ok(())
    }
}

impl dax::Operations for Media {
    /// Not kept by who has an old file open: a device that is plugged in again would have to take
    /// another name.
    type Provider = Region;

    fn disk_name(&self) -> &CStr {
        &self.name
    }

    #[inline(always)]
    fn is_bad(&self, page: PageOffset, pages: usize) -> bool {
        !self.badblocks.is_empty()
            && ByteRange::of_pages(page, pages)
                .is_none_or(|range| self.badblocks.first_in(range).is_some())
    }

    /// # Errors
    ///
    /// `ENOSPC` if the list of bad blocks is full: what is not in it is not looked at before an access.
    fn memory_failure(&self, range: ByteRange) -> Result {
        let pages = whole_pages(range).unwrap_or(range);

        trace::poison_set(&self.name, pages);
        self.badblocks.set(pages).inspect_err(|_| {
            pr_err!(
                "{}: the list of bad blocks is full: bytes {:#x} to {:#x} are bad, and not in it\n",
                &*self.name,
                pages.start(),
                pages.end()
            );
        })
    }

    /// # Errors
    ///
    /// `EIO` if the hardware does not make it good, or if a bad sector would be written in part only;
    /// then nothing was written. Else what `write` returns.
    #[inline(always)]
    fn write(
        &self,
        alive: &Alive<'_, Self>,
        range: ByteRange,
        write: impl FnOnce(Memory<'_>) -> Result<usize>,
    ) -> Result<usize> {
        let bad = self.badblocks.first_in(range).is_some();

        if bad {
            self.heal(alive, range)?;
        }
        let done = write(alive.memory())?;
        if bad {
            // Only now: who reads meanwhile must not take for good what is not written yet, nor
            // what is behind the end of the caller's memory.
            let end = range.start().saturating_add(done as u64);

            self.badblocks.clear(whole_sectors(range.before(end)))?;
            // After the list, as a report marks the page before: none is marked that is not in it.
            alive.forget_poison(range.before(end));
        }
        Ok(done)
    }
}
