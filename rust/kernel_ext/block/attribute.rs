// SPDX-License-Identifier: GPL-2.0

//! Attributes of a disk in sysfs, beside those that every disk has.
//!
//! C header: [`include/linux/device.h`](srctree/include/linux/device.h)
//! (`struct device_attribute`)

use crate::{
    bindings,
    block::disk::{
        self,
        Operations, //
    },
};
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    prelude::*,
    str::CString, //
};

/// The most attributes of a group.
pub const MAX: usize = 5;

/// Attributes in a directory of their own below that of the disk.
pub struct Group<T: 'static> {
    /// The name of the directory.
    pub name: &'static CStr,
    /// What is in it, from the first place on.
    pub attributes: [Option<Attribute<T>>; MAX],
}

/// A file whose content is made when it is read.
///
/// Both functions may sleep. Neither is called before the disk is added, or after it was removed:
/// that waits for them.
pub struct Attribute<T: 'static> {
    /// The name of the file.
    pub name: &'static CStr,
    /// Who may read it, and write to it: as chmod(2) has it.
    pub mode: u16,
    /// Reads it. A newline is added.
    pub show: fn(&T, Disk<'_>) -> Result<CString>,
    /// Writes to it.
    pub store: Option<fn(&T, &[u8]) -> Result>,
}

/// The disk that an attribute is read of.
///
/// # Invariants
///
/// The device is that of a whole disk, and valid for `'a`.
pub struct Disk<'a>(*mut bindings::block_device, PhantomData<&'a ()>);

impl Disk<'_> {
    /// How often the disk and its partitions are open now, for whatever purpose. A claim counts as an
    /// open, so a mapping does too.
    pub fn openers(&self) -> u32 {
        // An open of a partition counts at the whole disk too (block/bdev.c: blkdev_get_part).
        //
        // SAFETY: By the type's invariants. The number changes at any time.
        unsafe { (&raw const (*self.0).bd_openers.counter).read_volatile() }.unsigned_abs()
    }
}

/// A table of pointers that ends with null, as C has it.
struct Table<U, const N: usize>([*const U; N]);

// SAFETY: The pointers are to constants.
unsafe impl<U, const N: usize> Sync for Table<U, N> {}

/// The groups of `T` as C has them. They are constants, since lockdep wants its keys in static memory.
pub(crate) fn groups<T: Operations>() -> *mut *const bindings::attribute_group {
    ptr::from_ref(Tree::<T>::GROUPS).cast_mut().cast()
}

struct Tree<T: Operations>(T);

impl<T: Operations> Tree<T> {
    const GROUPS: &'static Table<bindings::attribute_group, 3> = &Table([
        &raw const *Branch::<T, 0>::GROUP,
        &raw const *Branch::<T, 1>::GROUP,
        ptr::null(),
    ]);
}

/// A group.
struct Branch<T: Operations, const G: usize>(T);

impl<T: Operations, const G: usize> Branch<T, G> {
    const GROUP: &'static bindings::attribute_group = &bindings::attribute_group {
        name: kernel::str::as_char_ptr_in_const_context(T::ATTRIBUTES[G].name),
        __bindgen_anon_2: bindings::attribute_group__bindgen_ty_2 {
            attrs: (&raw const Self::TABLE.0).cast_mut().cast(),
        },
        ..pin_init::zeroed()
    };

    const TABLE: &'static Table<bindings::attribute, { MAX + 1 }> = &Table([
        Leaf::<T, G, 0>::attribute(),
        Leaf::<T, G, 1>::attribute(),
        Leaf::<T, G, 2>::attribute(),
        Leaf::<T, G, 3>::attribute(),
        Leaf::<T, G, 4>::attribute(),
        ptr::null(),
    ]);
}

/// An attribute, if there is one at that place.
struct Leaf<T: Operations, const G: usize, const A: usize>(T);

impl<T: Operations, const G: usize, const A: usize> Leaf<T, G, A> {
    const ATTRIBUTE: &'static Option<Attribute<T>> = &T::ATTRIBUTES[G].attributes[A];

    // With CONFIG_DEBUG_LOCK_ALLOC an attribute has more fields.
    #[allow(clippy::needless_update)]
    const RAW: &'static bindings::device_attribute = &bindings::device_attribute {
        attr: match Self::ATTRIBUTE {
            Some(attribute) => bindings::attribute {
                name: kernel::str::as_char_ptr_in_const_context(attribute.name),
                mode: attribute.mode,
                ..pin_init::zeroed()
            },
            None => pin_init::zeroed(),
        },
        __bindgen_anon_1: bindings::device_attribute__bindgen_ty_1 {
            show: Some(Self::show_callback),
        },
        __bindgen_anon_2: bindings::device_attribute__bindgen_ty_2 {
            store: Some(Self::store_callback),
        },
    };

    const fn attribute() -> *const bindings::attribute {
        match Self::ATTRIBUTE {
            Some(_) => &raw const Self::RAW.attr,
            None => ptr::null(),
        }
    }

    /// The disk, and its data.
    ///
    /// # Safety
    ///
    /// `dev` is the device of a disk that was made by [`disk::Registration::<T>::new`], and valid for
    /// `'a`.
    unsafe fn disk<'a>(dev: *mut bindings::device) -> (&'a T, Disk<'a>) {
        // SAFETY: By this function's requirements. A disk's device is that of its first
        // `struct block_device` (linux/blkdev.h: dev_to_disk).
        let bdev = unsafe { kernel::container_of!(dev, bindings::block_device, bd_device) };

        // SAFETY: As above.
        let data = unsafe { &*ptr::from_ref(&*disk::data::<T>((*bdev).bd_disk)) };

        // INVARIANT: By this function's requirements.
        (data, Disk(bdev, PhantomData))
    }

    /// # Safety
    ///
    /// Called by sysfs for a disk of ours, with a buffer of a page. Removing the disk waits for it.
    unsafe extern "C" fn show_callback(
        dev: *mut bindings::device,
        _attribute: *mut bindings::device_attribute,
        buffer: *mut c_char,
    ) -> isize {
        let Some(attribute) = Self::ATTRIBUTE else {
            return EIO.to_errno() as isize;
        };

        // SAFETY: By this function's requirements.
        let (data, disk) = unsafe { Self::disk(dev) };

        match (attribute.show)(data, disk) {
            // SAFETY: The buffer is a page, which C checks; the text ends with a NUL.
            Ok(text) => unsafe {
                bindings::sysfs_emit(buffer, c"%s\n".as_char_ptr(), text.as_char_ptr()) as isize
            },
            Err(e) => e.to_errno() as isize,
        }
    }

    /// # Safety
    ///
    /// Called by sysfs for a disk of ours, with `len` bytes. Removing the disk waits for it.
    unsafe extern "C" fn store_callback(
        dev: *mut bindings::device,
        _attribute: *mut bindings::device_attribute,
        buffer: *const c_char,
        len: usize,
    ) -> isize {
        let Some(store) = Self::ATTRIBUTE.as_ref().and_then(|it| it.store) else {
            return EIO.to_errno() as isize;
        };
        // SAFETY: By this function's requirements.
        let text = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), len) };

        // SAFETY: By this function's requirements.
        match store(unsafe { Self::disk(dev) }.0, text) {
            Ok(()) => isize::try_from(len).unwrap_or(isize::MAX),
            Err(e) => e.to_errno() as isize,
        }
    }
}
