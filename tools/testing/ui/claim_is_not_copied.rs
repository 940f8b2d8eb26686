// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! Each claim is one that was made.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::Claim;

fn copy(_: impl Clone) {}

fn twice(claim: Claim) {
    copy(claim);
}
