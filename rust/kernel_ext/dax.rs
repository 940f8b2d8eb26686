// SPDX-License-Identifier: GPL-2.0

//! Direct access: memory of a device that is mapped into processes as it is.
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

use crate::{
    bindings,
    compat::{
        srcu::{
            self,
            new_srcu,
            Srcu, //
        },
        EOPNOTSUPP, //
    },
    fs::pseudo::{
        Inode,
        Mount, //
    },
    mm::{
        fault::{
            without_reclaim,
            Fault,
            Outcome,
            Run, //
        },
        memory_failure,
        memremap::{
            PageMap,
            PageType,
            Pinned,
            Span,
            StillUsed, //
        },
    },
    pmem::Memory,
    units::{
        ByteRange,
        Order,
        PageOffset,
        Pfn,
        PAGE_SHIFT,
        PAGE_SIZE, //
    },
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::Deref,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        self,
        AtomicBool,
        AtomicPtr,
        Ordering, //
    }, //
};
use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    iov::IovIterSource,
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Backend, //
        },
        rcu,
        Arc, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};

const TABLE_LOCKS: usize = 1 << TABLE_LOCK_BITS;
const TABLE_LOCK_BITS: u32 = 9;

/// C's `-EHWPOISON`, for which the kernel crate has no name.
const HWPOISON: c_long = -(bindings::EHWPOISON as c_long);

/// What [`Device::disk`] is when there is no disk any more. There will be no other.
const REMOVED: *mut bindings::gendisk = ptr::dangling_mut();

/// What a DAX device asks its driver.
pub trait Operations: Send + Sync + 'static {
    /// What the memory comes from. It is dropped when the memory goes.
    type Provider: Send + Sync;

    /// The name of the disk, for trace events.
    fn disk_name(&self) -> &CStr;

    /// Whether one of the `pages` pages from `page` on was reported bad. Called in every fault; may
    /// not sleep.
    fn is_bad(&self, page: PageOffset, pages: usize) -> bool;

    /// The hardware, or an administrator, reported `range` bad. All mappings of it are removed
    /// after. May sleep.
    ///
    /// # Errors
    ///
    /// Whoever reported it gets the error, and the kernel may go on to touch the memory.
    fn memory_failure(&self, range: ByteRange) -> Result;

    /// Writes to `range` by `write`, which returns how many bytes it has written, and makes bad memory
    /// good again by that. May sleep.
    fn write(
        &self,
        alive: &Alive<'_, Self>,
        range: ByteRange,
        write: impl FnOnce(Memory<'_>) -> Result<usize>,
    ) -> Result<usize>
    where
        Self: Sized;
}

/// A mutex, in a cache line of its own, so that faults in different places do not disturb each other.
///
/// `kernel::sync::Mutex` would do, but its guard asks, by a call in each fault, whether it is held.
#[pin_data]
#[repr(align(64))]
struct TableLock {
    #[pin]
    mutex: Opaque<bindings::mutex>,
}

impl TableLock {
    fn new() -> impl PinInit<Self> {
        let key = kernel::static_lock_class!();

        pin_init!(Self {
            mutex <- Opaque::ffi_init(|mutex| {
                // SAFETY: The name and the class live for ever, and `mutex` is valid and pinned.
                unsafe {
                    MutexBackend::init(mutex, c"pmem_dax table".as_char_ptr(), key.as_ptr())
                }
            }),
        })
    }

    /// Waits for who holds it now.
    #[inline]
    fn wait(&self) {
        // SAFETY: `new` initialised it.
        if unsafe { bindings::mutex_is_locked(self.mutex.get()) } {
            drop(self.lock());
        }
    }

    #[inline]
    fn lock(&self) -> TableGuard<'_> {
        // INVARIANT: It is locked here.
        TableGuard {
            lock: self,
            // SAFETY: `new` initialised it.
            state: unsafe { MutexBackend::lock(self.mutex.get()) },
            _thread: NotThreadSafe,
        }
    }
}

/// # Invariants
///
/// `lock` is held.
struct TableGuard<'a> {
    lock: &'a TableLock,
    state: <MutexBackend as Backend>::GuardState,
    _thread: NotThreadSafe,
}

impl Drop for TableGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type's invariants it is held.
        unsafe { MutexBackend::unlock(self.lock.mutex.get(), &self.state) };
    }
}

/// A DAX device with the memory that it gives access to.
///
/// The memory goes before the device: [`Device::shut_down`] unmaps it when the driver is unbound,
/// while open files may keep the device for long. So whoever wants the memory has to
/// [enter](Device::enter) first, or [enter to copy](Device::enter_to_copy), and may be told that it
/// is gone. Who submits bios to the disk need not, as the disk is removed before.
///
/// # Invariants
///
/// - `dax` is a valid DAX device, of which a reference is owned; its private data is this.
/// - `pages` stays mapped until `dead` is set, and after that `dax` was killed, each of `table_locks`
///   taken or the readers of `faults` waited for, and an RCU grace period is over. As long, `provider`
///   is there.
/// - `disk` is null until a disk is about to be added, and [`REMOVED`] from its removal on, when no
///   bio is being submitted. Between, `dead` is not set.
#[pin_data(PinnedDrop)]
pub struct Device<T: Operations> {
    dax: *mut bindings::dax_device,
    #[pin]
    pages: PageMap,
    provider: UnsafeCell<Option<T::Provider>>,
    disk: AtomicPtr<bindings::gendisk>,
    dead: AtomicBool,
    // Whether `new` is done, but for the return.
    made: AtomicBool,
    // Whether fs/dax.c may keep single pages for us, of memory that file systems may map too.
    small: AtomicBool,
    #[pin]
    table_locks: [TableLock; TABLE_LOCKS],
    // In place of the locks, for memory that file systems may map too.
    faults: Option<Pin<KBox<Srcu>>>,
    #[pin]
    data: T,
}

