#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "mke2fs -E stride=512,stripe_width=512" is the usual way to ext4 whose large files begin at
# 2 MiB, so that DAX maps them in pages of that size: the kernel allocates by the stripes. A
# good guess is that files which mke2fs 1.47.0 itself copies (-d DIRECTORY), as for the
# image of a guest's NVDIMM, begin there as well. The allocator of its library looks for the
# first free block: a file begins where the metadata or the file before ended, with the
# option as without. Nothing of such a file can be mapped in pages of 2 MiB.
#
# With clusters of that size (-O bigalloc -C 2M) each file begins at one, and a small one
# takes a whole one. mkfs.xfs 6.1.0 places what it copies itself (-p) by su=2m,sw=1.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages e2fsprogs=1.47.0-2+b2 libext2fs2=1.47.0-2+b2 libcom-err2=1.47.0-2+b2 \
	libss2=1.47.0-2+b2 xfsprogs=6.1.0-1 libinih1 liburcu8 libedit2 libbsd0
PATH=$work/tree/sbin:$work/tree/usr/sbin:$PATH
export MKE2FS_CONFIG=$work/tree/etc/mke2fs.conf

mkdir "$work/files"
{
	printf '%s\n' x '0 0' 'd--755 0 0'
	for name in a b c; do
		head -c 9M /dev/zero | tr '\0' x >"$work/files/$name"
		echo "$name ---644 0 0 $work/files/$name"
	done
	echo '$'
} >"$work/protofile"

# image PROGRAM OPTION...: a new one with three files, $work/image.
image() {
	rm -f "$work/image"
	truncate -s 1G "$work/image"
	"$@" "$work/image" >"$work/log" 2>&1
}

# starts: the blocks that are standard input, as multiples of 2 MiB.
starts() {
	sort -n | awk '{
		printf " %d", $1 / 512
		if ($1 % 512)
			printf " %d/512", $1 % 512
	} END { print "" }'
}

ext4() {
	image mke2fs -t ext4 -b 4096 -d "$work/files" "$@"
	printf 'mke2fs %s:' "$*"
	for name in a b c; do
		debugfs -R "bmap /$name 0" "$work/image" 2>"$work/log"
	done | starts
}

xfs() {
	local root

	image mkfs.xfs -p "$work/protofile" "$@"
	printf 'mkfs.xfs %s:' "$*"
	root=$(xfs_db -c 'sb 0' -c 'print rootino' "$work/image" | awk '{ print $3 }')
	for file in 3 4 5; do
		xfs_db -c "inode $((root + file))" -c bmap "$work/image"
	done | sed 's/.*startblock \([0-9]*\).*/\1/' | starts
}

{
	mke2fs -V 2>&1 | head -n 1
	ext4
	ext4 -E stride=512,stripe_width=512
	ext4 -O bigalloc -C 2M
	xfs
	xfs -d su=2m,sw=1
} | expect 'mke2fs 1.47.0 (5-Feb-2023)
mke2fs : 8 151/512 12 407/512 17 151/512
mke2fs -E stride=512,stripe_width=512: 8 151/512 12 407/512 17 151/512
mke2fs -O bigalloc -C 2M: 20 25 30
mkfs.xfs : 0 24/512 4 280/512 9 24/512
mkfs.xfs -d su=2m,sw=1: 2 7 12'
