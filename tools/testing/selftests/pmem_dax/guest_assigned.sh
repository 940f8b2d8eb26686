#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# All memory of a guest is on devices of the host, and a PCI device is assigned to it:
# the guest's RAM on one, an NVDIMM of 1 GiB pages on another one, and a virtio-pmem on
# a third one, whose flushes get to the host's.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=guest_lib.sh disable=SC1091
. "$LIB_DIR/guest_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

RAM=/dev/pmem0
VIRTIO=/dev/pmem1
LARGE=/dev/pmem4
GIB=$((1 << 30))
# The guest's kernel leaves this page, and the next one, to the test.
PAGE=$((128 << 20))

# Of docs/specs/edu.rst in QEMU's source.
EDU_FROM=$((0x80))
EDU_TO=$((0x88))
EDU_COUNT=$((0x90))
EDU_COMMAND=$((0x98))
EDU_BUFFER=$((0x40000))

# edu: the address of the device.
edu() {
	local device

	for device in /sys/bus/pci/devices/*; do
		if [ "$(cat "$device/vendor" "$device/device" | paste -s -d :)" = 0x1234:0x11e8 ]; then
			echo "${device##*/}"
		fi
	done
}

# assign: it is to be a guest's.
assign() {
	local edu

	edu=$(edu)
	[ -n "$edu" ] || fail "no device edu"
	[ -e "/sys/bus/pci/devices/$edu/iommu_group" ] || fail "edu is not behind an IOMMU"
	modprobe -a vfio-pci vfio_iommu_type1
	echo vfio-pci >"/sys/bus/pci/devices/$edu/driver_override"
	[ -e "/sys/bus/pci/drivers/vfio-pci/$edu" ] || echo "$edu" >/sys/bus/pci/drivers_probe
	ASSIGNED=(-device "vfio-pci,host=$edu")
}

# on_device: the guest's RAM.
on_device() {
	GUEST_MACHINE=,memory-backend=ram0
	RAM_ON_DEVICE=(-object "memory-backend-file,id=ram0,mem-path=$RAM,size=256M,align=2M,share=on")
}

media() {
	dd if="$1" bs=4 count=1 skip=$(($2 / 4)) status=none | od -A n -t x4 | tr -d ' '
}

pinned() {
	cat /sys/block/pmem0/pmem_dax/pinned
}

# not_assigned REASON: a guest whose memory that cannot be had for long.
not_assigned() {
	assign
	on_device
	if guest_start a "${RAM_ON_DEVICE[@]}" "${ASSIGNED[@]}"; then
		guest_kill a
		fail "it was not refused"
	fi
	guest_said a | grep "vfio_container_dma_map.* $1" || fail "$(guest_said a)"
}

# File systems want their memory back, and so does the page cache.
test_not_with_fsdax() {
	take namespace0.0:mode=fsdax >/dev/null
	not_assigned "(Operation not supported)"
	hand_over namespace0.0 nd_pmem
	not_assigned "(Bad address)"
}

test_boot() {
	[ -e "$DEVICES/namespace4.0" ] || echo region4 >"$DRIVERS/nd_region/bind"
	appears namespace4.0
	take namespace0.0 namespace1.0 namespace4.0:align=1G >/dev/null
	dd if=/dev/zero of=$VIRTIO bs=1M count=8 status=none
	# RAM of this kind has what another guest left there.
	dd if=/dev/zero of=$RAM bs=4096 seek=$((PAGE / 4096)) count=2 conv=notrunc status=none
	# From where a GiB of the memory begins.
	start=$((GIB - $(cat "$DEVICES/namespace4.0/resource") % GIB))
	echo "start=$((start >> 20))MiB,size=2GiB" | sfdisk -q --label gpt $LARGE
	assign
	on_device
	# shellcheck disable=SC2016 # no variable
	GUEST_APPEND='memmap=1M$128M'
	guest_start a "${RAM_ON_DEVICE[@]}" "${ASSIGNED[@]}" \
		-object "memory-backend-file,id=m0,mem-path=${LARGE}p1,size=2G,align=1G,share=on,pmem=on" \
		-device nvdimm,memdev=m0 \
		-object "memory-backend-file,id=m1,mem-path=$VIRTIO,size=512M,align=2M,share=on" \
		-device virtio-pmem-pci,memdev=m1
	# All of it but what the BIOS is in.
	[ "$(pinned)" -ge $((65536 - 128)) ] || fail "only $(pinned) pages of the RAM are pinned"
	guest_boot a
	expect "$((2 * GIB)) $((512 << 20))" "$(guest a 'cat /sys/bus/nd/devices/region[01]/size' | paste -s -d ' ')" \
		"sizes in the guest"
}

