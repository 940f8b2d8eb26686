// SPDX-License-Identifier: GPL-2.0

//! Pseudo file systems: inodes and files of a driver's own, which no path leads to.
//!
//! C header: [`include/linux/pseudo_fs.h`](srctree/include/linux/pseudo_fs.h)

use crate::{
    bindings,
    block::node::Node,
    compat::ENAMETOOLONG,
    module::{
        ModuleRef,
        THIS_MODULE, //
    },
    units::{
        ByteRange,
        Order,
        PageOffset,
        Pfn, //
    },
};
use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
    task::might_sleep,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::{
        ForeignOwnable,
        Opaque, //
    }, //
};

/// How often it is looked whether the super blocks are gone that are waited for.
const POLL: Delta = Delta::from_millis(10);
/// After how many looks the log says so.
const POLLS_TO_REPORT: usize = 100;

/// The type of a pseudo file system. It is to be a `static`, because lockdep keys are in it.
pub struct FileSystemType(Opaque<bindings::file_system_type>);

// SAFETY: fs/super.c guards the fields that change by `sb_lock`.
unsafe impl Sync for FileSystemType {}

impl FileSystemType {
    /// The name, for the log.
    fn name(&self) -> &str {
        // SAFETY: `new` set it, from a string that lives for ever, and nothing changes it.
        unsafe { CStr::from_char_ptr((*self.0.get()).name) }
            .to_str()
            .unwrap_or("?")
    }

    /// A type with a name, which shows in `/proc/PID/mountinfo` of nobody.
    pub const fn new(name: &'static CStr) -> Self {
        Self(Opaque::new(bindings::file_system_type {
            name: kernel::str::as_char_ptr_in_const_context(name),
            init_fs_context: Some(init_fs_context_callback),
            kill_sb: Some(bindings::kill_anon_super),
            // The mount made at module load would pin the module for ever; `Mount` waits instead.
            owner: ptr::null_mut(),
            ..pin_init::zeroed()
        }))
    }

    /// Whether there is a super block of the type: that of a mount, or one that was unmounted and is
    /// still referenced.
    fn has_super_blocks(&self) -> bool {
        // SAFETY: The type is valid. The list changes at any time.
        !unsafe { (&raw const (*self.0.get()).fs_supers.first).read_volatile() }.is_null()
    }
}

/// # Safety
///
/// Called by fs/fs_context.c: alloc_fs_context, with a context that is being set up.
unsafe extern "C" fn init_fs_context_callback(fc: *mut bindings::fs_context) -> c_int {
    // "DAX!"
    const MAGIC: c_ulong = 0x4441_5821;
    const DENTRIES: bindings::dentry_operations = bindings::dentry_operations {
        d_dname: Some(d_dname_callback),
        ..pin_init::zeroed()
    };
    const SUPER: bindings::super_operations = bindings::super_operations {
        // What a pseudo file system has if it has no operations of its own (fs/libfs.c).
        statfs: Some(bindings::simple_statfs),
        sync_fs: Some(sync_fs_callback),
        ..pin_init::zeroed()
    };

    // SAFETY: By this function's requirements `fc` is valid.
    let context = unsafe { bindings::init_pseudo(fc, MAGIC) };
    if context.is_null() {
        return ENOMEM.to_errno();
    }
    // SAFETY: `init_pseudo` returned a context that it allocated.
    unsafe { (*context).dops = &DENTRIES };
    // SAFETY: As above.
    unsafe { (*context).ops = &SUPER };
    0
}

/// Makes what is registered at the mount durable: sync(2) and the like call it for all file systems,
/// first to start that, which is when all is done here, and then to wait for it. The SysRq key does not
/// wait.
///
/// # Safety
///
/// Called by fs/sync.c or fs/super.c, for a super block of ours, which stays mounted meanwhile.
unsafe extern "C" fn sync_fs_callback(
    super_block: *mut bindings::super_block,
    wait: c_int,
) -> c_int {
    // SAFETY: By this function's requirements the super block is valid.
    let mount = unsafe { (&raw const (*super_block).s_fs_info).read_volatile() }.cast::<Mount>();
    // SAFETY: It is null or what `Mount::new` set; the mount unmounts, which waits for us, before it goes.
    let Some(mount) = (unsafe { mount.as_ref() }) else {
        return 0;
    };
    let mut result = Ok(());

    if wait != 0 {
        return 0;
    }
    for synced in mount.synced.lock().iter() {
        result = result.and(synced.sync());
    }
    result.map_or_else(|e| e.to_errno(), |()| 0)
}

