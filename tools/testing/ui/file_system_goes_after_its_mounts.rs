// error: E0597
// SPDX-License-Identifier: GPL-2.0

//! The type of a file system that is mounted does not go.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel::{
    prelude::*,
    sync::Arc, //
};
use kernel_ext::fs::pseudo::{
    FileSystemType,
    Mount, //
};

fn mount() -> Result<Arc<Mount>> {
    let fs = FileSystemType::new(c"ui");

    Mount::new(&fs)
}
