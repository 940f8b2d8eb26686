// error: E0624
// SPDX-License-Identifier: GPL-2.0

//! Which memory gets pages, the namespace says.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::mm::memremap::Span;

fn pretend() {
    let _ = Span::new(Default::default(), 0, None);
}
