// error: E0382
// SPDX-License-Identifier: GPL-2.0

//! The reference of a backing file is dropped once.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::fs::pseudo::BackingFile;

fn twice(file: BackingFile) {
    drop(file);
    drop(file);
}
