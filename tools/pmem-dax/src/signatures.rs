// SPDX-License-Identifier: GPL-2.0

//! What is on a disk and finds it by another way than its name: LVM, md, bcache, swap space,
//! encrypted volumes and file systems.
//!
//! A move changes what some of them do, which is said before it is made. What is on the disk is what
//! libblkid says. A line is only said if the host is set up so that it comes true.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::answer;
use crate::fstab::{self, Dax, Entry, CRYPTTAB, FSTAB};
use crate::root::Root;
use crate::users::{Device, Disk};

/// How long blkid and LVM may take together.
const PATIENCE: Duration = Duration::from_secs(4);

/// Where udev has its rules. Of two files of one name, that in the first counts.
const RULES: [&str; 5] = [
    "/etc/udev/rules.d",
    "/run/udev/rules.d",
    "/usr/local/lib/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];
const RULE_OF_MD: &str = "64-md-raid-assembly.rules";
const RULE_OF_BCACHE: &str = "69-bcache.rules";

/// What mdadm reads, in this order.
const MDADM_CONF: [&str; 4] = [
    "/etc/mdadm/mdadm.conf",
    "/etc/mdadm.conf",
    "/etc/mdadm/mdadm.conf.d/*",
    "/etc/mdadm.conf.d/*",
];

/// What LVM has if it was told of which devices alone it makes use.
const DEVICES_FILE: &str = "/etc/lvm/devices/system.devices";

/// The filter of LVM by default.
const EVERYTHING: &str = "[\"a|.*|\"]";

/// A move, as far as it matters to what is on the disk.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// What the namespace is called by.
    pub given: &'a str,
    /// Whether pmem_dax has the disk then; otherwise nd_pmem.
    pub to_pmem_dax: bool,
    /// Whether another driver has it then, now or at the next boot.
    pub is_move: bool,
    /// Whether file systems on it have direct access then.
    pub has_dax: bool,
    /// Whether it is so at boot.
    pub boot: bool,
}

/// What is to be said.
#[derive(Debug, Default)]
pub struct Found {
    /// What the move changes.
    pub notes: Vec<String>,
    /// Why something may be missing there.
    pub remarks: Vec<String>,
}

/// Looks at a disk, in a few seconds at most.
pub fn look(root: &Root, disk: &Disk, change: &Change<'_>) -> Found {
    let deadline = Instant::now() + PATIENCE;
    let mut found = Found::default();
    let mut nodes: Vec<_> = disk.nodes(root).into_iter().map(Node::new(root)).collect();
    let mut blkid = Command::new("blkid");
    blkid.args(["-p", "-o", "export"]);
    blkid.args(nodes.iter().map(|node| format!("/dev/{}", node.name)));
    match answer::ask(&mut blkid, deadline) {
        Ok(said) => {
            tag(&mut nodes, &said.out);
            found.remarks.extend(said.err.lines().map(str::to_owned));
        }
        Err(error) => found.remarks.push(format!(
            "blkid: {error}: what is on {} is not known",
            disk.name
        )),
    }
    let mut lvm = None;
    if change.is_move && nodes.iter().any(|node| node.is("LVM2_member")) {
        match Lvm::ask(root, deadline) {
            Ok(answer) => lvm = Some(answer),
            Err(error) => {
                found.remarks.push(format!("lvmconfig: {error}"));
                // It is there, so what is said if it was told nothing may be true.
                lvm = (error.kind() != io::ErrorKind::NotFound).then(Lvm::default);
            }
        }
    }
    found.notes = notes(root, &nodes, lvm.as_ref(), change);
    found
}

/// A disk or a partition.
#[derive(Debug, Default)]
struct Node {
    name: String,
    number: Option<Device>,
    /// What libblkid says of it.
    tags: HashMap<String, String>,
}

