// SPDX-License-Identifier: GPL-2.0

//! The list of namespaces that the driver takes.
//!
//! The bus offers every namespace to every driver, so a driver that took what it is offered would
//! steal from others. This one takes what it was told to, by name, and nothing else.

use kernel::{
    prelude::*,
    str::CString, //
};

/// The names that were claimed.
pub(crate) struct Claims {
    all: bool,
    names: KVec<KVec<u8>>,
}

/// What to do with a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change<'a> {
    Add(&'a [u8]),
    Remove(&'a [u8]),
}

impl Claims {
    /// The list of a module parameter: names with commas between them, or `all`.
    ///
    /// # Errors
    ///
    /// `EINVAL` for anything that is not the name of a namespace, which is told in the log.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let mut claims = Self {
            all: false,
            names: KVec::new(),
        };

        for name in text.split(|byte| *byte == b',') {
            if name.is_empty() {
                continue;
            }
            claims.add(name)?;
        }
        Ok(claims)
    }

    /// Changes the list as a line that was written to the driver attribute says: `NAME` and `+NAME`
    /// add, `-NAME` removes.
    ///
    /// # Errors
    ///
    /// `EINVAL` for anything else, which is told in the log; `ENOENT` to remove what is not there.
    pub(crate) fn change(&mut self, line: &[u8]) -> Result {
        let change = match line.trim_ascii() {
            [b'-', name @ ..] => Change::Remove(name),
            [b'+', name @ ..] | name => Change::Add(name),
        };

        match change {
            Change::Add(name) => self.add(name),
            Change::Remove(name) => self.remove(name),
        }
    }

    fn add(&mut self, name: &[u8]) -> Result {
        if name == b"all" {
            self.all = true;
            return Ok(());
        }
        if !is_namespace(name) {
            pr_err!(
                "'{}' is not the name of a namespace: write it as in /sys/bus/nd/devices, like namespace0.0\n",
                Printable(name)
            );
            return Err(EINVAL);
        }
        if !self.has(name) {
            let mut copy = KVec::new();

            copy.extend_from_slice(name, GFP_KERNEL)?;
            self.names.push(copy, GFP_KERNEL)?;
        }
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result {
        if name == b"all" && self.all {
            self.all = false;
            return Ok(());
        }
        let index = self
            .names
            .iter()
            .position(|claimed| claimed.as_slice() == name)
            .ok_or(ENOENT)?;

        self.names.remove(index).map_err(|_| ENOENT)?;
        Ok(())
    }

    fn has(&self, name: &[u8]) -> bool {
        self.names.iter().any(|claimed| claimed.as_slice() == name)
    }

    /// Whether nothing is claimed.
    pub(crate) fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }

    /// Whether the namespace is claimed.
    pub(crate) fn wants(&self, name: &CStr) -> bool {
        self.all || self.has(name.to_bytes())
    }

    /// The names that were claimed, one by one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(|name| name.as_slice())
    }

    /// The names, one a line.
    pub(crate) fn to_text(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", self))
    }
}

impl kernel::fmt::Display for Claims {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        if self.all {
            f.write_str("all\n")?;
        }
        for name in self.names() {
            f.write_fmt(kernel::prelude::fmt!("{}\n", Printable(name)))?;
        }
        Ok(())
    }
}

/// Whether the text is `namespaceN.M`.
fn is_namespace(name: &[u8]) -> bool {
    let is_number = |text: &[u8]| {
        !text.is_empty() && text.len() <= 5 && text.iter().all(|byte| byte.is_ascii_digit())
    };
    let Some(numbers) = name.strip_prefix(b"namespace") else {
        return false;
    };
    let mut parts = numbers.split(|byte| *byte == b'.');

    match (parts.next(), parts.next(), parts.next()) {
        (Some(region), Some(index), None) => is_number(region) && is_number(index),
        _ => false,
    }
}

/// Text from outside, with everything that could spoil a log replaced.
pub(crate) struct Printable<'a>(pub(crate) &'a [u8]);

impl kernel::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        for byte in self.0.iter().take(64) {
            let c = if byte.is_ascii_graphic() { *byte } else { b'?' };

            f.write_fmt(kernel::prelude::fmt!("{}", char::from(c)))?;
        }
        Ok(())
    }
}
