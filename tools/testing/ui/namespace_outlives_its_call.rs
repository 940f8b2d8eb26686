// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! A namespace is borrowed from the bus, which has it locked.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::nvdimm::Namespace;

fn keep(namespace: Namespace<'_>) -> Namespace<'static> {
    namespace
}
