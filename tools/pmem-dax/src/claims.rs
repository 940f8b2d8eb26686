// SPDX-License-Identifier: GPL-2.0

//! Changes of the list of what pmem_dax takes.

use std::io;

use rustix::io::Errno;

use crate::key::{split, Identity, UUID};

/// The list: the attribute of the driver, or in tests what is like it.
pub trait List {
    /// Returns its entries.
    fn entries(&self) -> Vec<String>;

    /// Adds the entry, or with a `-` before the key removes it.
    ///
    /// # Errors
    ///
    /// If the driver refuses it.
    fn write(&self, word: &str) -> io::Result<()>;
}

/// Returns the entries that are about a namespace.
pub fn own(list: &impl List, of: &Identity) -> Vec<String> {
    let mut entries = list.entries();
    entries.retain(|entry| of.is_own(entry));
    entries
}

/// Returns the one of them that counts.
pub fn effective<'a>(own: &'a [String], of: &Identity) -> Option<&'a str> {
    of.claimed_by(own.iter().map(String::as_str))
}

/// Claims a namespace, by its UUID if that is `unique`: then it is still that namespace if names
/// move. A driver that knows no UUIDs is given the name. Entries that the new one replaces go.
///
/// Returns the entry.
///
/// # Errors
///
/// The entry that the driver refuses.
pub fn add(
    list: &impl List,
    of: &Identity,
    unique: bool,
    settings: &str,
) -> Result<String, String> {
    let mut entry = format!("{}{settings}", of.name);
    let by_uuid = match &of.uuid {
        Some(uuid) if unique => {
            let by_uuid = format!("{UUID}{uuid}{settings}");
            match list.write(&by_uuid) {
                Ok(()) => Some(by_uuid),
                Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => None,
                Err(_) => return Err(by_uuid),
            }
        }
        _ => None,
    };
    match by_uuid {
        Some(by_uuid) => entry = by_uuid,
        None if list.write(&entry).is_err() => return Err(entry),
        None => {}
    }
    for old in own(list, of) {
        if split(&old).0 != split(&entry).0 && of.replaces(&entry, &old) {
            drop_key(list, &old);
        }
    }
    Ok(entry)
}

/// Takes a namespace off the list, whatever it stands there under.
pub fn remove(list: &impl List, of: &Identity) {
    for entry in own(list, of) {
        drop_key(list, &entry);
    }
}

/// Makes the list have these entries of a namespace again, and no other ones.
pub fn restore(list: &impl List, of: &Identity, old: &[String]) {
    let now = own(list, of);
    for entry in old.iter().filter(|entry| !now.contains(entry)) {
        // It was there before.
        let _ = list.write(entry);
    }
    for entry in &now {
        if !old.iter().any(|old| split(old).0 == split(entry).0) {
            drop_key(list, entry);
        }
    }
}

/// Returns the entry by which a namespace is to be claimed at boot, with the settings that it is
/// claimed with now. The driver that is loaded is asked for whether it knows UUIDs: one that does
/// not would not be loaded at boot with one in its parameter.
pub fn for_boot(list: &impl List, of: &Identity, unique: bool) -> String {
    let entries = list.entries();
    // It may have been claimed as one of all.
    let now = effective(&entries, of).unwrap_or_default();
    let (key, settings) = split(now);
    if of.uuid.is_some() && unique {
        if key.starts_with(UUID) {
            return now.to_owned();
        }
        if let Ok(entry) = add(list, of, unique, settings) {
            return entry;
        }
    }
    format!("{}{settings}", of.name)
}

