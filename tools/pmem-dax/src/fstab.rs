// SPDX-License-Identifier: GPL-2.0

//! The tables by which devices are used at boot: fstab(5) and crypttab(5).

use crate::root::Root;

/// Where file systems and swap space are.
pub const FSTAB: &str = "/etc/fstab";
/// Where encrypted volumes are.
pub const CRYPTTAB: &str = "/etc/crypttab";

/// What a field says of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A tag, like `UUID`, and its value.
    Tag(String, String),
    /// A path, and the tag that it stands for if it is a link of udev.
    Path(String, Option<(String, String)>),
}

/// The directories whose links are named after tags.
const LINKS: [(&str, &str); 4] = [
    ("/dev/disk/by-uuid/", "UUID"),
    ("/dev/disk/by-label/", "LABEL"),
    ("/dev/disk/by-partuuid/", "PARTUUID"),
    ("/dev/disk/by-partlabel/", "PARTLABEL"),
];

impl Source {
    fn parse(field: &str) -> Self {
        if let Some((tag, value)) = field.split_once('=') {
            if LINKS.iter().any(|(_, known)| *known == tag) {
                return Source::Tag(tag.to_owned(), value.trim_matches('"').to_owned());
            }
        }
        let tag = LINKS.iter().find_map(|(directory, tag)| {
            let name = field.strip_prefix(directory)?;
            Some(((*tag).to_owned(), decoded(name, "\\x", 16)))
        });
        Source::Path(field.to_owned(), tag)
    }

    /// Returns the tag that it is, or its path stands for.
    pub fn tag(&self) -> Option<(&str, &str)> {
        match self {
            Source::Tag(tag, value) | Source::Path(_, Some((tag, value))) => Some((tag, value)),
            Source::Path(_, None) => None,
        }
    }

    /// Returns the path at which the device is, if udev is there.
    pub fn path(&self) -> String {
        match self {
            Source::Path(path, _) => path.clone(),
            Source::Tag(tag, value) => {
                let directory = LINKS.iter().find(|(_, known)| known == tag);
                format!("{}{value}", directory.map_or("", |(path, _)| path))
            }
        }
    }
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1.
    pub line: usize,
    /// The device.
    pub source: Source,
    /// Where it is mounted; of an encrypted volume the name that it gets.
    pub target: String,
    /// The type of the file system; empty for an encrypted volume.
    pub kind: String,
    options: String,
}

/// How a file system is mounted with regard to direct access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dax {
    /// For all files, so the disk must have it.
    Always,
    /// For files whose flag says so.
    Inode,
    /// The option is not there.
    Unset,
}

impl Entry {
    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    /// Returns what it says of direct access. The last word counts.
    pub fn dax(&self) -> Dax {
        let words = self.options.split(',').rev();
        let mut known = words.filter_map(|word| match word {
            "dax" | "dax=always" => Some(Dax::Always),
            "dax=inode" => Some(Dax::Inode),
            "dax=never" => Some(Dax::Unset),
            _ => None,
        });
        known.next().unwrap_or(Dax::Unset)
    }

    /// Returns whether a boot waits for it, and stops if it fails.
    pub fn stops_boot(&self) -> bool {
        !self.has("nofail") && !self.has("noauto")
    }
}

