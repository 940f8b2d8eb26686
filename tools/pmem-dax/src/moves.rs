// SPDX-License-Identifier: GPL-2.0

//! Moves a namespace from one driver to the other.
//!
//! Not while its disk has a user: an unbind is never refused, and would take the disk away. While
//! it moves the disk is open with `O_EXCL`, so that it cannot be mounted. If the new driver cannot
//! be bound, the old one is bound again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{flock, FlockOperation, OFlags};

use crate::bus::{self, Bus, Found, Namespace, CLAIMS, DEVICES, DRIVERS};
use crate::claims::{self, List};
use crate::failure::Failure;
use crate::key::{self, Identity};
use crate::modprobe;
use crate::refused;
use crate::signatures::{self, Change};
use crate::strict;
use crate::users::{self, Disk};

/// How long udev may look at a disk.
const UDEV_PATIENCE: Duration = Duration::from_secs(3);

/// How long it may have a disk open that is locked.
const UDEV_GLANCE: Duration = Duration::from_secs(1);

/// How long another one that moves the same namespace is waited for.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);

/// How long ndctl may take.
const NDCTL_PATIENCE: Duration = Duration::from_secs(20);

/// The drivers between which namespaces are moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    PmemDax,
    NdPmem,
}

impl Target {
    fn name(self) -> &'static str {
        match self {
            Target::PmemDax => "pmem_dax",
            Target::NdPmem => "nd_pmem",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be done.
#[derive(Debug)]
pub struct Move {
    /// The bus, which must be the machine's own.
    pub bus: Bus,
    /// What it was called by.
    pub given: String,
    /// The name of the namespace that this stands for.
    pub namespace: String,
    /// Settings for pmem_dax, with the colon before them; empty if there are none.
    pub settings: String,
    /// The driver that is to have it.
    pub target: Target,
    /// Whether it is to be so at boot, too.
    pub boot: bool,
    /// Whether a user reads what is said: what it changes for what is on the disk, and what ndctl says
    /// of the namespace then. Not for udev, which waits for it, and which ndctl waits for.
    pub by_hand: bool,
    /// Whether no other driver is to have it from now on.
    pub strict: bool,
    /// Whether it is to be moved after all, asked when no other caller moves it any more.
    pub is_wanted: fn(&Bus, &Namespace) -> bool,
    /// Whether each step is reported.
    pub verbose: bool,
}

/// The namespace as it was found.
struct Current {
    device: String,
    from: Option<String>,
    disk: Option<Disk>,
    mode: bus::Mode,
}

/// The disk, open exclusively while this lives; or why it could not be opened so.
struct Held {
    file: Result<File, String>,
}

fn say(text: impl fmt::Display) {
    // There may be no reader.
    let _ = writeln!(io::stdout(), "pmem-dax: {text}");
}

/// Moves the namespace, or finds that there is nothing to do, and reports that.
///
/// # Errors
///
/// If it has the driver that it had before, or, if the message says so, none.
pub fn run(order: &Move) -> Result<(), Failure> {
    if !order.bus.root().is_machine() {
        return Failure::failed("only the machine's own namespaces can be moved: leave out --root");
    }
    if !rustix::process::geteuid().is_root() {
        return Failure::failed("this needs root");
    }
    // There may be no such namespace, and then no driver is wanted.
    order.find()?;
    if order.target == Target::NdPmem && !order.boot && order.is_listed() {
        return Failure::failed(format!(
            "{0} is in {1}, by which no other driver is to have it: pmem-dax detach {0} --boot",
            order.namespace,
            strict::FILE
        ));
    }
    if let Err(failure) = order.load_driver() {
        if order.is_strict() {
            order.take_away()?;
        }
        return Err(failure);
    }
    let _lock = order.lock()?;
    // Names may have moved meanwhile.
    if order.bus.resolve(&order.given)? != order.namespace {
        return Failure::failed(format!(
            "{} is not {} any more: try again",
            order.given, order.namespace
        ));
    }
    let Some(found) = order.find()? else {
        return Ok(());
    };
    if order.boot {
        order.can_set_boot()?;
    }
    if order.is_there(&found) {
        if order.boot {
            order.note(&found, found.disk.as_ref());
        }
        return order.done(format!("{} has {} already", order.target, order.namespace));
    }
    // Until the end.
    let _held = order.hold(&found)?;
    order.note(&found, found.disk.as_ref());
    if !order.change(&found)? {
        return order.done(format!(
            "{} has {} like that already",
            order.target, order.namespace
        ));
    }
    if found.disk.is_none() {
        let disk = order.find()?.and_then(|now| now.disk);
        order.note(&found, disk.as_ref());
    }
    if order.by_hand {
        order.show_ndctl();
    }
    let owner = order.owner();
    let disk = order.bus.disk(&owner).unwrap_or_default();
    order.done(format!(
        "{} is /dev/{disk} of {} now",
        order.namespace, order.target
    ))
}

impl Move {
    fn tell(&self, text: impl fmt::Display) {
        if self.verbose {
            eprintln!("pmem-dax: {text}");
        }
    }

    /// Finds the namespace and what has it, if that may be moved; nothing if it is not to be moved any
    /// more.
    fn find(&self) -> Result<Option<Current>, Failure> {
        let namespace = self.bus.namespace(&self.namespace)?;
        if !["namespace", "pfn"]
            .iter()
            .any(|start| namespace.owner.starts_with(start))
        {
            return Failure::failed(format!(
                "{0} is in {1} mode; see: ndctl list -Ni -n {0}",
                self.namespace, namespace.mode
            ));
        }
        match namespace.driver.as_deref() {
            None | Some("nd_pmem" | "pmem_dax") => {}
            Some(driver) => {
                return Failure::failed(format!(
                    "{} belongs to the driver {driver}",
                    self.namespace
                ))
            }
        }
        if !(self.is_wanted)(&self.bus, &namespace) {
            return Ok(None);
        }
        Ok(Some(Current {
            disk: Disk::of(&namespace),
            mode: namespace.mode,
            from: namespace.driver,
            device: namespace.owner,
        }))
    }

    fn load_driver(&self) -> Result<(), Failure> {
        let name = self.target.name();
        if self.bus.root().exists(format!("{DRIVERS}/{name}")) {
            return Ok(());
        }
        self.tell(format_args!("modprobe {name}"));
        modprobe::load(self.bus.root(), name).map_err(Failure::new)
    }

    /// Returns whether no other driver than pmem_dax is to have it.
    fn is_strict(&self) -> bool {
        self.target == Target::PmemDax && (self.strict || self.is_listed())
    }

    /// Returns whether that was so before.
    fn is_listed(&self) -> bool {
        strict::has(self.bus.root(), &self.identity())
    }

    /// Leaves it without a driver, as pmem_dax is not there.
    fn take_away(&self) -> Result<(), Failure> {
        let _lock = self.lock()?;
        let Some(found) = self.find()? else {
            return Ok(());
        };
        let Some(from) = &found.from else {
            return Ok(());
        };
        // Until the end.
        let _held = self.hold(&found)?;
        self.unbind(&found.device, from)
    }

    /// Keeps others away that would move the same namespace.
    fn lock(&self) -> Result<File, Failure> {
        let name = format!("/run/pmem-dax-{}.lock", self.namespace);
        lock(&name, LOCK_PATIENCE)?.ok_or_else(|| {
            Failure::Refused(vec![format!(
                "another pmem-dax moves {}, and is not done: try again",
                self.namespace
            )])
        })
    }

    /// Keeps others away that would change what happens at boot.
    fn lock_boot(&self) -> Result<File, Failure> {
        lock("/run/pmem-dax.lock", LOCK_PATIENCE)?.ok_or_else(|| {
            Failure::new("another pmem-dax sets what happens at boot, and is not done")
        })
    }

    /// Makes it one that no other driver is to have, or one that any may have.
    fn set_strict(&self, identity: &Identity, key: Option<&str>) -> Result<(), Failure> {
        let _lock = self.lock_boot()?;
        strict::set(self.bus.root(), identity, key).map_err(Failure::new)
    }

    /// Returns whether it can be set what happens at boot.
    fn can_set_boot(&self) -> Result<(), Failure> {
        let root = self.bus.root();
        if self.target == Target::PmemDax && !modprobe::installed(root) {
            return Failure::failed(
                "pmem_dax is not installed where modprobe finds it: make install",
            );
        }
        if self.target == Target::PmemDax {
            if let Some((file, line)) = modprobe::softdep_before_ours(root) {
                return Failure::failed(format!(
                    "of several softdep lines of a module the first alone counts, and by this one \
                     pmem_dax would not be loaded before nd_pmem: add \"pre: pmem_dax\" to it: \
                     {line} ({file})"
                ));
            }
        }
        let others = modprobe::lines_of_others(root);
        if others.is_empty() {
            return Ok(());
        }
        Failure::failed(format!(
            "the last claim= counts, so change this line yourself, and leave out --boot: {} \
             (see: grep -r claim= /etc/modprobe.d /proc/cmdline)",
            others.join(", ")
        ))
    }

    fn identity(&self) -> Identity {
        self.bus.identity(&self.namespace)
    }

    fn is_there(&self, found: &Current) -> bool {
        let identity = self.identity();
        found.from.as_deref() == Some(self.target.name())
            && (self.settings.is_empty()
                || settings_of(&claims::own(self, &identity), &identity)
                    == Some(self.settings.as_str()))
    }

    /// Opens the disk exclusively, checks that it has no other user, and writes back its page
    /// cache.
    fn hold(&self, found: &Current) -> Result<Option<Held>, Failure> {
        let Some(disk) = &found.disk else {
            return Ok(None);
        };
        let node = format!("/dev/{}", disk.name);
        self.tell(format_args!("opening {node} with O_EXCL"));
        let held = Held::new(&node);
        let root = self.bus.root();
        let ours = u64::from(held.file.is_ok());
        self.tell(format_args!("looking for users of {}", disk.name));
        let mut users = users::of_disk(root, disk, ours);
        // udev opens a disk for a moment even if it is locked.
        let deadline = Instant::now() + UDEV_GLANCE;
        while !users.is_empty()
            && held.file.is_ok()
            && root.exists("/run/udev/control")
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(100));
            users = users::of_disk(root, disk, ours);
        }
        let from = found.from.as_deref().unwrap_or("nobody");
        let mut why: Vec<_> = users.iter().map(ToString::to_string).collect();
        if let (Err(error), true) = (&held.file, why.is_empty()) {
            why.push(error.clone());
        }
        if !why.is_empty() {
            why.push(format!("{} stays with {from}", self.namespace));
            return Err(Failure::Refused(why));
        }
        if let Ok(file) = &held.file {
            if file.sync_all().is_err() {
                return Failure::failed(format!(
                    "{node} cannot be written back; {} stays with {from}",
                    self.namespace
                ));
            }
        }
        Ok(Some(held))
    }

