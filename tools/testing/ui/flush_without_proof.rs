// error: E0061
// SPDX-License-Identifier: GPL-2.0

//! A region is flushed only while the device is there, and so the region bound.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use kernel_ext::nvdimm::Region;

fn flush(region: &Region) {
    let _ = region.flush();
}
