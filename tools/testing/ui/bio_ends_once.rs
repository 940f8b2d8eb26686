// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! A bio ends once.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::bio::Bio;

fn twice(bio: Bio) {
    bio.end(Ok(()));
    bio.end(Ok(()));
}
