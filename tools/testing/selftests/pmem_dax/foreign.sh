#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The hook of the opens changes nothing for other block devices, nor for others
# that trace the same function.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

TRACING=/sys/kernel/tracing
MEDIA="large pages of the media"
PAGE_CACHE="the page cache"

test_virtio_disk() {
	take namespace0.0 >/dev/null
	expect "$PAGE_CACHE" "$(mapped_as /dev/vda)" "mapping of /dev/vda"
	mkfs.ext4 -q -F /dev/vda
	mount /dev/vda /mnt
	echo text >/mnt/file
	umount /mnt
	fsck.ext4 -fn /dev/vda >/dev/null
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping of /dev/pmem0"
}

test_loop() {
	local loop

	take namespace0.0 >/dev/null
	modprobe loop
	truncate -s 8M /tmp/foreign
	loop=$(losetup -f --show /tmp/foreign)
	expect "$PAGE_CACHE" "$(mapped_as "$loop")" "mapping of $loop"
	echo text >"$loop"
	expect text "$(head -n 1 "$loop")" "what was written to $loop"
	losetup -d "$loop"
	expect text "$(head -n 1 /tmp/foreign)" "what is in the file"
	rm /tmp/foreign
}

test_nd_pmem() {
	take namespace0.0 >/dev/null
	modprobe nd_pmem
	expect "$PAGE_CACHE" "$(mapped_as "$(node_of namespace2.0)")" "mapping under nd_pmem"
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping under pmem_dax"
}

# Those that were opened before the module came, and are closed after it went.
test_open_meanwhile() {
	unload_all
	hold /dev/vda
	expect "$PAGE_CACHE" "$(kind "$HELD")" "mapping of /dev/vda"
	load claim=namespace0.0
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping of /dev/pmem0"
	expect "$PAGE_CACHE" "$(mapped_as /dev/vda)" "mapping of /dev/vda"
	unload_all
	let_go
	expect "$PAGE_CACHE" "$(mapped_as /dev/vda)" "mapping of /dev/vda"
}

trace_on() {
	echo bdev_open >$TRACING/set_ftrace_filter
	echo >$TRACING/trace
	echo function >$TRACING/current_tracer
}

trace_off() {
	echo nop >$TRACING/current_tracer
	echo >$TRACING/set_ftrace_filter
}

traced() {
	grep -c "bdev_open <-" $TRACING/trace || true
}

test_traced_before() {
	local count

	unload_all
	trace_on
	load claim=namespace0.0
	count=$(traced)
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping while traced"
	# That of the mapper, and the claim of the mapping.
	expect $((count + 2)) "$(traced)" "opens in the trace"
	unload_all
	: </dev/vda
	[ "$(traced)" -gt $((count + 2)) ] || fail "unloading ended the trace"
	trace_off
}

test_traced_after() {
	take namespace0.0 >/dev/null
	trace_on
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping while traced"
	[ "$(traced)" -gt 0 ] || fail "nothing was traced"
	trace_off
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping when it is not traced any more"
}

test_kprobe() {
	take namespace0.0 >/dev/null
	echo 'p:pmem_dax_test bdev_open' >$TRACING/kprobe_events
	echo 1 >$TRACING/events/kprobes/pmem_dax_test/enable
	echo >$TRACING/trace
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping with a probe"
	grep -q pmem_dax_test: $TRACING/trace
	echo 0 >$TRACING/events/kprobes/pmem_dax_test/enable
	echo >$TRACING/kprobe_events
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping without it again"
}

# Nobody can switch the hook off: a node that maps the page cache in silence is
# the last thing that is wanted.
test_ftrace_disabled() {
	take namespace0.0 >/dev/null
	sysctl -q kernel.ftrace_enabled=0 || true
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping with ftrace disabled"
	sysctl -q kernel.ftrace_enabled=1
	expect "$MEDIA" "$(mapped_as /dev/pmem0)" "mapping with ftrace enabled"
}

if [ ! -b /dev/vda ]; then
	ktap_print_header
	ktap_skip_all "no /dev/vda"
	exit "$KSFT_SKIP"
fi
run_tests namespace0.0 namespace2.0 -- virtio_disk loop nd_pmem open_meanwhile traced_before \
	traced_after kprobe ftrace_disabled
