#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The module can be unloaded when nothing is open or mapped, and not before; and
# then nothing of it is left.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# not_unloadable: rmmod says that the module is in use.
not_unloadable() {
	local message

	if message=$(LC_ALL=C rmmod pmem_dax 2>&1); then
		fail "unloaded although it is in use"
	fi
	[[ $message == *"in use"* ]] || fail "rmmod said: $message"
}

test_mapped() {
	take namespace0.0 >/dev/null
	hold /dev/pmem0
	not_unloadable
	# It goes on as if nothing was.
	hold_again=$("$LIB_DIR/mapper" /dev/pmem0)
	expect "$HELD" "$hold_again" "second mapping"
	let_go
	rmmod pmem_dax
}

# The file is closed: the mapping alone has it.
test_only_mapped() {
	take namespace0.0 >/dev/null
	coproc HOLDER { exec python3 -I -S -c '
import mmap, os, sys
fd = os.open("/dev/pmem0", os.O_RDWR)
m = mmap.mmap(fd, 4 << 20, trackfd=False)
os.close(fd)
m[0:4] = b"here"
names = []
for fd in os.listdir("/proc/self/fd"):
    try:
        names.append(os.readlink("/proc/self/fd/" + fd))
    except FileNotFoundError:
        pass
print(names.count("/dev/pmem0"), flush=True)
sys.stdin.read()'; }
	read -r -t 20 HELD <&"${HOLDER[0]}" || fail "it could not be mapped"
	expect 0 "$HELD" "open files"
	not_unloadable
	let_go
	rmmod pmem_dax
}

test_open() {
	take namespace0.0 >/dev/null
	exec 7</dev/pmem0
	not_unloadable
	exec 7<&-
	rmmod pmem_dax
}

test_mounted() {
	take namespace0.0 >/dev/null
	mkfs.ext4 -q -F /dev/pmem0 64M
	mount /dev/pmem0 /mnt
	not_unloadable
	umount /mnt
	rmmod pmem_dax
}

# Of what failed nothing may be left either.
test_failed_load() {
	unload_all
	refused load claim=nonsense
	[ ! -d /sys/module/pmem_dax ]
	take namespace0.0 >/dev/null
	rmmod pmem_dax
}

traces() {
	ls -d /sys/module/pmem_dax "$DRIVERS/pmem_dax" /sys/block/pmem* /dev/pmem* 2>/dev/null
	grep -w pmem_dax /proc/devices /proc/modules /proc/filesystems || true
	grep -w bdev_open /sys/kernel/tracing/enabled_functions || true
	# The memory of the namespace is nobody's.
	grep -A 2 'Persistent Memory' /proc/iomem | grep pmem_dax || true
}

test_no_trace() {
	take namespace0.0 namespace2.0 >/dev/null
	"$LIB_DIR/mapper" /dev/pmem0 >/dev/null
	[ "$(traces | wc -l)" -gt 5 ] || fail "the test does not see what there is: $(traces)"
	rmmod pmem_dax
	expect "" "$(traces)" "what is left"
}

# use: what a user does between two loads.
use() {
	take namespace0.0 >/dev/null
	"$LIB_DIR/mapper" /dev/pmem0 >/dev/null
	dd if=/dev/zero of=/dev/pmem0 bs=5000 count=20 status=none
	rmmod pmem_dax
}

# objects: the kernel's objects of the kinds that the driver makes or causes.
objects() {
	settle
	sed -n 's/^\(pmem_dax[^ ]*\|bdev_cache\|dax_cache\|filp\|inode_cache\|dentry\|vm_area_struct\|kmalloc-[^ ]*\) *\([0-9]*\) .*/\1 \2/p' \
		/proc/slabinfo
}

nr_mapped() {
	sed -n 's/^nr_mapped //p' /proc/vmstat
}

CYCLES=10
NUMA_BALANCING=/proc/sys/kernel/numa_balancing

# leaks BEFORE AFTER: the kinds of which there are more now. The rest of the
# kernel frees some too.
leaks() {
	join <(sort <<<"$1") <(sort <<<"$2") |
		awk -v cycles="$CYCLES" '$3 - $2 >= 0.7 * cycles { print $1 }'
}

# cycles: use the module CYCLES times, and print what there is less of then.
cycles() {
	local before free mapped

	before=$(objects)
	free=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
	mapped=$(nr_mapped)
	for _ in $(seq $CYCLES); do
		use || return
	done
	leaks "$before" "$(objects)"
	# One cycle maps 4 MiB, and has some 8 MiB of page structures.
	free=$((free - $(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)))
	[ $free -lt 16384 ] || echo memory
	mapped=$(($(nr_mapped) - mapped))
	[ $mapped -lt 1024 ] || echo nr_mapped
}

test_cycles() {
	local lost

	unload_all
	# It makes objects for the memory areas of who lives long, sooner or later.
	balancing=$(<$NUMA_BALANCING)
	trap 'echo "$balancing" >$NUMA_BALANCING' EXIT
	echo 0 >$NUMA_BALANCING
	# The first ones fill caches that stay.
	for _ in 1 2 3 4 5; do
		use
	done
	# The rest of the kernel is alive too, and a CPU may take 60 objects for
	# itself at once: what leaks does so every time.
	lost=$(cycles) || fail "not used"
	for _ in 1 2; do
		[ -n "$lost" ] || return 0
		lost=$(grep -Fxf <(cycles) <<<"$lost") || true
	done
	expect "" "$lost" "what is lost in $CYCLES cycles, thrice"
}

run_tests namespace0.0 namespace2.0 -- mapped only_mapped open mounted failed_load no_trace cycles
