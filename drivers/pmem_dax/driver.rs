// SPDX-License-Identifier: GPL-2.0

//! The driver on the nd bus: which namespaces it takes, and how it sets them up and takes them down.

use crate::{
    claim::{
        Claims,
        Key,
        Mode,
        Printable,
        Settings,
        Uuid, //
    },
    device::Device,
    geometry::{
        Geometry,
        Misfit,
        PMD_SIZE, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    },
};
use kernel_ext::{
    block::{
        disk::{
            self,
            Limits,
            Major, //
        },
        node::Hook,
    },
    compat::EOPNOTSUPP,
    fs::pseudo::{
        FileSystemType,
        Mount,
        SyncRegistration, //
    },
    mm::memremap::{
        available_ram,
        Span, //
    },
    nvdimm::{
        self,
        Bus,
        Identity,
        Namespace,
        Owner,
        Personality, //
    },
    platform,
    units::Order, //
};

static FILE_SYSTEM: FileSystemType = FileSystemType::new(c"pmem_dax");

/// The driver.
///
/// Fields are dropped in this order, when the module is unloaded. Nothing holds a reference of the
/// module then, so each file is closed, and with it each mapping; and the driver was unregistered, so
/// all devices are unbound. (Removing what is in sysfs waits for its readers, and killing the DAX
/// device for its users.) What the kernel may use of the module after that, and what waits for it:
///
/// 1. A walk of the list of disks (`/proc/diskstats`) or a write to the limits of a cgroup holds a
///    reference of a disk, without a file. Putting the last one calls the module (`free_disk`).
///    `major` waits until all disks are freed, and then for the last of these calls to return.
/// 2. The open of any block device calls the hook. Dropping `hook` removes it, and waits until no
///    task is in it. The number of the major is given up after that, as the disks of another driver
///    would be hooked; and so are the operations of the files, of which there are none.
/// 3. The last reference of a file drops that of the module first, and the dentry and the mount next,
///    which lead to operations and to a type in the module. And a walk of all file systems, as that of
///    sync(2), keeps the super block of one until it is done with the next one; the last reference of
///    it writes to the type. `mount` waits until the type has no super block, and then until the task
///    that removed the last one is done with the type.
///
/// What no counter tells, that such a call has returned or such a task is done, is waited for with
/// `synchronize_rcu_tasks`: none of them sleeps between the step that can be seen and its last use of
/// the module, they are preempted at most.
#[pin_data]
pub(crate) struct Driver {
    major: Major,
    _hook: Pin<KBox<Hook<Device>>>,
    mount: Arc<Mount>,
    #[pin]
    claims: Mutex<Claims>,
}