// SAFETY: A `struct dax_device` has no owning thread.
unsafe impl<T: Operations> Send for Device<T> {}

// SAFETY: drivers/dax/super.c guards `struct dax_device` by an SRCU and atomic bit operations. The
// provider is changed once, when nobody uses it.
unsafe impl<T: Operations> Sync for Device<T> {}

impl<T: Operations> Device<T> {
    const OPERATIONS: bindings::dax_operations = bindings::dax_operations {
        direct_access: Some(Self::direct_access_callback),
        zero_page_range: Some(Self::zero_page_range_callback),
        recovery_write: Some(Self::recovery_write_callback),
    };

    const IOMAP_OPERATIONS: bindings::iomap_ops = bindings::iomap_ops {
        iomap_begin: Some(iomap_begin_callback),
        iomap_end: None,
        iomap_next: None,
    };

    const PAGE_OPERATIONS: bindings::dev_pagemap_ops = bindings::dev_pagemap_ops {
        memory_failure: Some(Self::memory_failure_callback),
        ..pin_init::zeroed()
    };

    /// Maps the pages of `span`, in folios of `largest` where that fits, and makes a DAX device of
    /// them. `page_type` says whether file systems may map them too. May sleep for long.
    ///
    /// # Errors
    ///
    /// As [`PageMap`] for the memory; `EOPNOTSUPP` if the kernel has no DAX.
    pub fn new<'a>(
        dev: &'a device::Device<device::Bound>,
        mount: &'a Arc<Mount>,
        span: &'a Span,
        page_type: PageType,
        largest: Order,
        provider: T::Provider,
        data: impl PinInit<T, Error> + 'a,
    ) -> impl PinInit<Self, Error> + 'a
    where
        T::Provider: 'a,
    {
        try_pin_init!(&this in Self {
            provider: UnsafeCell::new(Some(provider)),
            disk: AtomicPtr::new(ptr::null_mut()),
            dead: AtomicBool::new(false),
            made: AtomicBool::new(false),
            small: AtomicBool::new(false),
            table_locks <- pin_init::pin_init_array_from_fn(|_| TableLock::new()),
            faults: match page_type {
                PageType::Generic => None,
                PageType::FsDax => Some(KBox::pin_init(new_srcu!("pmem_dax faults"), GFP_KERNEL)?),
            },
            data <- data,
            // SAFETY: The device is pinned, and releases the pages before it goes.
            pages <- unsafe {
                PageMap::new(
                    dev,
                    span,
                    page_type,
                    largest,
                    match page_type {
                        PageType::Generic => Inode::new(mount, span.size())?,
                        PageType::FsDax => Inode::with_entries(mount, span.size())?,
                    },
                    &Self::PAGE_OPERATIONS,
                    this.as_ptr().cast(),
                )
            },
            _: {
                pages.publish()?
            },
            dax: {
                // SAFETY: What an operation uses is initialised, and pinned. Whoever calls one holds
                // the SRCU and saw the device alive (drivers/dax/super.c: dax_direct_access), and
                // `shut_down` kills it before anything goes.
                let dax = from_err_ptr(unsafe {
                    bindings::alloc_dax(this.as_ptr().cast(), &Self::OPERATIONS)
                })?;

                // SAFETY: `dax` is valid. Copies need no flush (they bypass the cache), and may
                // not handle machine checks twice: as drivers/nvdimm/pmem.c has it.
                unsafe { bindings::set_dax_nocache(dax) };
                // SAFETY: As above.
                unsafe { bindings::set_dax_nomc(dax) };
                // SAFETY: The pages were initialised above, and nobody maps their inode yet.
                unsafe { (*(*this.as_ptr()).pages.inode().as_raw()).i_private = dax.cast() };
                dax
            },
            _: {
                // All fields are set.
                made.store(true, Ordering::Release);
            },
        })
    }

    /// Says that what is stored is durable without a system call, once the CPU wrote it back.
    pub fn set_synchronous(&self) {
        // SAFETY: By the type's invariants `dax` is valid.
        unsafe { bindings::set_dax_synchronous(self.dax) };
    }

    /// Whether CPU caches have to be written back for stores to be durable.
    pub fn set_write_cache(&self, enabled: bool) {
        // SAFETY: By the type's invariants `dax` is valid.
        unsafe { bindings::dax_write_cache(self.dax, enabled) };
    }

    /// Whether CPU caches have to be written back for stores to be durable.
    pub fn has_write_cache(&self) -> bool {
        // SAFETY: By the type's invariants `dax` is valid.
        unsafe { bindings::dax_write_cache_enabled(self.dax) }
    }

    /// The driver's part.
    #[inline]
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The largest order that a part of the memory can be mapped with.
    #[inline]
    pub fn largest(&self) -> Order {
        self.pages.largest()
    }

    /// The device to be published with a disk, if file systems may map the memory.
    pub(crate) fn host(&self) -> Option<NonNull<bindings::dax_device>> {
        match self.pages.page_type() {
            PageType::Generic => None,
            PageType::FsDax => NonNull::new(self.dax),
        }
    }

    /// Takes the memory back that belonged to our own mappings, so that a file system can have it.
    /// Nothing may be mapped through [`inode`](Self::inode) meanwhile. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody pins a page of it.
    pub fn settle(&self) -> Result {
        self.pages.lend();
        self.take_back()
    }

    fn take_back(&self) -> Result {
        match self.pages.page_type() {
            PageType::Generic => Ok(()),
            PageType::FsDax => self.inode().break_layout().map_err(|_| EBUSY),
        }
    }

    /// The folio of 1 GiB that has `page`, if it is one of those.
    #[inline]
    pub fn gigantic(&self, page: PageOffset) -> Option<ByteRange> {
        match self.largest() {
            Order::Pud => self.pages.gigantic(page),
            _ => None,
        }
    }

    /// Makes the 2 MiB from `page` on read-only wherever they are mapped, by one entry each, so that a
    /// store faults; loads go on. Returns false if they are not mapped so, and may be mapped for
    /// stores still. TLBs were flushed then. May sleep.
    ///
    /// C: `mapping_wrprotect_range`, which can be called for single pages too; but those mm makes
    /// writable again by itself (mm/memory.c: wp_page_shared).
    pub fn write_protect(&self, page: PageOffset) -> bool {
        let is_whole = match self.pages.page_type() {
            PageType::Generic => true,
            PageType::FsDax => self.pages.is_large(page),
        };

        is_whole
            && self.gigantic(page).is_none()
            && (self.inode()).write_protect(page, Pfn(self.pages.first().0 + page.0), Order::Pmd)
    }

    /// The inode whose mapping has all mappings of the device.
    pub(crate) fn inode(&self) -> &Inode {
        self.pages.inode()
    }

    /// The same, for a file that is to be made of it.
    pub fn file_inode(&self) -> &Inode {
        self.pages.inode()
    }

    /// Removes `range` from all page tables, of all mappings. What is inserted meanwhile may stay. May sleep.
    ///
    /// C: `unmap_mapping_range`
    pub fn unmap(&self, range: ByteRange) {
        if self.largest() != Order::Pud {
            return self.inode().unmap(range, false);
        }
        // C looks at an entry of 1 GiB twice, and takes one that came in between for a broken one: it is
        // cleared, but not its counts nor the TLB (mm/memory.c: zap_pud_range). So none may come.
        let mut rest = range.before(self.pages.len());

        while !rest.is_empty() {
            let page = PageOffset((rest.start() >> PAGE_SHIFT) as usize);
            let next = (self.gigantic_block(page) + 1) * Order::Pud.pages() - self.pages.first().0;
            let Some(end) = PageOffset(next).to_bytes() else {
                return;
            };
            let table = self.table_lock(page).lock();

            self.inode().unmap(rest.before(end), false);
            drop(table);
            rest = rest.from(end);
        }
    }

    /// The number of the aligned GiB of memory that has a page.
    #[inline]
    fn gigantic_block(&self, page: PageOffset) -> usize {
        (self.pages.first().0 + page.0) / Order::Pud.pages()
    }

    /// Has the memory stay until [`detach`](Self::detach) because of the bios of `disk`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if there is a disk, or was.
    pub(crate) fn attach(&self, disk: NonNull<bindings::gendisk>) -> Result {
        // INVARIANT: `dead` is set after the removal of a disk only (see `shut_down`).
        self.disk
            .compare_exchange(
                ptr::null_mut(),
                disk.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .map_err(|_| EBUSY)?;
        Ok(())
    }

    /// The disk of [`attach`](Self::attach) is not there any more.
    ///
    /// # Safety
    ///
    /// It was never added, or removed, so that there are no bios.
    pub(crate) unsafe fn detach(&self) {
        // INVARIANT: By this function's requirements.
        self.disk.store(REMOVED, Ordering::Release);
    }

    /// What [`enter`](Self::enter) returns, for a bio of `disk`; `None` if that is not the disk of
    /// the device.
    ///
    /// # Safety
    ///
    /// For `'a`, the removal of `disk` waits for the caller: he has a reference of its queue.
    #[inline]
    pub(crate) unsafe fn enter_bio<'a>(
        &'a self,
        disk: *mut bindings::gendisk,
    ) -> Option<Alive<'a, T>> {
        if self.disk.load(Ordering::Relaxed) != disk {
            return None;
        }
        // INVARIANT: By the invariants of the device it is not dead before `disk` was removed.
        Some(Alive {
            device: self,
            _thread: NotThreadSafe,
        })
    }

    /// Keeps the memory from going away, or returns `None` if it is gone. Never sleeps; the result
    /// may be held while sleeping.
    ///
    /// C: `dax_read_lock` and `dax_alive`, with a look at `dead` in place of the latter.
    #[inline]
    pub fn enter(&self) -> Option<Entered<'_, T>> {
        // SAFETY: It has no requirements.
        let srcu = unsafe { bindings::dax_read_lock() };
        // INVARIANT: The lock was just taken; what is left is dropped if the device is dead. If it
        // is not, then `shut_down`, which says so before it calls kill_dax, waits for us there: an
        // SRCU reader either sees what was written before synchronize_srcu or is waited for
        // (kernel/rcu/srcutree.c).
        let entered = Entered {
            alive: Alive {
                device: self,
                _thread: NotThreadSafe,
            },
            srcu,
        };

        if self.dead.load(Ordering::Acquire) {
            return None;
        }
        Some(entered)
    }

    /// Keeps the memory from going away, for a copy that does not sleep, or returns `None` if it is
    /// gone. The caller may not sleep until the result is dropped.
    ///
    /// It costs no memory barrier, as [`enter`](Self::enter) does, and can be
    /// [waited for](Self::wait_for_copies) without killing the device.
    ///
    /// C: `rcu_read_lock`, with a look at `dead`.
    #[inline]
    pub fn enter_to_copy(&self) -> Option<Copying<'_, T>> {
        let rcu = rcu::read_lock();

        if self.dead.load(Ordering::Acquire) {
            return None;
        }
        // INVARIANT: The lock was just taken, and `dead` was not set after.
        Some(Copying {
            device: self,
            _rcu: rcu,
        })
    }

    /// Waits for all [`Copying`]s that there are now: one that began later sees what the caller
    /// wrote before. May sleep.
    ///
    /// C: `synchronize_rcu`.
    pub fn wait_for_copies(&self) {
        // SAFETY: It has no requirements but that the caller may sleep.
        unsafe { bindings::synchronize_rcu() };
    }

    /// Keeps the memory from going away, and everybody else from mapping what is in the block of `page`, of
    /// the largest order that faults map, or returns `None` if the memory is gone. May sleep.
    ///
    /// Without it, a page and a large page could be put in one place of a page table by two threads at
    /// once: a large page has a place where addresses and memory are aligned alike, so both are in the
    /// same block. As it is a lock anyway, it costs less than [`enter`](Self::enter) besides.
    #[inline]
    pub fn enter_table(&self, page: PageOffset) -> Option<Table<'_, T>> {
        let lock = self.table_lock(page).lock();

        if self.dead.load(Ordering::Acquire) {
            return None;
        }
        // INVARIANT: The lock was just taken, and `dead` was not set after.
        Some(Table {
            device: self,
            _lock: lock,
        })
    }

    /// The lock of the block that has `page`.
    #[inline]
    fn table_lock(&self, page: PageOffset) -> &TableLock {
        let block = match self.largest() {
            Order::Pud => self.gigantic_block(page),
            Order::Pmd | Order::Pte => page.0 / Order::Pmd.pages(),
        };
        // As include/linux/hash.h: hash_64, so that threads which are at the same place, each of a
        // part of its own, do not meet at one lock: sizes of parts are round numbers.
        let hash = block.wrapping_mul(0x61c8_8646_80b5_83eb) >> (usize::BITS - TABLE_LOCK_BITS);

        &self.table_locks[hash]
    }

    /// Keeps memory that file systems may map too from going away, or returns `None` if it is gone, or
    /// not of that kind. May be held while sleeping.
    ///
    /// Others may be at the same place: fs/dax.c has a lock of its own for each block, a bit of its
    /// entry, under which it looks whether the place was filled meanwhile with another order
    /// (dax_iomap_pte_fault, dax_iomap_pmd_fault). And it allocates, which may take long.
    #[inline]
    pub fn enter_entries(&self) -> Option<Entries<'_, T>> {
        let reader = self.faults.as_ref()?.read_lock();

        if self.dead.load(Ordering::Acquire) {
            return None;
        }
        // INVARIANT: The SRCU is held, and `dead` was not set after it was taken. So `shut_down` waits
        // for it.
        Some(Entries {
            device: self,
            _reader: reader,
        })
    }

    /// Waits for all faults that there are now: for each [`Table`] and [`Entries`]. May sleep, but not
    /// for anybody who sleeps: what was looked at before is mapped by then, and all that is looked at
    /// after is seen as it is now.
    pub fn wait_for_faults(&self) {
        match &self.faults {
            None => {
                // Who takes a lock after this was asked sees what the caller changed before.
                atomic::fence(Ordering::SeqCst);
                self.table_locks.iter().for_each(TableLock::wait);
            }
            // The caller may hold what others wait for.
            Some(faults) => faults.synchronize_expedited(),
        }
    }

    /// The same for the faults in the blocks that have `pages`, of the largest order that faults map.
    pub fn wait_for_faults_at(&self, pages: impl Iterator<Item = PageOffset>) {
        if self.faults.is_some() {
            return self.wait_for_faults();
        }
        // As in `wait_for_faults`.
        atomic::fence(Ordering::SeqCst);
        pages.for_each(|page| self.table_lock(page).wait());
    }

    /// The memory, for copying.
    ///
    /// # Safety
    ///
    /// It is not released before the result is gone.
    #[inline]
    unsafe fn memory(&self) -> Memory<'_> {
        // SAFETY: By this function's requirements the pages stay mapped for the lifetime.
        unsafe { Memory::new(self.pages.base(), self.pages.len()) }
    }

    /// See [`Removed::shut_down`](crate::block::disk::Removed::shut_down).
    ///
    /// # Safety
    ///
    /// - There is no disk, or it was removed.
    /// - If it returns an error, `self` is never dropped.
    ///
    /// # Errors
    ///
    /// [`StillUsed`] if `give_up` returned true while a page was busy.
    pub(crate) unsafe fn shut_down(
        &self,
        last: impl Fn(&Alive<'_, T>),
        waiting: impl FnMut(PageOffset),
        give_up: impl Fn() -> bool,
    ) -> Result<(), StillUsed> {
        if self.dead.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        // SAFETY: By the type's invariants `dax` is valid. drivers/dax/super.c: kill_dax clears the
        // alive bit and waits for the readers of the SRCU.
        unsafe { bindings::kill_dax(self.dax) };
        self.wait_for_faults();
        self.wait_for_copies();
        // Nobody can insert pages now, so one pass is enough.
        if let Some(all) = ByteRange::of_pages(PageOffset(0), self.pages.pages()) {
            self.inode().unmap(all, true);
        }
        let call_last = || {
            // INVARIANT: `dead` was set by us, so nobody else gets to the release below, and that
            // calls us no later than before the memory goes.
            last(&Alive {
                device: self,
                _thread: NotThreadSafe,
            });
        };

        // Those of our own mappings are let go of, so that they do not look busy.
        let _ = self.take_back();
        // Asked before: what a pin stores that goes meanwhile may come too late for the first call.
        let busy = self.pages.busy().is_some();

        call_last();
        let idle = || {
            if busy {
                call_last();
            }
        };
        // Whether somebody pins a page is asked after.
        let settle = || {
            let _ = self.take_back();
        };
        // SAFETY: The device is dead, and killed and waited for after, and there are no bios, so there
        // is no `Alive` but ours, no `Table`, no `Entries` and no `Copying`, of which all users of the
        // memory need one; the mappings were removed. By this function's requirements the pages are not
        // dropped if it fails.
        unsafe { self.pages.release(settle, waiting, idle, give_up) }?;
        // INVARIANT: All has been waited for.
        //
        // SAFETY: As above: nobody has a reference of it.
        let provider = unsafe { &mut *self.provider.get() };
        drop(provider.take());
        Ok(())
    }

    /// The device, unless it was killed. The caller may have seen it alive before: who kills it waits for
    /// the SRCU, but does not wait to say so.
    ///
    /// # Safety
    ///
    /// `dax` is our device, and the SRCU is held for `'a`.
    #[inline]
    unsafe fn of<'a>(dax: *mut bindings::dax_device) -> Option<&'a Self> {
        // SAFETY: By this function's requirements it is null or what `new` set, which `shut_down`
        // keeps until the SRCU was waited for.
        unsafe { bindings::dax_get_private(dax).cast::<Self>().as_ref() }
    }

    /// # Safety
    ///
    /// Called by drivers/dax/super.c: dax_direct_access, for our device, with the SRCU held.
    unsafe extern "C" fn direct_access_callback(
        dax: *mut bindings::dax_device,
        pgoff: c_ulong,
        pages: c_long,
        mode: bindings::dax_access_mode,
        kaddr: *mut *mut c_void,
        pfn: *mut c_ulong,
    ) -> c_long {
        // SAFETY: By this function's requirements.
        let Some(device) = (unsafe { Self::of(dax) }) else {
            return ENXIO.to_errno() as c_long;
        };
        let Some(available) = device.pages.pages().checked_sub(pgoff) else {
            return ERANGE.to_errno() as c_long;
        };
        let pages = usize::try_from(pages).unwrap_or(0).min(available);
        if pages == 0 {
            return ERANGE.to_errno() as c_long;
        }
        let pages = match device.data.is_bad(PageOffset(pgoff), pages) {
            false => pages,
            // Who is to write may have what is good before, or the page that is bad.
            true if mode == bindings::dax_access_mode_DAX_RECOVERY_WRITE => (0..pages)
                .take_while(|i| !device.data.is_bad(PageOffset(pgoff + i), 1))
                .count()
                .max(1),
            true => return HWPOISON,
        };

        // SAFETY: The caller passes null or a pointer to be written to.
        if let Some(pfn) = unsafe { pfn.as_mut() } {
            *pfn = device.pages.first().0 + pgoff;
        }
        // SAFETY: As above.
        if let Some(kaddr) = unsafe { kaddr.as_mut() } {
            // SAFETY: The page is one of those that are mapped.
            *kaddr = unsafe { device.pages.base().add(pgoff << PAGE_SHIFT) }
                .as_ptr()
                .cast();
        }
        pages as c_long
    }

    /// # Safety
    ///
    /// Called by drivers/dax/super.c: dax_zero_page_range, for our device, with the SRCU held.
    unsafe extern "C" fn zero_page_range_callback(
        dax: *mut bindings::dax_device,
        pgoff: c_ulong,
        pages: usize,
    ) -> c_int {
        // SAFETY: By this function's requirements.
        let Some(device) = (unsafe { Self::of(dax) }) else {
            return ENXIO.to_errno();
        };
        let result = device
            .enter()
            .zip(ByteRange::of_pages(PageOffset(pgoff), pages))
            .ok_or(ENXIO)
            .and_then(|(alive, range)| {
                device
                    .data
                    .write(&alive, range, |memory| memory.write_zeroes(range))
            });

        result.map_or_else(|e| e.to_errno(), |_| 0)
    }

    /// Writes to memory that may be bad. Returns the bytes written, none if the memory stays bad or
    /// a bad sector would be written in part.
    ///
    /// # Safety
    ///
    /// Called by drivers/dax/super.c: dax_recovery_write, for our device, with the SRCU held, an
    /// iterator of data to be written and an address that we returned for `pgoff`.
    unsafe extern "C" fn recovery_write_callback(
        dax: *mut bindings::dax_device,
        pgoff: c_ulong,
        address: *mut c_void,
        bytes: usize,
        iter: *mut bindings::iov_iter,
    ) -> usize {
        // SAFETY: By this function's requirements.
        let Some(device) = (unsafe { Self::of(dax) }) else {
            return 0;
        };
        // SAFETY: By this function's requirements.
        let from = unsafe { IovIterSource::from_raw(iter) };
        let within = address.addr() as u64 % PAGE_SIZE;
        let Some((alive, range)) = device.enter().zip(
            PageOffset(pgoff)
                .to_bytes()
                .and_then(|start| ByteRange::new(start + within, bytes as u64)),
        ) else {
            return 0;
        };

        // Nobody is told why, as by drivers/nvdimm/pmem.c; fs/dax.c makes it an error.
        device
            .data
            .write(&alive, range, |memory| memory.write_iter(range, from))
            .unwrap_or(0)
    }

    /// # Safety
    ///
    /// Called by mm/memory-failure.c: memory_failure_dev_pagemap, with a page map made by `new`,
    /// which is not released before the call is over (it holds a reference of the page map).
    unsafe extern "C" fn memory_failure_callback(
        pgmap: *mut bindings::dev_pagemap,
        pfn: c_ulong,
        pages: c_ulong,
        flags: c_int,
    ) -> c_int {
        // SAFETY: By this function's requirements the owner is what `new` set. This field is set before
        // the pages are mapped.
        let made = unsafe { &(*(*pgmap).owner.cast::<Self>()).made };

        // With an error the kernel goes on to map the page for itself, and nobody else does yet. What the
        // hardware reports the bus of an NVDIMM knows too (drivers/acpi/nfit/mce.c), which its driver
        // asks next; of other memory nobody remembers it.
        if !made.load(Ordering::Acquire) {
            return ENXIO.to_errno();
        }
        // SAFETY: By this function's requirements the owner is what `new` set, all of it by now.
        let device = unsafe { &*(*pgmap).owner.cast::<Self>() };
        let Some(page) = pfn.checked_sub(device.pages.first().0) else {
            return ENXIO.to_errno();
        };
        let Some(range) = ByteRange::of_pages(PageOffset(page), pages) else {
            return ENXIO.to_errno();
        };

        for i in 0..pages {
            // SAFETY: By this function's requirements the pages are in the map.
            unsafe { bindings::SetPageHWPoison(bindings::pfn_to_page(pfn + i)) };
        }
        // From here on somebody may make it good again, before the rest is done: the page stays mapped in
        // the kernel all the time, so any write to it is one to memory. What follows is then done for
        // nothing: entries of page tables come back by faults, and who is told has lost what was there.
        let taken = device.data.memory_failure(range);
        if taken.is_err() {
            for i in 0..pages {
                // SAFETY: As above.
                unsafe { bindings::ClearPageHWPoison(bindings::pfn_to_page(pfn + i)) };
            }
        }
        // A fault that looked at the list before is over then, or has its page in the table.
        device.wait_for_faults();
        // Who touches it faults again, and is told then with the address. The generic handler would
        // find only those who map the head of the folio.
        device.unmap(range);
        if taken.is_ok() {
            for i in 0..pages {
                memory_failure::kill_procs(device.inode(), PageOffset(page + i));
            }
        }
        let told = device.tell_files(Pfn(pfn), range, flags);

        match taken.and(told) {
            Err(e) => e.to_errno(),
            Ok(()) if flags & bindings::mf_flags_MF_SW_SIMULATED as c_int != 0 => 0,
            // arch/x86/kernel/cpu/mce/core.c: kill_me_maybe must not go on where the CPU cannot.
            Ok(()) if flags & bindings::mf_flags_MF_MUST_KILL as c_int != 0 => EIO.to_errno(),
            // All was done. With 0 the callers of x86 would now take the page from the kernel's mapping
            // (set_mce_nospec), of which they tell nobody: who made it good meanwhile, or is writing it
            // back, would touch it, and that is an oops. To them this is as good: kill_me_maybe, and
            // memory_failure_cb of drivers/acpi/apei/ghes.c, take it that whoever ran into it was
            // told. It costs that mm/memory-failure.c says "Failed" in the log and in its statistics,
            // that a caller prints the error, and that the CPU, when it speculates, may find it again.
            Ok(()) => HWPOISON as c_int,
        }
    }

    /// Has the processes told that map a page of ours through a file: by the file system, if it asked
    /// for that, and otherwise as file systems do it.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    fn tell_files(&self, pfn: Pfn, range: ByteRange, flags: c_int) -> Result {
        if self.pages.page_type() == PageType::Generic {
            return Ok(());
        }
        // SAFETY: By the type's invariants `dax` is valid.
        let told = unsafe {
            bindings::dax_holder_notify_failure(self.dax, range.start(), range.len(), flags)
        };

        if told != EOPNOTSUPP.to_errno() {
            return to_result(told);
        }
        // What belongs to no file is used by nobody.
        match self.pages.file_of(pfn) {
            Some(file) => file.kill_procs(flags),
            None => Ok(()),
        }
    }
}

