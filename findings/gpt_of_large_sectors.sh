#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A GPT counts in sectors of the device. The label of a namespace says whether they have
# 512 or 4096 bytes, so the same media may come back with others.
#
# gpt 4.1.0 takes them for 512 bytes, though it opens the device by its path and could
# ask: of a device with 4096 it says that there is no GPT, until it is told
# (logical_block_size). A good guess is that it asks. gptman 3.1.1 asks nobody either,
# but looks for the header where each size would have it: so it finds the table, and
# also on a device with 512, where blkid sees the protective MBR alone.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

rust 'gpt = "=4.1.0"
gptman = "=3.1.1"' <<'RUST'
use gpt::{disk::LogicalBlockSize, GptConfig};
use std::{env, fs::File};

fn main() {
    for path in env::args().skip(1) {
        let count = |config: GptConfig| config.open(&path).map(|disk| disk.partitions().len());
        let found = gptman::GPT::find_from(&mut File::open(&path).unwrap());

        println!("gpt {:?}", count(GptConfig::new()).ok());
        println!(
            "gpt, told {:?}",
            count(GptConfig::new().logical_block_size(LogicalBlockSize::Lb4096)).ok()
        );
        println!("gptman {:?}", found.map(|gpt| gpt.sector_size).ok());
    }
}
RUST
block_device 64M 4096
large=$device
# A protective MBR and a GPT with no partition, by gptman itself.
mkdir "$work/maker"
cp -r "$work/crate" "$work/maker"
rust 'gptman = "=3.1.1"' <<'RUST'
use std::{env, fs::OpenOptions};

fn main() {
    let path = env::args().nth(1).unwrap();
    let mut disk = OpenOptions::new().read(true).write(true).open(path).unwrap();

    gptman::GPT::write_protective_mbr_into(&mut disk, 4096).unwrap();
    gptman::GPT::new_from(&mut disk, 4096, [7; 16]).unwrap().write_into(&mut disk).unwrap();
}
RUST
"$program" "$large"
program=$work/maker/crate/target/debug/finding
block_device 64M 512
small=$device
dd if="$large" of="$small" bs=1M status=none
sync "$small"
{
	"$program" "$large" "$small"
	blkid -p -o value -s PTTYPE "$large"
	blkid -p -o value -s PTTYPE "$small"
} | expect 'gpt None
gpt, told Some(0)
gptman Some(4096)
gpt None
gpt, told Some(0)
gptman Some(4096)
gpt
PMBR'
