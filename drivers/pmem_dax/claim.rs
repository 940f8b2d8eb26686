// SPDX-License-Identifier: GPL-2.0

//! The list of namespaces that the driver takes.
//!
//! The bus offers every namespace to every driver, so a driver that took what it is offered would
//! steal from others. This one takes what it was told to, and nothing else: by its UUID or the name in its
//! label, which stay with a namespace, or by the name of the device, which does not. Names are given in
//! the order in which namespaces are found, so each may be that of another one after a change of
//! labels.

use kernel::{
    prelude::*,
    str::CString, //
};
use kernel_ext::{
    nvdimm::Identity,
    units::Order, //
};

/// What was claimed.
pub(crate) struct Claims {
    all: Option<Settings>,
    claims: KVec<Claim>,
}

/// A namespace, and how it is to be set up.
struct Claim {
    key: Key,
    settings: Settings,
}

/// By what a namespace is claimed. The first kind counts most.
#[derive(Eq, PartialEq)]
pub(crate) enum Key {
    /// `uuid:`, as it is written.
    Uuid([u8; 16]),
    /// `name:`, the name in its label.
    Label(KVec<u8>),
    /// The name of its device, like `namespace0.0`.
    Name(KVec<u8>),
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

/// What to do with a claim.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Change<'a> {
    Add(&'a [u8]),
    Remove(&'a [u8]),
}

impl Claims {
    /// The list of a module parameter: [keys](Key) with commas between them, or `all`, each with settings
    /// or not.
    ///
    /// # Errors
    ///
    /// `EINVAL` for anything that is not the key of a namespace, which is told in the log.
    pub(crate) fn parse(text: &[u8]) -> Result<Self> {
        let mut claims = Self {
            all: None,
            claims: KVec::new(),
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
        let (key, settings) = split_key(text);
        let settings = match settings {
            Some(settings) => Settings::parse(settings)?,
            None => Settings::DEFAULT,
        };

        if key == b"all" {
            self.all = Some(settings);
            return Ok(());
        }
        let key = Key::parse(key)?;

        if let Some(claim) = self.claims.iter_mut().find(|claim| claim.key == key) {
            claim.settings = settings;
            return Ok(());
        }
        self.claims.push(Claim { key, settings }, GFP_KERNEL)?;
        Ok(())
    }

    fn remove(&mut self, key: &[u8]) -> Result {
        if key == b"all" {
            return self.all.take().map(|_| ()).ok_or(ENOENT);
        }
        let key = Key::parse(key)?;
        let index = self.claims.iter().position(|claim| claim.key == key);

        self.claims
            .remove(index.ok_or(ENOENT)?)
            .map_err(|_| ENOENT)?;
        Ok(())
    }

    /// Whether nothing is claimed.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_none() && self.claims.is_empty()
    }

    /// The settings of the namespace, if it is claimed, and the claim that counts unless it is `all`.
    /// Of the claims those are left out of which `is_usable` says no.
    pub(crate) fn settings(
        &self,
        namespace: &Identity<'_>,
        is_usable: impl Fn(&Key) -> bool,
    ) -> Option<(Settings, Option<&Key>)> {
        self.claims
            .iter()
            .filter(|claim| claim.key.is_of(namespace) && is_usable(&claim.key))
            .min_by_key(|claim| claim.key.rank())
            .map(|claim| (claim.settings, Some(&claim.key)))
            .or(self.all.map(|settings| (settings, None)))
    }

    /// The keys that were claimed, one by one.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Key> {
        self.claims.iter().map(|claim| &claim.key)
    }

    /// The claims, one a line.
    pub(crate) fn to_text(&self) -> Result<CString> {
        CString::try_from_fmt(fmt!("{}", self))
    }
}

impl Key {
    /// `NSLABEL_NAME_LEN` has a NUL in it.
    const LONGEST_LABEL: usize = 63;