/// # Safety
///
/// Called by fs/iomap/iter.c: iomap_iter, with an inode of a [`Device`], whose private data is the
/// DAX device, and a map to be filled in.
unsafe extern "C" fn iomap_begin_callback(
    inode: *mut bindings::inode,
    pos: bindings::loff_t,
    len: bindings::loff_t,
    _flags: c_uint,
    map: *mut bindings::iomap,
    _source: *mut bindings::iomap,
) -> c_int {
    // SAFETY: By this function's requirements.
    let map = unsafe { &mut *map };

    // Each byte of the inode is the same byte of the device.
    map.addr = pos as u64;
    map.offset = pos;
    map.length = len as u64;
    map.type_ = bindings::IOMAP_MAPPED as u16;
    // SAFETY: By this function's requirements.
    map.dax_dev = unsafe { (*inode).i_private }.cast();
    0
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for Device<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: A disk has a reference of its data, of which this is a part, until it is freed. It
        // is never given up.
        let _ = unsafe { self.shut_down(|_| (), |_| (), || false) };
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::put_dax(self.dax) };
    }
}

/// The proof that a device's memory is there, and stays as long as this lives.
///
/// # Invariants
///
/// The memory of `device` is not released before this is gone.
pub struct Alive<'a, T: Operations> {
    device: &'a Device<T>,
    _thread: NotThreadSafe,
}

