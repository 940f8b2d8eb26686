#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What people look at disks with shows one of pmem_dax as it shows the same one of
# nd_pmem, but for the differences that are listed here, and explained in the users'
# guide.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

UDEVD=/usr/lib/systemd/systemd-udevd

# differs_each_time: what a disk has when it appears, also if it has the same driver.
# (The minor number is in another line, too.)
differs_each_time() {
	sed -E -e 's/(DISKSEQ=|\{diskseq\}=="|by-diskseq\/|^Q: )[0-9]+/\1N/' \
		-e 's/^(E: USEC_INITIALIZED|E: MINOR)=.*/\1=N/'
}

# as_ours: what is different under pmem_dax, made so from what nd_pmem's shows.
as_ours() {
	local edits=() i

	# Numbers: the driver has a major of its own, nd_pmem the one for all.
	for i in "${!THEIRS[@]}"; do
		edits+=(-e "s/(^|[^0-9])${THEIRS[i]}\\b/\\1${OURS[i]}/")
	done
	edits+=(-e "s/^E: MAJOR=${THEIRS[0]%:*}$/E: MAJOR=${OURS[0]%:*}/")
	edits+=(-e 's/(ATTR\{range\}==)"0"/\1"256"/')
	# parted knows the disks by that number.
	edits+=(-e 's/^Model: NVDIMM Device \(pmem\)$/Model: Unknown (unknown)/')
	edits+=(-e 's/(DRIVERS==)"nd_pmem"/\1"pmem_dax"/')
	# It does not publish its memory to file systems.
	edits+=(-e 's/(ATTR\{queue\/dax\}==)"1"/\1"0"/' -e 's/ 1 512 4096$/ 0 512 4096/')
	sed -E "${edits[@]}"
}

# without_ours: what only a disk of pmem_dax has.
without_ours() {
	grep -v 'ATTR{pmem_dax/[a-z_]*}'
}

# numbers NODE: of the disk and its partitions.
numbers() {
	lsblk -n -r -o MAJ:MIN "$1"
}

# show COMMAND...: what it tells, which must be something. How wide columns are
# depends on the numbers in them.
show() {
	local output

	output=$("$@" 2>&1) || fail "$* failed: $output"
	[ "$output" ] || fail "$* tells nothing"
	echo "$*:"
	echo "$output" | tr -s ' '
}

# properties NODE: what udev has of it. Its links are in no order, and there twice.
properties() {
	udevadm info "$1" | grep -v ^E:.DEVLINKS= | sort
}

# look NAMESPACE NODE
look() {
	udevadm settle
	mount "${2}p1" /mnt
	show ndctl list -v -n "$1"
	show lsblk -o +DAX,LOG-SEC,PHY-SEC "$2"
	show lsblk -t "$2"
	show lsblk -f "$2"
	show properties "$2"
	show properties "${2}p1"
	show udevadm info -a "$2"
	show blkid "$2" "${2}p1" "${2}p2"
	show blkid -p "$2" "${2}p1"
	show findmnt "${2}p1"
	show parted -s "$2" print
	show fdisk -l "$2"
	umount /mnt
}

compare() {
	local node theirs ours

	unload_all
	modprobe nd_pmem
	load
	node=$(node_of "$1")
	printf 'size=16MiB\n%.0s' 1 2 | sfdisk -q -w always --label gpt "$node"
	# While udev looks at a new partition it does not see that somebody writes there.
	udevadm settle
	mkfs.ext4 -q -b 4096 -L peers "${node}p1"
	# What read the table while udev had a partition open may have numbered them in another order.
	udevadm settle
	hand_over "$1" pmem_dax
	udevadm settle
	hand_over "$1" nd_pmem
	expect "$node" "$(node_of "$1")" "node under nd_pmem"
	udevadm settle
	mapfile -t THEIRS < <(numbers "$node")
	theirs=$(look "$1" "$node")
	hand_over "$1" pmem_dax
	expect "$node" "$(node_of "$1")" "node"
	mapfile -t OURS < <(numbers "$node")
	expect 3 "${#OURS[@]}" "the disk and its partitions"
	ours=$(look "$1" "$node")
	diff -U0 <(as_ours <<<"$theirs" | differs_each_time) \
		<(without_ours <<<"$ours" | differs_each_time) ||
		fail "not as under nd_pmem, or a difference that is listed is none"
	# Each is there, or it would not have to be listed.
	expect 5 "$(grep -c 'ATTR{pmem_dax/' <<<"$ours")" "attributes of its own"
	expect "$2" "$(diff -U0 <(differs_each_time <<<"$theirs") <(differs_each_time <<<"$ours") |
		grep -c '^-[^-]')" "lines that differ"
}

test_nfit() {
	compare namespace0.0 14
}

test_legacy() {
	compare namespace2.0 15
}

# stop_udev: it is asked to end, and does so when its workers are done. Until then it would bind what
# the next test makes. The socket that it leaves would have others wait for it.
stop_udev() {
	local pid pids=()

	for pid in /proc/[0-9]*; do
		[ "$(cat "$pid/comm" 2>/dev/null)" != systemd-udevd ] || pids+=("${pid#/proc/}")
	done
	udevadm settle
	udevadm control --exit
	for pid in "${pids[@]}"; do
		timeout 60 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
	done
	rm -r /run/udev
}

# clean_up: without udev, if there was none.
clean_up() {
	wipe namespace0.0 namespace2.0 || return
	[ -z "$STARTED" ] || stop_udev
}

STARTED=
if [ ! -e /run/udev/control ] && [ "$(id -u)" = 0 ] && [ -z "$(missing)" ]; then
	"$UDEVD" --daemon >/dev/null 2>&1
	STARTED=y
fi
run_tests namespace0.0 namespace2.0 -- nfit legacy