    /// # Errors
    ///
    /// `EINVAL` for what is no key, which is told in the log.
    fn parse(text: &[u8]) -> Result<Self> {
        let copy = |bytes| {
            let mut copy = KVec::new();

            copy.extend_from_slice(bytes, GFP_KERNEL).map(|()| copy)
        };

        if let Some(uuid) = text.strip_prefix(b"uuid:") {
            return parse_uuid(uuid).map(Self::Uuid).ok_or_else(|| {
                pr_err!(
                    "'{}' is not a UUID: write it as in /sys/bus/nd/devices/namespaceN.M/uuid\n",
                    Printable(uuid)
                );
                EINVAL
            });
        }
        if let Some(label) = text.strip_prefix(b"name:") {
            let is_fit = |byte: &u8| byte.is_ascii_graphic() && *byte != b',';

            if !(1..=Self::LONGEST_LABEL).contains(&label.len()) || !label.iter().all(is_fit) {
                pr_err!(
                    "'{}' cannot be the name of a label here: claim it by its UUID, or give it a name of at most 63 characters, without blanks, commas and colons\n",
                    Printable(label)
                );
                return Err(EINVAL);
            }
            return Ok(Self::Label(copy(label)?));
        }
        if !is_namespace(text) {
            pr_err!(
                "'{}' is not a namespace: write uuid: and its UUID, name: and the name in its label, or its name as in /sys/bus/nd/devices, like namespace0.0\n",
                Printable(text)
            );
            return Err(EINVAL);
        }
        Ok(Self::Name(copy(text)?))
    }

    /// Whether it is one of the namespace's.
    pub(crate) fn is_of(&self, namespace: &Identity<'_>) -> bool {
        match self {
            Self::Uuid(uuid) => namespace.uuid.as_ref() == Some(uuid),
            Self::Label(label) => namespace.label == Some(label.as_slice()),
            Self::Name(name) => namespace.name.to_bytes() == name.as_slice(),
        }
    }

    /// Lower is better.
    fn rank(&self) -> u8 {
        match self {
            Self::Uuid(_) => 0,
            Self::Label(_) => 1,
            Self::Name(_) => 2,
        }
    }
}

impl kernel::fmt::Display for Key {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        match self {
            Self::Uuid(uuid) => f.write_fmt(kernel::prelude::fmt!("uuid:{}", Uuid(uuid))),
            Self::Label(label) => f.write_fmt(kernel::prelude::fmt!("name:{}", Printable(label))),
            Self::Name(name) => f.write_fmt(kernel::prelude::fmt!("{}", Printable(name))),
        }
    }
}

impl kernel::fmt::Display for Claims {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        if let Some(settings) = self.all {
            f.write_fmt(kernel::prelude::fmt!("all{}\n", settings))?;
        }
        for claim in self.claims.iter() {
            f.write_fmt(kernel::prelude::fmt!("{}{}\n", claim.key, claim.settings))?;
        }
        Ok(())
    }
}

/// A UUID as it is written, in lower case.
pub(crate) struct Uuid<'a>(pub(crate) &'a [u8; 16]);

impl kernel::fmt::Display for Uuid<'_> {
    fn fmt(&self, f: &mut kernel::fmt::Formatter<'_>) -> kernel::fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if let 4 | 6 | 8 | 10 = index {
                f.write_str("-")?;
            }
            f.write_fmt(kernel::prelude::fmt!("{:02x}", byte))?;
        }
        Ok(())
    }
}

/// The bytes of a UUID in the order in which they are written. `None` if it is none.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut uuid = [0; 16];
    let mut rest = text;

    for (index, byte) in uuid.iter_mut().enumerate() {
        if let 4 | 6 | 8 | 10 = index {
            rest = rest.strip_prefix(b"-")?;
        }
        let [high, low, others @ ..] = rest else {
            return None;
        };

        *byte = digit(*high)? << 4 | digit(*low)?;
        rest = others;
    }
    // That of all zeros is said to be none.
    (rest.is_empty() && uuid != [0; 16]).then_some(uuid)
}

/// A key and the settings behind it: `KEY[:SETTING...]`. That of a UUID or a label has a colon of its own.
fn split_key(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let skip = match text {
        [b'u', b'u', b'i', b'd', b':', ..] | [b'n', b'a', b'm', b'e', b':', ..] => 5,
        _ => 0,
    };
    let rest = text.get(skip..).unwrap_or_default();

    match rest.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            let (key, settings) = text.split_at(skip + colon);

            (key, settings.get(1..))
        }
        None => (text, None),
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
