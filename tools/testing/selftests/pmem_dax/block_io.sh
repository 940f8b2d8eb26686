#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The node is a block device like any other: partitions, file systems and the
# tools of block devices work on it, and what they do is counted.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NODE=/dev/pmem0
TMP=$(mktemp -d)
trap 'rm -rf "$TMP"' EXIT

# setup: the namespace is bound, and a scratch file there.
setup() {
	[ "$(have namespace0.0)" = "$NODE" ] || fail "the node is not $NODE"
	[ -e "$TMP/data" ] || dd if=/dev/urandom of="$TMP/data" bs=1M count=4 status=none
}

test_dd() {
	local flags size

	setup
	for flags in direct sync nonblock; do
		for size in 512 3K 1M 777 65537; do
			[ "$flags" != direct ] || [[ $size =~ ^(512|.*[KM])$ ]] || continue
			dd if=/dev/zero of=$NODE bs=1M count=4 status=none
			dd if="$TMP/data" of=$NODE bs=$size count=4 oflag=$flags \
				conv=notrunc,fsync status=none
			dd if=$NODE of="$TMP/copy" bs=$size count=4 iflag=$flags status=none
			cmp "$TMP/copy" <(dd if="$TMP/data" bs=$size count=4 status=none)
		done
	done
	expect "$(cat /sys/bus/nd/devices/namespace0.0/size)" \
		"$(blockdev --getsize64 $NODE)" "size"
}

# Four bytes at the end of the device are the last that there are.
test_end_of_device() {
	local size

	setup
	size=$(blockdev --getsize64 $NODE)
	refused dd if=/dev/zero of=$NODE bs=512 count=1 seek=$((size / 512)) status=none
	dd if="$TMP/data" of=$NODE bs=512 count=1 seek=$((size / 512 - 1)) status=none
	tail -c 512 $NODE | cmp - <(head -c 512 "$TMP/data")
}

# Files survive unmounting, and so does the file system unbinding.
test_ext4() {
	local i

	setup
	mkfs.ext4 -q -F $NODE
	mount -t ext4 $NODE /mnt
	for i in $(seq 8); do
		cp "$TMP/data" "/mnt/$i"
	done
	rm /mnt/3
	ln /mnt/4 /mnt/link
	mkdir /mnt/directory
	mv /mnt/5 /mnt/directory
	umount /mnt
	fsck.ext4 -fn $NODE >/dev/null 2>&1

	unload_all
	load claim=namespace0.0
	mount -t ext4 -o ro $NODE /mnt
	for i in 1 2 4 6 7 8 link directory/5; do
		cmp "$TMP/data" "/mnt/$i"
	done
	[ ! -e /mnt/3 ]
	umount /mnt
}

test_fio() {
	setup
	cd "$TMP" || exit # it leaves files
	fio --name=verify --filename=$NODE --size=4M --rw=randrw --bsrange=512-64k \
		--bs_unaligned=0 --verify=crc32c --verify_fatal=1 --ioengine=psync \
		--randseed=1 --output="$TMP/fio" || { cat "$TMP/fio"; exit 1; }
	fio --name=direct --filename=$NODE --size=2M --rw=randwrite --bs=4k --direct=1 \
		--iodepth=8 --verify=crc32c --verify_fatal=1 --ioengine=io_uring \
		--randseed=2 --output="$TMP/fio" || { cat "$TMP/fio"; exit 1; }
	fio --name=mmap --filename=$NODE --size=2M --rw=randrw --bs=4k --verify=crc32c \
		--verify_fatal=1 --ioengine=mmap --randseed=3 \
		--output="$TMP/fio" || { cat "$TMP/fio"; exit 1; }
}

test_parted() {
	setup
	parted -s -a optimal $NODE mklabel gpt mkpart one 1MiB 33MiB mkpart two 33MiB 100%
	[ -b ${NODE}p1 ]
	[ -b ${NODE}p2 ]
	expect $((32 << 20)) "$(blockdev --getsize64 ${NODE}p1)" "size of partition 1"
	cat "$TMP/data" >${NODE}p2
	dd if=$NODE bs=1M skip=33 count=4 status=none | cmp - "$TMP/data"
	mkfs.ext4 -q -F ${NODE}p1
	mount ${NODE}p1 /mnt
	cp "$TMP/data" /mnt/file
	umount /mnt
	fsck.ext4 -fn ${NODE}p1 >/dev/null
	head -c 4M ${NODE}p2 | cmp - "$TMP/data"

	# They are there again when the namespace is.
	unload_all
	load claim=namespace0.0
	head -c 4M ${NODE}p2 | cmp - "$TMP/data"
	parted -s $NODE rm 1 rm 2 2>/dev/null
	[ ! -e ${NODE}p1 ]
	[ ! -e ${NODE}p2 ]
	wipefs -q -a $NODE
}

# sectors FIELD: of /sys/block/pmem0/stat: 3 were read, 7 were written.
sectors() {
	local stat

	read -ra stat </sys/block/pmem0/stat
	echo "${stat[$(($1 - 1))]}"
}

