// SPDX-License-Identifier: GPL-2.0

//! The users of a disk.
//!
//! No single place has them all. Mounts are in a file of each mount namespace, open files and mappings
//! in directories of each process, and what the kernel was asked to open is in the places of each
//! driver that does. All processes are looked at once, for all disks that are asked about, and
//! only if no count of opens says that there are none.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::fmt;
use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Statx, StatxFlags, CWD};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::bus::{Namespace, DRIVERS};
use crate::loops;
use crate::root::Root;

/// The number of a block device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    pub major: u32,
    pub minor: u32,
}

impl Device {
    /// Returns the number that is written as `259:0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.trim().split_once(':')?;
        Some(Device {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }

    /// Returns the number of the block device that a path leads to.
    pub fn at(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        metadata.file_type().is_block_device().then(|| Device {
            major: rustix::fs::major(metadata.rdev()),
            minor: rustix::fs::minor(metadata.rdev()),
        })
    }

    fn of_statx(stat: &Statx) -> Option<Self> {
        let is_block = FileType::from_raw_mode(stat.stx_mode.into()) == FileType::BlockDevice;
        is_block.then_some(Device {
            major: stat.stx_rdev_major,
            minor: stat.stx_rdev_minor,
        })
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A disk whose users are wanted.
#[derive(Clone, Debug)]
pub struct Disk {
    /// Its name, like pmem0.
    pub name: String,
    /// The driver that it has.
    driver: Option<String>,
    /// Whether that driver's module is the one that is in use if the disk is open.
    counted: bool,
}

impl Disk {
    /// Returns the disk of a namespace.
    pub fn of(namespace: &Namespace) -> Option<Self> {
        Some(Disk {
            name: namespace.disk.clone()?,
            driver: namespace.driver.clone(),
            // A btt has operations of another module.
            counted: ["namespace", "pfn"]
                .iter()
                .any(|start| namespace.owner.starts_with(start)),
        })
    }

    /// Returns how often the disk and its partitions are open. Only pmem_dax counts that.
    fn openers(&self, root: &Root) -> Option<u64> {
        root.number(format!("/sys/block/{}/pmem_dax/openers", self.name))
    }

    /// Returns how many of its pages are pinned. Only pmem_dax counts that.
    fn pinned(&self, root: &Root) -> u64 {
        root.number(format!("/sys/block/{}/pmem_dax/pinned", self.name))
            .unwrap_or(0)
    }

    /// Returns whether it is certain that it has no user but the caller, which has it open
    /// `ours` times: an open disk counts in a number of its own, or of its driver.
    fn is_idle(&self, root: &Root, ours: u64) -> bool {
        if let Some(openers) = self.openers(root) {
            return openers <= ours && self.pinned(root) == 0;
        }
        let Some(driver) = &self.driver else {
            return false;
        };
        let count = format!("{DRIVERS}/{driver}/module/refcnt");
        self.counted && root.number(count).is_some_and(|count| count <= ours)
    }

    /// Returns the names of its nodes: itself and its partitions.
    pub fn nodes(&self, root: &Root) -> Vec<String> {
        let mut nodes = vec![self.name.clone()];
        let mut parts = root.list(format!("/sys/block/{}", self.name));
        parts.retain(|part| {
            part.strip_prefix(&self.name)
                .and_then(|rest| rest.strip_prefix('p'))
                .is_some_and(|number| number.parse::<u32>().is_ok())
        });
        nodes.extend(parts);
        nodes
    }
}

/// How a disk or a partition is used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It is mounted there.
    Mounted(String),
    /// The kernel swaps to it.
    Swap,
    /// It is part of that device.
    PartOf(String),
    /// The kernel has it open, as that file says.
    Named(String),
    /// So many of its pages are pinned.
    Pinned(u64),
    /// Pages are pinned, and a process has memory pinned, or what pins some. The kernel does not know
    /// which memory that is.
    MayPin { pid: u32, comm: String },
    /// A process has it open or mapped.
    Open { pid: u32, comm: String },
    /// A process has it in an io_uring.
    InRing { pid: u32, comm: String },
    /// It is open that often, and nothing above says by whom.
    Unexplained(u64),
}

/// A user of a disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    /// How it is used.
    pub how: How,
    /// The disk, or the partition.
    pub node: String,
}

impl User {
    fn kind(&self) -> &'static str {
        match self.how {
            How::Mounted(_) => "mount",
            How::Swap => "swap",
            How::PartOf(_) => "holder",
            How::Named(_) => "kernel",
            How::Pinned(_) => "pins",
            How::MayPin { .. } => "pinner",
            How::Open { .. } => "process",
            How::InRing { .. } => "io_uring",
            How::Unexplained(_) => "unknown",
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = &self.node;
        match &self.how {
            How::Mounted(at) => write!(f, "{node} is mounted at {at}"),
            How::Swap => write!(f, "the kernel swaps to /dev/{node}"),
            How::PartOf(device) => write!(f, "{node} is part of /dev/{device}"),
            How::Named(file) => write!(f, "{node} is what {file} names"),
            How::Pinned(pages) => write!(
                f,
                "{pages} pages of {node} are pinned: by io_uring, RDMA or VFIO"
            ),
            How::MayPin { pid, comm } => write!(
                f,
                "process {pid} ({comm}) has memory pinned, which may be that of {node}"
            ),
            How::Open { pid, comm } => {
                write!(f, "process {pid} ({comm}) has {node} open or mapped")
            }
            How::InRing { pid, comm } => {
                write!(f, "process {pid} ({comm}) has {node} in an io_uring")
            }
            How::Unexplained(openers) => write!(
                f,
                "{node} is open, and no process shows it (openers: {openers}): \
                 a file on its way through a socket, or something in the kernel"
            ),
        }
    }
}

impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.kind())?;
        map.serialize_entry("device", &self.node)?;
        match &self.how {
            How::Mounted(at) => map.serialize_entry("mountpoint", at)?,
            How::PartOf(device) => map.serialize_entry("holder", device)?,
            How::Named(file) => map.serialize_entry("file", file)?,
            How::Pinned(pages) => map.serialize_entry("pages", pages)?,
            How::MayPin { pid, comm } | How::Open { pid, comm } | How::InRing { pid, comm } => {
                map.serialize_entry("pid", pid)?;
                map.serialize_entry("comm", comm)?;
            }
            How::Unexplained(openers) => map.serialize_entry("openers", openers)?,
            How::Swap => {}
        }
        map.serialize_entry("text", &self.to_string())?;
        map.end()
    }
}

