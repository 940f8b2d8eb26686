// SPDX-License-Identifier: GPL-2.0

//! What `kernel::device` keeps to itself.

use crate::bindings;
use kernel::device::{
    Device,
    DeviceContext, //
};

/// The C form of a device.
pub(crate) fn as_raw<Ctx: DeviceContext>(dev: &Device<Ctx>) -> *mut bindings::device {
    // `Device` is a transparent wrapper of `Opaque<struct device>`.
    core::ptr::from_ref(dev)
        .cast::<bindings::device>()
        .cast_mut()
}