    /// Says what the move changes for what is on the disk.
    fn note(&self, found: &Current, disk: Option<&Disk>) {
        let (true, Some(disk)) = (self.by_hand, disk) else {
            return;
        };
        self.tell(format_args!("looking what is on {}", disk.name));
        let to_pmem_dax = self.target == Target::PmemDax;
        let identity = self.identity();
        let is_there = found.from.as_deref() == Some(self.target.name());
        let entries = if is_there {
            // It may have been claimed as one of all.
            self.entries()
        } else {
            claims::own(self, &identity)
        };
        let settings = match self.settings.as_str() {
            "" => settings_of(&entries, &identity).unwrap_or_default(),
            given => given,
        };
        let look = signatures::look(
            self.bus.root(),
            disk,
            &Change {
                given: &self.given,
                to_pmem_dax,
                is_move: self.boot || !is_there,
                has_dax: if to_pmem_dax {
                    settings.split(':').any(|setting| setting == "mode=fsdax")
                } else {
                    // With struct pages nd_pmem has it.
                    found.mode == bus::Mode::Fsdax
                },
                boot: self.boot,
            },
        );
        for remark in look.remarks {
            self.tell(remark);
        }
        for note in look.notes {
            eprintln!("pmem-dax: note: {note}");
        }
    }

