// error: lifetime
// SPDX-License-Identifier: GPL-2.0

//! Where to put a mapping is asked under the lock of the mm.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::block::node::AddressRequest;

fn keep(request: AddressRequest<'_>) -> AddressRequest<'static> {
    request
}
