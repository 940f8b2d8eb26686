// SPDX-License-Identifier: GPL-2.0

//! Limits on how often something is logged.
//!
//! C header: [`include/linux/ratelimit.h`](srctree/include/linux/ratelimit.h)

use crate::bindings;
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// Lets ten messages pass in five seconds.
#[pin_data]
pub struct RateLimit {
    #[pin]
    state: Opaque<bindings::ratelimit_state>,
}

// SAFETY: lib/ratelimit.c guards the state by its own lock.
unsafe impl Send for RateLimit {}

// SAFETY: lib/ratelimit.c guards the state by its own lock.
unsafe impl Sync for RateLimit {}

impl RateLimit {
    /// A limit of which nothing is used up.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `state` is valid for writes, and pinned.
            state <- Opaque::ffi_init(|state| unsafe {
                bindings::ratelimit_default_init(state)
            }),
        })
    }

    /// Whether a message may be logged now. What was held back is counted in the log by C.
    pub fn allows(&self) -> bool {
        // SAFETY: The state was initialised; the name ends with a NUL.
        unsafe { bindings::___ratelimit(self.state.get(), c"pmem_dax".as_char_ptr()) != 0 }
    }
}
