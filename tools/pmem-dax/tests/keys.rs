// SPDX-License-Identifier: GPL-2.0

//! Namespaces that are called by their UUID, or the name of their label, on a tree.

mod common;

use common::{Machine, Said};
use pmem_dax::bus::Bus;
use pmem_dax::root::Root;
use serde_json::json;

const U: &str = "01234567-89ab-cdef-0123-456789abcdef";
const V: &str = "fedcba98-89ab-cdef-0123-456789abcdef";
const NULL: &str = "00000000-0000-0000-0000-000000000000";
const CLAIMS: &str = "/sys/bus/nd/drivers/pmem_dax/claim";

/// One without labels, and two with: the first in fsdax mode, whose pfn has a UUID of its own.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.namespace("namespace0.0", 1 << 20);
    machine.namespace("namespace1.0", 1 << 20);
    machine.label("namespace1.0", U, "data");
    machine.file("/sys/bus/nd/devices/namespace1.0/mode", "memory\n");
    machine.file("/sys/bus/nd/devices/namespace1.0/holder", "pfn1.0\n");
    machine.file("/sys/bus/nd/devices/pfn1.0/size", "1048576\n");
    machine.file(
        "/sys/bus/nd/devices/pfn1.0/uuid",
        "11111111-89ab-cdef-0123-456789abcdef\n",
    );
    machine.bind("pfn1.0", "pmem_dax", "pmem1", 1);
    machine.namespace("namespace1.1", 1 << 20);
    machine.label("namespace1.1", V, "");
    // What a region has ready for the next one.
    machine.namespace("namespace1.2", 0);
    machine.label("namespace1.2", "", "");
    machine
}

#[track_caller]
fn fails(said: &Said, reason: &str) {
    assert_eq!((said.status, said.out.as_str()), (1, ""), "{said:?}");
    assert_eq!(said.err, format!("pmem-dax: {reason}\n"));
}

#[test]
fn any_of_these_is_a_namespace() {
    let machine = machine();
    let upper = U.to_uppercase();
    for (given, name) in [
        (U, "namespace1.0"),
        (&upper, "namespace1.0"),
        (&format!("uuid:{U}"), "namespace1.0"),
        (&format!("uuid:{upper}"), "namespace1.0"),
        ("name:data", "namespace1.0"),
        (V, "namespace1.1"),
        ("namespace1.1", "namespace1.1"),
    ] {
        let said = machine.run(&["status", "--json", given]);
        assert_eq!(said.status, 0, "{said:?}");
        assert_eq!(said.json()["namespace"], name, "{given}");
    }
}

#[test]
fn what_no_namespace_has() {
    let machine = machine();
    let none = "89abcdef-89ab-cdef-0123-456789abcdef";
    let pfn = "11111111-89ab-cdef-0123-456789abcdef";
    let long = format!("{U}0");
    for (given, reason) in [
        (
            none.to_owned(),
            format!("no namespace has the UUID {none}; see: pmem-dax list"),
        ),
        (
            format!("uuid:{}", pfn.to_uppercase()),
            format!("no namespace has the UUID {pfn}; see: pmem-dax list"),
        ),
        (
            NULL.to_owned(),
            format!("no namespace has the UUID {NULL}; see: pmem-dax list"),
        ),
        ("uuid:".to_owned(), "uuid: is not a UUID".to_owned()),
        (format!("uuid:{long}"), format!("uuid:{long} is not a UUID")),
        (
            long.clone(),
            format!("{long} is not the name of a namespace, like namespace0.0"),
        ),
        (
            "name:dat".to_owned(),
            "no namespace has the label name dat; see: pmem-dax list".to_owned(),
        ),
        (
            "name:".to_owned(),
            "name: wants the name of a label".to_owned(),
        ),
    ] {
        fails(&machine.run(&["status", &given]), &reason);
        fails(&machine.run(&["check", &given]), &reason);
    }
}

/// A null UUID is nobody's, even if a namespace says that it has it.
#[test]
fn a_null_uuid() {
    let machine = machine();
    machine.label("namespace1.1", NULL, "");
    let said = machine.run(&["check", NULL]);
    fails(
        &said,
        &format!("no namespace has the UUID {NULL}; see: pmem-dax list"),
    );
    let said = machine.run(&["status", "--json", "namespace1.1"]);
    assert_eq!(said.json()["uuid"], json!(null));
}

/// As after a copy of the memory, with its labels, to another machine's.
#[test]
fn what_two_have() {
    let machine = machine();
    machine.label("namespace1.1", &U.to_uppercase(), "data");
    for command in ["status", "check", "detach", "attach"] {
        let both = "namespace1.0 and namespace1.1 have";
        fails(
            &machine.run(&[command, &format!("uuid:{U}")]),
            &format!("{both} the UUID {U}: say which by its name"),
        );
        fails(
            &machine.run(&[command, "name:data"]),
            &format!("{both} the label name data: say which by its name"),
        );
    }
    fails(
        &machine.run(&["attach", &format!("{U}:align=1G")]),
        &format!("namespace1.0 and namespace1.1 have the UUID {U}: say which by its name"),
    );

    // One that is about to be deleted does not count.
    machine.file("/sys/bus/nd/devices/namespace1.1/size", "0\n");
    assert_eq!(machine.run(&["status", U]).status, 0);
    assert_eq!(machine.run(&["status", "name:data"]).status, 0);
}