/// How often a close of a disk is waited for, and how long each time.
const CLOSING: (u32, Duration) = (5, Duration::from_millis(200));

/// Returns all users of a disk but the caller, which has it open `ours` times; if none is known and
/// it is open nevertheless, one that stands for those.
pub fn of_disk(root: &Root, disk: &Disk, ours: u64) -> Vec<User> {
    if disk.is_idle(root, ours) {
        return Vec::new();
    }
    let disks = std::slice::from_ref(disk);
    let nodes = Nodes::new(root, disks);
    let known = || known(root, &nodes, disks, &Opens::new(None));
    let unexplained = || disk.openers(root).unwrap_or(0).saturating_sub(ours);

    let mut users = known();
    for _ in 0..CLOSING.0 {
        if !users.is_empty() || unexplained() == 0 {
            return users;
        }
        thread::sleep(CLOSING.1);
    }
    // And an opener may have been missed.
    users = known();
    let openers = unexplained();
    if users.is_empty() && openers > 0 {
        users.push(User {
            how: How::Unexplained(openers),
            node: disk.name.clone(),
        });
    }
    users
}

/// Returns which of the disks are used, in their order.
pub fn which_are_used(root: &Root, disks: &[Disk]) -> Vec<bool> {
    let mut busy: Vec<_> = disks.iter().map(|disk| !disk.is_idle(root, 0)).collect();
    // A close of a disk of pmem_dax may not be done. That needs no look at processes.
    let is_open = |disk: &Disk| disk.openers(root).is_some_and(|openers| openers > 0);
    let mut closing: Vec<_> = disks
        .iter()
        .zip(&mut busy)
        .filter(|(disk, busy)| **busy && is_open(disk))
        .collect();
    for _ in 0..CLOSING.0 {
        if closing.is_empty() {
            break;
        }
        thread::sleep(CLOSING.1 / 10);
        closing.retain_mut(|(disk, busy)| {
            **busy = is_open(disk) || !disk.is_idle(root, 0);
            **busy
        });
    }
    let unclear: Vec<_> = disks
        .iter()
        .zip(&busy)
        .filter(|(disk, busy)| **busy && disk.openers(root).is_none())
        .map(|(disk, _)| disk.clone())
        .collect();
    if unclear.is_empty() {
        return busy;
    }
    let nodes = Nodes::new(root, &unclear);
    let opens = Opens::new(opens_of_all(root, &unclear));
    let used: HashSet<_> = known(root, &nodes, &unclear, &opens)
        .iter()
        .filter_map(|user| nodes.disk_of(&user.node))
        .collect();
    let unclear: HashSet<_> = unclear.iter().map(|disk| disk.name.as_str()).collect();
    for (busy, disk) in busy.iter_mut().zip(disks) {
        if unclear.contains(disk.name.as_str()) {
            *busy = used.contains(disk.name.as_str());
        }
    }
    busy
}

