// error: E0423
// SPDX-License-Identifier: GPL-2.0

//! That a disk was removed is known only from removing it.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::disk::{
    Operations,
    Registration,
    Removed, //
};

fn pretend<T: Operations>(disk: Registration<T>) -> Removed<T> {
    Removed(disk)
}
