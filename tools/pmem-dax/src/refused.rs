// SPDX-License-Identifier: GPL-2.0

//! What pmem_dax did not take when it was given back.
//!
//! The driver that had it gets it again then, of which udev is told as of any other. Without a note
//! the namespace would be given to pmem_dax for ever, and its disk would come and go.

use std::fs;

use crate::bus::Bus;
use crate::key::Identity;

fn file(name: &str) -> String {
    format!("/run/pmem-dax-{name}.refused")
}

/// Returns what is claimed: with other settings it may be taken.
fn claim(bus: &Bus, namespace: &Identity) -> String {
    let claim = bus.claimed(namespace);
    format!("{}\n", claim.unwrap_or_default())
}

/// Notes that pmem_dax does not take a namespace that is claimed so. This comes just before it is offered
/// that, as udev is told of what follows before it is over.
pub fn note(bus: &Bus, namespace: &Identity) {
    // Without the note it is tried again.
    let _ = fs::write(
        bus.root().path(file(&namespace.name)),
        claim(bus, namespace),
    );
}

/// Forgets that, as it was taken, or is claimed no more.
pub fn forget(bus: &Bus, name: &str) {
    // Mostly there is none.
    let _ = fs::remove_file(bus.root().path(file(name)));
}

/// Returns whether it was noted.
pub fn is_noted(bus: &Bus, namespace: &Identity) -> bool {
    let noted = fs::read_to_string(bus.root().path(file(&namespace.name)));
    noted.is_ok_and(|noted| noted == claim(bus, namespace))
}
