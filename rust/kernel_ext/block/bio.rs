// SPDX-License-Identifier: GPL-2.0

//! Block I/O as it is submitted.
//!
//! C header: [`include/linux/bio.h`](srctree/include/linux/bio.h)

use crate::{
    bindings,
    compat::{
        bi_offset,
        clear_bi_offset, //
    },
    units::{
        Sector,
        PAGE_SIZE,
        SECTOR_SHIFT, //
    }, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Whether the statistics of a disk are on.
///
/// C: `blk_queue_io_stat`.
///
/// # Safety
///
/// `queue` is valid.
#[inline]
pub(super) unsafe fn counts_io(queue: *const bindings::request_queue) -> bool {
    // SAFETY: By this function's requirements. They change at any time.
    let features = unsafe { (&raw const (*queue).limits.features).read_volatile() };

    features & bindings::BLK_FEAT_IO_STAT != 0
}

/// The number of a partition, 0 for a whole disk.
///
/// C: `bdev_partno`.
///
/// # Safety
///
/// `bdev` is valid.
#[inline]
pub(super) unsafe fn partition_number(bdev: *const bindings::block_device) -> u8 {
    // SAFETY: By this function's requirements. The flags beside the number change at any time.
    (unsafe { (&raw const (*bdev).__bd_flags.counter).read_volatile() } & 0xff) as u8
}

/// A bio that was handed to a driver, which has to end it.
///
/// One that is dropped ends with an I/O error: whoever waits for it is told.
///
/// # Invariants
///
/// `bio` was submitted to us and has not ended.
pub struct Bio {
    bio: NonNull<bindings::bio>,
}

impl Bio {
    /// # Safety
    ///
    /// `bio` was submitted to the caller, who gives it away.
    #[inline]
    pub(crate) unsafe fn from_raw(bio: NonNull<bindings::bio>) -> Self {
        // INVARIANT: By this function's requirements.
        Self { bio }
    }

    #[inline]
    fn as_raw(&self) -> *mut bindings::bio {
        self.bio.as_ptr()
    }

    #[inline]
    fn has_flag(&self, bit: u32) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { (*self.as_raw()).bi_opf & (1 << bit) != 0 }
    }

    /// Whether what was completed before is to be durable before it starts: REQ_PREFLUSH.
    #[inline]
    pub fn is_preflush(&self) -> bool {
        self.has_flag(bindings::req_flag_bits___REQ_PREFLUSH)
    }

    /// Whether it is to be durable when it ends: REQ_FUA.
    #[inline]
    pub fn is_fua(&self) -> bool {
        self.has_flag(bindings::req_flag_bits___REQ_FUA)
    }

    /// Whether it is to end with `EAGAIN` rather than wait: REQ_NOWAIT.
    #[inline]
    pub fn is_nowait(&self) -> bool {
        self.has_flag(bindings::req_flag_bits___REQ_NOWAIT)
    }

    #[inline]
    fn op(&self) -> bindings::req_op {
        // C: bio_op.
        //
        // SAFETY: By the type's invariants.
        unsafe { (*self.as_raw()).bi_opf & ((1 << bindings::REQ_OP_BITS) - 1) }
    }

    /// Whether it moves data.
    ///
    /// C: `bio_has_data`.
    #[inline]
    pub fn has_data(&self) -> bool {
        // SAFETY: By the type's invariants.
        let size = unsafe { (*self.as_raw()).bi_iter.bi_size };

        size != 0
            && !matches!(
                self.op(),
                bindings::req_op_REQ_OP_DISCARD
                    | bindings::req_op_REQ_OP_SECURE_ERASE
                    | bindings::req_op_REQ_OP_WRITE_ZEROES
            )
    }

    /// Whether it moves data to the device.
    #[inline]
    pub fn is_write(&self) -> bool {
        // C: op_is_write.
        self.op() & 1 != 0
    }

    #[inline]
    fn bdev(&self) -> *mut bindings::block_device {
        // SAFETY: By the type's invariants.
        unsafe { (*self.as_raw()).bi_bdev }
    }

    /// The number of the partition that it was submitted to, 0 for the whole disk.
    #[inline]
    pub fn partition(&self) -> u8 {
        // SAFETY: By the type's invariants the bio has a device.
        unsafe { partition_number(self.bdev()) }
    }

    /// Whether it is for a partition that ends before it now.
    ///
    /// The block layer looked when it was submitted (block/blk-core.c: bio_check_eod). A cgroup may
    /// have had it wait since, for as long as it likes (block/blk-throttle.c: __blk_throtl_bio).
    #[inline(always)]
    pub fn is_past_end(&self) -> bool {
        self.partition() != 0 && self.is_past_partition()
    }

    fn is_past_partition(&self) -> bool {
        let bdev = self.bdev();
        // SAFETY: By the type's invariants.
        let iter = unsafe { (*self.as_raw()).bi_iter };
        let sectors = u64::from(iter.bi_size >> SECTOR_SHIFT);
        // SAFETY: By the type's invariants the bio has a device; the start of a partition never
        // changes.
        let start = unsafe { (*bdev).bd_start_sect };
        let first = iter.bi_sector.wrapping_sub(start);
        // SAFETY: As above. The size changes at any time.
        let size = unsafe { (&raw const (*bdev).bd_nr_sectors).read_volatile() };

        // The bio counts from the start of the disk by now (block/blk-core.c: blk_partition_remap).
        sectors != 0 && size.checked_sub(sectors).is_none_or(|last| first > last)
    }

    /// The segments, each with the sector it is for. Only for a bio that [has data](Self::has_data).
    ///
    /// C: `bio_for_each_bvec`.
    #[inline]
    pub fn segments(&self) -> Segments<'_> {
        Segments {
            bio: self,
            // SAFETY: By the type's invariants. A copy is walked: C wants the bio as it was.
            iter: unsafe { (*self.as_raw()).bi_iter },
        }
    }

    /// Counts it in the statistics of the disk, if they are on.
    #[inline]
    pub fn start_accounting(&self) -> Option<Accounting> {
        // SAFETY: By the type's invariants the bio has a device, whose queue is valid.
        if !unsafe { counts_io((*(*(*self.as_raw()).bi_bdev).bd_disk).queue) } {
            return None;
        }
        // SAFETY: By the type's invariants.
        Some(Accounting(unsafe {
            bindings::bio_start_io_acct(self.as_raw())
        }))
    }

    /// Ends what [`start_accounting`](Self::start_accounting) began.
    ///
    /// C: `bio_end_io_acct`.
    #[inline]
    pub fn end_accounting(&self, accounting: Option<Accounting>) {
        if let Some(Accounting(start)) = accounting {
            let bio = self.as_raw();

            // SAFETY: By the type's invariants.
            unsafe { bindings::bio_end_io_acct_remapped(bio, start, (*bio).bi_bdev) };
        }
    }

    /// Ends it.
    ///
    /// C: `bio_endio`.
    #[inline]
    pub fn end(self, result: Result) {
        let this = ManuallyDrop::new(self);

        if let Err(e) = result {
            // SAFETY: It has no requirements.
            let status = unsafe { bindings::errno_to_blk_status(e.to_errno()) };
            // SAFETY: By the type's invariants.
            unsafe { (*this.as_raw()).bi_status = status };
        }
        // SAFETY: By the type's invariants it has not ended, and we forget it.
        unsafe { bindings::bio_endio(this.as_raw()) };
    }

    /// Gives it to C, which ends it.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut bindings::bio {
        ManuallyDrop::new(self).as_raw()
    }
}

