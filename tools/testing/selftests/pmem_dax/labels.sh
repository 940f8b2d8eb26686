#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace whose label says what mode it is in is in that mode or in none: if its info
# block was lost, its data would be elsewhere in raw mode.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=namespace_lib.sh disable=SC1091
. "$LIB_DIR/namespace_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# change_block NAMESPACE COMMAND...: what the command writes becomes the first 8 KiB of the namespace.
# It has those that were there as its input.
change_block() {
	local name=$1 node

	shift
	echo 1 >"$DEVICES/$name/force_raw"
	modprobe nd_pmem
	node=$(node_of "$name")
	dd if="$node" of=/tmp/block bs=8K count=1 iflag=direct status=none
	"$@" </tmp/block >/tmp/changed
	dd if=/tmp/changed of="$node" bs=8K count=1 oflag=direct status=none
	unload_all
	echo 0 >"$DEVICES/$name/force_raw"
}

# without_block, with_a_bit_flipped: filters for change_block.
without_block() {
	head -c 8K /dev/zero
}

# It is in what the checksum covers, beside the signature at the start of the block.
with_a_bit_flipped() {
	local offset=$((0x10c0))

	[ "$(head -c 1 /tmp/block | tr -d "\0")" != B ] || offset=$((0xc0))
	head -c "$offset"
	printf '\377'
	tail -c +$((offset + 2)) /tmp/block
}

# lost MODE CLASS: a label says what mode a namespace is in, but its info block does not any more.
lost() {
	local change name

	labels 1.2
	name=$(create "$1" 48M)
	expect "$2" "$(cat "$DEVICES/$name/holder_class")" "what the label says"
	for change in with_a_bit_flipped without_block; do
		change_block "$name" "$change"
		log_mark
		load "claim=$name"
		expect "" "$(taken)" "taken, $change"
		one_line "its label says ${1%% *} mode, but its info block is lost"
		expect 1 "$(log_since | wc -l)" "lines in the log"
		log_mark
		refused bind "$name"
		one_line "its label says"
		# Nothing was done to it.
		unload_all
		mv /tmp/changed /tmp/before
		change_block "$name" cat
		cmp /tmp/block /tmp/before
	done
	# To save what is on it, it may be looked at raw.
	load
	claim "$name"
	echo 1 >"$DEVICES/$name/force_raw"
	bind "$name"
	expect $((48 << 20)) "$(blockdev --getsize64 "$(node_of "$name")")" "size"
	unload_all
	# What the message says to do helps, and lasts.
	ndctl create-namespace -f -e "$name" -m raw >/dev/null
	unload_all
	region unbind
	region bind
	take "$name" >/dev/null
	expect "$name" "$(taken)" "taken when it is raw"
}

test_lost_fsdax() {
	lost "fsdax -M mem" pfn
}

test_lost_devdax() {
	lost devdax dax
}

# BTT of version 2, at the very start.
test_lost_sector() {
	lost sector btt
}

# It is another one than the label says.
test_block_of_another_mode() {
	local name

	labels 1.2
	name=$(create "fsdax -M mem" 48M)
	echo dax >"$DEVICES/$name/holder_class"
	log_mark
	load "claim=$name"
	expect "" "$(taken)" "taken"
	one_line "its label says devdax mode, but its info block is lost"
}

# machine_check ADDRESS: the hardware finds 512 bytes bad. The bus forgets it when the firmware's
# driver goes.
machine_check() {
	local inject=/sys/kernel/debug/mce-inject

	modprobe mce-inject
	echo sw >$inject/flags
	echo 0 >$inject/cpu
	echo 0xac00000000080080 >$inject/status
	echo "$1" >$inject/addr
	echo 0x89 >$inject/misc
	echo 4 >$inject/bank
}

# The last test: it has bad memory from here on.
test_block_in_bad_memory() {
	local i name

	labels 1.2
	name=$(create "fsdax -M mem" 48M)
	machine_check $(($(cat "$DEVICES/$name/resource") + 0x1200))
	for ((i = 0; i < 50; i++)); do
		[ -z "$(cat "$DEVICES/region1/badblocks")" ] || break
		sleep 0.1
	done
	log_mark
	load "claim=$name"
	expect "" "$(taken)" "taken"
	one_line "its label says fsdax mode, but its info block is in bad memory"
	expect 1 "$(log_since | wc -l)" "lines in the log"
}

# With labels that can say it, each mode is what it is without.
test_modes() {
	local name

	labels 1.2
	name=$(create raw)
	take "$name" >/dev/null
	expect "$name" "$(taken)" "taken"
	labels 1.2
	name=$(create "fsdax -M mem" 48M)
	load "claim=$name"
	pfn_of "$name" pmem_dax >/dev/null
	labels 1.2
	name=$(create sector)
	log_mark
	load "claim=$name"
	expect "" "$(taken)" "taken"
	one_line "it is in sector mode"
	# What is raw now takes no notice of what it was.
	unload_all
	ndctl create-namespace -f -e "$name" -m raw >/dev/null
	take "$name" >/dev/null
	expect "$name" "$(taken)" "taken"
}

run_tests namespace1.0 -- modes lost_fsdax lost_devdax lost_sector block_of_another_mode \
	block_in_bad_memory
