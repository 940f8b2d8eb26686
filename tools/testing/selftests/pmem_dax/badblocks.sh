#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What the list of bad blocks names is not touched: not a sector more, nor less.
# Writing it makes it good again where the hardware can, and fails where it
# cannot.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# The legacy kind of memory believes that whatever is written becomes good.
HEALING=namespace2.0
# The firmware of this one has no such command.
STUBBORN=namespace0.0
# In the middle of a page, which is in the middle of a large page.
BAD=6147
COUNT=3

TMP=$(mktemp -d)

# setup NAMESPACE: it is bound, known data is in its first 4 MiB, and three of
# its sectors are bad.
setup() {
	NODE=$(have "$1")
	LIST=/sys/block/${NODE#/dev/}/badblocks
	[ -e "$TMP/data" ] || dd if=/dev/urandom of="$TMP/data" bs=1M count=4 status=none
	dd if="$TMP/data" of="$NODE" bs=1M oflag=direct status=none
	expect "" "$(cat "$LIST")" "bad blocks at first"
	echo "$BAD $COUNT" >"$LIST"
	expect "$BAD $COUNT" "$(cat "$LIST")" "bad blocks"
}

# data SECTOR COUNT: what is to be there.
data() {
	dd if="$TMP/data" bs=512 skip="$1" count="$2" status=none
}

# eio COMMAND...: it fails with that error.
eio() {
	local said

	if said=$("$@" 2>&1 >/dev/null); then
		fail "not refused: $*"
	fi
	[[ $said == *"Input/output error"* ]] || fail "wanted EIO: $*: $said"
}

# exactly_the_bad FLAGS: reads of single sectors.
exactly_the_bad() {
	local sector

	for sector in $((BAD - 1)) $((BAD + COUNT)); do
		dd if="$NODE" bs=512 skip="$sector" count=1 iflag="$1" status=none |
			cmp - <(data "$sector" 1)
	done
	for sector in $BAD $((BAD + COUNT - 1)); do
		eio dd if="$NODE" bs=512 skip="$sector" count=1 iflag="$1" status=none
	done
}

test_read() {
	setup $HEALING
	exactly_the_bad fullblock
	eio dd if="$NODE" bs=1 skip=$((BAD * 512 + 511)) count=1 status=none
	# A read that begins before gets what is good.
	dd if="$NODE" bs=4096 skip=$((BAD / 8)) count=1 status=none >"$TMP/read"
	cmp "$TMP/read" <(data $((BAD & ~7)) $((BAD & 7)))
}

test_direct_read() {
	setup $HEALING
	exactly_the_bad direct
}

# touch_page SECTOR: read it through a mapping.
touch_page() {
	python3 -I -S -c '
import mmap, os, sys
m = mmap.mmap(os.open(sys.argv[1], os.O_RDWR), 4 << 20)
at = int(sys.argv[2]) * 512
sys.stdout.buffer.write(m[at:at + 512])' "$NODE" "$1"
}

# sigbus SECTOR: it cannot.
sigbus() {
	local status=0

	(touch_page "$1") >/dev/null 2>&1 || status=$?
	expect $((128 + 7)) $status "status after touching sector $1"
}

test_mapping() {
	local page=$((BAD & ~7))

	setup $HEALING
	touch_page $((page - 1)) | cmp - <(data $((page - 1)) 1)
	touch_page $((page + 8)) | cmp - <(data $((page + 8)) 1)
	sigbus $BAD
	# A page is the least that can be kept from being touched.
	sigbus $page
}

# Without the list, large pages are what is mapped.
test_large_page_again() {
	setup $HEALING
	touch_page 0 >/dev/null
	dd if="$TMP/data" of="$NODE" bs=1M oflag=direct status=none
	expect "" "$(cat "$LIST")" "bad blocks after all was written"
	expect "huge 4194304 cached 0" "$("$LIB_DIR/mapper" "$NODE")" "mapping"
}

# heals FLAGS: the list gets shorter by what is written.
heals() {
	setup $HEALING
	dd if=/dev/zero of="$NODE" bs=512 seek=$BAD count=1 oflag="$1" conv=notrunc status=none
	expect "$((BAD + 1)) $((COUNT - 1))" "$(cat "$LIST")" "bad blocks after one was written"
	sigbus $BAD
	data $BAD $COUNT |
		dd of="$NODE" bs=1536 seek=$((BAD / 3)) oflag="$1" iflag=fullblock \
			conv=notrunc status=none
	expect "" "$(cat "$LIST")" "bad blocks after all were written"
	dd if="$NODE" bs=1M iflag=direct status=none count=4 | cmp - "$TMP/data"
	touch_page $BAD | cmp - <(data $BAD 1)
}

test_write_heals() {
	heals sync
}

test_direct_write_heals() {
	heals direct
}

# The rest of a sector that is written in part is lost, and must not look good.
test_partial_write() {
	setup $HEALING
	eio sh -c "printf x | dd of=$NODE bs=1 seek=$((BAD * 512 + 100)) conv=notrunc status=none"
	expect "$BAD $COUNT" "$(cat "$LIST")" "bad blocks"
	exactly_the_bad direct
}

test_stubborn_hardware() {
	setup $STUBBORN
	eio dd if=/dev/zero of="$NODE" bs=512 seek=$BAD count=1 conv=notrunc status=none
	eio dd if=/dev/zero of="$NODE" bs=512 seek=$BAD count=1 oflag=direct conv=notrunc status=none
	expect "$BAD $COUNT" "$(cat "$LIST")" "bad blocks"
	exactly_the_bad direct
	sigbus $BAD
	# What is good can be written.
	data $((BAD - 1)) 1 |
		dd of="$NODE" bs=512 seek=$((BAD - 1)) oflag=direct conv=notrunc status=none
	# Nor can two pages, nor what is good beside them.
	echo "$((BAD + 8)) 1" >"$LIST"
	eio dd if=/dev/zero of="$NODE" bs=8192 seek=$((BAD / 16)) count=1 oflag=direct conv=notrunc \
		status=none
	dd if="$NODE" bs=512 skip=$((BAD / 16 * 16)) count=3 iflag=direct status=none |
		cmp - <(data $((BAD / 16 * 16)) 3)
}

# The list is of the disk; a partition begins elsewhere.
test_partition() {
	setup $HEALING
	dd if=/dev/zero of="$NODE" bs=1M count=4 oflag=direct status=none
	echo "4096,16384" | sfdisk -q --label dos "$NODE" 2>/dev/null
	NODE=${NODE}p1
	[ -b "$NODE" ]
	echo "$((4096 + 1025)) 2" >"$LIST"
	expect "1025 2" "$(awk '{ print $1 - 4096, $2 }' "$LIST")" "bad blocks"
	dd if="$NODE" bs=512 skip=1024 count=1 status=none >/dev/null
	eio dd if="$NODE" bs=512 skip=1025 count=1 status=none
	eio dd if="$NODE" bs=512 skip=1026 count=1 iflag=direct status=none
	dd if="$NODE" bs=512 skip=1027 count=1 status=none >/dev/null
	touch_page 1023 >/dev/null
	sigbus 1024
	dd if=/dev/zero of="$NODE" bs=512 seek=1025 count=2 oflag=direct status=none
	expect "" "$(cat "$LIST")" "bad blocks after they were written"
	touch_page 1024 >/dev/null
	wipefs -q -a "${NODE%p1}"
}

# A file system gets an error for the file that it hits, and for no other.
test_file_system() {
	local block

	setup $HEALING
	dd if="$TMP/data" of="$NODE" bs=1M oflag=direct status=none
	mkfs.ext4 -q -F -b 4096 "$NODE"
	mount "$NODE" /mnt
	cp "$TMP/data" /mnt/good
	cp "$TMP/data" /mnt/hit
	umount /mnt
	block=$(debugfs -R "blocks /hit" "$NODE" 2>/dev/null | awk '{ print $1 }')
	echo "$((block * 8 + 5)) 1" >"$LIST"
	mount -o ro "$NODE" /mnt
	cmp /mnt/good "$TMP/data"
	eio cat /mnt/hit
	umount /mnt
	fsck.ext4 -fn "$NODE" >/dev/null 2>&1
}

# write_hit WHERE COUNT [BYTES]: so many blocks of so many bytes of the file, without page cache.
write_hit() {
	dd if="$TMP/data" of=/mnt/hit bs="${3:-4096}" skip="$1" seek="$1" count="$2" conv=notrunc \
		status=none
}

# A file of a file system that is mounted with -o dax is written past the bad sector, not into it,
# and over it, which makes it good again.
test_dax_file() {
	local block

	NODE=$(take $HEALING:mode=fsdax)
	LIST=/sys/block/${NODE#/dev/}/badblocks
	dd if=/dev/urandom of="$TMP/data" bs=1M count=4 status=none
	mkfs.ext4 -q -F -b 4096 "$NODE"
	mount -o dax=always "$NODE" /mnt
	cp "$TMP/data" /mnt/hit
	umount /mnt
	block=$(debugfs -R "blocks /hit" "$NODE" 2>/dev/null | awk '{ print $3 }')
	echo "$((block * 8 + 5)) 1" >"$LIST"
	mount -o dax=always "$NODE" /mnt
	eio cat /mnt/hit
	# The page before it, and the start of its own.
	write_hit 1 1
	write_hit 16 1 512
	refused write_hit 108 1 100
	expect "$((block * 8 + 5)) 1" "$(cat "$LIST")" "bad blocks"
	eio cat /mnt/hit
	write_hit 0 1 16384
	expect "" "$(cat "$LIST")" "bad blocks after they were written"
	cmp /mnt/hit "$TMP/data"
	umount /mnt
	take $HEALING >/dev/null
}

trap 'rm -rf "$TMP"' EXIT
run_tests $HEALING $STUBBORN -- read direct_read mapping large_page_again write_heals \
	direct_write_heals partial_write stubborn_hardware partition file_system dax_file
