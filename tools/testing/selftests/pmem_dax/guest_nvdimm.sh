#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A guest with Linux uses a device of the host as its NVDIMM: what it writes is on the
# media, KVM maps all of it in 2 MiB pages, and what one does with guests (stop them,
# migrate them, plug in more) or what befalls them (bad memory, a panic) does no harm
# to the device. It is one guest, so the tests go on where the one before ended.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=guest_lib.sh disable=SC1091
. "$LIB_DIR/guest_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# The guest has a partition, as the host would take what it writes to the start of a
# namespace without labels for its own, and another whole namespace that can be healed.
NODE=/dev/pmem0
SECOND=/dev/pmem2
LEAVES=$(((256 + 64) / 2))
OFFLINE=/sys/devices/system/memory/hard_offline_page

cached() {
	sed -n 's/^Buffers: *\([0-9]*\) kB/\1/p' /proc/meminfo
}

# touch_all: the guest reads all of both.
touch_all() {
	guest a 'dd if=/dev/pmem0 of=/dev/null bs=2M iflag=direct 2>/dev/null &&
		dd if=/dev/pmem1 of=/dev/null bs=2M iflag=direct 2>/dev/null'
}

# file_is: what the guest has in its file, not from its memory.
file_is() {
	guest a 'echo 3 >/proc/sys/vm/drop_caches; md5sum </mnt/file'
}

test_boot() {
	take namespace0.0 namespace2.0 >/dev/null
	printf 'start=2MiB,size=256MiB\nstart=258MiB,size=128MiB\n' | sfdisk -q --label gpt $NODE
	dd if=/dev/zero of=${NODE}p1 bs=1M count=8 status=none
	cached >/tmp/cached
	NVDIMM=()
	nvdimm ${NODE}p1 size=256M
	first=("${NVDIMM[@]}")
	NVDIMM=(1)
	nvdimm $SECOND size=64M
	trace pmem_fault pmem_fault_refused
	guest_start a "${first[@]}" "${NVDIMM[@]}" -device virtio-balloon
	guest_boot a
	expect "268435456 67108864" "$(guest a 'cat /sys/bus/nd/devices/region[01]/size' | paste -s -d ' ')" \
		"sizes in the guest"
}

# Through the host's own read the file must be found somewhere on the partition.
test_file_system() {
	guest a 'ndctl create-namespace -f -e namespace0.0 -m fsdax -M mem >/dev/null'
	guest a 'mkfs.ext4 -q -b 4096 /dev/pmem0 && mount -t ext4 -o dax=always /dev/pmem0 /mnt'
	guest a 'grep -q "/mnt ext4 .*dax=always" /proc/mounts'
	guest a 'echo the guest was here >/mnt/text && dd if=/dev/urandom of=/mnt/file bs=1M count=8 2>/dev/null && sync'
	file_is >/tmp/sum
	grep -aq "the guest was here" ${NODE}p1 || fail "what the guest wrote is not on the media"
}

test_pages() {
	touch_all
	expect $LEAVES "$(kvm_pages a 2m)" "leaves of 2 MiB"
	trace_off
	expect $LEAVES "$(traced 'pmem_fault: .*order=9 .*NOPAGE')" "faults of 2 MiB in the host"
	expect 0 "$(traced 'pmem_fault: .*order=0 ')" "faults of 4 KiB in the host"
	# What the partition table took does not count.
	[ "$(cached)" -le $(($(cat /tmp/cached) + 64)) ] ||
		fail "page cache grew from $(cat /tmp/cached) to $(cached) kB"
}

test_pause() {
	monitor a stop
	guest_tell a 'echo alive'
	sleep 1
	expect "" "$(timeout 1 head -n 1 <"$GUESTS/a/port.out")" "what a stopped guest says"
	dd if=$NODE of=/dev/null bs=2M status=none
	monitor a cont
	expect alive "$(guest_answer a)" "what it says then"
	expect "$(cat /tmp/sum)" "$(file_is)" "the file"
}

