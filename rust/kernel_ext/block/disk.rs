// SPDX-License-Identifier: GPL-2.0

//! Disks that are handed bios as they are submitted.
//!
//! C header: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

use crate::{
    badblocks::Badblocks,
    bindings,
    block::{
        attribute::{
            self,
            Group, //
        },
        bio::Bio,
        opening, //
    },
    dax::{
        self,
        Alive, //
    },
    mm::memremap::StillUsed,
    module::THIS_MODULE,
    platform,
    units::{
        ByteRange,
        PageOffset,
        Sector,
        PAGE_SIZE, //
    }, //
};
use core::{
    marker::PhantomData,
    mem,
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicUsize,
        Ordering, //
    },
};
use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    id_pool::IdPool,
    new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
    types::ForeignOwnable,
};

/// How often it is looked whether the disks are gone that are waited for.
const POLL: Delta = Delta::from_millis(10);
/// After how many looks the log says so.
const POLLS_TO_REPORT: usize = 100;

/// A block major number, with the minors of up to 4096 disks.
///
/// Each disk has 256 minors, so all its partitions are on this major too, whereas the numbers of a
/// disk without a major of its own are shared with every other driver.
///
/// Dropping it waits until all its disks are freed: the code that frees them is the module's, and the
/// last reference of a disk may be put without a file (see [`Kept`]).
pub struct Major {
    numbers: Arc<Numbers>,
}

/// The number itself, which is taken as long as there is a reference.
#[pin_data(PinnedDrop)]
pub(crate) struct Numbers {
    number: u32,
    name: &'static CStr,
    /// How many disks were added and not freed yet.
    unfreed: AtomicUsize,
    #[pin]
    disks: Mutex<IdPool>,
}

const MINORS: u32 = 256;
/// How many disks one has room for.
pub(crate) const MAX_DISKS: usize = (1 << bindings::MINORBITS) / MINORS as usize;

impl Major {
    /// Takes a free number, which shows in `/proc/devices`. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if none is free, `ENOMEM`.
    pub fn new(name: &'static CStr) -> Result<Self> {
        let disks = IdPool::with_capacity(MAX_DISKS, GFP_KERNEL)?;
        // SAFETY: `name` lives for ever; block/genhd.c: __register_blkdev copies it.
        let number = unsafe {
            bindings::__register_blkdev(0, name.as_char_ptr(), Some(Self::probe_callback))
        };

        to_result(number.min(0))?;
        let number = number.unsigned_abs();
        let numbers = Arc::pin_init(
            pin_init!(Numbers {
                number,
                name,
                unfreed: AtomicUsize::new(0),
                disks <- new_mutex!(disks),
            }),
            GFP_KERNEL,
        )
        .inspect_err(|_| {
            // SAFETY: It was registered above.
            unsafe { bindings::unregister_blkdev(number, name.as_char_ptr()) };
        })?;

        Ok(Self { numbers })
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.numbers.number
    }

    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.numbers
    }

    /// There is no module to be loaded for a number without a disk: ours is. If nothing says so, each
    /// open of one looks for a module, twice.
    ///
    /// # Safety
    ///
    /// Called by block/genhd.c: blk_probe_dev, which holds the lock that unregister_blkdev takes.
    unsafe extern "C" fn probe_callback(_dev: bindings::dev_t) {}
}

impl Drop for Major {
    fn drop(&mut self) {
        let mut polls = 0;

        loop {
            let unfreed = self.numbers.unfreed.load(Ordering::Acquire);

            if unfreed == 0 {
                break;
            }
            if polls == POLLS_TO_REPORT {
                pr_warn!(
                    "unloading waits for {} removed disks, which are looked at still: it goes on when no one does\n",
                    unfreed
                );
            }
            polls += 1;
            fsleep(POLL);
        }
        // The call that counted the last one down (free_disk_callback) may not have returned yet. It
        // does not sleep any more.
        //
        // SAFETY: It has no requirements; we may sleep.
        unsafe { bindings::synchronize_rcu_tasks() };
    }
}

