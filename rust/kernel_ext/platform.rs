// SPDX-License-Identifier: GPL-2.0

//! Properties of the machine.
//!
//! C header: [`include/linux/cc_platform.h`](srctree/include/linux/cc_platform.h),
//! [`include/linux/kernel.h`](srctree/include/linux/kernel.h)

use crate::bindings;

/// Whether the host encrypts its memory, and with it every mapping of a device that does not ask
/// for the contrary.
///
/// C: `cc_platform_has(CC_ATTR_HOST_MEM_ENCRYPT)`.
pub fn encrypts_memory() -> bool {
    // SAFETY: It has no requirements.
    unsafe { bindings::cc_platform_has(bindings::cc_attr_CC_ATTR_HOST_MEM_ENCRYPT) }
}

/// Returns whether the machine is being halted, switched off, reset, or replaced by kexec. The lock
/// of each device is waited for then (drivers/base/core.c: device_shutdown). Sleep does not count.
///
/// C: `system_state`.
pub fn is_ending() -> bool {
    // SAFETY: It is never written by Rust; kernel/reboot.c changes it at any time.
    let state = unsafe { (&raw const bindings::system_state).read_volatile() };

    matches!(
        state,
        bindings::system_states_SYSTEM_HALT
            | bindings::system_states_SYSTEM_POWER_OFF
            | bindings::system_states_SYSTEM_RESTART
    )
}
