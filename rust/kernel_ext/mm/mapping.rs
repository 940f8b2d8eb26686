// SPDX-License-Identifier: GPL-2.0

//! What mmap(2) of a block device asks a driver for, and what the driver answers.
//!
//! C header: [`include/linux/mm_types.h`](srctree/include/linux/mm_types.h)
//! (`struct vm_area_desc`)

use crate::{
    bindings,
    block::node::{
        self,
        Node, //
    },
    fs::pseudo::BackingFile,
    mm::fault::{
        Fault,
        Outcome, //
    },
    trace,
    units::{
        ByteRange,
        Order,
        PageOffset,
        PAGE_SHIFT, //
    },
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::ForeignOwnable,
};

/// What one call of mmap(2) made. It lives as long as any part of the mapping does, in any process:
/// each VMA has a reference.
pub trait Operations: Send + Sync + Sized + 'static {
    /// The data of the disk.
    type Disk: node::Operations;

    /// The mapping is in place, but nobody can touch it yet: the mm is locked for writing. If this
    /// fails, mmap(2) does. May sleep.
    fn new(disk: ArcBorrow<'_, Self::Disk>, node: Node<'_>) -> Result<Arc<Self>>;

    /// Handles a fault. May sleep. Runs under the lock of the VMA.
    fn fault(&self, fault: Fault<'_>) -> Outcome;

    /// Whether the mapping may be stored to, as mprotect(2) wants.
    ///
    /// # Errors
    ///
    /// That of mprotect(2).
    fn make_writable(&self) -> Result;

    /// The name of the disk, for trace events. It stays where it is.
    fn disk_name(&self) -> &CStr;

    /// The largest order that [`fault`](Self::fault) maps anything with.
    fn largest(&self) -> Order;

    /// Removes `range` from all page tables, of all mappings.
    fn unmap(&self, range: ByteRange);
}

/// A mapping that mmap(2) is about to make.
///
/// # Invariants
///
/// `desc` is valid and set up for `'a`; its file is a node of a disk of ours.
pub struct Area<'a> {
    desc: NonNull<bindings::vm_area_desc>,
    _call: PhantomData<&'a mut bindings::vm_area_desc>,
}

impl<'a> Area<'a> {
    /// # Safety
    ///
    /// `desc` is that of an mmap of a node of ours being prepared, for `'a`.
    pub(crate) unsafe fn from_raw(desc: NonNull<bindings::vm_area_desc>) -> Self {
        // INVARIANT: By this function's requirements.
        Self {
            desc,
            _call: PhantomData,
        }
    }

    fn raw(&self) -> &bindings::vm_area_desc {
        // SAFETY: By the type's invariants.
        unsafe { self.desc.as_ref() }
    }

    fn flag(&self, bit: u32) -> bool {
        self.raw().vma_flags.__vma_flags[0] & (1 << bit) != 0
    }

    /// The offset in the file of the first page.
    pub fn page(&self) -> PageOffset {
        PageOffset(self.raw().pgoff)
    }

    /// The number of pages.
    pub fn pages(&self) -> usize {
        (self.raw().end - self.raw().start) >> PAGE_SHIFT
    }

    /// Whether stores through it reach the file, now or after mprotect(2).
    pub fn may_store(&self) -> bool {
        self.flag(bindings::VMA_SHARED_BIT) && self.flag(bindings::VMA_MAYWRITE_BIT)
    }

    /// Whether it was asked for with MAP_SYNC.
    pub fn is_sync(&self) -> bool {
        self.flag(bindings::VMA_SYNC_BIT)
    }

    /// Whether `file` is mapped right before the area or right behind it.
    pub fn touches(&self, file: &BackingFile) -> bool {
        let desc = self.raw();
        // SAFETY: By the type's invariants mmap(2) is under way, of that mm.
        let tree = unsafe { &raw mut (*desc.mm).__bindgen_anon_1.mm_mt };

        [desc.start.wrapping_sub(1), desc.end]
            .into_iter()
            .any(|address| {
                // As linux/mm.h: vma_lookup, which is inline there.
                //
                // SAFETY: As above, so the lock of the mm is held for writing, and the VMA is valid.
                let vma = unsafe { bindings::mtree_load(tree, address) }
                    .cast::<bindings::vm_area_struct>();

                // SAFETY: As above. By the pointer, as others count themselves in the VMA.
                !vma.is_null() && unsafe { (*vma).vm_file } == file.as_raw()
            })
    }

    /// Lets the mapping keep its size, and the core do nothing with it that needs the operations of a file
    /// of a file system.
    ///
    /// C: `VM_DONTEXPAND`, one of `VM_SPECIAL`.
    pub fn keep_as_it_is(&mut self) {
        // SAFETY: By the type's invariants.
        let desc = unsafe { self.desc.as_mut() };

        desc.vma_flags.__vma_flags[0] |= 1 << bindings::VMA_DONTEXPAND_BIT;
    }

