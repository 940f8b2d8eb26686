// SPDX-License-Identifier: GPL-2.0

//! What can be typed is what the manual page and the completion say.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use clap::CommandFactory;
use common::{run, source, Machine};
use pmem_dax::cli::Cli;

/// Returns the commands that `--help` shows, and the options of all of them.
fn of_program() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut cli = Cli::command();
    cli.build();
    let commands: Vec<_> = cli.get_subcommands().filter(|c| !c.is_hide_set()).collect();
    let names = commands.iter().map(|c| c.get_name().to_owned()).collect();
    let options = commands
        .iter()
        .copied()
        .chain([&cli])
        .flat_map(|command| command.get_arguments())
        .filter_map(|arg| arg.get_long())
        .map(|long| format!("--{long}"))
        .collect();
    (names, options)
}

/// Returns the lines of a section of the manual page that start at the margin.
fn section(page: &str, heading: &str) -> Vec<String> {
    let mut lines = page.lines().skip_while(|line| *line != heading).skip(2);
    let mut found = Vec::new();
    let mut last = lines.next().unwrap();
    for line in lines {
        // Then the last line is the next heading.
        if line.starts_with("====") {
            break;
        }
        if !last.is_empty() && !last.starts_with(' ') {
            found.push(last.to_owned());
        }
        last = line;
    }
    found
}

#[test]
fn manual_page() {
    let page = source("Documentation/pmem-dax.8.rst");
    let (commands, options) = of_program();

    let told: BTreeSet<_> = section(&page, "COMMANDS")
        .iter()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(told, commands);

    let told: BTreeSet<_> = section(&page, "OPTIONS")
        .iter()
        .flat_map(|line| line.split([' ', ',', '*']))
        .filter(|word| word.starts_with("--"))
        .map(str::to_owned)
        .collect();
    assert_eq!(told, options);

    let synopsis = section(&page, "SYNOPSIS").join(" ");
    for command in &commands {
        assert!(
            synopsis.contains(&format!("pmem-dax {command}**")),
            "{command}"
        );
    }
    for word in options.iter().filter(|word| *word != "--help") {
        assert!(synopsis.contains(word.as_str()), "{word}");
    }
}

/// Each member that JSON has is in the manual page.
#[test]
fn manual_page_of_json() {
    let page = source("Documentation/pmem-dax.8.rst");
    let machine = Machine::new();
    machine.namespace("namespace0.0", 1 << 20);
    machine.bind("namespace0.0", "pmem_dax", "pmem0", 0);
    machine.file("/sys/block/pmem0/pmem_dax/pinned", "1\n");
    let said = machine.run(&["status", "--json", "namespace0.0"]).json();
    let told = section(&page, "JSON").join(" ");
    for member in said.as_object().unwrap().keys() {
        assert!(told.contains(&format!("**{member}**")), "{member}");
    }
    let page = page.split_once("\nJSON\n").unwrap().1;
    for kind in [
        "mount", "swap", "holder", "kernel", "pins", "pinner", "process", "io_uring", "unknown",
    ] {
        assert!(page.contains(&format!("*{kind}*")), "{kind}");
    }
    for member in said["users"][0].as_object().unwrap().keys() {
        assert!(page.contains(&format!("**{member}**")), "{member}");
    }
}

#[test]
fn completion() {
    let text = source("completion.bash");
    let words: BTreeSet<_> = text.split([' ', '\'', '"', '\n']).collect();
    let (commands, options) = of_program();
    for word in commands.iter().chain(&options) {
        assert!(words.contains(word.as_str()), "{word}");
    }
}

/// What it offers where a namespace is wanted, in a bash for which a colon ends a word.
#[test]
fn completion_of_namespaces() {
    const U: [&str; 2] = [
        "01234567-89ab-cdef-0123-456789abcdef",
        "fedcba98-89ab-cdef-0123-456789abcdef",
    ];
    let machine = Machine::new();
    for name in ["namespace0.0", "namespace1.0", "namespace1.1"] {
        machine.namespace(name, 1 << 20);
    }
    machine.label("namespace1.0", U[0], "data");
    machine.label("namespace1.1", U[1], "$(touch x) y");
    let devices = machine.path("/sys/bus/nd/devices");
    let script = source("completion.bash").replace(
        "devices=/sys/bus/nd/devices",
        &format!("devices={}", devices.display()),
    );
    let offered = |words: &str| {
        let script = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _pmem_dax; echo \"${{COMPREPLY[*]}}\"\n"
        );
        let said = Command::new("bash")
            .args(["-uc", &script])
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stderr), "");
        // In any order; readline sorts them.
        let said = String::from_utf8(said.stdout).unwrap();
        let mut words: Vec<_> = said.split_whitespace().collect();
        words.sort_unstable();
        words.join(" ")
    };
    let names = "namespace0.0 namespace1.0 namespace1.1";
    assert_eq!(
        offered("pmem-dax attach ''"),
        format!("{} {} {names}", U[0], U[1])
    );
    assert_eq!(offered("pmem-dax check fe"), U[1]);
    assert_eq!(offered("pmem-dax check uuid :"), U.join(" "));
    assert_eq!(offered("pmem-dax check uuid : 01"), U[0]);
    assert_eq!(offered("pmem-dax status name :"), "data");
    assert_eq!(offered("pmem-dax status name : d"), "data");
    assert_eq!(offered("pmem-dax attach namespace0.0 : a"), "");
    assert!(!Path::new("x").exists());
}

#[test]
fn help_is_no_error() {
    for word in ["help", "--help", "-h"] {
        let said = run(&[word]);
        assert_eq!(said.status, 0);
        assert!(said.out.contains("Usage: pmem-dax"));
    }
}

#[test]
fn words_that_are_wrong() {
    for words in [
        &[][..],
        &["list", "namespace0.0"],
        &["status"],
        &["status", "namespace0.0:align=1G"],
        &["attach"],
        &["attach", "namespace0.0", "namespace2.0"],
        &["attach", "--reboot", "namespace0.0"],
        &["detach", "namespace0.0:align=1G"],
        &["check", "namespace0.0:align=1G"],
        &[
            "check",
            "uuid:01234567-89ab-cdef-0123-456789abcdef:align=1G",
        ],
        &["detach", "name:data:align=1G"],
        &["status", "--boot", "namespace0.0"],
        &["lst"],
    ] {
        let said = run(words);
        assert_eq!(said.status, 2, "{words:?}");
        assert_eq!(said.out, "");
        assert!(said.err.contains("--help"), "{}", said.err);
    }
}

#[test]
fn only_the_machine_itself_is_changed() {
    let machine = Machine::new();
    machine.namespace("namespace0.0", 1 << 20);
    for command in ["attach", "detach"] {
        let said = machine.run(&[command, "namespace0.0"]);
        assert_eq!(said.status, 1);
        assert!(said.err.contains("leave out --root"));
    }
}
