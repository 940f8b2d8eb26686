// SPDX-License-Identifier: GPL-2.0

//! Reports on namespaces: `list` and `status`, for people and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::bus::{Bus, Found, Mode, Namespace};
use crate::failure::Failure;
use crate::key;
use crate::modprobe;
use crate::size::iec;
use crate::strict;
use crate::users::{self, Disk, User};

/// What is printed, and what went wrong beside it.
#[derive(Debug)]
pub struct Report {
    /// The text for standard output.
    pub text: String,
    /// What was not as it should.
    pub result: Result<(), Failure>,
}

/// A namespace, as `--json` shows it. The manual page has what the members mean.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    namespace: &'a str,
    uuid: Option<&'a str>,
    label: Option<&'a str>,
    mode: Option<Mode>,
    size: u64,
    owner: Option<&'a str>,
    driver: Option<&'a str>,
    disk: Option<String>,
    claim: Option<String>,
    used: Option<bool>,
    busy: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn new(bus: &Bus, namespace: &'a Namespace, used: Option<bool>) -> Self {
        Entry {
            namespace: &namespace.name,
            uuid: namespace.identity.uuid.as_deref(),
            label: namespace.identity.label.as_deref(),
            mode: Some(namespace.mode),
            size: namespace.size,
            owner: Some(&namespace.owner),
            driver: namespace.driver.as_deref(),
            disk: namespace.disk.as_ref().map(|disk| format!("/dev/{disk}")),
            claim: bus.claimed(&namespace.identity),
            used,
            busy: None,
        }
    }

    fn busy(name: &'a str, uuid: Option<&'a str>, size: u64, why: &'a str) -> Self {
        Entry {
            namespace: name,
            uuid,
            label: None,
            mode: None,
            size,
            owner: None,
            driver: None,
            disk: None,
            claim: None,
            used: None,
            busy: Some(why),
        }
    }
}

/// A namespace, as `status --json` shows it.
#[derive(Debug, Serialize)]
struct Status<'a> {
    #[serde(flatten)]
    entry: Entry<'a>,
    at_boot: Option<String>,
    strict: bool,
    users: Option<Vec<User>>,
}

/// Returns whether users can be seen: those of others only by root.
fn sees_users(bus: &Bus) -> bool {
    rustix::process::geteuid().is_root() || !bus.root().is_machine()
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string_pretty(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::new(format!("no JSON of it: {error}")))
}

/// Reports all namespaces.
///
/// # Errors
///
/// If nothing can be said. What can be said is in the report even if a namespace is busy.
pub fn list(bus: &Bus, as_json: bool) -> Result<Report, Failure> {
    let found = bus.namespaces()?;
    let used = used(bus, &found);
    let busy: Vec<_> = found
        .iter()
        .filter_map(|found| match found {
            Found::Busy { why, .. } => Some(why.clone()),
            Found::Known(_) => None,
        })
        .collect();
    let text = if as_json {
        let entries = found.iter().zip(&used).map(|(found, used)| match found {
            Found::Known(namespace) => Entry::new(bus, namespace, *used),
            Found::Busy {
                name,
                uuid,
                size,
                why,
            } => Entry::busy(name, uuid.as_deref(), *size, why),
        });
        json(&entries.collect::<Vec<_>>())?
    } else {
        table(bus, &found, &used)
    };
    Ok(Report {
        text,
        result: if busy.is_empty() {
            Ok(())
        } else {
            Err(Failure::Refused(busy))
        },
    })
}

/// Returns of each namespace whether its disk is used; nothing if that is not known, or it has no
/// disk.
fn used(bus: &Bus, found: &[Found]) -> Vec<Option<bool>> {
    let mut used = vec![None; found.len()];
    if !sees_users(bus) {
        return used;
    }
    let disks = found.iter().enumerate().filter_map(|(i, found)| {
        let Found::Known(namespace) = found else {
            return None;
        };
        Some((i, Disk::of(namespace)?))
    });
    let (places, disks): (Vec<_>, Vec<_>) = disks.unzip();
    for (i, disk_used) in places
        .into_iter()
        .zip(users::which_are_used(bus.root(), &disks))
    {
        used[i] = Some(disk_used);
    }
    used
}

