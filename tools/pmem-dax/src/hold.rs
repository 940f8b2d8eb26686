// SPDX-License-Identifier: GPL-2.0

//! Gives pmem_dax what it claims and another driver has.
//!
//! The kernel offers a namespace to all drivers, and ndctl binds the first one that takes it. So
//! udev, which is told by the kernel when a driver is bound, has this done. What claims every
//! namespace is only for those that have no driver.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::bus::{Bus, Found, Namespace};
use crate::failure::Failure;
use crate::moves::{self, Move, Target};

/// How long another one may look at the disk, as udev itself does.
const PATIENCE: Duration = Duration::from_secs(3);

/// Moves all of them. Returns when each was moved, or could not be.
///
/// # Errors
///
/// If one could not be, which the log of the kernel is told, too.
pub fn run(bus: &Bus, verbose: bool) -> Result<(), Failure> {
    let mut result = Ok(());
    for namespace in lost(bus)? {
        let order = Move {
            given: namespace.name.clone(),
            namespace: namespace.name.clone(),
            settings: String::new(),
            target: Target::PmemDax,
            boot: false,
            look: false,
            verbose,
            bus: bus.clone(),
        };
        if let Err(failure) = patiently(|| moves::run(&order)) {
            tell_kernel(&namespace, &failure);
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
        .filter(|namespace| is_lost(namespace, &claims))
        .collect())
}

/// Returns whether a namespace is claimed by what stands for it alone, and another driver has it.
pub fn is_lost(namespace: &Namespace, claims: &[String]) -> bool {
    let is_own = |entry: &String| namespace.identity.is_own(entry);
    namespace
        .driver
        .as_deref()
        .is_some_and(|it| it != "pmem_dax")
        && claims.iter().any(is_own)
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
fn tell_kernel(namespace: &Namespace, failure: &Failure) {
    let name = &namespace.name;
    let driver = namespace.driver.as_deref().unwrap_or("another driver");
    let why = failure.lines().first().map_or("", String::as_str);
    let line = format!(
        "<4>pmem_dax: {name}: claimed, but {driver} has it, and keeps it: {why}; \
         when that is over: pmem-dax attach {name}\n"
    );
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // Standard error has it as well.
        let _ = log.write_all(line.as_bytes());
    }
}
