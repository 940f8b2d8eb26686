// SPDX-License-Identifier: GPL-2.0

//! Page faults.
//!
//! C header: [`include/linux/mm.h`](srctree/include/linux/mm.h) (`struct vm_fault`)

use crate::{
    bindings,
    compat::{
        smp_mb,
        Write,
        VM_MAYSHARE, //
    },
    dax::Block,
    units::{
        Order,
        PageOffset,
        PAGE_SHIFT, //
    }, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Calls `f`, in which nothing that the current task allocates lets it wait: neither for memory to be
/// reclaimed, nor because its cgroup is over a limit (mm/memcontrol.c: try_charge_memcg), which may be
/// for 2 s each time.
///
/// It takes what is kept for emergencies if there is no other memory. So `f` may allocate no more than
/// what was allocated for the same end just before, by the common rules, and is given back.
#[inline(always)]
pub(crate) fn without_reclaim<R>(f: impl FnOnce() -> R) -> R {
    // As linux/sched/mm.h: memalloc_noreclaim_save and its counterpart, which are inline there: this is in
    // each fault of a page.
    //
    // SAFETY: The current task is valid.
    let flags = unsafe { &raw mut (*bindings::get_current()).flags };
    // SAFETY: As above. Only the task itself changes them.
    let before = unsafe { *flags } & bindings::PF_MEMALLOC;

    // SAFETY: As above.
    unsafe { *flags |= bindings::PF_MEMALLOC };
    let result = f();

    // SAFETY: As above. Others of them may have changed.
    unsafe { *flags = *flags & !bindings::PF_MEMALLOC | before };
    result
}

/// How a fault ended.
///
/// C: `vm_fault_t`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub struct Outcome(pub(crate) bindings::vm_fault_t);

impl Outcome {
    /// The page is mapped, or will be when the access is tried again.
    pub const NO_PAGE: Self = Self(bindings::vm_fault_reason_VM_FAULT_NOPAGE);
    /// There is no such page: SIGBUS, BUS_ADRERR.
    pub const SIGBUS: Self = Self(bindings::vm_fault_reason_VM_FAULT_SIGBUS);
    /// The page is bad: SIGBUS, BUS_MCEERR_AR.
    pub const HW_POISON: Self = Self(bindings::vm_fault_reason_VM_FAULT_HWPOISON);
    /// There is no memory for it.
    pub(crate) const OOM: Self = Self(bindings::vm_fault_reason_VM_FAULT_OOM);
    /// Not with this order; try a smaller one.
    pub const FALLBACK: Self = Self(bindings::vm_fault_reason_VM_FAULT_FALLBACK);
    /// The core is to copy the page that was handed to it.
    const COPY: Self = Self(0);

    /// Whether nothing is mapped, and trying the same again will not help.
    pub fn is_refusal(self) -> bool {
        let refusals = Self::SIGBUS.0 | Self::HW_POISON.0 | Self::FALLBACK.0;

        self.0 & refusals != 0
    }
}

/// A fault that is being handled.
///
/// # Invariants
///
/// `vmf` is valid for `'a`, and the lock of its VMA is held (for reading) all that time. It has an
/// entry of the middle directory unless `order` is larger.
pub struct Fault<'a> {
    vmf: NonNull<bindings::vm_fault>,
    order: Order,
    _call: PhantomData<&'a mut bindings::vm_fault>,
}

