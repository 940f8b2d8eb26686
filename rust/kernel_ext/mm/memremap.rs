// SPDX-License-Identifier: GPL-2.0

//! Pages (`struct page`) for the memory of a device.
//!
//! C header: [`include/linux/memremap.h`](srctree/include/linux/memremap.h)

use crate::{
    bindings,
    fs::pseudo::Inode,
    units::{
        ByteRange,
        Order,
        PageOffset,
        Pfn,
        PAGE_SHIFT,
        PAGE_SIZE, //
    }, //
};
use core::{
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicBool,
        Ordering, //
    },
};
use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    sync::rcu,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// Who may map the pages, which decides who joins them to folios.
///
/// C: `enum memory_type`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PageType {
    /// The driver alone, which joins them once and for all. They may be pinned for long.
    Generic,
    /// File systems with direct access too: fs/dax.c joins them for as long as a file has them.
    FsDax,
}

/// The bytes of RAM that can be had without swapping, as `MemAvailable` of `/proc/meminfo` has it.
pub fn available_ram() -> u64 {
    // SAFETY: It has no requirements.
    let pages = unsafe { bindings::si_mem_available() };

    u64::try_from(pages).unwrap_or(0) << PAGE_SHIFT
}

/// The pages that are pinned in a part of the memory.
pub struct Pinned {
    /// How many, each as often as it is pinned.
    pub pinned: usize,
    /// Where the next part begins; `None` if this was the last one.
    pub next: Option<PageOffset>,
}

/// Somebody uses pages that were to be released. They stay as they are for ever.
#[derive(Debug)]
pub struct StillUsed;

/// Whether there are pages that stay for ever.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Waits for ever if pages of this module's stay for ever, as they refer to its code. Only the
/// machine's end brings that about, and nothing waits for a module then.
pub(crate) fn wait_if_kept() {
    while KEPT.load(Ordering::Acquire) {
        fsleep(Delta::from_secs(1));
    }
}

/// Physical memory that is to get pages.
///
/// # Invariants
///
/// The pages of `first` to `first + pages` are within `range`, and no page of the altmap is one of
/// them. Both are multiples of 2 MiB.
#[derive(Clone, Copy)]
pub struct Span {
    range: bindings::range,
    altmap: Option<bindings::vmem_altmap>,
    first: Pfn,
    pages: usize,
}

impl Span {
    /// The memory of `range`, whose last `size` bytes are data. What is before them may be used for
    /// the struct pages, if `altmap` says so.
    ///
    /// `None` if the data do not start and end at multiples of 2 MiB, or are not within.
    pub(crate) fn new(
        range: bindings::range,
        size: u64,
        altmap: Option<bindings::vmem_altmap>,
    ) -> Option<Self> {
        let end = range.end.checked_add(1)?;
        let start = end.checked_sub(size)?;
        let pages = Pfn::from_phys(size)?.0;
        let first = Pfn::from_phys(start)?;

        if start < range.start || (first.0 | pages) % Order::Pmd.pages() != 0 {
            return None;
        }
        // What drivers/nvdimm/pfn_devs.c reserves and offers is counted from the base on.
        if altmap.is_some_and(|map| {
            map.base_pfn
                .checked_add(map.reserve)
                .and_then(|pfn| pfn.checked_add(map.free))
                .is_none_or(|end| end > first.0)
        }) {
            return None;
        }
        // INVARIANT: As checked.
        Some(Self {
            range,
            altmap,
            first,
            pages,
        })
    }

    /// The physical address of the first byte of the data.
    pub fn start(&self) -> u64 {
        (self.first.0 as u64) << PAGE_SHIFT
    }

    /// The physical address of the last byte of the data.
    pub(crate) fn end(&self) -> u64 {
        self.range.end
    }

    /// The number of bytes of the data.
    pub fn size(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }

