// SPDX-License-Identifier: GPL-2.0

//! Where sysfs, procfs, configfs, `/dev` and `/etc` are: below `/`, or below a directory that
//! has the same names in it, for tests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The directory that stands for `/`.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// Makes the directory the root.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Root(dir.into())
    }

    /// Returns whether this is the machine's own root.
    pub fn is_machine(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Returns the directory itself.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Returns where the file with that absolute name is.
    pub fn path(&self, name: impl AsRef<str>) -> PathBuf {
        self.0.join(name.as_ref().trim_start_matches('/'))
    }

    /// Returns the content of a file without the newline at its end; nothing if it cannot be
    /// read.
    pub fn read(&self, name: impl AsRef<str>) -> Option<String> {
        let bytes = fs::read(self.path(name)).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        Some(text.trim_end_matches('\n').to_owned())
    }

    /// Writes a file so that there is the old one, or all of the new one, whatever happens. No text
    /// means no file.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn replace(&self, name: &str, text: &str) -> io::Result<()> {
        let file = self.path(name);
        if text.is_empty() {
            return match fs::remove_file(file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory)?;
        }
        let new = self.path(format!("{name}.new"));
        let mut to = File::create(&new)?;
        to.write_all(text.as_bytes())?;
        to.sync_all()?;
        fs::rename(new, file)
    }

    /// Returns the number that is in a file.
    pub fn number(&self, name: impl AsRef<str>) -> Option<u64> {
        self.read(name)?.trim().parse().ok()
    }

    /// Returns whether there is such a file.
    pub fn exists(&self, name: impl AsRef<str>) -> bool {
        self.path(name).exists()
    }

    /// Returns the names in a directory, in order; none if there is no such directory.
    pub fn list(&self, name: impl AsRef<str>) -> Vec<String> {
        let entries = fs::read_dir(self.path(name)).into_iter().flatten();
        let mut names: Vec<_> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Returns the last part of what a link names.
    pub fn link(&self, name: impl AsRef<str>) -> Option<String> {
        let target = fs::read_link(self.path(name)).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Returns the names that a pattern matches, in order. A `*` in a part of the pattern stands
    /// for any characters.
    pub fn glob(&self, pattern: &str) -> Vec<String> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            found = found
                .iter()
                .flat_map(|dir| match part.split_once('*') {
                    None => vec![format!("{dir}/{part}")],
                    Some((start, end)) => self
                        .list(dir)
                        .into_iter()
                        .filter(|name| {
                            name.len() >= start.len() + end.len()
                                && name.starts_with(start)
                                && name.ends_with(end)
                        })
                        .map(|name| format!("{dir}/{name}"))
                        .collect(),
                })
                .collect();
        }
        found.retain(|name| self.exists(name));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_part_by_part() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for name in ["a/x1/f", "a/x2/f", "a/y1/f", "a/x3/g"] {
            fs::create_dir_all(root.path(name).parent().unwrap()).unwrap();
            fs::write(root.path(name), "text\n").unwrap();
        }
        assert_eq!(root.glob("/a/x*/f"), ["/a/x1/f", "/a/x2/f"]);
        assert_eq!(root.glob("/b/*/f"), [""; 0]);
        assert_eq!(root.read("/a/x1/f").unwrap(), "text");
        assert!(root.read("/a/x1").is_none());
    }
}
