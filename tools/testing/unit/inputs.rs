// SPDX-License-Identifier: GPL-2.0

//! Inputs that proptest generates for the tests of this directory: tools/testing/host.
//!
//! A crate of its own, as cargo makes it, which finds what proptest consists of.

pub use proptest;

use proptest::prelude::*;

/// So many of them for each test. A failure is told with the smallest input that fails, which goes
/// into a test of its own; there is no file to remember it in.
pub fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Any number, but often a small one, or one beside a power of two or the sum of two of them, where
/// mistakes are.
pub fn edgy() -> impl Strategy<Value = u64> {
    let near =
        || (0..64u32, -2..=2i64).prop_map(|(shift, off)| (1u64 << shift).wrapping_add_signed(off));

    prop_oneof![
        2 => any::<u64>(),
        2 => 0..20_000u64,
        4 => near(),
        2 => (near(), near()).prop_map(|(a, b)| a.wrapping_add(b)),
        1 => (0..4u64).prop_map(|back| u64::MAX - back),
    ]
}