test_statistics() {
	local read written

	setup
	# As under nd_pmem nothing is counted unless somebody wants it.
	expect 0 "$(cat /sys/block/pmem0/queue/iostats)" "iostats at first"
	echo 1 >/sys/block/pmem0/queue/iostats
	read=$(sectors 3)
	written=$(sectors 7)
	dd if=$NODE of=/dev/null bs=64K count=16 status=none
	expect 2048 $(($(sectors 3) - read)) "sectors that read(2) read"
	expect "$written" "$(sectors 7)" "sectors that read(2) wrote"
	dd if=$NODE of=/dev/null bs=64K count=16 iflag=direct status=none
	expect 4096 $(($(sectors 3) - read)) "sectors that a direct read(2) read"
	read=$(sectors 3)
	dd if="$TMP/data" of=$NODE bs=64K count=16 conv=notrunc status=none
	expect 2048 $(($(sectors 7) - written)) "sectors that write(2) wrote"
	dd if="$TMP/data" of=$NODE bs=64K count=16 conv=notrunc oflag=direct status=none
	expect 4096 $(($(sectors 7) - written)) "sectors that a direct write(2) wrote"
	expect "$read" "$(sectors 3)" "sectors that write(2) read"

	# And the bios of a file system.
	written=$(sectors 7)
	mkfs.ext4 -q -F $NODE 64M
	mount $NODE /mnt
	dd if="$TMP/data" of=/mnt/file bs=1M count=4 conv=fsync status=none
	umount /mnt
	[ $(($(sectors 7) - written)) -ge 8192 ] || fail "the file's bios were not counted"

	echo 0 >/sys/block/pmem0/queue/iostats
	read=$(sectors 3)
	written=$(sectors 7)
	dd if="$TMP/data" of=$NODE bs=64K count=16 conv=notrunc status=none
	dd if=$NODE of=/dev/null bs=64K count=16 status=none
	expect "$read $written" "$(sectors 3) $(sectors 7)" "sectors counted with iostats=0"
}

# look_at DEVICE: the tools of a file system see what the mount has, and change it.
look_at() {
	mkfs.ext4 -q -F "$1" 64M
	mount -t ext4 "$1" /mnt
	echo content >/mnt/file
	sync -f /mnt
	tune2fs -L MOUNTED -m 1 "$1" >/dev/null
	expect MOUNTED "$(e2label "$1")" "label of $1"
	dumpe2fs -h "$1" 2>/dev/null | grep -q '^Filesystem volume name: *MOUNTED$' ||
		fail "dumpe2fs does not tell the label of $1"
	expect content "$(debugfs -R 'cat file' "$1" 2>/dev/null)" "file that debugfs reads on $1"
	rm /mnt/file
	umount /mnt
	# The mount has not written an old superblock over it.
	expect MOUNTED "$(e2label "$1")" "label of $1, unmounted"
	fsck.ext4 -fn "$1" >/dev/null
	expect "" "$(debugfs -R 'cat file' "$1" 2>/dev/null)" "file that was removed on $1"
}

test_tools_of_mounted() {
	setup
	look_at $NODE
	wipefs -q -a $NODE
	echo "2048,131072" | sfdisk -q --label dos $NODE
	look_at ${NODE}p1
	wipefs -q -a $NODE
	blockdev --rereadpt $NODE
}

# limited COMMAND...: where a 4 MiB transfer to the disk takes a minute, if it is throttled.
limited() {
	bash -c 'echo $$ >/run/cgroup/limited/cgroup.procs; exec "$@"' limited "$@"
}

# limit: that group, for the disk as it is now.
limit() {
	DISK=$(cat /sys/block/pmem0/dev)
	echo "$DISK rbps=65536 wbps=65536" >/run/cgroup/limited/io.max
}

is_throttled() {
	local status=0

	limited timeout 2 "$@" || status=$?
	expect 124 "$status" "what a throttled $* ends with"
}

# As the users' guide has it: what sends no bio is neither throttled nor counted.
test_cgroup() {
	setup
	mkdir -p /run/cgroup
	mount -t cgroup2 none /run/cgroup
	echo +io >/run/cgroup/cgroup.subtree_control
	mkdir /run/cgroup/limited
	limit
	limited timeout 30 dd if=$NODE of=/dev/null bs=64K count=64 status=none
	limited timeout 30 dd if="$TMP/data" of=$NODE bs=64K conv=notrunc oflag=direct status=none
	expect "" "$(grep "^$DISK .*bytes=[1-9]" /run/cgroup/limited/io.stat || true)" "io.stat"

	# The bios of a file system are.
	mkfs.ext4 -q -F $NODE 64M
	mount $NODE /mnt
	is_throttled dd if="$TMP/data" of=/mnt/file bs=64K oflag=direct status=none
	grep -q "^$DISK .*wbytes=[1-9]" /run/cgroup/limited/io.stat || fail "bios are not in io.stat"
	umount /mnt

	hand_over namespace0.0 nd_pmem
	limit
	is_throttled dd if=$NODE of=/dev/null bs=64K count=64 iflag=direct status=none
	grep -q "^$DISK .*rbytes=[1-9]" /run/cgroup/limited/io.stat || fail "nd_pmem is not in io.stat"
	rmdir /run/cgroup/limited
	umount /run/cgroup
}

run_tests namespace0.0 -- dd end_of_device ext4 fio parted statistics tools_of_mounted cgroup
