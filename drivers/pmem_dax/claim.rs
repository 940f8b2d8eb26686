// SPDX-License-Identifier: GPL-2.0

//! The list of namespaces that the driver takes.
//!
//! The bus offers every namespace to every driver, so a driver that took what it is offered would
//! steal from others. This one takes what it was told to, by name, and nothing else.

use kernel::{
    prelude::*,
    str::CString, //
};
use kernel_ext::units::Order;

/// The names that were claimed.
pub(crate) struct Claims {
    all: Option<Settings>,
    names: KVec<Claim>,
}

/// A name, and how the namespace is to be set up.
struct Claim {
    name: KVec<u8>,
    settings: Settings,
}

/// How a namespace is to be set up: what stands behind its name, as in `namespace0.0:align=1G`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Settings {
    /// The largest order that it is mapped with.
    pub(crate) align: Order,
    /// Who may map it.
    pub(crate) mode: Mode,
}

/// Who may map a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Mode {
    /// Whoever has the disk or a partition open.
    Generic,
    /// File systems on it too, mounted with `-o dax`.
    FsDax,
}

impl Mode {
    /// As in `mode=`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::FsDax => "fsdax",
        }
    }
}

impl Settings {
    const DEFAULT: Self = Self {
        align: Order::Pmd,
        mode: Mode::Generic,
    };

    /// # Errors
    ///
    /// `EINVAL` for anything that is not a setting, or does not go with another, which is told in the
    /// log.
    fn parse(text: &[u8]) -> Result<Self> {
        let mut settings = Self::DEFAULT;

        for setting in text.split(|byte| *byte == b':') {
            match setting {
                b"align=2M" => settings.align = Order::Pmd,
                b"align=1G" => settings.align = Order::Pud,
                b"mode=generic" => settings.mode = Mode::Generic,
                b"mode=fsdax" => settings.mode = Mode::FsDax,
                _ => {
                    pr_err!(
                        "'{}' is not a setting of a namespace: there are align=2M, align=1G, mode=generic and mode=fsdax\n",
                        Printable(setting)
                    );
                    return Err(EINVAL);
                }
            }
        }
        if settings.mode == Mode::FsDax && settings.align == Order::Pud {
            pr_err!("align=1G needs mode=generic: file systems map 2 MiB at most\n");
            return Err(EINVAL);
        }
        Ok(settings)
    }
}

impl kernel::fmt::Display for Settings {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        if self.align == Order::Pud {
            f.write_str(":align=1G")?;
        }
        if self.mode == Mode::FsDax {
            f.write_fmt(fmt!(":mode={}", self.mode.name()))?;
        }
        Ok(())
    }
}

/// What to do with a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change<'a> {
    Add(&'a [u8]),
    Remove(&'a [u8]),
}

impl Claims {
    /// The list of a module parameter: names with commas between them, or `all`, each with settings
    /// or not.
    ///
    /// # Errors
    ///
    /// `EINVAL` for anything that is not the name of a namespace, which is told in the log.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let mut claims = Self {
            all: None,
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
    /// add, or change the settings of what is there, `-NAME` removes.
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

    fn add(&mut self, text: &[u8]) -> Result {
        let (name, settings) = match text.iter().position(|byte| *byte == b':') {
            Some(colon) => {
                let (name, settings) = text.split_at(colon);

                (
                    name,
                    Settings::parse(settings.get(1..).unwrap_or_default())?,
                )
            }
            None => (text, Settings::DEFAULT),
        };

        if name == b"all" {
            self.all = Some(settings);
            return Ok(());
        }
        if !is_namespace(name) {
            pr_err!(
                "'{}' is not the name of a namespace: write it as in /sys/bus/nd/devices, like namespace0.0\n",
                Printable(name)
            );
            return Err(EINVAL);
        }
        if let Some(claim) = self.names.iter_mut().find(|claim| claim.is_of(name)) {
            claim.settings = settings;
            return Ok(());
        }
        let mut copy = KVec::new();

        copy.extend_from_slice(name, GFP_KERNEL)?;
        self.names.push(
            Claim {
                name: copy,
                settings,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Result {
        if name == b"all" && self.all.take().is_some() {
            return Ok(());
        }
        let index = self
            .names
            .iter()
            .position(|claim| claim.is_of(name))
            .ok_or(ENOENT)?;

        self.names.remove(index).map_err(|_| ENOENT)?;
        Ok(())
    }

    /// Whether nothing is claimed.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_none() && self.names.is_empty()
    }

    /// The settings of the namespace, if it is claimed. Its name counts more than `all`.
    pub(crate) fn settings(&self, name: &CStr) -> Option<Settings> {
        self.names
            .iter()
            .find(|claim| claim.is_of(name.to_bytes()))
            .map(|claim| claim.settings)
            .or(self.all)
    }

    /// The names that were claimed, one by one.
    pub(crate) fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.names.iter().map(|claim| claim.name.as_slice())
    }

    /// The names, one a line.
    pub(crate) fn to_text(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", self))
    }
}

impl Claim {
    fn is_of(&self, name: &[u8]) -> bool {
        self.name.as_slice() == name
    }
}

impl kernel::fmt::Display for Claims {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        if let Some(settings) = self.all {
            f.write_fmt(kernel::prelude::fmt!("all{}\n", settings))?;
        }
        for claim in self.names.iter() {
            f.write_fmt(kernel::prelude::fmt!(
                "{}{}\n",
                Printable(&claim.name),
                claim.settings
            ))?;
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
