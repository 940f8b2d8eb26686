// SPDX-License-Identifier: GPL-2.0

//! The files that are opened on the nodes of a disk.
//!
//! The block layer has one set of file operations for all disks, `def_blk_fops`, and asks no driver
//! for another. A [`Hook`] gives the disks of one [`Major`] their own: it sees each open at the entry
//! of `bdev_open`, when the device was found and nothing was done to it yet, and changes the file's
//! operations there. That is what an `open` method may do (include/linux/fs.h: replace_fops). It covers
//! every node that leads to the disk, whoever made it, and each open, whenever it began: without the
//! disk it does not come that far, and the hook was there before the disk.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::{
    bindings,
    block::{
        bio::{
            counts_io,
            partition_number, //
        },
        disk::{
            self,
            Major,
            Numbers, //
        },
        opening, //
    },
    error::{
        to_address,
        to_bytes, //
    },
    fs::io::{
        sync_range,
        Io, //
    },
    ftrace,
    mm::mapping::Area,
    module::{
        ModuleRef,
        THIS_MODULE, //
    },
    units::{
        ByteRange,
        PageOffset,
        Sector,
        PAGE_SHIFT, //
    },
};
use core::{
    marker::PhantomData,
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
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        ArcBorrow, //
    },
    types::Opaque, //
};

/// C: `BLKROSET`.
const BLKROSET: c_uint = kernel::ioctl::_IO(0x12, 93);

/// C: `BLKPG`.
const BLKPG: c_uint = kernel::ioctl::_IO(0x12, 105);

/// C: `BLKFLSBUF`.
const BLKFLSBUF: c_uint = kernel::ioctl::_IO(0x12, 97);

