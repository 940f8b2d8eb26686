#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace goes from nd_pmem to pmem_dax and back while both are loaded, by
# the lines that the user guide tells, and takes its contents along.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

MEDIA="large pages of the media"
PAGE_CACHE="the page cache"

to_pmem_dax() {
	echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/unbind
	echo namespace0.0 >/sys/bus/nd/drivers/pmem_dax/claim
	echo namespace0.0 >/sys/bus/nd/drivers/pmem_dax/bind
}

to_nd_pmem() {
	echo namespace0.0 >/sys/bus/nd/drivers/pmem_dax/unbind
	echo -namespace0.0 >/sys/bus/nd/drivers/pmem_dax/claim
	echo namespace0.0 >/sys/bus/nd/drivers/nd_pmem/bind
}

# both: the two drivers are there, and nd_pmem has all namespaces.
both() {
	local namespace

	unload_all
	modprobe nd_pmem
	load
	for namespace in 0.0 1.0 2.0 3.0; do
		[ ! -e "$DEVICES/namespace$namespace/block" ] ||
			expect nd_pmem "$(driver_of "namespace$namespace")" "driver at first"
	done
}

major_of() {
	stat -c %Hr "$1"
}

our_major() {
	awk '$2 == "pmem_dax" { print $1 }' /proc/devices
}

test_there_and_back() {
	both
	for _ in 1 2; do
		to_pmem_dax
		expect pmem_dax "$(driver_of namespace0.0)" "driver"
		expect namespace0.0 "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
		expect "$(our_major)" "$(major_of /dev/pmem0)" "major of the node"
		expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping under pmem_dax"
		to_nd_pmem
		expect nd_pmem "$(driver_of namespace0.0)" "driver"
		expect "" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
		[ "$(our_major)" != "$(major_of /dev/pmem0)" ]
		expect "$PAGE_CACHE" "$(mapped_as /dev/pmem0)" "mapping under nd_pmem"
	done
}

test_contents() {
	local sum

	both
	dd if=/dev/urandom of=/dev/pmem0 bs=1M count=8 status=none
	sum=$(head -c 8M /dev/pmem0 | md5sum)
	to_pmem_dax
	expect "$sum" "$(head -c 8M /dev/pmem0 | md5sum)" "contents"
	dd if=/dev/urandom of=/dev/pmem0 bs=1M count=8 status=none
	sum=$(head -c 8M /dev/pmem0 | md5sum)
	to_nd_pmem
	expect "$sum" "$(head -c 8M /dev/pmem0 | md5sum)" "contents"
}

test_file_system() {
	both
	mkfs.ext4 -q -F /dev/pmem0 64M
	mount /dev/pmem0 /mnt
	echo "from nd_pmem" >/mnt/file
	umount /mnt
	to_pmem_dax
	mount /dev/pmem0 /mnt
	expect "from nd_pmem" "$(cat /mnt/file)" "contents of the file"
	echo "from pmem_dax" >/mnt/file
	umount /mnt
	fsck.ext4 -fn /dev/pmem0 >/dev/null
	to_nd_pmem
	mount /dev/pmem0 /mnt
	expect "from pmem_dax" "$(cat /mnt/file)" "contents of the file"
	umount /mnt
}

# Neither touches what the other has.
test_others_stay() {
	both
	to_pmem_dax
	expect nd_pmem "$(driver_of namespace2.0)" "driver of namespace2.0"
	refused sh -c "echo namespace0.0 >$DRIVERS/nd_pmem/bind"
	refused sh -c "echo namespace2.0 >$DRIVERS/pmem_dax/bind"
	refused sh -c "echo namespace2.0 >$DRIVERS/pmem_dax/unbind"
	expect pmem_dax "$(driver_of namespace0.0)" "driver of namespace0.0"
	expect nd_pmem "$(driver_of namespace2.0)" "driver of namespace2.0"
}

# ndctl, too, can give it a driver again: the one that wants it.
test_ndctl() {
	both
	to_pmem_dax
	ndctl disable-namespace namespace0.0
	expect "" "$(driver_of namespace0.0)" "driver of a disabled namespace"
	ndctl enable-namespace namespace0.0
	[ -n "$(driver_of namespace0.0)" ] || fail "no driver after ndctl enable-namespace"
	hand_over namespace0.0 nd_pmem
}

# When pmem_dax goes, what it had is there for nd_pmem.
test_module_unloaded() {
	both
	to_pmem_dax
	rmmod pmem_dax
	expect "" "$(driver_of namespace0.0)" "driver after rmmod"
	echo namespace0.0 >"$DRIVERS/nd_pmem/bind"
	expect "$PAGE_CACHE" "$(mapped_as /dev/pmem0)" "mapping under nd_pmem"
}

run_tests namespace0.0 namespace2.0 -- there_and_back contents file_system others_stay \
	ndctl module_unloaded