/// Returns how many opens there are of all these disks, if that is counted: if they are all of one
/// driver, whose references those are.
fn opens_of_all(root: &Root, disks: &[Disk]) -> Option<u64> {
    let driver = disks.first()?.driver.as_ref()?;
    let same = |disk: &Disk| disk.counted && disk.driver.as_ref() == Some(driver);
    if !disks.iter().all(same) {
        return None;
    }
    root.number(format!("{DRIVERS}/{driver}/module/refcnt"))
}

/// The nodes of disks, by number and by name.
struct Nodes {
    names: Vec<String>,
    disks: Vec<String>,
    by_number: HashMap<Device, usize>,
    by_name: HashMap<String, usize>,
}

impl Nodes {
    fn new(root: &Root, disks: &[Disk]) -> Self {
        let mut nodes = Nodes {
            names: Vec::new(),
            disks: Vec::new(),
            by_number: HashMap::new(),
            by_name: HashMap::new(),
        };
        for disk in disks {
            for node in disk.nodes(root) {
                let index = nodes.names.len();
                let number = root.read(format!("/sys/class/block/{node}/dev"));
                if let Some(number) = number.and_then(|text| Device::parse(&text)) {
                    nodes.by_number.insert(number, index);
                }
                nodes.by_name.insert(node.clone(), index);
                nodes.names.push(node);
                nodes.disks.push(disk.name.clone());
            }
        }
        nodes
    }

    fn number(&self, number: Device) -> Option<&str> {
        let index = *self.by_number.get(&number)?;
        self.names.get(index).map(String::as_str)
    }

    /// Returns the node whose name below `/dev` that is.
    fn file(&self, file: &str) -> Option<&str> {
        let index = *self.by_name.get(file.strip_prefix("/dev/")?)?;
        self.names.get(index).map(String::as_str)
    }

    fn disk_of(&self, node: &str) -> Option<&str> {
        let index = *self.by_name.get(node)?;
        self.disks.get(index).map(String::as_str)
    }
}

/// The opens that are accounted for. If they are as many as there are, no other disk is in use.
struct Opens {
    /// How many there are.
    all: u64,
    /// What is certain to be an open of its own.
    explained: Mutex<HashSet<(&'static str, String)>>,
    /// Whether it explains all.
    complete: AtomicBool,
}

impl Opens {
    /// So many are to be explained; if it is not known how many, they never are.
    fn new(all: Option<u64>) -> Self {
        Opens {
            all: all.unwrap_or(u64::MAX),
            explained: Mutex::new(HashSet::new()),
            complete: AtomicBool::new(false),
        }
    }

    /// Notes a use of a node that is an open of its own. Those of processes count once for a
    /// node, as they may share one.
    fn explain(&self, what: &'static str, node: &str) {
        if let Ok(mut explained) = self.explained.lock() {
            explained.insert((what, node.to_owned()));
            if explained.len() as u64 >= self.all {
                self.complete.store(true, Ordering::Relaxed);
            }
        }
    }