/// The operations of the files of a disk's nodes. Those not here stay the block layer's.
pub trait Operations: disk::Operations {
    /// Makes a mapping: [`Area::set_file`] ends it. May sleep; the mm is locked for writing.
    fn mmap(this: ArcBorrow<'_, Self>, node: Node<'_>, area: Area<'_>) -> Result;

    /// Finds an address for a mapping.
    fn unmapped_area(&self, node: Node<'_>, request: AddressRequest<'_>) -> Result<usize>;

    /// Reads into `to`. Returns the bytes read.
    fn read(&self, node: Node<'_>, io: &mut Io<'_>, to: &mut IovIterDest<'_>) -> Result<usize>;

    /// Writes from `from`. Returns the bytes written.
    fn write(&self, node: Node<'_>, io: &mut Io<'_>, from: &mut IovIterSource<'_>)
        -> Result<usize>;

    /// Makes `range` of the node durable.
    fn sync(&self, node: Node<'_>, range: ByteRange) -> Result;

    /// Makes all that was stored through mappings of the bytes of the node durable, after the block
    /// layer wrote its buffers (BLKFLSBUF). May sleep.
    fn flush(&self, node: Node<'_>) -> Result;

    /// A partition was made, removed or resized (BLKPG), or a node was made read-only or writable
    /// again (BLKROSET), by a call on `node`. May sleep; called before the caller is told.
    fn altered(&self, node: Node<'_>);

    /// The file of `node` is about to be closed: its last reference went. May sleep.
    fn close(&self, node: Node<'_>);
}

/// The file operations of one major.
///
/// # Invariants
///
/// `default` is `def_blk_fops`. `operations.owner` is this module, so a file that has them keeps
/// the module, and with it this, in memory.
#[repr(C)]
struct Shim {
    operations: bindings::file_operations,
    default: &'static bindings::file_operations,
    holder: bindings::blk_holder_ops,
}

/// What the hook needs to know in an open.
struct Target {
    major: u32,
    shim: KBox<Shim>,
    /// Nobody else may get the number while its opens are hooked.
    _numbers: Arc<Numbers>,
}

// SAFETY: Nothing in it changes.
unsafe impl Send for Target {}

// SAFETY: Nothing in it changes.
unsafe impl Sync for Target {}

impl ftrace::Entry for Target {
    #[inline]
    fn entered(&self, arguments: &ftrace::Arguments) {
        let bdev = arguments.first() as *const bindings::block_device;

        // SAFETY: block/bdev.c: bdev_open is called with a valid device and file.
        if unsafe { (*bdev).bd_dev } >> bindings::MINORBITS != self.major {
            return;
        }
        let holder = arguments.third() as *const c_void;

        // A claim of our own (Node::holder): a file of the kernel's, and nobody asks of which
        // partition (disk.rs: open_callback).
        if holder == ptr::from_ref(&self.shim.operations).cast() {
            return;
        }
        let file = arguments.fifth() as *mut bindings::file;

        // The holder, if there is one: of a file with O_EXCL, or a file system that is mounted.
        if !holder.is_null() {
            // A disk has 256 minors, of which each is the number of a partition.
            //
            // SAFETY: As above.
            opening::note_partition(unsafe { (*bdev).bd_dev } as u8);
        }
        // Files of the kernel's own, as a mounted file system has, are of the device's inode, not of
        // a node's (block/bdev.c: bdev_file_open_by_dev).
        //
        // SAFETY: As above; both fields are set, and stay.
        if unsafe { (*file).f_inode == (*(*bdev).bd_mapping).host } {
            return;
        }
        // SAFETY: As above; fs/open.c: do_dentry_open set the operations, and nobody else has the
        // file yet.
        let operations = unsafe { &mut (*file).f_op };
        if !ptr::eq(*operations, self.shim.default) {
            return;
        }
        // While the module is being unloaded, which nothing stops once it began, the open goes on as
        // it would without us, and fails: bdev_open cannot take the module either.
        let Some(module) = ModuleRef::try_get() else {
            return;
        };

        *operations = &self.shim.operations;
        // fs/open.c: do_dentry_open drops it if the open fails, fs/file_table.c: __fput otherwise.
        module.into_raw();
    }
}

/// Gives the files of one major's disks their own operations, until it is dropped.
#[pin_data]
pub struct Hook<T: Operations> {
    #[pin]
    hook: ftrace::Hook<Target>,
    _data: PhantomData<T>,
}

impl<T: Operations> Hook<T> {
    /// Hooks the open of block devices. There may be no disk on `major` yet. May sleep for long.
    ///
    /// # Errors
    ///
    /// If ftrace cannot be had; see [`ftrace`].
    pub fn new(major: &Major) -> impl PinInit<Self, Error> {
        let target = Self::target(major);

        pin_init::pin_init_scope(move || {
            let target = target?;

            Ok(try_pin_init!(Self {
                hook <- ftrace::Hook::new(c"bdev_open", target),
                _data: PhantomData,
            }))
        })
    }

    fn target(major: &Major) -> Result<Target> {
        let default = default_operations()?;
        let operations = bindings::file_operations {
            owner: THIS_MODULE,
            mmap_prepare: Some(Self::mmap_prepare_callback),
            get_unmapped_area: Some(Self::get_unmapped_area_callback),
            read_iter: Some(Self::read_iter_callback),
            write_iter: Some(Self::write_iter_callback),
            // filemap_splice_read would fill the page cache.
            splice_read: Some(bindings::copy_splice_read),
            fsync: Some(Self::fsync_callback),
            release: Some(Self::release_callback),
            unlocked_ioctl: Some(Self::ioctl_callback),
            compat_ioctl: Some(Self::compat_ioctl_callback),
            // No read or write of ours is ever queued.
            iopoll: None,
            fop_flags: (default.fop_flags & !bindings::FOP_BUFFER_RASYNC) | bindings::FOP_MMAP_SYNC,
            ..*default
        };
        // INVARIANT: As set up above.
        let shim = KBox::new(
            Shim {
                operations,
                default,
                // A claim asks for nothing: not even to be told of BLKFLSBUF, since whoever stored may
                // have let go before.
                holder: pin_init::zeroed(),
            },
            GFP_KERNEL,
        )?;

        Ok(Target {
            major: major.number(),
            shim,
            _numbers: major.numbers().clone(),
        })
    }

    /// # Safety
    ///
    /// Called by mm/vma.c: call_mmap_prepare, for an open file of ours.
    unsafe extern "C" fn mmap_prepare_callback(desc: *mut bindings::vm_area_desc) -> c_int {
        // SAFETY: mm never passes a null pointer.
        let desc = unsafe { NonNull::new_unchecked(desc) };
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(desc.as_ref().file) };

        // SAFETY: By this function's requirements.
        match T::mmap(data, node, unsafe { Area::from_raw(desc) }) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by mm/mmap.c: __get_unmapped_area, for an open file of ours.
    unsafe extern "C" fn get_unmapped_area_callback(
        file: *mut bindings::file,
        address: c_ulong,
        len: c_ulong,
        pgoff: c_ulong,
        flags: c_ulong,
    ) -> c_ulong {
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(file) };
        let request = AddressRequest {
            file,
            address,
            len,
            pgoff,
            flags,
            _call: PhantomData,
        };

        match data.unmapped_area(node, request) {
            Ok(address) => address as c_ulong,
            Err(e) => e.to_errno() as c_long as c_ulong,
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of ours.
    unsafe extern "C" fn read_iter_callback(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS never passes a null pointer.
        let kiocb = unsafe { NonNull::new_unchecked(kiocb) };
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(kiocb.as_ref().ki_filp) };
        // SAFETY: The VFS passes an iterator to be read into.
        let to = unsafe { IovIterDest::from_raw(iter) };

        // SAFETY: By this function's requirements.
        transferred(data.read(node, &mut unsafe { Io::from_raw(kiocb) }, to))
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of ours.
    unsafe extern "C" fn write_iter_callback(
        kiocb: *mut bindings::kiocb,
        iter: *mut bindings::iov_iter,
    ) -> isize {
        // SAFETY: The VFS never passes a null pointer.
        let kiocb = unsafe { NonNull::new_unchecked(kiocb) };
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(kiocb.as_ref().ki_filp) };
        // SAFETY: The VFS passes an iterator to be written from.
        let from = unsafe { IovIterSource::from_raw(iter) };

        // SAFETY: By this function's requirements.
        transferred(data.write(node, &mut unsafe { Io::from_raw(kiocb) }, from))
    }

    /// # Safety
    ///
    /// Called by fs/sync.c: vfs_fsync_range, for an open file of ours.
    unsafe extern "C" fn fsync_callback(
        file: *mut bindings::file,
        start: bindings::loff_t,
        end: bindings::loff_t,
        _datasync: c_int,
    ) -> c_int {
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(file) };

        match sync_range(start, end).and_then(|range| data.sync(node, range)) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by fs/file_table.c: __fput, once, for a file of ours.
    unsafe extern "C" fn release_callback(
        inode: *mut bindings::inode,
        file: *mut bindings::file,
    ) -> c_int {
        // SAFETY: By this function's requirements; the file still has its device.
        let (data, node) = unsafe { open_node::<T>(file) };

        data.close(node);
        match node.shim().default.release {
            // SAFETY: It is called with what the VFS called us with.
            Some(release) => unsafe { release(inode, file) },
            None => 0,
        }
    }

    /// # Safety
    ///
    /// Called by fs/ioctl.c, for an open file of ours.
    unsafe extern "C" fn ioctl_callback(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(file) };

        node.default_ioctl(
            node.shim().default.unlocked_ioctl,
            command,
            argument,
            &*data,
        )
    }

    /// # Safety
    ///
    /// Called by fs/ioctl.c, for an open file of ours.
    unsafe extern "C" fn compat_ioctl_callback(
        file: *mut bindings::file,
        command: c_uint,
        argument: c_ulong,
    ) -> c_long {
        // SAFETY: By this function's requirements.
        let (data, node) = unsafe { open_node::<T>(file) };

        node.default_ioctl(node.shim().default.compat_ioctl, command, argument, &*data)
    }
}

/// The disk's data and the node of a file.
///
/// # Safety
///
/// `file` is an open file with our operations, of a disk made by [`disk::Registration::<T>`], valid
/// for `'a`.
#[inline]
pub(crate) unsafe fn open_node<'a, T: disk::Operations>(
    file: *mut bindings::file,
) -> (ArcBorrow<'a, T>, Node<'a>) {
    // SAFETY: By this function's requirements.
    let node = unsafe { Node::from_raw(file) };

    // SAFETY: By this function's requirements; the file holds the disk.
    (unsafe { disk::data::<T>((*node.bdev()).bd_disk) }, node)
}

fn transferred(result: Result<usize>) -> isize {
    match result {
        Ok(bytes) => isize::try_from(bytes).unwrap_or(isize::MAX),
        Err(e) => e.to_errno() as isize,
    }
}

/// `def_blk_fops`, which is not exported, but is what every inode of a block node gets.
fn default_operations() -> Result<&'static bindings::file_operations> {
    let inode = KBox::new(Opaque::<bindings::inode>::zeroed(), GFP_KERNEL)?;

    // SAFETY: fs/inode.c: init_special_inode only writes i_mode, i_fop and i_rdev.
    unsafe {
        bindings::init_special_inode(
            inode.get(),
            (bindings::S_IFBLK | 0o600) as bindings::umode_t,
            0,
        )
    };
    // SAFETY: It was just set; null means that the kernel has no block layer. The operations are
    // constant.
    unsafe { (*inode.get()).__bindgen_anon_3.i_fop.as_ref() }.ok_or(ENOENT)
}

/// An open file of a disk or a partition.
///
/// # Invariants
///
/// `file` is an open file with the operations of a [`Shim`], valid for `'a`, and `bdev` the device
/// that it keeps open.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    file: NonNull<bindings::file>,
    bdev: NonNull<bindings::block_device>,
    _open: PhantomData<&'a ()>,
}

impl Node<'_> {
    /// # Safety
    ///
    /// `file` is an open file with the operations of a [`Shim`], valid for the lifetime.
    #[inline]
    unsafe fn from_raw(file: *mut bindings::file) -> Self {
        // SAFETY: By this function's requirements the file is open.
        let bdev = unsafe { bindings::file_bdev(file) };

        // INVARIANT: By this function's requirements.
        Self {
            // SAFETY: A valid file is not null.
            file: unsafe { NonNull::new_unchecked(file) },
            // SAFETY: An open file of a block device has one (block/bdev.c: bdev_open).
            bdev: unsafe { NonNull::new_unchecked(bdev) },
            _open: PhantomData,
        }
    }

    #[inline]
    fn bdev(&self) -> *mut bindings::block_device {
        self.bdev.as_ptr()
    }

    /// The flags of a device.
    ///
    /// # Safety
    ///
    /// `bdev` is valid.
    #[inline]
    unsafe fn flags(bdev: *const bindings::block_device) -> u32 {
        // SAFETY: By this function's requirements. They change at any time.
        unsafe { (&raw const (*bdev).__bd_flags.counter).read_volatile() as u32 }
    }

    fn shim(&self) -> &Shim {
        // SAFETY: By the type's invariants the operations are the first field of a shim.
        unsafe { &*self.operations().cast::<Shim>() }
    }

    #[inline]
    fn mapping(&self) -> *mut bindings::address_space {
        // SAFETY: By the type's invariants the file is open, and holds its device.
        unsafe { (*self.bdev()).bd_mapping }
    }

    /// The sector of the disk at which the node starts: 0 unless it is a partition.
    #[inline]
    pub fn start(&self) -> Sector {
        // SAFETY: By the type's invariants the device is valid; the start of a partition never
        // changes.
        Sector(unsafe { (*self.bdev()).bd_start_sect })
    }

    /// The sector of the disk behind the last one of the node: of the whole disk the first one, once
    /// it was removed.
    #[inline]
    pub fn end(&self) -> Sector {
        // No partition ends behind the disk (block/ioctl.c: blkpg_do_ioctl, block/partitions/core.c:
        // blk_add_partition). Should one, its end is before its start, and nothing of it is mapped.
        Sector(self.start().0.wrapping_add(self.sectors().0))
    }

    /// The size. That of the whole disk is 0 once the disk was removed; that of a partition stays.
    #[inline]
    pub fn sectors(&self) -> Sector {
        // SAFETY: By the type's invariants the device is valid. The size changes at any time.
        Sector(unsafe { (&raw const (*self.bdev()).bd_nr_sectors).read_volatile() })
    }

    /// The bytes of the disk that are the node's, or `None` if they cannot be counted.
    #[inline]
    pub fn bytes(&self) -> Option<ByteRange> {
        ByteRange::new(self.start().to_bytes()?, self.sectors().to_bytes()?)
    }

    /// The number of the partition, 0 for the whole disk.
    #[inline]
    pub fn partition(&self) -> u8 {
        // SAFETY: By the type's invariants the device is valid.
        unsafe { partition_number(self.bdev()) }
    }

    /// Whether the device must not be written, because it, the disk or the hardware is read-only.
    ///
    /// C: `bdev_read_only`.
    #[inline]
    pub fn is_read_only(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid, and has a disk.
        let disk = unsafe { (*self.bdev()).bd_disk };
        // SAFETY: As above; the disk's own device is as valid as the disk.
        let flags = unsafe { Self::flags(self.bdev()) | Self::flags((*disk).part0) };
        // SAFETY: As above. The state changes at any time.
        let state = unsafe { (&raw const (*disk).state).read_volatile() };

        flags & bindings::BD_READ_ONLY != 0 || state & (1 << bindings::GD_READ_ONLY) != 0
    }

    /// Whether the kernel swaps to it.
    #[inline]
    pub fn is_swap(&self) -> bool {
        // SAFETY: By the type's invariants the device has an inode, which hosts its mapping.
        unsafe { (*(*self.mapping()).host).i_flags & bindings::S_SWAPFILE != 0 }
    }

    /// Whether it was opened with O_EXCL, and so holds the device itself.
    pub fn is_exclusive(&self) -> bool {
        // SAFETY: By the type's invariants. block/fops.c: blkdev_open sets it to the file then.
        unsafe { (*self.file.as_ptr()).private_data == self.file.as_ptr().cast() }
    }

    /// Whether somebody else holds the device: a mounted file system, swap, md or dm, or another
    /// open with O_EXCL. May sleep.
    #[inline]
    pub fn is_held_by_other(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid; the holder changes at any time.
        let holder = unsafe { (&raw const (*self.bdev()).bd_holder).read_volatile() };

        if holder.is_null() || holder == self.holder() || holder == self.file.as_ptr().cast() {
            return false;
        }
        self.partition() != 0 || self.is_whole_held_by_other()
    }

    /// The same for a whole disk that has a holder.
    ///
    /// To it a holder of a partition is a holder too, but that one does not use the page cache of
    /// the whole disk. And it looks held while anybody claims it or a partition, or lets go, even we
    /// (block/bdev.c: bd_finish_claiming, bd_end_claim).
    #[cold]
    fn is_whole_held_by_other(&self) -> bool {
        // Whose partition is claimed at the one moment and not at the other, is so thrice in a row
        // only by chance.
        (0..3).all(|_| !self.has_held_partition() && !self.may_claim())
            && !self.has_held_partition()
    }

    /// Whether a [`claim`](Self::claim) would succeed now.
    fn may_claim(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid, and the shim is as in `claim`.
        // Under the lock of all claims, so that each has either been made or not.
        let result = unsafe {
            bindings::bd_prepare_to_claim(self.bdev(), self.holder(), &self.shim().holder)
        };

        if result == 0 {
            // SAFETY: It was just prepared.
            unsafe { bindings::bd_abort_claiming(self.bdev(), self.holder()) };
        }
        result == 0
    }

    /// Whether a partition of the disk is open.
    #[inline]
    pub fn has_open_partitions(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid, and has a disk.
        let disk = unsafe { (*self.bdev()).bd_disk };

        // SAFETY: As above. The number changes at any time.
        unsafe { (&raw const (*disk).open_partitions).read_volatile() != 0 }
    }

    /// The device of the whole disk.
    #[inline]
    fn whole(&self) -> *mut bindings::block_device {
        // SAFETY: By the type's invariants the device is valid, and so is its disk.
        unsafe { (*(*self.bdev()).bd_disk).part0 }
    }

    #[cold]
    fn has_held_partition(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid, and so is its disk.
        let table = unsafe { &raw mut (*(*self.bdev()).bd_disk).part_tbl };
        let mut index: c_ulong = 1;
        let _rcu = kernel::sync::rcu::read_lock();

        loop {
            let last = c_ulong::MAX;
            // SAFETY: `table` is valid; entries are looked at under RCU, which block_device's
            // inode is freed by (block/bdev.c: bdev_free_inode).
            let entry = unsafe { bindings::xa_find(table, &mut index, last, bindings::XA_PRESENT) };
            let partition = entry.cast::<bindings::block_device>();

            if partition.is_null() {
                return false;
            }
            // SAFETY: As above.
            if !unsafe { (&raw const (*partition).bd_holder).read_volatile() }.is_null() {
                return true;
            }
            index += 1;
        }
    }

    /// What tells the file from others, until it is closed.
    pub fn id(&self) -> FileId {
        FileId(self.file.as_ptr().addr())
    }

    #[inline]
    pub(crate) fn as_raw(&self) -> *mut bindings::file {
        self.file.as_ptr()
    }

    /// What identifies us as a holder.
    fn holder(&self) -> *mut c_void {
        self.operations().cast_mut().cast()
    }

    #[inline]
    fn operations(&self) -> *const bindings::file_operations {
        // SAFETY: By the type's invariants the file is valid; its operations do not change any
        // more.
        unsafe { (*self.file.as_ptr()).f_op }
    }

    /// Whether the page cache of the node has no page.
    #[inline]
    pub fn is_uncached(&self) -> bool {
        // SAFETY: By the type's invariants the device is valid.
        !unsafe { is_cached(self.bdev()) }
    }

    /// Writes the dirty pages of the page cache to the device. May sleep.
    pub fn write_back_cache(&self) -> Result {
        // SAFETY: By the type's invariants the device is valid.
        unsafe { write_back(self.bdev()) }
    }

    /// Drops all pages of the page cache, which must not be dirty. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a page could not be dropped.
    pub fn drop_cache(&self) -> Result {
        // SAFETY: By the type's invariants the device is valid.
        unsafe { drop_pages(self.bdev()) }
    }

    /// Writes back and drops the page cache of each device that has bytes of the node: the node's
    /// own, that of the disk, and for the disk those of all partitions. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if a page could not be dropped, `EIO` if one could not be written.
    pub fn leave_caches(&self) -> Result {
        if self.partition() != 0 {
            // SAFETY: By the type's invariants the device is valid, and so is its disk.
            unsafe { leave_cache(self.whole())? };
        } else if self.has_open_partitions() {
            // The last close of a partition leaves nothing in its page cache (block/bdev.c:
            // blkdev_flush_mapping).
            return self.leave_all_caches();
        }
        // SAFETY: By the type's invariants the device is valid.
        unsafe { leave_cache(self.bdev()) }
    }

    #[cold]
    fn leave_all_caches(&self) -> Result {
        // SAFETY: By the type's invariants the device is valid, and so is its disk.
        let table = unsafe { &raw mut (*(*self.bdev()).bd_disk).part_tbl };
        let last = c_ulong::MAX;
        let mut index: c_ulong = 0;

        loop {
            let rcu = kernel::sync::rcu::read_lock();
            // SAFETY: `table` is valid; entries are looked at under RCU, by which a device's inode
            // is freed (block/bdev.c: bdev_free_inode).
            let entry = unsafe { bindings::xa_find(table, &mut index, last, bindings::XA_PRESENT) };
            let bdev = entry.cast::<bindings::block_device>();

            if bdev.is_null() {
                return Ok(());
            }
            index += 1;
            // SAFETY: As above. A device that is going away has no pages that matter.
            if !unsafe { get_bdev(bdev) } {
                continue;
            }
            drop(rcu);

            // SAFETY: A reference was taken.
            let result = unsafe { leave_cache(bdev) };
            // SAFETY: It is the reference from above.
            unsafe { bindings::put_device(&raw mut (*bdev).bd_device) };
            result?;
        }
    }

    /// Marks the file as read, for its access time.
    #[inline]
    pub fn accessed(&self) {
        // SAFETY: By the type's invariants the file is valid.
        unsafe { bindings::file_accessed(self.file.as_ptr()) };
    }

    /// Marks the file as written.
    #[inline]
    pub fn modified(&self) -> Result {
        // SAFETY: By the type's invariants the file is valid.
        to_result(unsafe { bindings::file_update_time(self.file.as_ptr()) })
    }

    /// Counts a transfer in the statistics of the disk, if they are on; it lasts until the result is
    /// dropped.
    #[inline]
    pub fn account(&self, write: bool) -> Option<Accounting<'_>> {
        // SAFETY: By the type's invariants the device is valid, and has a queue.
        if !unsafe { counts_io((*self.bdev()).bd_queue) } {
            return None;
        }

        let op = if write {
            bindings::req_op_REQ_OP_WRITE
        } else {
            bindings::req_op_REQ_OP_READ
        };
        // SAFETY: By the type's invariants the device is valid. C reads jiffies without a lock too.
        let now = unsafe { (&raw const bindings::jiffies).read_volatile() };

        Some(Accounting {
            bdev: self.bdev(),
            op,
            sectors: 0,
            // SAFETY: As above.
            start: unsafe { bindings::bdev_start_io_acct(self.bdev(), op, now) },
            _open: PhantomData,
        })
    }

    /// Reads as the block layer does, through the page cache.
    pub fn default_read(&self, io: &mut Io<'_>, to: &mut IovIterDest<'_>) -> Result<usize> {
        let read = self.shim().default.read_iter.ok_or(EINVAL)?;

        // SAFETY: They are what the VFS called us with.
        to_bytes(unsafe { read(io.as_raw(), to.as_raw()) })
    }

    /// Writes as the block layer does, through the page cache.
    pub fn default_write(&self, io: &mut Io<'_>, from: &mut IovIterSource<'_>) -> Result<usize> {
        let write = self.shim().default.write_iter.ok_or(EINVAL)?;

        // SAFETY: They are what the VFS called us with.
        to_bytes(unsafe { write(io.as_raw(), from.as_raw()) })
    }

    /// Waits for all bios that the disk or a partition of it has now; those that come meanwhile wait,
    /// or are told to come again. May sleep.
    ///
    /// C: `blk_mq_freeze_queue`, which is for disks that get their bios as they are, too: each has a
    /// reference of the queue while it is submitted (block/blk-core.c: __submit_bio).
    pub fn wait_for_bios(&self) {
        // SAFETY: By the type's invariants the device is valid, and has a queue.
        let queue = unsafe { (*self.bdev()).bd_queue };

        // SAFETY: As above. Nothing is allocated before the queue goes on.
        unsafe { bindings::blk_mq_freeze_queue_nomemsave(queue) };
        // SAFETY: As above; it was just frozen.
        unsafe { bindings::blk_mq_unfreeze_queue_nomemrestore(queue) };
    }

    /// Writes back `range` of the page cache, and reports what failed since the file was last
    /// asked. May sleep.
    ///
    /// With a flush of the device after, it is what the block layer does for an fsync(2)
    /// (block/fops.c: blkdev_fsync).
    ///
    /// # Errors
    ///
    /// `EIO` if the disk was removed: for what is behind the end of the device, which is at 0 then,
    /// nobody writes and nobody reports an error (fs/buffer.c: block_write_full_folio).
    pub fn sync_cache(&self, range: ByteRange) -> Result {
        let last = range.end().saturating_sub(1);

        // SAFETY: By the type's invariants the file is open.
        to_result(unsafe {
            bindings::file_write_and_wait_range(
                self.file.as_ptr(),
                bindings::loff_t::try_from(range.start()).unwrap_or(bindings::loff_t::MAX),
                bindings::loff_t::try_from(last).unwrap_or(bindings::loff_t::MAX),
            )
        })?;
        // What write-back looked at; bd_nr_sectors changes only after it (block/bdev.c:
        // bdev_set_nr_sectors).
        //
        // SAFETY: By the type's invariants the device is valid, and its mapping has an inode.
        let size = unsafe { (&raw const (*(*self.mapping()).host).i_size).read_volatile() };

        if size == 0 {
            return Err(EIO);
        }
        Ok(())
    }

    /// Does what the block layer does for an ioctl(2), with its function for that, and tells `disk`
    /// if it was about partitions, buffers or who may write: the block layer tells nobody, or only
    /// a holder.
    fn default_ioctl<T: Operations>(
        &self,
        ioctl: Option<unsafe extern "C" fn(*mut bindings::file, c_uint, c_ulong) -> c_long>,
        command: c_uint,
        argument: c_ulong,
        disk: &T,
    ) -> c_long {
        let Some(ioctl) = ioctl else {
            return ENOTTY.to_errno() as c_long;
        };
        // SAFETY: By the type's invariants the file is open; the rest is what the VFS called us
        // with.
        let result = unsafe { ioctl(self.file.as_ptr(), command, argument) };

        if result != 0 {
            return result;
        }
        match command {
            BLKROSET | BLKPG => disk.altered(*self),
            BLKFLSBUF => {
                if let Err(e) = disk.flush(*self) {
                    return e.to_errno() as c_long;
                }
            }
            _ => (),
        }
        result
    }

    /// Holds the device, as a mount does, against everybody but other claims of this kind. May
    /// sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody holds it, or a partition of it, or the disk that it is a partition of.
    /// `ENXIO` if the disk was removed. `EPERM` if a device cgroup of the whole machine forbids it.
    /// `ENOMEM`.
    pub fn claim(&self) -> Result<Claim> {
        // SAFETY: It is the node's own.
        unsafe { self.claim_device(self.bdev()) }
    }

    /// The same with the whole disk, whatever the node is a part of.
    ///
    /// # Errors
    ///
    /// As [`claim`](Self::claim).
    pub fn claim_disk(&self) -> Result<Claim> {
        // SAFETY: It is that of the node's disk.
        unsafe { self.claim_device(self.whole()) }
    }

    /// # Safety
    ///
    /// `bdev` is valid: the node's own or that of its disk.
    unsafe fn claim_device(&self, bdev: *mut bindings::block_device) -> Result<Claim> {
        let opening = Opening {
            // SAFETY: By this function's requirements.
            number: unsafe { (*bdev).bd_dev },
            // The shim, which is both the holder and has its operations, lives as long as any file of
            // ours, and each claim is kept with one.
            holder: self.holder(),
            operations: &self.shim().holder,
        };
        // The caller's device cgroup is asked, which knows nothing of this file: what somebody else
        // opened, and passed on, may be used.
        let file = match opening.open() {
            Err(e) if e == EPERM => opening.open_outside_cgroups(),
            result => result,
        }?;

        // INVARIANT: It was just opened.
        let claim = Claim(NonNull::new(file).ok_or(ENXIO)?);

        // Another disk may have the number by now.
        //
        // SAFETY: The claim has the file open; the device is valid by this function's requirements.
        if unsafe { (*file).f_mapping != (*bdev).bd_mapping } {
            return Err(ENXIO);
        }
        Ok(claim)
    }

    /// A reference that keeps the file open.
    pub fn keep(&self) -> OpenNode {
        // SAFETY: By the type's invariants the file is valid.
        unsafe { bindings::get_file(self.file.as_ptr()) };
        // INVARIANT: The reference was just taken.
        OpenNode {
            file: self.file,
            bdev: self.bdev,
        }
    }
}

/// What a claim opens.
struct Opening<'a> {
    number: bindings::dev_t,
    holder: *mut c_void,
    operations: &'a bindings::blk_holder_ops,
}

