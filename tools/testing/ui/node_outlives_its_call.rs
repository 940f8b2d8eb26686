// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! Who wants to keep a file takes a reference.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::Node;

fn keep(node: Node<'_>) -> Node<'static> {
    node
}