/// Shows a file as the device that it maps, to those who do not ask for the path of its user (perf).
///
/// # Safety
///
/// Called by fs/d_path.c: d_path, with a dentry of our file system and a buffer of `len` bytes.
unsafe extern "C" fn d_dname_callback(
    dentry: *mut bindings::dentry,
    buffer: *mut c_char,
    len: c_int,
) -> *mut c_char {
    const DIRECTORY: &[u8] = b"/dev/";
    // SAFETY: By this function's requirements the dentry is valid; ours are never renamed, and
    // names end with a NUL.
    let name = unsafe { CStr::from_char_ptr((*dentry).__bindgen_anon_1.d_name.name) };
    let name = name.to_bytes_with_nul();
    let Some(free) = usize::try_from(len)
        .ok()
        .and_then(|len| len.checked_sub(DIRECTORY.len() + name.len()))
    else {
        return ENAMETOOLONG.to_ptr();
    };

    // C wants the text at the end of the buffer (fs/d_path.c: dynamic_dname).
    for (i, byte) in [DIRECTORY, name].into_iter().flatten().enumerate() {
        // SAFETY: `free` and the text together are the `len` bytes of the buffer.
        unsafe { buffer.add(free + i).write(*byte) };
    }
    // SAFETY: As above.
    unsafe { buffer.add(free) }
}

/// A mounted pseudo file system. Dropping it unmounts, and waits until the kernel is done with its
/// type: sync(2), for one, keeps the super block until it is done with the next one, of another file
/// system, which may take minutes.
///
/// # Invariants
///
/// `mount` is what `kern_mount` returned for `fs`, and not unmounted yet.
#[pin_data(PinnedDrop)]
pub struct Mount {
    mount: NonNull<bindings::vfsmount>,
    fs: &'static FileSystemType,
    // Held while they are synced.
    #[pin]
    synced: Mutex<KVec<Arc<dyn Synced>>>,
}

/// What sync(2) makes durable with all file systems. Its errors it has to tell the log by itself.
pub trait Synced: Send + Sync {
    /// Makes all of it durable. May sleep.
    fn sync(&self) -> Result;
}

/// Has something synced with all file systems, until it is dropped. That waits for a sync that is under
/// way.
pub struct SyncRegistration {
    mount: Arc<Mount>,
    synced: Arc<dyn Synced>,
}

impl SyncRegistration {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(mount: &Arc<Mount>, synced: Arc<dyn Synced>) -> Result<Self> {
        mount.synced.lock().push(synced.clone(), GFP_KERNEL)?;
        Ok(Self {
            mount: mount.clone(),
            synced,
        })
    }
}

impl Drop for SyncRegistration {
    fn drop(&mut self) {
        (self.mount.synced.lock()).retain(|synced| !Arc::ptr_eq(synced, &self.synced));
    }
}

// SAFETY: A `struct vfsmount` has no owning thread.
unsafe impl Send for Mount {}

// SAFETY: Through a shared reference the mount is only passed to fs/file_table.c and fs/libfs.c,
// which do their own locking.
unsafe impl Sync for Mount {}