impl Node {
    fn new(root: &Root) -> impl Fn(String) -> Self + '_ {
        |name| Node {
            number: root
                .read(format!("/sys/class/block/{name}/dev"))
                .and_then(|number| Device::parse(&number)),
            name,
            tags: HashMap::new(),
        }
    }

    fn tag(&self, name: &str) -> Option<&str> {
        self.tags.get(name).map(String::as_str)
    }

    fn is(&self, kind: &str) -> bool {
        self.tag("TYPE") == Some(kind)
    }

    /// Returns whether a line is about it: by its tags, or by where the path leads to.
    fn is_of(&self, root: &Root, entry: &Entry) -> bool {
        let by_tag = entry.source.tag().is_some_and(|(tag, value)| {
            let own = self.tag(match tag {
                "PARTUUID" => "PART_ENTRY_UUID",
                "PARTLABEL" => "PART_ENTRY_NAME",
                tag => tag,
            });
            match tag {
                "UUID" | "PARTUUID" => own.is_some_and(|own| own.eq_ignore_ascii_case(value)),
                _ => own == Some(value),
            }
        });
        let path = entry.source.path();
        by_tag
            || path.strip_prefix("/dev/") == Some(&self.name)
            || (self.number.is_some() && Device::at(&root.path(path)) == self.number)
    }
}

/// Notes what `blkid -p -o export` says of nodes: the name of one, its tags, and so on.
fn tag(nodes: &mut [Node], text: &str) {
    let mut current = None;
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = plain(value);
        if name == "DEVNAME" {
            let name = value.strip_prefix("/dev/");
            current = nodes.iter_mut().find(|node| name == Some(&node.name));
        } else if let Some(node) = &mut current {
            node.tags.insert(name.to_owned(), value);
        }
    }
}

/// Returns a value without the backslashes that are for a shell.
fn plain(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

/// What LVM makes of disks.
#[derive(Debug, Default, PartialEq, Eq)]
struct Lvm {
    /// It looks at those of pmem_dax.
    sees_pmem_dax: bool,
    /// It was told which disks are its own, or which are not.
    is_restricted: bool,
}

impl Lvm {
    fn ask(root: &Root, deadline: Instant) -> io::Result<Self> {
        let mut command = Command::new("lvmconfig");
        command.args(["--typeconfig", "full", "devices"]);
        let said = answer::ask(&mut command, deadline)?;
        Ok(Lvm::parse(&said.out, root.exists(DEVICES_FILE)))
    }

    /// Takes it from what lvmconfig shows of the section `devices`.
    fn parse(text: &str, has_devices_file: bool) -> Self {
        let settings: HashMap<_, _> = text
            .lines()
            .filter_map(|line| line.trim().split_once('='))
            .collect();
        let types = settings.get("types").copied().unwrap_or_default();
        let types: Vec<_> = types.trim_matches(['[', ']']).split(',').collect();
        Lvm {
            // It compares as much as the name in its list has; none is a disk with no partition.
            sees_pmem_dax: types.chunks(2).any(|pair| match pair {
                [name, partitions] => {
                    let name = name.trim().trim_matches('"');
                    "pmem_dax".starts_with(name)
                        && !name.is_empty()
                        && partitions
                            .trim()
                            .parse()
                            .is_ok_and(|number: u32| number > 0)
                }
                _ => false,
            }),
            is_restricted: settings
                .get("global_filter")
                .is_some_and(|filter| *filter != EVERYTHING)
                || (has_devices_file && settings.get("use_devicesfile") == Some(&"1")),
        }
    }
}

/// Returns whether udev has a rule of that name, which is not masked.
fn has_rule(root: &Root, name: &str) -> bool {
    let mut files = RULES
        .iter()
        .map(|directory| root.path(format!("{directory}/{name}")));
    files
        .find(|file| fs::symlink_metadata(file).is_ok())
        .and_then(|file| fs::metadata(file).ok())
        .is_some_and(|file| file.is_file() && file.len() > 0)
}

/// The settings of mdadm, a line each: one that starts with a blank continues the one before.
fn lines_of_mdadm(root: &Root) -> Vec<Vec<String>> {
    let mut lines: Vec<Vec<String>> = Vec::new();
    for file in MDADM_CONF.iter().flat_map(|pattern| root.glob(pattern)) {
        for line in root.read(&file).unwrap_or_default().lines() {
            let words = line
                .split_whitespace()
                .take_while(|word| !word.starts_with('#'))
                .map(str::to_ascii_lowercase);
            match lines.last_mut() {
                Some(last) if line.starts_with([' ', '\t']) => last.extend(words),
                _ => lines.push(words.collect()),
            }
        }
    }
    lines
}

/// Returns whether the host assembles an array of that UUID, which its configuration does not name, of
/// its own accord.
fn assembles(root: &Root, uuid: &str) -> bool {
    if !has_rule(root, RULE_OF_MD) {
        return false;
    }
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_hexdigit).collect() };
    let uuid = digits(&uuid.to_ascii_lowercase());
    let lines = lines_of_mdadm(root);
    let starts = |line: &[String], long: &str| {
        let word = line.first().map_or("", String::as_str);
        word.len() >= 3 && long.starts_with(word)
    };
    let is_named = lines
        .iter()
        .filter(|line| starts(line, "array"))
        .any(|line| {
            let mut words = line.iter().filter_map(|word| word.strip_prefix("uuid="));
            words.any(|named| digits(named) == uuid)
        });
    let auto = lines.iter().find(|line| starts(line, "auto"));
    // The first word that is about an array counts. One of another host is meant here.
    let verdict = auto
        .into_iter()
        .flatten()
        .skip(1)
        .find_map(|word| match word.as_str() {
            "-all" => Some(false),
            word if word.starts_with('+') || word == "yes" => Some(true),
            _ => None,
        });
    !is_named && verdict.unwrap_or(true)
}