    /// The bytes of RAM that its struct pages take: none if they are on the media.
    pub fn ram(&self) -> u64 {
        let pages = (self.range.end - self.range.start).div_ceil(PAGE_SIZE);

        match self.altmap {
            Some(_) => 0,
            None => pages * size_of::<bindings::page>() as u64,
        }
    }

    /// The bytes before the data, as an offset of the kernel's mapping.
    fn head(&self) -> usize {
        (self.start() - self.range.start) as usize
    }
}

/// The physical memory of a device, mapped into the kernel and with a `struct page` for each page.
///
/// Each naturally aligned block of the largest order is one folio; those at the edges are of 2 MiB. A
/// 4 KiB fault maps a page of the large folio, a large one all of it, in any mixture: that is what
/// `vmemmap_shift = 0` is for, since with a shift the struct pages of a folio's tail share memory and
/// cannot count their mappings. But nothing between: a 1 GiB folio cannot be mapped in parts of 2 MiB
/// (linux/rmap.h: __folio_rmap_sanity_checks).
///
/// # Invariants
///
/// - `pgmap` is pinned. While `mapped` is set, `memremap_pages` holds it and `base` is the kernel's
///   address of the first of `pages` pages, whose `struct page` is `memory`; the others follow it.
/// - `first` and `pages` are multiples of 2 MiB.
/// - While `mapped` is set, every page is in a folio of the largest order, up to `largest`, whose
///   naturally aligned block has the page and lies within. Not if `page_type` is `FsDax`.
#[pin_data(PinnedDrop)]
pub struct PageMap {
    #[pin]
    pgmap: Opaque<bindings::dev_pagemap>,
    inode: Inode,
    base: NonNull<u8>,
    memory: NonNull<bindings::page>,
    first: Pfn,
    pages: usize,
    page_type: PageType,
    // Whether anybody may ever have used a page: to look at each takes long.
    lent: AtomicBool,
    largest: Order,
    mapped: AtomicBool,
}

// SAFETY: `struct dev_pagemap` has no owning thread.
unsafe impl Send for PageMap {}

// SAFETY: After initialisation only `release` changes anything, and `mapped` lets one caller do it.
unsafe impl Sync for PageMap {}