impl Mount {
    /// Mounts a file system of type `fs`. A type has one mount, as to drop one would wait for the others.
    /// May sleep.
    pub fn new(fs: &'static FileSystemType) -> Result<Arc<Self>> {
        // SAFETY: `fs` is a valid type, and lives for ever.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(fs.0.get()) })?;
        let mount = NonNull::new(mount).ok_or(ENOMEM)?;
        // INVARIANT: `kern_mount` returned it.
        let this = Arc::pin_init(
            pin_init!(Self {
                mount,
                fs,
                synced <- new_mutex!(KVec::new(), "pseudo file system syncs"),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: It was just mounted.
            unsafe { bindings::kern_unmount(mount.as_ptr()) };
        })?;

        // SAFETY: It is mounted, so it has a super block, which calls `sync_fs_callback` for as long.
        unsafe {
            (&raw mut (*(*mount.as_ptr()).mnt_sb).s_fs_info)
                .write_volatile(ptr::from_ref(&*this).cast_mut().cast())
        };
        Ok(this)
    }
}

#[pinned_drop]
impl PinnedDrop for Mount {
    fn drop(self: Pin<&mut Self>) {
        let mut polls = 0;

        // A file that was closed may not be done with the mount: fs/file_table.c: __fput drops its
        // module before its dentry and its mount. Then the super block goes with that.
        //
        // SAFETY: By the type's invariants it is mounted.
        unsafe { bindings::kern_unmount(self.mount.as_ptr()) };
        while self.fs.has_super_blocks() {
            if polls == POLLS_TO_REPORT {
                pr_warn!(
                    "{}: unloading waits for a sync(2), or another walk of all file systems: it goes on when that is done\n",
                    self.fs.name()
                );
            }
            polls += 1;
            fsleep(POLL);
        }
        // fs/super.c: put_super reads the type once more, after it took the super block from it, and
        // does not sleep in between.
        //
        // SAFETY: It has no requirements; we may sleep.
        unsafe { bindings::synchronize_rcu_tasks() };
    }
}

/// An inode whose mapping is that of a device's memory, in offsets of the whole device.
///
/// It claims to be a DAX character device, which is what mm wants to know of memory that has no
/// page cache, may be pinned for long and is mapped with pages of any size (`vma_is_dax`,
/// `vma_is_fsdax`). No path leads to it, so it is opened by [`File::back`] alone.
///
/// # Invariants
///
/// `inode` is a valid inode of `mount`, of which a reference is owned.
pub struct Inode {
    inode: NonNull<bindings::inode>,
    mount: Arc<Mount>,
}

// SAFETY: A `struct inode` has no owning thread.
unsafe impl Send for Inode {}

// SAFETY: Through a shared reference the inode is only used for its mapping, which has its own
// locks (mm/memory.c: unmap_mapping_range takes i_mmap_rwsem), and passed to fs/file_table.c.
unsafe impl Sync for Inode {}

impl Inode {
    /// Makes an inode for `size` bytes of memory. May sleep.
    pub fn new(mount: &Arc<Mount>, size: u64) -> Result<Self> {
        Self::with_mode(mount, size, bindings::S_IFCHR)
    }

    /// The same for memory that file systems may map too, of which fs/dax.c keeps in the mapping what
    /// belongs to it. It is a block device to mm, so that pages cannot be pinned for long: with a
    /// character device mm/gup.c would try to, fail, and try again for ever.
    ///
    /// The private data of the inode are for who made it. May sleep.
    pub(crate) fn with_entries(mount: &Arc<Mount>, size: u64) -> Result<Self> {
        Self::with_mode(mount, size, bindings::S_IFBLK)
    }

    fn with_mode(mount: &Arc<Mount>, size: u64, mode: u32) -> Result<Self> {
        let size = bindings::loff_t::try_from(size)?;
        // SAFETY: By the type's invariants the mount is valid, and so is its super block.
        let super_block = unsafe { (*mount.mount.as_ptr()).mnt_sb };
        // SAFETY: As above.
        let inode = from_err_ptr(unsafe { bindings::alloc_anon_inode(super_block) })?;
        let inode = NonNull::new(inode).ok_or(ENOMEM)?;

        // SAFETY: The inode is new: nobody else knows it. fs/libfs.c: alloc_anon_inode gave it
        // noop_dirty_folio, which the zap of a dirty page calls.
        unsafe {
            (*inode.as_ptr()).i_mode = (mode | 0o600) as bindings::umode_t;
        }
        // SAFETY: As above.
        unsafe { (*inode.as_ptr()).i_flags = bindings::S_PRIVATE | bindings::S_DAX };
        // SAFETY: As above.
        unsafe { (*inode.as_ptr()).__bindgen_anon_3.i_fop = &BackingFile::OPERATIONS };
        // SAFETY: As above.
        unsafe { (*inode.as_ptr()).i_size = size };

        // INVARIANT: `alloc_anon_inode` returned a reference.
        Ok(Self {
            inode,
            mount: mount.clone(),
        })
    }

