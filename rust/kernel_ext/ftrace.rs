// SPDX-License-Identifier: GPL-2.0

//! Callbacks at the entry of kernel functions.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use crate::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    },
    types::Opaque, //
};

/// Again and again. The kernel complains of a task that sleeps longer at a time.
const FOREVER: Delta = Delta::from_secs(10);

/// The arguments of a function that is being entered.
pub(crate) struct Arguments(*mut bindings::ftrace_regs);

impl Arguments {
    /// The first argument, if it is a pointer or an integer.
    #[inline]
    pub(crate) fn first(&self) -> c_ulong {
        // SAFETY: The registers are those that the callback was given.
        unsafe { bindings::ftrace_regs_get_argument_0(self.0) }
    }

    /// The second argument, if both are pointers or integers.
    #[inline]
    pub(crate) fn second(&self) -> c_ulong {
        // SAFETY: The registers are those that the callback was given.
        unsafe { bindings::ftrace_regs_get_argument_1(self.0) }
    }
}

/// What is called when the function is entered.
///
/// It only looks: it does not redirect the call (no FTRACE_OPS_FL_IPMODIFY), so it gets along with
/// live patches and tracers of the same function.
pub(crate) trait Entry: Sync + 'static {
    /// Called on every CPU at once. May not sleep, nor come to the function that is hooked: ftrace
    /// catches no recursion.
    fn entered(&self, arguments: &Arguments);
}

/// A hook that is in place until it is dropped. If ftrace was shut down after an error meanwhile, it
/// cannot be removed any more, and dropping it never returns.
///
/// # Invariants
///
/// `ops` is registered, and its `private` is `entry`.
#[pin_data(PinnedDrop)]
pub(crate) struct Hook<T: Entry> {
    #[pin]
    ops: Opaque<bindings::ftrace_ops>,
    entry: T,
}

// SAFETY: `struct ftrace_ops` has no owning thread.
unsafe impl<T: Entry + Send> Send for Hook<T> {}

// SAFETY: Through a shared reference only `entry` is reached.
unsafe impl<T: Entry> Sync for Hook<T> {}

impl<T: Entry> Hook<T> {
    /// Hooks the function at `address`. May sleep for long.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no function that can be traced starts there, and what
    /// `register_ftrace_function` returns: `ENODEV` if ftrace was shut down after an error.
    pub(crate) fn new(address: c_ulong, entry: T) -> impl PinInit<Self, Error> {
        try_pin_init!(&this in Self {
            entry,
            ops <- Opaque::try_ffi_init(move |ops: *mut bindings::ftrace_ops| {
                // SAFETY: `ops` is valid for writes; `entry` is initialised and pinned.
                unsafe {
                    ops.write(bindings::ftrace_ops {
                        func: Some(Self::func_callback),
                        private: (&raw mut (*this.as_ptr()).entry).cast(),
                        ..pin_init::zeroed()
                    })
                };
                // SAFETY: `ops` is set up; kernel/trace/ftrace.c: ftrace_set_filter_ip initialises
                // the hashes.
                to_result(unsafe { bindings::ftrace_set_filter_ip(ops, address, 0, 0) })?;
                // SAFETY: `ops` is pinned until it is unregistered.
                to_result(unsafe { bindings::register_ftrace_function(ops) }).inspect_err(|_| {
                    // SAFETY: It is not registered.
                    unsafe { bindings::ftrace_free_filter(ops) };
                })
            }),
        })
    }

    /// # Safety
    ///
    /// Called by ftrace for our `ops`, while they are registered.
    unsafe extern "C" fn func_callback(
        _ip: c_ulong,
        _parent_ip: c_ulong,
        ops: *mut bindings::ftrace_ops,
        fregs: *mut bindings::ftrace_regs,
    ) {
        // SAFETY: By this function's requirements `private` is what `new` set.
        let entry = unsafe { &*(*ops).private.cast::<T>() };

        entry.entered(&Arguments(fregs));
    }
}

#[pinned_drop]
impl<T: Entry> PinnedDrop for Hook<T> {
    fn drop(self: Pin<&mut Self>) {
        let ops = self.ops.get();

        // kernel/trace/ftrace.c: ftrace_shutdown waits (synchronize_rcu_tasks) until no CPU is in
        // the callback.
        //
        // SAFETY: By the type's invariants it is registered.
        if to_result(unsafe { bindings::unregister_ftrace_function(ops) }).is_err() {
            pr_err!(
                "ftrace was shut down, and goes on to call its hook: unloading waits for a reboot\n"
            );
            // What is called must not be freed, neither `self` nor the code.
            loop {
                fsleep(FOREVER);
            }
        }
        // SAFETY: It is not registered any more.
        unsafe { bindings::ftrace_free_filter(ops) };
    }
}