impl Driver {
    /// Sets up what all devices share. `claim` is the list of namespaces to take.
    pub(crate) fn new(claim: &'static CStr) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let claims = Claims::parse(claim.to_bytes())?;

            if platform::encrypts_memory() {
                pr_err!(
                    "this host encrypts its memory (SME), so the media would be written encrypted: boot with mem_encrypt=off\n"
                );
                return Err(EOPNOTSUPP);
            }
            if claims.is_empty() {
                pr_info!(
                    "no namespace claimed: load with claim=namespace0.0 or claim=uuid:..., or write its name to /sys/bus/nd/drivers/pmem_dax/claim and then to bind\n"
                );
            }
            let major = Major::new(c"pmem_dax")?;
            let mount = Mount::new(&FILE_SYSTEM)?;
            let hook = KBox::pin_init(Hook::new(&major), GFP_KERNEL).inspect_err(|e| {
                pr_err!(
                    "not loaded: ftrace refuses to hook the open of block devices ({:?}), and without it /dev/pmemN would map the page cache; see the log above for why it was shut down, or reboot\n",
                    e
                );
            })?;

            Ok(try_pin_init!(Self {
                major,
                _hook: hook,
                mount,
                claims <- new_mutex!(claims),
            }))
        })
    }

    fn refuse(namespace: &Namespace<'_>, why: &str, error: Error) -> Error {
        dev_err!(namespace.device(), "not taken: {}\n", why);
        error
    }

    /// How to set up the namespace.
    fn settings(&self, namespace: &Namespace<'_>, geometry: &Geometry) -> Result<Settings> {
        let mut settings = self.claimed(namespace)?;

        if !geometry.has_block(settings.align) {
            if settings.align != Order::Pmd {
                dev_warn!(
                    namespace.device(),
                    "align=1G ignored: no aligned GiB lies wholly in it\n"
                );
            }
            settings.align = Order::Pmd;
        }
        Ok(settings)
    }

    /// What it is claimed with. Of several namespaces with the same UUID, or name in the label, none is
    /// taken for it.
    fn claimed(&self, namespace: &Namespace<'_>) -> Result<Settings> {
        let identity = namespace.identity();
        let claims = self.claims.lock();
        let is_unique = |key: &Key| match key {
            Key::Name(_) => true,
            _ => namespace.count(|other| key.is_of(other)) == 1,
        };

        let Some((settings, key)) = claims.settings(&identity, is_unique) else {
            if let Some((_, Some(key))) = claims.settings(&identity, |_| true) {
                dev_err!(
                    namespace.device(),
                    "not taken: {} is another namespace's, too: give one of them another UUID or name in /sys/bus/nd/devices, or claim this one by the name of its device\n",
                    key
                );
            }
            // Or it is claimed no more.
            return Err(ENXIO);
        };

        if let (Some(Key::Name(_)), Some(uuid)) = (key, &identity.uuid) {
            dev_info!(
                namespace.device(),
                "claimed by the name of its device, which may be another one's when labels were changed: uuid:{} stays\n",
                Uuid(uuid)
            );
        }
        Ok(settings)
    }

    /// Tells that `what` failed, unless the error is one of which the log was told already.
    fn failed<'a>(namespace: &'a Namespace<'_>, what: &'a str) -> impl Fn(&Error) + 'a {
        move |e| {
            if *e != EOPNOTSUPP {
                dev_err!(namespace.device(), "not taken: {} failed: {:?}\n", what, e);
            }
        }
    }

    /// Refuses a namespace that is not in raw mode, nor a pfn.
    fn check_mode(namespace: &Namespace<'_>) -> Result {
        let name = Printable(namespace.name().to_bytes());
        let (found, poisoned) = match namespace.personality() {
            Err(e) if e == EIO => (None, true),
            found => (
                found.inspect_err(Self::failed(namespace, "reading its info block"))?,
                false,
            ),
        };

        // In raw mode its data would start elsewhere.
        if let Some(label) = namespace.label().filter(|label| found != Some(*label)) {
            dev_err!(
                namespace.device(),
                "not taken: its label says {} mode, but its info block {}: restore that (ndctl write-infoblock), or use the namespace raw, erasing it: ndctl create-namespace -f -e {} -m raw; to save what is on it: echo 1 >/sys/bus/nd/devices/{}/force_raw\n",
                label.mode(),
                if poisoned {
                    "is in bad memory"
                } else {
                    "is lost"
                },
                name,
                name
            );
            return Err(ENXIO);
        }
        match found {
            // Comes back as what its info block says.
            Some(Personality::Pfn) => {
                namespace
                    .offer_as_pfn()
                    .inspect_err(Self::failed(namespace, "making a pfn of it"))?;
                Err(ENXIO)
            }
            Some(personality) => {
                dev_err!(
                    namespace.device(),
                    "not taken: it is in {} mode; to use it raw, erasing it: ndctl create-namespace -f -e {} -m raw\n",
                    personality.mode(),
                    name
                );
                Err(ENXIO)
            }
            None => {
                if poisoned {
                    dev_warn!(
                        namespace.device(),
                        "bad memory in its first 8 KiB: taken as raw, as an info block could not be read there\n"
                    );
                }
                Ok(())
            }
        }
    }

    /// Refuses a namespace whose struct pages do not fit into RAM, before the kernel evicts all that it can
    /// for them: mm/sparse-vmemmap.c: vmemmap_alloc_block tries hard.
    fn check_ram(namespace: &Namespace<'_>, data: &Span) -> Result {
        let (wanted, available) = (data.ram(), available_ram());

        if wanted > available {
            dev_err!(
                namespace.device(),
                "not taken: its struct pages take {} MiB of RAM, and {} MiB are available: add RAM, or have them on the media, erasing it: ndctl create-namespace -f -e {} -m fsdax -M dev; a crash kernel does without: module_blacklist=pmem_dax\n",
                wanted >> 20,
                available >> 20,
                Printable(namespace.name().to_bytes())
            );
            return Err(ENOMEM);
        }
        Ok(())
    }

    /// Refuses a namespace whose data the kernel cannot add as memory.
    fn refuse_unaligned(namespace: &Namespace<'_>) -> Error {
        let mode = namespace.mode();
        let size = namespace.fitting_size(PMD_SIZE) >> 20;

        dev_err!(
            namespace.device(),
            "not taken: its data do not start and end at 2 MiB boundaries: create it with a size that fits, erasing it: ndctl create-namespace -f -e {} -m {} -s {}M; if it has no label, after ndctl init-labels: ndctl create-namespace -r {} -m {} -s {}M\n",
            Printable(namespace.name().to_bytes()),
            mode,
            size,
            Printable(namespace.region_name().to_bytes()),
            mode,
            size
        );
        EINVAL
    }

    /// The memory of a namespace that can be taken.
    fn examine(namespace: &Namespace<'_>) -> Result<(Span, Geometry)> {
        Self::check_mode(namespace)?;
        if !namespace.is_apart_from_ram() {
            return Err(Self::refuse(
                namespace,
                "it shares its memory with system RAM",
                EBUSY,
            ));
        }
        let data = match namespace.memory() {
            Err(e) if e == EINVAL => return Err(Self::refuse_unaligned(namespace)),
            data => data.inspect_err(Self::failed(namespace, "finding its data"))?,
        };
        let geometry = Geometry::new(data.start(), data.size()).map_err(|misfit| match misfit {
            Misfit::Unaligned => Self::refuse_unaligned(namespace),
            Misfit::TooLarge => Self::refuse(namespace, "its end is no physical address", EINVAL),
        })?;

        Ok((data, geometry))
    }
}