#[pinned_drop]
impl PinnedDrop for Numbers {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: `Major::new` registered it; each disk and each hook holds a reference of `self`.
        unsafe { bindings::unregister_blkdev(self.number, self.name.as_char_ptr()) };
    }
}

/// The minors of one disk.
pub(crate) struct Minors {
    numbers: Arc<Numbers>,
    index: usize,
}

impl Minors {
    /// # Errors
    ///
    /// `ENOSPC` if there are none left.
    pub(crate) fn new(major: &Major) -> Result<Self> {
        let numbers = major.numbers().clone();
        let index = numbers
            .disks
            .lock()
            .find_unused_id(0)
            .ok_or(ENOSPC)?
            .acquire();
        let minors = Self { numbers, index };

        // The pool may be larger than was asked for.
        if index >= MAX_DISKS {
            return Err(ENOSPC);
        }
        Ok(minors)
    }

    pub(crate) fn first(&self) -> c_int {
        (self.index * MINORS as usize) as c_int
    }
}

impl Drop for Minors {
    fn drop(&mut self) {
        self.numbers.disks.lock().release_id(self.index);
    }
}

/// What a disk needs of the module until it is freed. That may be after it was removed and its last
/// file was closed: a walk of the list of disks (`/proc/diskstats`) and a write to the limits of a
/// cgroup hold a reference of the disk, and none of the module.
///
/// # Invariants
///
/// `numbers.unfreed` counts it from when the disk was added.
#[repr(C)]
struct Kept {
    /// What `fops` of the disk points to.
    operations: bindings::block_device_operations,
    numbers: Arc<Numbers>,
}

impl Kept {
    /// # Safety
    ///
    /// `disk` was made by [`Registration::new`], and its `fops` are not used any more.
    unsafe fn from_disk(disk: *mut bindings::gendisk) -> KBox<Self> {
        // SAFETY: By this function's requirements it is what `new` set.
        unsafe { KBox::from_raw((*disk).fops.cast_mut().cast()) }
    }
}

/// The operations of a disk. The implementor is the disk's data, and lives until nobody has the
/// disk open any more, which may be long after the disk was removed.
pub trait Operations: Send + Sync + Sized + 'static {
    /// What the memory of the disk asks its driver.
    type Dax: dax::Operations;

    /// What there is in sysfs for it.
    const ATTRIBUTES: [Group<Self>; 2];

    /// The memory of the disk, which is always the same.
    fn dax(&self) -> &dax::Device<Self::Dax>;

    /// Handles a bio. Called only while the disk is registered, so the memory is there. May sleep,
    /// unless the bio says that it [may not wait](Bio::is_nowait).
    fn submit_bio(&self, alive: &Alive<'_, Self::Dax>, bio: Bio);

    /// Somebody who uses it alone is about to have the disk or a partition of it, and nobody has it
    /// so now; but for [`Node::claim`](crate::block::node::Node::claim). `part` is where the partition
    /// is, `None` if it is the disk, or it is not known which. May sleep; no one else can open it
    /// meanwhile, nor claim any part of it.
    ///
    /// # Errors
    ///
    /// What he shall get.
    fn exclusive_open(&self, part: Option<ByteRange>) -> Result;

    /// The last opener of the disk and its partitions closed it. May sleep; no one can open it
    /// meanwhile.
    fn last_close(&self);

    /// Prepares the disk for the machine's sleep, or for an image of the machine to be made or
    /// restored. No process runs until that is over. May sleep.
    ///
    /// # Errors
    ///
    /// The machine stays up then.
    fn suspend(&self) -> Result;

    /// The user wants the disk or a partition to be read-only. May sleep.
    fn make_read_only(&self) -> Result;

    /// The bad sectors, which show in sysfs as `badblocks`.
    fn badblocks(&self) -> &Badblocks;
}

/// What a disk is like.
pub struct Limits {
    /// The unit of transfers in bytes.
    pub logical_block_size: u32,
    /// Whether it knows REQ_FUA.
    pub fua: bool,
    /// Whether it must not be written, from the start.
    pub read_only: bool,
}

