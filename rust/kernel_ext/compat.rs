// SPDX-License-Identifier: GPL-2.0

//! What differs between the kernel series that this builds for: 7.2 and 7.3.
//!
//! All else is written for the newest of them. What an older one lacks, or has under another name, is
//! here, under the name that it has in the newest; what differs of C is in `rust/helpers/compat.h`. No
//! other file asks for a series. The cfg `kernel_7_3` holds from 7.3 on: Kbuild sets it, by the version
//! of the kernel that is built for.
//!
//! `Documentation/kernels.rst` says how a series comes and goes.

use crate::bindings;
#[cfg(not(kernel_7_3))]
use kernel::prelude::*;

// The kernel crate of 7.2 has 39 of the errors, and not these.
// When 7.2 goes: delete this and all imports of it, as kernel::prelude has them.
#[cfg(kernel_7_3)]
pub use kernel::error::code::{
    ENAMETOOLONG,
    ENOTUNIQ,
    EOPNOTSUPP, //
};

/// Declares an error, as `kernel::error::code` does, whose macro is its own.
#[cfg(not(kernel_7_3))]
macro_rules! declare_err {
    ($err:ident, $doc:literal) => {
        #[doc = $doc]
        // SAFETY: An `Error` is the number, negative, and nothing else, in each 7.2
        // (rust/kernel/error.rs: Error), so it has the number's layout, as it has its size. The
        // number is one of the errors (include/linux/err.h: MAX_ERRNO).
        pub const $err: Error =
            unsafe { core::mem::transmute::<i32, Error>(-(bindings::$err as i32)) };
    };
}

#[cfg(not(kernel_7_3))]
declare_err!(ENAMETOOLONG, "File name too long.");
#[cfg(not(kernel_7_3))]
declare_err!(ENOTUNIQ, "Name not unique on network.");
#[cfg(not(kernel_7_3))]
declare_err!(EOPNOTSUPP, "Operation not supported on transport endpoint.");

// 7.2 has a function for each kind of barrier.
// When 7.2 goes: delete this, and import kernel::sync::barrier instead.
#[cfg(kernel_7_3)]
pub(crate) use kernel::sync::barrier::{
    smp_mb,
    Write, //
};

/// The barrier that orders stores among themselves.
#[cfg(not(kernel_7_3))]
pub(crate) struct Write;

/// Orders stores before it, and those after, as other CPUs see them.
#[cfg(not(kernel_7_3))]
#[inline(always)]
pub(crate) fn smp_mb(_: Write) {
    kernel::sync::barrier::smp_wmb();
}

// 7.2 has no SRCU.
// When 7.2 goes: delete this, with its rows in Documentation/abstractions.rst, and import kernel::sync::srcu.
#[cfg(kernel_7_3)]
pub(crate) use kernel::sync::srcu;

/// Read-copy update whose readers may sleep: as much of `kernel::sync::srcu` as is used.
///
/// C header: [`include/linux/srcu.h`](srctree/include/linux/srcu.h)
#[cfg(not(kernel_7_3))]
pub(crate) mod srcu {
    use crate::bindings;
    use kernel::{
        error::to_result,
        prelude::*,
        types::{
            NotThreadSafe,
            Opaque, //
        },
    };

    /// Creates an initialiser of an [`Srcu`]. The name is that of all of them.
    macro_rules! new_srcu {
        ($name:literal) => {
            $crate::compat::srcu::Srcu::new()
        };
    }
    pub(crate) use new_srcu;

    /// Sleepable read-copy update.
    ///
    /// # Invariants
    ///
    /// `inner` is initialised, and stays where it is until it is dropped.
    #[pin_data(PinnedDrop)]
    pub(crate) struct Srcu {
        #[pin]
        inner: Opaque<bindings::srcu_struct>,
    }

    // SAFETY: kernel/rcu/srcutree.c synchronises all that is done with it, in whatever thread.
    unsafe impl Send for Srcu {}
    // SAFETY: As above.
    unsafe impl Sync for Srcu {}

