// SPDX-License-Identifier: GPL-2.0

//! What `check` says, on a tree.

mod common;

use std::fs;

use common::Machine;

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

    let said = machine.run(&["check", "-v", "namespace0.0"]);
    assert_eq!(
        said.err,
        "pmem-dax: namespace0.0 is /dev/pmem0 of pmem_dax\n"
    );
}
