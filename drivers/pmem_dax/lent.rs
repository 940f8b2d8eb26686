// SPDX-License-Identifier: GPL-2.0

//! What was mapped, and so may be pinned still by those who do not map it any more.
//!
//! The kernel does not know who pins a page, but to be pinned it has to be mapped. So what nobody mapped
//! since it was last found idle need not be looked at.

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
        })
    }

    /// Adds the bytes of the node of `partition`, which is being mapped.
    ///
    /// The mapping has its claim already, as [`settle`](Self::settle) may forget what was there before.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add(&self, partition: u8, range: ByteRange) -> Result {
        let mut parts = self.parts.lock();

        match parts.iter_mut().find(|part| part.partition == partition) {
            Some(part) => part.range = part.range.hull(range),
            None => parts.push(Part { partition, range }, GFP_KERNEL)?,
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
        self.parts
            .lock()
            .retain(|part| part.range.start() < range.start() || part.range.end() > range.end());
        Ok(())
    }
}
