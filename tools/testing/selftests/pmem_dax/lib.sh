# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of this directory share: drivers and namespaces, the kernel's
# log, and the frame of a shell test. The C tests reach it through pmem_dax.h.
#
# The tests erase every namespace of the machine, so they run in a virtual one
# only, unless PMEM_DAX_TEST_ERASE=y is set.

LIB_DIR=${BASH_SOURCE[0]%/*}
LIB_DIR=$(cd "$LIB_DIR" && pwd)
DRIVERS=/sys/bus/nd/drivers
DEVICES=/sys/bus/nd/devices

# module_file: where the module is, if it was built here and is not installed.
module_file() {
	local file

	for file in "${PMEM_DAX_KO:-}" "$LIB_DIR"/../../../{,../}pmem_dax.ko; do
		if [ -e "$file" ]; then
			echo "$file"
			return
		fi
	done
}

# missing NAMESPACE...: why tests that need the namespaces cannot run; nothing
# if they can.
missing() {
	local namespace

	if [ "$(id -u)" != 0 ]; then
		echo "must be run as root"
	elif [ "${PMEM_DAX_TEST_ERASE:-}" != y ] &&
		! grep -qs QEMU /sys/class/dmi/id/sys_vendor; then
		echo "would erase all persistent memory: set PMEM_DAX_TEST_ERASE=y"
	elif [ -z "$(module_file)" ] && ! modinfo pmem_dax >/dev/null 2>&1; then
		echo "pmem_dax.ko is neither built nor installed"
	elif [ ! -d "$DEVICES" ]; then
		echo "no nd bus: no persistent memory"
	else
		for namespace; do
			if [ ! -e "$DEVICES/${namespace%%:*}" ]; then
				echo "no ${namespace%%:*}"
				return
			fi
		done
	fi
}

# load [PARAMETER...]: load the module.
load() {
	local file

	file=$(module_file)
	if [ -n "$file" ]; then
		insmod "$file" "$@"
	else
		modprobe pmem_dax "$@"
	fi
}

# unload_all: take every namespace from every driver. Fails if one of them is in
# use, or pmem_dax cannot be unloaded.
unload_all() {
	local module

	for module in pmem_dax device_dax dax_pmem nd_pmem; do
		if [ -d "/sys/module/$module" ]; then
			rmmod "$module" || return
		fi
	done
}

# settle: have the kernel free what it keeps of objects. What the first one frees is there
# for the second one some time later. What waits for RCU counts as used until a cache is
# shrunk, and so does what a CPU keeps for itself.
settle() {
	local cache

	for cache in 1 2; do
		echo 3 >/proc/sys/vm/drop_caches
		sleep 0.5
	done
	for cache in /sys/kernel/slab/*/shrink; do
		[ -L "${cache%/shrink}" ] || echo 1 >"$cache"
	done
}

# take NAMESPACE[:SETTING]...: with pmem_dax, and nobody else has any. Tells the
# nodes.
take() {
	local namespace

	unload_all && load "claim=$(IFS=, && echo "$*")" || return
	for namespace; do
		node_of "${namespace%%:*}" || return
	done
}

# have NAMESPACE: with pmem_dax, like take, but as it is if it was taken before.
have() {
	if [ "$(driver_of "$1")" = pmem_dax ]; then
		node_of "$1"
	else
		take "$1"
	fi
}

# Programs start slowly in an emulated machine, so the shell alone does what is
# asked often.

# driver_of NAMESPACE: the name of its driver, nothing if it has none.
driver_of() {
	local link

	for link in "$DRIVERS"/*/"$1"; do
		if [ -L "$link" ]; then
			link=${link%/*}
			echo "${link##*/}"
		fi
	done
}

# node_of NAMESPACE: the block device's node.
node_of() {
	local disk

	for disk in "$DEVICES/$1/block/"*; do
		[ -d "$disk" ] || return
		echo "/dev/${disk##*/}"
	done
}

# hand_over NAMESPACE DRIVER: to pmem_dax or nd_pmem, whoever has it now.
hand_over() {
	local from

	from=$(driver_of "$1")
	if [ "$from" = "$2" ]; then
		return
	fi
	if [ -n "$from" ]; then
		echo "$1" >"$DRIVERS/$from/unbind" || return
	fi
	if [ "$2" = pmem_dax ]; then
		echo "$1" >"$DRIVERS/pmem_dax/claim" || return
	else
		if [ "$from" = pmem_dax ]; then
			echo "-$1" >"$DRIVERS/pmem_dax/claim" || return
		fi
		# It takes what nobody has, so there may be nothing left to bind.
		modprobe nd_pmem || return
	fi
	if [ "$(driver_of "$1")" != "$2" ]; then
		echo "$1" >"$DRIVERS/$2/bind"
	fi
}

# wipe NAMESPACE...: of the partitions on it, which the next test would not expect.
wipe() {
	local namespace

	for namespace; do
		hand_over "$namespace" nd_pmem && wipefs -qa "$(node_of "$namespace")" || return
	done
}

