// SPDX-License-Identifier: GPL-2.0

//! What `check` says, on a tree.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::Machine;

const U: &str = "01234567-89ab-cdef-0123-456789abcdef";

#[track_caller]
fn says(machine: &Machine, status: i32, text: &str) {
    let said = machine.run(&["check", "namespace0.0"]);
    assert_eq!((said.status, said.out.as_str()), (status, ""), "{said:?}");
    let text = if text.is_empty() {
        String::new()
    } else {
        format!("pmem-dax: {text}\n")
    };
    assert_eq!(said.err, text);
}

#[test]
fn all_that_may_be_wrong() {
    let machine = Machine::new();
    says(&machine, 1, "there is no namespace0.0; see: pmem-dax list");
    machine.namespace("namespace0.0", 512 << 20);
    says(&machine, 1, "namespace0.0 has no driver");
    machine.bind("namespace0.0", "nd_pmem", "pmem0", 0);
    says(
        &machine,
        1,
        "namespace0.0 belongs to the driver nd_pmem, not pmem_dax",
    );

    let driver = machine.path("/sys/bus/nd/devices/namespace0.0/driver");
    fs::remove_file(driver).unwrap();
    machine.bind("namespace0.0", "pmem_dax", "pmem0", 0);
    says(
        &machine,
        1,
        "there is no /dev/pmem0, which namespace0.0 should be",
    );
    machine.file("/dev/pmem0", "");
    says(
        &machine,
        1,
        "/dev/pmem0 is not namespace0.0: it is no block device",
    );

    fs::remove_file(machine.path("/dev/pmem0")).unwrap();
    if !machine.node("/dev/pmem0", 259, 4) {
        return;
    }
    says(
        &machine,
        1,
        "/dev/pmem0 is not namespace0.0: it is the device 259:4, and the disk is 259:0",
    );
    fs::remove_file(machine.path("/dev/pmem0")).unwrap();
    machine.node("/dev/pmem0", 259, 0);
    says(&machine, 0, "");

    let said = machine.run(&["check", "--wait", "1", "-v", "namespace0.0"]);
    assert_eq!(
        said.err,
        "pmem-dax: namespace0.0 is /dev/pmem0 of pmem_dax\n"
    );
}

/// What the configuration says, which is of those that have a name.
#[test]
fn all_that_is_to_be_there_at_boot() {
    let machine = Machine::new();
    let said = |machine: &Machine| machine.run(&["check", "-v"]);
    let nothing = said(&machine);
    assert_eq!((nothing.status, nothing.err.as_str()), (0, ""));

    machine.file(
        "/etc/modprobe.d/pmem-dax.conf",
        &format!("options pmem_dax claim=namespace0.0:align=1G,uuid:{U},all:mode=fsdax\n"),
    );
    machine.file(
        "/etc/pmem-dax.strict",
        &format!("# mine\nuuid:{U}\nname:data\n"),
    );
    machine.namespace("namespace0.0", 512 << 20);
    machine.bind("namespace0.0", "nd_pmem", "pmem0", 0);
    let wrong = said(&machine);
    assert_eq!(
        wrong.err,
        format!(
            "pmem-dax: no namespace has the label name data; see: pmem-dax list\n\
             pmem-dax: namespace0.0 belongs to the driver nd_pmem, not pmem_dax\n\
             pmem-dax: no namespace has the UUID {U}; see: pmem-dax list\n"
        )
    );
    assert_eq!(wrong.status, 1);

    fs::remove_file(machine.path("/sys/bus/nd/devices/namespace0.0/driver")).unwrap();
    machine.bind("namespace0.0", "pmem_dax", "pmem0", 0);
    machine.namespace("namespace1.0", 512 << 20);
    machine.label("namespace1.0", U, "data");
    machine.bind("namespace1.0", "pmem_dax", "pmem1", 1);
    if !machine.node("/dev/pmem0", 259, 0) {
        return;
    }
    machine.node("/dev/pmem1", 259, 1);
    let right = said(&machine);
    assert_eq!(
        right.err,
        "pmem-dax: namespace0.0 is /dev/pmem0 of pmem_dax\n\
             pmem-dax: namespace1.0 is /dev/pmem1 of pmem_dax\n"
    );
    assert_eq!(right.status, 0);
}

#[test]
fn without_the_driver() {
    let machine = Machine::new();
    fs::remove_dir_all(machine.path("/sys/bus/nd/drivers/pmem_dax")).unwrap();
    machine.file("/etc/pmem-dax.strict", "namespace0.0\n");
    machine.namespace("namespace0.0", 512 << 20);
    let start = Instant::now();
    let said = machine.run(&["check", "--wait", "30"]);
    assert_eq!(
        said.err,
        "pmem-dax: pmem_dax is not loaded\npmem-dax: so it does not have namespace0.0\n"
    );
    assert_eq!(said.status, 1);
    // Nothing is waited for that does not come.
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn it_is_waited_for() {
    let machine = Machine::new();
    machine.file("/etc/pmem-dax.strict", "namespace0.0\n");
    let start = Instant::now();
    let said = machine.run(&["check", "--wait", "1"]);
    assert_eq!(
        said.err,
        "pmem-dax: there is no namespace0.0; see: pmem-dax list\n"
    );
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn for_udev() {
    let machine = Machine::new();
    machine.file("/sys/bus/nd/devices/pfn1.0/namespace", "namespace1.0\n");
    machine.namespace("namespace1.0", 512 << 20);
    machine.label("namespace1.0", U, "data");
    let is_strict = |device| machine.run(&["is-strict", device]).status;
    assert_eq!(is_strict("pfn1.0"), 1);
    machine.file("/etc/pmem-dax.strict", &format!("uuid:{U}\n"));
    assert_eq!(is_strict("pfn1.0"), 0);
    assert_eq!(is_strict("namespace1.0"), 0);
    assert_eq!(is_strict("namespace0.0"), 1);
}
