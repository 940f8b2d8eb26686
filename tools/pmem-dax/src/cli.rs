// SPDX-License-Identifier: GPL-2.0

//! What is typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::key;

/// Show namespaces of persistent memory, and move them between nd_pmem and pmem_dax
#[derive(Debug, Parser)]
#[command(name = "pmem-dax", after_help = "See pmem-dax(8).")]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    /// Say on standard error what is done
    #[arg(short, long, global = true)]
    pub verbose: bool,

    /// Read /sys, /proc, /dev and /etc below DIR; for list, status and check
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "/",
        hide_default_value = true
    )]
    pub root: PathBuf,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show all namespaces, a line each
    List {
        /// Show them as JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one namespace, and the users of its disk
    Status {
        /// The namespace, like namespace0.0, uuid:UUID or name:LABEL
        #[arg(value_parser = without_settings)]
        namespace: String,

        /// Show it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Give a namespace to pmem_dax
    Attach {
        /// The namespace, like namespace0.0, uuid:UUID or name:LABEL, and settings for pmem_dax
        #[arg(value_name = "NAMESPACE[:SETTING...]")]
        namespace: String,

        /// Let it be so at each boot
        #[arg(long)]
        boot: bool,

        /// Let no other driver have it, even if pmem_dax does not take it
        #[arg(long, requires = "boot")]
        strict: bool,
    },
    /// Give a namespace to nd_pmem
    Detach {
        /// The namespace, like namespace0.0, uuid:UUID or name:LABEL
        #[arg(value_parser = without_settings)]
        namespace: String,

        /// Let it be so at each boot
        #[arg(long)]
        boot: bool,
    },
    /// Succeed if pmem_dax has the namespace, or all that it is to have at boot, and /dev has its disk
    Check {
        /// The namespace, like namespace0.0, uuid:UUID or name:LABEL
        #[arg(value_parser = without_settings)]
        namespace: Option<String>,

        /// Wait so long until it is so
        #[arg(
            long,
            value_name = "SECONDS",
            default_value = "0",
            hide_default_value = true
        )]
        wait: u32,
    },
    /// Give pmem_dax what it claims and another driver has
    Hold {
        /// Leave out what it refused before
        #[arg(long)]
        once: bool,
    },
    /// Succeed if no driver but pmem_dax is to have the device of the nd bus; for a rule of udev
    #[command(hide = true)]
    IsStrict { device: String },
}

fn without_settings(name: &str) -> Result<String, &'static str> {
    if !key::split(name).1.is_empty() {
        Err("only attach has settings")
    } else {
        Ok(name.to_owned())
    }
}