# appears NAMESPACE: it is on the bus, soon.
appears() {
	local i

	for ((i = 0; i < 50; i++)); do
		[ ! -e "$DEVICES/$1" ] || return 0
		sleep 0.1
	done
	return 1
}

# node_appears NAMESPACE: it has a driver that made a disk of it, soon.
node_appears() {
	local i

	for ((i = 0; i < 50; i++)); do
		[ ! -b "$(node_of "$1")" ] || return 0
		sleep 0.1
	done
	return 1
}

# rebind_virtio: virtio-pmem devices that have no driver get theirs.
rebind_virtio() {
	local device

	for device in /sys/bus/virtio/devices/*; do
		[ -e "$device/driver" ] ||
			echo "${device##*/}" 2>/dev/null >/sys/bus/virtio/drivers/virtio_pmem/bind || true
	done
}

# renew_nfit NAMESPACE: take the namespaces of the firmware from the bus, and find
# them anew.
renew_nfit() {
	local driver=/sys/bus/platform/drivers/acpi-nfit

	unload_all && echo ACPI0012:00 >$driver/unbind || return
	[ ! -e "$DEVICES/$1" ] && echo ACPI0012:00 >$driver/bind && appears "$1"
}

# log_mark: the log from here on is what log_since tells.
log_mark() {
	LOG_MARK="selftests: pmem_dax: mark $RANDOM$RANDOM"
	echo "$LOG_MARK" >/dev/kmsg
}

# log_has PATTERN: the kernel's log has such a line, soon.
log_has() {
	local i

	for ((i = 0; i < 50; i++)); do
		! dmesg | grep -q "$1" || return 0
		sleep 0.1
	done
	return 1
}

# log_since [PATTERN]: the driver's lines in the kernel's log since log_mark. (What
# the kernel says of the first module that Debian did not build is not its.)
log_since() {
	dmesg | sed "1,/$LOG_MARK/d" | grep pmem_dax | grep -v taint | grep -e "${1:-}"
}

# The rest is for shell tests.

# fail TEXT...: end the test that runs.
fail() {
	echo "$*"
	exit 1
}

# expect WANTED GOT WHAT: WHAT must be WANTED.
expect() {
	[ "$1" = "$2" ] || fail "$3: expected '$1', got '$2'"
}

# refused COMMAND...: it must fail.
refused() {
	# shellcheck disable=SC2069 # only errors are of interest
	! "$@" 2>&1 >/dev/null || fail "not refused: $*"
}

# hold FILE: map a part of the file and keep it mapped until let_go.
hold() {
	coproc HOLDER { exec "$LIB_DIR/mapper" "$1" hold; }
	# shellcheck disable=SC2034 # it is for the caller: what the mapper said
	read -r -t 20 HELD <&"${HOLDER[0]}" || fail "$1 could not be mapped"
}

# kind TEXT: of the mapping that mapper tells of.
kind() {
	case $1 in
	"huge 4194304 cached 0") echo "large pages of the media" ;;
	# With what was read ahead.
	"huge 0 cached "[1-9][0-9][0-9][0-9]) echo "the page cache" ;;
	*) echo "$1" ;;
	esac
}

# mapped_as FILE: the kind of a mapping of it.
mapped_as() {
	kind "$("$LIB_DIR/mapper" "$1")"
}

let_go() {
	local pid=$HOLDER_PID

	eval "exec ${HOLDER[1]}>&-"
	wait "$pid" || fail "the holder of a mapping failed"
}

# run_tests NAMESPACE... -- TEST...: run the functions test_TEST, each in a shell
# of its own that ends at the first command that fails. After one that failed the
# function after_failure is called, at the end clean_up, if there is one.
run_tests() {
	local namespaces=() reason test

	while [ "$1" != -- ]; do
		namespaces+=("$1")
		shift
	done
	shift

	ktap_print_header
	reason=$(missing "${namespaces[@]}")
	if [ -n "$reason" ]; then
		ktap_skip_all "$reason"
		exit "$KSFT_SKIP"
	fi
	ktap_set_plan $#
	trap 'unload_all 2>/dev/null' EXIT
	for test; do
		(
			set -e
			"test_$test"
		) 2>&1 | sed 's/^/# /'
		if [ "${PIPESTATUS[0]}" = 0 ]; then
			ktap_test_pass "$test"
		else
			ktap_test_fail "$test"
			# The next one is not to fail because of this one.
			if declare -F after_failure >/dev/null; then
				after_failure
			fi
			if grep -qs ' /mnt ' /proc/mounts; then
				umount /mnt
			fi
		fi
	done
	if declare -F clean_up >/dev/null && ! clean_up; then
		ktap_exit_fail_msg "the test could not clean up"
	fi
	if ! unload_all; then
		ktap_exit_fail_msg "something is still in use after the tests"
	fi
	ktap_finished
}
