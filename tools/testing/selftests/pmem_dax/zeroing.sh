#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Ranges that the kernel is asked to zero, rather than given zeros for, are zero
# for all who look; what it cannot do without writing, it refuses, as under
# nd_pmem.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

TMP=$(mktemp -d)
START=$((2 << 20))
LEN=$(((2 << 20) + 8192))

# setup: no byte of the first 8 MiB is zero, and sectors differ.
setup() {
	NODE=$(have namespace0.0)
	[ -e "$TMP/data" ] ||
		yes 0123456789abcdefghijklmnopqrstuvwxyz | head -c 8M >"$TMP/data"
	dd if="$TMP/data" of="$NODE" bs=1M status=none
	head -c $((START)) "$TMP/data" >"$TMP/wanted"
	head -c $((LEN)) /dev/zero >>"$TMP/wanted"
	tail -c +$((START + LEN + 1)) "$TMP/data" >>"$TMP/wanted"
}

# as_wanted: through the media, and through the page cache of a holder.
as_wanted() {
	head -c 8M "$NODE" | cmp - "$TMP/wanted"
	dd if="$NODE" bs=1M count=8 iflag=direct status=none | cmp - "$TMP/wanted"
}

test_blkzeroout() {
	setup
	blkdiscard --zeroout --offset $START --length $LEN "$NODE"
	as_wanted
}

test_fallocate_zero_range() {
	setup
	fallocate --zero-range --keep-size --offset $START --length $LEN "$NODE"
	as_wanted
}

test_mapped() {
	setup
	hold "$NODE"
	fallocate --zero-range --keep-size --offset $START --length $LEN "$NODE"
	as_wanted
	let_go
	as_wanted
}

# What is not whole sectors, or is not on the disk, is refused.
test_unaligned() {
	setup
	refused blkdiscard --zeroout --offset $((START + 1)) --length $LEN "$NODE"
	refused fallocate --zero-range --keep-size --offset $START --length $((LEN - 1)) "$NODE"
	refused fallocate --zero-range --keep-size --offset $((1 << 40)) --length 4096 "$NODE"
	head -c 8M "$NODE" | cmp - "$TMP/data"
}

test_partition() {
	setup
	echo "4096,8192" | sfdisk -q --label dos "$NODE"
	[ -b "${NODE}p1" ]
	dd if="$TMP/data" of="$NODE" bs=1M seek=1 skip=1 status=none
	blkdiscard --zeroout --offset 0 --length $LEN "${NODE}p1"
	head -c 8M "$NODE" | tail -c +$(((1 << 20) + 1)) |
		cmp - <(tail -c +$(((1 << 20) + 1)) "$TMP/wanted")
	refused fallocate --zero-range --keep-size --offset $((4 << 20)) --length 512 "${NODE}p1"
	wipefs -q -a "$NODE"
}

# discards: what it says of those; the contents are not to change.
discards() {
	blkdiscard --offset $START --length $LEN "$NODE" 2>&1 || true
	fallocate --punch-hole --offset $START --length $LEN "$NODE" 2>&1 || true
}

test_discard() {
	local ours

	setup
	ours=$(discards)
	head -c 8M "$NODE" | cmp - "$TMP/data"
	hand_over namespace0.0 nd_pmem
	expect "$(discards)" "$ours" "answers"
	expect 2 "$(wc -l <<<"$ours")" "refusals: $ours; number"
}

trap 'rm -rf "$TMP"' EXIT
run_tests namespace0.0 -- blkzeroout fallocate_zero_range mapped unaligned partition discard
