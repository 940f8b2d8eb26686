// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! A bio is handled by who submitted it, whose reference keeps the disk.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::bio::Bio;

fn send(_: impl Send) {}

fn hand_over(bio: Bio) {
    send(bio);
}
