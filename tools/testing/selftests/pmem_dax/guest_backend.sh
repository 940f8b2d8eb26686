#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What QEMU makes of the node: each setting of a memory backend that concerns a file,
# and what others may do with the device meanwhile. There is nobody in the guests
# here: QEMU's loader stores to their memory, and its monitor reads it.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=guest_lib.sh disable=SC1091
. "$LIB_DIR/guest_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# Where the first device is in the guest's memory.
ADDRESS=0x100000000
VALUE=0x1122334455667788
STRACE=/tmp/strace
# More arguments for QEMU.
MORE=()

# backend NAME NODE [SETTING...]: start QEMU with a device.
backend() {
	local name=$1

	shift
	NVDIMM=()
	nvdimm "$@"
	guest_start "$name" "${NVDIMM[@]}" "${MORE[@]}"
}

# refuses REASON NODE [SETTING...]: QEMU does not start, and says why.
refuses() {
	local reason=$1

	shift
	! backend refused "$@" || fail "QEMU took $*"
	guest_said refused | grep -q "$reason" || fail "not '$reason': $(guest_said refused)"
}

# loader [OFFSET]: a store at this offset of the device.
loader() {
	MORE=(-device "loader,addr=$((ADDRESS + ${1:-0})),data=$VALUE,data-len=8")
}

# loads NAME [OFFSET]: what the guest has there.
loads() {
	monitor "$1" "xp /1gx $((ADDRESS + ${2:-0}))" | tr -d '\r' | sed 's/.*: //'
}

# media NODE [OFFSET]: what is there for those who read.
media() {
	printf '0x%s' "$(dd if="$1" bs=8 count=1 skip=$((${2:-0} / 8)) status=none |
		od -A n -t x8 | tr -d ' ')"
}

# zero NODE: the first MiB.
zero() {
	dd if=/dev/zero of="$1" bs=1M count=1 conv=fsync status=none
}

# sync_of NODE SIZE: what becomes of QEMU's wish for MAP_SYNC. The size is to be one
# that nothing else has.
sync_of() {
	local bytes calls

	bytes=$(numfmt --from=iec "$2")
	GUEST_BEFORE="strace -D -f --seccomp-bpf -e trace=mmap -o $STRACE" \
		backend a "$1" "size=$2"
	guest_quit a
	calls=$(grep ", $bytes, .*MAP_SHARED" $STRACE)
	sed -E 's/.*(MAP_SHARED[A-Z_|]*), [0-9]+, 0\) = (0x.*|-1 ([A-Z]+).*)/\1 \3/' <<<"$calls" |
		paste -s -d ,
}

test_map_sync() {
	take namespace0.0 namespace3.0 >/dev/null
	expect "MAP_SHARED_VALIDATE|MAP_FIXED|MAP_SYNC " "$(sync_of /dev/pmem0 192M)" "calls of QEMU"
	expect "" "$(guest_said a)" "what QEMU said"
	# Not there: QEMU tries without, and warns.
	refused="MAP_SHARED_VALIDATE|MAP_FIXED|MAP_SYNC EOPNOTSUPP,MAP_SHARED|MAP_FIXED "
	expect "$refused" "$(sync_of /dev/pmem3 128M)" "calls, where the flush is asynchronous"
	guest_said a | grep -q "Proceeding without persistence"
	hand_over namespace0.0 nd_pmem
	expect "$refused" "$(sync_of /dev/pmem0 192M)" "calls, with nd_pmem"
	guest_said a | grep -q "Proceeding without persistence"
}

test_size() {
	take namespace0.0 >/dev/null
	refuses "Parameter 'size' is missing" /dev/pmem0
	refuses "backing store size 0x20000000 is too small for 'size' option 0x20200000" \
		/dev/pmem0 size=514M
	backend a /dev/pmem0 size=512M
	guest_quit a
}

# The rest is the host's.
test_larger_than_the_guests() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	dd if=/dev/urandom of="$NODE" bs=1M seek=256 count=1 status=none
	sum=$(md5sum < <(tail -c +$(((256 << 20) + 1)) "$NODE" | head -c 1M))
	loader $(((256 << 20) - 8))
	backend a "$NODE" size=256M
	expect $VALUE "$(loads a $(((256 << 20) - 8)))" "end of the guest's"
	expect $VALUE "$(media "$NODE" $(((256 << 20) - 8)))" "the same on the media"
	expect "$sum" "$(md5sum < <(tail -c +$(((256 << 20) + 1)) "$NODE" | head -c 1M))" "what is behind it"
	guest_quit a
}

test_private() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	loader
	backend a "$NODE" size=256M share=off pmem=off
	expect $VALUE "$(loads a)" "what the guest has"
	expect 0x0000000000000000 "$(media "$NODE")" "what the media has"
	# What the guest has not stored to it has from the media.
	printf '\x01' | dd of="$NODE" bs=1 seek=1M conv=notrunc status=none
	expect 0x0000000000000001 "$(loads a $((1 << 20)))" "what the guest has elsewhere"
	guest_quit a
	expect 0x0000000000000000 "$(media "$NODE")" "what the media has afterwards"
}

# All of it is mapped at once, in large pages.
test_prealloc() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	printf '\x02' | dd of="$NODE" bs=1 seek=1M conv=notrunc status=none
	trace pmem_fault pmem_fault_refused
	backend a "$NODE" size=256M prealloc=on
	trace_off
	expect 128 "$(traced 'pmem_fault: .*order=9 .*NOPAGE')" "faults of 2 MiB"
	expect 0 "$(traced 'pmem_fault: .*order=0 ')" "faults of 4 KiB"
	expect 0x0000000000000002 "$(loads a $((1 << 20)))" "what the guest has"
	guest_quit a
	expect 0x0000000000000002 "$(media "$NODE" $((1 << 20)))" "what the media has"
}

