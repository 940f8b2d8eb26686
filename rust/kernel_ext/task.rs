// SPDX-License-Identifier: GPL-2.0

//! Processes.
//!
//! C header: [`include/linux/sched.h`](srctree/include/linux/sched.h)

use crate::bindings;
use kernel::{
    current,
    task::Pid, //
};

const NAME_LEN: usize = bindings::TASK_COMM_LEN as usize;

/// What a process was called, to be told later. It may be gone then, and its number another's.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Process {
    id: Pid,
    name: [u8; NAME_LEN],
}

/// The number of the thread that runs, which no other has as long as it does. It is not 0.
#[inline]
pub fn current_thread() -> Pid {
    current!().pid()
}

impl Process {
    /// The one that runs.
    pub fn current() -> Self {
        let thread = current!();
        let leader = thread.group_leader();
        // SAFETY: The leader is there as long as a thread of its group, which this is. The name may
        // change meanwhile, but stays text of that length (fs/exec.c: __set_task_comm).
        let name = unsafe { (&raw const (*leader.as_ptr()).comm).read_volatile() };

        Self {
            id: leader.pid(),
            name,
        }
    }

    /// Its number, as root sees it.
    pub fn id(&self) -> Pid {
        self.id
    }

    /// Its name, as in `/proc/PID/comm`.
    pub fn name(&self) -> &[u8] {
        self.name.split(|c| *c == 0).next().unwrap_or(&[])
    }
}
