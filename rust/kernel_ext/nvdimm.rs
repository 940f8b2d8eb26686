// SPDX-License-Identifier: GPL-2.0

//! Drivers of persistent memory namespaces.
//!
//! C header: [`include/linux/nd.h`](srctree/include/linux/nd.h),
//! [`include/linux/libnvdimm.h`](srctree/include/linux/libnvdimm.h)

use crate::{
    badblocks::Badblocks,
    bindings,
    block::{
        bio::Bio,
        disk, //
    },
    compat::EOPNOTSUPP,
    dax::{
        self,
        Alive, //
    },
    mm::memremap::{
        self,
        Span, //
    },
    module::THIS_MODULE,
    trace,
    units::PAGE_SIZE, //
};
use core::{
    ops::Range,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CString,
    types::Opaque, //
};

/// A driver of namespaces in raw mode, and of those with an info block that tells where their data
/// are (`ndctl` mode `fsdax`).
///
/// The bus knows no way to tell which of several drivers a namespace is for, and hands a driver all
/// of them, and all the btt, pfn and dax devices too. So a driver is asked by name first, and sees a
/// [`Namespace`] only if it wants it and it is one.
pub trait Driver: Send + Sync + Sized + 'static {
    /// What is kept while a namespace is bound.
    type Data: Send + Sync + 'static;

    /// The name on the bus.
    const NAME: &'static CStr;

    /// Whether that namespace is to be bound.
    fn wants(&self, namespace: &Identity<'_>) -> bool;

    /// Binds a namespace. May sleep.
    fn probe(&self, namespace: &Namespace<'_>) -> Result<KBox<Self::Data>>;

    /// The driver was registered, and offered all namespaces that have no driver yet; or is being
    /// offered them, if the user asked for that (`async_probe`).
    fn registered(&self, bus: &Bus<'_>);

    /// Unbinds it. Cannot fail. May sleep.
    fn unbind(&self, data: KBox<Self::Data>);

    /// The machine is about to be reset or to lose power, with the namespace bound. May sleep.
    fn shut_down(data: &Self::Data);

    /// The hardware found or forgot bad memory in a namespace, or the region became read-only or
    /// writable. May sleep.
    fn changed(data: &Self::Data, namespace: &Namespace<'_>);

    /// The names in the driver attribute `claim`, one a line, to be read.
    fn claims(&self) -> Result<CString>;

    /// What was written to the driver attribute `claim`.
    fn change_claims(&self, text: &[u8]) -> Result;
}

/// A driver that is registered on the bus.
///
/// # Invariants
///
/// `driver` is registered.
#[pin_data(PinnedDrop)]
pub struct Registration<T: Driver> {
    #[pin]
    driver: Opaque<bindings::nd_device_driver>,
    #[pin]
    data: T,
}

// SAFETY: `struct nd_device_driver` has no owning thread.
unsafe impl<T: Driver> Send for Registration<T> {}

// SAFETY: Through a shared reference only `data` is reached, by the callbacks.
unsafe impl<T: Driver> Sync for Registration<T> {}

impl<T: Driver> Registration<T> {
    /// Registers a driver; it is offered the namespaces that have no driver yet before this returns,
    /// or, with the module parameter `async_probe`, from when it returns on. May sleep for long.
    pub fn new(data: impl PinInit<T, Error>) -> impl PinInit<Self, Error> {
        // INVARIANT: `__nd_driver_register` succeeded.
        try_pin_init!(Self {
            data <- data,
            driver <- Opaque::try_ffi_init(|driver: *mut bindings::nd_device_driver| {
                // SAFETY: `driver` is valid for writes.
                unsafe {
                    driver.write(bindings::nd_device_driver {
                        drv: bindings::device_driver {
                            name: T::NAME.as_char_ptr(),
                            groups: Self::GROUPS.0.as_ptr().cast_mut(),
                            ..pin_init::zeroed()
                        },
                        type_: bindings::ND_DRIVER_NAMESPACE_IO
                            | bindings::ND_DRIVER_NAMESPACE_PMEM,
                        probe: Some(Self::probe_callback),
                        remove: Some(Self::remove_callback),
                        shutdown: Some(Self::shutdown_callback),
                        notify: Some(Self::notify_callback),
                    })
                };
                // SAFETY: `driver` is set up, and pinned until it is unregistered; `data`, which
                // the callbacks use, is initialised.
                to_result(unsafe {
                    bindings::__nd_driver_register(driver, THIS_MODULE, T::NAME.as_char_ptr())
                })
            }),
            _: {
                // INVARIANT: It was registered just now.
                data.registered(&Bus(&driver));
            },
        })
    }

    // With CONFIG_DEBUG_LOCK_ALLOC an attribute has more fields.
    #[allow(clippy::needless_update)]
    const CLAIM: bindings::driver_attribute = bindings::driver_attribute {
        attr: bindings::attribute {
            name: kernel::str::as_char_ptr_in_const_context(c"claim"),
            mode: 0o600,
            ..pin_init::zeroed()
        },
        show: Some(Self::claim_show_callback),
        store: Some(Self::claim_store_callback),
    };

    const ATTRIBUTES: Table<bindings::attribute, 2> =
        Table([&raw const Self::CLAIM_REF.attr, ptr::null()]);
    const CLAIM_REF: &'static bindings::driver_attribute = &Self::CLAIM;

    const GROUP: bindings::attribute_group = bindings::attribute_group {
        __bindgen_anon_2: bindings::attribute_group__bindgen_ty_2 {
            attrs: Self::ATTRIBUTES_REF.0.as_ptr().cast_mut().cast(),
        },
        ..pin_init::zeroed()
    };
    const ATTRIBUTES_REF: &'static Table<bindings::attribute, 2> = &Self::ATTRIBUTES;
    const GROUP_REF: &'static bindings::attribute_group = &Self::GROUP;

    const GROUPS: &'static Table<bindings::attribute_group, 2> =
        &Table([Self::GROUP_REF, ptr::null()]);

    /// The driver that C's form is part of.
    ///
    /// # Safety
    ///
    /// `driver` is the `drv` of a [`Registration<T>`], valid for `'a`.
    unsafe fn from_raw<'a>(driver: *const bindings::device_driver) -> &'a Self {
        let driver = driver.cast_mut();
        // SAFETY: By this function's requirements.
        let driver = unsafe { kernel::container_of!(driver, bindings::nd_device_driver, drv) };
        let driver = Opaque::cast_from(driver);

        // SAFETY: As above.
        unsafe { &*kernel::container_of!(driver.cast_mut(), Self, driver) }
    }

    /// # Safety
    ///
    /// Called by drivers/nvdimm/bus.c: nvdimm_bus_probe, with a device of the bus that our driver
    /// is being bound to.
    unsafe extern "C" fn probe_callback(dev: *mut bindings::device) -> c_int {
        // SAFETY: By this function's requirements drivers/base/dd.c: really_probe set the driver.
        let this = unsafe { Self::from_raw((*dev).driver) };

        // SAFETY: By this function's requirements.
        match unsafe { this.probe(dev) } {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// `dev` is a device of the bus that our driver is being bound to.
    unsafe fn probe(&self, dev: *mut bindings::device) -> Result {
        // All personalities and their seeds match the same drivers.
        //
        // SAFETY: By this function's requirements `dev` is valid.
        if unsafe { bindings::is_nd_btt(dev) || bindings::is_nd_dax(dev) } {
            return Err(ENODEV);
        }
        // SAFETY: By this function's requirements `dev` is valid and being bound.
        let bound = unsafe { device::Device::<device::Bound>::from_raw(dev) };
        // SAFETY: By this function's requirements, and as it is neither a btt nor a dax.
        let (namespace, pfn) = unsafe { Namespace::find(dev) }.ok_or(ENODEV)?;

        // SAFETY: The namespace is valid, and `dev` is locked.
        if !self.data.wants(&unsafe { Identity::of(namespace) }) {
            return Err(ENODEV);
        }
        // ENODEV is for one that has no size yet, ENXIO for one that another personality uses.
        //
        // SAFETY: By this function's requirements.
        from_err_ptr(unsafe { bindings::nvdimm_namespace_common_probe(dev) }).inspect_err(|e| {
            // SAFETY: The namespace is valid; nobody else is made its user while it is being bound.
            let user = unsafe { (*namespace.as_ptr()).claim };

            if *e == ENXIO && !user.is_null() {
                // SAFETY: A user stays as long as the namespace has it.
                let user = unsafe { device::Device::<device::Normal>::from_raw(user) };

                dev_err!(
                    bound,
                    "not taken: it is used as {}: bind or unbind that\n",
                    user.name()
                );
            }
        })?;
        // INVARIANT: The bus says that it is a namespace, which no one else uses.
        let namespace = Namespace {
            namespace,
            dev: bound,
            pfn,
        };
        let data = self.data.probe(&namespace)?;

        // SAFETY: `dev` is valid; the data is taken back in `remove_callback`.
        unsafe { bindings::dev_set_drvdata(dev, KBox::into_raw(data).cast()) };
        Ok(())
    }

    /// # Safety
    ///
    /// Called by drivers/nvdimm/bus.c: nvdimm_bus_remove, once, for a device that was probed.
    unsafe extern "C" fn remove_callback(dev: *mut bindings::device) {
        // SAFETY: By this function's requirements the driver is still set.
        let this = unsafe { Self::from_raw((*dev).driver) };
        // SAFETY: `probe` set it, and nobody uses it after: the device is locked.
        let data = unsafe { KBox::from_raw(bindings::dev_get_drvdata(dev).cast::<T::Data>()) };

        // SAFETY: `dev` is valid.
        unsafe { bindings::dev_set_drvdata(dev, ptr::null_mut()) };
        this.data.unbind(data);
    }

    /// # Safety
    ///
    /// Called by drivers/nvdimm/bus.c: nvdimm_bus_shutdown, with a device that is bound to us, and
    /// locked.
    unsafe extern "C" fn shutdown_callback(dev: *mut bindings::device) {
        // SAFETY: By this function's requirements it is what `probe` set.
        if let Some(data) = unsafe { bindings::dev_get_drvdata(dev).cast::<T::Data>().as_ref() } {
            T::shut_down(data);
        }
    }

    /// # Safety
    ///
    /// Called by drivers/nvdimm/bus.c: nd_device_notify, with a device that is bound to us, and
    /// locked.
    unsafe extern "C" fn notify_callback(
        dev: *mut bindings::device,
        _event: bindings::nvdimm_event,
    ) {
        // SAFETY: By this function's requirements `probe` set it, or is still to.
        let Some(data) = (unsafe { bindings::dev_get_drvdata(dev).cast::<T::Data>().as_ref() })
        else {
            return;
        };
        // SAFETY: By this function's requirements; the device is locked, and was probed.
        let Some((namespace, pfn)) = (unsafe { Namespace::find(dev) }) else {
            return;
        };
        // INVARIANT: What was probed is a namespace, and bound.
        let namespace = Namespace {
            namespace,
            // SAFETY: By this function's requirements.
            dev: unsafe { device::Device::<device::Bound>::from_raw(dev) },
            pfn,
        };

        T::changed(data, &namespace);
    }

    /// # Safety
    ///
    /// Called by sysfs for our driver, with a buffer of a page.
    unsafe extern "C" fn claim_show_callback(
        driver: *mut bindings::device_driver,
        buffer: *mut c_char,
    ) -> isize {
        // SAFETY: By this function's requirements; sysfs files go before the driver does.
        let this = unsafe { Self::from_raw(driver) };

        match this.data.claims() {
            // SAFETY: The buffer is a page, which C checks; the text ends with a NUL.
            Ok(text) => unsafe {
                bindings::sysfs_emit(buffer, c"%s".as_char_ptr(), text.as_char_ptr()) as isize
            },
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by sysfs for our driver, with `len` bytes.
    unsafe extern "C" fn claim_store_callback(
        driver: *mut bindings::device_driver,
        buffer: *const c_char,
        len: usize,
    ) -> isize {
        // SAFETY: By this function's requirements; sysfs files go before the driver does.
        let this = unsafe { Self::from_raw(driver) };
        // SAFETY: By this function's requirements.
        let text = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), len) };

        match this.data.change_claims(text) {
            Ok(()) => isize::try_from(len).unwrap_or(isize::MAX),
            Err(e) => e.to_errno() as isize,
        }
    }
}

#[pinned_drop]
impl<T: Driver> PinnedDrop for Registration<T> {
    fn drop(self: Pin<&mut Self>) {
        // Unbinds all devices first.
        //
        // SAFETY: By the type's invariants it is registered.
        unsafe { bindings::driver_unregister(&raw mut (*self.driver.get()).drv) };
        memremap::wait_if_kept();
    }
}

/// Who has a device of the bus.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Owner {
    /// There is no such device.
    Missing,
    /// No driver.
    Nobody,
    /// The driver that asks.
    Us,
    /// Another driver.
    Other,
}

/// The nd bus, as a driver that is registered on it sees it.
///
/// # Invariants
///
/// The driver is registered.
pub struct Bus<'a>(&'a Opaque<bindings::nd_device_driver>);

impl Bus<'_> {
    /// Who has the first namespace now that `is_it` says yes to. May sleep.
    pub fn owner(&self, mut is_it: impl FnMut(&Identity<'_>) -> bool) -> Owner {
        // SAFETY: By the type's invariants.
        let driver = unsafe { &raw const (*self.0.get()).drv };
        let mut found = None;

        // SAFETY: By the type's invariants drivers/nvdimm/bus.c: __nd_driver_register set the bus. The driver
        // of a device changes at any time.
        unsafe {
            for_each_namespace((*driver).bus, &mut |dev, identity| {
                if found.is_none() && is_it(identity) {
                    found = Some((&raw const (*dev).driver).read_volatile());
                }
            });
        }
        let Some(owner) = found else {
            return Owner::Missing;
        };

        if owner.is_null() {
            Owner::Nobody
        } else if ptr::eq(owner, driver) {
            Owner::Us
        } else {
            Owner::Other
        }
    }
}

/// A table of pointers that ends with null, as C has it.
struct Table<T, const N: usize>([*const T; N]);

// SAFETY: The pointers are to constants.
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

/// Another way than raw to use a namespace, which its first blocks say it is used in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Personality {
    /// Block translation table: `ndctl` mode `sector`.
    Btt,
    /// Page structures on the media or in memory: `ndctl` mode `fsdax`.
    Pfn,
    /// The same, for a character device: `ndctl` mode `devdax`.
    Dax,
}

impl Personality {
    /// The mode as `ndctl` calls it.
    pub fn mode(self) -> &'static str {
        match self {
            Self::Btt => "sector",
            Self::Pfn => "fsdax",
            Self::Dax => "devdax",
        }
    }
}