impl<T: Operations> Alive<'_, T> {
    /// Counts the pages of a part of the memory, 256 MiB or a folio, that are pinned, or used for a
    /// moment, beside being mapped. The part begins at `first`: 0, or the `next` of the part before.
    pub fn pinned(&self, first: PageOffset) -> Pinned {
        self.device.pages.pinned(first)
    }

    /// The first page of `range` that is in a folio of which somebody has a page that he does not map, or
    /// not any more: pins it, or uses it for a moment. For pages of which a driver alone has the mappings.
    ///
    /// A folio that `range` has a part of counts as a whole: which of its pages is pinned cannot be told.
    pub fn first_pinned(&self, range: ByteRange) -> Option<PageOffset> {
        self.device.pages.first_pinned(range)
    }

    /// Whether a page of `range` may be stored to without a mapping: somebody pins it, uses it for a
    /// moment, or has removed it from a page table and not flushed TLBs yet. What is mapped already is not
    /// asked for; nobody may be mapping it for stores meanwhile who is not to be noticed.
    pub fn is_referenced(&self, range: ByteRange) -> bool {
        // What was done to page tables comes before: mm/gup.c: gup_fast_pte_range and the like take a
        // reference first, and then look at the entry again.
        atomic::fence(Ordering::SeqCst);
        self.device.pages.is_referenced(range)
    }

    /// Whether somebody seems to pin memory of the 2 MiB of `range`. That is a guess, which does not take
    /// long to make.
    pub fn is_pinned(&self, range: ByteRange) -> bool {
        self.device.pages.is_pinned(range)
    }

    /// Takes back what was mapped in single pages: as long as it is ours, fs/dax.c (grab_mapping_entry)
    /// maps that place in single pages, whoever comes next. What was mapped in large ones stays, and
    /// costs less when it is mapped again. Nothing is taken back while a page is pinned.
    ///
    /// Nothing may be mapped through [`inode`](Device::inode) meanwhile. May sleep.
    pub fn take_back_small(&self) {
        let small = &self.device.small;

        if small.swap(false, Ordering::Relaxed) && self.device.take_back().is_err() {
            small.store(true, Ordering::Relaxed);
        }
    }

    /// The name of the disk.
    #[inline]
    pub(crate) fn disk_name(&self) -> &CStr {
        self.device.data.disk_name()
    }

    /// What the memory comes from.
    #[inline]
    pub fn provider(&self) -> &T::Provider {
        // SAFETY: By the type's invariants it is not taken away before `self` is gone.
        let provider = unsafe { &*self.device.provider.get() };

        // SAFETY: By the invariants of the device it is there.
        unsafe { provider.as_ref().unwrap_unchecked() }
    }

    /// The memory, for copying.
    #[inline]
    pub fn memory(&self) -> Memory<'_> {
        // SAFETY: By the type's invariants the memory stays mapped for as long as `self` is borrowed.
        unsafe { self.device.memory() }
    }

    /// Makes the kernel map the pages that `range` touches as memory, if it does not: what was told of
    /// a machine check by another driver is mapped for none any more (arch/x86/kernel/cpu/mce/core.c:
    /// set_mce_nospec), and an access is an oops. A page that is mapped stays as it is, and so does a
    /// large page around it (arch/x86/mm/pat/set_memory.c: __should_split_large_page). May sleep.
    ///
    /// # Errors
    ///
    /// Those of `clear_mce_nospec`; then a page may not be touched.
    pub fn map_for_kernel(&self, range: ByteRange) -> Result {
        for pfn in self.frames(range) {
            // SAFETY: By the type's invariants the page is one of those that are mapped.
            to_result(unsafe { bindings::clear_mce_nospec(pfn) })?;
        }
        Ok(())
    }

    /// Forgets that the pages which `range` touches were reported bad. Which sectors are bad is not in
    /// here.
    pub fn forget_poison(&self, range: ByteRange) {
        for pfn in self.frames(range) {
            // SAFETY: By the type's invariants the page is mapped.
            unsafe { bindings::ClearPageHWPoison(bindings::pfn_to_page(pfn)) };
        }
    }

    /// The page frames that `range` touches.
    fn frames(&self, range: ByteRange) -> core::ops::Range<usize> {
        let first = self.device.pages.first().0;
        let end = range.end().min(self.device.pages.len()).div_ceil(PAGE_SIZE);

        first + (range.start() / PAGE_SIZE) as usize..first + end as usize
    }
}

