// SPDX-License-Identifier: GPL-2.0

//! Each way to use a disk, on a tree.

mod common;

use std::fs;

use common::Machine;
use serde_json::json;

/// A disk of nd_pmem with two partitions, something of which is open.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.namespace("namespace0.0", 512 << 20);
    machine.bind("namespace0.0", "nd_pmem", "pmem0", 0);
    machine.part("pmem0", 1, 1);
    machine.part("pmem0", 2, 2);
    machine.file("/sys/bus/nd/drivers/nd_pmem/module/refcnt", "1\n");
    machine
}

/// Returns the users that `status` shows, and checks that `list` agrees.
fn users(machine: &Machine) -> Vec<String> {
    let said = machine.run(&["status", "namespace0.0"]);
    assert_eq!(said.status, 0, "{said:?}");
    let (_, users) = said.out.split_once("users:").unwrap();
    let users: Vec<_> = users.lines().map(|line| line.trim().to_owned()).collect();

    let said = machine.run(&["list", "--json"]);
    assert_eq!(said.json()[0]["used"], json!(users != ["none"]));
    users
}

#[test]
fn nobody() {
    let machine = machine();
    machine.process(10, "init");
    assert_eq!(users(&machine), ["none"]);
}

/// Another disk is mounted, whose name starts alike.
#[test]
fn other_disks() {
    let machine = machine();
    let process = machine.process(10, "init");
    machine.file(
        &format!("{process}/mountinfo"),
        "22 1 259:9 / / rw - ext4 /dev/pmem0p11 rw\n",
    );
    machine.file("/proc/swaps", "Filename\n/dev/pmem01 partition 1 0 -2\n");
    assert_eq!(users(&machine), ["none"]);
}

#[test]
fn mounts() {
    let machine = machine();
    let process = machine.process(10, "init");
    machine.file(
        &format!("{process}/mountinfo"),
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
         23 22 259:1 / /srv rw,relatime shared:2 master:1 - ext4 /dev/pmem0p1 rw\n\
         24 22 0:42 / /a\\040b rw - btrfs /dev/pmem0p2 rw\n",
    );
    // That of a container has others, that of another process in it the same.
    for pid in [11, 12] {
        let process = machine.process(pid, "sh");
        machine.link(&format!("{process}/ns/mnt"), "mnt:[4026532000]");
        machine.link(&format!("{process}/root"), "../..");
        machine.file(
            &format!("{process}/mountinfo"),
            "30 1 259:0 / /disk rw - xfs /dev/pmem0 rw\n",
        );
    }
    assert_eq!(
        users(&machine),
        [
            "pmem0p2 is mounted at /a\\040b",
            "pmem0 is mounted at /disk",
            "pmem0p1 is mounted at /srv"
        ]
    );
}

#[test]
fn swap() {
    let machine = machine();
    machine.file("/proc/swaps", "Filename\n/dev/pmem0p2 partition 1 0 -2\n");
    assert_eq!(users(&machine), ["the kernel swaps to /dev/pmem0p2"]);
}

#[test]
fn other_devices() {
    let machine = machine();
    machine.dir("/sys/class/block/pmem0p1/holders/dm-0");
    assert_eq!(users(&machine), ["pmem0p1 is part of /dev/dm-0"]);
}

#[test]
fn files_of_the_kernel() {
    let machine = machine();
    if !machine.node("/dev/pmem0", 259, 0) || !machine.node("/dev/pmem0p1", 259, 1) {
        return;
    }
    let config = "/sys/kernel/config";
    let exports = format!("{config}/nvmet/subsystems/a/namespaces");
    for (i, enabled) in [(1, "1\n"), (2, "0\n")] {
        machine.file(&format!("{exports}/{i}/device_path"), "/dev/pmem0p1\n");
        machine.file(&format!("{exports}/{i}/enable"), enabled);
    }
    let gadget = format!("{config}/usb_gadget/g/functions/mass_storage.0/lun.0/file");
    machine.file(&gadget, "/dev/pmem0\n");
    let target = format!("{config}/target/core");
    machine.file(
        &format!("{target}/fileio_0/x/info"),
        "Status: ACTIVATED\n        TCM FILEIO ID: 0        File: /dev/pmem0  Size: 512  Mode: O_DSYNC\n",
    );
    machine.file(
        &format!("{target}/iblock_0/y/info"),
        "        iBlock device: pmem0p2\n        Major: 259 Minor: 2  CLAIMED: IBLOCK\n",
    );
    assert_eq!(
        users(&machine),
        [
            format!("pmem0p1 is what {exports}/1/device_path names"),
            format!("pmem0 is what {target}/fileio_0/x/info names"),
            format!("pmem0p2 is what {target}/iblock_0/y/info names"),
            format!("pmem0 is what {gadget} names"),
        ]
    );
}

