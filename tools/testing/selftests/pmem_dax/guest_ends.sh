#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Two guests have a partition each. QEMU of one of them is killed while the guest
# stores, the other one loses the device under its feet: what they wrote is there, and
# the device is free at once, and the host goes on.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=guest_lib.sh disable=SC1091
. "$LIB_DIR/guest_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NODE=/dev/pmem0

# alone NODE: who wants it for himself gets it.
alone() {
	python3 -I -S -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$1" 2>/dev/null
}

# store NAME: go on storing to all of the device but the first MiB.
store() {
	guest_tell "$1" 'while dd if=/dev/zero of=/dev/pmem0 bs=1M seek=1 count=127 conv=notrunc 2>/dev/null; do echo again; done'
	sleep 1
	guest_lives "$1"
}

test_two_guests() {
	take namespace0.0 >/dev/null
	printf 'start=2MiB,size=128MiB\nstart=130MiB,size=128MiB\n' | sfdisk -q --label gpt $NODE
	dd if=/dev/zero of=${NODE}p1 bs=1M count=1 status=none
	dd if=/dev/zero of=${NODE}p2 bs=1M count=1 status=none
	NVDIMM=()
	nvdimm ${NODE}p1 size=128M
	guest_start a "${NVDIMM[@]}"
	NVDIMM=()
	nvdimm ${NODE}p2 size=128M
	guest_start b "${NVDIMM[@]}"
	guest_boot a b
	guest a 'echo of the first guest >/dev/pmem0 && sync'
	guest b 'echo of the second guest >/dev/pmem0 && sync'
	expect "of the first guest" "$(guest a 'head -n 1 /dev/pmem0')" "what the first guest has"
	expect "of the first guest" "$(starts_with ${NODE}p1)" "the first partition"
	expect "of the second guest" "$(starts_with ${NODE}p2)" "the second partition"
}

test_killed() {
	refused alone ${NODE}p1
	store a
	guest_kill a
	alone ${NODE}p1
	refused alone ${NODE}p2
	expect "of the first guest" "$(starts_with ${NODE}p1)" "the first partition"
	expect "of the second guest" "$(guest b 'head -n 1 /dev/pmem0')" "what the second guest has"
}

# What the guest had stored is there. It gets a machine check when it touches the rest,
# of the signal that QEMU gets, and panics, as its CPU has no recovery.
test_unbound() {
	store b
	echo namespace0.0 >"$DRIVERS/pmem_dax/unbind"
	hand_over namespace0.0 pmem_dax
	guest_gone b
	guest_said b | grep 'of type BUS_MCEERR_AR injected'
	grep 'Hardware Error' "$GUESTS/b/console"
	alone ${NODE}p2
	expect "of the second guest" "$(starts_with ${NODE}p2)" "the second partition"
	dd if=/dev/zero of=$NODE bs=1M count=4 status=none
}

run_guest_tests namespace0.0 -- two_guests killed unbound