    fn are_explained(&self) -> bool {
        self.complete.load(Ordering::Relaxed)
    }
}

/// Returns all that use the disks, as far as something shows it, in the order of [`How`]. It ends
/// early when all opens are explained.
fn known(root: &Root, nodes: &Nodes, disks: &[Disk], opens: &Opens) -> Vec<User> {
    let mut users = BTreeSet::new();
    let mut add = |node: &str, how| {
        users.insert(User {
            how,
            node: node.to_owned(),
        });
    };

    for line in root.read("/proc/swaps").unwrap_or_default().lines() {
        if let Some(node) = line.split(' ').next().and_then(|file| nodes.file(file)) {
            add(node, How::Swap);
            opens.explain("swap", node);
        }
    }
    for node in &nodes.names {
        for holder in root.list(format!("/sys/class/block/{node}/holders")) {
            add(node, How::PartOf(holder));
            opens.explain("holder", node);
        }
    }
    for (number, file) in kernel_files(root) {
        if let Some(node) = nodes.number(number) {
            add(node, How::Named(file));
        }
    }
    let mut pinned = Vec::new();
    for disk in disks {
        let pages = disk.pinned(root);
        if pages > 0 {
            add(&disk.name, How::Pinned(pages));
            pinned.push(disk.name.as_str());
        }
    }
    users.extend(Processes::look(root, nodes, opens, &pinned));
    users.into_iter().collect()
}

/// Returns the number of each block device that the kernel has open because it was given its
/// name, and where that shows: loop devices, exports of NVMe, targets of LIO, USB gadgets.
fn kernel_files(root: &Root) -> Vec<(Device, String)> {
    let mut found = Vec::new();
    for file in root.glob("/sys/block/loop*/loop/backing_file") {
        // By number, as the name may be one of another mount namespace.
        let name = file.split('/').nth(3).unwrap_or_default();
        let number = match File::open(root.path(format!("/dev/{name}"))) {
            Ok(device) => loops::behind(&device),
            // Its node may be in another one, too.
            Err(_) => named(root, &root.read(&file).unwrap_or_default()),
        };
        if let Some(number) = number {
            found.push((number, file));
        }
    }
    for pattern in [
        "/sys/kernel/config/nvmet/subsystems/*/namespaces/*/device_path",
        "/sys/kernel/config/usb_gadget/*/functions/mass_storage.*/lun.*/file",
    ] {
        for file in root.glob(pattern) {
            let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
            if root.read(format!("{directory}/enable")).as_deref() == Some("0") {
                continue;
            }
            let path = root.read(&file).unwrap_or_default();
            if let Some(number) = Device::at(&root.path(path)) {
                found.push((number, file));
            }
        }
    }
    for file in root.glob("/sys/kernel/config/target/core/fileio_*/*/info") {
        let text = root.read(&file).unwrap_or_default();
        let path = text
            .split_once(" File: ")
            .and_then(|(_, rest)| rest.split_once("  Size: "))
            .map_or("", |(path, _)| path);
        if let Some(number) = Device::at(&root.path(path)) {
            found.push((number, file));
        }
    }
    for file in root.glob("/sys/kernel/config/target/core/iblock_*/*/info") {
        let text = root.read(&file).unwrap_or_default();
        let number = |key| {
            let (_, rest) = text.split_once(key)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        if let (Some(major), Some(minor)) = (number("Major: "), number("Minor: ")) {
            found.push((Device { major, minor }, file));
        }
    }
    found
}

/// Returns the number of the block device of which the kernel says that name. The node may be gone.
fn named(root: &Root, path: &str) -> Option<Device> {
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Device::at(&root.path(path)).or_else(|| {
        let name = path.strip_prefix("/dev/")?;
        Device::parse(&root.read(format!("/sys/class/block/{name}/dev"))?)
    })
}

/// The room for the names of a directory, in bytes.
const NAMES: usize = 16 << 10;

/// A look at all processes.
struct Processes<'a> {
    nodes: &'a Nodes,
    opens: &'a Opens,
    /// The disks of which pages are pinned.
    pinned: &'a [&'a str],
    /// The mount namespaces and root directories whose mounts were read.
    mounts: HashSet<(Vec<u8>, u64, u64)>,
    /// What is behind mappings, by file system, inode and name, as `maps` has them. What many
    /// processes have mapped is looked at once.
    mapped: HashMap<Vec<u8>, Option<Device>>,
    users: BTreeSet<User>,
    /// Where files are read to.
    text: Vec<u8>,
    /// Where directories are read to.
    names: Vec<u8>,
}

