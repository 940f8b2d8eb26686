#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# An operator finds who has the device mapped, even if its file was closed.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# hold_mapping FILE: map it, close the file, keep the mapping until let_go.
hold_mapping() {
	coproc HOLDER { exec python3 -I -S -c '
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 4 << 20, trackfd=False)
os.close(fd)
m[0:4] = b"here"
print("mapped", flush=True)
sys.stdin.read()' "$1"; }
	read -r -t 60 HELD <&"${HOLDER[0]}" || fail "$1 could not be mapped"
}

# found_by COMMAND...: whether it tells the holder's number.
found_by() {
	if "$@" 2>/dev/null | grep -qw "$HOLDER_PID"; then
		echo yes
	else
		echo no
	fi
}

named_in() {
	if grep -q " $NODE\$" "/proc/$HOLDER_PID/$1"; then
		echo yes
	else
		echo no
	fi
}

test_names() {
	local link opened

	NODE=$(have namespace0.0)
	hold_mapping "$NODE"
	expect yes "$(named_in maps)" "maps has the name"
	expect yes "$(named_in smaps)" "smaps has the name"
	grep -q "file=$NODE " "/proc/$HOLDER_PID/numa_maps" || fail "not in numa_maps"
	for link in "/proc/$HOLDER_PID"/map_files/*; do
		[ "$(readlink "$link")" = "$NODE" ] || continue
		expect here "$(head -c 4 "$link")" "read through map_files"
		opened=yes
	done
	expect yes "${opened:-no}" "found in map_files"
	lsof -p "$HOLDER_PID" 2>/dev/null | grep -q " mem .* $NODE" || fail "not in lsof -p"
	let_go
}

# numbers FILE: its device and inode as in maps.
numbers() {
	python3 -I -S -c '
import os, sys
stat = os.stat(sys.argv[1])
print("%02x:%02x %d" % (os.major(stat.st_dev), os.minor(stat.st_dev), stat.st_ino))' "$1"
}

# Each node shows as itself, whatever disk or part of one it leads to.
test_numbers() {
	local other=/dev/another

	NODE=$(have namespace0.0)
	mknod "$other" b "$(stat -c '0x%t' "$NODE")" "$(stat -c '0x%T' "$NODE")"
	for NODE in "$NODE" "$other"; do
		hold_mapping "$NODE"
		expect "$(numbers "$NODE")" \
			"$(awk -v node="$NODE" '$6 == node { print $4, $5 }' "/proc/$HOLDER_PID/maps")" \
			"device and inode of $NODE"
		let_go
	done
	rm "$other"
}

test_open_file() {
	NODE=$(have namespace0.0)
	hold "$NODE"
	expect yes "$(found_by lsof -t "$NODE")" "found by lsof"
	expect yes "$(found_by fuser "$NODE")" "found by fuser"
	let_go
}

test_mapping_alone() {
	NODE=$(have namespace0.0)
	hold_mapping "$NODE"
	expect yes "$(found_by lsof -t "$NODE")" "found by lsof"
	expect yes "$(found_by fuser "$NODE")" "found by fuser"
	let_go
	expect no "$(found_by lsof -t "$NODE")" "found by lsof afterwards"
}

# The file behind a mapping keeps the path of the node, but no longer than the
# node is open, even if others go on using the disk.
test_mount_let_go() {
	local container

	container=$(mktemp -d)
	NODE=$(have namespace0.0)
	exec 9<"$NODE"
	mount -t tmpfs none "$container"
	touch "$container/pmem"
	mount --bind "$NODE" "$container/pmem"
	NODE=$container/pmem
	hold_mapping "$NODE"
	expect yes "$(found_by fuser "$NODE")" "found by fuser"
	umount "$NODE" 2>/dev/null && fail "unmounted while mapped"
	let_go
	umount "$NODE" || fail "busy after the mapping went"
	umount "$container"
	rmdir "$container"
	exec 9<&-
}

# That one is found by them, so the tools are not to blame.
test_nd_pmem() {
	hand_over namespace0.0 nd_pmem
	NODE=$(node_of namespace0.0)
	hold_mapping "$NODE"
	expect yes "$(found_by lsof -t "$NODE")" "found by lsof"
	expect yes "$(found_by fuser "$NODE")" "found by fuser"
	let_go
}

run_tests namespace0.0 -- names numbers open_file mapping_alone mount_let_go nd_pmem
