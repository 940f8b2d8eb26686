// SPDX-License-Identifier: GPL-2.0

//! As much of the crate kernel as `dirty.rs` needs on the build host: tools/testing/host.

pub mod prelude {
    /// Something failed.
    #[derive(Debug)]
    pub struct Error;

    impl From<core::num::TryFromIntError> for Error {
        fn from(_: core::num::TryFromIntError) -> Self {
            Self
        }
    }

    pub type Result<T = ()> = core::result::Result<T, Error>;

    /// How to allocate, which is all the same here.
    pub struct Flags;

    pub const GFP_KERNEL: Flags = Flags;

    /// A vector that says so if there is no memory.
    pub struct KVVec<T>(Vec<T>);

    impl<T> KVVec<T> {
        pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self> {
            Ok(Self(Vec::with_capacity(capacity)))
        }

        pub fn push(&mut self, item: T, _: Flags) -> Result {
            self.0.push(item);
            Ok(())
        }
    }

    impl<T> core::ops::Deref for KVVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }
}
