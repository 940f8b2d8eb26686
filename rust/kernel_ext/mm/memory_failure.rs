// SPDX-License-Identifier: GPL-2.0

//! Signals for processes that map a page which was lost.
//!
//! C: mm/memory-failure.c, which keeps `collect_procs` and `kill_procs` to itself.

use crate::{
    bindings,
    fs::pseudo::Inode,
    units::{
        PageOffset,
        PAGE_SHIFT, //
    }, //
};
use core::marker::PhantomData;
use kernel::{
    current,
    prelude::*,
    sync::rcu, //
};

/// What `PR_MCE_KILL_EARLY` leaves.
const EARLY: u32 = bindings::PF_MCE_PROCESS | bindings::PF_MCE_EARLY;

/// Threads of the kernel's, for a process or for none.
const KERNEL: u32 = bindings::PF_KTHREAD | bindings::PF_USER_WORKER;

/// Sends SIGBUS with the address to processes that map `page` of `inode`: with `BUS_MCEERR_AR` to the
/// thread that runs, which ran into the error or made it, and with `BUS_MCEERR_AO` to the threads of
/// other processes that asked for it early. May sleep.
///
/// It counts that a mapping has the page, not that a page table has: it was removed from there. A
/// thread that runs and blocks or ignores the signal is told by the fault when it touches the page,
/// as `force_sig_mceerr` is not exported; nor is `vm.memory_failure_early_kill`, which would be for
/// processes that did not ask.
///
/// C: `collect_procs_file` and `kill_procs`.
pub(crate) fn kill_procs(inode: &Inode, page: PageOffset) {
    let mapped = Mapped::new(inode, page);
    let thread = current!();
    // SAFETY: Nobody else changes those of the task that runs.
    let (own, flags) = unsafe { ((*thread.as_ptr()).mm, (*thread.as_ptr()).flags) };

    if flags & KERNEL != 0 {
        mapped.tell_early(None);
        return;
    }
    if let Some(address) = mapped.address_in(own) {
        // SAFETY: The task runs.
        unsafe { mapped.send(thread.as_ptr(), bindings::BUS_MCEERR_AR, address) };
    }
    mapped.tell_early(Some(own));
}

/// The mappings that have a page, which stay as they are, and so do all tasks.
///
/// # Invariants
///
/// `mapping` is that of an inode that outlives `'a`, and its `i_mmap_rwsem` is held for reading.
struct Mapped<'a> {
    mapping: *mut bindings::address_space,
    page: PageOffset,
    _rcu: rcu::Guard,
    _inode: PhantomData<&'a Inode>,
}

impl<'a> Mapped<'a> {
    fn new(inode: &'a Inode, page: PageOffset) -> Self {
        let mapping = inode.mapping();

        // SAFETY: By the invariants of `Inode` the mapping is valid.
        unsafe { bindings::down_read(&raw mut (*mapping).i_mmap_rwsem) };
        // INVARIANT: The lock was just taken.
        Self {
            mapping,
            page,
            _rcu: rcu::read_lock(),
            _inode: PhantomData,
        }
    }

    /// Where the page is mapped in `mm`: shared, if both, as a private mapping may have a copy there.
    fn address_in(&self, mm: *mut bindings::mm_struct) -> Option<usize> {
        let mut private = None;
        // SAFETY: By the type's invariants the tree does not change.
        let mut next = unsafe {
            bindings::vma_tree_iter_first(&raw mut (*self.mapping).i_mmap, self.page.0, self.page.0)
        };

        while !next.is_null() {
            let vma = next;

            // SAFETY: It is in the tree.
            next = unsafe { bindings::vma_tree_iter_next(vma, self.page.0, self.page.0) };
            // SAFETY: As above. The field never changes.
            if unsafe { (*vma).vm_mm } != mm {
                continue;
            }
            // SAFETY: As above. Who moves an end of it has the lock of the tree (mm/vma.c:
            // vma_prepare).
            let (start, first) = unsafe {
                (
                    (*vma).__bindgen_anon_1.__bindgen_anon_1.vm_start,
                    (*vma).vm_pgoff,
                )
            };
            let address = start.wrapping_add(self.page.0.wrapping_sub(first) << PAGE_SHIFT);

            // SAFETY: As above. This flag never changes.
            if unsafe { (*vma).__bindgen_anon_2.vm_flags } & bindings::VM_SHARED != 0 {
                return Some(address);
            }
            private = private.or(Some(address));
        }
        private
    }

    /// Tells those that asked for it early, but for processes that use `not`.
    fn tell_early(&self, not: Option<*mut bindings::mm_struct>) {
        let idle = &raw mut bindings::init_task;
        // SAFETY: The list of all processes starts and ends with that of the idle task.
        let mut next = unsafe { bindings::next_task(idle) };

        while next != idle {
            let leader = next;

            // SAFETY: As above. By the type's invariants a task stays valid.
            next = unsafe { bindings::next_task(leader) };
            // SAFETY: As above.
            let Some((thread, mm)) = (unsafe { Self::early_thread(leader) }) else {
                continue;
            };
            if not == Some(mm) {
                continue;
            }
            // Only here, so that the search is not one for each process.
            if let Some(address) = self.address_in(mm) {
                // SAFETY: As above.
                unsafe { self.send(thread, bindings::BUS_MCEERR_AO, address) };
            }
        }
    }

    /// The first thread of a process that is to be told early, and its memory.
    ///
    /// C: `find_early_kill_thread`.
    ///
    /// # Safety
    ///
    /// `leader` is that of a process, and tasks stay valid.
    unsafe fn early_thread(
        leader: *mut bindings::task_struct,
    ) -> Option<(*mut bindings::task_struct, *mut bindings::mm_struct)> {
        let mut thread = leader;

        while !thread.is_null() {
            // SAFETY: By this function's requirements it is valid. Others change them.
            let (flags, mm) = unsafe {
                (
                    (&raw const (*thread).flags).read_volatile(),
                    (&raw const (*thread).mm).read_volatile(),
                )
            };

            if flags & EARLY == EARLY && flags & KERNEL == 0 && !mm.is_null() {
                return Some((thread, mm));
            }
            // SAFETY: As above.
            thread = unsafe { bindings::__next_thread(thread) };
        }
        None
    }

    /// # Safety
    ///
    /// `thread` is a task that is still there.
    unsafe fn send(&self, thread: *mut bindings::task_struct, code: u32, address: usize) {
        // One that ends meanwhile need not be told.
        //
        // SAFETY: By this function's requirements. kernel/signal.c: send_sig_info does not sleep, and
        // leaves alone who has ended.
        unsafe {
            bindings::send_sig_mceerr(
                code as c_int,
                address as *mut c_void,
                PAGE_SHIFT as c_short,
                thread,
            )
        };
    }
}

impl Drop for Mapped<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants it is held.
        unsafe { bindings::up_read(&raw mut (*self.mapping).i_mmap_rwsem) };
    }
}
