#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# While an unbind waits for a page that is pinned, the log and pmem-dax say so, and pmem-dax
# does not wait, too, though who reads the attributes of the namespace does.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

for TOOL in "$LIB_DIR"/../../../{,../}build/pmem-dax "$(command -v pmem-dax)"; do
	[ ! -x "$TOOL" ] || break
done

# pin FILE: a page of it, as a registered buffer of an io_uring, until let_go. The file is closed.
pin() {
	coproc HOLDER { exec python3 -I -S -c '
import ctypes, mmap, os, sys
call = ctypes.CDLL(None).syscall
fd = os.open(sys.argv[1], os.O_RDWR)
m = mmap.mmap(fd, 4096, trackfd=False)
os.close(fd)
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
ring = call(425, 1, ctypes.create_string_buffer(120))
print(call(427, ring, 0, (ctypes.c_size_t * 2)(address, 4096), 1), flush=True)
sys.stdin.read()' "$1"; }
	read -r -t 60 HELD <&"${HOLDER[0]}" || fail "$1 could not be mapped"
	expect 0 "$HELD" "what io_uring_register says"
}

# tool ARGUMENTS: it must refuse, soon. What it said is in $SAID. (Not through a pipe, which
# those that it left behind would keep.)
tool() {
	local status=0

	timeout 5 "$TOOL" "$@" >/tmp/said 2>&1 || status=$?
	SAID=$(</tmp/said)
	expect 3 "$status" "status of pmem-dax $*, which said: $SAID"
	grep -qx "pmem-dax: $NAMESPACE is being unbound: dmesg says what it waits for" <<<"$SAID" ||
		fail "pmem-dax $* did not say so: $SAID"
}

# waits NAMESPACE DEVICE: of which that device of the bus is bound.
waits() {
	local NAMESPACE=$1 unbind

	log_mark
	pin "$(node_of "$2")"
	echo "$2" >"$DRIVERS/pmem_dax/unbind" &
	unbind=$!
	log_has "waiting for page .*; until then ndctl and readers of its attributes wait, too"
	tool list
	grep -q "^$1 .* ? *? *? *?\$" <<<"$SAID" || fail "it lists: $SAID"
	grep -q "^namespace0.0 *raw *512M *- *- *no *-\$" <<<"$SAID" || fail "it lists: $SAID"
	tool status "$1"
	tool check "$1"
	tool attach "$1"
	tool detach "$1"
	# Another one can be moved meanwhile.
	timeout 5 "$TOOL" attach namespace0.0 >/tmp/said || fail "namespace0.0 could not be moved"
	expect "pmem-dax: namespace0.0 is /dev/pmem0 of pmem_dax now" "$(</tmp/said)" "what it said"
	echo namespace0.0 >"$DRIVERS/pmem_dax/unbind"
	echo -namespace0.0 >"$DRIVERS/pmem_dax/claim"
	let_go
	wait $unbind
	timeout 30 "$TOOL" status "$1" | grep -x "driver:  *none"
}

test_raw() {
	take namespace2.0 >/dev/null
	waits namespace2.0 namespace2.0
}

# The bus has another device for it, which is the one that is locked.
test_fsdax() {
	local pfn

	unload_all
	ndctl create-namespace -f -e namespace2.0 -m fsdax >/dev/null
	unload_all
	load claim=namespace2.0
	pfn=$(<"$DEVICES/namespace2.0/holder")
	[[ $pfn = pfn* ]] || fail "it is used as $pfn"
	waits namespace2.0 "$pfn"
	unload_all
	ndctl create-namespace -f -e namespace2.0 -m raw >/dev/null
}

run_tests namespace0.0 namespace2.0 -- raw fsdax