/// A namespace that was taken.
pub(crate) struct Taken {
    data: Span,
    device: Arc<Device>,
    disk: disk::Registration<Device>,
    synced: SyncRegistration,
}

impl nvdimm::Driver for Driver {
    type Data = Taken;

    const NAME: &'static CStr = c"pmem_dax";

    fn wants(&self, namespace: &Identity<'_>) -> bool {
        self.claims.lock().settings(namespace, |_| true).is_some()
    }

    fn probe(&self, namespace: &Namespace<'_>) -> Result<KBox<Taken>> {
        let (data, geometry) = Self::examine(namespace)?;
        let capacity = geometry.capacity().ok_or(EINVAL)?;
        let failed = |what| Self::failed(namespace, what);
        let settings = self.settings(namespace, &geometry)?;
        let sector_size = namespace.sector_size().map_err(|e| {
            Self::refuse(
                namespace,
                "its label has sectors of neither 512 nor 4096 bytes: create it again",
                e,
            )
        })?;
        let region = namespace.region();
        let flush = region.has_flush();
        let has_cache = region.has_cache();
        // A change after this waits for the probe, and is reported then (see `changed`).
        let read_only = region.is_read_only();
        let name = namespace
            .disk_name()
            .inspect_err(failed("naming its disk"))?;

        Self::check_ram(namespace, &data)?;
        if flush.is_none() {
            dev_warn!(
                namespace.device(),
                "unable to guarantee persistence of writes\n"
            );
        }
        namespace.request_memory().inspect_err(|_| {
            dev_err!(
                namespace.device(),
                "not taken: somebody else has its memory\n"
            );
        })?;
        let device = Arc::pin_init(
            Device::new(
                namespace.device(),
                &self.mount,
                CString::try_from(&*name)
                    .map_err(Error::from)
                    .inspect_err(failed("naming its disk"))?,
                &data,
                geometry,
                settings,
                region,
            )
            .inspect_err(failed("setting it up"))?,
            GFP_KERNEL,
        )
        .inspect_err(|e| {
            dev_err!(
                namespace.device(),
                "not taken: mapping its memory failed: {:?}\n",
                e
            );
        })?;
        if device.synchronous {
            device.dax.set_synchronous();
        }
        device.dax.set_write_cache(has_cache);
        device.dax.data().populate(namespace, &data);
        if let Some(alive) = device.dax.enter() {
            device.dax.data().map_bad_pages(&alive)?;
        }

        // The last thing that can fail must not be after the disk is there.
        let taken = KBox::new_uninit(GFP_KERNEL).map_err(Error::from);
        let taken = taken.inspect_err(failed("setting it up"))?;
        let synced = SyncRegistration::new(&self.mount, device.clone())
            .inspect_err(failed("setting it up"))?;
        let disk = disk::Registration::new(
            namespace.device(),
            &self.major,
            &name,
            Limits {
                logical_block_size: sector_size,
                fua: flush == Some(true),
                read_only,
            },
            capacity,
            device.clone(),
        )
        .inspect_err(failed("adding its disk"))?;
        dev_info!(
            namespace.device(),
            "/dev/{}: {} MiB, mapped with 4 KiB and {} pages{}{}\n",
            device.name(),
            geometry.pages() >> 8,
            match settings.align {
                Order::Pud => "1 GiB",
                _ => "2 MiB",
            },
            match settings.mode {
                Mode::Generic => "",
                Mode::FsDax => ", by file systems too",
            },
            if read_only {
                ", read-only as its region is"
            } else {
                ""
            }
        );
        let all = Taken {
            data,
            device,
            disk,
            synced,
        };

        Ok(KBox::write(taken, all))
    }