impl Opening<'_> {
    #[inline]
    fn open(&self) -> Result<*mut bindings::file> {
        // By the second one the disk knows that it is us: see disk.rs.
        let mode = bindings::BLK_OPEN_READ | bindings::BLK_OPEN_NDELAY;

        // SAFETY: The operations are valid, and as long as the claim; the holder is not used but as
        // a number.
        from_err_ptr(unsafe {
            bindings::bdev_file_open_by_dev(self.number, mode, self.holder, self.operations)
        })
    }

    /// The same by a thread of the kernel, which is in no cgroup but that of the whole machine.
    #[cold]
    #[inline(never)]
    fn open_outside_cgroups(&self) -> Result<*mut bindings::file> {
        // SAFETY: kernel/workqueue.c: work_on_cpu_key calls the function with `self`, and returns when
        // that is over. Locks of the caller are not taken there, but by who waits for them too.
        let result = unsafe {
            bindings::work_on_cpu_key(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                Some(Self::open_callback),
                ptr::from_ref(self).cast_mut().cast(),
                static_lock_class!().as_ptr(),
            )
        };

        from_err_ptr(result as *mut bindings::file)
    }

    /// Returns the file, or an error in its place, as C does.
    ///
    /// # Safety
    ///
    /// Called by kernel/workqueue.c: work_for_cpu_fn, with an `Opening`.
    unsafe extern "C" fn open_callback(opening: *mut c_void) -> c_long {
        // SAFETY: By this function's requirements.
        match unsafe { &*opening.cast::<Self>() }.open() {
            Ok(file) => file as c_long,
            Err(e) => e.to_errno() as c_long,
        }
    }
}

