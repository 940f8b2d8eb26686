#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# map_mut() of a file and flush(), in mmap-rs 0.7.0: a good guess is that the bytes are in
# the file then, as with the methods of the same names of memmap2 0.9.12, where a mapping
# of one's own has another name (map_copy). With mmap-rs a mapping is private unless
# MmapFlags::SHARED is given. Stores go to copies of the pages, flush() says Ok, and the
# file or the block device has what it had.
#
# Who has a program that uses it on /dev/pmem0 looks for that flag: a test that reads back
# through the same mapping finds no fault, and only one that reads the device does.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

rust 'memmap2 = "=0.9.12"
mmap-rs = "=0.7.0"' <<'RUST'
use mmap_rs::{MmapFlags, MmapOptions};
use std::{env, fs::OpenOptions, os::unix::fs::FileExt};

fn main() {
    let path = env::args().nth(1).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let byte = || {
        let mut byte = [0];
        file.read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    };

    unsafe {
        let mut map = memmap2::MmapOptions::new().len(4096).map_mut(&file).unwrap();
        map[0] = 1;
        println!("memmap2: {} {} {}", map.flush().is_ok(), map[0], byte());

        let options = || MmapOptions::new(4096).unwrap().with_file(&file, 0);
        let mut map = options().map_mut().unwrap();
        map[0] = 2;
        println!("mmap-rs: {} {} {}", map.flush(0..4096).is_ok(), map[0], byte());

        let mut map = options().with_flags(MmapFlags::SHARED).map_mut().unwrap();
        map[0] = 3;
        println!("mmap-rs, shared: {} {} {}", map.flush(0..4096).is_ok(), map[0], byte());
    }
}
RUST
block_device 1M 512
truncate -s 1M "$work/file"
for path in "$work/file" "$device"; do
	"$program" "$path"
done | expect 'memmap2: true 1 1
mmap-rs: true 2 1
mmap-rs, shared: true 3 3
memmap2: true 1 1
mmap-rs: true 2 1
mmap-rs, shared: true 3 3'
