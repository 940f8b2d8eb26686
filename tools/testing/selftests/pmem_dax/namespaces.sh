#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The driver takes the namespaces that it was told to take, of every kind, and no
# other; what it cannot take it refuses, and says why.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=namespace_lib.sh disable=SC1091
. "$LIB_DIR/namespace_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

ALL="namespace0.0 namespace2.0 namespace3.0"
MEDIA="huge 4194304 cached 0"

test_nothing_unasked() {
	unload_all
	log_mark
	load
	expect "" "$(taken)" "taken"
	one_line "claim=namespace"
	expect 1 "$(log_since | wc -l)" "lines in the log"
	expect "" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	refused bind namespace0.0
	modprobe nd_pmem
	expect nd_pmem "$(driver_of namespace0.0)" "driver of namespace0.0"
	expect nd_pmem "$(driver_of namespace2.0)" "driver of namespace2.0"
}

test_only_the_named() {
	take namespace2.0
	expect "namespace2.0" "$(taken)" "taken"
	take namespace0.0 namespace3.0
	expect "namespace0.0 namespace3.0" "$(taken)" "taken"
	modprobe nd_pmem
	expect "namespace0.0 namespace3.0" "$(taken)" "taken"
	expect nd_pmem "$(driver_of namespace2.0)" "driver of namespace2.0"
}

test_not_what_nd_pmem_has() {
	unload_all
	modprobe nd_pmem
	load claim=namespace0.0
	expect "" "$(taken)" "taken"
	expect nd_pmem "$(driver_of namespace0.0)" "driver of namespace0.0"
}

test_all() {
	local namespace

	unload_all
	load claim=all
	expect "all" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	for namespace in $ALL; do
		expect pmem_dax "$(driver_of "$namespace")" "driver of $namespace"
		expect "$MEDIA" "$("$LIB_DIR/mapper" "$(node_of "$namespace")")" \
			"mapping of $namespace"
	done
}

test_all_that_are_free() {
	unload_all
	modprobe nd_pmem
	echo namespace2.0 >"$DRIVERS/nd_pmem/unbind"
	load claim=all
	expect "namespace2.0" "$(taken)" "taken"
	expect nd_pmem "$(driver_of namespace0.0)" "driver of namespace0.0"
}

# The bus offers btt, pfn and dax seeds too, and makes a new one for each that is
# taken.
test_seeds() {
	local before

	unload_all
	before=$(ls "$DEVICES")
	load claim=all
	expect "$before" "$(ls "$DEVICES")" "devices on the bus"
	for name in btt0.0 pfn0.0 dax0.0 btt2.0; do
		expect "" "$(driver_of "$name")" "driver of $name"
		refused bind "$name"
	done
	expect "$before" "$(ls "$DEVICES")" "devices on the bus"
	unload_all
	expect "$before" "$(ls "$DEVICES")" "devices on the bus after unloading"
}

test_bad_names() {
	local name

	unload_all
	for name in pmem0 namespace0 -namespace0.0 namespace0.0,pmem1 "$(printf 'n\001')"; do
		log_mark
		refused load "claim=$name"
		[ ! -d /sys/module/pmem_dax ]
		one_line "is not a namespace"
		expect 1 "$(log_since | wc -l)" "lines in the log about $name"
	done
}

test_too_long() {
	unload_all
	refused load "claim=$(printf 'namespace1.%d,' $(seq 200))"
	[ ! -d /sys/module/pmem_dax ]
}

test_absent_name() {
	unload_all
	log_mark
	# Nor is there a name between two commas.
	load claim=,,namespace9.0,
	expect "" "$(taken)" "taken"
	expect namespace9.0 "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	one_line "namespace9.0"
	expect 1 "$(log_since | wc -l)" "lines in the log"
}

test_attribute() {
	local bad

	unload_all
	load
	claim namespace0.0
	claim +namespace2.0
	claim namespace7.3
	claim namespace0.0
	expect "namespace0.0 namespace2.0 namespace7.3" \
		"$(tr '\n' ' ' <"$DRIVERS/pmem_dax/claim" | sed 's/ $//')" "list of claims"
	# Adding binds nothing by itself, removing unbinds nothing.
	expect "" "$(taken)" "taken"
	bind namespace2.0
	expect "namespace2.0" "$(taken)" "taken"
	claim -namespace2.0
	claim -namespace7.3
	expect "namespace2.0" "$(taken)" "taken"
	expect "namespace0.0" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	echo namespace2.0 >"$DRIVERS/pmem_dax/unbind"
	refused bind namespace2.0
	expect "" "$(taken)" "taken"
	for bad in "" + - pmem0 namespace0 "+-namespace0.0" "namespace0.0 namespace2.0" \
		"*namespace0.0" "namespace0.0," ++namespace0.0 namespace. namespace.0 \
		namespace0.0.0 namespacea.0 namespace0.0x ALL all0 /dev/pmem0 \
		namespace123456789.0; do
		log_mark
		refused claim "$bad"
	done
	refused claim -namespace5.5
	expect "namespace0.0" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	claim -namespace0.0
	expect "" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
}