    /// Makes `file` the file of the mapping, which starts at its page `page`. When the mapping is in
    /// place, [`T::new`](Operations::new) is called for it, and faults go to what that returns.
    ///
    /// Nothing of the file may be mapped right [beside](Self::touches) it, as the core would make one mapping
    /// of both: then it neither drops the reference of a file that was changed (mm/vma.c: __mmap_region), nor
    /// is `T::new` called (mm/util.c: call_vma_mapped).
    pub fn set_file<T: Operations>(self, file: &BackingFile, page: PageOffset) {
        // SAFETY: By the type's invariants.
        let desc = unsafe { &mut *self.desc.as_ptr() };

        desc.vm_file = file.get();
        desc.pgoff = page.0;
        desc.vm_ops = &Vtable::<T>::OPERATIONS;
        desc.private_data = Private::<T>::Node(desc.file).into_raw();
        desc.vma_flags.__vma_flags[0] |= 1 << bindings::VMA_HUGEPAGE_BIT;
    }
}

/// What a VMA's `vm_private_data` is.
///
/// If mmap(2) fails after it was prepared, C forgets the value: so up to the end of the call it
/// owns nothing. If it fails because [`Operations::new`] did, the VMA keeps the value, but not the
/// operations that know it.
enum Private<T: Operations> {
    /// The node that is being mapped, which mmap(2) keeps open.
    Node(*mut bindings::file),
    /// The mapping, of which a reference is owned.
    Mapping(NonNull<c_void>, PhantomData<Arc<T>>),
}

impl<T: Operations> Private<T> {
    /// No pointer to a structure is odd.
    const NODE: usize = 1;

    fn into_raw(self) -> *mut c_void {
        match self {
            Self::Node(file) => file.cast::<c_void>().map_addr(|addr| addr | Self::NODE),
            Self::Mapping(mapping, _) => mapping.as_ptr(),
        }
    }

    fn from_raw(raw: *mut c_void) -> Option<Self> {
        if raw.addr() & Self::NODE != 0 {
            return Some(Self::Node(raw.map_addr(|addr| addr & !Self::NODE).cast()));
        }
        Some(Self::Mapping(NonNull::new(raw)?, PhantomData))
    }
}

struct Vtable<T>(PhantomData<T>);

impl<T: Operations> Vtable<T> {
    const OPERATIONS: bindings::vm_operations_struct = bindings::vm_operations_struct {
        mapped: Some(Self::mapped_callback),
        open: Some(Self::open_callback),
        close: Some(Self::close_callback),
        may_split: Some(Self::may_split_callback),
        fault: Some(Self::fault_callback),
        huge_fault: Some(Self::huge_fault_callback),
        map_pages: Some(Self::map_pages_callback),
        mprotect: Some(Self::mprotect_callback),
        ..pin_init::zeroed()
    };

    /// Of a VMA that could not be mapped: whoever touches it gets SIGBUS.
    const REFUSED: bindings::vm_operations_struct = pin_init::zeroed();

    /// The mapping of a VMA.
    ///
    /// # Safety
    ///
    /// `vma` is a VMA of ours that was mapped and not closed, valid for `'a`.
    #[inline]
    unsafe fn mapping<'a>(vma: *mut bindings::vm_area_struct) -> ArcBorrow<'a, T> {
        // SAFETY: By this function's requirements `mapped_callback` set the value.
        unsafe { Arc::<T>::borrow((*vma).vm_private_data) }
    }

    /// # Safety
    ///
    /// Called by mm/util.c: call_vma_mapped, once for each mmap(2), with the value that
    /// [`Area::set_file`] set.
    unsafe extern "C" fn mapped_callback(
        start: c_ulong,
        _end: c_ulong,
        _pgoff: c_ulong,
        _file: *const bindings::file,
        private: *mut *mut c_void,
    ) -> c_int {
        // SAFETY: By this function's requirements `private` is valid.
        let Some(Private::<T>::Node(file)) = Private::from_raw(unsafe { *private }) else {
            return EINVAL.to_errno();
        };
        // SAFETY: It is the file that mmap(2) is called for, so it is open, and ours.
        let (disk, node) = unsafe { node::open_node::<T::Disk>(file) };

        match T::new(disk, node) {
            Ok(mapping) => {
                // SAFETY: By this function's requirements `private` is valid.
                unsafe { *private = mapping.into_foreign() };
                0
            }
            Err(e) => {
                // mm removes the VMA, but takes no notice if it has no memory to do so (mm/util.c:
                // mmap_action_finish).
                //
                // SAFETY: The VMA is that of the current process and begins at `start`; mmap(2) has the
                // lock of the mm (mm/vma.c: __mmap_new_vma).
                let vma = unsafe { bindings::find_vma((*bindings::get_current()).mm, start) };

                if !vma.is_null() {
                    // By the pointer, as the VMA is not ours alone: others count themselves in it
                    // (mm/mmap_lock.c: lock_vma_under_rcu). Those who walk the mappings of the file
                    // only ask whether there are operations (vma_is_anonymous), and there are.
                    //
                    // SAFETY: As above. Who calls an operation has the lock of the mm or of the VMA,
                    // and mmap(2) has both for writing.
                    unsafe { (&raw mut (*vma).vm_ops).write_volatile(&Self::REFUSED) };
                }
                e.to_errno()
            }
        }
    }

