// SPDX-License-Identifier: GPL-2.0

//! Gives pmem_dax what it claims and another driver has.
//!
//! The kernel offers a namespace to all drivers, and ndctl binds the first one that takes it. So
//! udev, which is told by the kernel when a driver is bound, has this done. What claims every
//! namespace is only for those that have no driver.

use std::thread;
use std::time::{Duration, Instant};

use crate::bus::{Bus, Found, Namespace};
use crate::failure::Failure;
use crate::key::Identity;
use crate::log;
use crate::moves::{self, Move, Target};
use crate::refused;
use crate::strict;

/// How long another one may look at the disk, as udev itself does.
const PATIENCE: Duration = Duration::from_secs(3);

/// Moves all of them, or with `once` those that pmem_dax did not refuse before. Returns when each was
/// moved, or could not be. What no other driver is to have is left without one then.
///
/// # Errors
///
/// If one could not be, which the log of the kernel is told, too.
pub fn run(bus: &Bus, once: bool, verbose: bool) -> Result<(), Failure> {
    let mut result = Ok(());
    for namespace in lost(bus)? {
        let is_strict = strict::has(bus.root(), &namespace.identity);
        if once && !is_strict && refused::is_noted(bus, &namespace.identity) {
            continue;
        }
        let order = Move {
            given: namespace.name.clone(),
            namespace: namespace.name.clone(),
            settings: String::new(),
            target: Target::PmemDax,
            boot: false,
            by_hand: false,
            strict: is_strict,
            // It may have been moved, by one who took the claim away.
            is_wanted: |bus, namespace| is_lost_now(bus, namespace, &bus.claims()),
            verbose,
            bus: bus.clone(),
        };
        if let Err(failure) = patiently(|| moves::run(&order)) {
            tell_kernel(bus, &namespace, &failure);
            result = Err(failure);
        }
    }
    result
}

/// Returns the namespaces that are claimed and lost, but for those that are being bound or unbound.
fn lost(bus: &Bus) -> Result<Vec<Namespace>, Failure> {
    if !bus.sees_claims() {
        return Failure::failed("this needs root");
    }
    let claims = bus.claims();
    let found = bus.namespaces()?.into_iter();
    Ok(found
        .filter_map(|found| match found {
            Found::Known(namespace) => Some(namespace),
            Found::Busy { .. } => None,
        })
        .filter(|namespace| is_lost_now(bus, namespace, &claims))
        .collect())
}

/// Returns whether another driver has a namespace that it is not to have.
fn is_lost_now(bus: &Bus, namespace: &Namespace, claims: &[String]) -> bool {
    is_lost(namespace, claims)
        || is_lost_as(namespace, |identity| strict::has(bus.root(), identity))
}

/// Returns whether a namespace is claimed by what stands for it alone, and another driver has it.
pub fn is_lost(namespace: &Namespace, claims: &[String]) -> bool {
    is_lost_as(namespace, |identity| {
        claims.iter().any(|entry| identity.is_own(entry))
    })
}

fn is_lost_as(namespace: &Namespace, is_wanted: impl Fn(&Identity) -> bool) -> bool {
    let driver = namespace.driver.as_deref();
    driver.is_some_and(|it| it != "pmem_dax") && is_wanted(&namespace.identity)
}

/// Calls `f` until it is not refused any more.
fn patiently(f: impl Fn() -> Result<(), Failure>) -> Result<(), Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match f() {
            Err(Failure::Refused(_)) if Instant::now() < deadline => {
                thread::sleep(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}

/// Has it in the log of the kernel, where it is looked for when something is wrong.
fn tell_kernel(bus: &Bus, namespace: &Namespace, failure: &Failure) {
    let name = &namespace.name;
    let why = failure.lines().first().map_or("", String::as_str);
    let now = bus.namespace(name).ok().and_then(|now| now.driver);
    let what = match now.as_deref() {
        Some(driver) => format!("{driver} has it, and keeps it: {why}"),
        None => why.to_owned(),
    };
    log::warn(&format!(
        "pmem_dax: {name}: claimed, but {what}; when that is over: pmem-dax attach {name}"
    ));
}
