// SPDX-License-Identifier: GPL-2.0

//! Whether pmem_dax has a namespace, for services that must not start otherwise.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use crate::bus::{Bus, DRIVERS};
use crate::failure::Failure;
use crate::key;
use crate::log;
use crate::modprobe;
use crate::strict;
use crate::users::Device;

/// How long it takes until it is looked again.
const PAUSE: Duration = Duration::from_millis(500);

/// Returns the names and the disks of all namespaces that pmem_dax is to have at boot, or that no other driver is to
/// have. At boot namespaces appear by and by, so they are waited for as long.
///
/// # Errors
///
/// Why pmem_dax is not there, or what is wrong with each.
pub fn all(bus: &Bus, patience: Duration) -> Result<BTreeSet<(String, String)>, Failure> {
    let wanted = wanted(bus);
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    load_driver(bus).map_err(|why| {
        let wanted = wanted.iter().map(String::as_str).collect::<Vec<_>>();
        Failure::Failed(vec![
            why,
            format!("so it does not have {}", wanted.join(", ")),
        ])
    })?;
    waiting(patience, || {
        let mut found = BTreeSet::new();
        let mut wrong = Vec::new();
        for key in &wanted {
            match one(bus, key) {
                Ok(one) => {
                    found.insert(one);
                }
                Err(failure) => wrong.extend_from_slice(failure.lines()),
            }
        }
        if wrong.is_empty() {
            Ok(found)
        } else {
            Err(Failure::Failed(wrong))
        }
    })
}

/// Returns the name and the disk of one namespace, which is waited for as long.
///
/// # Errors
///
/// What is wrong with it.
pub fn given(bus: &Bus, given: &str, patience: Duration) -> Result<(String, String), Failure> {
    waiting(patience, || one(bus, given))
}

fn one(bus: &Bus, given: &str) -> Result<(String, String), Failure> {
    let name = bus.resolve(given)?;
    let node = check(bus, &name)?;
    Ok((name, node))
}

/// Returns what `f` returns, when it succeeds or the time is over.
fn waiting<T>(patience: Duration, f: impl Fn() -> Result<T, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        match f() {
            Err(_) if Instant::now() < deadline => thread::sleep(PAUSE),
            result => return result,
        }
    }
}

/// Returns what the namespaces are called by.
fn wanted(bus: &Bus) -> BTreeSet<String> {
    let claims = modprobe::claims_at_boot(bus.root());
    let keys = claims.iter().map(|entry| key::split(entry).0.to_owned());
    let mut wanted: BTreeSet<_> = keys.chain(strict::keys(bus.root())).collect();
    // Whichever there are.
    wanted.remove(key::ALL);
    wanted
}

/// Loads pmem_dax, as it should have been.
fn load_driver(bus: &Bus) -> Result<(), String> {
    let root = bus.root();
    if root.exists(format!("{DRIVERS}/pmem_dax")) {
        return Ok(());
    }
    if root.is_machine() && rustix::process::geteuid().is_root() {
        return modprobe::load(root, "pmem_dax");
    }
    Err("pmem_dax is not loaded".to_owned())
}

/// Returns the disk if pmem_dax has the namespace, and the node of that name below `/dev` is it.
///
/// # Errors
///
/// The reason, if not.
pub fn check(bus: &Bus, name: &str) -> Result<String, Failure> {
    let namespace = bus.namespace(name)?;
    match namespace.driver.as_deref() {
        Some("pmem_dax") => {}
        other => {
            let what = match other {
                Some(driver) => format!("{name} belongs to the driver {driver}, not pmem_dax"),
                None => format!("{name} has no driver"),
            };
            let refusal = bus
                .root()
                .is_machine()
                .then(|| log::refusal(&[&namespace.name, &namespace.owner]));
            return match refusal.flatten() {
                Some(refusal) => Failure::failed(format!("{what}; it says: {refusal}")),
                None => Failure::failed(what),
            };
        }
    }
    let Some(disk) = namespace.disk else {
        return Failure::failed(format!("{name} has no disk"));
    };
    let node = format!("/dev/{disk}");
    let wanted = bus.root().read(format!("/sys/class/block/{disk}/dev"));
    let Some(wanted) = wanted.and_then(|number| Device::parse(&number)) else {
        return Failure::failed(format!("{disk} is gone"));
    };
    if !bus.root().exists(&node) {
        return Failure::failed(format!("there is no {node}, which {name} should be"));
    }
    match Device::at(&bus.root().path(&node)) {
        Some(number) if number == wanted => Ok(node),
        Some(number) => Failure::failed(format!(
            "{node} is not {name}: it is the device {number}, and the disk is {wanted}"
        )),
        None => Failure::failed(format!("{node} is not {name}: it is no block device")),
    }
}
