// SPDX-License-Identifier: GPL-2.0

//! Whether pmem_dax has a namespace, for services that must not start otherwise.

use crate::bus::Bus;
use crate::failure::Failure;
use crate::users::Device;

/// Returns the disk if pmem_dax has the namespace, and the node of that name below `/dev` is it.
///
/// # Errors
///
/// The reason, if not.
pub fn check(bus: &Bus, name: &str) -> Result<String, Failure> {
    let namespace = bus.namespace(name)?;
    match namespace.driver.as_deref() {
        Some("pmem_dax") => {}
        Some(driver) => {
            return Failure::failed(format!(
                "{name} belongs to the driver {driver}, not pmem_dax"
            ))
        }
        None => return Failure::failed(format!("{name} has no driver")),
    }
    let Some(disk) = namespace.disk else {
        return Failure::failed(format!("{name} has no disk"));
    };
    let node = format!("/dev/{disk}");
    let wanted = bus.root().read(format!("/sys/class/block/{disk}/dev"));
    let Some(wanted) = wanted.and_then(|number| Device::parse(&number)) else {
        return Failure::failed(format!("{disk} is gone"));
    };
    if !bus.root().exists(&node) {
        return Failure::failed(format!("there is no {node}, which {name} should be"));
    }
    match Device::at(&bus.root().path(&node)) {
        Some(number) if number == wanted => Ok(node),
        Some(number) => Failure::failed(format!(
            "{node} is not {name}: it is the device {number}, and the disk is {wanted}"
        )),
        None => Failure::failed(format!("{node} is not {name}: it is no block device")),
    }
}