/// The name of a namespace.
///
/// # Safety
///
/// `namespace` is valid for `'a`.
unsafe fn name_of<'a>(namespace: NonNull<bindings::nd_namespace_common>) -> &'a CStr {
    // SAFETY: By this function's requirements.
    unsafe { device::Device::<device::Normal>::from_raw(&raw mut (*namespace.as_ptr()).dev) }.name()
}

/// What [`for_each_namespace`] calls.
type Visitor<'a> = &'a mut dyn FnMut(*mut bindings::device, &Identity<'_>);

/// # Safety
///
/// `dev` is a valid device of the nd bus, and `data` a pointer to a [`Visitor`].
unsafe extern "C" fn visit_callback(dev: *mut bindings::device, data: *mut c_void) -> c_int {
    // SAFETY: By this function's requirements.
    let f = unsafe { &mut *data.cast::<Visitor<'_>>() };
    // SAFETY: As above.
    let name = unsafe { device::Device::<device::Normal>::from_raw(dev) }.name();

    // Nothing else is named so (drivers/nvdimm/namespace_devs.c: nd_region_register_namespaces,
    // nd_namespace_pmem_create).
    if !name.to_bytes().starts_with(b"namespace") {
        return 0;
    }
    // SAFETY: A namespace has its device inside (linux/nd.h: to_ndns).
    let namespace = unsafe { kernel::container_of!(dev, bindings::nd_namespace_common, dev) };
    let Some(namespace) = NonNull::new(namespace) else {
        return 0;
    };

    // SAFETY: The device is valid.
    unsafe { bindings::nvdimm_bus_lock(dev) };
    // SAFETY: The namespace is valid, and the bus is locked.
    f(dev, &unsafe { Identity::of(namespace) });
    // SAFETY: It was locked above.
    unsafe { bindings::nvdimm_bus_unlock(dev) };
    0
}

/// Calls `f` with each namespace on the bus, and what it is known by. May sleep.
///
/// # Safety
///
/// `bus` is the nd bus.
unsafe fn for_each_namespace(bus: *const bindings::bus_type, mut f: Visitor<'_>) {
    // SAFETY: By this function's requirements the bus is valid. It keeps a reference of each device while
    // the callback has it.
    unsafe {
        bindings::bus_for_each_dev(
            bus,
            ptr::null_mut(),
            (&raw mut f).cast(),
            Some(visit_callback),
        )
    };
}

/// What a namespace is known by.
pub struct Identity<'a> {
    /// The name of its device, like `namespace0.0`. Another namespace may have it tomorrow.
    pub name: &'a CStr,
    /// The UUID, in the order in which it is written. Only namespaces with a label have one.
    pub uuid: Option<[u8; 16]>,
    /// The name in its label, if there is one.
    pub label: Option<&'a [u8]>,
}

impl<'a> Identity<'a> {
    /// # Safety
    ///
    /// The namespace is valid for the lifetime. Meanwhile what is known of it does not change: it is
    /// locked, or what has it is, or the bus is (drivers/nvdimm/namespace_devs.c: uuid_store,
    /// alt_name_store, size_store).
    unsafe fn of(namespace: NonNull<bindings::nd_namespace_common>) -> Self {
        // SAFETY: By this function's requirements.
        let name = unsafe { name_of(namespace) };
        // SAFETY: As above. It is that of `uuid_null` if the namespace is of a kind that has none.
        let uuid = unsafe { bindings::nd_dev_to_uuid(&raw mut (*namespace.as_ptr()).dev) };

        if uuid.is_null() || ptr::eq(uuid, &raw const bindings::uuid_null) {
            return Self {
                name,
                uuid: None,
                label: None,
            };
        }
        // SAFETY: It has a UUID of its own, so it is a `struct nd_namespace_pmem`, which starts so.
        let label = unsafe { (*namespace.cast::<bindings::nd_namespace_pmem>().as_ptr()).alt_name };
        let label = (!label.is_null()).then(|| {
            // SAFETY: drivers/nvdimm/namespace_devs.c: create_namespace_pmem and __alt_name_store allocate
            // so much. What is on the media need not end with a NUL.
            let bytes = unsafe {
                core::slice::from_raw_parts(label.cast::<u8>(), bindings::NSLABEL_NAME_LEN as usize)
            };

            bytes.split(|byte| *byte == 0).next().unwrap_or_default()
        });

        Self {
            name,
            // SAFETY: It is valid.
            uuid: Some(unsafe { (*uuid).b }),
            label: label.filter(|label| !label.is_empty()),
        }
    }
}

/// A namespace that is being bound, or is bound.
///
/// # Invariants
///
/// `namespace` is a valid namespace. `dev`, whose parent is a region that is bound, is its own device,
/// or that of `pfn`, which has the namespace.
pub struct Namespace<'a> {
    namespace: NonNull<bindings::nd_namespace_common>,
    dev: &'a device::Device<device::Bound>,
    pfn: Option<NonNull<bindings::nd_pfn>>,
}