    /// # Safety
    ///
    /// Called by mm, with a copy of a VMA of ours that was mapped: after fork, split or mremap.
    unsafe extern "C" fn open_callback(vma: *mut bindings::vm_area_struct) {
        // SAFETY: By this function's requirements. The copied value gets a reference of its own.
        let mapping: Arc<T> = unsafe { Self::mapping(vma) }.into();

        // mremap(2) takes 1 GiB entries for broken ones and clears them, with what they count
        // (mm/mremap.c: get_old_pud, move_page_tables). So there must be none now. Nobody can bring
        // them back: the old VMA is locked for writing (move_vma) until it is gone.
        //
        // SAFETY: By this function's requirements the VMA is valid.
        if mapping.largest() == Order::Pud && unsafe { Self::is_of_current(vma) } {
            // SAFETY: As above; nobody knows the VMA yet.
            let (vm, pgoff) =
                unsafe { (&(*vma).__bindgen_anon_1.__bindgen_anon_1, (*vma).vm_pgoff) };
            let pages = (vm.vm_end - vm.vm_start) >> PAGE_SHIFT;

            if let Some(range) = ByteRange::of_pages(PageOffset(pgoff), pages) {
                mapping.unmap(range);
            }
        }
        let _ = mapping.into_foreign();
    }

    /// Whether the VMA is of this process: it came from mremap or a split, not from fork.
    ///
    /// # Safety
    ///
    /// `vma` is valid.
    unsafe fn is_of_current(vma: *mut bindings::vm_area_struct) -> bool {
        // SAFETY: The current task is valid, and its mm does not change while it runs.
        let mm = unsafe { (*bindings::get_current()).mm };

        // SAFETY: By this function's requirements.
        unsafe { (*vma).vm_mm == mm }
    }

    /// A 1 GiB entry across the new border of two VMAs goes, since mm splits only smaller ones
    /// (mm/huge_memory.c: vma_adjust_trans_huge), and would find it in neither of them.
    ///
    /// # Safety
    ///
    /// Called by mm/vma.c: __split_vma and mm/mremap.c: prep_move_vma, with a VMA of ours that was
    /// mapped, the mm locked for writing, and `addr` within the VMA.
    unsafe extern "C" fn may_split_callback(
        vma: *mut bindings::vm_area_struct,
        addr: c_ulong,
    ) -> c_int {
        let size = Order::Pud.bytes();
        let start = addr & !(size - 1);

        // SAFETY: By this function's requirements.
        if start == addr || unsafe { Self::mapping(vma) }.largest() != Order::Pud {
            return 0;
        }
        // SAFETY: By this function's requirements the VMA is valid, and nobody changes its bounds.
        let vm = unsafe { &(*vma).__bindgen_anon_1.__bindgen_anon_1 };

        if vm.vm_start <= start && vm.vm_end - start >= size {
            // No fault may bring it back before the VMA is split.
            //
            // SAFETY: By this function's requirements the mm is locked for writing.
            unsafe { bindings::vma_start_write(vma) };
            // SAFETY: The range is within the VMA.
            unsafe { bindings::zap_vma_range(vma, start, size) };
        }
        0
    }

    /// # Safety
    ///
    /// Called by mm/vma.c: vma_close, once for each VMA of ours, after it was mapped.
    unsafe extern "C" fn close_callback(vma: *mut bindings::vm_area_struct) {
        // SAFETY: By this function's requirements the VMA is valid.
        let private = Private::<T>::from_raw(unsafe { (*vma).vm_private_data });

        if let Some(Private::Mapping(mapping, _)) = private {
            // SAFETY: The reference is the VMA's, which has no use of it any more.
            drop(unsafe { Arc::<T>::from_foreign(mapping.as_ptr()) });
        }
    }