#[test]
fn processes() {
    let machine = machine();
    // Under a name that does not say what it is.
    if !machine.node("/tmp/a", 259, 0) || !machine.node("/tmp/b", 259, 2) {
        return;
    }
    let open = machine.process(20, "opener");
    machine.link(&format!("{open}/fd/3"), "../../../tmp/a");
    machine.link(&format!("{open}/fd/4"), "../../../tmp/a");
    machine.link(&format!("{open}/fd/5"), "/dev/null");

    let mapped = machine.process(21, "mapper");
    machine.file(
        &format!("{mapped}/maps"),
        "00400000-00401000 r-xp 00000000 08:01 17 /bin/mapper\n\
         7f0000000000-7f0000200000 rw-s 00000000 00:06 99 /tmp/b (deleted)\n\
         7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n",
    );
    machine.link(
        &format!("{mapped}/map_files/7f0000000000-7f0000200000"),
        "../../../tmp/b",
    );

    let threads = machine.process(22, "threads");
    machine.dir(&format!("{threads}/task/23/fd"));
    machine.link(&format!("{threads}/task/23/fd/7"), "../../../../../tmp/b");

    let ring = machine.process(24, "ring (1)");
    machine.link(&format!("{ring}/fd/8"), "anon_inode:[io_uring]");
    machine.file(
        &format!("{ring}/fdinfo/8"),
        "pos:\t0\nUserFiles:\t2\n    0: /dev/pmem0p1\n    1: /dev/pmem0p11\nUserBufs:\t0\n",
    );
    assert_eq!(
        users(&machine),
        [
            "process 20 (opener) has pmem0 open or mapped",
            "process 21 (mapper) has pmem0p2 open or mapped",
            "process 22 (threads) has pmem0p2 open or mapped",
            "process 24 (ring (1)) has pmem0p1 in an io_uring",
        ]
    );

    let said = machine.run(&["status", "--json", "namespace0.0"]).json();
    assert_eq!(
        said["users"][1],
        json!({
            "kind": "process", "device": "pmem0p2", "pid": 21, "comm": "mapper",
            "text": "process 21 (mapper) has pmem0p2 open or mapped"
        })
    );
    assert_eq!(said["users"][3]["kind"], "io_uring");

    // With no opens, no user is looked for.
    machine.file("/sys/bus/nd/drivers/nd_pmem/module/refcnt", "0\n");
    assert_eq!(users(&machine), ["none"]);
    // That count is none of a btt's.
    machine.file("/sys/bus/nd/devices/namespace0.0/holder", "btt0.0\n");
    machine.file("/sys/bus/nd/devices/btt0.0/size", "1\n");
    machine.bind("btt0.0", "nd_pmem", "pmem0", 0);
    assert_eq!(users(&machine).len(), 4);
    // Nor is there one if the driver is no module.
    fs::remove_file(machine.path("/sys/bus/nd/drivers/nd_pmem/module/refcnt")).unwrap();
    machine.file("/sys/bus/nd/devices/namespace0.0/holder", "\n");
    assert_eq!(users(&machine).len(), 4);
}

/// Loop devices whose nodes are not here: of containers.
#[test]
fn loop_devices_of_others() {
    let machine = machine();
    let file = |number| format!("/sys/block/loop{number}/loop/backing_file");
    machine.file(&file(0), "/dev/pmem0p1\n");
    machine.file(&file(1), "/dev/pmem0p2 (deleted)\n");
    machine.file(&file(2), "/dev/pmem01\n");
    machine.file(&file(3), "/node\n");
    assert_eq!(
        users(&machine),
        [
            format!("pmem0p1 is what {} names", file(0)),
            format!("pmem0p2 is what {} names", file(1)),
        ]
    );
}

