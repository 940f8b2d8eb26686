// SPDX-License-Identifier: GPL-2.0

//! A mapping of the device, and the rules by which it gets along with everybody else.
//!
//! A device is either mapped or used by somebody who believes to have it alone: a file system,
//! swap, md or dm. So a mapping holds the device as those do, and is refused while they do. Before
//! the first mapping the page cache is written back and dropped; while one is there it is not used.

use crate::{
    device::Device,
    fault,
    geometry::{
        lie_before,
        Extent,
        Placement, //
    },
};
use core::sync::atomic::{
    AtomicI32,
    Ordering, //
};
use kernel::{
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        UniqueArc, //
    },
};
use kernel_ext::{
    block::node::{
        AddressRequest,
        Claim,
        Node,
        OpenNode, //
    },
    compat::EOPNOTSUPP,
    mm::{
        fault::{
            Fault,
            Outcome, //
        },
        mapping::{
            self,
            Area, //
        },
    },
    task::current_thread,
    units::{
        ByteRange,
        Order,
        Sector, //
    },
};

/// What one call of mmap(2) made. It lives as long as any part of the mapping does, in any process.
///
/// If `FS_DAX`, file systems may map the memory too, and fs/dax.c knows of whose mapping each page is.
///
/// Fields are dropped in this order: a claim first, while the file still keeps the device open.
pub(crate) struct Mapping<const FS_DAX: bool> {
    hold: Hold,
    node: OpenNode,
    device: Arc<Device>,
}

/// By what a mapping holds the device.
enum Hold {
    /// By the claim that all mappings of the node share.
    Shared,
    /// By its file, with O_EXCL, and perhaps a claim of the whole disk.
    File { _disk: Option<Claim> },
}

impl<const FS_DAX: bool> Mapping<FS_DAX> {
    /// The device.
    #[inline]
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// The file that was mapped.
    #[inline]
    pub(crate) fn node(&self) -> Node<'_> {
        self.node.node()
    }
}

impl<const FS_DAX: bool> Drop for Mapping<FS_DAX> {
    fn drop(&mut self) {
        let partition = self.node().partition();
        // A read that began before the first mapping was made may have filled the page cache since. Who
        // comes next, and uses it, must not find what was there before our stores.
        let leave = || {
            if self.node().leave_caches().is_err() && self.device.log.allows() {
                pr_warn!(
                    "{}: the page cache could not be dropped after a mapping\n",
                    self.device.name()
                );
            }
        };

        match self.hold {
            Hold::Shared => self.device.mappings.unshare(partition, leave),
            Hold::File { .. } => {
                leave();
                self.device.mappings.remove(partition);
            }
        }
    }
}

/// Makes the media the only place where the bytes of the node are, when what holds the device was
/// taken, and counts a mapping.
fn settle<const FS_DAX: bool>(device: &Device, node: Node<'_>) -> Result {
    // From here on reads and writes go past the page cache, even for those who see a holder.
    device.mappings.add(node.partition());
    let settled = || {
        if !FS_DAX {
            let bytes = node.bytes().ok_or(EOVERFLOW)?;

            device.lent.add(node.partition(), bytes)?;
        }
        device.mappings.wait_for_writers().map_err(|e| {
            refuse(
                device,
                "somebody is writing to its page cache: try again",
                e,
            )
        })?;
        node.leave_caches().map_err(|e| refuse_caches(device, e))
    };

    settled().inspect_err(|_| device.mappings.remove(node.partition()))
}

impl<const FS_DAX: bool> mapping::Operations for Mapping<FS_DAX> {
    type Disk = Device;

    fn new(device: ArcBorrow<'_, Device>, node: Node<'_>) -> Result<Arc<Self>> {
        // Who comes to have a part of it next has to find all memory settled.
        let whole_disk = FS_DAX && node.partition() != 0;
        let claim = || {
            match whole_disk {
                true => node.claim_disk(),
                false => node.claim(),
            }
            .map_err(|e| refuse_claim(&device, e))
        };
        let mapping = UniqueArc::new_uninit(GFP_KERNEL)?;
        let hold = match node.is_exclusive() {
            false => {
                device.mappings.share(node.partition(), || {
                    let claim = claim()?;

                    settle::<FS_DAX>(&device, node).map(|()| claim)
                })?;
                Hold::Shared
            }
            true => {
                let _disk = whole_disk.then(claim).transpose()?;

                settle::<FS_DAX>(&device, node)?;
                Hold::File { _disk }
            }
        };

        Ok(mapping
            .write(Self {
                hold,
                node: node.keep(),
                device: device.into(),
            })
            .into())
    }

    #[inline(always)]
    fn fault(&self, fault: Fault<'_>) -> Outcome {
        if FS_DAX {
            fault::handle_by_entries(self, fault)
        } else {
            fault::handle(self, fault)
        }
    }

    fn make_writable(&self) -> Result {
        if self.node().is_read_only() {
            return Err(EACCES);
        }
        Ok(())
    }

    fn disk_name(&self) -> &CStr {
        &self.device.dax.data().name
    }

    #[inline]
    fn largest(&self) -> Order {
        self.device.dax.largest()
    }

    fn unmap(&self, range: ByteRange) {
        self.device.dax.unmap(range);
    }
}

