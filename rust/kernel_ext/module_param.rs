// SPDX-License-Identifier: GPL-2.0

//! Module parameters that are strings: `kernel::module_param` has numbers only.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use crate::bindings;
use core::cell::UnsafeCell;
use kernel::prelude::*;

/// The bytes that a string parameter may have, its NUL included.
pub const MAX_LEN: usize = 1024;

/// A string parameter, set when the module is loaded and never after.
///
/// Declare it with [`string_param!`](crate::string_param).
pub struct StringParam {
    buffer: UnsafeCell<[u8; MAX_LEN]>,
}

// SAFETY: `parse_args` writes the buffer before the module's init function runs; with permission 0
// there is no sysfs file to write it later, so all other accesses are reads.
unsafe impl Sync for StringParam {}

impl StringParam {
    /// An empty string.
    #[doc(hidden)]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self {
            buffer: UnsafeCell::new([0; MAX_LEN]),
        }
    }

    #[doc(hidden)]
    pub const fn as_ptr(&self) -> *mut c_char {
        self.buffer.get().cast()
    }

    /// The value that the loader was given; empty if none.
    pub fn value(&self) -> &CStr {
        // SAFETY: See `Sync`: nobody writes the buffer any more.
        let buffer = unsafe { &*self.buffer.get() };

        CStr::from_bytes_until_nul(buffer).unwrap_or_default()
    }
}

#[doc(hidden)]
#[repr(transparent)]
pub struct KParamString(bindings::kparam_string);

// SAFETY: The structure is only read, by kernel/params.c: param_set_copystring.
unsafe impl Sync for KParamString {}

impl KParamString {
    #[doc(hidden)]
    pub const fn new(param: &'static StringParam) -> Self {
        Self(bindings::kparam_string {
            maxlen: MAX_LEN as c_uint,
            string: param.as_ptr(),
        })
    }
}

#[doc(hidden)]
pub const fn kernel_param(
    name: &'static CStr,
    string: &'static KParamString,
) -> kernel::module_param::KernelParam {
    kernel::module_param::KernelParam::new(bindings::kernel_param {
        name: kernel::str::as_char_ptr_in_const_context(name),
        mod_: crate::module::THIS_MODULE,
        ops: &raw const bindings::param_ops_string,
        perm: 0,
        level: -1,
        flags: 0,
        __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 { str_: &string.0 },
    })
}

/// Declares a string parameter of the module: C's `module_param_string` and `MODULE_PARM_DESC`.
///
/// A value longer than [`MAX_LEN`] less one fails the load with
/// `ENOSPC`.
#[macro_export]
macro_rules! string_param {
    ($(#[$meta:meta])* $vis:vis static $param:ident: $name:literal, $description:literal;) => {
        $(#[$meta])*
        $vis static $param: $crate::module_param::StringParam =
            $crate::module_param::StringParam::new();

        const _: () = {
            static STRING: $crate::module_param::KParamString =
                $crate::module_param::KParamString::new(&$param);

            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: ::kernel::module_param::KernelParam =
                $crate::module_param::kernel_param(
                    match ::core::ffi::CStr::from_bytes_with_nul(
                        ::core::concat!($name, "\0").as_bytes()
                    ) {
                        Ok(name) => name,
                        Err(_) => c"",
                    },
                    &STRING,
                );

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TYPE: [u8; ::core::concat!("parmtype=", $name, ":string\0").len()] =
                $crate::module_param::modinfo(::core::concat!("parmtype=", $name, ":string\0"));

            #[link_section = ".modinfo"]
            #[used(compiler)]
            static DESCRIPTION: [u8; ::core::concat!("parm=", $name, ":", $description, "\0").len()] =
                $crate::module_param::modinfo(
                    ::core::concat!("parm=", $name, ":", $description, "\0")
                );
        };
    };
}

#[doc(hidden)]
pub const fn modinfo<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut info = [0; N];
    let mut i = 0;

    while i < N {
        info[i] = bytes[i];
        i += 1;
    }
    info
}
