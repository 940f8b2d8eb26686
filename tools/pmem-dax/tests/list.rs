// SPDX-License-Identifier: GPL-2.0

//! What `list` and `status` make of a tree.

mod common;

use std::time::{Duration, Instant};

use common::Machine;
use serde_json::json;

const MIB: u64 = 1 << 20;

/// Three namespaces: one of each driver, the second in fsdax mode, and one without a driver.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.namespace("namespace10.0", 3 << 30);
    machine.namespace("namespace0.0", 512 * MIB);
    machine.bind("namespace0.0", "nd_pmem", "pmem0", 0);
    machine.file("/sys/bus/nd/drivers/nd_pmem/module/refcnt", "0\n");
    machine.namespace("namespace2.0", 64 * MIB);
    machine.file("/sys/bus/nd/devices/namespace2.0/mode", "memory\n");
    machine.file("/sys/bus/nd/devices/namespace2.0/holder", "pfn2.0\n");
    machine.file("/sys/bus/nd/devices/pfn2.0/size", "65011712\n");
    machine.bind("pfn2.0", "pmem_dax", "pmem2", 2);
    machine.file(
        "/sys/bus/nd/drivers/pmem_dax/claim",
        "namespace2.0:align=1G\n",
    );
    // What a region has ready for the next one.
    machine.namespace("namespace0.1", 0);
    machine
}

#[test]
fn one_line_for_each() {
    let said = machine().run(&["list"]);
    assert_eq!(said.err, "");
    assert_eq!(
        said.out,
        "\
NAMESPACE      MODE       SIZE  DRIVER    DISK     CLAIMED     USERS  UUID
namespace0.0   raw        512M  nd_pmem   pmem0    no          no
namespace2.0   fsdax       64M  pmem_dax  pmem2    align=1G    no
namespace10.0  raw        3.0G  -         -        no          -
"
    );
    assert_eq!(said.status, 0);
}

#[test]
fn all_are_claimed() {
    let machine = machine();
    machine.file(
        "/sys/bus/nd/drivers/pmem_dax/claim",
        "namespace2.0\nall:mode=fsdax\n",
    );
    let claims = |machine: &Machine| -> Vec<String> {
        let out = machine.run(&["list"]).out;
        out.lines()
            .skip(1)
            .map(|line| line.split_whitespace().nth(5).unwrap().to_owned())
            .collect()
    };
    assert_eq!(claims(&machine), ["mode=fsdax", "yes", "mode=fsdax"]);
    machine.file("/sys/bus/nd/drivers/pmem_dax/claim", "all\n");
    assert_eq!(claims(&machine), ["all", "all", "all"]);
}

#[test]
fn as_json() {
    let said = machine().run(&["list", "--json"]);
    assert_eq!(
        said.json(),
        json!([
            {
                "namespace": "namespace0.0", "uuid": null, "label": null, "mode": "raw", "size": 512 * MIB,
                "owner": "namespace0.0", "driver": "nd_pmem", "disk": "/dev/pmem0",
                "claim": null, "used": false, "busy": null
            },
            {
                "namespace": "namespace2.0", "uuid": null, "label": null, "mode": "fsdax", "size": 64 * MIB,
                "owner": "pfn2.0", "driver": "pmem_dax", "disk": "/dev/pmem2",
                "claim": "namespace2.0:align=1G", "used": false, "busy": null
            },
            {
                "namespace": "namespace10.0", "uuid": null, "label": null, "mode": "raw", "size": 3072 * MIB,
                "owner": "namespace10.0", "driver": null, "disk": null,
                "claim": null, "used": null, "busy": null
            },
        ])
    );
}

#[test]
fn no_bus() {
    let machine = Machine::new();
    let said = machine.run(&["list", "--json"]);
    assert_eq!((said.status, said.out.as_str()), (0, "[]\n"));
}

#[test]
fn status_of_one() {
    let machine = machine();
    machine.file(
        "/etc/modprobe.d/x.conf",
        "options pmem_dax claim=namespace0.0,namespace2.0:align=1G\n",
    );
    let said = machine.run(&["status", "namespace2.0"]);
    assert_eq!(
        said.out,
        "\
namespace: namespace2.0
uuid:      none
mode:      fsdax
size:      67108864 (64M)
used as:   pfn2.0
driver:    pmem_dax
disk:      /dev/pmem2
claimed:   namespace2.0:align=1G
at boot:   pmem_dax claims namespace2.0:align=1G
users:     none
"
    );
    let said = machine.run(&["status", "--json", "namespace2.0"]).json();
    assert_eq!(said["at_boot"], "namespace2.0:align=1G");
    assert_eq!(said["users"], json!([]));
    assert_eq!(said["used"], false);
}

#[test]
fn status_of_one_without_a_driver() {
    let said = machine().run(&["status", "namespace10.0"]);
    assert_eq!(
        said.out,
        "\
namespace: namespace10.0
uuid:      none
mode:      raw
size:      3221225472 (3.0G)
driver:    none
disk:      none
claimed:   no
at boot:   not claimed by pmem_dax
users:     -
"
    );
}

#[test]
fn names_that_are_none() {
    let machine = machine();
    for (name, reason) in [
        (
            "namespace9.0",
            "there is no namespace9.0; see: pmem-dax list",
        ),
        (
            "pmem0",
            "pmem0 is not the name of a namespace, like namespace0.0",
        ),
        (
            "namespace0.0/..",
            "namespace0.0/.. is not the name of a namespace",
        ),
    ] {
        let said = machine.run(&["status", name]);
        assert_eq!(said.status, 1, "{name}");
        assert_eq!(said.err, format!("pmem-dax: {reason}\n"));
    }
}

/// Locks that are held: of a namespace, and of the pfn of another one.
#[test]
fn nothing_waits_for_locks() {
    let machine = machine();
    machine.namespace("namespace3.0", 32 * MIB);
    machine.stuck("/sys/bus/nd/devices/namespace0.0/mode");
    machine.stuck("/sys/bus/nd/devices/pfn2.0/size");
    std::fs::remove_file(machine.path("/sys/bus/nd/devices/namespace0.0/driver")).unwrap();

    let since = Instant::now();
    let said = machine.run(&["list"]);
    assert!(since.elapsed() < Duration::from_secs(5));
    assert_eq!(said.status, 3);
    assert_eq!(
        said.out,
        "\
NAMESPACE      MODE       SIZE  DRIVER    DISK     CLAIMED     USERS  UUID
namespace0.0   ?          512M  ?         ?        ?           ?
namespace2.0   ?           64M  ?         ?        ?           ?
namespace3.0   raw         32M  -         -        no          -
namespace10.0  raw        3.0G  -         -        no          -
"
    );
    let busy = [
        "namespace0.0 is being unbound: dmesg says what it waits for",
        "namespace2.0 is being bound to pmem_dax: dmesg says what it waits for",
    ];
    assert_eq!(
        said.err,
        format!("pmem-dax: {}\npmem-dax: {}\n", busy[0], busy[1])
    );

    let said = machine.run(&["list", "--json"]);
    assert_eq!(said.status, 3);
    assert_eq!(said.json()[0]["busy"], busy[0]);
    assert_eq!(said.json()[1]["mode"], json!(null));
    assert_eq!(said.json()[2]["busy"], json!(null));

    for command in ["status", "check"] {
        let since = Instant::now();
        let said = machine.run(&[command, "namespace2.0"]);
        assert!(since.elapsed() < Duration::from_secs(5));
        assert_eq!(said.status, 3);
        assert_eq!(said.err, format!("pmem-dax: {}\n", busy[1]));
    }
}
