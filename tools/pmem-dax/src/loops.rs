// SPDX-License-Identifier: GPL-2.0

//! What a loop device has behind it. The only unsafe code of the tool: no crate has this ioctl
//! as a safe function, and no file of sysfs says it. `backing_file` has a name, which may be one
//! of another mount namespace.

#![allow(unsafe_code)]

use std::fs::File;

use rustix::ioctl::{ioctl, BadOpcode, Getter};

use crate::users::Device;

/// `LOOP_GET_STATUS64` of `linux/loop.h`.
const LOOP_GET_STATUS64: u32 = 0x4C05;

/// `struct loop_info64` of `linux/loop.h`, in 64 bit words: the device and inode that its file is
/// in, the number of the device that it is, and what is of no interest here.
#[repr(C)]
struct LoopInfo64 {
    file_device: u64,
    file_inode: u64,
    file_is_device: u64,
    rest: [u64; 26],
}

const _: () = assert!(size_of::<LoopInfo64>() == 232);

/// Returns the number of the block device that is behind an open loop device; nothing if it is a
/// regular file, or this is no loop device that is in use.
pub fn behind(file: &File) -> Option<Device> {
    // SAFETY: the kernel writes a `struct loop_info64` for that number, or nothing if it returns
    // an error (drivers/block/loop.c: loop_get_status64), and any words are one.
    let info = unsafe {
        ioctl(
            file,
            Getter::<BadOpcode<LOOP_GET_STATUS64>, LoopInfo64>::new(),
        )
    };
    match info.ok()?.file_is_device {
        0 => None,
        // As the kernel encodes it: huge_encode_dev() of linux/kdev_t.h.
        number => Some(Device {
            major: ((number >> 8) & 0xfff) as u32,
            minor: ((number & 0xff) | ((number >> 12) & 0xfff00)) as u32,
        }),
    }
}