fn drop_key(list: &impl List, entry: &str) {
    // Somebody else may have done so.
    let _ = list.write(&format!("-{}", split(entry).0));
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::key::tests::identity;

    const BY_UUID: &str = "uuid:01234567-89ab-cdef-0123-456789abcdef";

    /// A driver, which may know nothing but names.
    struct Driver {
        keys: bool,
        full: bool,
        entries: RefCell<Vec<String>>,
    }

    impl Driver {
        fn new(keys: bool, entries: &[&str]) -> Self {
            let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
            Driver {
                keys,
                full: false,
                entries: RefCell::new(entries),
            }
        }
    }

    impl List for Driver {
        fn entries(&self) -> Vec<String> {
            self.entries.borrow().clone()
        }

        fn write(&self, word: &str) -> io::Result<()> {
            let mut entries = self.entries.borrow_mut();
            if let Some(key) = word.strip_prefix('-') {
                let place = entries.iter().position(|entry| split(entry).0 == key);
                entries.remove(place.ok_or(Errno::NOENT)?);
                return Ok(());
            }
            let (key, settings) = split(word);
            let known = self.keys || key.starts_with("namespace") || key == "all";
            if !known || !["", ":align=1G", ":align=2M"].contains(&settings) {
                return Err(Errno::INVAL.into());
            }
            if self.full {
                return Err(Errno::NOSPC.into());
            }
            let word = word.trim_end_matches(":align=2M").to_owned();
            match entries.iter_mut().find(|entry| split(entry).0 == key) {
                Some(entry) => *entry = word,
                None => entries.push(word),
            }
            Ok(())
        }
    }

    fn without_labels() -> Identity {
        Identity {
            uuid: None,
            label: None,
            ..identity()
        }
    }

    #[test]
    fn claimed_by_uuid() {
        let driver = Driver::new(true, &["namespace0.0"]);
        let entry = add(&driver, &identity(), true, ":align=1G").unwrap();
        assert_eq!(entry, format!("{BY_UUID}:align=1G"));
        assert_eq!(driver.entries(), ["namespace0.0", &entry]);
        remove(&driver, &identity());
        assert_eq!(driver.entries(), ["namespace0.0"]);
    }

    #[test]
    fn claimed_by_name() {
        // A driver of before, no UUID, and one that a clone has.
        for (keys, identity, unique) in [
            (false, identity(), true),
            (true, without_labels(), true),
            (true, identity(), false),
        ] {
            let driver = Driver::new(keys, &[]);
            add(&driver, &identity, unique, ":align=1G").unwrap();
            assert_eq!(driver.entries(), ["namespace1.0:align=1G"]);
        }
    }

    #[test]
    fn no_name_if_the_list_is_full() {
        let driver = Driver {
            full: true,
            ..Driver::new(true, &[])
        };
        assert_eq!(add(&driver, &identity(), true, ""), Err(BY_UUID.to_owned()));
    }

    #[test]
    fn bad_settings_change_nothing() {
        for keys in [false, true] {
            let driver = Driver::new(keys, &["namespace1.0"]);
            assert_eq!(
                add(&driver, &identity(), true, ":align=7G"),
                Err("namespace1.0:align=7G".into())
            );
            assert_eq!(driver.entries(), ["namespace1.0"]);
        }
    }

    /// Its name may be another one's some day; a label's name is left, as it does no harm.
    #[test]
    fn the_name_gives_way() {
        let driver = Driver::new(true, &["namespace1.0:align=1G", "name:data", "all"]);
        add(&driver, &identity(), true, "").unwrap();
        assert_eq!(driver.entries(), ["name:data", "all", BY_UUID]);
    }

    /// What would hide it goes.
    #[test]
    fn the_name_counts_if_it_is_all_there_is() {
        let driver = Driver::new(true, &[BY_UUID, "name:data", "all"]);
        add(&driver, &identity(), false, ":align=1G").unwrap();
        assert_eq!(driver.entries(), ["all", "namespace1.0:align=1G"]);
    }

    #[test]
    fn removed_under_every_key() {
        let others = ["namespace0.0", "name:other", "all"];
        let mut entries = vec!["namespace1.0:align=1G", BY_UUID, "name:data"];
        entries.extend(others);
        let driver = Driver::new(true, &entries);
        remove(&driver, &identity());
        assert_eq!(driver.entries(), others);
    }

    #[test]
    fn back_as_it_was() {
        for old in [
            &["all"][..],
            &["namespace1.0:align=1G", "name:data", "namespace0.0"],
            &[BY_UUID],
        ] {
            let driver = Driver::new(true, old);
            let before = own(&driver, &identity());
            add(&driver, &identity(), true, ":align=1G").unwrap();
            restore(&driver, &identity(), &before);
            let sorted = |mut list: Vec<String>| {
                list.sort();
                list
            };
            let old = old.iter().map(|entry| (*entry).to_owned()).collect();
            assert_eq!(sorted(driver.entries()), sorted(old));
        }
    }

    #[test]
    fn at_boot() {
        for (keys, identity, unique, now, entry) in [
            (true, identity(), true, &[BY_UUID][..], BY_UUID.to_owned()),
            (
                true,
                identity(),
                true,
                &["namespace1.0:align=1G"],
                format!("{BY_UUID}:align=1G"),
            ),
            (
                true,
                identity(),
                true,
                &["all:align=1G"],
                format!("{BY_UUID}:align=1G"),
            ),
            (
                false,
                identity(),
                true,
                &["all:align=1G"],
                "namespace1.0:align=1G".to_owned(),
            ),
            (
                true,
                without_labels(),
                true,
                &["namespace1.0:align=1G", "all"],
                "namespace1.0:align=1G".to_owned(),
            ),
            (
                true,
                identity(),
                false,
                &["name:data:align=1G"],
                "namespace1.0:align=1G".to_owned(),
            ),
        ] {
            let driver = Driver::new(keys, now);
            assert_eq!(for_boot(&driver, &identity, unique), entry, "{now:?}");
        }
    }
}