/// Returns the text without its escapes: a prefix and a number of two or three digits.
fn decoded(text: &str, escape: &str, radix: u32) -> String {
    let digits = if radix == 8 { 3 } else { 2 };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(escape) {
        bytes.extend_from_slice(before.as_bytes());
        let number = after
            .get(..digits)
            .and_then(|digits| u8::from_str_radix(digits, radix).ok());
        match number {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(digits..).unwrap_or_default();
            }
            None => {
                bytes.extend_from_slice(escape.as_bytes());
                rest = after;
            }
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns the lines that are no comments, by their numbers and fields.
fn lines(text: &str) -> impl Iterator<Item = (usize, Vec<String>)> + '_ {
    (1..).zip(text.lines()).filter_map(|(number, line)| {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let fields = line.split_whitespace();
        Some((
            number,
            fields.map(|field| decoded(field, "\\", 8)).collect(),
        ))
    })
}

/// Returns what is in the table of file systems.
pub fn file_systems(root: &Root) -> Vec<Entry> {
    lines(&root.read(FSTAB).unwrap_or_default())
        .filter_map(|(line, fields)| {
            let [source, target, kind, rest @ ..] = fields.as_slice() else {
                return None;
            };
            Some(Entry {
                line,
                source: Source::parse(source),
                target: target.clone(),
                kind: kind.clone(),
                options: rest.first().cloned().unwrap_or_default(),
            })
        })
        .collect()
}

/// Returns what is in the table of encrypted volumes.
pub fn encrypted(root: &Root) -> Vec<Entry> {
    lines(&root.read(CRYPTTAB).unwrap_or_default())
        .filter_map(|(line, fields)| {
            let [name, source, rest @ ..] = fields.as_slice() else {
                return None;
            };
            Some(Entry {
                line,
                source: Source::parse(source),
                target: name.clone(),
                kind: String::new(),
                options: rest.get(1).cloned().unwrap_or_default(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        fs::create_dir(root.path("/etc")).unwrap();
        for (name, text) in files {
            fs::write(root.path(name), text).unwrap();
        }
        (dir, root)
    }

    #[test]
    fn sources() {
        let text = "# <file system> <mount point>\n\
             \n\
             UUID=\"AB-12\"  /srv\\040a ext4 rw,dax=always,nofail 0 2\n\
             \tLABEL=a\\040b\t/b xfs dax\n\
             /dev/disk/by-label/a\\x20b /c ext4\n\
             /dev/pmem0p1 none swap sw 0 0\n\
             server:/export?a=b /d nfs defaults\n\
             bad\n";
        let (_dir, root) = tree(&[(FSTAB, text)]);
        let found = file_systems(&root);
        let tags: Vec<_> = found.iter().map(|entry| entry.source.tag()).collect();
        assert_eq!(
            tags,
            [
                Some(("UUID", "AB-12")),
                Some(("LABEL", "a b")),
                Some(("LABEL", "a b")),
                None,
                None
            ]
        );
        let lines: Vec<_> = found.iter().map(|entry| entry.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7]);
        assert_eq!(found[0].target, "/srv a");
        assert_eq!(found[0].source.path(), "/dev/disk/by-uuid/AB-12");
        assert_eq!(found[3].source.path(), "/dev/pmem0p1");
        assert_eq!(found[3].kind, "swap");
    }

    #[test]
    fn direct_access() {
        for (options, dax) in [
            ("dax", Dax::Always),
            ("rw,dax=always,nofail", Dax::Always),
            ("dax=always,dax=inode", Dax::Inode),
            ("dax,dax=never", Dax::Unset),
            ("defaults,daxx,x-dax=always", Dax::Unset),
            ("", Dax::Unset),
        ] {
            let text = format!("/dev/pmem0 /srv ext4 {options}\n");
            let (_dir, root) = tree(&[(FSTAB, &text)]);
            assert_eq!(file_systems(&root)[0].dax(), dax, "{options}");
        }
    }

    #[test]
    fn what_stops_a_boot() {
        for (options, stops) in [("dax", true), ("dax,nofail", false), ("noauto,dax", false)] {
            let text = format!("/dev/pmem0 /srv ext4 {options}\n");
            let (_dir, root) = tree(&[(FSTAB, &text)]);
            assert_eq!(file_systems(&root)[0].stops_boot(), stops, "{options}");
        }
    }

    #[test]
    fn volumes() {
        let text = "#name source key options\nsecret PARTUUID=1-2 none luks,noauto\nshort\n";
        let (_dir, root) = tree(&[(CRYPTTAB, text)]);
        let found = encrypted(&root);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].line, found[0].target.as_str()), (2, "secret"));
        assert_eq!(found[0].source.tag(), Some(("PARTUUID", "1-2")));
        assert!(!found[0].stops_boot());
    }

    #[test]
    fn no_tables() {
        let (_dir, root) = tree(&[]);
        assert!(file_systems(&root).is_empty());
        assert!(encrypted(&root).is_empty());
    }

    #[test]
    fn escapes_that_are_none() {
        assert_eq!(decoded("a\\", "\\", 8), "a\\");
        assert_eq!(decoded("\\9\\134x", "\\", 8), "\\9\\x");
        assert_eq!(decoded("\\xzz\\x2f", "\\x", 16), "\\xzz/");
    }
}
