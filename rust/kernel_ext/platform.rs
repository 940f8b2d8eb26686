// SPDX-License-Identifier: GPL-2.0

//! Properties of the machine.
//!
//! C header: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h)

use crate::bindings;

/// Whether the host encrypts its memory, and with it every mapping of a device that does not ask
/// for the contrary.
///
/// C: `cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT)`.
pub fn encrypts_memory() -> bool {
    // SAFETY: It has no requirements.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_HOST_MEM_ENCRYPT) }
}
