// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! A device is let go of once.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::Claim;

fn twice(claim: Claim) {
    drop(claim);
    drop(claim);
}