/// Returns what a move changes, a line for each kind of thing.
fn notes(root: &Root, nodes: &[Node], lvm: Option<&Lvm>, change: &Change<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if change.is_move {
        notes.extend(of_lvm(nodes, lvm, change));
        if change.to_pmem_dax {
            notes.extend(of_assembled(root, nodes));
        }
    }
    for entry in fstab::file_systems(root) {
        if let Some(node) = nodes.iter().find(|node| node.is_of(root, &entry)) {
            notes.extend(of_entry(node, &entry, change));
        }
    }
    if change.is_move && change.to_pmem_dax {
        for entry in fstab::encrypted(root) {
            if let Some(node) = nodes.iter().find(|node| node.is_of(root, &entry)) {
                notes.push(format!(
                    "{}: line {} of {CRYPTTAB} opens it as {}: as long as it is open, it cannot be mapped (EBUSY)",
                    node.name, entry.line, entry.target
                ));
            }
        }
    }
    notes
}

/// Returns the names of the nodes, in one word; nothing if there are none.
fn names<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<String> {
    let names: Vec<_> = nodes.map(|node| node.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn of_lvm(nodes: &[Node], lvm: Option<&Lvm>, change: &Change<'_>) -> Option<String> {
    // Without LVM there is nothing that does not find its disks.
    let lvm = lvm.filter(|lvm| !lvm.sees_pmem_dax)?;
    let names = names(nodes.iter().filter(|node| node.is("LVM2_member")))?;
    if change.to_pmem_dax {
        return Some(format!(
            "{names}: LVM does not see it under pmem_dax: if this host uses it, set \
             devices {{ types = [ \"pmem_dax\", 256 ] }} in /etc/lvm/lvm.conf"
        ));
    }
    (!lvm.is_restricted).then(|| {
        format!(
            "{names}: LVM sees it under nd_pmem, and activates what is on it: if a guest made it, \
             reject it by global_filter in /etc/lvm/lvm.conf"
        )
    })
}

/// Returns what is said of what udev assembles when the disk appears. With nd_pmem a disk can be mapped
/// nevertheless.
fn of_assembled(root: &Root, nodes: &[Node]) -> Vec<String> {
    let mut notes = Vec::new();
    let members = nodes.iter().filter(|node| {
        // Those of firmware are mdadm's, too.
        let kind = node.tag("TYPE").unwrap_or_default();
        ["linux_raid_member", "ddf_raid_member", "isw_raid_member"].contains(&kind)
            && assembles(root, node.tag("UUID").unwrap_or_default())
    });
    if let Some(names) = names(members) {
        notes.push(format!(
            "{names}: udev has mdadm assemble the array, and then it cannot be mapped (EBUSY): \
             if a guest made it, set AUTO -all in /etc/mdadm/mdadm.conf"
        ));
    }
    let members = nodes.iter().filter(|node| node.is("bcache"));
    if let Some(names) = names(members).filter(|_| has_rule(root, RULE_OF_BCACHE)) {
        notes.push(format!(
            "{names}: udev registers it with bcache, and then it cannot be mapped (EBUSY): \
             if a guest made it: ln -s /dev/null /etc/udev/rules.d/{RULE_OF_BCACHE}"
        ));
    }
    notes
}

/// Returns what is said of a line of fstab.
fn of_entry(node: &Node, entry: &Entry, change: &Change<'_>) -> Option<String> {
    let place = format!("{}: line {} of {FSTAB}", node.name, entry.line);
    if entry.kind == "swap" {
        return (change.is_move && change.to_pmem_dax).then(|| {
            format!("{place} swaps to it: as long as the kernel does, it cannot be mapped")
        });
    }
    if change.has_dax {
        return None;
    }
    // The type on the disk may be left to mount.
    let kind = if entry.kind == "auto" {
        node.tag("TYPE").unwrap_or_default()
    } else {
        &entry.kind
    };
    let what = match entry.dax() {
        Dax::Unset => return None,
        Dax::Inode => "it is mounted, but no file is accessed directly",
        // Others are mounted without.
        Dax::Always if !kind.starts_with("ext") => "it is mounted without direct access",
        Dax::Always if change.boot && entry.stops_boot() => {
            "it cannot be mounted, and stops the boot"
        }
        Dax::Always => "it cannot be mounted",
    };
    let option = if entry.dax() == Dax::Inode {
        "dax=inode"
    } else {
        "dax"
    };
    let mounts = format!("{place} mounts it at {} with {option}", entry.target);
    Some(if change.to_pmem_dax {
        format!(
            "{mounts}: with mode=generic {what}: pmem-dax attach {}:mode=fsdax",
            change.given
        )
    } else {
        format!("{mounts}: under nd_pmem, as the namespace is in raw mode, {what}")
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// As blkid of util-linux 2.41 has it.
    const BLKID: &str = "DEVNAME=/dev/pmem0\nPTUUID=6c3a\nPTTYPE=gpt\n\n\
        DEVNAME=/dev/pmem0p1\nUUID=aB-1\nLABEL=a\\ b\nBLOCK_SIZE=4096\nTYPE=ext4\nUSAGE=filesystem\n\
        PART_ENTRY_NAME=data\nPART_ENTRY_UUID=cd-2\n\n\
        DEVNAME=/dev/pmem0p2\nUUID=x-y\nTYPE=LVM2_member\nUSAGE=raid\n\n\
        DEVNAME=/dev/pmem0p3\nUUID=w-z\nTYPE=LVM2_member\nUSAGE=raid\n\n\
        DEVNAME=/dev/pmem0p4\nUUID=ab125ca1-01ea-4d44-3e2c-1b5f2c50ff2f\nTYPE=linux_raid_member\n\n\
        DEVNAME=/dev/pmem0p5\nTYPE=bcache\n\nDEVNAME=/dev/pmem0p6\nUUID=5-5\nTYPE=swap\n\n\
        DEVNAME=/dev/pmem0p7\nUUID=7-7\nTYPE=crypto_LUKS\n\nDEVNAME=/dev/sda\nTYPE=swap\n";

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for (name, text) in files {
            fs::create_dir_all(root.path(name).parent().unwrap()).unwrap();
            fs::write(root.path(name), text).unwrap();
        }
        (dir, root)
    }

    /// A disk with seven partitions, and what is on them.
    fn nodes() -> Vec<Node> {
        let mut nodes: Vec<_> = (0..8)
            .map(|number| Node {
                name: match number {
                    0 => "pmem0".to_owned(),
                    number => format!("pmem0p{number}"),
                },
                ..Node::default()
            })
            .collect();
        tag(&mut nodes, BLKID);
        nodes
    }

    const ATTACH: Change<'_> = Change {
        given: "name:data",
        to_pmem_dax: true,
        is_move: true,
        has_dax: false,
        boot: false,
    };

    const DETACH: Change<'_> = Change {
        to_pmem_dax: false,
        ..ATTACH
    };

    /// Returns what is said of a tree with these files.
    fn said(files: &[(&str, &str)], lvm: Option<&Lvm>, change: Change<'_>) -> Vec<String> {
        let (_dir, root) = tree(files);
        notes(&root, &nodes(), lvm, &change)
    }

    #[test]
    fn words_of_blkid() {
        let nodes = nodes();
        assert_eq!(nodes[0].tag("PTTYPE"), Some("gpt"));
        assert_eq!(nodes[0].tag("TYPE"), None);
        assert_eq!(nodes[1].tag("LABEL"), Some("a b"));
        assert!(nodes[2].is("LVM2_member"));
        // That is none of these.
        assert!(nodes.iter().filter(|node| node.is("swap")).count() == 1);
        assert_eq!(plain("a\\\\b\\'\\"), "a\\b'");
    }

    /// A host that is set up for none of these has nothing to be told.
    #[test]
    fn a_bare_host() {
        for change in [ATTACH, DETACH] {
            assert_eq!(said(&[], None, change), [""; 0]);
        }
    }

    #[test]
    fn lvm() {
        let knows_nothing = Lvm::parse(
            "devices {\n\tdir=\"/dev\"\n\tuse_devicesfile=0\n\tglobal_filter=[\"a|.*|\"]\n}\n",
            true,
        );
        assert_eq!(knows_nothing, Lvm::default());
        let note =
            "pmem0p2, pmem0p3: LVM does not see it under pmem_dax: if this host uses it, set \
                    devices { types = [ \"pmem_dax\", 256 ] } in /etc/lvm/lvm.conf";
        assert_eq!(said(&[], Some(&knows_nothing), ATTACH), [note]);
        let note =
            "pmem0p2, pmem0p3: LVM sees it under nd_pmem, and activates what is on it: if a \
                    guest made it, reject it by global_filter in /etc/lvm/lvm.conf";
        assert_eq!(said(&[], Some(&knows_nothing), DETACH), [note]);
        let stays = Change {
            is_move: false,
            ..ATTACH
        };
        assert_eq!(said(&[], Some(&knows_nothing), stays), [""; 0]);
    }

    #[test]
    fn lvm_that_sees_it() {
        for types in [
            "[\"pmem_dax\",256]",
            "[\"fd\",16,\"pmem_dax\",1]",
            "[\"pmem\", 256]",
        ] {
            let lvm = Lvm::parse(&format!("\ttypes={types}\n"), false);
            assert!(lvm.sees_pmem_dax, "{types}");
            for change in [ATTACH, DETACH] {
                assert_eq!(said(&[], Some(&lvm), change), [""; 0]);
            }
        }
        for types in [
            "[\"pmem_dax\",0]",
            "[\"pmem_dax2\",256]",
            "[\"fd\",16]",
            "[\"\",16]",
            "[]",
            "\"pmem_dax\"",
        ] {
            let lvm = Lvm::parse(&format!("\ttypes={types}\n"), false);
            assert!(!lvm.sees_pmem_dax, "{types}");
        }
    }

    #[test]
    fn lvm_that_was_told_what_to_use() {
        for (text, has_devices_file) in [
            ("\tglobal_filter=[\"r|/dev/pmem|\"]\n", false),
            ("\tuse_devicesfile=1\n", true),
        ] {
            let lvm = Lvm::parse(text, has_devices_file);
            assert_eq!(said(&[], Some(&lvm), DETACH), [""; 0]);
            assert_eq!(said(&[], Some(&lvm), ATTACH).len(), 1);
        }
        assert!(!Lvm::parse("\tuse_devicesfile=1\n", false).is_restricted);
    }

    const MD: (&str, &str) = ("/usr/lib/udev/rules.d/64-md-raid-assembly.rules", "rule\n");

    #[test]
    fn md() {
        let note =
            "pmem0p4: udev has mdadm assemble the array, and then it cannot be mapped (EBUSY): \
                    if a guest made it, set AUTO -all in /etc/mdadm/mdadm.conf";
        for text in [
            "",
            "# AUTO -all\nHOMEHOST <system>\n",
            "AUTO +1.x -all\n",
            "auto homehost +all -all\n",
            "AUTO -0.90\n",
            "DEVICE\nAUTO +all\nAUTO -all\n",
            "ARRAY /dev/md0 UUID=00000000:01ea4d44:3e2c1b5f:2c50ff2f\n",
        ] {
            let files = [MD, ("/etc/mdadm/mdadm.conf", text)];
            assert_eq!(said(&files, None, ATTACH), [note], "{text}");
            assert_eq!(said(&files, None, DETACH), [""; 0], "{text}");
        }
        for text in [
            "AUTO -all\n",
            "auto\t-0.90\n\t-ALL # but none\n",
            "AUTO homehost -all\n",
            "ARRAY /dev/md0 metadata=1.2\n  UUID=AB125CA1:01ea4d44:3e2c1b5f:2c50ff2f\n",
        ] {
            let files = [MD, ("/etc/mdadm/mdadm.conf", text)];
            assert_eq!(said(&files, None, ATTACH), [""; 0], "{text}");
        }
        for name in ["/etc/mdadm.conf", "/etc/mdadm/mdadm.conf.d/guests.conf"] {
            let files = [MD, (name, "AUTO -all\n")];
            assert_eq!(said(&files, None, ATTACH), [""; 0], "{name}");
        }
    }

    #[test]
    fn bcache() {
        let rule = ("/usr/lib/udev/rules.d/69-bcache.rules", "rule\n");
        let note =
            "pmem0p5: udev registers it with bcache, and then it cannot be mapped (EBUSY): if a \
                    guest made it: ln -s /dev/null /etc/udev/rules.d/69-bcache.rules";
        assert_eq!(said(&[rule], None, ATTACH), [note]);
        assert_eq!(said(&[rule], None, DETACH), [""; 0]);
    }

    #[test]
    fn masked_rules() {
        let (_dir, root) = tree(&[MD, ("/etc/udev/rules.d/a.rules", "")]);
        assert!(has_rule(&root, RULE_OF_MD));
        assert!(!has_rule(&root, "a.rules"));
        let mask = root.path(format!("/etc/udev/rules.d/{RULE_OF_MD}"));
        symlink("/dev/null", &mask).unwrap();
        assert!(!has_rule(&root, RULE_OF_MD));
        fs::remove_file(&mask).unwrap();
        fs::write(&mask, "another rule\n").unwrap();
        assert!(has_rule(&root, RULE_OF_MD));
    }

    #[test]
    fn swap_and_encrypted_volumes() {
        let files = [
            (
                FSTAB,
                "UUID=5-5 none swap sw 0 0\nUUID=5-6 none swap sw 0 0\n",
            ),
            (CRYPTTAB, "# it\nsecret /dev/disk/by-uuid/7-7 none luks\n"),
        ];
        assert_eq!(
            said(&files, None, ATTACH),
            [
                "pmem0p6: line 1 of /etc/fstab swaps to it: as long as the kernel does, it cannot be \
                 mapped",
                "pmem0p7: line 2 of /etc/crypttab opens it as secret: as long as it is open, it \
                 cannot be mapped (EBUSY)",
            ]
        );
        assert_eq!(said(&files, None, DETACH), [""; 0]);
    }

    #[test]
    fn file_systems_with_dax() {
        const NEEDS: &str = "pmem-dax attach name:data:mode=fsdax";
        let at = "pmem0p1: line 1 of /etc/fstab mounts it at /srv with";
        for (line, note) in [
            (
                "UUID=Ab-1 /srv ext4 dax=always",
                format!("{at} dax: with mode=generic it cannot be mounted: {NEEDS}"),
            ),
            (
                "PARTUUID=CD-2 /srv auto dax",
                format!("{at} dax: with mode=generic it cannot be mounted: {NEEDS}"),
            ),
            (
                "LABEL=a\\040b /srv xfs dax",
                format!("{at} dax: with mode=generic it is mounted without direct access: {NEEDS}"),
            ),
            (
                "PARTLABEL=data /srv ext4 rw,dax=inode",
                format!(
                    "{at} dax=inode: with mode=generic it is mounted, but no file is accessed \
                     directly: {NEEDS}"
                ),
            ),
        ] {
            assert_eq!(said(&[(FSTAB, line)], None, ATTACH), [note]);
            let has_dax = Change {
                has_dax: true,
                ..ATTACH
            };
            assert_eq!(said(&[(FSTAB, line)], None, has_dax), [""; 0]);
        }
        for line in [
            "UUID=aB-1 /srv ext4 defaults",
            "UUID=aB-2 /srv ext4 dax",
            "LABEL=A\\040B /srv ext4 dax",
            "/dev/pmem0p11 /srv ext4 dax",
        ] {
            assert_eq!(said(&[(FSTAB, line)], None, ATTACH), [""; 0], "{line}");
        }
    }

    /// By its name, whatever libblkid says, if a boot is to go on, and under nd_pmem.
    #[test]
    fn file_systems_at_boot() {
        let boot = Change {
            boot: true,
            ..ATTACH
        };
        let line = "/dev/pmem0 /srv ext4 dax";
        let at = "pmem0: line 1 of /etc/fstab mounts it at /srv with dax";
        let what = "it cannot be mounted, and stops the boot";
        assert_eq!(
            said(&[(FSTAB, line)], None, boot),
            [format!(
                "{at}: with mode=generic {what}: pmem-dax attach name:data:mode=fsdax"
            )]
        );
        let may_fail = format!("{line},nofail");
        assert!(!said(&[(FSTAB, &may_fail)], None, boot)[0].contains("stops"));
        assert_eq!(
            said(&[(FSTAB, line)], None, DETACH),
            [format!(
                "{at}: under nd_pmem, as the namespace is in raw mode, it cannot be mounted"
            )]
        );
    }

    /// The link of a path, or of a tag that libblkid did not say, leads to the number of the disk.
    #[test]
    fn paths() {
        let (_dir, root) = tree(&[("/dev/disk/by-uuid/none", "")]);
        fs::remove_file(root.path("/dev/disk/by-uuid/none")).unwrap();
        symlink("/dev/null", root.path("/dev/disk/by-uuid/none")).unwrap();
        let path = root.path("/dev/pmem0");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        let number = rustix::fs::makedev(259, 7);
        let kind = rustix::fs::FileType::BlockDevice;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, number).unwrap();
        symlink("../../pmem0", root.path("/dev/disk/by-uuid/12-3")).unwrap();
        let text = "UUID=12-3 /a ext4 dax\n/dev/disk/by-uuid/12-3 /b ext4 dax\n\
                    UUID=none /c ext4 dax\n";
        fs::create_dir(root.path("/etc")).unwrap();
        fs::write(root.path(FSTAB), text).unwrap();
        let node = Node {
            name: "pmem9".to_owned(),
            number: Device::parse("259:7"),
            ..Node::default()
        };
        assert_eq!(notes(&root, &[node], None, &ATTACH).len(), 2);
    }
}
