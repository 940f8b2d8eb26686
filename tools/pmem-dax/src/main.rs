// SPDX-License-Identifier: GPL-2.0

//! Shows the namespaces of persistent memory, and moves one between nd_pmem and pmem_dax; see
//! pmem-dax(8).

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pmem_dax::bus::Bus;
use pmem_dax::cli::{Cli, Command};
use pmem_dax::failure::Failure;
use pmem_dax::hold;
use pmem_dax::moves::{self, Move, Target};
use pmem_dax::root::Root;
use pmem_dax::{check, key, probe, report, strict};

fn main() -> ExitCode {
    let mut words = env::args_os();
    if words.next().is_some_and(|name| name == probe::NAME) {
        let root = words.next().map(PathBuf::from).unwrap_or_default();
        let namespaces = words.filter_map(|word| word.into_string().ok());
        return match probe::tell(&root, namespaces) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }

    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            for line in failure.lines() {
                eprintln!("pmem-dax: {line}");
            }
            failure.into()
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let bus = Bus::new(&Root::new(&cli.root));
    match &cli.command {
        Command::List { json } => {
            let report = report::list(&bus, *json)?;
            show(&report.text)?;
            report.result
        }
        Command::Status { namespace, json } => {
            let name = bus.resolve(namespace)?;
            show(&report::status(&bus, &name, *json)?)
        }
        Command::Check { namespace, wait } => {
            let patience = Duration::from_secs((*wait).into());
            let found = match namespace {
                Some(given) => BTreeSet::from([check::given(&bus, given, patience)?]),
                None => check::all(&bus, patience)?,
            };
            if cli.verbose {
                for (name, node) in found {
                    eprintln!("pmem-dax: {name} is {node} of pmem_dax");
                }
            }
            Ok(())
        }
        Command::Hold { once } => hold::run(&bus, *once, cli.verbose),
        Command::IsStrict { device } => {
            let name = bus.namespace_of(device);
            if strict::has(bus.root(), &bus.identity(&name)) {
                Ok(())
            } else {
                Failure::failed(format!("{name} is for any driver"))
            }
        }
        Command::Attach {
            namespace,
            boot,
            strict,
        } => {
            let (given, settings) = key::split(namespace);
            moves::run(&Move {
                namespace: bus.resolve(given)?,
                bus,
                given: given.to_owned(),
                settings: settings.to_owned(),
                target: Target::PmemDax,
                boot: *boot,
                by_hand: true,
                strict: *strict,
                is_wanted: |_, _| true,
                verbose: cli.verbose,
            })
        }
        Command::Detach { namespace, boot } => moves::run(&Move {
            namespace: bus.resolve(namespace)?,
            bus,
            given: namespace.clone(),
            settings: String::new(),
            target: Target::NdPmem,
            boot: *boot,
            by_hand: true,
            strict: false,
            is_wanted: |_, _| true,
            verbose: cli.verbose,
        }),
    }
}

/// Writes to standard output, whose reader may have seen enough.
fn show(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Failure::failed(format!("standard output: {error}"))
        }
        _ => Ok(()),
    }
}
