// SPDX-License-Identifier: GPL-2.0

//! The configuration of modprobe(8) for pmem_dax, which decides what happens at the next boot.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::env;
use std::process::Command;

use crate::key::Identity;
use crate::root::Root;

/// The file that `--boot` writes to.
pub const BOOT_FILE: &str = "/etc/modprobe.d/pmem-dax.conf";
const BOOT_MARK: &str =
    r#"# Made by "pmem-dax attach --boot"; "pmem-dax detach --boot" removes it."#;
const OPTIONS: &str = "options pmem_dax claim=";
const SOFTDEP: &str = "softdep nd_pmem pre: pmem_dax";

/// The directories that modprobe reads. Of two files of one name, that in the first counts.
const DIRECTORIES: [&str; 5] = [
    "/etc/modprobe.d",
    "/run/modprobe.d",
    "/usr/local/lib/modprobe.d",
    "/usr/lib/modprobe.d",
    "/lib/modprobe.d",
];

/// What is longer than a parameter of a module can be.
const TOO_LONG: usize = 1024;

/// Returns the lines of the files in the order in which modprobe reads them, each with its file.
fn lines(root: &Root) -> Vec<(String, String)> {
    let mut files = BTreeMap::new();
    for directory in DIRECTORIES {
        for name in root.list(directory) {
            if name.ends_with(".conf") {
                let file = format!("{directory}/{name}");
                files.entry(name).or_insert(file);
            }
        }
    }
    let mut lines = Vec::new();
    for file in files.into_values() {
        let text = root.read(&file).unwrap_or_default().replace("\\\n", "");
        lines.extend(text.lines().map(|line| (file.clone(), line.to_owned())));
    }
    lines
}

/// Returns the lines that set options of pmem_dax, as `modprobe -c` shows them: those of its
/// files, then those of the kernel's command line.
fn options(root: &Root) -> Vec<String> {
    let mut found = Vec::new();
    for (_, line) in lines(root) {
        let mut words = line.split_whitespace();
        if words.next() == Some("options")
            && words.next().map(underscores).as_deref() == Some("pmem_dax")
        {
            found.push(words.collect::<Vec<_>>().join(" "));
        }
    }
    let command_line = root.read("/proc/cmdline").unwrap_or_default();
    for word in command_line.split_whitespace() {
        match word.split_once('.') {
            Some((module, option)) if underscores(module) == "pmem_dax" => {
                found.push(option.to_owned());
            }
            _ => {}
        }
    }
    found
        .into_iter()
        .map(|options| format!("options pmem_dax {options}"))
        .collect()
}

/// Modules have the same name with hyphens.
fn underscores(name: &str) -> String {
    name.replace('-', "_")
}

/// Returns what a line of options sets the parameter `claim` to.
fn claim_of(options: &str) -> Option<&str> {
    let mut words = options.split_whitespace().rev();
    words.find_map(|word| word.strip_prefix("claim="))
}

/// Returns the entries by which pmem_dax is bound to namespaces at the next boot.
pub fn claims_at_boot(root: &Root) -> Vec<String> {
    let options = options(root);
    let last = options.iter().rev().find_map(|line| claim_of(line));
    let entries = last.unwrap_or_default().split(',');
    let entries = entries.filter(|entry| !entry.is_empty());
    entries.map(str::to_owned).collect()
}

/// Returns the entry by which pmem_dax is bound to the namespace at the next boot.
pub fn at_boot(root: &Root, namespace: &Identity) -> Option<String> {
    let entries = claims_at_boot(root);
    let entry = namespace.claimed_by(entries.iter().map(String::as_str));
    entry.map(str::to_owned)
}

/// Returns the lines of others that set the parameter `claim`.
pub fn lines_of_others(root: &Root) -> Vec<String> {
    let ours = format!("{OPTIONS}{}", BootFile::read(root).claims.join(","));
    let mut lines = options(root);
    lines.retain(|line| claim_of(line).is_some() && *line != ours);
    lines
}