/// [`Alive`] for who came by himself: see [`Device::enter`].
///
/// # Invariants
///
/// `srcu` is from `dax_read_lock`, and the device was not dead after.
pub struct Entered<'a, T: Operations> {
    alive: Alive<'a, T>,
    srcu: c_int,
}

impl<'a, T: Operations> Deref for Entered<'a, T> {
    type Target = Alive<'a, T>;

    #[inline]
    fn deref(&self) -> &Alive<'a, T> {
        &self.alive
    }
}

impl<T: Operations> Drop for Entered<'_, T> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the lock is held.
        unsafe { bindings::dax_read_unlock(self.srcu) };
    }
}

/// The proof that a device's memory is there, and stays as long as this lives, for a copy that does
/// not sleep: see [`Device::enter_to_copy`].
///
/// # Invariants
///
/// `device` was not dead after the RCU read lock was taken, which `_rcu` holds.
pub struct Copying<'a, T: Operations> {
    device: &'a Device<T>,
    _rcu: rcu::Guard,
}

impl<T: Operations> Copying<'_, T> {
    /// The memory, for copying.
    #[inline]
    pub fn memory(&self) -> Memory<'_> {
        // SAFETY: By the type's invariants `shut_down` sets `dead` later than the lock was taken, and
        // waits for a grace period after that (kernel/rcu/tree.c: synchronize_rcu), before the memory
        // is released.
        unsafe { self.device.memory() }
    }
}