    /// The address space of the memory.
    pub(crate) fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: By the type's invariants the inode is valid; the field never changes.
        unsafe { (*self.inode.as_ptr()).i_mapping }
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::inode {
        self.inode.as_ptr()
    }

    fn entries(&self) -> *mut bindings::xarray {
        // SAFETY: By the type's invariants the mapping is valid.
        unsafe { &raw mut (*self.mapping()).i_pages }
    }

    /// Lets mm find `folio` at the 2 MiB from `page` on, but not at 0, when it maps more than one page at a time
    /// (mm/filemap.c: filemap_map_pages). That is not page cache: it is not counted so, and nobody can
    /// reclaim it, as neither the inode nor the folio is on a list. May sleep.
    ///
    /// Not all of a larger folio at once: its place in the mapping need not be a multiple of its size,
    /// as that of an entry has to be.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `page` is not a multiple of 2 MiB; `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The folio has these pages in this mapping, and stays valid until after
    /// [`Self::remove_folios`].
    pub(crate) unsafe fn add_folio(
        &self,
        folio: NonNull<bindings::folio>,
        page: PageOffset,
    ) -> Result {
        if page.0 % Order::Pmd.pages() != 0 {
            return Err(EINVAL);
        }
        if page.0 != 0 {
            // SAFETY: By this function's requirements.
            return unsafe { self.add_entry(folio, page, Order::Pmd.order()) };
        }
        // What is found at offset 0, lib/buildid.c: freader_get_folio takes for the start of a program,
        // for perf and BPF, and copies from it without a thought for machine checks. If it finds nothing
        // there, it looks no further. Entries that become larger by and by have all the rest.
        for order in 0..Order::Pmd.order() {
            // SAFETY: As above; the entry is of pages of the folio.
            unsafe { self.add_entry(folio, PageOffset(1 << order), order)? };
        }
        Ok(())
    }

    /// Lets mm find `folio` at the pages of the entry of `order` at `page`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// As [`add_folio`](Self::add_folio); `page` is a multiple of the size of the entry.
    unsafe fn add_entry(
        &self,
        folio: NonNull<bindings::folio>,
        page: PageOffset,
        order: c_uint,
    ) -> Result {
        let mut state = MaybeUninit::uninit();
        let state: *mut bindings::xa_state = state.as_mut_ptr();

        // SAFETY: `state` is valid for writes.
        unsafe { bindings::xas_init(state, self.entries(), page.0, order) };
        loop {
            // SAFETY: `state` was initialised, with a valid array.
            unsafe { bindings::xas_lock_irq(state) };
            // SAFETY: As above; its lock is held. By this function's requirements the pointer is one
            // of those that the array may have: aligned, not null.
            unsafe { bindings::xas_store(state, folio.as_ptr().cast()) };
            // SAFETY: The lock is held.
            unsafe { bindings::xas_unlock_irq(state) };
            // SAFETY: `state` is valid, and the lock is not held.
            if !unsafe { bindings::xas_nomem(state, bindings::GFP_KERNEL) } {
                // SAFETY: `state` is valid.
                return to_result(unsafe { bindings::xas_error(state) });
            }
        }
    }

    /// Lets nobody find a folio any more, and waits for who looks for one. Those who found one have a
    /// reference of it. May sleep.
    pub(crate) fn remove_folios(&self) {
        // SAFETY: By the type's invariants the mapping is valid, and so is its array.
        unsafe { bindings::xa_destroy(self.entries()) };
        // SAFETY: It has no requirements; we may sleep.
        unsafe { bindings::synchronize_rcu() };
    }

    /// Whether `page` belongs to the mapping, or did: see [`with_entries`](Self::with_entries).
    #[cold]
    pub(crate) fn has_entry(&self, page: PageOffset) -> bool {
        // SAFETY: By the type's invariants the mapping is valid, and so is its array.
        !unsafe { bindings::xa_load(self.entries(), page.0) }.is_null()
    }