    /// Returns the device of the bus that has the namespace now.
    fn owner(&self) -> String {
        let holder = format!("{DEVICES}/{}/holder", self.namespace);
        match self.bus.root().read(holder) {
            Some(holder) if !holder.is_empty() => holder,
            _ => self.namespace.clone(),
        }
    }

    /// Writes a word to a file of sysfs.
    fn write_to(&self, word: &str, file: &str) -> io::Result<()> {
        self.tell(format_args!("echo {word} >{file}"));
        let result = fs::write(self.bus.root().path(file), format!("{word}\n"));
        if let Err(error) = &result {
            self.tell(error);
        }
        result
    }

    /// Unbinds the driver.
    fn unbind(&self, device: &str, driver: &str) -> Result<(), Failure> {
        let _ = self.write_to(device, &format!("{DRIVERS}/{driver}/unbind"));
        // What it has then is what counts.
        match self.bus.driver(device) {
            None => Ok(()),
            Some(_) => Failure::failed(format!("{driver} did not let go of {}", self.namespace)),
        }
    }

    /// Binds a driver to the namespace. Returns whether it is bound.
    fn bind(&self, device: &mut String, driver: &str) -> bool {
        // What it has then is what counts.
        let _ = self.write_to(device, &format!("{DRIVERS}/{driver}/bind"));
        *device = self.owner();
        self.bus.driver(device).as_deref() == Some(driver)
    }