/// With settings and without, it is found before it is asked where that is.
#[test]
fn moves_find_it() {
    let machine = machine();
    for command in ["attach", "detach"] {
        for given in [U, "name:data", "namespace1.0"] {
            let said = machine.run(&[command, given, "--boot"]);
            assert!(said.err.contains("leave out --root"), "{said:?}");
        }
    }
    for given in [format!("uuid:{U}:align=1G"), "name:data:align=1G".into()] {
        let said = machine.run(&["attach", &given]);
        assert!(said.err.contains("leave out --root"), "{said:?}");
    }
}

#[test]
fn check_of_a_uuid() {
    let machine = machine();
    fails(&machine.run(&["check", V]), "namespace1.1 has no driver");
    fails(
        &machine.run(&["check", U]),
        "there is no /dev/pmem1, which namespace1.0 should be",
    );
    if !machine.node("/dev/pmem1", 259, 1) {
        return;
    }
    for given in [U, "name:data"] {
        let said = machine.run(&["check", "-v", given]);
        assert_eq!(
            (said.status, said.err.as_str()),
            (0, "pmem-dax: namespace1.0 is /dev/pmem1 of pmem_dax\n")
        );
    }
    // The place is another's now.
    machine.label("namespace1.0", V, "");
    machine.label("namespace1.1", U, "");
    fails(&machine.run(&["check", U]), "namespace1.1 has no driver");
}

#[test]
fn list_shows_uuids_and_keys() {
    let machine = machine();
    let row = |claims: &str| {
        machine.file(CLAIMS, claims);
        let said = machine.run(&["list"]);
        assert_eq!((said.status, said.err.as_str()), (0, ""));
        said.out.lines().nth(2).unwrap().to_owned()
    };
    let (start, end) = (
        "namespace1.0   fsdax      1.0M  pmem_dax  pmem1    ",
        "no     ",
    );
    for (claims, claimed) in [
        (format!("uuid:{U}\n"), "uuid"),
        (format!("all\nname:data:align=1G\nuuid:{U}\n"), "uuid"),
        (format!("uuid:{V}\nnamespace1.0\nname:data\nall\n"), "label"),
        ("all\nnamespace1.0\nname:other:align=1G\n".into(), "yes"),
        (format!("uuid:{V}:align=1G\nall\n"), "all"),
        (format!("uuid:{U}:align=1G\nnamespace1.0\n"), "align=1G"),
        ("name:data:mode=fsdax\n".into(), "mode=fsdax"),
        (format!("uuid:{V}\n"), "no"),
    ] {
        assert_eq!(row(&claims), format!("{start}{claimed:<11} {end}{U}"));
    }
    let said = machine.run(&["list"]).out;
    let lines: Vec<_> = said.lines().collect();
    assert!(lines[0].ends_with("  CLAIMED     USERS  UUID"), "{said}");
    assert!(lines[1].ends_with(" no          -"), "{said}");

    machine.file(CLAIMS, &format!("uuid:{U}:align=1G\nname:data\n"));
    let said = machine.run(&["list", "--json"]).json();
    assert_eq!(said[0]["uuid"], json!(null));
    assert_eq!(said[1]["uuid"], U);
    assert_eq!(said[1]["label"], "data");
    assert_eq!(said[1]["claim"], format!("uuid:{U}:align=1G"));
    assert_eq!(said[2]["label"], json!(null));
    assert_eq!(said[2]["claim"], json!(null));
}

/// The UUID is known even of one whose lock is held.
#[test]
fn uuid_of_a_busy_one() {
    let machine = machine();
    machine.stuck("/sys/bus/nd/devices/namespace1.0/mode");
    let said = machine.run(&["list", "--json"]);
    assert_eq!(said.status, 3);
    assert_eq!(said.json()[1]["uuid"], U);
    assert_eq!(said.json()[1]["mode"], json!(null));
    let said = machine.run(&["list"]);
    assert!(said.out.lines().nth(2).unwrap().ends_with(U), "{said:?}");
    assert_eq!(machine.run(&["check", U]).status, 3);
}

#[test]
fn status_shows_them() {
    let machine = machine();
    machine.file(CLAIMS, "all\nname:data:align=1G\n");
    machine.file(
        "/etc/modprobe.d/x.conf",
        &format!("options pmem_dax claim=all,namespace1.0,uuid:{U}:mode=fsdax\n"),
    );
    let said = machine.run(&["status", U]);
    assert_eq!(
        said.out,
        format!(
            "\
namespace: namespace1.0
uuid:      {U}
label:     data
mode:      fsdax
size:      1048576 (1.0M)
used as:   pfn1.0
driver:    pmem_dax
disk:      /dev/pmem1
claimed:   name:data:align=1G
at boot:   pmem_dax claims uuid:{U}:mode=fsdax
users:     none
"
        )
    );
    let said = machine.run(&["status", "--json", "name:data"]).json();
    assert_eq!(said["uuid"], U);
    assert_eq!(said["claim"], "name:data:align=1G");
    assert_eq!(said["at_boot"], format!("uuid:{U}:mode=fsdax"));
    let said = machine.run(&["status", "--json", "namespace1.1"]).json();
    assert_eq!(said["at_boot"], "all");
}

/// With the UUID of a copy, the driver would take both.
#[test]
fn a_copy_is_not_unique() {
    let machine = machine();
    let bus = Bus::new(&Root::new(machine.path("/")));
    let unique = || bus.is_unique(&bus.identity("namespace1.0"));
    assert!(unique());
    machine.label("namespace1.1", &U.to_uppercase(), "");
    assert!(!unique());
}
