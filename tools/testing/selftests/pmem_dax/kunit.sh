#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The KUnit tests of kernel_ext, which run when the module is loaded, pass.
#
# For kernels with KUnit: PMEM_DAX_DEBUG in the Makefile.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

RESULTS=/sys/kernel/debug/kunit/kernel_ext/results

# passed TEST: it did.
passed() {
	sed 's/^/# /' $RESULTS
	grep -q "ok [0-9]* $1\$" $RESULTS && ! grep -q "not ok [0-9]* $1\$" $RESULTS
}

test_badblocks() {
	passed badblocks
}

test_long_ranges() {
	passed long_ranges
}

test_ratelimit() {
	passed ratelimit
}

test_minors() {
	passed minors
}

# No test is there that nobody asked for.
test_all() {
	expect "1..4" "$(grep -o '1\.\.[0-9]*$' $RESULTS | tail -n 1)" "plan"
	expect 0 "$(grep -c 'not ok' $RESULTS)" "failures"
}

unload_all && load
run_tests namespace0.0 -- badblocks long_ranges ratelimit minors all
