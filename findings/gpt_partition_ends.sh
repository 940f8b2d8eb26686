#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The largest partition that gdisk 1.0.9 makes ("-n 1:0:0"): a good guess is that it ends
# where 1 MiB does, as it begins. It ends before the second table, which has 33 sectors: with
# those of 512 bytes its length is no multiple of a page on any disk that is one. An end of
# "-1M" counts from there, and a size is taken as it is, though the next start is aligned.
# parted 3.5 aligns "100%" on a large disk, but not on a small one, even behind a start of
# 1MiB. sfdisk 2.38.1 aligns all of these.
#
# Of such a partition pmem_dax maps nothing (EINVAL), and the kernel's file systems refuse
# -o dax ("unaligned partition for dax"). Who makes it with sgdisk names a size of whole MiB.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages gdisk=1.0.9-2.1 libpopt0 parted=3.5-3+deb12u1 libparted2=3.5-3+deb12u1 \
	fdisk=2.38.1-5+deb12u3 libfdisk1=2.38.1-5+deb12u3
PATH=$work/tree/sbin:$work/tree/usr/sbin:$PATH

# made SIZE PROGRAM ARGUMENT...: make partitions with that, with FILE for a new file of SIZE.
# Say of each how many pages are before it, and how many it has.
made() {
	local size=$1
	shift

	rm -f "$work/file"
	truncate -s "$size" "$work/file"
	"${@/#FILE/$work/file}" >"$work/log" 2>&1
	printf '%s %s:' "$size" "$*"
	parted -sm "$work/file" unit s print | awk -F '[:s]' '/^[0-9]:/ {
		printf "%s %s + %d", comma, $2 / 8, int($6 / 8)
		comma = ","
		if ($6 % 8)
			printf " %d/8", $6 % 8
	} END { print "" }'
}

# sfdisk FILE [SIZE]: a partition of that size, and one that is as large as can be.
sfdisk() {
	printf '%s\n' 'label: gpt' ${2:+"size=$2"} 'size=+' | command sfdisk "$1"
}

{
	sgdisk --version | grep version
	for size in 64M 1G; do
		made $size sgdisk -n 1:0:0 FILE
		made $size parted -s FILE mklabel gpt mkpart a 1MiB 100%
		made $size sfdisk FILE
	done
	made 64M sgdisk -n 1:0:-1M FILE
	made 64M sgdisk -n 1:0:+3333K -n 2:0:+16M FILE
	made 64M sfdisk FILE 3333KiB
} | expect 'GPT fdisk (sgdisk) version 1.0.9
64M sgdisk -n 1:0:0 FILE: 256 + 16123 7/8
64M parted -s FILE mklabel gpt mkpart a 1MiB 100%: 256 + 16123 7/8
64M sfdisk FILE: 256 + 15872
1G sgdisk -n 1:0:0 FILE: 256 + 261883 7/8
1G parted -s FILE mklabel gpt mkpart a 1MiB 100%: 256 + 261632
1G sfdisk FILE: 256 + 261632
64M sgdisk -n 1:0:-1M FILE: 256 + 15867 7/8
64M sgdisk -n 1:0:+3333K -n 2:0:+16M FILE: 256 + 833 2/8, 1280 + 4096
64M sfdisk FILE 3333KiB: 256 + 768, 1024 + 15104'
