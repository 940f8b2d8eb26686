// SPDX-License-Identifier: GPL-2.0

//! Trees that look like a machine's, and the tool that is run on them.

// Each test has a part of it.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::fs::{makedev, mknodat, FileType, Mode, CWD};
use tempfile::TempDir;

/// A directory that stands for `/`.
pub struct Machine(TempDir);

impl Machine {
    /// Makes one with a nd bus, and both drivers.
    pub fn new() -> Self {
        let machine = Machine(tempfile::tempdir().unwrap());
        machine.file("/proc/swaps", "Filename Type Size Used Priority\n");
        machine.file("/sys/bus/nd/drivers/pmem_dax/claim", "");
        machine.dir("/sys/bus/nd/drivers/nd_pmem");
        machine.dir("/sys/bus/nd/devices");
        machine.dir("/sys/class/block");
        machine.dir("/dev");
        machine
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name.trim_start_matches('/'))
    }

    pub fn dir(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    pub fn file(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    pub fn link(&self, name: &str, target: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        symlink(target, self.path(name)).unwrap();
    }

    /// Makes a file that is read like an attribute whose lock is held: for ever.
    pub fn stuck(&self, name: &str) {
        let _ = fs::remove_file(self.path(name));
        let mode = Mode::from_raw_mode(0o600);
        mknodat(CWD, self.path(name), FileType::Fifo, mode, 0).unwrap();
    }

    /// Makes a block device. Returns whether that is allowed here.
    pub fn node(&self, name: &str, major: u32, minor: u32) -> bool {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        let mode = Mode::from_raw_mode(0o600);
        let number = makedev(major, minor);
        let made = mknodat(CWD, self.path(name), FileType::BlockDevice, mode, number).is_ok();
        if !made {
            eprintln!("not tested: block devices cannot be made here");
        }
        made
    }

    /// Makes a raw namespace.
    pub fn namespace(&self, name: &str, size: u64) {
        let dir = format!("/sys/bus/nd/devices/{name}");
        self.file(&format!("{dir}/size"), &format!("{size}\n"));
        self.file(&format!("{dir}/mode"), "raw\n");
        self.file(&format!("{dir}/holder"), "\n");
    }

    /// Gives a namespace a UUID and the name of a label, as one with labels has; both may be
    /// empty.
    pub fn label(&self, name: &str, uuid: &str, label: &str) {
        let dir = format!("/sys/bus/nd/devices/{name}");
        self.file(&format!("{dir}/uuid"), &format!("{uuid}\n"));
        self.file(&format!("{dir}/alt_name"), &format!("{label}\n"));
    }

    /// Makes the disk, with the number 259:MINOR, that a driver made of a device of the bus.
    pub fn bind(&self, device: &str, driver: &str, disk: &str, minor: u32) {
        let dir = format!("/sys/bus/nd/devices/{device}");
        self.link(&format!("{dir}/driver"), &format!("../../drivers/{driver}"));
        self.dir(&format!("{dir}/block/{disk}"));
        self.block(disk, minor);
        self.dir(&format!("/sys/block/{disk}"));
        if driver == "pmem_dax" {
            self.file(&format!("/sys/block/{disk}/pmem_dax/openers"), "0\n");
            self.file(&format!("/sys/block/{disk}/pmem_dax/pinned"), "0\n");
        }
    }

    /// Makes a partition of a disk.
    pub fn part(&self, disk: &str, number: u32, minor: u32) {
        self.dir(&format!("/sys/block/{disk}/{disk}p{number}"));
        self.block(&format!("{disk}p{number}"), minor);
    }

    fn block(&self, name: &str, minor: u32) {
        self.file(
            &format!("/sys/class/block/{name}/dev"),
            &format!("259:{minor}\n"),
        );
        self.dir(&format!("/sys/class/block/{name}/holders"));
    }

    /// Makes a process with one thread, and returns its directory.
    pub fn process(&self, pid: u32, comm: &str) -> String {
        let dir = format!("/proc/{pid}");
        self.file(&format!("{dir}/comm"), &format!("{comm}\n"));
        for dir in [dir.clone(), format!("{dir}/task/{pid}")] {
            self.dir(&format!("{dir}/fd"));
            self.file(&format!("{dir}/maps"), "");
            self.file(&format!("{dir}/mountinfo"), "");
        }
        dir
    }

    /// Runs the tool on it.
    pub fn run(&self, words: &[&str]) -> Said {
        let mut all = vec!["--root", self.0.path().to_str().unwrap()];
        all.extend(words);
        run(&all)
    }
}

/// What the tool said, and its status.
#[derive(Debug)]
pub struct Said {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs the tool.
pub fn run(words: &[&str]) -> Said {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_pmem-dax"))
        .args(words)
        .output()
        .unwrap();
    Said {
        status: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}

/// Returns a file of the package, or of the checkout around it.
pub fn source(name: &str) -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = package
        .ancestors()
        .map(|dir| dir.join(name))
        .find(|file| file.exists())
        .unwrap();
    fs::read_to_string(file).unwrap()
}
