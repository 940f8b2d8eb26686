// error: E0277
// SPDX-License-Identifier: GPL-2.0

//! A borrowed file is that of the call; another thread needs a reference.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::Node;

fn send(_: impl Send) {}

fn hand_over(node: Node<'_>) {
    send(node);
}