/// A disk that is registered: it has a node, and takes bios.
///
/// # Invariants
///
/// `disk` is a valid disk, of which a reference is owned; its private data is an `Arc<T>`, and its
/// operations those of [`Vtable<T>`], in a [`Kept`]. It was added. `dax` is the memory that it was
/// attached to, and valid as long as that `Arc<T>` is.
pub struct Registration<T: Operations> {
    disk: NonNull<bindings::gendisk>,
    dax: NonNull<dax::Device<T::Dax>>,
    removed: bool,
    _minors: Minors,
    _data: PhantomData<Arc<T>>,
}

// SAFETY: A `struct gendisk` has no owning thread.
unsafe impl<T: Operations> Send for Registration<T> {}

// SAFETY: Nothing is done with it through a shared reference.
unsafe impl<T: Operations> Sync for Registration<T> {}

impl<T: Operations> Registration<T> {
    /// Adds a disk below `parent`. It is open to the world when this returns, and even before: its
    /// partitions are read. Its memory stays as long as it is there. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `ENOSPC` if there are 4096 disks, `EBUSY` if the memory has or had another, and what
    /// `device_add_disk` returns.
    pub fn new(
        parent: &device::Device<device::Bound>,
        major: &Major,
        name: &CStr,
        limits: Limits,
        capacity: Sector,
        data: Arc<T>,
    ) -> Result<Self> {
        let minors = Minors::new(major)?;
        let kept = KBox::new(
            Kept {
                operations: Vtable::<T>::OPERATIONS,
                numbers: major.numbers().clone(),
            },
            GFP_KERNEL,
        )?;
        let dax = NonNull::from(data.dax());
        let host = data.dax().host();
        let parent = crate::device::as_raw(parent);
        let read_only = limits.read_only;
        let mut limits = bindings::queue_limits {
            logical_block_size: limits.logical_block_size,
            physical_block_size: PAGE_SIZE as u32,
            max_hw_sectors: u32::MAX,
            features: bindings::BLK_FEAT_WRITE_CACHE
                | bindings::BLK_FEAT_SYNCHRONOUS
                | bindings::BLK_FEAT_NOWAIT
                | if limits.fua {
                    bindings::BLK_FEAT_FUA
                } else {
                    0
                }
                | if host.is_some() {
                    bindings::BLK_FEAT_DAX
                } else {
                    0
                },
            ..pin_init::zeroed()
        };
        // SAFETY: `parent` is valid.
        let node = unsafe { bindings::dev_to_node(parent) };
        // SAFETY: `limits` is valid, and the lock class lives for ever.
        let disk = from_err_ptr(unsafe {
            bindings::__blk_alloc_disk(&mut limits, node, static_lock_class!().as_ptr())
        })?;
        let disk = NonNull::new(disk).ok_or(ENOMEM)?;
        let badblocks = data.badblocks().as_raw();

        // SAFETY: The disk is new: nobody else knows it.
        let raw = unsafe { &mut *disk.as_ptr() };
        raw.major = major.number() as c_int;
        raw.first_minor = minors.first();
        raw.minors = MINORS as c_int;
        raw.fops = KBox::into_raw(kept).cast();
        raw.bb = badblocks.cast();
        // Its last byte stays NUL, as the disk came zeroed.
        let room = raw.disk_name.len() - 1;
        for (to, from) in raw.disk_name[..room].iter_mut().zip(name.to_bytes()) {
            *to = *from as c_char;
        }
        raw.private_data = data.into_foreign();

        // SAFETY: The disk is valid, and so is the device of its whole, which has no driver, ever.
        // Nothing writes to a domain.
        unsafe {
            bindings::dev_pm_domain_set(
                &raw mut (*raw.part0).bd_device,
                ptr::from_ref(Vtable::<T>::SLEEP).cast_mut(),
            )
        };
        // SAFETY: The disk is valid.
        unsafe { bindings::set_capacity(disk.as_ptr(), capacity.0) };
        // SAFETY: As above. There is nothing in sysfs yet that it could tell of.
        unsafe { bindings::set_disk_ro(disk.as_ptr(), read_only) };
        // As soon as it is added, others may be the last ones to put it.
        major.numbers.unfreed.fetch_add(1, Ordering::Relaxed);
        // SAFETY: The data stay at least until the disk is freed.
        let attached = unsafe { dax.as_ref() }.attach(disk);
        let added = attached
            .and_then(|()| {
                let Some(host) = host else {
                    return Ok(());
                };

                // SAFETY: The disk is valid, and the DAX device as long as the data are.
                to_result(unsafe { bindings::dax_add_host(host.as_ptr(), disk.as_ptr()) })
            })
            .and_then(|()| {
                // SAFETY: As above; `parent` is bound.
                to_result(unsafe {
                    bindings::device_add_disk(parent, disk.as_ptr(), attribute::groups::<T>())
                })
            });
        if added.is_err() {
            // SAFETY: As above. It does nothing if there is none.
            unsafe { bindings::dax_remove_host(disk.as_ptr()) };
            if attached.is_ok() {
                // SAFETY: As above. The disk was not added.
                unsafe { dax.as_ref().detach() };
            }
            // A disk that was never added does not call free_disk (block/genhd.c: disk_release).
            //
            // SAFETY: The data was set above, and nobody got to know the disk.
            drop(unsafe { Arc::<T>::from_foreign((*disk.as_ptr()).private_data) });
            // SAFETY: As above; disk_release looks at the operations of added disks only.
            drop(unsafe { Kept::from_disk(disk.as_ptr()) });
            major.numbers.unfreed.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: The reference is from the allocation.
            unsafe { bindings::put_disk(disk.as_ptr()) };
        }
        added?;
        // SAFETY: The disk was added, so its device has a directory, and its private data was set.
        unsafe { Self::watch_badblocks(disk) };

        // INVARIANT: It was set up and added.
        Ok(Self {
            disk,
            dax,
            removed: false,
            _minors: minors,
            _data: PhantomData,
        })
    }

