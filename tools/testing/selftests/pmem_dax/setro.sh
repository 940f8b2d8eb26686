#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What is set read-only is not written, by any way into it, and is read as before.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

TMP=$(mktemp -d)

# setup: the namespace is bound, with known data.
setup() {
	NODE=$(have namespace0.0)
	DISK=/sys/block/${NODE#/dev/}
	[ -e "$TMP/data" ] || dd if=/dev/urandom of="$TMP/data" bs=1M count=1 status=none
	dd if="$TMP/data" of="$NODE" bs=1M conv=fsync status=none
}

# eperm COMMAND...: it fails with that error.
eperm() {
	local said

	if said=$("$@" 2>&1 >/dev/null); then
		fail "not refused: $*"
	fi
	[[ $said == *"Operation not permitted"* ]] || fail "wanted EPERM: $*: $said"
}

# not_writable NODE
not_writable() {
	eperm dd if=/dev/zero of="$1" bs=4096 count=1 conv=notrunc status=none
	eperm dd if=/dev/zero of="$1" bs=4096 count=1 conv=notrunc oflag=direct status=none
	eperm dd if=/dev/zero of="$1" bs=100 count=1 conv=notrunc status=none
	refused blkdiscard --zeroout --length 4096 "$1"
	refused mkfs.ext4 -q -F "$1"
	refused sh -c "printf '2048,2048\n' | sfdisk -q --label dos $1"
}

unharmed() {
	head -c 1M "$NODE" | cmp - "$TMP/data"
	dd if="$NODE" bs=1M count=1 iflag=direct status=none | cmp - "$TMP/data"
}

test_blockdev() {
	setup
	blockdev --setro "$NODE"
	expect 1 "$(cat "$DISK/ro")" ro
	expect 1 "$(blockdev --getro "$NODE")" "ro of blockdev"
	not_writable "$NODE"
	unharmed
	blockdev --setrw "$NODE"
	expect 0 "$(cat "$DISK/ro")" ro
	dd if=/dev/zero of="$NODE" bs=4096 count=1 conv=notrunc,fsync status=none
	head -c 4096 "$NODE" | cmp - <(head -c 4096 /dev/zero)
}

# One that has it open already cannot write either.
test_open_before() {
	setup
	exec 7<>"$NODE"
	blockdev --setro "$NODE"
	eperm dd if=/dev/zero bs=4096 count=1 status=none of=/proc/self/fd/7
	eperm bash -c "printf x >&7"
	blockdev --setrw "$NODE"
	printf x >&7
	exec 7<&-
	expect x "$(head -c 1 "$NODE")" "first byte"
}

# The switch of the region is that of all namespaces in it.
test_region() {
	setup
	echo 1 >"$DEVICES/region0/read_only"
	expect 1 "$(cat "$DISK/ro")" ro
	not_writable "$NODE"
	unharmed
	# It is what a disk is born with, too.
	unload_all
	load claim=namespace0.0
	expect 1 "$(cat "$DISK/ro")" "ro of a new disk"
	not_writable "$NODE"
	echo 0 >"$DEVICES/region0/read_only"
	expect 0 "$(cat "$DISK/ro")" ro
	unharmed
	dd if=/dev/zero of="$NODE" bs=4096 count=1 conv=notrunc status=none
}

test_file_system() {
	setup
	mkfs.ext4 -q -F "$NODE" 64M
	mount "$NODE" /mnt
	cp "$TMP/data" /mnt/file
	umount /mnt
	blockdev --setro "$NODE"
	# mount(8) tries again without writing.
	mount -o rw "$NODE" /mnt 2>/dev/null
	refused touch /mnt/another
	cmp "$TMP/data" /mnt/file
	refused mount -o remount,rw /mnt
	umount /mnt
	blockdev --setrw "$NODE"
	mount "$NODE" /mnt
	touch /mnt/another
	umount /mnt
	wipefs -q -a "$NODE"
}

test_partition() {
	setup
	printf '2048,2048\n4096,2048\n' | sfdisk -q --label dos "$NODE"
	[ -b "${NODE}p1" ]
	[ -b "${NODE}p2" ]
	blockdev --setro "${NODE}p1"
	eperm dd if=/dev/zero of="${NODE}p1" bs=4096 count=1 conv=notrunc status=none
	eperm dd if=/dev/zero of="${NODE}p1" bs=4096 count=1 oflag=direct conv=notrunc status=none
	dd if="$TMP/data" of="${NODE}p2" bs=4096 count=1 conv=notrunc status=none
	blockdev --setrw "${NODE}p1"
	blockdev --setro "$NODE"
	eperm dd if=/dev/zero of="${NODE}p2" bs=4096 count=1 conv=notrunc status=none
	head -c 4096 "${NODE}p2" | cmp - <(head -c 4096 "$TMP/data")
	blockdev --setrw "$NODE"
	wipefs -q -a "$NODE"
}

clean_up() {
	echo 0 >"$DEVICES/region0/read_only"
}

trap 'rm -rf "$TMP"' EXIT
run_tests namespace0.0 -- blockdev open_before region file_system partition