    /// Tells of names in `claim=` that got nothing. Why a namespace was refused was told before.
    fn registered(&self, bus: &Bus<'_>) {
        for key in self.claims.lock().keys() {
            match bus.owner(|namespace| key.is_of(namespace)) {
                Owner::Missing => {
                    pr_warn!("{}: claimed, but there is no such namespace (yet)\n", key);
                }
                Owner::Other => {
                    pr_warn!(
                        "{}: claimed, but another driver has it: write its name to that driver's unbind, then to /sys/bus/nd/drivers/pmem_dax/bind\n",
                        key
                    );
                }
                Owner::Nobody | Owner::Us => (),
            }
        }
    }

    /// Nobody can be refused here, so everybody is told, and waited for. The order matters:
    ///
    /// 1. The disk goes: what the page cache still has is written, open files read nothing and fail
    ///    to write, new opens and mappings fail, and so do faults.
    /// 2. All mappings are removed: touching them is SIGBUS now.
    /// 3. What was stored through them is made durable.
    /// 4. Pages that somebody pinned are waited for, and the memory is unmapped.
    fn unbind(&self, taken: KBox<Taken>) {
        let Taken {
            device,
            disk,
            synced,
            ..
        } = KBox::into_inner(taken);

        drop(synced);
        device.leave();
        device.shut_down(disk.remove());
    }

    /// Processes may have mappings to the end. A reset does not write the CPU caches back.
    fn shut_down(taken: &Taken) {
        if taken.device.make_durable().is_err() {
            pr_err!(
                "{}: flush at shutdown failed: the last stores may be lost\n",
                taken.device.name()
            );
        }
    }

    fn changed(taken: &Taken, namespace: &Namespace<'_>) {
        taken.device.dax.data().populate(namespace, &taken.data);
        namespace.update_read_only(&taken.disk);
        // Pages that are bad now, or must not be stored to, may be mapped.
        taken.device.refault();
    }

    fn claims(&self) -> Result<CString> {
        self.claims.lock().to_text()
    }

    fn change_claims(&self, text: &[u8]) -> Result {
        self.claims.lock().change(text)
    }
}