/// Loads a module of the machine.
///
/// # Errors
///
/// The reason, and what to do.
pub fn load(root: &Root, module: &str) -> Result<(), String> {
    let mut modprobe = Command::new("modprobe");
    modprobe.arg(module).env("LC_ALL", "C");
    // Those that udev calls have none.
    if env::var_os("PATH").is_none() {
        modprobe.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    }
    let output = modprobe
        .output()
        .map_err(|error| format!("{module} is not loaded: modprobe: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(not_loaded(root, module, &said))
}

/// Returns what it means that modprobe said that of a module.
fn not_loaded(root: &Root, module: &str, said: &str) -> String {
    let release = release(root);
    let said = said.lines().last().unwrap_or("modprobe failed");
    let said = said.trim_start_matches("modprobe: ");
    let remedy = if said.contains("Key was rejected") || said.contains("Required key not available")
    {
        format!("this kernel wants a signature that it trusts: sign {module} with a key that is enrolled (mokutil --import)")
    } else if said.contains("Exec format error") || said.contains("Invalid module format") {
        format!(
            "it was built for another kernel than {release}: build it for this one and install it"
        )
    } else if said.contains("not found") {
        format!(
            "it is not installed for the kernel {release}: build it for this one and install it"
        )
    } else {
        "dmesg says why".to_owned()
    };
    format!("{module} is not loaded ({said}): {remedy}")
}

/// Returns the release of the kernel that runs.
fn release(root: &Root) -> String {
    let release = root.read("/proc/sys/kernel/osrelease");
    release.unwrap_or_default()
}

/// Returns the line by which pmem_dax would not be loaded before nd_pmem, though ours says so, and its
/// file: of all such lines that match a module, modprobe takes the first and no other.
pub fn softdep_before_ours(root: &Root) -> Option<(String, String)> {
    let our_name = BOOT_FILE.rsplit('/').next();
    let ours = BootFile::read(root);
    let first = lines(root).into_iter().find(|(file, line)| {
        // In our file, lines of others come first.
        let is_before = match file.rsplit('/').next().cmp(&our_name) {
            Ordering::Less => true,
            Ordering::Equal => ours.others.contains(line),
            Ordering::Greater => false,
        };
        let mut words = line.split_whitespace();
        is_before
            && words.next() == Some("softdep")
            && (words.next()).is_some_and(|pattern| matches(&underscores(pattern), "nd_pmem"))
    })?;
    let before = first.1.split_whitespace().skip(2);
    let before = before.skip_while(|word| *word != "pre:").skip(1);
    let mut before = before.take_while(|word| *word != "post:");
    let is_fine = before.any(|module| underscores(module) == "pmem_dax");
    (!is_fine).then_some(first)
}

/// Returns whether a name is what a pattern of modprobe's means. What is in brackets may be any
/// character.
fn matches(pattern: &str, name: &str) -> bool {
    let (first, rest) = match pattern.chars().next() {
        None => return name.is_empty(),
        Some('*') => {
            return (0..=name.len()).any(|start| {
                name.get(start..)
                    .is_some_and(|end| matches(&pattern[1..], end))
            })
        }
        Some('[') => match pattern.split_once(']') {
            Some((_, rest)) => ('?', rest),
            None => ('[', &pattern[1..]),
        },
        Some(first) => (first, &pattern[first.len_utf8()..]),
    };
    let mut name = name.chars();
    name.next().is_some_and(|c| c == first || first == '?') && matches(rest, name.as_str())
}

/// Returns whether the module is where modprobe finds it.
pub fn installed(root: &Root) -> bool {
    let release = release(root);
    let list = |name| {
        let file = format!("/lib/modules/{release}/{name}");
        root.read(file).unwrap_or_default()
    };
    list("modules.dep").lines().any(|line| {
        let path = line.split(':').next().unwrap_or_default();
        let file = path.rsplit('/').next().unwrap_or_default();
        file.split('.').next().map(underscores).as_deref() == Some("pmem_dax")
    })
}

/// The file that `--boot` writes to: what of it is ours, and what of others.
#[derive(Debug, Default, PartialEq, Eq)]
struct BootFile {
    claims: Vec<String>,
    others: Vec<String>,
}

impl BootFile {
    fn read(root: &Root) -> Self {
        let mut own = false;
        let mut file = BootFile::default();
        for line in root.read(BOOT_FILE).unwrap_or_default().lines() {
            if line == BOOT_MARK {
                own = true;
            } else if let (true, Some(claims)) = (own, line.strip_prefix(OPTIONS)) {
                file.claims.extend(claims.split(',').map(str::to_owned));
            } else if !(own && line == SOFTDEP) {
                own = false;
                file.others.push(line.to_owned());
            }
        }
        file
    }

    /// Returns the text; nothing if there is no need of a file.
    fn text(&self) -> String {
        let mut lines = self.others.clone();
        if !self.claims.is_empty() {
            lines.push(BOOT_MARK.to_owned());
            lines.push(format!("{OPTIONS}{}", self.claims.join(",")));
            lines.push(SOFTDEP.to_owned());
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// Has the namespace claimed so at boot, or not at all, whatever it was claimed by before.
///
/// # Errors
///
/// The message, if the list is full, or the file cannot be written.
pub fn set_boot(root: &Root, namespace: &Identity, entry: Option<String>) -> Result<(), String> {
    let mut file = BootFile::read(root);
    file.claims.retain(|claim| match &entry {
        Some(entry) => !namespace.replaces(entry, claim),
        None => !namespace.is_own(claim),
    });
    file.claims.extend(entry);
    if file.claims.join(",").len() >= TOO_LONG {
        let name = &namespace.name;
        return Err(format!("the list of claims has no room for {name}"));
    }
    root.replace(BOOT_FILE, &file.text())
        .map_err(|error| format!("{BOOT_FILE} cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::key::tests::{identity, U};

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (name, text) in files {
            let file = root.path(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        (dir, root)
    }

    /// One without labels.
    fn named(name: &str) -> Identity {
        Identity {
            name: name.into(),
            ..Identity::default()
        }
    }

    #[test]
    fn the_last_claim_counts() {
        let (_dir, root) = tree(&[
            (
                "/etc/modprobe.d/b.conf",
                "options pmem-dax claim=namespace0.0,namespace1.0:align=1G\n",
            ),
            (
                "/lib/modprobe.d/a.conf",
                "options pmem_dax \\\n claim=namespace9.0\n# options pmem_dax claim=all\n",
            ),
            ("/lib/modprobe.d/b.conf", "options pmem_dax claim=all\n"),
            ("/etc/modprobe.d/c.txt", "options pmem_dax claim=all\n"),
            ("/proc/cmdline", "quiet nd_pmem.x=1\n"),
        ]);
        assert_eq!(
            at_boot(&root, &named("namespace0.0")).unwrap(),
            "namespace0.0"
        );
        assert_eq!(
            at_boot(&root, &named("namespace1.0")).unwrap(),
            "namespace1.0:align=1G"
        );
        assert_eq!(at_boot(&root, &named("namespace9.0")), None);
        assert_eq!(
            lines_of_others(&root),
            [
                "options pmem_dax claim=namespace9.0",
                "options pmem_dax claim=namespace0.0,namespace1.0:align=1G"
            ]
        );

        fs::write(root.path("/proc/cmdline"), "pmem_dax.claim=all:mode=fsdax").unwrap();
        assert_eq!(
            at_boot(&root, &named("namespace9.0")).unwrap(),
            "all:mode=fsdax"
        );
    }

    #[test]
    fn no_configuration() {
        let (_dir, root) = tree(&[]);
        assert_eq!(at_boot(&root, &named("namespace0.0")), None);
        assert!(lines_of_others(&root).is_empty());
        assert!(!installed(&root));
    }

    #[test]
    fn lines_of_others_stay() {
        let (_dir, root) = tree(&[(BOOT_FILE, "# another's\noptions pmem_dax other=1\n")]);
        let text = || fs::read_to_string(root.path(BOOT_FILE)).unwrap();

        set_boot(
            &root,
            &named("namespace1.0"),
            Some("namespace1.0:align=1G".into()),
        )
        .unwrap();
        set_boot(&root, &named("namespace0.0"), Some("namespace0.0".into())).unwrap();
        assert_eq!(
            text(),
            format!(
                "# another's\noptions pmem_dax other=1\n{BOOT_MARK}\n\
                 options pmem_dax claim=namespace1.0:align=1G,namespace0.0\n{SOFTDEP}\n"
            )
        );
        assert!(lines_of_others(&root).is_empty());
        assert_eq!(
            at_boot(&root, &named("namespace0.0")).unwrap(),
            "namespace0.0"
        );

        set_boot(&root, &named("namespace1.0"), None).unwrap();
        assert_eq!(at_boot(&root, &named("namespace1.0")), None);
        set_boot(&root, &named("namespace0.0"), None).unwrap();
        assert_eq!(text(), "# another's\noptions pmem_dax other=1\n");
    }

    #[test]
    fn any_key_claims_at_boot() {
        let by_uuid = format!("uuid:{}:align=1G", U.to_uppercase());
        let mut entries = vec![
            "all",
            "namespace1.0:mode=fsdax",
            "name:data:align=2M",
            by_uuid.as_str(),
        ];
        let (_dir, root) = tree(&[]);
        fs::create_dir_all(root.path("/etc/modprobe.d")).unwrap();
        while let Some(best) = entries.last().copied() {
            let line = format!("options pmem_dax claim={}\n", entries.join(","));
            fs::write(root.path(BOOT_FILE), line).unwrap();
            assert_eq!(at_boot(&root, &identity()).as_deref(), Some(best));
            // For another one none of these counts.
            assert_eq!(at_boot(&root, &named("namespace2.0")).unwrap(), "all");
            entries.pop();
        }
    }

    #[test]
    fn an_entry_by_name_is_replaced() {
        let (_dir, root) = tree(&[]);
        let set = |identity: &Identity, entry: &str| {
            set_boot(&root, identity, Some(entry.into())).unwrap();
        };
        let by_uuid = format!("uuid:{U}");

        set(&identity(), "namespace1.0:align=1G");
        set(&named("namespace0.0"), "namespace0.0");
        set(&identity(), &by_uuid);
        assert_eq!(
            BootFile::read(&root).claims,
            ["namespace0.0", by_uuid.as_str()]
        );
        let text = fs::read_to_string(root.path(BOOT_FILE)).unwrap();
        assert!(text.contains(&format!("claim=namespace0.0,{by_uuid}\n")));

        // And by the UUID, in either case.
        set(&identity(), &format!("{by_uuid}:align=1G"));
        assert_eq!(
            at_boot(&root, &identity()),
            Some(format!("{by_uuid}:align=1G"))
        );
        assert_eq!(BootFile::read(&root).claims.len(), 2);
        assert!(lines_of_others(&root).is_empty());
    }

    #[test]
    fn detached_under_every_key() {
        let claims = format!("namespace1.0,name:data:align=1G,namespace11.0,name:dat,uuid:{U}");
        let text = format!("{BOOT_MARK}\n{OPTIONS}{claims}\n{SOFTDEP}\n");
        let (_dir, root) = tree(&[(BOOT_FILE, &text)]);
        set_boot(&root, &identity(), None).unwrap();
        assert_eq!(BootFile::read(&root).claims, ["namespace11.0", "name:dat"]);
        assert_eq!(at_boot(&root, &identity()), None);
    }

    #[test]
    fn the_file_goes_with_its_last_line() {
        let (_dir, root) = tree(&[]);
        set_boot(&root, &named("namespace0.0"), None).unwrap();
        set_boot(&root, &named("namespace0.0"), Some("namespace0.0".into())).unwrap();
        assert!(root.exists(BOOT_FILE));
        set_boot(&root, &named("namespace0.0"), None).unwrap();
        assert!(!root.exists(BOOT_FILE));
        assert_eq!(root.list("/etc/modprobe.d"), [""; 0]);
    }

    #[test]
    fn the_list_has_an_end() {
        let (_dir, root) = tree(&[]);
        let error = (0..200)
            .find_map(|i| {
                let name = format!("namespace{i}.0");
                set_boot(&root, &named(&name), Some(name.clone())).err()
            })
            .unwrap();
        assert!(error.starts_with("the list of claims has no room for"));
    }

    #[test]
    fn patterns() {
        for pattern in [
            "nd_pmem",
            "nd_*",
            "*",
            "*pmem",
            "nd_pme?",
            "nd_pme[lm]",
            "n*_*m",
        ] {
            assert!(matches(pattern, "nd_pmem"), "{pattern}");
        }
        for pattern in [
            "",
            "nd_pme",
            "nd_pmemx",
            "nd_?",
            "pmem",
            "*e",
            "nd_pmem[x]",
            "[",
        ] {
            assert!(!matches(pattern, "nd_pmem"), "{pattern}");
        }
    }

    #[test]
    fn the_first_softdep_counts() {
        let path = |name: &str| format!("/etc/modprobe.d/{name}");
        for (name, line, hides) in [
            ("a.conf", "softdep nd_pmem pre: crc32c", true),
            ("a.conf", "softdep nd-* post: pmem_dax", true),
            (
                "a.conf",
                "softdep nd_pmem pre: crc32c pmem-dax post: x",
                false,
            ),
            ("a.conf", "softdep nd_btt pre: crc32c", false),
            ("z.conf", "softdep nd_pmem pre: crc32c", false),
            ("pmem-dax.conf", "softdep nd_pmem pre: crc32c", true),
        ] {
            let (_dir, root) = tree(&[(&path(name), &format!("{line}\n"))]);
            let found = softdep_before_ours(&root);
            let expected = hides.then(|| (path(name), line.to_owned()));
            assert_eq!(found, expected, "{name}: {line}");
            // Nor when ours is there.
            set_boot(&root, &named("namespace0.0"), Some("namespace0.0".into())).unwrap();
            assert_eq!(softdep_before_ours(&root), expected, "{name}: {line}");
        }
        let (_dir, root) = tree(&[]);
        assert_eq!(softdep_before_ours(&root), None);
    }

    #[test]
    fn a_module_that_is_installed() {
        let (_dir, root) = tree(&[
            ("/proc/sys/kernel/osrelease", "7.3\n"),
            (
                "/lib/modules/7.3/modules.dep",
                "kernel/drivers/a.ko: kernel/b.ko\nupdates/pmem-dax.ko.xz: kernel/libnvdimm.ko\n",
            ),
        ]);
        assert!(installed(&root));
    }
}