/// Whether the page cache of a device has a page.
///
/// # Safety
///
/// `bdev` is valid.
#[inline]
unsafe fn is_cached(bdev: *mut bindings::block_device) -> bool {
    // SAFETY: By this function's requirements. C reads the number without a lock too.
    unsafe { (&raw const (*(*bdev).bd_mapping).nrpages).read_volatile() != 0 }
}

/// Takes a reference of a device, unless it is going away.
///
/// # Safety
///
/// `bdev` is valid, if only for an RCU grace period.
unsafe fn get_bdev(bdev: *mut bindings::block_device) -> bool {
    // SAFETY: By this function's requirements.
    !unsafe { bindings::kobject_get_unless_zero(&raw mut (*bdev).bd_device.kobj) }.is_null()
}

/// # Safety
///
/// `bdev` is valid.
unsafe fn write_back(bdev: *mut bindings::block_device) -> Result {
    // SAFETY: By this function's requirements.
    if !unsafe { is_cached(bdev) } {
        return Ok(());
    }
    // SAFETY: As above.
    to_result(unsafe {
        bindings::filemap_write_and_wait_range((*bdev).bd_mapping, 0, bindings::loff_t::MAX)
    })
}

/// # Safety
///
/// `bdev` is valid.
unsafe fn drop_pages(bdev: *mut bindings::block_device) -> Result {
    // SAFETY: By this function's requirements.
    if !unsafe { is_cached(bdev) } {
        return Ok(());
    }
    // SAFETY: As above.
    let dropped = to_result(unsafe { bindings::invalidate_inode_pages2((*bdev).bd_mapping) });

    if dropped == Err(EBUSY) {
        // SAFETY: As above.
        return unsafe { drop_pages_with_buffers(bdev) };
    }
    dropped
}

