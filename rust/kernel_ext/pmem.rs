// SPDX-License-Identifier: GPL-2.0

//! Copies to and from persistent memory.
//!
//! C header: [`include/linux/uaccess.h`](srctree/include/linux/uaccess.h),
//! [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h)

use crate::{
    bindings,
    block::bio::Segment,
    fs::io::without_page_faults,
    units::{
        ByteRange,
        PAGE_SIZE,
        SECTOR_SIZE, //
    }, //
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

/// The bytes that a copy from user space moves at once.
const WORD: usize = 8;

/// Persistent memory, mapped by the kernel.
///
/// It is never lent as a slice: processes store to it at any time, and a load may raise a machine
/// check. The methods copy, and can report that.
///
/// # Invariants
///
/// `base` is the kernel's address of `len` bytes that stay mapped for `'a`.
#[derive(Clone, Copy)]
pub struct Memory<'a> {
    base: NonNull<u8>,
    len: u64,
    _mapped: PhantomData<&'a ()>,
}

impl Memory<'_> {
    /// # Safety
    ///
    /// `base` is the kernel's address of `len` bytes that stay mapped for the lifetime.
    #[inline]
    pub(crate) unsafe fn new(base: NonNull<u8>, len: u64) -> Self {
        // INVARIANT: By this function's requirements.
        Self {
            base,
            len,
            _mapped: PhantomData,
        }
    }

    /// The address of `range`, or `EIO` if it is not wholly inside.
    #[inline(always)]
    fn at(&self, range: ByteRange) -> Result<(*mut u8, usize)> {
        if range.end() > self.len {
            return Err(EIO);
        }
        // SAFETY: The offset is inside the memory.
        let address = unsafe { self.base.as_ptr().add(range.start() as usize) };

        Ok((address, range.len() as usize))
    }

    /// Copies from `offset` to a segment of a bio.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end, or if the memory is bad.
    #[inline(always)]
    pub fn read_segment(&self, offset: u64, segment: &mut Segment<'_>) -> Result {
        let (mut from, _) = self.at(ByteRange::new(offset, segment.len()).ok_or(EIO)?)?;

        segment.for_each_page(|data, len| {
            // SAFETY: Both have `len` bytes, which is at most a page. The copy survives a machine
            // check in `from` (arch/x86/lib/copy_mc.c), and returns how much is left then.
            let left =
                unsafe { bindings::copy_mc_to_kernel(data.cast(), from.cast(), len as c_uint) };

            from = from.wrapping_add(len);
            if left == 0 {
                Ok(())
            } else {
                Err(EIO)
            }
        })
    }

    /// Copies a segment of a bio to `offset`, around the CPU caches. Durable after a flush of the
    /// region.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    #[inline(always)]
    pub fn write_segment(&self, offset: u64, segment: &mut Segment<'_>) -> Result {
        let (mut to, _) = self.at(ByteRange::new(offset, segment.len()).ok_or(EIO)?)?;

        segment.for_each_page(|data, len| {
            // SAFETY: Both have `len` bytes.
            unsafe { bindings::memcpy_flushcache(to.cast(), data.cast(), len) };
            to = to.wrapping_add(len);
            Ok(())
        })
    }

    /// Copies from `offset` to `to`. Returns the bytes copied: fewer only if the memory is bad.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    pub fn read(&self, offset: u64, to: &mut [u8]) -> Result<usize> {
        let (from, len) = self.at(ByteRange::new(offset, to.len() as u64).ok_or(EIO)?)?;
        let wanted = c_uint::try_from(len)?;
        // SAFETY: Both have `len` bytes. The copy survives a machine check in `from`
        // (arch/x86/lib/copy_mc.c), and returns how much is left then.
        let left =
            unsafe { bindings::copy_mc_to_kernel(to.as_mut_ptr().cast(), from.cast(), wanted) };

        Ok(len - left as usize)
    }

    /// Copies `range` to a caller of read(2). Returns the bytes copied: fewer if the device's memory
    /// is bad, or the caller's not there now. For that it does not wait, which may take for ever: see
    /// [`fault_in_dest`](crate::fs::io::fault_in_dest).
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    #[inline]
    pub fn try_read_iter(&self, range: ByteRange, to: &mut IovIterDest<'_>) -> Result<usize> {
        let (from, len) = self.at(range)?;

        Ok(without_page_faults(|| {
            // SAFETY: `from` has `len` bytes; the copy survives a machine check in it.
            unsafe { bindings::_copy_mc_to_iter(from.cast(), len, to.as_raw()) }
        }))
    }

    /// Copies `from` to `offset`, around the CPU caches. Returns the bytes copied: all. Durable after a
    /// flush of the region.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    pub fn write(&self, offset: u64, from: &[u8]) -> Result<usize> {
        let (to, len) = self.at(ByteRange::new(offset, from.len() as u64).ok_or(EIO)?)?;

        // SAFETY: Both have `len` bytes.
        unsafe { bindings::memcpy_flushcache(to.cast(), from.as_ptr().cast(), len) };
        Ok(len)
    }

    /// Copies from a caller of write(2) to `range`, around the CPU caches. Returns the bytes
    /// copied: fewer if the caller's memory is not there. Durable after a flush of the region.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    #[inline]
    pub fn write_iter(&self, range: ByteRange, from: &mut IovIterSource<'_>) -> Result<usize> {
        let (to, len) = self.at(range)?;
        // SAFETY: `to` has `len` bytes.
        let mut done =
            unsafe { bindings::_copy_from_iter_flushcache(to.cast(), len, from.as_raw()) };

        // Where the caller's memory ends, the copy gives up on the last word with some of its bytes
        // there (arch/x86/lib/copy_user_uncached_64.S).
        for _ in 1..WORD {
            if done >= len {
                break;
            }
            // SAFETY: The offset is inside the `len` bytes.
            let to = unsafe { to.add(done) };

            // SAFETY: `to` has at least a byte.
            match unsafe { bindings::_copy_from_iter_flushcache(to.cast(), 1, from.as_raw()) } {
                0 => break,
                byte => done += byte,
            }
        }
        Ok(done)
    }

    /// The same, but does not wait for the caller's memory, which may take for ever: see
    /// [`fault_in_source`](crate::fs::io::fault_in_source). What stops short of the end stops at
    /// the end of a sector: a bad one is made good as a whole.
    #[inline]
    pub fn try_write_iter(&self, range: ByteRange, from: &mut IovIterSource<'_>) -> Result<usize> {
        let done = without_page_faults(|| self.write_iter(range, from))?;

        if (done as u64) < range.len() {
            return Ok(to_end_of_sector(range, done, from));
        }
        Ok(done)
    }

    /// Writes zeroes to `range`, around the CPU caches. Returns the bytes written: all. Durable after
    /// a flush of the region.
    ///
    /// # Errors
    ///
    /// `EIO` behind the end.
    pub fn write_zeroes(&self, range: ByteRange) -> Result<usize> {
        static ZEROES: [u8; PAGE_SIZE as usize] = [0; PAGE_SIZE as usize];
        let len = self.at(range)?.1;
        let mut done = 0;

        while done < len {
            let part = (len - done).min(ZEROES.len());

            done += self.write(range.start() + done as u64, &ZEROES[..part])?;
        }
        Ok(len)
    }

    /// Writes back the CPU caches of the part of `range` that is inside. Durable after a flush of
    /// the region.
    pub fn write_back(&self, range: ByteRange) {
        if let Ok((address, len)) = self.at(range.before(self.len)) {
            // SAFETY: `address` has `len` bytes.
            unsafe { bindings::arch_wb_cache_pmem(address.cast(), len) };
        }
    }

    /// Drops the CPU caches of `range`, whose content the hardware changed under them.
    pub fn invalidate(&self, range: ByteRange) {
        if let Ok((address, len)) = self.at(range.before(self.len)) {
            // SAFETY: `address` has `len` bytes.
            unsafe { bindings::arch_invalidate_pmem(address.cast(), len) };
        }
    }
}

/// Gives back what of `done` bytes of `range` is a part of a sector only. Returns how many are left.
#[cold]
fn to_end_of_sector(range: ByteRange, done: usize, from: &mut IovIterSource<'_>) -> usize {
    let done = done as u64;
    let part = ((range.start() + done) % SECTOR_SIZE).min(done);

    // SAFETY: The last `done` bytes were taken from there, and it is not more, so iov_iter_revert()
    // (lib/iov_iter.c) does not come before their start.
    unsafe { from.revert(part as usize) };
    (done - part) as usize
}
