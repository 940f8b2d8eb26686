// SPDX-License-Identifier: GPL-2.0

//! Which node of a disk a task is opening.
//!
//! The block layer asks the disk whether it may be opened, whatever partition is, and does not say which
//! (`block_device_operations.open`). A [`Hook`](crate::block::node::Hook) sees the same open before, in
//! the same task.

use core::{
    ptr,
    sync::atomic::{
        AtomicU64,
        Ordering, //
    },
};
use kernel::{
    current,
    task::Task, //
};

const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 6;

/// By the task, of which each is the address with the number of the partition below; 0 if there is none.
///
/// Tasks that meet in one forget each other's: then it is not known.
static OPENINGS: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

/// The slot of the task that runs, and what it has there for the whole disk.
fn slot() -> (&'static AtomicU64, u64) {
    let task = ptr::from_ref::<Task>(current!()).addr() as u64;
    // As include/linux/hash.h: hash_64.
    let hash = task.wrapping_mul(0x61c8_8646_80b5_83eb) >> (u64::BITS - SLOT_BITS);

    // The highest bits are the same for all addresses of the kernel.
    (&OPENINGS[hash as usize % SLOTS], task << 8)
}

/// Remembers that the task that runs is about to open that partition, 0 for the whole disk.
pub(crate) fn note_partition(partition: u8) {
    let (slot, task) = slot();

    slot.store(task | u64::from(partition), Ordering::Relaxed);
}

/// The partition that the task that runs is opening; `None` if it is not known. It is forgotten by that.
pub(crate) fn take_partition() -> Option<u8> {
    let (slot, task) = slot();
    let noted = slot.load(Ordering::Relaxed);

    // If another task comes between, it is that one's.
    if noted & !0xff == task
        && slot
            .compare_exchange(noted, 0, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        return Some(noted as u8);
    }
    None
}
