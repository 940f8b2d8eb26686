// SPDX-License-Identifier: GPL-2.0

//! The control block of a read or a write.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use crate::{
    bindings,
    error::to_bytes,
    units::ByteRange, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    iov::{
        IovIterDest,
        IovIterSource, //
    },
    prelude::*, //
};

/// Waits for the next `bytes` of the memory of a caller of read(2). What is there then may be gone again.
/// May sleep for ever, if the caller has it so, but can be killed.
///
/// C: `fault_in_iov_iter_writeable`.
#[cold]
pub fn fault_in_dest(to: &mut IovIterDest<'_>, bytes: usize) {
    // SAFETY: The iterator is valid, and only looked at.
    unsafe { bindings::fault_in_iov_iter_writeable(to.as_raw(), bytes) };
}

/// Waits for the memory of a caller of write(2), as [`fault_in_dest`]. Returns how many of the next
/// `bytes` are there now, up to the first that is not.
///
/// C: `fault_in_iov_iter_readable`.
#[cold]
pub fn fault_in_source(from: &mut IovIterSource<'_>, bytes: usize) -> usize {
    // SAFETY: The iterator is valid, and only looked at.
    bytes - unsafe { bindings::fault_in_iov_iter_readable(from.as_raw(), bytes) }
}

/// Calls `f`, which copies from or to a process and gives up where its memory is not there.
#[inline(always)]
pub(crate) fn without_page_faults<R>(f: impl FnOnce() -> R) -> R {
    // SAFETY: It counts in the current task.
    unsafe { bindings::pagefault_disable() };
    let result = f();

    // SAFETY: As above; it was counted once more.
    unsafe { bindings::pagefault_enable() };
    result
}

/// A read or write call on a file.
///
/// # Invariants
///
/// `kiocb` is valid for `'a`, and used by no other thread.
pub struct Io<'a> {
    kiocb: NonNull<bindings::kiocb>,
    _call: PhantomData<&'a mut bindings::kiocb>,
}

impl<'a> Io<'a> {
    /// # Safety
    ///
    /// `kiocb` is valid for `'a`, and used by no other thread.
    pub(crate) unsafe fn from_raw(kiocb: NonNull<bindings::kiocb>) -> Self {
        // INVARIANT: By this function's requirements.
        Self {
            kiocb,
            _call: PhantomData,
        }
    }

    pub(crate) fn as_raw(&self) -> *mut bindings::kiocb {
        self.kiocb.as_ptr()
    }

    /// The offset in the file at which it starts, or `EINVAL` if that is negative.
    #[inline]
    pub fn position(&self) -> Result<u64> {
        // SAFETY: By the type's invariants.
        u64::try_from(unsafe { (*self.kiocb.as_ptr()).ki_pos }).map_err(|_| EINVAL)
    }

    /// Moves the offset behind what was done.
    #[inline]
    pub fn advance(&mut self, bytes: usize) {
        // SAFETY: By the type's invariants. The position stays below the size of the file, which
        // fits `loff_t`.
        unsafe {
            let kiocb = self.kiocb.as_ptr();
            (*kiocb).ki_pos = (*kiocb).ki_pos.wrapping_add_unsigned(bytes as u64);
        }
    }

    /// Whether the caller wants `EAGAIN` rather than wait: RWF_NOWAIT, and io_uring's first try.
    #[inline]
    pub fn is_nowait(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { (*self.kiocb.as_ptr()).ki_flags as u32 & bindings::IOCB_NOWAIT != 0 }
    }

    /// Does what O_SYNC, O_DSYNC and their per-call flags want after `written` bytes, of which none
    /// went to the page cache.
    ///
    /// C: `generic_write_sync`.
    #[inline]
    pub fn sync_written(&mut self, written: usize) -> Result<usize> {
        // C would have what RWF_DONTCACHE left in the page cache written back, by the writeback
        // structure that an inode has once it was dirty, and this one need not have
        // (fs/fs-writeback.c: filemap_dontcache_kick_writeback).
        //
        // SAFETY: By the type's invariants.
        unsafe { (*self.kiocb.as_ptr()).ki_flags &= !(bindings::IOCB_DONTCACHE as c_int) };
        // SAFETY: By the type's invariants.
        let result =
            unsafe { bindings::generic_write_sync(self.kiocb.as_ptr(), isize::try_from(written)?) };

        to_bytes(result)
    }
}

/// The range of an fsync from `start` to `end`, both included.
pub(crate) fn sync_range(start: bindings::loff_t, end: bindings::loff_t) -> Result<ByteRange> {
    let start = u64::try_from(start).map_err(|_| EINVAL)?;
    let end = u64::try_from(end).map_err(|_| EINVAL)?;
    let len = end.checked_sub(start).ok_or(EINVAL)?;

    // The largest end is below 2^63.
    ByteRange::new(start, len + 1).ok_or(EINVAL)
}
