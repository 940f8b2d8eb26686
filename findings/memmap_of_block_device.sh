#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# memmap2 0.9.12 and mmap-io 1.1.0 take the length of a mapping from st_size, which is 0
# for a block device. A good guess is the size of the device, or an error. memmap2
# returns an empty mapping and no error, for loads and for stores, but an error about
# the length as soon as an offset is given; mmap-io the empty mapping for loads, and an
# error for stores. With a length named, memmap2 maps what it is told.
#
# Who maps /dev/pmem0 with them has to ask the device for its size (lseek to the end).

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

rust 'memmap2 = "=0.9.12"
mmap-io = "=1.1.0"' <<'RUST'
use std::{env, fs::OpenOptions, io::Seek, io::SeekFrom};

fn main() {
    let path = env::args().nth(1).unwrap();
    let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let size = file.seek(SeekFrom::End(0)).unwrap();
    let options = memmap2::MmapOptions::new;
    let len = |map: std::io::Result<memmap2::Mmap>| map.map(|map| map.len()).ok();

    println!("size {size}");
    unsafe {
        println!("memmap2 map {:?}", len(memmap2::Mmap::map(&file)));
        println!("memmap2 map_mut {:?}", memmap2::MmapMut::map_mut(&file).map(|m| m.len()).ok());
        println!("memmap2 offset 4096 {:?}", len(options().offset(4096).map(&file)));
        println!("memmap2 len 8192 {:?}", len(options().len(8192).map(&file)));
    }
    println!("mmap-io open_ro {:?}", mmap_io::MemoryMappedFile::open_ro(&path).map(|m| m.len()).ok());
    println!("mmap-io open_rw {:?}", mmap_io::MemoryMappedFile::open_rw(&path).map(|m| m.len()).ok());
}
RUST
block_device 8M 512
"$program" "$device" | expect 'size 8388608
memmap2 map Some(0)
memmap2 map_mut Some(0)
memmap2 offset 4096 None
memmap2 len 8192 Some(8192)
mmap-io open_ro Some(0)
mmap-io open_rw None'