    /// Moves it from the driver that has it, if one has. Returns whether something had to be done.
    fn change(&self, found: &Current) -> Result<bool, Failure> {
        let name = &self.namespace;
        let to = self.target.name();
        let from = found.from.as_deref();
        let mut device = found.device.clone();
        let identity = self.identity();
        let old = claims::own(self, &identity);

        if self.target == Target::PmemDax && (old.is_empty() || !self.settings.is_empty()) {
            let unique = self.bus.is_unique(&identity);
            if let Err(refused) = claims::add(self, &identity, unique, &self.settings) {
                return Failure::failed(format!(
                    "pmem_dax refuses the claim {refused}; dmesg says why"
                ));
            }
            let new = claims::own(self, &identity);
            if from == Some(to) && settings_of(&new, &identity) == settings_of(&old, &identity) {
                return Ok(false);
            }
        }
        if let Some(from) = from {
            self.unbind(&device, from)
                .inspect_err(|_| claims::restore(self, &identity, &old))?;
        }
        let mut key = None;
        if self.target == Target::NdPmem {
            claims::remove(self, &identity);
            // Before udev sees the other driver, which would not be let have it.
            key = strict::key_of(self.bus.root(), &identity);
            self.set_strict(&identity, None)?;
        }
        if self.target == Target::PmemDax {
            refused::note(&self.bus, &identity);
        }
        if self.bind(&mut device, to) {
            return Ok(true);
        }

        eprintln!("pmem-dax: {to} did not take {name}; dmesg says why");
        claims::restore(self, &identity, &old);
        if let Some(key) = key {
            self.set_strict(&identity, Some(&key))?;
        }
        match from {
            None => Failure::failed("it has no driver, as before"),
            Some(_) if self.is_strict() => Failure::failed(
                "it has no driver now, as none but pmem_dax is to have it (--strict)",
            ),
            Some(from) if self.bind(&mut device, from) => {
                Failure::failed(format!("{from} has it again: nothing was changed"))
            }
            Some(from) => Failure::failed(format!(
                "and {from} did not take it back: it has no driver now"
            )),
        }
    }