    /// Has those told of changes who poll `badblocks` in sysfs. Without, they are not, as with
    /// drivers/nvdimm/pmem.c.
    ///
    /// # Safety
    ///
    /// `disk` was made by [`Self::new`], and added.
    unsafe fn watch_badblocks(disk: NonNull<bindings::gendisk>) {
        // SAFETY: By this function's requirements.
        let dir = unsafe { (*(*disk.as_ptr()).part0).bd_device.kobj.sd };
        // SAFETY: As above; the directory stays while the disk is there. C: sysfs_get_dirent.
        let file = unsafe {
            bindings::kernfs_find_and_get_ns(dir, c"badblocks".as_char_ptr(), ptr::null())
        };

        if let Some(file) = NonNull::new(file) {
            // SAFETY: By this function's requirements the data is there.
            let data = unsafe { data::<T>(disk.as_ptr()) };

            // SAFETY: kernfs_find_and_get_ns returned a reference.
            unsafe { data.badblocks().show_in(file) };
        }
    }

    /// Removes the disk: nobody can open it any more, what is open fails, and no bio is with the driver
    /// any more when this returns: they have ended, or the region ends them after a flush, which
    /// touches no memory. May sleep.
    ///
    /// C: `del_gendisk`.
    pub fn remove(mut self) -> Removed<T> {
        self.delete();
        // INVARIANT: It was just removed.
        Removed(self)
    }

    fn delete(&mut self) {
        if mem::replace(&mut self.removed, true) {
            return;
        }
        // SAFETY: By the type's invariants the disk is valid. It does nothing if there is no host.
        unsafe { bindings::dax_remove_host(self.disk.as_ptr()) };
        // SAFETY: By the type's invariants the disk was added, and this is the only call.
        unsafe { bindings::del_gendisk(self.disk.as_ptr()) };
        // SAFETY: By the type's invariants the memory is valid, as the disk is not freed. Each bio had a
        // reference of the queue while it was submitted, for which del_gendisk waited. One that waits
        // for a flush (drivers/nvdimm/nd_virtio.c: async_pmem_flush) has no data to be moved any more.
        unsafe { self.dax.as_ref().detach() };
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::gendisk {
        self.disk.as_ptr()
    }
}

impl<T: Operations> Drop for Registration<T> {
    fn drop(&mut self) {
        self.delete();
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::put_disk(self.disk.as_ptr()) };
    }
}

