// SPDX-License-Identifier: GPL-2.0

//! What the nd bus has: namespaces, the devices that have them, drivers and disks.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::failure::Failure;
use crate::key::{self, Identity};
use crate::probe::{Answer, Attributes, Prober};
use crate::root::Root;

/// Where the devices of the bus are.
pub const DEVICES: &str = "/sys/bus/nd/devices";
/// Where its drivers are.
pub const DRIVERS: &str = "/sys/bus/nd/drivers";
/// The list of what pmem_dax takes.
pub const CLAIMS: &str = "/sys/bus/nd/drivers/pmem_dax/claim";

/// The mode of a namespace, as ndctl calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Raw,
    Fsdax,
    Sector,
    Devdax,
}

impl Mode {
    fn of_kernel(name: &str) -> Self {
        match name {
            "safe" => Mode::Sector,
            "memory" => Mode::Fsdax,
            "dax" => Mode::Devdax,
            _ => Mode::Raw,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Mode::Raw => "raw",
            Mode::Fsdax => "fsdax",
            Mode::Sector => "sector",
            Mode::Devdax => "devdax",
        })
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a namespace whose device is not locked.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// That, and what else it is called by.
    pub identity: Identity,
    /// Its size in bytes.
    pub size: u64,
    /// Its mode.
    pub mode: Mode,
    /// The device of the bus that makes a disk of it: itself, or pfnX.Y and the like.
    pub owner: String,
    /// The driver of that device.
    pub driver: Option<String>,
    /// The name of the disk.
    pub disk: Option<String>,
}

/// A namespace, or why nothing can be said of it.
#[derive(Clone, Debug)]
pub enum Found {
    Known(Namespace),
    Busy {
        name: String,
        uuid: Option<String>,
        size: u64,
        why: String,
    },
}

/// The nd bus.
#[derive(Clone, Debug)]
pub struct Bus {
    root: Root,
    prober: Prober,
}

impl Bus {
    /// Makes the bus that is below the root.
    pub fn new(root: &Root) -> Self {
        Bus {
            root: root.clone(),
            prober: Prober::new(root.clone()),
        }
    }

    /// Returns the root.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the names of all namespaces, by number, also of those that have no size.
    fn names(&self) -> Vec<String> {
        let mut names = self.root.list(DEVICES);
        names.retain(|name| name.starts_with("namespace"));
        names.sort_by_key(|name| {
            let numbers: Vec<u64> = name
                .split(|c: char| !c.is_ascii_digit())
                .filter_map(|digits| digits.parse().ok())
                .collect();
            (numbers, name.clone())
        });
        names
    }

    /// Returns all namespaces that have a size.
    ///
    /// # Errors
    ///
    /// If they could not be asked.
    pub fn namespaces(&self) -> Result<Vec<Found>, Failure> {
        let names = self.names();
        let mut found = self.ask(names)?;
        found.retain(|found| match found {
            Found::Known(namespace) => namespace.size != 0,
            Found::Busy { size, .. } => *size != 0,
        });
        Ok(found)
    }

    /// Returns all that a namespace of that name is called by. These attributes wait for no lock.
    pub fn identity(&self, name: &str) -> Identity {
        let label = self.root.read(format!("{DEVICES}/{name}/alt_name"));
        Identity {
            name: name.to_owned(),
            uuid: self.uuid(name),
            label: label.filter(|label| !label.is_empty()),
        }
    }

    /// Returns the name of the namespace that a device of the bus is, or has. It waits for no lock of
    /// the device.
    pub fn namespace_of(&self, device: &str) -> String {
        let namespace = self.root.read(format!("{DEVICES}/{device}/namespace"));
        namespace
            .filter(|namespace| !namespace.is_empty())
            .unwrap_or_else(|| device.to_owned())
    }

    fn uuid(&self, name: &str) -> Option<String> {
        key::uuid_of(&self.root.read(format!("{DEVICES}/{name}/uuid"))?)
    }

    /// Returns whether no other namespace has the UUID of this one, as a copy of it would.
    pub fn is_unique(&self, identity: &Identity) -> bool {
        let mut names = self.names();
        names.retain(|name| *name != identity.name);
        !names.iter().any(|name| self.uuid(name) == identity.uuid)
    }

