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
	NODE=$(have namespace0.0)
	hold_mapping "$NODE"
	expect yes "$(named_in maps)" "maps has the name"
	expect yes "$(named_in smaps)" "smaps has the name"
	grep -q "file=$NODE " "/proc/$HOLDER_PID/numa_maps" || fail "not in numa_maps"
	expect "$NODE" "$(readlink "/proc/$HOLDER_PID"/map_files/* | grep -m 1 pmem)" "map_files"
	lsof -p "$HOLDER_PID" 2>/dev/null | grep -q " mem .* $NODE" || fail "not in lsof -p"
	let_go
}

# One number of device and inode for all mappings of a disk, which is not another's.
test_numbers() {
	local ours others

	NODE=$(have namespace0.0)
	hold_mapping "$NODE"
	ours=$(awk -v node="$NODE" '$6 == node { print $4, $5 }' "/proc/$HOLDER_PID/maps")
	[ -n "$ours" ] || fail "nothing in maps"
	others=$(awk -v node="$NODE" '$6 != node { print $4, $5 }' /proc/[0-9]*/maps |
		grep -cFx "$ours" || true)
	expect 0 "$others" "other files with the numbers $ours"
	let_go
}

test_open_file() {
	NODE=$(have namespace0.0)
	hold "$NODE"
	expect yes "$(found_by lsof -t "$NODE")" "found by lsof"
	expect yes "$(found_by fuser "$NODE")" "found by fuser"
	let_go
}

# lsof and fuser look for the numbers of the node, and the mapping has those of
# an inode of its own, so it is found by its name: as the user's guide has it.
test_mapping_alone() {
	NODE=$(have namespace0.0)
	hold_mapping "$NODE"
	expect yes "$(found_by sh -c "lsof | grep ' mem .* $NODE'")" "found by the name in lsof"
	expect yes "$(found_by sh -c "grep -l ' $NODE\$' /proc/[0-9]*/maps | tr / ' '")" \
		"found by the name in maps"
	expect no "$(found_by lsof -t "$NODE")" "found by lsof: correct the user's guide"
	expect no "$(found_by fuser "$NODE")" "found by fuser: correct the user's guide"
	let_go
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

run_tests namespace0.0 -- names numbers open_file mapping_alone nd_pmem
