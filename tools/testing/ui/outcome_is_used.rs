// error: must_use
// SPDX-License-Identifier: GPL-2.0

//! The core is told how a fault ended.

#![forbid(unsafe_code)]
#![deny(unused_must_use)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::Block,
    mm::fault::Fault, //
};

fn forget(fault: &Fault<'_>, block: Block<'_>) {
    fault.insert(block, false);
}
