// SPDX-License-Identifier: GPL-2.0

//! The module that this crate is linked into.

use crate::bindings;

/// `THIS_MODULE` of the module that this crate is part of.
///
/// It is what C's `owner` fields want: a C structure that names its owner cannot outlive the code
/// it points to.
pub(crate) const THIS_MODULE: *mut bindings::module =
    (&raw const bindings::__this_module).cast_mut();

/// A reference to the module, which keeps its code in memory.
///
/// # Invariants
///
/// The holder owns one reference of [`THIS_MODULE`].
pub(crate) struct ModuleRef(());

impl ModuleRef {
    /// Takes a reference, or `None` if the module is being unloaded.
    pub(crate) fn try_get() -> Option<Self> {
        // SAFETY: `THIS_MODULE` is a valid module while code of it runs.
        if !unsafe { bindings::try_module_get(THIS_MODULE) } {
            return None;
        }
        // INVARIANT: The reference was just taken.
        Some(Self(()))
    }

    /// Leaves the reference to someone who will drop it with `module_put`.
    pub(crate) fn into_raw(self) {
        core::mem::forget(self);
    }
}

impl Drop for ModuleRef {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::module_put(THIS_MODULE) };
    }
}