# A migration wants to know what is written, by 4 KiB. It is given up at the last moment.
test_dirty_log() {
	local i

	touch_all
	expect $LEAVES "$(kvm_pages a 2m)" "leaves of 2 MiB before"
	monitor a 'migrate_set_capability pause-before-switchover on'
	monitor a 'migrate -d "exec:cat >/dev/null"'
	for ((i = 0; i < 600; i++)); do
		! monitor a 'info migrate' | grep -q pre-switchover || break
		sleep 0.1
	done
	monitor a 'info migrate' | grep pre-switchover
	[ "$(kvm_pages a 2m)" = 0 ] || fail "$(kvm_pages a 2m) leaves of 2 MiB while it is logged"
	[ "$(kvm_pages a 4k)" -ge $((LEAVES * 512)) ] || fail "only $(kvm_pages a 4k) of 4 KiB"
	monitor a migrate_cancel
	guest a 'dd if=/dev/urandom of=/mnt/file bs=1M count=8 conv=notrunc,fsync 2>/dev/null'
	file_is >/tmp/sum
	touch_all
	expect $LEAVES "$(kvm_pages a 2m)" "leaves of 2 MiB after"
}

# The guest gives back what it has of RAM, and nothing of the device.
test_balloon() {
	local i

	monitor a 'balloon 192'
	for ((i = 0; i < 300; i++)); do
		! monitor a 'info balloon' | grep -q actual=192 || break
		sleep 0.1
	done
	monitor a 'info balloon' | grep actual=192
	touch_all
	expect $LEAVES "$(kvm_pages a 2m)" "leaves of 2 MiB"
	expect "$(cat /tmp/sum)" "$(file_is)" "the file"
	monitor a 'balloon 256'
}

test_hot_plug() {
	local i

	monitor a "object_add memory-backend-file,id=m2,mem-path=${NODE}p2,size=128M,align=2M,share=on,pmem=on"
	monitor a 'device_add nvdimm,memdev=m2,id=nv2'
	for ((i = 0; i < 300; i++)); do
		[ -z "$(guest a 'ls /dev/pmem2 2>/dev/null')" ] || break
		sleep 0.1
	done
	guest a 'echo plugged in >/dev/pmem2 && sync'
	expect "plugged in" "$(starts_with ${NODE}p2)" "what is on the media"
	# QEMU cannot take it back.
	monitor a 'device_del nv2' | grep -q "not supported" || fail "QEMU can"
}

# address_of DEVICE: in the guest's memory.
address_of() {
	monitor a 'info memory-devices' | tr -d '\r' |
		sed -n "/\"$1\"/,/addr:/s/.*addr: //p"
}

# QEMU is told at once, as it asks for that, and the guest gets a machine check when it touches
# that page, and no other one. What it makes of it is its affair: one whose CPU has no recovery
# from them panics. The host goes on.
test_bad_memory() {
	local address

	address=$(($(address_of nv1) + (5 << 20)))
	echo $(($(cat "$DEVICES/namespace2.0/resource") + (5 << 20))) >$OFFLINE
	expect "10240 8" "$(cat /sys/block/pmem2/badblocks)" "what the host knows"
	guest_said a | grep "$(printf 'GUEST addr %#x of type BUS_MCEERR_AO injected' $address)"
	guest a 'dd if=/dev/pmem1 of=/dev/null bs=4096 count=1280 iflag=direct 2>&1'
	guest a 'dd if=/dev/pmem1 of=/dev/null bs=4096 skip=1281 iflag=direct 2>&1'
	expect "$(cat /tmp/sum)" "$(file_is)" "the file on the other device"
	! guest_said a | grep MCEERR_AR || fail "the guest touched the page before"
	guest_tell a 'dd if=/dev/pmem1 of=/dev/null bs=4096 skip=1280 count=1 iflag=direct'
	guest_gone a
	guest_said a | grep "$(printf 'GUEST addr %#x of type BUS_MCEERR_AR injected' $address)"
	grep "$(printf 'Hardware Error.*ADDR %x' $address)" "$GUESTS/a/console"
	# The host makes it good.
	dd if=/dev/zero of=$SECOND bs=4096 seek=1280 count=1 conv=notrunc,fsync status=none
	expect "" "$(cat /sys/block/pmem2/badblocks)" "what the host knows then"
}

# The devices are free at once, and the data is there.
test_afterwards() {
	python3 -I -S -c 'import os; os.open("/dev/pmem0", os.O_RDWR | os.O_EXCL)'
	modprobe loop
	mount -t ext4 -o loop,offset=$((2 << 20)) ${NODE}p1 /mnt
	expect "$(cat /tmp/sum)" "$(md5sum </mnt/file)" "the file"
	umount /mnt
	dd if=/dev/zero of=$NODE bs=1M count=8 conv=notrunc status=none
}

run_guest_tests namespace0.0 namespace2.0 -- boot file_system pages pause dirty_log balloon hot_plug \
	bad_memory afterwards
