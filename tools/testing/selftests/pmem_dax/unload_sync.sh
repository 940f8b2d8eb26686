#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module is unloaded while sync(2) is at work. That looks at all file systems, one after
# the other, and keeps the one that it did last: here that of the module, while the next one
# does not come to an end.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NEXT=pmem_dax_next

# sync_waits PID: it is in a file system that does not come to an end, soon.
sync_waits() {
	local i

	for ((i = 0; i < 300; i++)); do
		! grep -qs sync_inodes_sb "/proc/$1/stack" || return 0
		sleep 0.1
	done
	return 1
}

# unloading: whether the module goes, and waits; it is not there any more if it does not.
unloading() {
	local i

	for ((i = 0; i < 300; i++)); do
		[ -d /sys/module/pmem_dax ] || return 1
		[ -z "$(log_since "unloading waits for a sync")" ] || return 0
		sleep 0.1
	done
	return 1
}

test_beside_sync() {
	local sectors disk sync rmmod waits=y

	modprobe -a dm-mod ext4
	mkfs.ext4 -q -F -O ^has_journal /dev/vda
	sectors=$(blockdev --getsz /dev/vda)
	dmsetup create --noudevsync $NEXT --table "0 $sectors linear /dev/vda 0"
	disk=/dev/dm-$(dmsetup info -c --noheadings -o minor $NEXT)
	take namespace0.0 >/dev/null
	# It comes after the module's own.
	mount -t ext4 "$disk" /mnt
	dd if=/dev/zero of=/mnt/file bs=64K count=16 status=none
	log_mark
	dmsetup suspend --noudevsync --nolockfs $NEXT
	sync &
	sync=$!
	sync_waits $sync || { dmsetup resume --noudevsync $NEXT; fail "sync does not wait"; }
	rmmod pmem_dax &
	rmmod=$!
	unloading || waits=
	dmsetup resume --noudevsync $NEXT
	wait $sync
	wait $rmmod
	expect y "$waits" "the module waits for sync"
	# Whatever was written to is its own again.
	take namespace0.0 >/dev/null
	sync
	rmmod pmem_dax
}

clean_up() {
	! grep -qs ' /mnt ' /proc/mounts || umount /mnt
	dmsetup remove --noudevsync $NEXT
}

if [ ! -b /dev/vda ]; then
	ktap_print_header
	ktap_skip_all "no /dev/vda"
	exit "$KSFT_SKIP"
fi
run_tests namespace0.0 -- beside_sync