/// The proof that a device's memory is there, and stays as long as this lives, for who maps it into
/// page tables: see [`Device::enter_table`].
///
/// # Invariants
///
/// `device` was not dead after the lock was taken, which is one of its `table_locks`.
pub struct Table<'a, T: Operations> {
    device: &'a Device<T>,
    _lock: TableGuard<'a>,
}

impl<T: Operations> Table<'_, T> {
    /// The block of `order` from `page` on: what `dax_direct_access` would say too, without the
    /// detour.
    #[inline(always)]
    pub fn direct_access(&self, page: PageOffset, order: Order) -> Access<'_> {
        let Some(first) = self.device.pages.block(page, order) else {
            return Access::Refused;
        };

        if self.device.data.is_bad(page, order.pages()) {
            return Access::Poisoned;
        }
        // INVARIANT: It is a folio of that order, of memory that stays mapped.
        Access::Block(Block {
            page: first,
            order,
            _table: PhantomData,
        })
    }

    /// Maps `run` for `fault`, for stores if that is one, if all that may be mapped by it is good.
    /// What is mapped there already stays.
    ///
    /// `None` if the page of the fault was not mapped, which somebody else may prevent for a moment.
    #[inline]
    pub fn map_run(&self, fault: &Fault<'_>, run: &Run) -> Option<Outcome> {
        let (first, pages) = run.reach();

        // mm/memory.c: set_pte_range takes a store to a private mapping for one to a copy.
        if fault.is_write() && !fault.is_shared() || self.device.data.is_bad(first, pages) {
            return None;
        }
        // The entries of the mapping are the folios, of memory that stays mapped, and end where that
        // does.
        //
        // SAFETY: By the invariants of `Fault` `vmf` is valid, and by those of `Run` the pages are in
        // one page table and in the VMA. mm/filemap.c: filemap_map_pages looks for that table again.
        let outcome = Outcome(unsafe {
            bindings::filemap_map_pages(fault.as_raw(), run.first().0, run.last().0)
        });

        (outcome == Outcome::NO_PAGE).then_some(outcome)
    }
}