    impl Srcu {
        pub(crate) fn new() -> impl PinInit<Self, Error> {
            // INVARIANT: It is initialised, and what is pinned stays where it is.
            try_pin_init!(Self {
                inner <- Opaque::try_ffi_init(|srcu: *mut bindings::srcu_struct| {
                    // SAFETY: The memory is valid, and will not move.
                    to_result(unsafe { bindings::init_srcu(srcu) })
                }),
            })
        }

        /// Enters a section that [`synchronize_expedited`](Self::synchronize_expedited) waits for.
        #[inline]
        pub(crate) fn read_lock(&self) -> Guard<'_> {
            // SAFETY: By the type's invariants.
            let index = unsafe { bindings::srcu_read_lock(self.inner.get()) };

            // INVARIANT: It was entered just now, with this index.
            Guard {
                srcu: self,
                index,
                _not_send: NotThreadSafe,
            }
        }

        /// Waits until all sections have ended that there are now.
        pub(crate) fn synchronize_expedited(&self) {
            // SAFETY: By the type's invariants.
            unsafe { bindings::synchronize_srcu_expedited(self.inner.get()) };
        }
    }

    #[pinned_drop]
    impl PinnedDrop for Srcu {
        fn drop(self: Pin<&mut Self>) {
            // A guard that was forgotten is waited for, which is for ever: cleanup_srcu_struct would
            // return, and the memory go, while it counts.
            self.synchronize_expedited();
            // SAFETY: By the type's invariants. Nothing has a guard, as that borrows this, and there
            // are no callbacks, as nothing adds one.
            unsafe { bindings::cleanup_srcu_struct(self.inner.get()) };
        }
    }

    /// A section of a reader, until it is dropped.
    ///
    /// # Invariants
    ///
    /// `srcu` was entered with `index`, by this thread.
    #[must_use = "if unused, the lock will be immediately unlocked"]
    pub(crate) struct Guard<'a> {
        srcu: &'a Srcu,
        index: c_int,
        _not_send: NotThreadSafe,
    }

    impl Drop for Guard<'_> {
        #[inline]
        fn drop(&mut self) {
            // SAFETY: By the type's invariants, and those of `Srcu`. It is left once.
            unsafe { bindings::srcu_read_unlock(self.srcu.inner.get(), self.index) };
        }
    }
}

// The kernel crate of 7.2 has the number of VM_MAYEXEC for it (rust/bindings/bindings_helper.h), by which a
// private mapping of what is not mounted noexec looks like a shared one, and stores to it reach the device.
// When 7.2 goes: delete this, and use that of bindings.
#[cfg(kernel_7_3)]
pub(crate) use crate::bindings::VM_MAYSHARE;
/// Flag of a VMA: it is of a shared mapping, though perhaps of a file that is open for reading only.
#[cfg(not(kernel_7_3))]
pub(crate) const VM_MAYSHARE: bindings::vm_flags_t = 1 << bindings::VMA_MAYSHARE_BIT;

// 7.2 calls the field bi_bvec_done.
// When 7.2 goes: delete these, and use bi_offset where they are called.
/// Returns how many bytes of its segment `iter` is past.
#[inline(always)]
pub(crate) fn bi_offset(iter: &bindings::bvec_iter) -> u32 {
    #[cfg(kernel_7_3)]
    let offset = iter.bi_offset;
    #[cfg(not(kernel_7_3))]
    let offset = iter.bi_bvec_done;

    offset
}

/// Has `iter` start at the first byte of its segment.
#[inline(always)]
pub(crate) fn clear_bi_offset(iter: &mut bindings::bvec_iter) {
    #[cfg(kernel_7_3)]
    let offset = &mut iter.bi_offset;
    #[cfg(not(kernel_7_3))]
    let offset = &mut iter.bi_bvec_done;

    *offset = 0;
}
