// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! Faults come in any thread, so what handles them is one that threads can share.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use core::cell::Cell;
use kernel::prelude::*;
use kernel_ext::{
    fs::pseudo::FileOperations,
    units::ByteRange, //
};

struct Count(Cell<u32>);

impl FileOperations for Count {
    fn sync(&self, _: ByteRange) -> Result {
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}