/// Prepares a mapping of `node`.
///
/// # Errors
///
/// - `ENXIO`: the device was removed, or the mapping would start behind its end.
/// - `EINVAL`: the node does not start and end at pages, or is read-only and stores are wanted.
/// - `EOPNOTSUPP`: MAP_SYNC, and the region makes nothing durable by itself.
/// - `EOVERFLOW`: the end cannot be counted.
/// - `EBUSY`: somebody else holds the device, the disk or a partition of it, or did, and is still
///   writing to its page cache.
/// - `EIO`: what is in the page cache could not be written.
/// - `EPERM`: a device cgroup forbids the device to the whole machine.
/// - `ENFILE`, `ENOMEM`: too many files are open, or no memory.
pub(crate) fn map<const FS_DAX: bool>(
    device: ArcBorrow<'_, Device>,
    node: Node<'_>,
    mut area: Area<'_>,
) -> Result {
    // Of a partition the size stays.
    if node.sectors() == Sector(0) || device.is_leaving() {
        return Err(refuse(&device, "it was removed", ENXIO));
    }
    let extent = Extent::new(node.start(), node.sectors()).ok_or_else(|| {
        let why =
            "the partition does not start and end at 4 KiB boundaries (parted -a optimal makes it)";

        refuse(&device, why, EINVAL)
    })?;
    if area.may_store() && node.is_read_only() {
        return Err(refuse(&device, "it is read-only: open it so", EINVAL));
    }
    if area.is_sync() && !device.synchronous {
        let why = "MAP_SYNC cannot be had, as its region needs a flush: use msync";

        return Err(refuse(&device, why, EOPNOTSUPP));
    }
    let page = extent
        .to_disk(area.page(), area.pages())
        .ok_or_else(|| refuse(&device, "the offset is too large", EOVERFLOW))?;
    // That it goes on past the end is fine, as for any file: touching it there is SIGBUS.
    if !lie_before(page, 1, node.end()) {
        return Err(refuse(&device, "the offset is past the end", ENXIO));
    }
    // The claim, which is taken when the mapping is in place, decides; this tells why.
    if node.is_held_by_other() {
        let why = "somebody holds it: it is mounted, swapped to, or opened with O_EXCL";

        return Err(refuse(&device, why, EBUSY));
    }
    // fs/dax.c cannot map what userfaultfd(2) watches, and fork(2) would copy entries of 1 GiB without
    // counting them (mm/huge_memory.c: copy_huge_pud) where it does.
    if FS_DAX || device.dax.largest() == Order::Pud {
        area.keep_as_it_is();
    }
    Device::map_file::<Mapping<FS_DAX>>(device, node, area, page)
}

/// Tells why a mapping is not made.
#[cold]
#[inline(never)]
fn refuse(device: &Device, why: &str, error: Error) -> Error {
    if device.log.allows() {
        pr_notice!("{}: not mapped: {}\n", device.name(), why);
    }
    error
}

/// The same for what could not be claimed though the node itself is not held.
#[cold]
fn refuse_claim(device: &Device, error: Error) -> Error {
    let why = if error == EBUSY {
        "somebody has the disk or a partition of it: pmem-dax status tells who"
    } else if error == EPERM {
        "a device cgroup forbids it, even to the kernel: allow reading it in the root cgroup"
    } else if error == ENXIO {
        "it was removed"
    } else {
        "no memory to hold the disk with"
    };

    refuse(device, why, error)
}

/// The same for what is in the page cache and stays there.
#[cold]
fn refuse_caches(device: &Device, error: Error) -> Error {
    let why = if error == EBUSY {
        "a page of its page cache is in use: try again"
    } else {
        "what is in its page cache could not be written"
    };

    refuse(device, why, error)
}

/// The thread that makes a mapping which has nothing beside it: it asks where that fits and makes it without
/// letting go of the lock of the mm, or asks again (mm/mmap.c: do_mmap).
pub(crate) struct Apart(AtomicI32);

impl Apart {
    pub(crate) const fn new() -> Self {
        Self(AtomicI32::new(0))
    }

    fn set(&self) {
        self.0.store(current_thread(), Ordering::Relaxed);
    }

    fn clear(&self) {
        if self.is_set() {
            self.0.store(0, Ordering::Relaxed);
        }
    }

    /// Whether it is the one that runs.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed) == current_thread()
    }
}

/// Finds an address at which large pages fit, unless the caller named one.
pub(crate) fn place(device: &Device, node: Node<'_>, request: AddressRequest<'_>) -> Result<usize> {
    let geometry = &device.dax.data().geometry;
    let placement = Extent::new(node.start(), node.sectors())
        .filter(|_| !request.has_address())
        .and_then(|extent| extent.to_disk(request.page(), request.pages()))
        .and_then(|page| geometry.first().checked_add(page.0))
        .and_then(|first| {
            Some(device.dax.largest())
                .filter(|largest| *largest == Order::Pud)
                .and_then(|largest| Placement::new(first, request.pages(), largest))
                .or_else(|| Placement::new(first, request.pages(), Order::Pmd))
        });

    if let Some(placement) = placement {
        let page = Order::Pte.bytes();

        // With room for a page on both sides of it.
        if let Ok(address) = request.find(placement.extra + page) {
            device.apart.set();
            return placement.adjust(address + page).ok_or(ENOMEM);
        }
    }
    device.apart.clear();
    request.find(0)
}
