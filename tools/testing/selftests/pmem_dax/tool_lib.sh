# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of the tool pmem-dax share: the tool, and what it says. lib.sh comes before.

for TOOL in "$LIB_DIR"/../../../{,../}build/pmem-dax "$(command -v pmem-dax)"; do
	[ ! -x "$TOOL" ] || break
done

# both: the two drivers are there, and nd_pmem has all namespaces.
both() {
	unload_all
	modprobe nd_pmem
	load
}

# tool STATUS ARGUMENTS: it must exit so. What it said is in $SAID.
tool() {
	local wanted=$1 status=0

	shift
	SAID=$("$TOOL" "$@" 2>&1) || status=$?
	[ "$status" = "$wanted" ] || fail "pmem-dax $*: status $status instead of $wanted: $SAID"
}

# said LINE: as a whole, but for what stands before it.
said() {
	grep -qx "\(pmem-dax: \)\?$1" <<<"$SAID" || fail "it did not say '$1': $SAID"
}