/// The same for pages with buffers that the CPUs remember, as they looked for them last, and that
/// nobody uses any more: those of a file system that was not found, or that was unmounted.
///
/// # Safety
///
/// `bdev` is valid.
#[cold]
#[inline(never)]
unsafe fn drop_pages_with_buffers(bdev: *mut bindings::block_device) -> Result {
    // SAFETY: It has no requirements. May sleep.
    unsafe { bindings::invalidate_bh_lrus() };
    // SAFETY: By this function's requirements.
    to_result(unsafe { bindings::invalidate_inode_pages2((*bdev).bd_mapping) })
}

/// # Safety
///
/// `bdev` is valid.
unsafe fn leave_cache(bdev: *mut bindings::block_device) -> Result {
    // SAFETY: By this function's requirements.
    unsafe { write_back(bdev)? };
    // SAFETY: By this function's requirements.
    unsafe { drop_pages(bdev) }
}

/// A reference of an open file of a disk or a partition.
///
/// # Invariants
///
/// As [`Node`], and a reference of the file is owned.
pub struct OpenNode {
    file: NonNull<bindings::file>,
    bdev: NonNull<bindings::block_device>,
}

// SAFETY: A `struct file` may be used and put by any thread.
unsafe impl Send for OpenNode {}

// SAFETY: The methods of `Node` may be called by any thread at any time.
unsafe impl Sync for OpenNode {}