/// What has memory pinned is asked of each process, if pages are pinned.
#[test]
fn pinners() {
    let machine = Machine::new();
    machine.namespace("namespace0.0", 512 << 20);
    machine.bind("namespace0.0", "pmem_dax", "pmem0", 0);
    for (pid, comm, size) in [(30, "none", "       0"), (31, "rdma", "    2048")] {
        let process = machine.process(pid, comm);
        machine.file(
            &format!("{process}/status"),
            &format!("Name:\t{comm}\nVmLck:\t       8 kB\nVmPin:\t{size} kB\n"),
        );
    }
    let process = machine.process(32, "qemu");
    machine.file("/dev/vfio/12", "");
    machine.link(&format!("{process}/fd/3"), "/dev/vfio/12");
    for (pid, buffers) in [(33, 0), (34, 2)] {
        let process = machine.process(pid, "ring");
        machine.link(&format!("{process}/fd/8"), "anon_inode:[io_uring]");
        machine.file(
            &format!("{process}/fdinfo/8"),
            &format!("UserFiles:\t0\nUserBufs:\t{buffers}\n    0: 0x7f00/4096\n"),
        );
    }
    machine.file("/sys/block/pmem0/pmem_dax/openers", "1\n");
    assert_eq!(users(&machine).len(), 1);

    machine.file("/sys/block/pmem0/pmem_dax/pinned", "512\n");
    let may_pin =
        |who: &str| format!("process {who} has memory pinned, which may be that of pmem0");
    assert_eq!(
        users(&machine),
        [
            "512 pages of pmem0 are pinned: by io_uring, RDMA or VFIO".to_owned(),
            may_pin("31 (rdma)"),
            may_pin("32 (qemu)"),
            may_pin("34 (ring)"),
        ]
    );
    let said = machine.run(&["status", "--json", "namespace0.0"]).json();
    assert_eq!(
        said["users"][1],
        json!({
            "kind": "pinner", "device": "pmem0", "pid": 31, "comm": "rdma",
            "text": may_pin("31 (rdma)")
        })
    );
}

/// What only pmem_dax counts.
#[test]
fn counts_of_pmem_dax() {
    let machine = Machine::new();
    machine.namespace("namespace0.0", 512 << 20);
    machine.bind("namespace0.0", "pmem_dax", "pmem0", 0);
    assert_eq!(users(&machine), ["none"]);

    machine.file("/sys/block/pmem0/pmem_dax/openers", "2\n");
    assert_eq!(
        users(&machine),
        [
            "pmem0 is open, and no process shows it (openers: 2): a file on its way through a \
             socket, or something in the kernel"
        ]
    );
    machine.file("/sys/block/pmem0/pmem_dax/pinned", "512\n");
    assert_eq!(
        users(&machine),
        ["512 pages of pmem0 are pinned: by io_uring, RDMA or VFIO"]
    );
    machine.file("/sys/block/pmem0/pmem_dax/openers", "0\n");
    assert_eq!(users(&machine).len(), 1);
}

/// What `list` does not look for, as all opens are explained.
#[test]
fn enough_is_known() {
    let machine = machine();
    machine.namespace("namespace1.0", 512 << 20);
    machine.bind("namespace1.0", "nd_pmem", "pmem1", 10);
    let process = machine.process(10, "init");
    machine.file(
        &format!("{process}/mountinfo"),
        "23 22 259:1 / /srv rw - ext4 /dev/pmem0p1 rw\n\
         24 22 0:50 / /tmp rw - tmpfs /dev/pmem0 rw\n",
    );
    if !machine.node("/tmp/b", 259, 10) {
        return;
    }
    // It is the last of many.
    for pid in 1000..1100 {
        machine.process(pid, "idle");
    }
    let process = machine.process(2000, "opener");
    machine.link(&format!("{process}/fd/3"), "../../../tmp/b");
    let used = |machine: &Machine| {
        let said = machine.run(&["list", "--json"]).json();
        [said[0]["used"].clone(), said[1]["used"].clone()]
    };

    // The mount by number is one; that by name only need not be one.
    assert_eq!(used(&machine), [json!(true), json!(false)]);
    machine.file("/sys/bus/nd/drivers/nd_pmem/module/refcnt", "2\n");
    assert_eq!(used(&machine), [json!(true), json!(true)]);
}
