// SPDX-License-Identifier: GPL-2.0

//! Namespaces that no driver but pmem_dax is to have, even if it does not take them.
//!
//! Another driver's disk has the same name, and the same bytes at first. So where a missing disk is
//! better than one whose mappings are of the page cache, the namespace is left without a driver.

use crate::key::{self, Identity};
use crate::root::Root;

/// The list of them: what each is called by, on a line of its own.
pub const FILE: &str = "/etc/pmem-dax.strict";

fn lines(root: &Root) -> Vec<String> {
    let text = root.read(FILE).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn is_key(line: &str) -> bool {
    !line.trim().is_empty() && !line.starts_with('#')
}

/// Returns what they are called by.
pub fn keys(root: &Root) -> Vec<String> {
    let mut lines = lines(root);
    lines.retain(|line| is_key(line));
    lines
        .iter()
        .map(|line| key::split(line.trim()).0.to_owned())
        .collect()
}

/// Returns whether the namespace is one of them.
pub fn has(root: &Root, namespace: &Identity) -> bool {
    key_of(root, namespace).is_some()
}

/// Returns what the namespace is called by if it is one of them.
pub fn key_of(root: &Root, namespace: &Identity) -> Option<String> {
    keys(root).into_iter().find(|key| namespace.is_own(key))
}

/// Makes the namespace one of them under that key, or under none. Other lines stay as they are.
///
/// # Errors
///
/// The message, if the file cannot be written.
pub fn set(root: &Root, namespace: &Identity, key: Option<&str>) -> Result<(), String> {
    let old = lines(root);
    let mut new = old.clone();
    new.retain(|line| !(is_key(line) && namespace.is_own(line.trim())));
    new.extend(key.map(str::to_owned));
    if new == old {
        return Ok(());
    }
    // Each line has an end.
    new.extend((!new.is_empty()).then(String::new));
    let text = new.join("\n");
    root.replace(FILE, &text)
        .map_err(|error| format!("{FILE} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::tests::{identity, U};

    fn tree(text: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        root.replace(FILE, text).unwrap();
        (dir, root)
    }

    #[test]
    fn under_any_key() {
        let upper = format!("uuid:{}\n", U.to_uppercase());
        for text in [
            upper.as_str(),
            "name:data\n",
            "# of mine\n\n namespace1.0 \n",
        ] {
            let (_dir, root) = tree(text);
            assert!(has(&root, &identity()), "{text}");
        }
        for text in ["", "#namespace1.0\n", "namespace11.0\n", "all\n"] {
            let (_dir, root) = tree(text);
            assert!(!has(&root, &identity()), "{text}");
        }
    }

    #[test]
    fn lines_of_others_stay() {
        let (_dir, root) = tree("# of mine\nname:other\n");
        let by_uuid = format!("uuid:{U}");
        set(&root, &identity(), Some("namespace1.0")).unwrap();
        set(&root, &identity(), Some(&by_uuid)).unwrap();
        assert_eq!(
            root.read(FILE).unwrap(),
            format!("# of mine\nname:other\n{by_uuid}")
        );
        assert_eq!(keys(&root), ["name:other", &by_uuid]);
        set(&root, &identity(), None).unwrap();
        assert_eq!(root.read(FILE).unwrap(), "# of mine\nname:other");
    }

    #[test]
    fn the_file_goes_with_its_last_line() {
        let (_dir, root) = tree("");
        set(&root, &identity(), None).unwrap();
        set(&root, &identity(), Some("namespace1.0")).unwrap();
        assert!(root.exists(FILE));
        set(&root, &identity(), None).unwrap();
        assert!(!root.exists(FILE));
    }
}