/// The proof that memory which file systems may map too is there, and stays as long as this lives, for
/// who maps it into page tables: see [`Device::enter_entries`].
///
/// # Invariants
///
/// `device` was not dead after the SRCU was taken, which is its `faults`.
pub struct Entries<'a, T: Operations> {
    device: &'a Device<T>,
    _reader: srcu::Guard<'a>,
}

impl<T: Operations> Entries<'_, T> {
    /// Maps what `fault` is for, in a mapping of [`Device::inode`], as fs/dax.c does it, of which the
    /// memory is then until [`Device::settle`].
    pub fn map(&self, fault: &Fault<'_>) -> Outcome {
        let order = fault.order();

        if order == Order::Pte && !fault.can_have_table() {
            return Outcome::NO_PAGE;
        }
        self.device.pages.lend();
        // fs/dax.c allocates a page table once more. As one was just allocated for this fault, and is
        // freed after, this one may be had without waiting: see `Device::wait_for_faults`.
        let outcome = match order == Order::Pte && fault.has_spare_table() {
            true => without_reclaim(|| self.map_entry(fault)),
            false => self.map_entry(fault),
        };

        if order != Order::Pte {
            return outcome;
        }
        if !self.device.pages.is_large(fault.page()) {
            self.device.small.store(true, Ordering::Relaxed);
        }
        // There was memory for the entry. So it was the table that there was none for, or which went
        // meanwhile: mm looks for one again before it calls us.
        if outcome == Outcome::OOM && self.device.inode().has_entry(fault.page()) {
            return Outcome::NO_PAGE;
        }
        outcome
    }

    fn map_entry(&self, fault: &Fault<'_>) -> Outcome {
        // SAFETY: The fault is that of a VMA whose file is of the inode, which is DAX; who truncates
        // it has to exclude `Entries`. There is nothing to sync after the fault.
        Outcome(unsafe {
            bindings::dax_iomap_fault(
                fault.as_raw(),
                fault.order().order(),
                ptr::null_mut(),
                ptr::null_mut(),
                &Device::<T>::IOMAP_OPERATIONS,
            )
        })
    }
}

/// The answer of [`Table::direct_access`].
pub enum Access<'a> {
    /// The block.
    Block(Block<'a>),
    /// A part of it is bad.
    Poisoned,
    /// It is not within the device, or not aligned physically.
    Refused,
}

/// A naturally aligned block of memory that can be mapped with one entry.
///
/// # Invariants
///
/// `page` is the head of a folio of `order` (or any page, for a single one) that stays valid for
/// `'a`.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    page: NonNull<bindings::page>,
    order: Order,
    _table: PhantomData<&'a ()>,
}

impl Block<'_> {
    /// Its order.
    #[inline]
    pub fn order(&self) -> Order {
        self.order
    }

    /// The first page.
    #[inline]
    pub(crate) fn page(&self) -> *mut bindings::page {
        self.page.as_ptr()
    }
}