    /// Returns the name of the namespace that is called so: by `uuid:UUID`, a UUID, `name:LABEL`,
    /// or its name, which need not be one that there is.
    ///
    /// # Errors
    ///
    /// If that is no UUID, or not one namespace has it.
    pub fn resolve(&self, given: &str) -> Result<String, Failure> {
        let what;
        let mut names;
        if let Some(label) = given.strip_prefix(key::LABEL) {
            if label.is_empty() {
                return Failure::failed(format!("{given} wants the name of a label"));
            }
            what = format!("the label name {label}");
            names = self.names();
            names.retain(|name| self.identity(name).label.as_deref() == Some(label));
        } else {
            let uuid = match given.strip_prefix(key::UUID) {
                Some(uuid) if !key::is_uuid(uuid) => {
                    return Failure::failed(format!("{given} is not a UUID"));
                }
                Some(uuid) => uuid,
                None if key::is_uuid(given) => given,
                None => return Ok(given.to_owned()),
            };
            let uuid = uuid.to_ascii_lowercase();
            what = format!("the UUID {uuid}");
            names = self.names();
            names.retain(|name| self.uuid(name).as_ref() == Some(&uuid));
        }
        // One that is being made or deleted has no size.
        names.retain(|name| self.root.number(format!("{DEVICES}/{name}/size")) != Some(0));
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => Failure::failed(format!("no namespace has {what}; see: pmem-dax list")),
            names => Failure::failed(format!(
                "{} have {what}: say which by its name",
                names.join(" and ")
            )),
        }
    }

    /// Returns the namespace of that name.
    ///
    /// # Errors
    ///
    /// If that is no name, there is none, or it is busy, in which case it is a refusal.
    pub fn namespace(&self, name: &str) -> Result<Namespace, Failure> {
        if name.contains('/') || !name.starts_with("namespace") {
            let example = if name.contains('/') {
                ""
            } else {
                ", like namespace0.0"
            };
            return Failure::failed(format!("{name} is not the name of a namespace{example}"));
        }
        if !self.root.path(format!("{DEVICES}/{name}")).is_dir() {
            return Failure::failed(format!("there is no {name}; see: pmem-dax list"));
        }
        match self.ask(vec![name.to_owned()])?.pop() {
            Some(Found::Known(namespace)) => Ok(namespace),
            Some(Found::Busy { why, .. }) => Failure::refused(why),
            None => Failure::failed(format!("{name} could not be asked")),
        }
    }

    fn ask(&self, names: Vec<String>) -> Result<Vec<Found>, Failure> {
        let answers = self
            .prober
            .ask(&names)
            .map_err(|error| Failure::new(format!("namespaces cannot be asked: {error}")))?;
        let found = names.into_iter().zip(answers);
        Ok(found
            .map(|(name, answer)| match answer {
                Answer::Known(attributes) => Found::Known(self.known(name, attributes)),
                Answer::Busy(attributes) => Found::Busy {
                    why: self.busy(&name, &attributes),
                    // It waits for no lock.
                    size: self
                        .root
                        .number(format!("{DEVICES}/{name}/size"))
                        .unwrap_or(0),
                    uuid: self.uuid(&name),
                    name,
                },
            })
            .collect())
    }

    fn known(&self, name: String, attributes: Attributes) -> Namespace {
        let owner = attributes.holder.unwrap_or_else(|| name.clone());
        Namespace {
            size: attributes.size,
            mode: Mode::of_kernel(&attributes.mode),
            driver: self.driver(&owner),
            disk: self.disk(&owner),
            identity: self.identity(&name),
            owner,
            name,
        }
    }

    /// Returns why a device is locked.
    fn busy(&self, name: &str, attributes: &Attributes) -> String {
        let owner = attributes.holder.as_deref().unwrap_or(name);
        let what = match self.driver(owner) {
            Some(driver) => format!("bound to {driver}"),
            None => "unbound".to_owned(),
        };
        format!("{name} is being {what}: dmesg says what it waits for")
    }

    /// Returns the driver of a device.
    pub fn driver(&self, device: &str) -> Option<String> {
        self.root.link(format!("{DEVICES}/{device}/driver"))
    }

    /// Returns the name of the disk of a device.
    pub fn disk(&self, device: &str) -> Option<String> {
        let mut disks = self.root.list(format!("{DEVICES}/{device}/block"));
        (!disks.is_empty()).then(|| disks.swap_remove(0))
    }

    /// Returns the lines of the list of what pmem_dax takes.
    pub fn claims(&self) -> Vec<String> {
        let claims = self.root.read(CLAIMS).unwrap_or_default();
        claims.lines().map(str::to_owned).collect()
    }

    /// Returns whether the list can be read, which only root can, or there is none.
    pub fn sees_claims(&self) -> bool {
        self.root.read(CLAIMS).is_some() || !self.root.exists(CLAIMS)
    }

    /// Returns the line by which pmem_dax takes a namespace.
    pub fn claimed(&self, identity: &Identity) -> Option<String> {
        let claims = self.claims();
        let claim = identity.claimed_by(claims.iter().map(String::as_str));
        claim.map(str::to_owned)
    }
}