impl<'a> Fault<'a> {
    /// # Safety
    ///
    /// `vmf` is that of a fault being handled with an entry of `order`, for `'a`.
    #[inline]
    pub(crate) unsafe fn from_raw(vmf: NonNull<bindings::vm_fault>, order: Order) -> Self {
        // INVARIANT: By this function's requirements; mm/memory.c: handle_mm_fault is called with
        // the lock of the VMA or of the mm, and __handle_mm_fault sets `pmd` unless it tries an
        // entry of the upper directory.
        Self {
            vmf,
            order,
            _call: PhantomData,
        }
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::vm_fault {
        self.vmf.as_ptr()
    }

    #[inline]
    fn raw(&self) -> &bindings::vm_fault {
        // SAFETY: By the type's invariants.
        unsafe { self.vmf.as_ref() }
    }

    #[inline]
    fn vma(&self) -> &bindings::vm_area_struct {
        // SAFETY: By the type's invariants the VMA is valid.
        unsafe { &*self.raw().__bindgen_anon_1.vma }
    }

    #[inline]
    fn vm_flags(&self) -> c_ulong {
        // SAFETY: Both members of the union are the same bits (linux/mm_types.h).
        unsafe { self.vma().__bindgen_anon_2.vm_flags }
    }

    #[inline]
    fn address(&self) -> usize {
        self.raw().__bindgen_anon_1.address
    }

    /// The size of what is wanted.
    #[inline]
    pub fn order(&self) -> Order {
        self.order
    }

    /// "Not like this": a smaller page if there is one, SIGBUS otherwise.
    ///
    /// KVM takes SIGBUS for a page that has to be read in first: virt/kvm/kvm_main.c: hva_to_pfn,
    /// and arch/x86/kvm/mmu/mmu.c: __kvm_mmu_faultin_pfn then lets the guest wait for it, and try
    /// again, for ever. Bad memory is what it tells the guest, and its process, of.
    #[inline]
    pub fn refuse(&self) -> Outcome {
        match self.order {
            Order::Pte if self.is_of_a_guest() => Outcome::HW_POISON,
            Order::Pte => Outcome::SIGBUS,
            Order::Pmd | Order::Pud => Outcome::FALLBACK,
        }
    }

    /// Whether KVM asks, for a guest that touched its memory: nobody else has FOLL_NOWAIT, of which
    /// mm/gup.c: faultin_page makes this flag.
    #[inline]
    fn is_of_a_guest(&self) -> bool {
        self.raw().flags & bindings::fault_flag_FAULT_FLAG_RETRY_NOWAIT != 0
    }

    /// The offset of the page, in the file of the mapping.
    #[inline]
    pub fn page(&self) -> PageOffset {
        PageOffset(self.raw().__bindgen_anon_1.pgoff)
    }

    /// The offset of the block of the fault's order that has the page, or `None` if the block is not
    /// wholly inside the mapping.
    #[inline]
    pub fn block(&self) -> Option<PageOffset> {
        if self.order == Order::Pte {
            return Some(self.page());
        }

        let start = self.address() & !(self.order.bytes() - 1);
        // SAFETY: The plain bounds are always valid while the lock is held.
        let vma = unsafe { &self.vma().__bindgen_anon_1.__bindgen_anon_1 };
        // The address is before the end, and so is what is not behind the address.
        if start < vma.vm_start || vma.vm_end.wrapping_sub(start) < self.order.bytes() {
            return None;
        }

        let pages = (self.address() - start) >> PAGE_SHIFT;
        Some(PageOffset(self.page().0.wrapping_sub(pages)))
    }

    /// Whether it is a store.
    #[inline]
    pub fn is_write(&self) -> bool {
        self.raw().flags & bindings::fault_flag_FAULT_FLAG_WRITE != 0
    }

    /// Whether the mapping is a shared one, of which no page is ever copied.
    ///
    /// Of a file that is open for reading only, it has VM_MAYSHARE alone (mm/mmap.c: do_mmap), and
    /// can never be stored to.
    #[inline]
    pub fn is_shared(&self) -> bool {
        self.vm_flags() & c_ulong::from(VM_MAYSHARE) != 0
    }

    /// Whether stores through the mapping are allowed, and reach the device.
    #[inline]
    pub fn may_store(&self) -> bool {
        let both = c_ulong::from(bindings::VM_SHARED | bindings::VM_WRITE);

        self.vm_flags() & both == both
    }

    /// Whether userfaultfd(2) watches stores to the mapping (UFFDIO_REGISTER_MODE_WP).
    ///
    /// For memory like this it is told of nothing, but it, and PAGEMAP_SCAN, ask afterwards which entries
    /// are not protected any more (UFFD_FEATURE_WP_ASYNC). A large entry that [`insert`](Self::insert) makes
    /// writable in place would stay protected for them, so there are to be none. To be registered takes the
    /// lock of the VMA.
    #[inline]
    pub fn is_watched(&self) -> bool {
        self.vm_flags() & (1 << bindings::VMA_UFFD_WP_BIT) != 0
    }

    /// Whether somebody mapped the place with another order since the fault was taken. Then
    /// inserting would fail (a page under a 2 MiB entry is `-ENOMEM` to mm/memory.c: insert_page)
    /// or warn (mm/huge_memory.c: insert_pmd), but the access can just be tried again.
    ///
    /// It stays true or false while the caller has the [`Table`](crate::dax::Table) of the page.
    #[inline(always)]
    pub fn is_superseded(&self) -> bool {
        if self.order == Order::Pud {
            // SAFETY: mm/memory.c: __handle_mm_fault set `pud` to the entry of the address; the
            // table is not freed while the lock of the VMA is held. The entry changes under us,
            // hence volatile.
            let pud = unsafe { self.raw().pud.read_volatile() };

            // SAFETY: They only look at the value.
            return unsafe { !bindings::pud_none(pud) && !bindings::pud_trans_huge(pud) };
        }

        let Some(pmd) = self.pmd() else {
            return false;
        };
        match self.order {
            // SAFETY: It only looks at the value.
            Order::Pte => unsafe { bindings::pmd_trans_huge(pmd) },
            // SAFETY: As above.
            _ => unsafe { !bindings::pmd_trans_huge(pmd) },
        }
    }

    /// The entry of the middle directory, if there is something in it, as is not for most large
    /// pages.
    #[inline(always)]
    fn pmd(&self) -> Option<bindings::pmd_t> {
        if self.order == Order::Pud {
            return None;
        }
        // SAFETY: By the type's invariants there is an entry; the rest is as for `pud` above.
        let pmd = unsafe { self.raw().pmd.read_volatile() };

        (pmd.pmd != 0).then_some(pmd)
    }

    /// Whether there is a page table at the place, or one for it, which mm/memory.c: __do_fault
    /// allocates before it calls us if there is none. That may be gone by now (MADV_DONTNEED with
    /// PT_RECLAIM: mm/memory.c: zap_empty_pte_table); then the access has to be tried again.
    #[inline(always)]
    pub(crate) fn can_have_table(&self) -> bool {
        self.pmd().is_some() || self.has_spare_table()
    }

    /// Whether there is a page table that is not in its place yet.
    #[inline(always)]
    pub(crate) fn has_spare_table(&self) -> bool {
        !self.raw().prealloc_pte.is_null()
    }

    /// Puts a page table in the place of the fault, of a single page, unless there is one. Returns
    /// whether there is one now; otherwise the access has to be tried again.
    ///
    /// [`insert`](Self::insert) would allocate one, and a process whose cgroup is over its limits may
    /// sleep for seconds in that, while others wait for it. To be called when nothing else keeps the
    /// page from being mapped: where there is an empty table, there can be no large page.
    #[inline(always)]
    pub fn ensure_table(&self) -> bool {
        self.pmd().is_some() || self.install_table()
    }

    /// C: `pmd_install` of mm/memory.c.
    #[inline(never)]
    fn install_table(&self) -> bool {
        let table = self.raw().prealloc_pte;
        let pmd = self.raw().pmd;

        if !self.has_spare_table() {
            return false;
        }
        // SAFETY: By the type's invariants the VMA, and so its mm, is valid.
        let mm = unsafe { (*self.raw().__bindgen_anon_1.vma).vm_mm };
        // SAFETY: By the type's invariants `pmd` is an entry of the page tables of `mm`.
        let lock = unsafe { bindings::pmd_lock(mm, pmd) };

        // SAFETY: The entry is valid, and its lock is held.
        if unsafe { bindings::pmd_none(*pmd) } {
            // SAFETY: As above.
            unsafe { bindings::mm_inc_nr_ptes(mm) };
            // The table was cleared before others see it.
            smp_mb(Write);
            // SAFETY: As above; the entry is empty. mm/memory.c: __do_fault allocated the table for
            // this place, and nobody else knows it.
            unsafe { bindings::pmd_populate(mm, pmd, table) };
            // SAFETY: By the type's invariants `vmf` is valid and ours. The table is not, any more:
            // mm/memory.c: do_fault frees what is left here.
            unsafe { (*self.vmf.as_ptr()).prealloc_pte = core::ptr::null_mut() };
        }
        // SAFETY: It was locked above.
        unsafe { bindings::spin_unlock(lock) };
        true
    }

    /// The pages to map if somebody goes through the memory in order: that of the fault, and as many
    /// behind it as are mapped right before it, but no more than `most`, nor past the end of the page
    /// table, of the 2 MiB of the file or of the mapping. `None` if nothing is mapped right before it.
    ///
    /// So who goes through the memory in order has to fault less and less, and who does not pays
    /// for at most as many pages as he touched. Only a guess is made from what others may be
    /// changing.
    #[inline]
    pub fn run(&self, most: usize) -> Option<Run> {
        const PRESENT: c_ulong = 1;
        let index = (self.address() >> PAGE_SHIFT) % Order::Pmd.pages();

        // C would protect all of them if the page of the fault is (mm/memory.c: set_pte_range).
        if self.is_watched() {
            return None;
        }
        let rcu = kernel::sync::rcu::read_lock();
        let mut pmd = self.pmd()?;
        // SAFETY: It only looks at the value.
        if index == 0 || unsafe { bindings::pmd_trans_huge(pmd) } {
            return None;
        }
        // SAFETY: The entry is that of a table of 512 entries, and `index` is that of the address.
        // Page tables are freed by RCU (mm/mmu_gather.c, with PT_RECLAIM), so it is at least memory.
        let entry = unsafe { bindings::pte_offset_kernel(&mut pmd, self.address()) };
        let before = (1..=index.min(most))
            .take_while(|back| {
                // SAFETY: The entry is in the table, since `back` is at most `index`.
                let pte = unsafe { entry.sub(*back).read_volatile() };

                pte.pte & PRESENT != 0
            })
            .count();

        drop(rcu);
        if before == 0 {
            return None;
        }
        // SAFETY: The plain bounds are always valid while the lock is held.
        let end = unsafe { self.vma().__bindgen_anon_1.__bindgen_anon_1.vm_end };
        let first = self.page();
        let pages = (before + 1)
            .min(Order::Pmd.pages() - index)
            .min(Order::Pmd.pages() - first.0 % Order::Pmd.pages())
            .min((end - self.address()) >> PAGE_SHIFT);

        Some(Run {
            first,
            pages,
            reach: match first.0 % Order::Pmd.pages() == index {
                false => (first, pages),
                // mm/filemap.c: filemap_map_pages maps all of a folio that lies in one page table.
                true => (PageOffset(first.0 - index), Order::Pmd.pages()),
            },
        })
    }

    /// Maps `block` at the address of the fault; for stores if `write`. Otherwise it is as the
    /// protection of the mapping says, which lets nobody store to a private one. Never sleeps; for a
    /// single page [`ensure_table`](Self::ensure_table) comes before.
    #[inline(always)]
    pub fn insert(&self, block: Block<'_>, write: bool) -> Outcome {
        let vmf = self.vmf.as_ptr();
        let page = block.page();

        Outcome(match block.order() {
            Order::Pte => return self.insert_page(page, write),
            // SAFETY: By the type's invariants `vmf` is valid, by those of `Block` the head page is a
            // folio of order 9. mm/huge_memory.c: insert_pmd checks the address; `block()` checked the whole.
            Order::Pmd => unsafe { bindings::vmf_insert_folio_pmd(vmf, page.cast(), write) },
            // SAFETY: The same, with order 18 and insert_pud.
            Order::Pud => unsafe { bindings::vmf_insert_folio_pud(vmf, page.cast(), write) },
        })
    }

    /// The same where userfaultfd(2) watches. A page that was protected when it was not there counts as
    /// stored to from now on, as nothing that is exported maps a page and protects it.
    ///
    /// The page is not made writable, as C complains if it finds that it was protected meanwhile
    /// (mm/memory.c: insert_page_into_pte_locked). A store does that next (wp_page_shared).
    #[cold]
    #[inline(never)]
    fn insert_watched_page(&self, page: *mut bindings::page) -> Outcome {
        self.clear_marker();
        self.insert_plain_page(page, false)
    }

    /// Clears the entry of the page if it is the mark of userfaultfd(2) that the fault found there, and
    /// nothing else.
    ///
    /// C: `pte_marker_clear` of mm/memory.c.
    fn clear_marker(&self) {
        let vmf = self.raw();
        // SAFETY: Both members of the union are valid for all bits.
        let marker = unsafe { vmf.__bindgen_anon_2.orig_pte.pte };

        if vmf.flags & bindings::fault_flag_FAULT_FLAG_ORIG_PTE_VALID == 0 || marker == 0 {
            return;
        }
        let _rcu = kernel::sync::rcu::read_lock();
        let Some(mut pmd) = self.pmd() else {
            return;
        };
        // SAFETY: It only looks at the value.
        if unsafe { bindings::pmd_trans_huge(pmd) } {
            return;
        }
        // SAFETY: By the type's invariants the VMA, and so its mm, is valid.
        let mm = unsafe { (*vmf.__bindgen_anon_1.vma).vm_mm };
        // SAFETY: The entry is that of a table, which is freed by RCU (mm/mmu_gather.c, with PT_RECLAIM).
        let entry = unsafe { bindings::pte_offset_kernel(&mut pmd, self.address()) };
        // SAFETY: As above.
        let lock = unsafe { bindings::pte_lockptr(mm, &mut pmd) };

        // SAFETY: As above.
        unsafe { bindings::spin_lock(lock) };
        // As mm/pgtable-generic.c: pte_offset_map_lock, it looks whether the table is still in its place.
        //
        // SAFETY: The entry is valid, and its lock is held.
        if self.pmd().is_some_and(|now| now.pmd == pmd.pmd) && unsafe { (*entry).pte } == marker {
            // SAFETY: As above. What is not present is in no TLB, and a mark counts as nothing.
            unsafe { bindings::pte_clear(mm, self.address(), entry) };
        }
        // SAFETY: It was locked above.
        unsafe { bindings::spin_unlock(lock) };
    }

    #[inline(always)]
    fn insert_page(&self, page: *mut bindings::page, write: bool) -> Outcome {
        if self.is_watched() {
            return self.insert_watched_page(page);
        }
        self.insert_plain_page(page, write)
    }

    #[inline(always)]
    fn insert_plain_page(&self, page: *mut bindings::page, write: bool) -> Outcome {
        let vmf = self.vmf.as_ptr();

        // There is a table, but MADV_DONTNEED may take it away at any moment. C then allocates another
        // one, in place of that which goes; or it says that there is no memory, though only the access
        // has to be tried again (mm/memory.c: insert_page).
        let outcome = without_reclaim(|| {
            // SAFETY: By the type's invariants `vmf` is valid, by those of `Block` so is the page;
            // mm/memory.c: vmf_insert_page_mkwrite checks the address against the VMA itself.
            Outcome(unsafe { bindings::vmf_insert_page_mkwrite(vmf, page, write) })
        });

        match outcome {
            Outcome::OOM => Outcome::NO_PAGE,
            other => other,
        }
    }

    /// Gives `page` to the core, to be copied for a store to a private mapping.
    #[inline]
    pub fn copy(self, page: Block<'_>) -> Outcome {
        let page = page.page();

        // SAFETY: By the invariants of `Block` the page is valid. The reference is for
        // mm/memory.c: do_cow_fault, which drops it.
        unsafe { bindings::get_page(page) };
        // SAFETY: By the type's invariants `vmf` is valid and ours.
        unsafe { (*self.vmf.as_ptr()).page = page };
        Outcome::COPY
    }
}

/// Pages that one fault may map: see [`Fault::run`].
pub struct Run {
    first: PageOffset,
    pages: usize,
    reach: (PageOffset, usize),
}

impl Run {
    /// The first page: that of the fault.
    #[inline]
    pub(crate) fn first(&self) -> PageOffset {
        self.first
    }

    /// The last page.
    #[inline]
    pub fn last(&self) -> PageOffset {
        PageOffset(self.first.0 + self.pages - 1)
    }

    /// Where the pages are, and how many, that may be mapped in the mapping when those of the run
    /// are asked for. All of them have to be good.
    #[inline]
    pub fn reach(&self) -> (PageOffset, usize) {
        self.reach
    }
}
