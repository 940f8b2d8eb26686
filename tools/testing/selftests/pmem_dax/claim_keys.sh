#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace is claimed by its UUID or the name in its label, which stay with it, as well as by
# the name of its device, which does not: it is taken whatever its device is called, and never
# another one.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=namespace_lib.sh disable=SC1091
. "$LIB_DIR/namespace_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

nowhere=0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9

# three [NAME...]: make as many raw namespaces as there are names, for their labels.
three() {
	local name

	labels 1.2
	for name; do
		create_only "raw -n $name" >/dev/null
	done
	unload_all
	region unbind
	region bind
}

# name_of LABEL: of the device.
name_of() {
	local file

	for file in "$DEVICES"/namespace1.*/alt_name; do
		[ "$(cat "$file")" != "$1" ] || basename "${file%/*}"
	done
}

# uuid_of LABEL
uuid_of() {
	cat "$DEVICES/$(name_of "$1")/uuid"
}

# claimed ENTRY...: that is what the attribute lists.
claimed() {
	expect "$*" "$(paste -s -d " " "$DRIVERS/pmem_dax/claim")" "what is claimed"
}

# destroy_first: the names that the devices of the others have move. ndctl loads nd_pmem.
destroy_first() {
	unload_all
	ndctl destroy-namespace -f "$(name_of first)" >/dev/null 2>&1
	unload_all
}

# taken_soon NAMESPACE WHAT: by the driver that was there first. The bus offers what is new when it likes.
taken_soon() {
	local i

	for ((i = 0; i < 50; i++)); do
		[ -z "$(taken)" ] || break
		sleep 0.1
	done
	expect "$1" "$(taken)" "$2"
}

# holds CLAIM LABEL: what is claimed so is the namespace with that label, under each name that its
# device has when others go, and when the driver comes before it.
holds() {
	local before

	before=$(name_of "$2")
	load "claim=$1"
	expect "$before" "$(taken)" "taken"
	destroy_first
	region unbind
	load "claim=$1"
	expect "" "$(taken)" "taken before it is there"
	region bind
	taken_soon "$(name_of "$2")" "taken when another one is gone"
	[ "$before" != "$(name_of "$2")" ] || fail "no name has moved"
	# And back.
	unload_all
	region unbind
	region bind
	load "claim=$1"
	expect "$(name_of "$2")" "$(taken)" "taken by the driver that comes last"
}

test_uuid() {
	three first second third
	holds "uuid:$(uuid_of third)" third
}

test_label() {
	three first second third
	holds name:third third
}

# The name of its device is that of another one then, which is what the log says.
test_names_move() {
	local name uuid

	three first second third
	name=$(name_of second)
	uuid=$(uuid_of second)
	log_mark
	load "claim=$name"
	expect "$name" "$(taken)" "taken"
	one_line "claimed by the name of its device, .*: uuid:$uuid stays"
	destroy_first
	region unbind
	region bind
	load "claim=$name"
	[ "$(name_of second)" != "$(taken)" ] || fail "no name has moved"
}

# A namespace that has no label has no UUID, and nothing to be told.
test_no_label() {
	unload_all
	log_mark
	load "claim=namespace0.0"
	expect namespace0.0 "$(taken)" "taken"
	expect "" "$(log_since "claimed by")" "what the log says"
}

