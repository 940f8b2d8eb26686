// error: E0505
// SPDX-License-Identifier: GPL-2.0

//! A file is not used after its reference was dropped.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::{
    block::node::OpenNode,
    units::Sector, //
};

fn late(file: OpenNode) -> Sector {
    let node = file.node();

    drop(file);
    node.sectors()
}