    /// Shows what ndctl says of the namespace now, if there is an ndctl.
    fn show_ndctl(&self) {
        // It asks all namespaces, and waits for one that is being unbound.
        let busy = match self.bus.namespaces() {
            Ok(all) => all.iter().any(|found| matches!(found, Found::Busy { .. })),
            Err(_) => true,
        };
        if busy {
            self.tell("ndctl is not asked, as a namespace is being bound or unbound");
            return;
        }
        let child = Command::new("ndctl")
            .args(["list", "-n", &self.namespace])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let Ok(mut child) = child else { return };
        let (sender, text) = mpsc::channel();
        let out = child.stdout.take();
        let reader = thread::Builder::new().spawn(move || {
            let mut text = Vec::new();
            if out.is_some_and(|mut out| out.read_to_end(&mut text).is_ok()) {
                let _ = sender.send(text);
            }
        });
        if reader.is_err() {
            return;
        }
        if let Ok(text) = text.recv_timeout(NDCTL_PATIENCE) {
            let _ = io::stdout().write_all(&text);
            let _ = child.wait();
        }
    }

    /// Tells that it is done, and has it so at boot, if that is wanted.
    fn done(&self, text: String) -> Result<(), Failure> {
        say(text);
        refused::forget(&self.bus, &self.namespace);
        if !self.boot {
            return Ok(());
        }
        let identity = self.identity();
        let entry = (self.target == Target::PmemDax)
            .then(|| claims::for_boot(self, &identity, self.bus.is_unique(&identity)));
        let _lock = self.lock_boot()?;
        let root = self.bus.root();
        let key = entry.as_deref().map(|entry| key::split(entry).0.to_owned());
        modprobe::set_boot(root, &identity, entry).map_err(Failure::new)?;
        if self.strict || key.is_none() {
            strict::set(root, &identity, key.as_deref()).map_err(Failure::new)?;
        }
        say(format_args!(
            "at boot {} goes to {}; if an initramfs has nd_pmem, make it again (update-initramfs -u)",
            self.namespace, self.target
        ));
        Ok(())
    }
}

impl List for Move {
    fn entries(&self) -> Vec<String> {
        self.bus.claims()
    }

    fn write(&self, word: &str) -> io::Result<()> {
        self.write_to(word, CLAIMS)
    }
}

/// Returns the settings of the entry that counts, if there is one.
fn settings_of<'a>(own: &'a [String], of: &Identity) -> Option<&'a str> {
    claims::effective(own, of).map(|entry| key::split(entry).1)
}

/// Locks a file, and makes it if need be. Returns nothing if another process has it locked for
/// as long.
fn lock(name: &str, patience: Duration) -> Result<Option<File>, Failure> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(name)
        .map_err(|error| Failure::new(format!("{name}: {error}")))?;
    Ok(locked(&file, patience).then_some(file))
}

/// Returns whether the file could be locked in that time.
fn locked(file: &File, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if flock(file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

impl Held {
    fn new(node: &str) -> Self {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::EXCL.bits() as i32)
            .open(Path::new(node));
        let file = file.map_err(|error| {
            let errno = rustix::io::Errno::from_io_error(&error);
            let text = error.to_string();
            // As strerror(3) has it.
            let text = text.split(" (os error").next().unwrap_or_default();
            match errno {
                Some(rustix::io::Errno::BUSY) => {
                    format!("{node}: {text}: somebody in the kernel has it")
                }
                _ => format!("{node}: {text}"),
            }
        });
        if let Ok(file) = &file {
            // udev does not look at a disk that is locked.
            locked(file, UDEV_PATIENCE);
        }
        Held { file }
    }
}