/// A process, or one of its threads.
struct Task<'a> {
    /// Its directory.
    dir: BorrowedFd<'a>,
    /// The directory of the process.
    process: BorrowedFd<'a>,
    pid: u32,
}

/// Opens a directory.
fn open_dir(dir: BorrowedFd<'_>, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(dir, path, flags, Mode::empty())
}

/// Returns what is known of a file, without asking a server for it, which may be gone.
fn stat(
    dir: BorrowedFd<'_>,
    path: impl rustix::path::Arg,
    mask: StatxFlags,
) -> rustix::io::Result<Statx> {
    rustix::fs::statx(dir, path, AtFlags::STATX_DONT_SYNC, mask)
}

/// Returns where the file is that is mapped there: `maps` has leading zeros, `map_files` has not.
fn map_file(range: &[u8]) -> Vec<u8> {
    let mut path = b"map_files/".to_vec();
    for (i, address) in range.split(|byte| *byte == b'-').enumerate() {
        if i > 0 {
            path.push(b'-');
        }
        let zeros = address.iter().take_while(|digit| **digit == b'0').count();
        path.extend_from_slice(&address[zeros.min(address.len().saturating_sub(1))..]);
    }
    path
}

impl<'a> Processes<'a> {
    fn new(nodes: &'a Nodes, opens: &'a Opens, pinned: &'a [&'a str]) -> Self {
        Processes {
            nodes,
            opens,
            pinned,
            mounts: HashSet::new(),
            mapped: HashMap::new(),
            users: BTreeSet::new(),
            text: vec![0; 16 << 10],
            names: Vec::with_capacity(NAMES),
        }
    }

    /// Returns what all processes but this one have of the nodes. Each CPU looks at a share.
    fn look(root: &Root, nodes: &Nodes, opens: &Opens, pinned: &[&str]) -> BTreeSet<User> {
        let own = root.link("/proc/self");
        let mut pids: Vec<u32> = root
            .list("/proc")
            .into_iter()
            .filter(|name| Some(name) != own.as_ref())
            .filter_map(|name| name.parse().ok())
            .collect();
        pids.sort_unstable();
        let Ok(proc) = open_dir(CWD, root.path("/proc")) else {
            return BTreeSet::new();
        };
        let shares = thread::available_parallelism().map_or(1, |cpus| cpus.get().min(8));
        let share = |number: usize| {
            let mut processes = Processes::new(nodes, opens, pinned);
            for pid in pids.iter().skip(number).step_by(shares) {
                if opens.are_explained() {
                    break;
                }
                // It may be gone.
                let _ = processes.process(proc.as_fd(), *pid);
            }
            processes.users
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..shares)
                .map(|number| {
                    let other = move || share(number);
                    // Without a thread it is done here, later.
                    (number, thread::Builder::new().spawn_scoped(scope, other))
                })
                .collect();
            let mut users = share(0);
            for (number, other) in others {
                let other = other.ok().and_then(|other| other.join().ok());
                users.extend(other.unwrap_or_else(|| share(number)));
            }
            users
        })
    }

    fn process(&mut self, proc: BorrowedFd<'_>, pid: u32) -> rustix::io::Result<()> {
        let dir = open_dir(proc, pid.to_string())?;
        let task = Task {
            dir: dir.as_fd(),
            process: dir.as_fd(),
            pid,
        };
        self.mounts(&task);
        self.pins(&task);
        // Each thread may have files of its own, and a process whose first thread ended has what
        // the others have. The directory has one link for each, beside its own two.
        let threads = stat(task.dir, c"task", StatxFlags::NLINK)?.stx_nlink;
        if threads == 3 {
            self.maps(&task);
            return self.files(&task);
        }
        let tasks = open_dir(task.dir, "task")?;
        let mut mapped = false;
        for thread in self.list(tasks.as_fd())? {
            let Ok(dir) = open_dir(tasks.as_fd(), &thread) else {
                continue;
            };
            let thread = Task {
                dir: dir.as_fd(),
                process: task.process,
                pid,
            };
            if !mapped {
                mapped = self.maps(&thread);
            }
            let _ = self.files(&thread);
        }
        Ok(())
    }

    /// Notes the mounts of a process, unless those of another in the same place were.
    fn mounts(&mut self, task: &Task<'_>) {
        if let Ok(namespace) = rustix::fs::readlinkat(task.dir, "ns/mnt", Vec::new()) {
            let mask = StatxFlags::INO | StatxFlags::MNT_ID;
            let Ok(root) = stat(task.dir, c"root", mask) else {
                return;
            };
            let place = (namespace.into_bytes(), root.stx_mnt_id, root.stx_ino);
            if !self.mounts.insert(place) {
                return;
            }
        }
        let Ok(text) = self.read(task.dir, "mountinfo") else {
            return;
        };
        let text = String::from_utf8_lossy(&text);
        for line in text.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let [_, _, number, _, at, .., source, _] = words[..] else {
                continue;
            };
            let number = Device::parse(number).and_then(|number| self.nodes.number(number));
            if let Some(node) = number {
                self.opens.explain("mount", node);
            }
            // Some file systems are known by the name of the disk only, which need not mean much.
            if let Some(node) = number.or_else(|| self.nodes.file(source)) {
                self.users.insert(User {
                    how: How::Mounted(at.to_owned()),
                    node: node.to_owned(),
                });
            }
        }
    }

    /// Notes that a process has pinned memory: its own, which outlives the mapping and the file, for
    /// io_uring, RDMA and iommufd.
    fn pins(&mut self, task: &Task<'_>) {
        if self.pinned.is_empty() {
            return;
        }
        let Ok(status) = self.read(task.dir, "status") else {
            return;
        };
        let status = String::from_utf8_lossy(&status);
        let size = status
            .lines()
            .find_map(|line| line.strip_prefix("VmPin:")?.split_whitespace().next());
        if size.is_some_and(|size| size != "0") {
            self.may_pin(task);
        }
    }

    fn may_pin(&mut self, task: &Task<'_>) {
        for disk in self.pinned {
            self.add(task, (*disk).to_owned(), |pid, comm| How::MayPin {
                pid,
                comm,
            });
        }
    }

    /// Notes what a process has mapped, which outlives its file. Returns whether there was
    /// something.
    fn maps(&mut self, task: &Task<'_>) -> bool {
        let Ok(text) = self.read(task.dir, "maps") else {
            return false;
        };
        let mut last: &[u8] = b"";
        for line in text.split(|byte| *byte == b'\n') {
            // The range, how it may be accessed, the offset; then the file.
            let mut words = line.splitn(4, |byte| *byte == b' ');
            let (Some(range), Some(file)) = (words.next(), words.nth(2)) else {
                continue;
            };
            // Of one file there are several parts.
            if file == last || file == b"00:00 0" || file.starts_with(b"00:00 0 ") {
                continue;
            }
            last = file;
            let number = match self.mapped.get(file) {
                Some(number) => *number,
                None => {
                    let Ok(stat) = stat(task.dir, map_file(range), StatxFlags::TYPE) else {
                        last = b"";
                        continue;
                    };
                    let number = Device::of_statx(&stat);
                    self.mapped.insert(file.to_vec(), number);
                    number
                }
            };
            if let Some(node) = number.and_then(|number| self.nodes.number(number)) {
                self.open(task, node.to_owned());
            }
        }
        !text.is_empty()
    }

    /// Notes what a thread has open, by number, whatever the node is called.
    fn files(&mut self, task: &Task<'_>) -> rustix::io::Result<()> {
        let dir = open_dir(task.dir, "fd")?;
        for file in self.list(dir.as_fd())? {
            if !self.pinned.is_empty() {
                self.vfio(task, dir.as_fd(), &file);
            }
            let stat = stat(dir.as_fd(), &file, StatxFlags::TYPE);
            match stat {
                Ok(stat) if stat.stx_mode & 0o170_000 != 0 => {
                    let number = Device::of_statx(&stat);
                    if let Some(node) = number.and_then(|number| self.nodes.number(number)) {
                        self.open(task, node.to_owned());
                    }
                }
                // An anonymous inode is of no type.
                _ => self.ring(task, dir.as_fd(), &file),
            }
        }
        Ok(())
    }

    /// Notes a file of VFIO, by which memory of a guest is pinned that the kernel counts as locked.
    fn vfio(&mut self, task: &Task<'_>, dir: BorrowedFd<'_>, file: &CStr) {
        let link = rustix::fs::readlinkat(dir, file, Vec::new());
        if link.is_ok_and(|link| link.to_bytes().starts_with(b"/dev/vfio/")) {
            self.may_pin(task);
        }
    }

    /// Notes what is registered with an io_uring, which is known by name.
    fn ring(&mut self, task: &Task<'_>, dir: BorrowedFd<'_>, file: &CStr) {
        let Ok(link) = rustix::fs::readlinkat(dir, file, Vec::new()) else {
            return;
        };
        let link = link.to_string_lossy();
        if !link.starts_with("anon_inode:") || !link.contains("io_uring") {
            return;
        }
        let info = [b"fdinfo/", file.to_bytes()].concat();
        let Ok(text) = self.read(task.dir, info) else {
            return;
        };
        let text = String::from_utf8_lossy(&text);
        for line in text.lines() {
            // What was registered by a process that is gone stays with the ring.
            let buffers = line.strip_prefix("UserBufs:").map(str::trim);
            if buffers.is_some_and(|buffers| buffers != "0") {
                self.may_pin(task);
            }
            let Some((slot, file)) = line.trim_start().split_once(": ") else {
                continue;
            };
            if slot.parse::<u32>().is_err() {
                continue;
            }
            if let Some(node) = self.nodes.file(file).map(str::to_owned) {
                self.add(task, node, |pid, comm| How::InRing { pid, comm });
            }
        }
    }

    fn open(&mut self, task: &Task<'_>, node: String) {
        self.add(task, node, |pid, comm| How::Open { pid, comm });
    }

    fn add(&mut self, task: &Task<'_>, node: String, how: impl Fn(u32, String) -> How) {
        // It may be gone.
        let Ok(name) = self.read(task.process, "comm") else {
            return;
        };
        let comm = String::from_utf8_lossy(&name).trim_end().to_owned();
        self.opens.explain("process", &node);
        self.users.insert(User {
            how: how(task.pid, comm),
            node,
        });
    }
    /// Returns the names in a directory.
    fn list(&mut self, dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<CString>> {
        /// More than an entry for a number takes.
        const ENTRY: usize = 48;

        let mut names = Vec::new();
        let mut entries = RawDir::new(dir, self.names.spare_capacity_mut());
        let mut room = NAMES;
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_owned();
            room = room.saturating_sub(ENTRY);
            if name.as_bytes().first() != Some(&b'.') {
                names.push(name);
            }
            // The kernel goes on until there is no room, so this is the end.
            if room > ENTRY && entries.is_buffer_empty() {
                break;
            }
        }
        Ok(names)
    }

    /// Returns the text of a file.
    fn read(
        &mut self,
        dir: BorrowedFd<'_>,
        path: impl rustix::path::Arg,
    ) -> rustix::io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(dir, path, flags, Mode::empty())?;
        // Until the end: a file here may come in parts, and has no size.
        let mut length = 0;
        loop {
            if length == self.text.len() {
                self.text.resize(2 * length, 0);
            }
            match rustix::io::read(&file, &mut self.text[length..])? {
                0 => return Ok(self.text[..length].to_vec()),
                more => length += more,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_in_map_files() {
        assert_eq!(map_file(b"00400000-7fff1000"), b"map_files/400000-7fff1000");
        assert_eq!(map_file(b"00000000-00001000"), b"map_files/0-1000");
    }
}
