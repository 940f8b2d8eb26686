// error: E0505
// SPDX-License-Identifier: GPL-2.0

//! A transfer is counted in a device that is open.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::OpenNode;

fn late(file: OpenNode) {
    let node = file.node();
    let accounting = node.account(true);

    drop(file);
    drop(accounting);
}
