// SPDX-License-Identifier: GPL-2.0

//! Lists of bad sectors.
//!
//! C header: [`include/linux/badblocks.h`](srctree/include/linux/badblocks.h)

use crate::{
    bindings,
    units::{
        ByteRange,
        Sector, //
    }, //
};
use core::{
    ptr::{
        self,
        NonNull, //
    },
    sync::atomic::{
        AtomicPtr,
        Ordering, //
    },
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// How many sectors to look at in one go: block/badblocks.c (_badblocks_check) counts in an `int`, and goes
/// round for ever from a TiB on.
const MOST_SECTORS: u64 = 1 << 30;

/// The bad sectors of a disk.
///
/// All methods may be called at any time, from any context, but `clear` only with interrupts on: the C
/// code has a seqlock inside.
///
/// # Invariants
///
/// - The `struct badblocks` was initialised by `badblocks_init` and is pinned.
/// - `file` is null, or a reference of it is owned. It is set once.
#[pin_data(PinnedDrop)]
pub struct Badblocks {
    #[pin]
    list: Opaque<bindings::badblocks>,
    file: AtomicPtr<bindings::kernfs_node>,
}

// SAFETY: block/badblocks.c guards the list by its own seqlock.
unsafe impl Send for Badblocks {}

// SAFETY: block/badblocks.c guards the list by its own seqlock.
unsafe impl Sync for Badblocks {}

impl Badblocks {
    /// An empty list.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> impl PinInit<Self, Error> {
        // INVARIANT: `badblocks_init` succeeded.
        try_pin_init!(Self {
            file: AtomicPtr::new(ptr::null_mut()),
            list <- Opaque::try_ffi_init(|list: *mut bindings::badblocks| {
                // SAFETY: `list` is valid for writes.
                unsafe { list.write_bytes(0, 1) };
                // SAFETY: As above. What block/badblocks.c: __badblocks_init does not set, it takes
                // for zeroed.
                to_result(unsafe { bindings::badblocks_init(list, 1) })
            }),
        })
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::badblocks {
        self.list.get()
    }

    /// Makes `file` the one in sysfs that shows the list: who polls it is told of changes from now
    /// on.
    ///
    /// # Safety
    ///
    /// A reference of `file` is handed over.
    pub(crate) unsafe fn show_in(&self, file: NonNull<bindings::kernfs_node>) {
        // INVARIANT: The reference is ours now.
        if self
            .file
            .compare_exchange(
                ptr::null_mut(),
                file.as_ptr(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            )
            .is_err()
        {
            // SAFETY: By this function's requirements.
            unsafe { bindings::kernfs_put(file.as_ptr()) };
        }
    }

    /// Tells those who poll the file that the list has changed.
    pub(crate) fn changed(&self) {
        let file = self.file.load(Ordering::Acquire);

        if !file.is_null() {
            // SAFETY: By the type's invariants a reference is owned. fs/kernfs/file.c: kernfs_notify
            // may be called from any context, also for a file that was removed.
            unsafe { bindings::kernfs_notify(file) };
        }
    }

    /// Whether no sector is bad. The answer may be out of date at once.
    #[inline]
    pub fn is_empty(&self) -> bool {
        // SAFETY: By the type's invariants the field is initialised; it is an aligned integer that
        // drivers/nvdimm/nd.h: is_bad_pmem reads without a lock too.
        unsafe { (&raw const (*self.list.get()).count).read_volatile() == 0 }
    }

    /// The first bad sector among those that `range` touches.
    #[inline]
    pub fn first_in(&self, range: ByteRange) -> Option<Sector> {
        if self.is_empty() || range.is_empty() {
            return None;
        }

        let (mut first, Sector(mut left)) = range.sectors();

        loop {
            let count = left.min(MOST_SECTORS);
            let (mut bad, mut bad_count) = (0, 0);
            // SAFETY: By the type's invariants the list is initialised; the out pointers are valid.
            let found = unsafe {
                bindings::badblocks_check(self.list.get(), first.0, count, &mut bad, &mut bad_count)
            };

            if found != 0 {
                return Some(Sector(bad.max(first.0)));
            }
            left -= count;
            if left == 0 {
                return None;
            }
            first.0 += count;
        }
    }

    /// Adds the sectors that `range` touches.
    pub fn set(&self, range: ByteRange) -> Result {
        let (first, count) = range.sectors();

        // SAFETY: By the type's invariants the list is initialised.
        let set = unsafe { bindings::badblocks_set(self.list.get(), first.0, count.0, 1) };

        // A part of it may have been added though there was no room for all.
        self.changed();
        if set {
            return Ok(());
        }
        Err(ENOSPC)
    }

    /// Removes the sectors that `range` touches.
    pub fn clear(&self, range: ByteRange) -> Result {
        let (first, count) = range.sectors();

        // For C that is an error.
        if count == Sector(0) {
            return Ok(());
        }
        // SAFETY: By the type's invariants the list is initialised.
        let cleared = unsafe { bindings::badblocks_clear(self.list.get(), first.0, count.0) };

        self.changed();
        if cleared {
            return Ok(());
        }
        Err(ENOSPC)
    }
}

#[pinned_drop]
impl PinnedDrop for Badblocks {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type's invariants the list is initialised; nobody refers to it any more.
        unsafe { bindings::badblocks_exit(self.list.get()) };
        let file = *self.project().file.get_mut();
        if !file.is_null() {
            // SAFETY: By the type's invariants a reference is owned.
            unsafe { bindings::kernfs_put(file) };
        }
    }
}
