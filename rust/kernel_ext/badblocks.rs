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
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// The bad sectors of a disk.
///
/// All methods may be called at any time, from any context: the C code has a seqlock inside.
///
/// # Invariants
///
/// The `struct badblocks` was initialised by `badblocks_init` and is pinned.
#[pin_data(PinnedDrop)]
pub struct Badblocks {
    #[pin]
    list: Opaque<bindings::badblocks>,
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
            list <- Opaque::try_ffi_init(|list: *mut bindings::badblocks| {
                // SAFETY: `list` is valid for writes; block/badblocks.c: __badblocks_init sets
                // every field but `dev`, which only devm_init_badblocks uses.
                to_result(unsafe { bindings::badblocks_init(list, 1) })
            }),
        })
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::badblocks {
        self.list.get()
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

        let (first, count) = range.sectors();
        let (mut bad, mut bad_count) = (0, 0);
        // SAFETY: By the type's invariants the list is initialised; the out pointers are valid.
        let found = unsafe {
            bindings::badblocks_check(self.list.get(), first.0, count.0, &mut bad, &mut bad_count)
        };

        if found == 0 {
            return None;
        }
        Some(Sector(bad.max(first.0)))
    }

    /// Adds the sectors that `range` touches.
    pub fn set(&self, range: ByteRange) -> Result {
        let (first, count) = range.sectors();

        // SAFETY: By the type's invariants the list is initialised.
        if unsafe { bindings::badblocks_set(self.list.get(), first.0, count.0, 1) } {
            return Ok(());
        }
        Err(ENOSPC)
    }

    /// Removes the sectors that `range` touches.
    pub fn clear(&self, range: ByteRange) -> Result {
        let (first, count) = range.sectors();

        // SAFETY: By the type's invariants the list is initialised.
        if unsafe { bindings::badblocks_clear(self.list.get(), first.0, count.0) } {
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
    }
}
