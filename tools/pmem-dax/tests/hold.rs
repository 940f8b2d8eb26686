// SPDX-License-Identifier: GPL-2.0

//! What pmem_dax is to be given back.

use pmem_dax::bus::{Mode, Namespace};
use pmem_dax::hold::is_lost;
use pmem_dax::key::Identity;

const U: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// namespace1.0, with that label, if that driver has it.
fn namespace(driver: Option<&str>) -> Namespace {
    Namespace {
        name: "namespace1.0".into(),
        identity: Identity {
            name: "namespace1.0".into(),
            uuid: Some(U.into()),
            label: Some("data".into()),
        },
        size: 1 << 20,
        mode: Mode::Raw,
        owner: "namespace1.0".into(),
        driver: driver.map(str::to_owned),
        disk: driver.map(|_| "pmem1".into()),
    }
}

#[test]
fn what_another_driver_has_of_what_is_claimed() {
    let by_uuid = format!("uuid:{U}:mode=fsdax");
    let claims = |claims: &[&str]| claims.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
    for (list, expected) in [
        (claims(&[]), false),
        (claims(&["all"]), false),
        (
            claims(&["namespace0.0", "name:other", "all:mode=fsdax"]),
            false,
        ),
        (
            claims(&["uuid:11111111-89ab-cdef-0123-456789abcdef"]),
            false,
        ),
        (claims(&["all", "namespace1.0:align=1G"]), true),
        (claims(&["name:data"]), true),
        (claims(&["namespace0.0", &by_uuid]), true),
    ] {
        assert_eq!(
            is_lost(&namespace(Some("nd_pmem")), &list),
            expected,
            "{list:?}"
        );
        assert_eq!(
            is_lost(&namespace(Some("nd_btt")), &list),
            expected,
            "{list:?}"
        );
        assert!(!is_lost(&namespace(Some("pmem_dax")), &list), "{list:?}");
        // It was taken from a driver, and is nobody's to be given.
        assert!(!is_lost(&namespace(None), &list), "{list:?}");
    }
}
