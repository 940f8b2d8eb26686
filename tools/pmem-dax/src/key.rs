// SPDX-License-Identifier: GPL-2.0

//! By what a namespace is called: its name, its UUID, or the name that its label has.
//!
//! A name is that of a place, which another namespace may have after a change of the hardware. The
//! other two are in the labels on the memory, and move with it.

/// What stands before a UUID.
pub const UUID: &str = "uuid:";
/// What stands before the name that a label has.
pub const LABEL: &str = "name:";
/// What stands for all namespaces in a list of claims.
pub const ALL: &str = "all";

/// All by which one namespace can be called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its UUID, in lower case; none without labels.
    pub uuid: Option<String>,
    /// The name that its label has.
    pub label: Option<String>,
}

/// How well an entry of a list of claims fits. The driver takes the best, which is the last here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    All,
    Name,
    Label,
    Uuid,
}

impl Identity {
    fn fit(&self, entry: &str) -> Option<Fit> {
        let (key, _) = split(entry);
        if let Some(uuid) = key.strip_prefix(UUID) {
            let own = self.uuid.as_deref()?;
            return uuid.eq_ignore_ascii_case(own).then_some(Fit::Uuid);
        }
        if let Some(label) = key.strip_prefix(LABEL) {
            return (self.label.as_deref() == Some(label)).then_some(Fit::Label);
        }
        match key {
            ALL => Some(Fit::All),
            _ => (key == self.name).then_some(Fit::Name),
        }
    }

    /// Returns whether an entry is about this namespace, and not about all.
    pub fn is_own(&self, entry: &str) -> bool {
        self.fit(entry) > Some(Fit::All)
    }

    /// Returns the entry by which the driver takes the namespace. Of two with the same key the
    /// last counts.
    pub fn claimed_by<'a>(&self, entries: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
        let entries = entries
            .into_iter()
            .filter(|entry| self.fit(entry).is_some());
        entries.max_by_key(|entry| self.fit(entry))
    }

    /// Returns whether a new entry of this namespace takes the place of another one, which would
    /// otherwise hide it, or claim what gets the name of the namespace later. An entry by the name
    /// of a label was made by somebody, and is hidden itself by one with the UUID.
    pub fn replaces(&self, new: &str, old: &str) -> bool {
        let stays = self.fit(old) == Some(Fit::Label) && self.fit(new) == Some(Fit::Uuid);
        self.is_own(old) && !stays
    }
}

/// Returns the key of an entry, and its settings with the colon before them.
pub fn split(entry: &str) -> (&str, &str) {
    let start = [UUID, LABEL]
        .iter()
        .find(|start| entry.starts_with(**start))
        .map_or(0, |start| start.len());
    match entry[start..].find(':') {
        Some(colon) => entry.split_at(start + colon),
        None => (entry, ""),
    }
}

/// Returns whether that is a UUID, in any case.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(i, byte)| match i {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Returns the UUID that an attribute has, in lower case; none if there is none, or it is null.
pub fn uuid_of(text: &str) -> Option<String> {
    let text = text.trim();
    let null = text.bytes().all(|byte| matches!(byte, b'0' | b'-'));
    (is_uuid(text) && !null).then(|| text.to_ascii_lowercase())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const U: &str = "01234567-89ab-cdef-0123-456789abcdef";

    /// One that has all.
    pub(crate) fn identity() -> Identity {
        Identity {
            name: "namespace1.0".into(),
            uuid: Some(U.into()),
            label: Some("data".into()),
        }
    }

    #[test]
    fn keys_and_settings() {
        for (entry, key, settings) in [
            ("namespace0.0", "namespace0.0", ""),
            (
                "namespace0.0:align=1G:mode=generic",
                "namespace0.0",
                ":align=1G:mode=generic",
            ),
            ("uuid:u", "uuid:u", ""),
            ("uuid:u:align=1G", "uuid:u", ":align=1G"),
            ("name:n:mode=fsdax", "name:n", ":mode=fsdax"),
            ("all:mode=fsdax", "all", ":mode=fsdax"),
        ] {
            assert_eq!(split(entry), (key, settings));
        }
    }

    #[test]
    fn the_best_counts() {
        let upper = format!("uuid:{}:align=1G", U.to_uppercase());
        let list = [
            "all:mode=fsdax",
            upper.as_str(),
            "namespace1.0",
            "name:data",
            "namespace11.0",
            "name:data2",
        ];
        let mut left: Vec<_> = list.to_vec();
        for best in [
            upper.as_str(),
            "name:data",
            "namespace1.0",
            "all:mode=fsdax",
        ] {
            assert_eq!(identity().claimed_by(left.iter().copied()), Some(best));
            left.reverse();
            assert_eq!(identity().claimed_by(left.iter().copied()), Some(best));
            left.retain(|entry| *entry != best);
        }
        assert_eq!(identity().claimed_by(left), None);
    }

    #[test]
    fn the_last_of_a_key_counts() {
        let list = ["namespace1.0:align=1G", "namespace1.0"];
        assert_eq!(identity().claimed_by(list), Some("namespace1.0"));
    }

    #[test]
    fn what_has_neither_is_called_by_its_name() {
        let bare = Identity {
            name: "namespace1.0".into(),
            ..Identity::default()
        };
        assert!(bare.is_own("namespace1.0:align=1G"));
        for entry in ["uuid:", "name:", "all", &format!("uuid:{U}"), "name:data"] {
            assert!(!bare.is_own(entry), "{entry}");
        }
    }

    #[test]
    fn uuids() {
        assert_eq!(uuid_of(&U.to_uppercase()).as_deref(), Some(U));
        assert_eq!(uuid_of(&format!("{U}\n")).as_deref(), Some(U));
        for text in [
            "",
            "00000000-0000-0000-0000-000000000000",
            "01234567-89ab-cdef-0123-456789abcde",
            "01234567-89ab-cdef-0123-456789abcdeg",
            "01234567089ab-cdef-0123-456789abcdef",
        ] {
            assert_eq!(uuid_of(text), None, "{text}");
        }
    }
}