test_ram() {
	guest a "devmem $PAGE 32 0x12345678"
	expect 12345678 "$(media $RAM $PAGE)" "a page of the guest's RAM"
}

# From one page of the guest's RAM to another one, by the device.
test_dma() {
	local ended="while [ \$((\$(devmem \$((bar + $EDU_COMMAND)) 64) & 1)) = 1 ]; do :; done"

	# shellcheck disable=SC2016 # expanded by the guest
	guest a 'for device in /sys/bus/pci/devices/*; do
		[ $(cat $device/vendor $device/device | tr -d "\n") != 0x12340x11e8 ] || break; done;
		echo 1 >$device/enable;
		printf "\006" | dd of=$device/config bs=1 seek=4 conv=notrunc 2>/dev/null;
		read -r bar rest <$device/resource'
	guest a "devmem $PAGE 32 0xcafe0001"
	guest a "devmem \$((bar + $EDU_FROM)) 64 $PAGE; devmem \$((bar + $EDU_TO)) 64 $EDU_BUFFER;
		devmem \$((bar + $EDU_COUNT)) 64 4; devmem \$((bar + $EDU_COMMAND)) 64 1; $ended"
	guest a "devmem \$((bar + $EDU_FROM)) 64 $EDU_BUFFER; devmem \$((bar + $EDU_TO)) 64 $((PAGE + 4096));
		devmem \$((bar + $EDU_COUNT)) 64 4; devmem \$((bar + $EDU_COMMAND)) 64 3; $ended"
	expect 0xCAFE0001 "$(guest a "devmem $((PAGE + 4096)) 32")" "what the guest has"
	expect cafe0001 "$(media $RAM $((PAGE + 4096)))" "what the media has"
}

# The flush of the guest is one of the host. ext4 has nothing else to flush for, be it
# after five seconds.
test_virtio_flush() {
	guest a 'mkfs.ext4 -q -b 4096 /dev/pmem1 &&
		mount -t ext4 -o dax=always,noinit_itable,commit=600 /dev/pmem1 /mnt && sync'
	trace pmem_flush pmem_write_back
	guest a 'echo of the guest >/mnt/file'
	expect 0 "$(traced 'pmem_flush: disk=pmem1')" "flushes before fsync"
	guest a 'dd if=/dev/null of=/mnt/file bs=1 conv=notrunc,fsync 2>/dev/null'
	trace_off
	[ "$(traced 'pmem_flush: disk=pmem1 result=0')" -ge 1 ] || fail "no flush of the host"
	[ "$(traced 'pmem_write_back: disk=pmem1')" -ge 1 ] || fail "nothing was written back"
	grep -aq "of the guest" $VIRTIO || fail "what the guest wrote is not on the media"
}

test_gigantic() {
	# shellcheck disable=SC2016 # expanded by the guest
	guest a 'for i in 0 1; do dd if=/dev/pmem0 of=/dev/null bs=4096 count=1 skip=$((i * 262144 + 1000)) 2>/dev/null; done'
	expect 2 "$(kvm_pages a 1g)" "leaves of 1 GiB"
}

# The guest crashes. All is let go at once, and what was flushed is there.
test_crash() {
	guest_tell a 'echo c >/proc/sysrq-trigger'
	guest_gone a
	grep -q "Kernel panic - not syncing: sysrq triggered crash" "$GUESTS/a/console"
	expect 0 "$(pinned)" "pinned pages"
	mount -t ext4 $VIRTIO /mnt
	expect "of the guest" "$(cat /mnt/file)" "the file"
	umount /mnt
	wipefs -q -a $VIRTIO
	wipefs -q -a $LARGE
	unload_all
}

clean_up() {
	local edu

	edu=$(edu)
	guests_end
	unload_all
	echo region4 >"$DRIVERS/nd_region/unbind"
	if [ -e "/sys/bus/pci/drivers/vfio-pci/$edu" ]; then
		echo "$edu" >/sys/bus/pci/drivers/vfio-pci/unbind
		echo >"/sys/bus/pci/devices/$edu/driver_override"
	fi
}

run_guest_tests namespace0.0 namespace1.0 -- not_with_fsdax boot ram dma virtio_flush gigantic crash
