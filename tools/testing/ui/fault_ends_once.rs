// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! What was given to the core to be copied is its affair.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    dax::Block,
    mm::fault::{
        Fault,
        Outcome, //
    },
};

fn twice(fault: Fault<'_>, block: Block<'_>) -> Outcome {
    let _ = fault.copy(block);

    fault.insert(block, true)
}
