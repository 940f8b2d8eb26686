#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# In sysfs the disk looks as it does under nd_pmem, so that tools find what they
# know.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

DISK=/sys/block/pmem0

# attributes: those of the queue and the disk, with their values, but for what
# is about DAX of file systems and numbers that change.
attributes() {
	(
		cd "$DISK" || exit
		grep -s '' queue/* size ro removable hidden capability alignment_offset \
			discard_alignment ext_range badblocks | grep -v ^queue/dax:
	)
}

compare() {
	local ours namespace=$1

	DISK=/sys/block/pmem${namespace:9:1}
	unload_all
	load "claim=$namespace"
	ours=$(attributes)
	[ "$(grep -c ^queue/ <<<"$ours")" -gt 40 ] || fail "what was compared: $ours"
	hand_over "$namespace" nd_pmem
	diff -U0 <(attributes) <(echo "$ours") || fail "not as under nd_pmem"
}

test_nfit() {
	compare namespace0.0
}

test_legacy() {
	compare namespace2.0
}

test_virtio() {
	compare namespace3.0
}

test_values() {
	take namespace0.0 >/dev/null
	expect 512 "$(cat $DISK/queue/logical_block_size)" logical_block_size
	expect 4096 "$(cat $DISK/queue/physical_block_size)" physical_block_size
	expect "write back" "$(cat $DISK/queue/write_cache)" write_cache
	expect "" "$(cat $DISK/badblocks)" badblocks
	expect "$(readlink -f "$DEVICES/namespace0.0")" "$(readlink -f $DISK/device)" \
		"parent of the disk"
}

# One major, 256 numbers a disk.
test_numbers() {
	local major

	take namespace0.0 namespace2.0 >/dev/null
	major=$(awk '$2 == "pmem_dax" { print $1 }' /proc/devices)
	[ -n "$major" ]
	# Which of them was taken first is up to the bus.
	expect "$major:0 $major:256" \
		"$(sort /sys/block/pmem0/dev /sys/block/pmem2/dev | paste -sd ' ')" "numbers"
	expect 256 "$(cat /sys/block/pmem0/range)" "numbers a disk"
}

# The numbers of a disk that is gone are there for the next one.
test_numbers_return() {
	local dev

	take namespace0.0 namespace2.0 >/dev/null
	dev=$(cat /sys/block/pmem0/dev)
	for _ in 1 2 3; do
		echo namespace0.0 >"$DRIVERS/pmem_dax/unbind"
		[ ! -e /sys/block/pmem0 ]
		[ ! -e /dev/pmem0 ]
		echo namespace0.0 >"$DRIVERS/pmem_dax/bind"
		expect "$dev" "$(cat /sys/block/pmem0/dev)" "number of pmem0"
	done
}

test_ndctl_list() {
	take namespace0.0 >/dev/null
	ndctl list -n namespace0.0 | grep -q '"blockdev":"pmem0"'
}

run_tests namespace0.0 namespace2.0 namespace3.0 -- nfit legacy virtio values numbers \
	numbers_return ndctl_list