/// A disk that was removed.
///
/// # Invariants
///
/// It was removed.
pub struct Removed<T: Operations>(Registration<T>);

impl<T: Operations> Removed<T> {
    /// Ends all access to the memory. Nobody can [enter](dax::Device::enter) it any more, and who was
    /// in has left; no mapping has a page left, and private copies are gone too, as with a file that
    /// was truncated. Then `last` is called, the last one to have the memory; if somebody pins a page,
    /// again when nobody does any more. The memory is unmapped after that.
    ///
    /// May sleep as long as somebody pins a page; `waiting` is called with the offset of one, about
    /// every ten seconds.
    ///
    /// # Errors
    ///
    /// [`StillUsed`] if somebody pins a page when the machine [is ending](platform::is_ending), which
    /// must not wait. The memory stays as it is then, with all that refers to it.
    pub fn shut_down(
        self,
        last: impl Fn(&Alive<'_, T::Dax>),
        waiting: impl FnMut(PageOffset),
    ) -> Result<(), StillUsed> {
        // SAFETY: By the invariants of the registration it is valid as long as that is; by the type's
        // invariants its disk was removed, and there will be no other. If it fails, the reference of
        // the disk is never put, so its data, of which this is a part, are never dropped.
        unsafe {
            self.0
                .dax
                .as_ref()
                .shut_down(last, waiting, platform::is_ending)
        }
        .inspect_err(|_| mem::forget(self))
    }
}

/// The data of a disk.
///
/// # Safety
///
/// `disk` was made by [`Registration::<T>::new`] and stays valid for `'a`.
#[inline]
pub(crate) unsafe fn data<'a, T: Operations>(disk: *mut bindings::gendisk) -> ArcBorrow<'a, T> {
    // SAFETY: By this function's requirements the private data is what `new` set; only free_disk,
    // for which there must be no reference of the disk left, takes it away.
    unsafe { Arc::<T>::borrow((*disk).private_data) }
}

/// Where the partition of `disk` is that this task is opening. `None` if it is the disk itself, or it is
/// not known which.
///
/// # Safety
///
/// `disk` is valid, and its `open_mutex` is held: partitions neither come nor go.
unsafe fn opened(disk: *mut bindings::gendisk) -> Option<ByteRange> {
    let partition = c_ulong::from(opening::take_partition()?);

    if partition == 0 {
        return None;
    }
    let mut index = partition;
    let _rcu = kernel::sync::rcu::read_lock();
    // SAFETY: By this function's requirements; entries are looked at under RCU.
    let entry = unsafe {
        bindings::xa_find(
            &raw mut (*disk).part_tbl,
            &mut index,
            partition,
            bindings::XA_PRESENT,
        )
    };
    let bdev = NonNull::new(entry.cast::<bindings::block_device>())?;
    // SAFETY: By this function's requirements the device is valid.
    let (start, sectors) = unsafe {
        (
            Sector((*bdev.as_ptr()).bd_start_sect),
            Sector((*bdev.as_ptr()).bd_nr_sectors),
        )
    };

    ByteRange::new(start.to_bytes()?, sectors.to_bytes()?)
}

struct Vtable<T>(PhantomData<T>);

impl<T: Operations> Vtable<T> {
    const OPERATIONS: bindings::block_device_operations = bindings::block_device_operations {
        owner: THIS_MODULE,
        submit_bio: Some(Self::submit_bio_callback),
        open: Some(Self::open_callback),
        release: Some(Self::release_callback),
        set_read_only: Some(Self::set_read_only_callback),
        free_disk: Some(Self::free_disk_callback),
        ..pin_init::zeroed()
    };