impl OpenNode {
    /// The file.
    #[inline]
    pub fn node(&self) -> Node<'_> {
        // INVARIANT: By the type's invariants, as long as `self` is borrowed.
        Node {
            file: self.file,
            bdev: self.bdev,
            _open: PhantomData,
        }
    }
}

impl Drop for OpenNode {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::fput(self.file.as_ptr()) };
    }
}

/// What tells an open file from others: see [`Node::id`].
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct FileId(usize);

/// The device is held. Dropping it lets go.
///
/// # Invariants
///
/// The file was opened by [`Node::claim`], and is owned.
pub struct Claim(NonNull<bindings::file>);

// SAFETY: A `struct file` may be put by any thread.
unsafe impl Send for Claim {}

// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for Claim {}

impl Drop for Claim {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants.
        unsafe { bindings::bdev_fput(self.0.as_ptr()) };
    }
}

/// A transfer that is being counted.
pub struct Accounting<'a> {
    bdev: *mut bindings::block_device,
    op: bindings::req_op,
    sectors: u32,
    start: c_ulong,
    _open: PhantomData<&'a ()>,
}

impl Accounting<'_> {
    /// Has the sectors that `bytes` are part of counted when it ends.
    #[inline]
    pub fn transferred(&mut self, bytes: usize) {
        let sectors = bytes.div_ceil(1 << crate::units::SECTOR_SHIFT);

        self.sectors = u32::try_from(sectors).unwrap_or(u32::MAX);
    }
}