impl Drop for Bio {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants it has not ended. The new owner is the only one, as
        // `self` is not used after.
        unsafe { Self::from_raw(self.bio) }.end(Err(EIO));
    }
}

/// I/O that is being counted.
#[must_use]
pub struct Accounting(c_ulong);

/// The segments of a bio: see [`Bio::segments`].
pub struct Segments<'a> {
    bio: &'a Bio,
    iter: bindings::bvec_iter,
}

impl<'a> Iterator for Segments<'a> {
    type Item = (Sector, Segment<'a>);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        let iter = &mut self.iter;

        if iter.bi_size == 0 {
            return None;
        }
        // SAFETY: `iter` is at a segment, as the bio has data, and bytes are left of it.
        let mut vec = unsafe { *(*self.bio.as_raw()).bi_io_vec.add(iter.bi_idx as usize) };

        vec.bv_offset = vec.bv_offset.wrapping_add(bi_offset(iter));
        vec.bv_len = vec.bv_len.wrapping_sub(bi_offset(iter)).min(iter.bi_size);
        let sector = Sector(iter.bi_sector);

        iter.bi_sector = iter
            .bi_sector
            .wrapping_add(u64::from(vec.bv_len >> SECTOR_SHIFT));
        iter.bi_size -= vec.bv_len;
        iter.bi_idx = iter.bi_idx.wrapping_add(1);
        clear_bi_offset(iter);
        // INVARIANT: The pages of a bio stay valid until it ends.
        Some((
            sector,
            Segment {
                vec,
                _bio: PhantomData,
            },
        ))
    }
}

/// A part of a bio, in physically contiguous pages.
///
/// # Invariants
///
/// The pages of `vec` are valid for `'a`.
pub struct Segment<'a> {
    vec: bindings::bio_vec,
    _bio: PhantomData<&'a ()>,
}

impl Segment<'_> {
    /// The number of bytes.
    #[inline]
    pub fn len(&self) -> u64 {
        u64::from(self.vec.bv_len)
    }

    /// Whether there are no bytes in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.vec.bv_len == 0
    }

    /// Calls `f` with the address and the length of each page's part, until one fails.
    #[inline(always)]
    pub(crate) fn for_each_page(&mut self, mut f: impl FnMut(*mut u8, usize) -> Result) -> Result {
        const PAGE: usize = PAGE_SIZE as usize;
        let mut in_page = self.vec.bv_offset as usize;
        let mut left = self.vec.bv_len as usize;
        // A segment may start behind the first page of its folio.
        let mut page = self.vec.bv_page.wrapping_add(in_page / PAGE);
        in_page %= PAGE;

        while left > 0 {
            let len = left.min(PAGE - in_page);
            // SAFETY: By the type's invariants the page is valid.
            let address = unsafe { bindings::kmap_local_page(page) }.cast::<u8>();
            let result = f(address.wrapping_add(in_page), len);

            // SAFETY: It was mapped above, last.
            unsafe { bindings::kunmap_local(address.cast()) };
            result?;
            left -= len;
            in_page = 0;
            page = page.wrapping_add(1);
        }
        Ok(())
    }
}
