// SPDX-License-Identifier: GPL-2.0

//! What was mapped, and so may be pinned still by those who do not map it any more.
//!
//! The kernel does not know who pins a page, but to be pinned it has to be mapped. So what nobody mapped
//! since it was last found idle need not be looked at.

use core::sync::atomic::{
    AtomicU64,
    Ordering, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use kernel_ext::units::ByteRange;

/// The bytes of the disk that were mapped since they were last found idle, for each partition by whose
/// node they were.
#[pin_data]
pub(crate) struct Lent {
    // One for each number, in the order in which they came.
    #[pin]
    parts: Mutex<KVec<Part>>,
    // A bit for each number that is in `parts`, so that all mappings but the first need no lock. A
    // number is taken out only when nothing of its partition is mapped.
    known: [AtomicU64; 4],
}

#[derive(Clone, Copy)]
struct Part {
    partition: u8,
    range: ByteRange,
}

impl Lent {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            parts <- new_mutex!(KVec::new(), "pmem_dax lent"),
            known: [const { AtomicU64::new(0) }; 4],
        })
    }

    /// The word of `known` with the bit of a partition, and the bit.
    #[inline]
    fn known(&self, partition: u8) -> Option<(&AtomicU64, u64)> {
        Some((
            self.known.get(usize::from(partition / 64))?,
            1 << (partition % 64),
        ))
    }

    /// Adds the bytes of the node of `partition`, which is being mapped.
    ///
    /// The mapping has its claim already, as [`settle`](Self::settle) may forget what was there before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[inline]
    pub(crate) fn add(&self, partition: u8, range: ByteRange) -> Result {
        match self.known(partition) {
            Some((word, bit)) if word.load(Ordering::Acquire) & bit != 0 => Ok(()),
            _ => self.add_first(partition, range),
        }
    }

    #[cold]
    fn add_first(&self, partition: u8, range: ByteRange) -> Result {
        let mut parts = self.parts.lock();

        match parts.iter_mut().find(|part| part.partition == partition) {
            Some(part) => part.range = part.range.hull(range),
            None => parts.push(Part { partition, range }, GFP_KERNEL)?,
        }
        if let Some((word, bit)) = self.known(partition) {
            word.fetch_or(bit, Ordering::Release);
        }
        Ok(())
    }

    /// Forgets where partitions are, as what is mapped by the node of one may be others' bytes soon.
    pub(crate) fn widen(&self, all: ByteRange) {
        for part in self.parts.lock().iter_mut() {
            part.range = all;
        }
    }

    /// Looks whether what was mapped of `range` is idle, as `look` tells, which is called with a part of it.
    ///
    /// Nothing of `range` is mapped meanwhile, nor is this called twice at once.
    ///
    /// # Errors
    ///
    /// What `look` returned.
    pub(crate) fn settle(
        &self,
        range: ByteRange,
        mut look: impl FnMut(ByteRange) -> Result,
    ) -> Result {
        let mut index = 0;

        // Not with the lock held, for which others wait who map something else.
        loop {
            let Some(part) = self.parts.lock().get(index).copied() else {
                break;
            };
            let common = part.range.from(range.start()).before(range.end());

            if !common.is_empty() {
                look(common)?;
            }
            index += 1;
        }
        self.parts.lock().retain(|part| {
            let stays = part.range.start() < range.start() || part.range.end() > range.end();

            if !stays {
                if let Some((word, bit)) = self.known(part.partition) {
                    word.fetch_and(!bit, Ordering::Relaxed);
                }
            }
            stays
        });
        Ok(())
    }
}
