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

# Those that a disk of nd_pmem has too, if it has direct access: here the legacy one.
test_dax() {
	local theirs word

	hand_over namespace2.0 nd_pmem
	theirs=$(cd /sys/block/pmem2/dax && stat -c "%A %n" -- * && grep '' -- *)
	take namespace0.0 namespace2.0 >/dev/null
	expect "$theirs" "$(cd /sys/block/pmem2/dax && stat -c "%A %n" -- * && grep '' -- *)" "dax"
	for word in 0 1 n y off on; do
		echo "$word" >$DISK/dax/write_cache
		case $word in
		0 | n | off) expect 0 "$(cat $DISK/dax/write_cache)" "write_cache after $word" ;;
		*) expect 1 "$(cat $DISK/dax/write_cache)" "write_cache after $word" ;;
		esac
	done
	refused eval "echo 2 >$DISK/dax/write_cache"
	refused eval "echo >$DISK/dax/write_cache"
	expect 1 "$(cat $DISK/dax/write_cache)" "write_cache"
}

# numbers_are MAPPINGS PINNED
numbers_are() {
	expect "$1 $2" "$(cat $DISK/pmem_dax/mappings) $(cat $DISK/pmem_dax/pinned)" \
		"mappings and pinned pages"
}

test_use() {
	local mode

	for mode in generic fsdax; do
		take "namespace0.0:mode=$mode" >/dev/null
		expect "$mode" "$(cat $DISK/pmem_dax/mode)" "mode"
		numbers_are 0 0
		hold /dev/pmem0
		numbers_are 1 0
		let_go
		numbers_are 0 0
		refused eval "echo 1 >$DISK/pmem_dax/mappings"
		refused eval "echo 1 >$DISK/pmem_dax/openers"
	done
}

# nobody COMMAND...: run it as one that may do nothing.
nobody() {
	setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

# What costs the machine something, and what can be changed, is for root.
test_modes() {
	local file

	take namespace0.0 >/dev/null
	expect "-rw-r--r-- global_sync
-r--r--r-- mappings
-r--r--r-- mode
-r--r--r-- openers
-r-------- pinned" "$(cd $DISK/pmem_dax && stat -c "%A %n" -- *)" "modes"
	for file in global_sync mappings mode openers; do
		expect "$(cat $DISK/pmem_dax/$file)" "$(nobody cat $DISK/pmem_dax/$file)" "$file of nobody"
	done
	refused nobody sh -c "echo 0 >$DISK/pmem_dax/global_sync"
	refused eval "echo maybe >$DISK/pmem_dax/global_sync"
	expect 1 "$(cat $DISK/pmem_dax/global_sync)" "global_sync"
	expect 0 "$(cat $DISK/pmem_dax/pinned)" "pinned of root"
	refused nobody cat $DISK/pmem_dax/pinned
}

# Each open counts, of a partition too, and a mapping holds the disk.
test_openers() {
	take namespace0.0 >/dev/null
	printf 'size=16MiB\n' | sfdisk -q -w always --label gpt /dev/pmem0
	expect 0 "$(cat $DISK/pmem_dax/openers)" "openers"
	exec 7</dev/pmem0
	expect 1 "$(cat $DISK/pmem_dax/openers)" "openers of the disk"
	exec 8</dev/pmem0p1
	expect 2 "$(cat $DISK/pmem_dax/openers)" "openers with one of a partition"
	exec 7<&-
	hold /dev/pmem0p1
	expect 3 "$(cat $DISK/pmem_dax/openers)" "openers, one of which maps it"
	let_go
	exec 8<&-
	expect 0 "$(cat $DISK/pmem_dax/openers)" "openers in the end"
	wipefs -q -a /dev/pmem0
}

# The pages of a pipe are pinned one by one, whatever maps them and wherever they are.
test_pinned() {
	local mode offset

	for mode in generic:0 fsdax:0 generic:300 fsdax:300; do
		offset=${mode#*:}
		take "namespace0.0:mode=${mode%:*}" >/dev/null
		perl -e '
			open(my $disk, "+<", "/dev/pmem0") or die;
			# mmap(length 2 MiB, read and write, shared); vmsplice of 3 pages.
			my $map = syscall(9, 0, 2 << 20, 3, 1, fileno($disk), '"$offset"' << 20);
			pipe(my $out, my $in) or die;
			my $vector = pack("QQ", $map, 3 * 4096);
			syscall(278, fileno($in), $vector, 1, 0) == 3 * 4096 or die "vmsplice: $!";
			system("cat /sys/block/pmem0/pmem_dax/pinned; cat /sys/block/pmem0/pmem_dax/mappings");
			syscall(11, $map, 2 << 20);
			system("cat /sys/block/pmem0/pmem_dax/pinned; cat /sys/block/pmem0/pmem_dax/mappings");
			sysread($out, my $data, 3 * 4096) == 3 * 4096 or die;' >/tmp/pinned
		expect "3 1 3 0" "$(paste -sd ' ' /tmp/pinned)" "pinned and mappings, mapped and not"
		numbers_are 0 0
	done
}

test_ndctl_list() {
	take namespace0.0 >/dev/null
	ndctl list -n namespace0.0 | grep -q '"blockdev":"pmem0"'
}

run_tests namespace0.0 namespace2.0 namespace3.0 -- nfit legacy virtio values numbers \
	numbers_return dax use modes openers pinned ndctl_list
