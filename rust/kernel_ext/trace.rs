// SPDX-License-Identifier: GPL-2.0

//! Trace events of a DAX disk.
//!
//! Where nobody enabled an event there is one instruction for it in the path, which does nothing:
//! the kernel makes it a jump when somebody does. What it tells is looked up behind that.
//!
//! C header: `rust/helpers/trace.h`

use crate::{
    bindings,
    mm::fault::{
        Fault,
        Outcome, //
    },
    units::{
        ByteRange,
        Order, //
    },
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// Whether somebody enabled the event. `kernel::declare_trace!` looks for it in the bindings of
/// the kernel crate only.
macro_rules! is_enabled {
    ($tracepoint:ident) => {{
        // SAFETY: include/linux/tracepoint.h: DEFINE_TRACE makes it, with a real static key.
        unsafe {
            kernel::jump_label::static_branch_unlikely!(
                bindings::$tracepoint,
                bindings::tracepoint,
                key
            )
        }
    }};
}

/// Why a fault does not map what it is for.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Refusal {
    /// The block is not wholly in the mapping.
    Outside = bindings::pmem_fault_refusal_PMEM_REFUSED_OUTSIDE,
    /// A private mapping has no such blocks.
    Private = bindings::pmem_fault_refusal_PMEM_REFUSED_PRIVATE,
    /// The device has no blocks of that order.
    Order = bindings::pmem_fault_refusal_PMEM_REFUSED_ORDER,
    /// The device was removed.
    Removed = bindings::pmem_fault_refusal_PMEM_REFUSED_REMOVED,
    /// It goes past the end of the node.
    End = bindings::pmem_fault_refusal_PMEM_REFUSED_END,
    /// The disk is read-only, and the mapping is for stores.
    ReadOnly = bindings::pmem_fault_refusal_PMEM_REFUSED_READ_ONLY,
    /// The memory is not aligned as the addresses are.
    Unaligned = bindings::pmem_fault_refusal_PMEM_REFUSED_UNALIGNED,
    /// What is stored to it is to be tracked by pages.
    Sparse = bindings::pmem_fault_refusal_PMEM_REFUSED_SPARSE,
    /// userfaultfd(2) watches stores to the mapping, page by page.
    Watched = bindings::pmem_fault_refusal_PMEM_REFUSED_WATCHED,
    /// Some of it is bad.
    Poison = bindings::pmem_fault_refusal_PMEM_REFUSED_POISON,
    /// fs/dax.c refused it, which has events of its own.
    Entries = bindings::pmem_fault_refusal_PMEM_REFUSED_ENTRIES,
}

/// A fault of `order` was handled.
///
/// # Safety
///
/// `vmf` is that of the fault, whose VMA is still locked; what `disk_name` returns is a string that
/// ends with a NUL, and valid meanwhile.
#[inline(always)]
pub(crate) unsafe fn fault(
    vmf: NonNull<bindings::vm_fault>,
    order: Order,
    outcome: Outcome,
    disk_name: impl FnOnce() -> *const c_char,
) {
    if is_enabled!(__tracepoint_pmem_fault) {
        // SAFETY: By this function's requirements; C reads what is pointed to.
        unsafe {
            bindings::rust_do_trace_pmem_fault(disk_name(), vmf.as_ptr(), order.order(), outcome.0)
        };
    }
}

/// A fault does not map what it is for: with a large page smaller ones are tried, with one of
/// 4 KiB it is SIGBUS.
#[inline(always)]
pub fn fault_refused(disk: &CStr, fault: &Fault<'_>, reason: Refusal) {
    if is_enabled!(__tracepoint_pmem_fault_refused) {
        // SAFETY: By the invariants of `Fault` it is valid; C reads it and the string, which ends
        // with a NUL.
        unsafe {
            bindings::rust_do_trace_pmem_fault_refused(
                disk.as_char_ptr(),
                fault.as_raw(),
                fault.order().order(),
                reason as u32,
            )
        };
    }
}

/// CPU caches of `range` were written back.
#[inline(always)]
pub fn write_back(disk: &CStr, range: ByteRange) {
    if is_enabled!(__tracepoint_pmem_write_back) {
        // SAFETY: C reads the string, which ends with a NUL.
        unsafe {
            bindings::rust_do_trace_pmem_write_back(disk.as_char_ptr(), range.start(), range.len())
        };
    }
}

/// The region was flushed, with that `result` of `nvdimm_flush`. `disk` is asked for the name only if
/// somebody wants it.
#[inline(always)]
pub(crate) fn flush<'a>(disk: impl FnOnce() -> &'a CStr, result: c_int) {
    if is_enabled!(__tracepoint_pmem_flush) {
        // SAFETY: C reads the string, which ends with a NUL.
        unsafe { bindings::rust_do_trace_pmem_flush(disk().as_char_ptr(), result) };
    }
}

/// Whether [`poison_set`] tells anybody, for who has to look for what to tell.
#[inline(always)]
pub fn poison_set_is_enabled() -> bool {
    is_enabled!(__tracepoint_pmem_poison_set)
}

/// `range` is known to be bad.
#[inline(always)]
pub fn poison_set(disk: &CStr, range: ByteRange) {
    if is_enabled!(__tracepoint_pmem_poison_set) {
        // SAFETY: C reads the string, which ends with a NUL.
        unsafe {
            bindings::rust_do_trace_pmem_poison_set(disk.as_char_ptr(), range.start(), range.len())
        };
    }
}

/// `range` was made good.
#[inline(always)]
pub fn poison_clear(disk: &CStr, range: ByteRange) {
    if is_enabled!(__tracepoint_pmem_poison_clear) {
        // SAFETY: C reads the string, which ends with a NUL.
        unsafe {
            bindings::rust_do_trace_pmem_poison_clear(
                disk.as_char_ptr(),
                range.start(),
                range.len(),
            )
        };
    }
}