impl PageMap {
    /// Maps the pages of `span`, whose folios, of `largest` where that fits, belong to the mapping of
    /// `inode` at their offset in the device. May sleep for long: the cost is linear in the size.
    ///
    /// `failure` is called, with `owner`, when the hardware or an administrator reports a page bad.
    ///
    /// # Errors
    ///
    /// What `memremap_pages` returns: `EINVAL` for memory that is not aligned to 2 MiB or is not
    /// addressable, `ENXIO` for system RAM, `ENOMEM`.
    ///
    /// # Safety
    ///
    /// `owner` stays valid, for whatever the callback does with it, until [`Self::release`]. The
    /// callback may come before this returns.
    pub(crate) unsafe fn new<'a>(
        dev: &'a device::Device<device::Bound>,
        span: &'a Span,
        page_type: PageType,
        largest: Order,
        inode: Inode,
        operations: &'static bindings::dev_pagemap_ops,
        owner: *mut c_void,
    ) -> impl PinInit<Self, Error> + 'a {
        // INVARIANT: `memremap_pages` succeeded, and `assemble` makes the folios before anybody
        // can ask for one.
        try_pin_init!(&this in Self {
            pgmap <- Opaque::try_ffi_init(move |pgmap: *mut bindings::dev_pagemap| {
                // SAFETY: `pgmap` is valid for writes; zero is a valid value of a C structure.
                let pgmap = unsafe {
                    pgmap.write_bytes(0, 1);
                    &mut *pgmap
                };
                pgmap.type_ = match page_type {
                    PageType::Generic => bindings::memory_type_MEMORY_DEVICE_GENERIC,
                    PageType::FsDax => bindings::memory_type_MEMORY_DEVICE_FS_DAX,
                };
                pgmap.ops = operations;
                pgmap.owner = owner;
                pgmap.nr_range = 1;
                // SAFETY: With one range C uses this member of the union.
                unsafe { *pgmap.__bindgen_anon_1.range.as_mut() = span.range };
                if let Some(altmap) = span.altmap {
                    pgmap.altmap = altmap;
                    pgmap.flags |= bindings::PGMAP_ALTMAP_VALID;
                }
                Ok::<(), Error>(())
            }),
            inode,
            base: {
                // SAFETY: The field was just initialised, and is pinned.
                let pgmap = unsafe { &raw mut (*this.as_ptr()).pgmap }.cast();
                // SAFETY: `dev` is valid; its raw form is the transparent wrapper's content.
                let node = unsafe { bindings::dev_to_node(crate::device::as_raw(dev)) };
                // SAFETY: `pgmap` is pinned and set up as mm/memremap.c wants it.
                let base = from_err_ptr(unsafe { bindings::memremap_pages(pgmap, node) })?;

                // By the invariants of `Span` that is within what was mapped.
                NonNull::new(base.cast::<u8>().wrapping_add(span.head())).ok_or(ENOMEM)?
            },
            memory: {
                // SAFETY: The memory was just mapped. With SPARSEMEM_VMEMMAP, which helpers.c insists
                // on, the pages are an array.
                NonNull::new(unsafe { bindings::pfn_to_page(span.first.0) }).ok_or(ENOMEM)?
            },
            first: span.first,
            pages: span.pages,
            page_type,
            lent: AtomicBool::new(false),
            largest,
            mapped: AtomicBool::new(true),
            _: {
                if *page_type == PageType::Generic {
                    // SAFETY: All fields are initialised.
                    unsafe { this.as_ref() }.assemble();
                }
            },
        })
    }

    /// The inode whose mapping the pages belong to.
    #[inline]
    pub(crate) fn inode(&self) -> &Inode {
        &self.inode
    }

    /// The kernel's address of the memory. Valid while mapped.
    #[inline]
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The number of pages.
    #[inline]
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The first page frame.
    #[inline]
    pub fn first(&self) -> Pfn {
        self.first
    }

    /// Who may map the pages.
    #[inline]
    pub(crate) fn page_type(&self) -> PageType {
        self.page_type
    }

    /// Says that from now on somebody may use pages, if those are of `FsDax`: a process by a mapping of
    /// the driver's, or a file system, of which each has the disk alone.
    pub(crate) fn lend(&self) {
        self.lent.store(true, Ordering::Release);
    }

    /// The largest order that a folio may have.
    #[inline]
    pub(crate) fn largest(&self) -> Order {
        self.largest
    }

    /// Whether the block of `order` from `pfn` on is aligned and lies within.
    fn has_block(&self, pfn: Pfn, order: Order) -> bool {
        // A frame before the first one wraps, and is far behind the end.
        let offset = pfn.0.wrapping_sub(self.first.0);

        pfn.0 % order.pages() == 0 && offset < self.pages && self.pages - offset >= order.pages()
    }

    /// The pages from the `offset`th on, if they are the block of `order` of a folio, or of a page
    /// of one, and can be mapped with one entry. Valid while mapped.
    #[inline(always)]
    pub(crate) fn block(
        &self,
        offset: PageOffset,
        order: Order,
    ) -> Option<NonNull<bindings::page>> {
        let first = self.run(offset, order.pages())?;
        let pfn = Pfn(self.first.0.wrapping_add(offset.0));
        let fits = match order {
            Order::Pte => true,
            // The first page is a multiple of it.
            Order::Pmd => {
                offset.0 % order.pages() == 0
                    && (self.largest == Order::Pmd || self.is_between(pfn))
            }
            Order::Pud => self.largest == Order::Pud && pfn.0 % order.pages() == 0,
        };

        fits.then_some(first)
    }

    /// The `pages` pages from the `offset`th on. Valid while mapped.
    #[inline(always)]
    pub(crate) fn run(&self, offset: PageOffset, pages: usize) -> Option<NonNull<bindings::page>> {
        if offset.0 >= self.pages || self.pages - offset.0 < pages {
            return None;
        }
        // SAFETY: By the type's invariants the pages are an array, and the offset is within it.
        Some(unsafe { self.memory.add(offset.0) })
    }

    /// Whether the 2 MiB from `pfn` on are a folio though 1 GiB is the largest order: at the edges.
    #[cold]
    fn is_between(&self, pfn: Pfn) -> bool {
        self.largest == Order::Pud && !self.is_in_gigantic(pfn)
    }

    /// Calls `f` with the head of each folio and its order.
    fn for_each_folio(&self, f: impl FnMut(Pfn, Order)) {
        self.for_each_folio_in(self.first, Pfn(self.first.0 + self.pages), f);
    }

    /// Calls `f` with the head of each folio that begins before `end`, and its order; the first one
    /// begins at `start`. Returns the end of the last one.
    fn for_each_folio_in(&self, start: Pfn, end: Pfn, mut f: impl FnMut(Pfn, Order)) -> Pfn {
        let mut pfn = start;

        while pfn.0 < end.0 {
            let order = match self.largest {
                Order::Pud if self.has_block(pfn, Order::Pud) => Order::Pud,
                _ => Order::Pmd,
            };

            f(pfn, order);
            pfn.0 += order.pages();
        }
        pfn
    }

    /// Joins the pages to folios, as mm/mm_init.c: memmap_init_compound does with a `vmemmap_shift`.
    fn assemble(&self) {
        self.for_each_folio(|pfn, order| {
            // SAFETY: By the type's invariants the pages are an array, and the folio is within it.
            let head = unsafe { self.memory.add(pfn.0 - self.first.0) }.as_ptr();

            // SAFETY: As above; the smallest folio has 512 pages.
            let first = unsafe { head.add(1) };
            let tails = ptr::slice_from_raw_parts_mut(first, order.pages() - 1);

            // SAFETY: mm/mm_init.c initialised the page, and nobody else knows it yet.
            unsafe { bindings::__SetPageHead(head) };
            // SAFETY: As above.
            Self::count_as_ram(unsafe { &mut *head });
            // SAFETY: As above; the pages are physically contiguous, and aligned.
            unsafe { bindings::prep_compound_tail(first, head, order.order()) };
            // All tails of a folio are alike; the function called for each takes three times as long.
            //
            // SAFETY: As above. It was just set.
            let info = unsafe { (*first).__bindgen_anon_1.__bindgen_anon_3.compound_info };
            // SAFETY: As above.
            let mapping = unsafe { (*first).__bindgen_anon_1.__bindgen_anon_1.mapping };

            // SAFETY: As above.
            for tail in unsafe { &mut *tails } {
                Self::count_as_ram(tail);
                // It starts each GENERIC page with a count of 1, which only heads have.
                tail._refcount.counter = 0;
                tail.__bindgen_anon_1.__bindgen_anon_3.compound_info = info;
                tail.__bindgen_anon_1.__bindgen_anon_1.mapping = mapping;
            }
            // SAFETY: As above.
            unsafe { bindings::prep_compound_head(head, order.order()) };
            // mm/filemap.c maps no others.
            //
            // SAFETY: As above.
            unsafe { (*head).flags.f |= 1 << bindings::pageflags_PG_uptodate };
            Self::set_mapping(head.cast(), self.inode.mapping(), pfn.0 - self.first.0);
        });
    }

    /// mm/mm_init.c marks all pages of ZONE_DEVICE as reserved, but these are counted like those of RAM.
    /// VFIO would pin them and, taking them for MMIO, never unpin them
    /// (drivers/vfio/vfio_iommu_type1.c: put_pfn).
    #[inline(always)]
    fn count_as_ram(page: &mut bindings::page) {
        page.flags.f &= !(1 << bindings::pageflags_PG_reserved);
    }

    /// Lets mm map more than one page at a time. Nobody may map any before. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn publish(&self) -> Result {
        let mut result = Ok(());

        if self.page_type == PageType::FsDax {
            return result;
        }
        self.for_each_folio(|pfn, order| {
            let first = pfn.0 - self.first.0;
            // SAFETY: By the type's invariants the pages are an array, and the folio is within it.
            let folio = unsafe { self.memory.add(first) }.cast();

            for page in (first..first + order.pages()).step_by(Order::Pmd.pages()) {
                if result.is_ok() {
                    // SAFETY: `assemble` gave it our mapping; `release` removes it first.
                    result = unsafe { self.inode.add_folio(folio, PageOffset(page)) };
                }
            }
        });
        result
    }

    fn set_mapping(
        folio: *mut bindings::folio,
        mapping: *mut bindings::address_space,
        index: usize,
    ) {
        // SAFETY: The caller has a valid folio that nobody maps.
        let fields = unsafe { &mut (*folio).__bindgen_anon_1.__bindgen_anon_1 };

        fields.mapping = mapping;
        fields.__bindgen_anon_2.index = index;
    }

    /// The first frame whose folio somebody still maps or pins, or a file has. Looks at each folio.
    pub(crate) fn busy(&self) -> Option<Pfn> {
        let mut busy = None;

        if self.page_type == PageType::FsDax {
            if !self.lent.load(Ordering::Acquire) {
                return None;
            }
            return (self.first.0..self.first.0 + self.pages)
                .map(Pfn)
                .find(|pfn| self.is_used(*pfn));
        }
        self.for_each_folio(|pfn, _| {
            // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
            let folio = unsafe { bindings::pfn_folio(pfn.0) };
            // SAFETY: As above.
            if busy.is_none() && unsafe { bindings::folio_ref_count(folio) } != 1 {
                busy = Some(pfn);
            }
        });
        busy
    }

    /// How many references folios of a part of the memory have that are not from mappings: one for
    /// each page that is pinned, or for all that io_uring pins of a folio at once. A moment's picture:
    /// others change the references meanwhile, and mm/filemap.c: filemap_map_folio_range counts mappings
    /// before theirs. The part begins where a folio does.
    pub(crate) fn pinned(&self, first: PageOffset) -> Pinned {
        const PART: usize = 1 << 16;
        let all = self.first.0 + self.pages;
        let start = Pfn(self.first.0.saturating_add(first.0).min(all));
        let end = Pfn(start.0.saturating_add(PART).min(all));
        let mut pinned = 0;
        let mut count = |pfn: Pfn, idle: c_int| {
            // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
            let folio = unsafe { bindings::pfn_folio(pfn.0) };
            // SAFETY: As above.
            let (references, mappings) = unsafe {
                (
                    bindings::folio_ref_count(folio),
                    bindings::folio_mapcount(folio),
                )
            };

            pinned += usize::try_from(references - idle - mappings).unwrap_or(0);
        };

        let next = match self.page_type {
            PageType::Generic => self.for_each_folio_in(start, end, |pfn, _| count(pfn, 1)),
            PageType::FsDax => {
                (start.0..end.0)
                    .map(Pfn)
                    .filter(|pfn| self.is_head(*pfn))
                    .for_each(|pfn| count(pfn, 0));
                end
            }
        };

        Pinned {
            pinned,
            next: (next.0 < all).then_some(PageOffset(next.0 - self.first.0)),
        }
    }

    /// The first page of `range` in a folio that has references beside those of mappings. Looks at each
    /// folio of the range. Not for `FsDax`.
    pub(crate) fn first_pinned(&self, range: ByteRange) -> Option<PageOffset> {
        let range = range.before(self.len());
        let end = self.first.0 + usize::try_from(range.end().div_ceil(PAGE_SIZE)).ok()?;
        let mut pfn = self.first.0 + usize::try_from(range.start() / PAGE_SIZE).ok()?;

        while pfn < end {
            // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
            let folio = unsafe { bindings::pfn_folio(pfn) };
            // SAFETY: As above. Others change the counts meanwhile.
            let (before, references, after) = unsafe {
                (
                    bindings::folio_mapcount(folio),
                    bindings::folio_ref_count(folio),
                    bindings::folio_mapcount(folio),
                )
            };

            // What changes is looked at again by the caller.
            if before != after || references - 1 > after {
                return Some(PageOffset(pfn - self.first.0));
            }
            pfn = match self.is_in_gigantic(Pfn(pfn)) {
                true => (pfn | (Order::Pud.pages() - 1)) + 1,
                false => (pfn | (Order::Pmd.pages() - 1)) + 1,
            };
        }
        None
    }

    /// Whether somebody seems to pin a page of the folio that has the first one of `range`, for as long as
    /// transfers may take.
    ///
    /// C: `folio_maybe_dma_pinned`
    pub(crate) fn is_pinned(&self, range: ByteRange) -> bool {
        let first = range.before(self.len()).start() >> PAGE_SHIFT;

        // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
        let folio = unsafe { bindings::pfn_folio(self.first.0 + first as usize) };

        // SAFETY: As above. Others change the counter.
        unsafe { bindings::folio_maybe_dma_pinned(folio) }
    }

    /// Whether a folio that has a page of `range` has a reference that is not of a mapping. Of memory of our
    /// own, `range` is in one folio. Looks at each.
    pub(crate) fn is_referenced(&self, range: ByteRange) -> bool {
        let range = range.before(self.len());
        let first = self.first.0 + (range.start() >> PAGE_SHIFT) as usize;
        let end = self.first.0 + range.end().div_ceil(PAGE_SIZE) as usize;

        match self.page_type {
            PageType::Generic => !Self::is_only_mapped(Pfn(first), 1),
            PageType::FsDax => (self.head_of(first)..end)
                .map(Pfn)
                .any(|pfn| self.is_head(pfn) && !Self::is_only_mapped(pfn, 0)),
        }
    }

    /// Whether the folio that has a page has no reference but those of mappings, and `idle` ones. False
    /// if others change that just now.
    fn is_only_mapped(pfn: Pfn, idle: c_int) -> bool {
        // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
        let folio = unsafe { bindings::pfn_folio(pfn.0) };

        // SAFETY: As above.
        if !unsafe { bindings::folio_test_large(folio) } {
            // Its two counts cannot be read at once. But if nobody maps it, there is one.
            //
            // SAFETY: As above.
            return unsafe { bindings::folio_ref_count(folio) } == idle;
        }
        // mm/filemap.c: filemap_map_folio_range counts mappings before their references, with this lock;
        // all others do it after.
        //
        // SAFETY: As above.
        if !unsafe { bindings::folio_trylock(folio) } {
            return false;
        }
        // While it is held the number of mappings stays, so no reference is taken for one's that went.
        //
        // SAFETY: As above; the folio is a large one.
        unsafe { bindings::folio_lock_large_mapcount(folio) };
        // SAFETY: As above.
        let (references, mappings) = unsafe {
            (
                bindings::folio_ref_count(folio),
                bindings::folio_mapcount(folio),
            )
        };

        // SAFETY: It was locked above.
        unsafe { bindings::folio_unlock_large_mapcount(folio) };
        // SAFETY: As above.
        unsafe { bindings::folio_unlock(folio) };
        references - idle == mappings
    }

    /// The folio of 1 GiB that has a page, if it is in one.
    pub(crate) fn gigantic(&self, page: PageOffset) -> Option<ByteRange> {
        let pfn = Pfn(self.first.0.checked_add(page.0)?);

        if !self.is_in_gigantic(pfn) {
            return None;
        }
        let first = (pfn.0 & !(Order::Pud.pages() - 1)) - self.first.0;

        ByteRange::of_pages(PageOffset(first), Order::Pud.pages())
    }

    /// Whether the folio of a page is one of 1 GiB.
    fn is_in_gigantic(&self, pfn: Pfn) -> bool {
        let outer = Pfn(pfn.0 & !(Order::Pud.pages() - 1));

        self.largest == Order::Pud && self.has_block(outer, Order::Pud)
    }

    /// The first page of the folio that has a page of memory that file systems may map, which is of 2 MiB
    /// at most.
    fn head_of(&self, pfn: usize) -> usize {
        match self.is_large(PageOffset(pfn - self.first.0)) {
            true => pfn & !(Order::Pmd.pages() - 1),
            false => pfn,
        }
    }

    /// Whether a page is the first one of its folio.
    fn is_head(&self, pfn: Pfn) -> bool {
        // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
        unsafe {
            ptr::eq(
                bindings::pfn_folio(pfn.0),
                bindings::pfn_to_page(pfn.0).cast(),
            )
        }
    }

    /// Whether the `offset`th page is one of a folio of several. Valid while mapped.
    pub(crate) fn is_large(&self, offset: PageOffset) -> bool {
        let Some(page) = self.run(offset, 1) else {
            return false;
        };

        !self.is_head(Pfn(self.first.0 + offset.0))
            // SAFETY: The memory is mapped. Others change the flags.
            || unsafe { (&raw const (*page.as_ptr()).flags.f).read_volatile() }
                & (1 << bindings::pageflags_PG_head)
                != 0
    }

    /// Whether somebody maps or pins a page that is not joined to a folio for good, or a file has it.
    fn is_used(&self, pfn: Pfn) -> bool {
        // SAFETY: The memory is mapped; struct pages are never freed before `release` is done.
        let folio = unsafe { bindings::pfn_to_page(pfn.0) }.cast::<bindings::folio>();
        // SAFETY: As above. A page that is not the head of a folio has the same fields: in the second
        // one they count mappings and pins (linux/mm_types.h: struct folio), in those behind it the
        // mapping is not null (mm/internal.h: prep_compound_tail). Whatever they say, the head tells
        // that the folio is used. Others change them.
        let (mapping, share) = unsafe {
            let fields = &raw const (*folio).__bindgen_anon_1.__bindgen_anon_1;

            (
                (&raw const (*fields).mapping).read_volatile(),
                (&raw const (*fields).__bindgen_anon_2.index).read_volatile(),
            )
        };

        // fs/dax.c: dax_folio_put clears both when the file lets go of the page.
        //
        // SAFETY: As above.
        !mapping.is_null() || share != 0 || unsafe { bindings::folio_ref_count(folio) } != 0
    }

    /// Where a page is in a file that is not of our inode, if it is in one. Valid while mapped.
    pub(crate) fn file_of(&self, pfn: Pfn) -> Option<FilePage> {
        let rcu = rcu::read_lock();
        // SAFETY: The caller's page is mapped.
        let folio = unsafe { bindings::pfn_folio(pfn.0) };
        // SAFETY: As above.
        let page = unsafe { bindings::pfn_to_page(pfn.0) };
        // SAFETY: As above; a folio starts with a page, and pages are an array. Others change them.
        let fields = unsafe { &raw const (*folio).__bindgen_anon_1.__bindgen_anon_1 };
        // SAFETY: As above.
        let mapping = || unsafe { (&raw const (*fields).mapping).read_volatile() };
        let file = mapping();

        if file.is_null() || file == self.inode.mapping() {
            return None;
        }
        // SAFETY: An inode is freed after RCU was waited for, and its mapping was that of the page, as
        // fs/dax.c: dax_lock_folio has it.
        let inode = NonNull::new(unsafe { bindings::igrab((*file).host) })?;
        // SAFETY: As above.
        let first = unsafe { (&raw const (*fields).__bindgen_anon_2.index).read_volatile() };
        // INVARIANT: igrab took the reference.
        let found = FilePage {
            inode,
            mapping: file,
            index: first + (page.addr() - folio.addr()) / size_of::<bindings::page>(),
        };
        // If the file let go of it meanwhile, there is nobody to be told.
        let is_there = mapping() == file;

        // To put an inode may sleep.
        drop(rcu);
        is_there.then_some(found)
    }

    /// Waits until nobody maps or pins a page, and unmaps the memory. The first call does it, any
    /// other returns at once. May sleep for ever: `waiting` is called with the offset of a busy
    /// page about every ten seconds, to tell who is to blame; `idle` when there is none left, and
    /// the memory still mapped. `settle` is called before each look, to let go of pages.
    ///
    /// The wait is over, too, when `give_up` says so of a busy page, and `idle` was called after.
    ///
    /// `memunmap_pages` itself does not wait for pins (mm/memremap.c: GUP takes no reference of the
    /// page map), it would free struct pages that are in use.
    ///
    /// # Safety
    ///
    /// - Nobody uses `base` or inserts a page any more, nor calls [`Self::publish`].
    /// - All mappings of the pages have been removed, and cannot come back.
    /// - If it returns an error, `self` is never dropped: the pages go on to refer to it.
    ///
    /// # Errors
    ///
    /// [`StillUsed`] if it was given up. The memory stays mapped.
    pub(crate) unsafe fn release(
        &self,
        settle: impl Fn(),
        mut waiting: impl FnMut(PageOffset),
        idle: impl FnOnce(),
        give_up: impl Fn() -> bool,
    ) -> Result<(), StillUsed> {
        const POLL: Delta = Delta::from_millis(20);
        const POLLS_PER_REPORT: u32 = 500;
        let mut polls = 0u32;

        if !self.mapped.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        // mincore(2) finds them without a page that is mapped, and has a reference for a moment.
        if self.page_type == PageType::Generic {
            self.inode.remove_folios();
        }
        loop {
            settle();
            let Some(pfn) = self.busy() else {
                break;
            };
            if polls % POLLS_PER_REPORT == POLLS_PER_REPORT / 10 {
                waiting(PageOffset(pfn.0 - self.first.0));
            }
            if give_up() {
                KEPT.store(true, Ordering::Release);
                idle();
                return Err(StillUsed);
            }
            polls = polls.wrapping_add(1);
            fsleep(POLL);
        }
        idle();
        if self.page_type == PageType::Generic {
            self.forget_mapping();
        }
        // SAFETY: `memremap_pages` succeeded, this is the only call, and by this function's
        // requirements nobody uses the memory.
        unsafe { bindings::memunmap_pages(self.pgmap.get()) };
        Ok(())
    }

    fn forget_mapping(&self) {
        self.for_each_folio(|pfn, _| {
            // SAFETY: The memory is still mapped.
            let folio = unsafe { bindings::pfn_folio(pfn.0) };

            // gup_fast looks at the mapping without a reference (mm/gup.c: gup_fast_folio_allowed),
            // so it must not dangle when the inode goes.
            Self::set_mapping(folio, core::ptr::null_mut(), 0);
        });
    }

    /// The bytes of the memory.
    #[inline]
    pub(crate) fn len(&self) -> u64 {
        (self.pages as u64) << PAGE_SHIFT
    }
}

/// A page of a file with direct access.
///
/// # Invariants
///
/// A reference of `inode` is owned, whose mapping is `mapping`.
pub(crate) struct FilePage {
    inode: NonNull<bindings::inode>,
    mapping: *mut bindings::address_space,
    index: usize,
}

impl FilePage {
    /// Removes the page from all mappings of the file, and sends signals to processes that had it: at
    /// once to the one that runs, to others if they asked for it. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the file has no direct access any more.
    pub(crate) fn kill_procs(&self, flags: c_int) -> Result {
        // SAFETY: By the type's invariants the mapping is valid. mm/memory-failure.c looks for the entry
        // of the page itself, and locks it.
        to_result(unsafe { bindings::mf_dax_kill_procs(self.mapping, self.index, 1, flags) })
    }
}

impl Drop for FilePage {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

#[pinned_drop]
impl PinnedDrop for PageMap {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The owner is going away, so there is nobody who could use the memory: a user of
        // it holds a reference of the owner. It is never given up.
        let _ = unsafe { self.release(|| (), |_| (), || (), || false) };
    }
}