impl Drop for Accounting<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: The node that it was made by is still open.
        unsafe { bindings::bdev_end_io_acct(self.bdev, self.op, self.sectors, self.start) };
    }
}

/// The question where to put a mapping.
pub struct AddressRequest<'a> {
    file: *mut bindings::file,
    address: c_ulong,
    len: c_ulong,
    pgoff: c_ulong,
    flags: c_ulong,
    _call: PhantomData<&'a ()>,
}

impl AddressRequest<'_> {
    /// Whether the caller named an address. With MAP_FIXED 0 is one, too; mm/mmap.c: do_mmap adds
    /// that flag to MAP_FIXED_NOREPLACE.
    pub fn has_address(&self) -> bool {
        self.address != 0 || self.flags & bindings::MAP_FIXED as c_ulong != 0
    }

    /// The offset of the mapping in the file.
    pub fn page(&self) -> PageOffset {
        PageOffset(self.pgoff)
    }

    /// The pages of the mapping.
    pub fn pages(&self) -> usize {
        self.len >> PAGE_SHIFT
    }

    /// An address at which there is room for the mapping and `extra` bytes more.
    pub fn find(&self, extra: usize) -> Result<usize> {
        let len = self.len.checked_add(extra).ok_or(ENOMEM)?;
        // SAFETY: The arguments are those that mm called us with; the process's own mm is locked.
        let address = unsafe {
            bindings::mm_get_unmapped_area(self.file, self.address, len, self.pgoff, self.flags)
        };

        to_address(address)
    }
}