    // Devices of the nd bus are not told of sleep (drivers/nvdimm/bus.c: __nd_device_register), but a
    // disk is, and before what was there before it: its provider. It has no driver that could be asked.
    // "poweroff" comes after the image of a hibernation was written.
    const SLEEP: &'static bindings::dev_pm_domain = &bindings::dev_pm_domain {
        ops: bindings::dev_pm_ops {
            suspend: Some(Self::suspend_callback),
            freeze: Some(Self::suspend_callback),
            poweroff: Some(Self::suspend_callback),
            ..pin_init::zeroed()
        },
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// Called by drivers/base/power/main.c: device_suspend, with the device of a disk of ours, of
    /// which dpm_suspend has a reference.
    unsafe extern "C" fn suspend_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: By this function's requirements it is in the `block_device` of the whole disk.
        let part = unsafe { kernel::container_of!(dev, bindings::block_device, bd_device) };
        // SAFETY: As above; the disk is there as long as its device is.
        let data = unsafe { data::<T>((*part).bd_disk) };

        data.suspend().map_or_else(|e| e.to_errno(), |()| 0)
    }

    /// # Safety
    ///
    /// Called by block/blk-core.c: __submit_bio, with a bio for a disk of ours, and a reference of
    /// its queue that del_gendisk waits for.
    unsafe extern "C" fn submit_bio_callback(bio: *mut bindings::bio) {
        // SAFETY: The block layer never passes a null pointer.
        let bio = unsafe { NonNull::new_unchecked(bio) };
        // SAFETY: By this function's requirements.
        let disk = unsafe { (*(*bio.as_ptr()).bi_bdev).bd_disk };
        // SAFETY: By this function's requirements the disk is ours.
        let data = unsafe { data::<T>(disk) };
        // SAFETY: By this function's requirements it is ours to end.
        let bio = unsafe { Bio::from_raw(bio) };

        // SAFETY: By this function's requirements, until it returns.
        if let Some(alive) = unsafe { data.dax().enter_bio(disk) } {
            data.submit_bio(&alive, bio);
        }
    }

    /// # Safety
    ///
    /// Called by block/bdev.c: blkdev_get_whole, for a disk of ours, with its `open_mutex` held.
    unsafe extern "C" fn open_callback(
        disk: *mut bindings::gendisk,
        mode: bindings::blk_mode_t,
    ) -> c_int {
        // Only claims of ours have this flag of those with O_EXCL (and users who ask for it: they
        // have to come to us to map it).
        if mode & bindings::BLK_OPEN_EXCL == 0 || mode & bindings::BLK_OPEN_NDELAY != 0 {
            return 0;
        }
        // SAFETY: By this function's requirements.
        let part = unsafe { opened(disk) };

        // SAFETY: By this function's requirements the disk is ours.
        match unsafe { data::<T>(disk) }.exclusive_open(part) {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by block/bdev.c: blkdev_put_whole, for a disk of ours, with its `open_mutex` held.
    unsafe extern "C" fn release_callback(disk: *mut bindings::gendisk) {
        // SAFETY: By this function's requirements the disk is valid. Each open of it or a partition
        // counts here, and this one no more.
        let openers = unsafe { (&raw const (*(*disk).part0).bd_openers.counter).read_volatile() };

        if openers == 0 {
            // SAFETY: By this function's requirements the disk is ours.
            unsafe { data::<T>(disk) }.last_close();
        }
    }

    /// # Safety
    ///
    /// Called by block/ioctl.c: blkdev_roset, for an open device of a disk of ours.
    unsafe extern "C" fn set_read_only_callback(
        bdev: *mut bindings::block_device,
        read_only: bool,
    ) -> c_int {
        if !read_only {
            return 0;
        }
        // SAFETY: By this function's requirements the device is valid, and the disk ours.
        match unsafe { data::<T>((*bdev).bd_disk) }.make_read_only() {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by block/genhd.c: disk_release, once, for a disk of ours that was added.
    unsafe extern "C" fn free_disk_callback(disk: *mut bindings::gendisk) {
        // SAFETY: By this function's requirements the private data is what `new` set, and nobody
        // uses it any more.
        drop(unsafe { Arc::<T>::from_foreign((*disk).private_data) });
        // SAFETY: By this function's requirements; disk_release does not look at the operations any
        // more, and no one else has the disk.
        let kept = unsafe { Kept::from_disk(disk) };

        // From here on nothing may sleep: the module may go once this task does (`Major::drop`).
        // Dropping `kept` does not, as `Major` has another reference of the numbers.
        kept.numbers.unfreed.fetch_sub(1, Ordering::Release);
    }
}