impl Namespace<'_> {
    /// The namespace of `dev`, and the pfn that has it if `dev` is that of one. `None` for the seed
    /// of a pfn.
    ///
    /// # Safety
    ///
    /// `dev` is a namespace or a pfn, and locked.
    unsafe fn find(
        dev: *mut bindings::device,
    ) -> Option<(
        NonNull<bindings::nd_namespace_common>,
        Option<NonNull<bindings::nd_pfn>>,
    )> {
        // SAFETY: By this function's requirements.
        if unsafe { bindings::is_nd_pfn(dev) } {
            // SAFETY: It is a pfn.
            let pfn = NonNull::new(unsafe { bindings::to_nd_pfn(dev) })?;

            // SAFETY: As above. It gets and loses a namespace only while it is locked
            // (drivers/nvdimm/pfn_devs.c: namespace_store).
            return Some((NonNull::new(unsafe { (*pfn.as_ptr()).ndns })?, Some(pfn)));
        }
        // SAFETY: A namespace has its device inside (linux/nd.h: to_ndns).
        let namespace = unsafe { kernel::container_of!(dev, bindings::nd_namespace_common, dev) };

        Some((NonNull::new(namespace)?, None))
    }

    /// The device that is bound.
    pub fn device(&self) -> &device::Device<device::Bound> {
        self.dev
    }

    /// The name, like `namespace0.0`.
    pub fn name(&self) -> &CStr {
        // SAFETY: By the type's invariants.
        unsafe { name_of(self.namespace) }
    }

    /// What it is known by.
    pub fn identity(&self) -> Identity<'_> {
        // SAFETY: By the type's invariants. Nothing of it is changed while it has a driver or a user, or
        // while a device of the bus is being bound (drivers/nvdimm/bus.c: wait_nvdimm_bus_probe_idle).
        unsafe { Identity::of(self.namespace) }
    }

    /// How many namespaces there are, this one among them, that `f` says yes to. May sleep.
    pub fn count(&self, mut f: impl FnMut(&Identity<'_>) -> bool) -> usize {
        let mut count = 0;

        // SAFETY: By the type's invariants it is a device of the nd bus.
        unsafe {
            for_each_namespace((*self.namespace.as_ptr()).dev.bus, &mut |_, identity| {
                count += usize::from(f(identity));
            });
        }
        count
    }

    fn resource(&self) -> &bindings::resource {
        // SAFETY: Namespaces of both kinds that we match start with a `struct nd_namespace_io`
        // (linux/nd.h: to_nd_namespace_io).
        unsafe { &(*self.namespace.cast::<bindings::nd_namespace_io>().as_ptr()).res }
    }

    fn range(&self) -> bindings::range {
        bindings::range {
            start: self.resource().start,
            end: self.resource().end,
        }
    }

    /// The number of bytes, with what is not data.
    fn size(&self) -> u64 {
        // C: resource_size. A namespace that was probed is not empty.
        self.resource()
            .end
            .wrapping_sub(self.resource().start)
            .wrapping_add(1)
    }

    /// The mode that it is used in, as `ndctl` calls it.
    pub fn mode(&self) -> &'static str {
        match self.pfn {
            Some(_) => Personality::Pfn.mode(),
            None => "raw",
        }
    }

    /// The name of its region, like `region0`.
    pub fn region_name(&self) -> &CStr {
        // SAFETY: By the type's invariants the parent is a region, and stays as long as the namespace.
        unsafe {
            device::Device::<device::Normal>::from_raw((*crate::device::as_raw(self.dev)).parent)
        }
        .name()
    }

    /// The largest size in bytes, not above its own unless there is none, that its region gives to a
    /// namespace and that is a multiple of `unit`, a power of two.
    pub fn fitting_size(&self, unit: u64) -> u64 {
        let region = self.region();
        // SAFETY: By the invariants of `Region` it is valid. drivers/nvdimm/region_devs.c: align_store
        // changes it at any time.
        let align = unsafe { bindings::nd_region_align(region.0) } as u64;
        let align = align.max(PAGE_SIZE);
        // What is not common to both is a factor of the other's (3 DIMMs have 48 MiB).
        let step = align << unit.trailing_zeros().saturating_sub(align.trailing_zeros());
        let size = self.size();

        match size.checked_rem(step) {
            Some(rest) if rest < size => size - rest,
            _ => step,
        }
    }

    /// Where its data are: all of it, unless an info block says otherwise. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` if they do not start and end at pages of the namespace; `EBUSY` if the memory is in
    /// use; `EOPNOTSUPP`, of which the log is told why; what `nvdimm_setup_pfn` returns.
    pub fn memory(&self) -> Result<Span> {
        match self.pfn {
            Some(pfn) => {
                self.enable()?;
                // If it fails, the namespace may not be enabled any more: drivers/nvdimm/pfn_devs.c:
                // nd_pfn_clear_memmap_errors enables more of it, which others may have. What is enabled
                // goes with the probe.
                let span = self.memory_of(pfn)?;

                // SAFETY: It was enabled above, and by that function last.
                unsafe { self.disable() };
                Ok(span)
            }
            None => Span::new(self.range(), self.size(), None).ok_or(EINVAL),
        }
    }

    fn memory_of(&self, pfn: NonNull<bindings::nd_pfn>) -> Result<Span> {
        let map = KBox::new(Opaque::<bindings::dev_pagemap>::zeroed(), GFP_KERNEL)?;
        let map = map.get();

        // SAFETY: By the type's invariants; the namespace is enabled.
        to_result(unsafe { bindings::nvdimm_setup_pfn(pfn.as_ptr(), map) })?;
        // SAFETY: It succeeded, so there is an info block, which stays as long as the device is bound.
        let (offset, pad) = unsafe {
            let block = &*(*pfn.as_ptr()).pfn_sb;

            (u64::from_le(block.dataoff), u32::from_le(block.start_pad))
        };
        // SAFETY: As above, so the map is filled in.
        let (range, altmap) = unsafe {
            (
                *(*map).__bindgen_anon_1.range.as_ref(),
                ((*map).flags & bindings::PGMAP_ALTMAP_VALID != 0).then_some((*map).altmap),
            )
        };

        if pad != 0 {
            // The offset does not count from where the range does (drivers/nvdimm/pfn.h).
            dev_err!(
                self.dev,
                "not taken: made by a kernel before 5.10, with padding: save its data and create it again\n"
            );
            return Err(EOPNOTSUPP);
        }
        // It subtracts what the block says from the end, be it as much as there is or not.
        let size = (range.end <= self.resource().end)
            .then(|| (range.end + 1).checked_sub(range.start.checked_add(offset)?))
            .flatten()
            .ok_or(EINVAL)?;

        Span::new(range, size, altmap).ok_or(EINVAL)
    }

    /// Calls `f` while what is on the media can be read and written as bytes. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the memory is in use.
    fn enabled<R>(&self, f: impl FnOnce() -> R) -> Result<R> {
        self.enable()?;
        let result = f();

        // SAFETY: It was enabled above.
        unsafe { self.disable() };
        Ok(result)
    }

    fn enable(&self) -> Result {
        let dev = crate::device::as_raw(self.dev);

        // SAFETY: By the type's invariants; the device is bound.
        to_result(unsafe {
            bindings::devm_namespace_enable(
                dev,
                self.namespace.as_ptr(),
                bindings::nd_info_block_reserve(),
            )
        })
    }

    /// # Safety
    ///
    /// The namespace is enabled.
    unsafe fn disable(&self) {
        let dev = crate::device::as_raw(self.dev);

        // SAFETY: By this function's requirements, and the type's invariants.
        unsafe { bindings::devm_namespace_disable(dev, self.namespace.as_ptr()) };
    }

    /// Makes the device by which a namespace is used whose info block says where its data are, and
    /// has the bus offer it to all drivers, of which this one is to take it: the namespace itself is
    /// not to be bound. May sleep.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP`, of which libnvdimm tells the log why; `EBUSY` if the memory is in use, and what
    /// `nd_pfn_probe` returns.
    pub fn offer_as_pfn(&self) -> Result {
        let dev = crate::device::as_raw(self.dev);

        self.enabled(|| {
            // SAFETY: By the type's invariants; the namespace is enabled and being bound.
            to_result(unsafe { bindings::nd_pfn_probe(dev, self.namespace.as_ptr()) })
        })?
    }

    /// The name of its disk, like `pmem0`.
    pub fn disk_name(&self) -> Result<CString> {
        let mut name = [0; bindings::DISK_NAME_LEN as usize];

        // SAFETY: drivers/nvdimm/namespace_devs.c: nvdimm_namespace_disk_name writes less than
        // DISK_NAME_LEN bytes.
        if unsafe {
            bindings::nvdimm_namespace_disk_name(self.namespace.as_ptr(), name.as_mut_ptr())
        }
        .is_null()
        {
            return Err(ENXIO);
        }
        // SAFETY: It ends with a NUL.
        Ok(CString::try_from(unsafe {
            CStr::from_char_ptr(name.as_ptr())
        })?)
    }

    /// The size of a sector in bytes: 512, or 4096 if its label says so.
    ///
    /// # Errors
    ///
    /// `EINVAL` if its label says something else.
    pub fn sector_size(&self) -> Result<u32> {
        let namespace = self.namespace.as_ptr();

        // SAFETY: By the type's invariants.
        let uuid = unsafe { bindings::nd_dev_to_uuid(&raw mut (*namespace).dev) };

        // drivers/nvdimm/namespace_devs.c: nd_dev_to_uuid returns that for one that has no label.
        if !ptr::eq(uuid, &raw const bindings::uuid_null) {
            // Of other sizes pmem_sector_size warns with a trace of the stack.
            //
            // SAFETY: include/linux/nd.h: one that has a label is the first member of a struct
            // nd_namespace_pmem. sector_size_store changes the size with the device locked, as it
            // is while it is being bound, and not at all while a pfn has the namespace.
            let size = unsafe { (*namespace.cast::<bindings::nd_namespace_pmem>()).lbasize };

            if !matches!(size, 0 | 512 | 4096) {
                return Err(EINVAL);
            }
        }
        // SAFETY: By the type's invariants.
        Ok(unsafe { bindings::pmem_sector_size(namespace) })
    }

    /// The mode that it was made for, as its label says, or `holder_class` in sysfs said since. `None` if
    /// neither does, or for one that was forced to raw mode.
    pub fn label(&self) -> Option<Personality> {
        if self.is_told() {
            return None;
        }
        // SAFETY: By the type's invariants. drivers/nvdimm/namespace_devs.c: holder_class_store changes
        // it with the device locked, as it is while it is being bound.
        match unsafe { (*self.namespace.as_ptr()).claim_class } {
            bindings::nvdimm_claim_class_NVDIMM_CCLASS_BTT
            | bindings::nvdimm_claim_class_NVDIMM_CCLASS_BTT2 => Some(Personality::Btt),
            bindings::nvdimm_claim_class_NVDIMM_CCLASS_PFN => Some(Personality::Pfn),
            bindings::nvdimm_claim_class_NVDIMM_CCLASS_DAX => Some(Personality::Dax),
            _ => None,
        }
    }

    /// Whether it is known without a look at it what it is used as: it has a pfn, or was forced to raw
    /// mode.
    fn is_told(&self) -> bool {
        // SAFETY: By the type's invariants.
        self.pfn.is_some() || unsafe { (*self.namespace.as_ptr()).force_raw } != 0
    }

    /// What the info block at its start says that it is used as. A namespace that was forced to raw
    /// mode has none, whatever is written there; nor does one count that was made for another
    /// namespace, as one of a guest that has this memory is. May sleep.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the memory is in use, `ENOMEM`. `EIO` if the place of the info block is poisoned, and
    /// only then (drivers/nvdimm/claim.c: nsio_rw_bytes).
    pub fn personality(&self) -> Result<Option<Personality>> {
        // The info blocks are 4 KiB long. That of a BTT of version 2, which only a label can ask for, is
        // at the very start, where others have their data (drivers/nvdimm/btt_devs.c: nd_btt_version).
        const OFFSET: u64 = 0x1000;
        const OFFSET_OF_BTT2: u64 = 0;
        const SIGNATURES: [(&[u8], Personality); 3] = [
            (b"BTT_ARENA_INFO\0\0", Personality::Btt),
            (b"NVDIMM_PFN_INFO\0", Personality::Pfn),
            (b"NVDIMM_DAX_INFO\0", Personality::Dax),
        ];
        // All of them have the UUID of their namespace there: btt.h: struct btt_sb, pfn.h: struct
        // nd_pfn_sb.
        const PARENT: Range<usize> = 32..48;
        let namespace = self.namespace.as_ptr();

        if self.is_told() {
            return Ok(None);
        }
        // SAFETY: By the type's invariants. drivers/nvdimm/namespace_devs.c: nd_dev_to_uuid returns
        // 16 bytes, as nvdimm_namespace_common_probe refuses a namespace that should have them and has
        // not; uuid_store changes them with the device locked, as it is while it is being bound.
        let uuid: [u8; 16] = unsafe { *bindings::nd_dev_to_uuid(&raw mut (*namespace).dev).cast() };
        // SAFETY: As in `label`.
        let offset = match unsafe { (*namespace).claim_class } {
            bindings::nvdimm_claim_class_NVDIMM_CCLASS_BTT2 => OFFSET_OF_BTT2,
            _ => OFFSET,
        };
        let block = KBox::new(Opaque::<bindings::nd_gen_sb>::zeroed(), GFP_KERNEL)?;

        self.enabled(|| {
            // SAFETY: The namespace is enabled; the block is of that size.
            to_result(unsafe {
                bindings::nvdimm_read_bytes(
                    namespace,
                    offset,
                    block.get().cast(),
                    size_of::<bindings::nd_gen_sb>(),
                    0,
                )
            })
        })??;
        // SAFETY: The block was read; the checksum leaves it as it was.
        let (checksum, expected, bytes) = unsafe {
            (
                bindings::nd_sb_checksum(block.get()),
                u64::from_le((*block.get()).checksum),
                &(*block.get()).reserved,
            )
        };
        let parent = bytes.get(PARENT).unwrap_or_default();

        Ok(SIGNATURES
            .iter()
            .find(|(signature, personality)| {
                checksum == expected
                    && signature.iter().zip(bytes).all(|(a, b)| a == b)
                    // btt_devs.c: nd_btt_arena_is_valid takes one without a UUID too.
                    && (parent == uuid || *personality == Personality::Btt && parent == [0; 16])
            })
            .map(|(_, personality)| *personality))
    }

    /// Takes the memory for the driver, until it is unbound, so that nobody else maps it.
    ///
    /// # Errors
    ///
    /// `EBUSY` if somebody has it.
    pub fn request_memory(&self) -> Result {
        let dev = crate::device::as_raw(self.dev);

        // SAFETY: The device is bound, so what is managed goes when it is unbound; the resource
        // and its name live as long as the device.
        let region = unsafe {
            bindings::__devm_request_region(
                dev,
                &raw mut bindings::iomem_resource,
                self.resource().start,
                self.size(),
                self.name().as_char_ptr(),
            )
        };
        if region.is_null() {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Whether none of the memory is used as system RAM.
    pub fn is_apart_from_ram(&self) -> bool {
        // SAFETY: It has no requirements.
        let intersects = unsafe {
            bindings::region_intersects(
                self.resource().start,
                self.size() as usize,
                bindings::IORESOURCE_SYSTEM_RAM as c_ulong,
                bindings::IORES_DESC_NONE as c_ulong,
            )
        };

        intersects == bindings::REGION_DISJOINT as c_int
    }

    /// The region that it is part of.
    pub fn region(&self) -> Region {
        // SAFETY: By the type's invariants the parent is a region.
        let region = unsafe { bindings::to_nd_region((*crate::device::as_raw(self.dev)).parent) };

        // SAFETY: As above.
        unsafe { bindings::get_device(bindings::nd_region_dev(region)) };
        // INVARIANT: The reference was just taken.
        Region(region)
    }

    /// Adds the bad memory that the hardware knows of, in the data of the namespace, to `badblocks`.
    /// May sleep.
    pub fn populate(&self, badblocks: &Badblocks, data: &Span) {
        let range = bindings::range {
            start: data.start(),
            end: data.end(),
        };

        // SAFETY: By the type's invariants the region is bound; the range is within the namespace.
        unsafe {
            bindings::nvdimm_badblocks_populate(
                bindings::to_nd_region((*crate::device::as_raw(self.dev)).parent),
                badblocks.as_raw(),
                &range,
            )
        };
        badblocks.changed();
    }

    /// Makes the disk read-only if the region is.
    pub fn update_read_only<T: disk::Operations>(&self, disk: &disk::Registration<T>) {
        // SAFETY: The disk is registered; its parent is the namespace, whose parent is the region.
        unsafe { bindings::nvdimm_check_and_set_ro(disk.as_raw()) };
    }
}

/// A region: what namespaces are parts of, and what makes writes durable.
///
/// # Invariants
///
/// A reference of its device is owned.
pub struct Region(*mut bindings::nd_region);

// SAFETY: Devices have no owning thread.
unsafe impl Send for Region {}

// SAFETY: drivers/nvdimm/region_devs.c: nvdimm_flush may be called by any thread at any time.
unsafe impl Sync for Region {}

impl Region {
    /// Whether what is in it must not be written. A change of that is [reported](Driver::changed).
    pub fn is_read_only(&self) -> bool {
        // SAFETY: By the type's invariants. It changes at any time (drivers/nvdimm/region_devs.c:
        // read_only_store).
        unsafe { bindings::nd_region_ro(self.0) != 0 }
    }

    /// Whether flushes are needed and known how to do. `None` if the platform does not say how
    /// writes become durable.
    pub fn has_flush(&self) -> Option<bool> {
        // SAFETY: By the type's invariants.
        match unsafe { bindings::nvdimm_has_flush(self.0) } {
            0 => Some(false),
            flush if flush > 0 => Some(true),
            _ => None,
        }
    }

    /// Whether CPU caches have to be written back for stores to be durable.
    pub fn has_cache(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { bindings::nvdimm_has_cache(self.0) != 0 }
    }

    /// Whether stores become durable without asking a host.
    pub fn is_synchronous(&self) -> bool {
        // SAFETY: By the type's invariants.
        unsafe { bindings::is_nvdimm_sync(self.0) }
    }

    /// Makes all that was written durable. May sleep. The device is alive, so the region, which is
    /// its grandparent, is bound.
    #[inline]
    pub fn flush<T: dax::Operations>(&self, alive: &Alive<'_, T>) -> Result {
        // SAFETY: By the type's invariants the region is valid; it is bound, as the namespace is.
        let result = unsafe { bindings::nvdimm_flush(self.0, ptr::null_mut()) };

        trace::flush(|| alive.disk_name(), result);
        to_result(result)
    }

    /// Asks the hardware to make `len` bytes of bad memory from the physical address `start` on good
    /// again. Returns how many bytes it did. Their content is not defined until they are written.
    /// May sleep.
    ///
    /// # Errors
    ///
    /// `EIO` if it cannot, or not in that unit.
    pub fn clear_poison<T: dax::Operations>(
        &self,
        _alive: &Alive<'_, T>,
        start: u64,
        len: u64,
    ) -> Result<u64> {
        // SAFETY: By the type's invariants the region is valid; it is a device of the nd bus.
        let cleared = unsafe {
            bindings::nvdimm_clear_poison(
                bindings::nd_region_dev(self.0),
                start,
                u32::try_from(len)?,
            )
        };

        u64::try_from(cleared).map_err(|_| EIO)
    }

    /// Makes all that was written durable, then ends `bio`. A host that does the flush may end it
    /// later. May sleep.
    #[inline]
    pub fn flush_and_end<T: dax::Operations>(&self, alive: &Alive<'_, T>, bio: Bio) {
        let raw = bio.into_raw();
        // SAFETY: As in `flush`. The bio is valid; it is the region's if the result says so.
        let result = unsafe { bindings::nvdimm_flush(self.0, raw) };

        trace::flush(|| alive.disk_name(), result);
        if result != bindings::NVDIMM_FLUSH_ASYNC as c_int {
            // SAFETY: It is still ours, and not null.
            unsafe { Bio::from_raw(NonNull::new_unchecked(raw)) }.end(to_result(result));
        }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants a reference is owned.
        unsafe { bindings::put_device(bindings::nd_region_dev(self.0)) };
    }
}
