// SPDX-License-Identifier: GPL-2.0

//! Callbacks at the entry of kernel functions.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use crate::{
    bindings,
    compat::ENOTUNIQ, //
};
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

    /// The third argument, if all up to it are pointers or integers.
    #[inline]
    pub(crate) fn third(&self) -> c_ulong {
        // SAFETY: The registers are those that the callback was given.
        unsafe { bindings::ftrace_regs_get_argument_2(self.0) }
    }

    /// The fifth argument, if all up to it are pointers or integers.
    #[inline]
    pub(crate) fn fifth(&self) -> c_ulong {
        // SAFETY: The registers are those that the callback was given.
        unsafe { bindings::ftrace_regs_get_argument_4(self.0) }
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

/// Has `ops` called for the one function of the kernel itself that has this name.
///
/// ftrace looks for names in modules too, where a function of this name would have other arguments.
///
/// # Errors
///
/// `EINVAL` if there is no function of this name that can be traced, or none of the kernel itself;
/// `ENOTUNIQ` if the kernel itself has several; `ENODEV` if ftrace was shut down after an error.
///
/// # Safety
///
/// `ops` is valid, not registered, and used by no one else.
unsafe fn select(ops: *mut bindings::ftrace_ops, name: &CStr) -> Result {
    let mut pattern = KVec::new();

    // C may change it.
    pattern.extend_from_slice(name.to_bytes_with_nul(), GFP_KERNEL)?;
    // SAFETY: By this function's requirements; kernel/trace/ftrace.c: ftrace_set_filter initialises
    // the hashes. The pattern ends with a NUL.
    to_result(unsafe {
        bindings::ftrace_set_filter(ops, pattern.as_mut_ptr(), name.to_bytes().len() as c_int, 0)
    })?;
    // SAFETY: By this function's requirements; the hashes were initialised.
    let address = unsafe { only_address(ops, name) }?;

    // SAFETY: As above.
    to_result(unsafe { bindings::ftrace_set_filter_ip(ops, address, 0, 1) })
}

/// The address of the function of the kernel itself that has this name, of those in the filter.
///
/// # Safety
///
/// The filter of `ops` was set, and nobody changes it.
unsafe fn only_address(ops: *mut bindings::ftrace_ops, name: &CStr) -> Result<c_ulong> {
    // SAFETY: By this function's requirements.
    let hash = unsafe { (*(*ops).func_hash).filter_hash }.cast::<bindings::ftrace_hash>();
    // SAFETY: As above.
    let (buckets, size_bits) = unsafe { ((*hash).buckets, (*hash).size_bits) };
    let mut found = None;

    for i in 0..1_usize << size_bits {
        // SAFETY: kernel/trace/ftrace.c: alloc_ftrace_hash made so many.
        let mut node = unsafe { (*buckets.add(i)).first };

        while !node.is_null() {
            // SAFETY: kernel/trace/ftrace.c: __add_hash_entry puts the first member of an entry on
            // the list.
            let address = unsafe { (*node.cast::<bindings::ftrace_func_entry>()).ip };

            if is_called(address, name) && found.replace(address).is_some() {
                return Err(ENOTUNIQ);
            }
            // SAFETY: It is on the list, which nobody changes.
            node = unsafe { (*node).next };
        }
    }
    found.ok_or(EINVAL)
}

/// Whether the function at `address` has this name, and is not one of a module.
fn is_called(address: c_ulong, name: &CStr) -> bool {
    let mut symbol = [0; bindings::KSYM_SYMBOL_LEN as usize];

    // SAFETY: kernel/kallsyms.c: __sprint_symbol writes no more than KSYM_SYMBOL_LEN bytes, with a
    // NUL. The name of a module follows that of its function.
    unsafe { bindings::sprint_symbol_no_offset(symbol.as_mut_ptr(), address) };
    // SAFETY: As above.
    let symbol = unsafe { CStr::from_char_ptr(symbol.as_ptr()) };

    symbol == name
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
    /// Hooks the function of the kernel itself that is called `name`. May sleep for long.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such function that can be traced, `ENOTUNIQ` if there are several,
    /// and what `register_ftrace_function` returns: `ENODEV` if ftrace was shut down after an error.
    pub(crate) fn new(name: &'static CStr, entry: T) -> impl PinInit<Self, Error> {
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
                // SAFETY: `ops` is set up, and new.
                unsafe { select(ops, name) }
                    .and_then(|()| {
                        // SAFETY: `ops` is pinned until it is unregistered.
                        to_result(unsafe { bindings::register_ftrace_function(ops) })
                    })
                    .inspect_err(|_| {
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