# There is nothing to discard.
test_discard_data() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	loader
	backend a "$NODE" size=256M discard-data=on
	guest_quit a
	expect $VALUE "$(media "$NODE")" "what the media has"
}

# On a device that is read-only too, of which QEMU can have nothing else.
test_readonly() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	printf '\x03' | dd of="$NODE" bs=1 conv=notrunc,fsync status=none
	blockdev --setro "$NODE"
	MORE=()
	refuses "Invalid argument\|Operation not permitted\|Permission denied" "$NODE" size=256M
	guest_start a -object \
		"memory-backend-file,id=m,mem-path=$NODE,size=256M,align=2M,share=on,readonly=on" \
		-device nvdimm,memdev=m,unarmed=on
	expect 0x0000000000000003 "$(loads a)" "what the guest has"
	guest_quit a
	blockdev --setrw "$NODE"
	guest_start a -object \
		"memory-backend-file,id=m,mem-path=$NODE,size=256M,align=2M,share=on,readonly=on" \
		-device nvdimm,memdev=m,unarmed=on
	expect 0x0000000000000003 "$(loads a)" "what the guest has"
	guest_quit a
}

test_shared_by_two() {
	NODE=$(take namespace0.0)
	zero "$NODE"
	MORE=()
	backend a "$NODE" size=256M
	expect 0x0000000000000000 "$(loads a)" "what the first guest has"
	loader
	backend b "$NODE" size=256M
	expect $VALUE "$(loads a)" "what it has then"
	# Neither has it any more.
	guest_kill a
	expect $VALUE "$(loads b)" "what the other one has"
	guest_quit b
	expect $VALUE "$(media "$NODE")" "what the media has"
}

# partition: the disk has two, the first for large pages, the second not.
partition() {
	printf 'start=2MiB,size=128MiB\nstart=131MiB,size=128MiB\n' | sfdisk -q --label gpt "$1"
}

test_partitions() {
	NODE=$(take namespace0.0)
	partition "$NODE"
	zero "${NODE}p1"
	zero "${NODE}p2"
	loader
	backend a "${NODE}p1" size=128M
	expect $VALUE "$(media "$NODE" $((2 << 20)))" "media"
	expect 0x0000000000000000 "$(media "${NODE}p2")" "media of the other partition"
	loader 4096
	backend b "${NODE}p2" size=128M
	expect $VALUE "$(loads b 4096)" "what the other guest has"
	expect $VALUE "$(media "$NODE" $(((131 << 20) + 4096)))" "media of the other guest"
	expect 0x0000000000000000 "$(loads a 4096)" "what the first guest has there"
	MORE=()
	refuses "is too small for 'size'" "${NODE}p1" size=130M
	# The disk itself is not to be had meanwhile, nor the other way round.
	refuses "Device or resource busy" "$NODE" size=256M
	guest_quit a
	guest_quit b
	backend a "$NODE" size=256M
	refuses "Device or resource busy" "${NODE}p1" size=128M
	guest_quit a
	# Large pages need a partition that begins where one can.
	trace pmem_fault
	backend a "${NODE}p1" size=128M prealloc=on
	expect 64 "$(traced 'order=9 .*NOPAGE')" "faults of 2 MiB, from 2 MiB"
	guest_quit a
	trace_off
	trace pmem_fault
	backend a "${NODE}p2" size=128M prealloc=on
	trace_off
	expect 0 "$(traced 'order=9 .*NOPAGE')" "faults of 2 MiB, from 131 MiB"
	guest_quit a
	wipefs -q -a "$NODE"
}

# opened_alone NODE: who wants it for himself gets it.
opened_alone() {
	python3 -I -S -c 'import os, sys; os.open(sys.argv[1], os.O_RDWR | os.O_EXCL)' "$1" 2>/dev/null
}

test_claim() {
	NODE=$(take namespace0.0)
	MORE=()
	mkfs.ext4 -q -F "$NODE" 64M
	mount "$NODE" /mnt
	refuses "Device or resource busy" "$NODE" size=256M
	umount /mnt
	backend a "$NODE" size=256M
	refused mount "$NODE" /mnt
	refused mkfs.ext4 -q -F "$NODE" 64M
	! opened_alone "$NODE" || fail "O_EXCL was not refused"
	guest_kill a
	# Free at once.
	opened_alone "$NODE"
	mount "$NODE" /mnt
	umount /mnt
}

# QEMU's own access, for which there is no guest to be told, ends it.
test_unbound() {
	NODE=$(take namespace0.0)
	MORE=()
	backend a "$NODE" size=256M
	loads a
	echo namespace0.0 >"$DRIVERS/pmem_dax/unbind"
	refused monitor a "xp /1gx $ADDRESS"
	guest_gone a
}

# A block backend wants to be alone with what it writes to, too, but by locks.
test_drive() {
	NODE=$(take namespace0.0)
	# shellcheck disable=SC2054 # the commas are for QEMU
	MORE=(-blockdev "host_device,node-name=d,filename=$NODE" -device virtio-blk-pci,drive=d)
	backend a "$NODE" size=256M
	guest_quit a
}

after_failure() {
	trace_off
	guests_state
	guests_end
}

run_guest_tests namespace0.0 namespace3.0 -- map_sync size larger_than_the_guests private prealloc \
	discard_data readonly shared_by_two partitions claim unbound drive