test_settings() {
	local uuid node

	three first second
	uuid=$(uuid_of second)
	load "claim=uuid:${uuid^^}:mode=fsdax,name:first:align=2M"
	claimed "uuid:$uuid:mode=fsdax" name:first
	node=$(node_of "$(name_of second)")
	expect fsdax "$(cat "/sys/block/${node##*/}/pmem_dax/mode")" "mode of the one by UUID"
	node=$(node_of "$(name_of first)")
	expect generic "$(cat "/sys/block/${node##*/}/pmem_dax/mode")" "mode of the one by label"
}

# The UUID counts most, then the label, then the name of the device, and all least.
test_most_counts() {
	local name uuid node

	three first
	name=$(name_of first)
	uuid=$(uuid_of first)
	load
	claim all
	claim "$name:mode=fsdax"
	mode_is fsdax "$name"
	claim name:first
	mode_is generic "$name"
	claim "uuid:$uuid:mode=fsdax"
	mode_is fsdax "$name"
	claimed all "$name:mode=fsdax" name:first "uuid:$uuid:mode=fsdax"
	claim "-uuid:${uuid^^}"
	mode_is generic "$name"
	claim -name:first
	mode_is fsdax "$name"
	claim "-$name"
	mode_is generic "$name"
	claim -all
	refused bind "$name"
}

# mode_is MODE NAMESPACE: when it is bound now.
mode_is() {
	local node

	bind "$2"
	node=$(node_of "$2")
	expect "$1" "$(cat "/sys/block/${node##*/}/pmem_dax/mode")" "mode"
	echo "$2" >"$DRIVERS/pmem_dax/unbind"
}

# Nothing is claimed by what is no key, and one line says so.
test_no_keys() {
	local key

	unload_all
	load
	for key in uuid: uuid:1 "uuid:${nowhere}0" "uuid:${nowhere%?}" "uuid:${nowhere/a/g}" \
		"uuid:${nowhere//-/}" "uuid:${nowhere/-/:}" uuid:00000000-0000-0000-0000-000000000000 \
		"uuid:$nowhere:mode=none" "UUID:$nowhere" "$nowhere" name: "name:a b" "name:a,b" \
		"name:first:second" "name:$(printf '\303\244')" "name:$(printf '%064d' 0)"; do
		log_mark
		refused claim "$key"
		expect 1 "$(log_since | wc -l)" "lines in the log for '$key'"
		refused claim "-$key"
	done
	claimed
	log_mark
	refused claim "-uuid:$nowhere"
	refused claim -all
	expect "" "$(log_since)" "what the log says of what is not claimed"
	claim "name:$(printf '%063d' 0)"
	claimed "name:$(printf '%063d' 0)"
	unload_all
	log_mark
	! load "claim=uuid:$nowhere,uuid:1" 2>/dev/null || fail "loaded with what is no UUID"
	one_line "'1' is not a UUID"
}

# It may come later.
test_nowhere() {
	unload_all
	log_mark
	load "claim=uuid:$nowhere,name:nobody"
	expect "" "$(taken)" "taken"
	one_line "uuid:$nowhere: claimed, but there is no such namespace"
	one_line "name:nobody: claimed, but there is no such namespace"
}

# Who has it is told by its key, too.
test_others() {
	local uuid

	three first
	uuid=$(uuid_of first)
	modprobe nd_pmem
	log_mark
	load "claim=uuid:$uuid"
	expect "" "$(taken)" "taken"
	one_line "uuid:$uuid: claimed, but another driver has it"
}

# Of two with the same key none is taken by it. Each may be by another one.
test_twins() {
	local name uuid

	three twin other
	uuid=$(uuid_of other)
	echo twin >"$DEVICES/$(name_of other)/alt_name"
	log_mark
	load claim=name:twin
	expect "" "$(taken)" "taken"
	expect 2 "$(log_since "not taken: name:twin is another namespace's, too" | wc -l)" "lines"
	expect 2 "$(log_since | wc -l)" "lines in all"
	log_mark
	claim "uuid:$uuid"
	for name in $(name_of twin); do
		if [ "$(cat "$DEVICES/$name/uuid")" = "$uuid" ]; then
			bind "$name"
			expect pmem_dax "$(driver_of "$name")" "who has it by its UUID"
		else
			refused bind "$name"
			claim "$name"
			bind "$name"
		fi
	done
	expect "$(name_of twin | paste -s -d " ")" "$(taken)" "taken in the end"
}

# legacy_to DRIVER OVERRIDE: give that driver the region that is RAM set aside, region2.
legacy_to() {
	local device=/sys/bus/platform/devices/e820_pmem

	echo e820_pmem >"$device/driver/unbind"
	echo "$2" >"$device/driver_override"
	echo e820_pmem >"/sys/bus/platform/drivers/$1/bind"
	cat /sys/class/nd/ndctl*/device/wait_probe >/dev/null
}

# The bus keeps UUIDs apart, but there may be two: a copy of a DIMM has those of its original. Neither
# is taken until it is said which, and the other one stays what it is.
test_clones() {
	local original clone uuid

	three original
	original=$(name_of original)
	uuid=$(uuid_of original)
	modprobe ramdax
	legacy_to ramdax ramdax
	ndctl disable-region region2 2>/dev/null
	ndctl init-labels -f -V 1.2 nmem2 2>/dev/null
	ndctl enable-region region2 2>/dev/null
	clone=$(ndctl create-namespace -r region2 -s 32M -m raw -u "$uuid" |
		sed -n 's/.*"dev":"\([^"]*\)".*/\1/p')
	expect "$uuid" "$(cat "$DEVICES/$clone/uuid")" "the UUID of the copy, $clone"
	unload_all
	log_mark
	load "claim=uuid:$uuid"
	expect "" "$(taken)" "taken"
	expect 2 "$(log_since "not taken: uuid:$uuid is another namespace's, too" | wc -l)" "lines"
	refused bind "$clone"
	claim "$original"
	bind "$original"
	expect "$original" "$(taken)" "taken in the end"
	refused bind "$clone"
	# When it is alone it is the one.
	unload_all
	region unbind
	load "claim=uuid:$uuid"
	expect "$clone" "$(taken)" "taken without the original"
	unload_all
	region bind
	legacy_to e820_pmem ""
	rmmod ramdax
}

run_tests namespace1.0 -- uuid label names_move no_label settings most_counts no_keys nowhere \
	others twins clones