fn table(bus: &Bus, found: &[Found], used: &[Option<bool>]) -> String {
    let mut text = String::new();
    let mut row = |[name, mode, size, driver, disk, claimed, users, uuid]: [&str; 8]| {
        let line = format!(
            "{name:<14} {mode:<7} {size:>7}  {driver:<9} {disk:<8} {claimed:<11} {users:<6} {uuid}"
        );
        let _ = writeln!(text, "{}", line.trim_end());
    };

    row([
        "NAMESPACE",
        "MODE",
        "SIZE",
        "DRIVER",
        "DISK",
        "CLAIMED",
        "USERS",
        "UUID",
    ]);
    for (found, used) in found.iter().zip(used) {
        match found {
            Found::Busy {
                name, uuid, size, ..
            } => {
                let uuid = uuid.as_deref().unwrap_or_default();
                row([name, "?", &iec(*size), "?", "?", "?", "?", uuid]);
            }
            Found::Known(namespace) => {
                let claim = bus.claimed(&namespace.identity);
                row([
                    &namespace.name,
                    &namespace.mode.to_string(),
                    &iec(namespace.size),
                    namespace.driver.as_deref().unwrap_or("-"),
                    namespace.disk.as_deref().unwrap_or("-"),
                    match claim.as_deref().map(key::split) {
                        None if !bus.sees_claims() => "?",
                        None => "no",
                        Some(("all", "")) => "all",
                        Some((by, "")) if by.starts_with(key::UUID) => "uuid",
                        Some((by, "")) if by.starts_with(key::LABEL) => "label",
                        Some((_, "")) => "yes",
                        Some((_, settings)) => &settings[1..],
                    },
                    match used {
                        Some(true) => "yes",
                        Some(false) => "no",
                        None if namespace.disk.is_some() => "?",
                        None => "-",
                    },
                    namespace.identity.uuid.as_deref().unwrap_or_default(),
                ]);
            }
        }
    }
    text
}

/// Reports all that is known of one namespace.
///
/// # Errors
///
/// If there is none of that name, or it is busy.
pub fn status(bus: &Bus, name: &str, as_json: bool) -> Result<String, Failure> {
    let namespace = bus.namespace(name)?;
    let disk = Disk::of(&namespace);
    let users = match &disk {
        Some(disk) if sees_users(bus) => Some(users::of_disk(bus.root(), disk, 0)),
        _ => None,
    };
    let at_boot = modprobe::at_boot(bus.root(), &namespace.identity);
    let strict = strict::has(bus.root(), &namespace.identity);
    if as_json {
        let used = users.as_ref().map(|users| !users.is_empty());
        return json(&Status {
            entry: Entry::new(bus, &namespace, used),
            at_boot,
            strict,
            users,
        });
    }

    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<10} {value}");
    };
    line("namespace:", &namespace.name);
    line(
        "uuid:",
        namespace.identity.uuid.as_deref().unwrap_or("none"),
    );
    if let Some(label) = &namespace.identity.label {
        line("label:", label);
    }
    line("mode:", &namespace.mode.to_string());
    line(
        "size:",
        &format!("{} ({})", namespace.size, iec(namespace.size)),
    );
    if namespace.owner != namespace.name {
        line("used as:", &namespace.owner);
    }
    line("driver:", namespace.driver.as_deref().unwrap_or("none"));
    match &namespace.disk {
        Some(disk) => line("disk:", &format!("/dev/{disk}")),
        None => line("disk:", "none"),
    }
    let unclaimed = if bus.sees_claims() { "no" } else { "?" };
    line(
        "claimed:",
        bus.claimed(&namespace.identity)
            .as_deref()
            .unwrap_or(unclaimed),
    );
    match at_boot {
        Some(entry) => line("at boot:", &format!("pmem_dax claims {entry}")),
        None => line("at boot:", "not claimed by pmem_dax"),
    }
    if strict {
        line("strict:", "no other driver is to have it");
    }
    match users {
        Some(users) if users.is_empty() => line("users:", "none"),
        Some(users) => {
            for (i, user) in users.iter().enumerate() {
                line(if i == 0 { "users:" } else { "" }, &user.to_string());
            }
        }
        None if disk.is_some() => line("users:", "?"),
        None => line("users:", "-"),
    }
    Ok(text)
}
