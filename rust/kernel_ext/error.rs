// SPDX-License-Identifier: GPL-2.0

//! Numbers from C that are either an error or something else.
//!
//! C header: [`include/linux/err.h`](srctree/include/linux/err.h)

use crate::bindings;
use kernel::prelude::*;

/// Returns the error that `number` is, if it is one: each of -4095 to -1 is, and no other.
///
/// `Error::from_errno` takes these alone, and has a line for the log for any other, each time. So
/// nothing else in this crate calls it.
///
/// C: `IS_ERR_VALUE`.
#[inline]
fn error_of(number: isize) -> Option<Error> {
    let errors = -(bindings::MAX_ERRNO as isize)..0;

    errors
        .contains(&number)
        .then(|| Error::from_errno(number as c_int))
}

/// Returns the address that `number` is, which may be any but those that are errors.
///
/// # Errors
///
/// The error that it is.
#[inline]
pub(crate) fn to_address(number: c_ulong) -> Result<usize> {
    error_of(number as isize).map_or(Ok(number), Err)
}

/// Returns the number of bytes that `number` is.
///
/// # Errors
///
/// The error that it is; `EINVAL` if it is less than any.
#[inline]
pub(crate) fn to_bytes(number: isize) -> Result<usize> {
    usize::try_from(number).map_err(|_| error_of(number).unwrap_or(EINVAL))
}
