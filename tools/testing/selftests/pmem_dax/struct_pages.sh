#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace whose struct pages do not fit into RAM is refused, and nobody else has less
# memory for it.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NAME=namespace6.0
BINDS=8

# of FILE NAME: the number that a file of the kernel has behind that name.
of() {
	sed -n "s/^$2:\? *\([0-9]*\).*/\1/p" "$1"
}

test_do_not_fit() {
	local after before i kills maps said total

	unload_all
	[ -e "$DEVICES/$NAME" ] || echo region6 >"$DRIVERS/nd_region/bind"
	appears $NAME
	total=$(($(of /proc/meminfo MemTotal) << 10))
	[ $(($(cat "$DEVICES/$NAME/size") / 64)) -gt "$total" ]
	load
	echo $NAME >"$DRIVERS/pmem_dax/claim"
	settle
	before=$(of /proc/meminfo MemAvailable)
	maps=$(of /proc/vmstat nr_memmap_pages)
	kills=$(of /proc/vmstat oom_kill)
	log_mark
	for ((i = 0; i < BINDS; i++)); do
		said=$({ echo $NAME >"$DRIVERS/pmem_dax/bind"; } 2>&1) || true
		[[ $said = *"Cannot allocate memory"* ]] || fail "bound: $said"
	done
	expect $BINDS "$(log_since "not taken: its struct pages take [0-9]* MiB of RAM" | wc -l)" "lines in the log"
	expect $BINDS "$(log_since "ndctl create-namespace -f -e $NAME -m fsdax -M dev" | wc -l)" "lines that help"
	# Not even by a message: the kernel was not asked for the memory.
	expect "" "$(dmesg | sed "1,/$LOG_MARK/d" | grep -i 'alloc fail\|out of memory')" "the kernel's complaints"
	settle
	after=$(of /proc/meminfo MemAvailable)
	[ "$after" -gt $((before - (16 << 10))) ] || fail "$before kB were available, and $after are"
	expect "$maps" "$(of /proc/vmstat nr_memmap_pages)" "pages of struct pages"
	expect "$kills" "$(of /proc/vmstat oom_kill)" "processes killed"
}

clean_up() {
	unload_all
	[ ! -e "$DEVICES/$NAME" ] || echo region6 >"$DRIVERS/nd_region/unbind"
}

run_tests -- do_not_fit