    /// Lets go of all memory that belongs to the mapping: see [`with_entries`](Self::with_entries).
    /// Nobody may be inserting pages. May sleep.
    ///
    /// # Errors
    ///
    /// What C has for "not yet" if somebody pins a page.
    ///
    /// C: `dax_break_layout`.
    pub(crate) fn break_layout(&self) -> Result {
        // SAFETY: By the type's invariants the inode is valid.
        let size = unsafe { (*self.as_raw()).i_size };

        // By parts: interrupts are off for each (fs/dax.c: dax_delete_mapping_range).
        for start in (0..size).step_by(1 << 30) {
            // SAFETY: As above. Without a callback it does not wait.
            to_result(unsafe {
                bindings::dax_break_layout(self.as_raw(), start, start + (1 << 30) - 1, None)
            })?;
            might_sleep();
        }
        Ok(())
    }

    /// Makes the block of `order` that is `page` of the mapping, and begins at `pfn`, read-only wherever it
    /// is mapped. Returns whether that was done. May sleep.
    ///
    /// C: `mapping_wrprotect_range`.
    pub(crate) fn write_protect(&self, page: PageOffset, pfn: Pfn, order: Order) -> bool {
        // SAFETY: By the type's invariants the mapping is valid.
        let protected = unsafe {
            bindings::mapping_wrprotect_range(self.mapping(), page.0, pfn.0, order.pages())
        };

        protected >= 0
    }

    /// Removes every page of `range` from every process that maps it; the next access faults. With
    /// `private_copies`, the copies that MAP_PRIVATE mappings made are removed too. May sleep.
    ///
    /// C: `unmap_mapping_range`.
    pub fn unmap(&self, range: ByteRange, private_copies: bool) {
        let start = i64::try_from(range.start()).unwrap_or(i64::MAX);
        // To mm a length of 0 means up to the end.
        let len = i64::try_from(range.len()).unwrap_or(0);

        if range.is_empty() {
            return;
        }
        // SAFETY: By the type's invariants the mapping is valid.
        unsafe {
            bindings::unmap_mapping_range(self.mapping(), start, len, c_int::from(private_copies))
        };
    }
}

impl Drop for Inode {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::iput(self.inode.as_ptr()) };
    }
}

/// The operations of a [`File`].
pub trait FileOperations: Send + Sync + Sized + 'static {
    /// Makes what was stored in `range` of the device durable: msync(2).
    fn sync(&self, range: ByteRange) -> Result;
}

/// A file of an [`Inode`], which owns `T`; `T` is dropped when the last reference of the file is.
///
/// # Invariants
///
/// `file` is a valid file whose operations are [`Vtable<T>`], and a reference of it is owned.
pub struct File<T: FileOperations> {
    file: NonNull<bindings::file>,
    _data: PhantomData<Arc<T>>,
}

impl<T: FileOperations> File<T> {
    /// Makes a file. May sleep.
    pub fn new(inode: &Inode, name: &CStr, data: Arc<T>) -> Result<Self> {
        let module = ModuleRef::try_get().ok_or(ENODEV)?;

        // SAFETY: By the type's invariants the inode is valid. The reference is the file's.
        unsafe { bindings::ihold(inode.inode.as_ptr()) };
        // SAFETY: The inode is of the mount; fs/file_table.c: alloc_file_pseudo copies the name and
        // leaves the inode alone if it fails.
        let file = from_err_ptr(unsafe {
            bindings::alloc_file_pseudo(
                inode.inode.as_ptr(),
                inode.mount.mount.as_ptr(),
                name.as_char_ptr(),
                bindings::O_RDWR as c_int,
                &Vtable::<T>::OPERATIONS,
            )
        })
        .inspect_err(|_| {
            // SAFETY: Takes back the reference from above.
            unsafe { bindings::iput(inode.inode.as_ptr()) };
        })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;

        // SAFETY: The file is new: nobody else knows it.
        unsafe { (*file.as_ptr()).private_data = data.into_foreign() };
        // fs/file_table.c: __fput drops it (fops_put). What that does after, with the dentry and the
        // mount, `Mount` waits for when it goes.
        module.into_raw();

        // INVARIANT: A new file comes with one reference.
        Ok(Self {
            file,
            _data: PhantomData,
        })
    }