    /// # Safety
    ///
    /// Called by mm/memory.c: __do_fault, for a VMA of ours that was mapped.
    unsafe extern "C" fn fault_callback(vmf: *mut bindings::vm_fault) -> bindings::vm_fault_t {
        // SAFETY: By this function's requirements.
        unsafe { Self::handle(vmf, Order::Pte) }
    }

    /// # Safety
    ///
    /// Called by mm/memory.c: create_huge_pmd and the like, for a VMA of ours that was mapped.
    unsafe extern "C" fn huge_fault_callback(
        vmf: *mut bindings::vm_fault,
        order: c_uint,
    ) -> bindings::vm_fault_t {
        if order == Order::Pmd.order() {
            // SAFETY: By this function's requirements.
            return unsafe { Self::handle(vmf, Order::Pmd) };
        }
        // SAFETY: By this function's requirements.
        unsafe { Self::gigantic_fault(vmf, order) }
    }

    /// A fault of any other order: rare, and kept out of the way of the others.
    ///
    /// # Safety
    ///
    /// As [`huge_fault_callback`](Self::huge_fault_callback).
    #[inline(never)]
    unsafe fn gigantic_fault(vmf: *mut bindings::vm_fault, order: c_uint) -> bindings::vm_fault_t {
        if order != Order::Pud.order() {
            return Outcome::FALLBACK.0;
        }
        // SAFETY: By this function's requirements.
        unsafe { Self::handle(vmf, Order::Pud) }
    }

    /// # Safety
    ///
    /// `vmf` is that of a fault, with an entry of `order`, on a VMA of ours that was mapped.
    #[inline(always)]
    unsafe fn handle(vmf: *mut bindings::vm_fault, order: Order) -> bindings::vm_fault_t {
        // SAFETY: mm never passes a null pointer.
        let vmf = unsafe { NonNull::new_unchecked(vmf) };
        // SAFETY: By this function's requirements the fault is valid.
        let vma = unsafe { vmf.as_ref().__bindgen_anon_1.vma };
        // SAFETY: By this function's requirements the VMA is ours, and held by the fault.
        let mapping = unsafe { Self::mapping(vma) };
        // SAFETY: By this function's requirements.
        let fault = unsafe { Fault::from_raw(vmf, order) };

        let outcome = mapping.fault(fault);
        // Looked up again, as keeping it would cost something in each fault.
        let disk_name = || {
            // SAFETY: As above: nothing here unlocked the VMA.
            let mapping = unsafe { Self::mapping(vmf.as_ref().__bindgen_anon_1.vma) };

            mapping.disk_name().as_char_ptr()
        };

        // SAFETY: By this function's requirements. The VMA keeps the mapping, and that its disk.
        unsafe { trace::fault(vmf, order, outcome, disk_name) };
        outcome.0
    }

    /// Nothing is mapped around a fault here: `fault` does, for stores too. That the callback exists
    /// lets faults of single pages run under the lock of the VMA alone (mm/memory.c:
    /// vmf_can_call_fault).
    ///
    /// # Safety
    ///
    /// None: the arguments are not used.
    unsafe extern "C" fn map_pages_callback(
        _vmf: *mut bindings::vm_fault,
        _start: c_ulong,
        _end: c_ulong,
    ) -> bindings::vm_fault_t {
        0
    }

    /// # Safety
    ///
    /// Called by mm/mprotect.c: do_mprotect_pkey, for a VMA of ours that was mapped, of which
    /// `start` to `end` is a part.
    unsafe extern "C" fn mprotect_callback(
        vma: *mut bindings::vm_area_struct,
        start: c_ulong,
        end: c_ulong,
        newflags: c_ulong,
    ) -> c_int {
        let wanted = bindings::VM_SHARED as c_ulong | bindings::VM_WRITE as c_ulong;

        // SAFETY: By this function's requirements the VMA is valid, and locked by mprotect(2). Both members
        // of the union are the same bits (linux/mm_types.h).
        let flags = unsafe { (*vma).__bindgen_anon_2.vm_flags };

        // Without a change of flags no entry changes (mm/mprotect.c: mprotect_fixup).
        if newflags & wanted != wanted || newflags == flags {
            return 0;
        }
        // SAFETY: By this function's requirements the VMA is ours.
        if let Err(e) = unsafe { Self::mapping(vma) }.make_writable() {
            return e.to_errno();
        }
        // Entries that are read-only would be made writable in place, and nobody asked (mm/mprotect.c:
        // change_protection). So they go, and each store faults. None comes back before the protection
        // has changed.
        //
        // SAFETY: By this function's requirements the VMA is valid, and its mm locked for writing.
        unsafe { bindings::vma_start_write(vma) };
        // SAFETY: By this function's requirements the range is within the VMA.
        unsafe { bindings::zap_vma_range(vma, start, end - start) };
        0
    }
}
