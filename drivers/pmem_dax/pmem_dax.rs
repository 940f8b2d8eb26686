// SPDX-License-Identifier: GPL-2.0

//! Persistent memory as a raw block device that is truly DAX.
//!
//! mmap(2) of `/dev/pmem0` maps the pages of the device itself, 4 KiB to 1 GiB, with no page
//! cache; everything else that a block device does keeps working, and never disagrees with the
//! mapping. Documentation/design.rst tells how.

#![forbid(unsafe_code)]

mod claim;
mod device;
mod dirty;
mod driver;
mod fault;
mod geometry;
mod io;
mod lent;
mod mapping;
mod mappings;
mod poison;
mod sync;

use kernel::prelude::*;
use kernel_ext::{
    nvdimm,
    string_param, //
};

string_param! {
    /// The namespaces to take.
    static CLAIM: "claim",
        "Namespaces to take, as uuid:UUID, name:LABEL or namespace0.0, with commas between them, or all (default: none)";
}

#[pin_data]
struct PmemDax {
    #[pin]
    registration: nvdimm::Registration<driver::Driver>,
}

impl kernel::InPlaceModule for PmemDax {
    fn init(_module: &'static ThisModule) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            registration <- nvdimm::Registration::new(driver::Driver::new(CLAIM.value())),
        })
    }
}

module! {
    type: PmemDax,
    name: "pmem_dax",
    authors: ["The pmem_dax developers"],
    description: "Persistent memory as a raw block device with DAX mmap",
    license: "GPL",
}