test_settings() {
	local bad

	unload_all
	log_mark
	# No aligned GiB is in it.
	load claim=namespace0.0:align=1G
	one_line "align=1G ignored"
	one_line "4 KiB and 2 MiB pages"
	expect "namespace0.0:align=1G" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
	claim namespace0.0
	claim namespace7.0:align=2M
	claim all:align=1G
	claim namespace8.0:mode=fsdax:align=2M
	claim namespace9.0:mode=generic
	expect "all:align=1G namespace0.0 namespace7.0 namespace8.0:mode=fsdax namespace9.0" \
		"$(tr '\n' ' ' <"$DRIVERS/pmem_dax/claim" | sed 's/ $//')" "list of claims"
	claim -all
	claim -namespace7.0
	claim -namespace8.0
	claim -namespace9.0
	for bad in namespace0.0:mode=fsdax:align=1G namespace0.0:mode=raw namespace0.0: namespace0.0:align=4K namespace0.0:1G :align=1G \
		namespace0.0:align=1G: namespace0.0:align=1g; do
		log_mark
		refused claim "$bad"
		expect 1 "$(log_since | wc -l)" "lines in the log about $bad"
	done
	expect "namespace0.0" "$(cat "$DRIVERS/pmem_dax/claim")" "list of claims"
}

# Nobody but root hands out devices.
test_attribute_is_roots() {
	unload_all
	load
	[ $((0$(stat -c %a "$DRIVERS/pmem_dax/claim") & 022)) = 0 ]
}

test_labelled_raw() {
	local name

	labels
	name=$(create raw)
	take "$name" >/dev/null
	expect "$name" "$(taken)" "taken"
	expect "$MEDIA" "$("$LIB_DIR/mapper" "$(node_of "$name")")" "mapping"
	expect $((32 << 20)) "$(blockdev --getsize64 "$(node_of "$name")")" "size"
	# Another one of the same region has its own memory and its own disk.
	unload_all
	second=$(create raw)
	take "$name" "$second" >/dev/null
	echo first >"$(node_of "$name")"
	echo second >"$(node_of "$second")"
	expect first "$(head -n 1 "$(node_of "$name")")" "contents of $name"
	expect "$MEDIA" "$("$LIB_DIR/mapper" "$(node_of "$second")")" "mapping of $second"
}

# The kernel adds memory in units of 2 MiB.
test_misaligned() {
	local name command

	labels
	echo $((1 << 20)) >"$DEVICES/region1/align"
	name=$(create_only raw 33M)
	unload_all
	log_mark
	load "claim=$name"
	expect "" "$(taken)" "taken"
	one_line "2 MiB boundaries"
	refused bind "$name"
	expect "" "$(grep -A 2 'Persistent Memory' /proc/iomem | grep pmem_dax)" "memory taken"
	# What the message says to do helps.
	command=$(log_since "2 MiB boundaries" | sed -n 's/.*: \(ndctl create-namespace -f [^;]*\).*/\1/p' | head -n 1)
	expect "ndctl create-namespace -f -e $name -m raw -s 32M" "$command" "what to do"
	unload_all
	eval "$command" >/dev/null
	take "$name" >/dev/null
	expect "$name" "$(taken)" "taken"
	expect $((32 << 20)) "$(blockdev --getsize64 "$(node_of "$name")")" "size"
}

# An info block says that the namespace is used in another way.
info_block() {
	local mode=$1 name

	labels
	name=$(create "$mode")
	expect raw "$(cat "$DEVICES/$name/mode")" "what the bus knows of $name"
	log_mark
	load "claim=$name"
	expect "" "$(taken)" "taken"
	one_line "$mode"
	expect 1 "$(log_since | wc -l)" "lines in the log"
	log_mark
	refused bind "$name"
	one_line "$mode"
	# It is still what it was.
	unload_all
	modprobe -a nd_pmem dax_pmem
	[ "$(cat "$DEVICES/$name/holder")" ] || fail "$mode mode is lost"
}

test_sector_mode() {
	info_block sector
}