    /// Makes a file that stands behind that of `node` in a mapping. May sleep.
    ///
    /// C: `backing_file_open`.
    pub fn back(&self, node: Node<'_>) -> Result<BackingFile> {
        let user = node.as_raw();
        // SAFETY: By the invariants of both types the files are valid. The inode is special, so the
        // mount of neither is asked whether it may be written to (fs/open.c: do_dentry_open).
        let file = from_err_ptr(unsafe {
            bindings::backing_file_open(
                user,
                bindings::O_RDWR as c_int,
                &raw const (*self.file.as_ptr()).__bindgen_anon_1.f_path,
                (*user).f_cred,
            )
        })?;
        let file = NonNull::new(file).ok_or(ENOMEM)?;

        // SAFETY: By the type's invariants our file is valid; the new one nobody else knows.
        unsafe { (*file.as_ptr()).private_data = bindings::get_file(self.file.as_ptr()).cast() };

        // INVARIANT: A new file comes with one reference, and `Inode::new` set its operations.
        Ok(BackingFile { file })
    }
}

// SAFETY: A `struct file` may be used and put by any thread.
unsafe impl<T: FileOperations> Send for File<T> {}

// SAFETY: A `struct file` may be used by any thread at any time.
unsafe impl<T: FileOperations> Sync for File<T> {}

impl<T: FileOperations> Drop for File<T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}

struct Vtable<T>(PhantomData<T>);

impl<T: FileOperations> Vtable<T> {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: THIS_MODULE,
        release: Some(Self::release_callback),
        fsync: Some(Self::fsync_callback),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by fs/file_table.c: __fput, once, for a file made by [`File::<T>::new`].
    unsafe extern "C" fn release_callback(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: By this function's requirements `private_data` is what `new` set; nobody uses it
        // after.
        drop(unsafe { Arc::<T>::from_foreign((*file).private_data) });
        0
    }

    /// # Safety
    ///
    /// Called by fs/sync.c: vfs_fsync_range, for a file made by [`File::<T>::new`].
    unsafe extern "C" fn fsync_callback(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        _datasync: c_int,
    ) -> c_int {
        // SAFETY: By this function's requirements `private_data` is what `new` set, and the file is
        // in use.
        let data = unsafe { Arc::<T>::borrow((*file).private_data) };

        match crate::fs::io::sync_range(start, end) {
            Ok(range) => data.sync(range).map_or_else(|e| e.to_errno(), |()| 0),
            Err(e) => e.to_errno(),
        }
    }
}

/// A file that mappings have for that of a node. `/proc/PID/maps` shows the node's path and numbers
/// for it, by which lsof and fuser find who has the node mapped.
///
/// # Invariants
///
/// `file` is a valid file whose operations are [`OPERATIONS`](Self::OPERATIONS), and a reference of it
/// is owned. Its `private_data` is a reference of the [`File`] that it was made by.
pub struct BackingFile {
    file: NonNull<bindings::file>,
}

// SAFETY: A `struct file` may be used and put by any thread.
unsafe impl Send for BackingFile {}

// SAFETY: A `struct file` may be used by any thread at any time.
unsafe impl Sync for BackingFile {}

impl BackingFile {
    const OPERATIONS: bindings::file_operations = bindings::file_operations {
        owner: THIS_MODULE,
        release: Some(Self::release_callback),
        fsync: Some(Self::fsync_callback),
        ..pin_init::zeroed()
    };

    pub(crate) fn as_raw(&self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    /// Takes another reference, for C.
    pub(crate) fn get(&self) -> *mut bindings::file {
        // SAFETY: By the type's invariants the file is valid.
        unsafe { bindings::get_file(self.file.as_ptr()) }
    }

    /// # Safety
    ///
    /// Called by fs/file_table.c: __fput, once, for a file made by [`File::back`].
    unsafe extern "C" fn release_callback(
        _inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: By this function's requirements `private_data` is a reference of a file, which
        // nobody uses after.
        unsafe { bindings::fput((*file).private_data.cast()) };
        0
    }

    /// # Safety
    ///
    /// Called by fs/sync.c: vfs_fsync_range, for a file made by [`File::back`].
    unsafe extern "C" fn fsync_callback(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        datasync: c_int,
    ) -> c_int {
        // SAFETY: By this function's requirements `private_data` is a file, and `file` is in use.
        unsafe { bindings::vfs_fsync_range((*file).private_data.cast(), start, end, datasync) }
    }
}

impl Drop for BackingFile {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}
