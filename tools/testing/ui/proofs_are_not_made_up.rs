// error: E0451
// SPDX-License-Identifier: GPL-2.0

//! Only the device makes what proves that its memory is there.

#![forbid(unsafe_code)]
#![allow(missing_docs, dead_code)]

const __LOG_PREFIX: &[u8] = b"ui\0";

use core::marker::PhantomData;
use kernel_ext::{
    dax::{
        Block,
        Device,
        Operations,
        Table, //
    },
    mm::fault::Run,
    units::{
        Order,
        PageOffset, //
    },
};

fn block<'a>() -> Block<'a> {
    Block {
        page: core::ptr::NonNull::dangling(),
        order: Order::Pte,
        _table: PhantomData,
    }
}

fn run() -> Run {
    Run {
        first: PageOffset(0),
        pages: 1,
        reach: (PageOffset(0), 1),
    }
}

fn table<'a, T: Operations>(device: &'a Device<T>, other: Table<'a, T>) -> Table<'a, T> {
    Table { device, ..other }
}
