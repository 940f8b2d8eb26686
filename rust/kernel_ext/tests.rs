// SPDX-License-Identifier: GPL-2.0

//! KUnit tests of what needs a kernel, but no device. What needs none is tested on the host
//! (`tools/testing/unit`), what needs a device by the selftests.
//!
//! Kernels with KUnit run them whenever the module is loaded; kunit.ko has to be there before.
//! (`#[kunit_tests]` wants KUnit to be built in.)

use crate::{
    badblocks::Badblocks,
    block::disk::{
        Major,
        Minors,
        MAX_DISKS, //
    },
    ratelimit::RateLimit,
    units::{
        ByteRange,
        Sector,
        SECTOR_SIZE, //
    }, //
};
use kernel::{
    bindings,
    kunit::kunit_case,
    prelude::*, //
};

/// The test that runs fails, and ends, unless `condition` is true.
macro_rules! expect {
    ($condition:expr) => {
        kernel::kunit_assert!("kernel_ext", c"rust/kernel_ext/tests.rs", 0, $condition)
    };
}

/// What `badblocks` does, done to a flag for each sector, in as simple a way as there is.
struct Model([bool; Self::SECTORS as usize]);

impl Model {
    const SECTORS: u64 = 256;

    fn write(&mut self, range: ByteRange, bad: bool) {
        for (sector, is_bad) in self.0.iter_mut().enumerate() {
            let start = sector as u64 * SECTOR_SIZE;

            if start < range.end() && start + SECTOR_SIZE > range.start() {
                *is_bad = bad;
            }
        }
    }

    fn first_in(&self, range: ByteRange) -> Option<Sector> {
        let first = range.start() / SECTOR_SIZE;
        let end = range.end().div_ceil(SECTOR_SIZE);

        (first..end)
            .find(|sector| self.0.get(*sector as usize) == Some(&true))
            .map(Sector)
    }
}

/// Numbers that look like chance, always the same ones.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    /// Any bytes of the model, not empty, short ones more often.
    fn range(&mut self) -> Option<ByteRange> {
        let bytes = Model::SECTORS * SECTOR_SIZE;
        let start = self.below(bytes);
        let most = (bytes - start).min([16, 600, 5000, bytes][self.below(4) as usize & 3]);

        ByteRange::new(start, 1 + self.below(most))
    }
}

/// Whatever bytes are set, cleared and looked at, sectors are what becomes bad and good.
fn badblocks() -> Result {
    let bad = KBox::pin_init(Badblocks::new(), GFP_KERNEL)?;
    let bad = bad.as_ref().get_ref();
    let mut model = Model([false; Model::SECTORS as usize]);
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);

    for _ in 0..3000 {
        let range = numbers.range().ok_or(EINVAL)?;

        match numbers.below(3) {
            0 => {
                bad.set(range)?;
                model.write(range, true);
            }
            1 => {
                bad.clear(range)?;
                model.write(range, false);
            }
            _ => expect!(bad.first_in(range) == model.first_in(range)),
        }
        expect!(bad.is_empty() == !model.0.contains(&true));
    }
    Ok(())
}

/// A range may be as long as any device: block/badblocks.c goes round for ever beyond a TiB.
fn long_ranges() -> Result {
    const TIB: u64 = 1 << 40;

    let bad = KBox::pin_init(Badblocks::new(), GFP_KERNEL)?;
    let bad = bad.as_ref().get_ref();
    let first_in = |start, len| bad.first_in(ByteRange::new(start, len)?);
    let there = 7 * TIB / 2;
    let sector = Some(Sector(there / SECTOR_SIZE));

    bad.set(ByteRange::new(there, 1).ok_or(EINVAL)?)?;
    for halves in 1..12 {
        let len = halves * TIB / 2;

        expect!(first_in(0, len) == sector.filter(|_| there < len));
        expect!(first_in(there, len) == sector);
        expect!(first_in(there + SECTOR_SIZE, len).is_none());
    }
    Ok(())
}

/// Ten messages pass, and no more.
fn ratelimit() -> Result {
    let limit = KBox::pin_init(RateLimit::new(), GFP_KERNEL)?;
    let passed = (0..1000).filter(|_| limit.allows()).count();

    expect!(passed == 10);
    Ok(())
}

/// Each disk has minors of its own, which are free again when it is gone; there are no more disks
/// than minors.
fn minors() -> Result {
    let major = Major::new(c"kernel_ext_test")?;
    let mut disks = KVec::with_capacity(MAX_DISKS, GFP_KERNEL)?;

    for i in 0..MAX_DISKS {
        let minors = Minors::new(&major)?;

        expect!(minors.first() as usize == i << 8);
        disks.push(minors, GFP_KERNEL)?;
    }
    for _ in 0..3 {
        expect!(Minors::new(&major).is_err());
    }
    drop(disks.remove(7));
    expect!(Minors::new(&major)?.first() == 7 << 8);
    drop(disks);
    expect!(Minors::new(&major)?.first() == 0);
    Ok(())
}

/// Makes a test of a function.
macro_rules! case {
    ($name:literal, $test:ident) => {{
        extern "C" fn run(_test: *mut bindings::kunit) {
            expect!($test().is_ok());
        }

        kunit_case($name, run)
    }};
}

static mut CASES: [bindings::kunit_case; 5] = [
    case!(c"badblocks", badblocks),
    case!(c"long_ranges", long_ranges),
    case!(c"ratelimit", ratelimit),
    case!(c"minors", minors),
    pin_init::zeroed(),
];

kernel::kunit_unsafe_test_suite!(kernel_ext, CASES);