# as_nd_pmem NAMESPACE SETTING: what nd_pmem shows as a disk, the driver does too,
# neither the info block nor the struct pages that are on the media.
as_nd_pmem() {
	local pfn node size

	modprobe nd_pmem
	node=$(node_of "$(pfn_of "$1" nd_pmem)")
	size=$(blockdev --getsize64 "$node")
	dd if=/dev/urandom of=/tmp/data bs=1M count=8 status=none
	dd if=/tmp/data of="$node" bs=1M count=8 conv=fsync status=none
	unload_all
	log_mark
	load "claim=$1$2"
	pfn=$(pfn_of "$1" pmem_dax)
	node=$(node_of "$pfn")
	one_line "$pfn: $node"
	expect "$size" "$(blockdev --getsize64 "$node")" "size"
	cmp -n $((8 << 20)) "$node" /tmp/data
	expect "$MEDIA" "$("$LIB_DIR/mapper" "$node")" "mapping"
	echo ours | dd of="$node" bs=1M seek=7 conv=fsync status=none
	echo "$pfn" >"$DRIVERS/pmem_dax/unbind"
	echo "$pfn" >"$DRIVERS/pmem_dax/bind"
	expect ours "$(dd if="$node" bs=1M skip=7 status=none | head -n 1)" "contents after binding it again"
	if [ "$2" = :mode=fsdax ]; then
		mkfs.ext4 -q -F -b 4096 "$node" 2>/dev/null
		mount -o dax=always "$node" /mnt
		umount /mnt
	fi
	unload_all
	modprobe nd_pmem
	node=$(node_of "$(pfn_of "$1" nd_pmem)")
	expect "$size" "$(blockdev --getsize64 "$node")" "size that nd_pmem sees"
	unload_all
}

# fsdax MAP: of a namespace whose struct pages are there.
fsdax() {
	local name

	labels
	name=$(create "fsdax -M $1" 48M)
	expect raw "$(cat "$DEVICES/$name/mode")" "what the bus knows of $name"
	as_nd_pmem "$name" ""
	as_nd_pmem "$name" :mode=fsdax
}

test_fsdax_mem() {
	fsdax mem
}

test_fsdax_dev() {
	fsdax dev
}

# With 4 KiB alignment there may be no room for large folios where they are expected.
test_fsdax_misaligned() {
	local name

	labels
	name=$(create "fsdax -M mem -a 4K" 48M)
	load "claim=$name"
	# Its data start at a multiple of 2 MiB though.
	pfn_of "$name" pmem_dax >/dev/null
}

test_devdax_mode() {
	info_block devdax
}

# One without labels keeps it at the same place.
test_fsdax_without_labels() {
	unload_all
	ndctl create-namespace -f -e namespace2.0 -m fsdax >/dev/null
	unload_all
	echo region2 >"$DRIVERS/nd_region/unbind"
	echo region2 >"$DRIVERS/nd_region/bind"
	as_nd_pmem namespace2.0 ""
	ndctl create-namespace -f -e namespace2.0 -m raw >/dev/null
	take namespace2.0 >/dev/null
	expect "namespace2.0" "$(taken)" "taken"
}

# What a guest that had a namespace did with it is not what the host did: an info block
# that was made for another namespace counts as little as it does for nd_pmem.
test_foreign_info_block() {
	local mode name other

	for mode in sector fsdax devdax; do
		labels
		name=$(create raw)
		# There is a seed for another one when this one has a driver.
		take "$name" >/dev/null
		unload_all
		other=$(create "$mode")
		echo 1 >"$DEVICES/$other/force_raw"
		modprobe nd_pmem
		dd if="$(node_of "$other")" of="$(node_of "$name")" bs=8K count=1 oflag=direct status=none
		unload_all
		region unbind
		region bind
		take "$name" >/dev/null
		expect "$name" "$(taken)" "taken, with a block of $mode mode"
		expect $((32 << 20)) "$(blockdev --getsize64 "$(node_of "$name")")" "size"
		tr -d '\0' <"$(node_of "$name")" | head -c 8K | grep -aq INFO || fail "no block was there"
	done
}

# While another personality has the namespace, it is not ours.
test_used_by_a_personality() {
	local name

	labels
	name=$(create_only fsdax)
	load "claim=$name"
	expect "" "$(taken)" "taken"
	log_mark
	refused bind "$name"
	one_line "it is used as $(cat "$DEVICES/$name/holder")"
}

# A namespace that was never given a size.
test_seed_namespace() {
	labels
	load claim=namespace1.0
	expect "" "$(taken)" "taken"
	refused bind namespace1.0
}

# shellcheck disable=SC2086 # a list
run_tests $ALL namespace1.0 -- nothing_unasked only_the_named not_what_nd_pmem_has all \
	all_that_are_free seeds bad_names too_long absent_name attribute settings attribute_is_roots \
	labelled_raw misaligned sector_mode devdax_mode fsdax_mem fsdax_dev fsdax_misaligned \
	fsdax_without_labels foreign_info_block used_by_a_personality seed_namespace
