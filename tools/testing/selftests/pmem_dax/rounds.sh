#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A namespace that is bound and unbound under load leaves nothing behind, each time:
# neither an object nor a page, nor a reference of the module. Nor does a mapping.
#
# PMEM_DAX_ROUNDS of them are made, 100 if not said, and a hundred times as many mappings.
# With fewer, what a CPU keeps of objects for itself, up to 60 of a kind, looks like a
# leak.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NAMESPACE=namespace2.0
ROUNDS=${PMEM_DAX_ROUNDS:-100}

# unaccounted: the pages that were allocated and that the kernel has no count for:
# neither of slabs nor of page tables, files, processes, vmalloc or CPUs. Pages that a CPU
# has for itself are not free, but not allocated either; before memory is compacted, it
# gives those back that it has put aside to sort them in later.
unaccounted() {
	echo 1 >/proc/sys/vm/compact_memory
	awk '$1 == "MemTotal:" { kb += $2 }
		/^(MemFree|Buffers|Cached|SwapCached|AnonPages|Slab|KernelStack|PageTables):/ ||
		/^(SecPageTables|Percpu|VmallocUsed):/ { kb -= $2 }
		$1 == "count:" { kb -= 4 * $2 }
		END { print kb / 4 }' /proc/meminfo /proc/zoneinfo
}

# counts: all that may grow, one a line. Objects in use of each cache. Ranges of the
# kernel's addresses are given back some time, or when a module is loaded (mm/vmalloc.c:
# vm_unmap_aliases). A debug kernel keeps a record of each "struct slab" that was ever freed by
# RCU, so to shrink a cache makes more of those (lib/debugobjects.c; mm/slub.c: free_slab).
counts() {
	modprobe loop
	rmmod loop
	settle
	awk 'NR > 2 && $1 != "debug_objects_cache" { print $1, $2 }' /proc/slabinfo
	awk '$1 ~ /^(nr_mapped|nr_file_pages|nr_page_table_pages|nr_memmap_pages|nr_memmap_boot_pages)$/' \
		/proc/vmstat
	awk '$1 ~ /^(VmallocUsed|Percpu):/ { print $1, $2 / 4 }' /proc/meminfo
	echo "unaccounted $(unaccounted)"
	echo "references $(cat /sys/module/pmem_dax/refcnt)"
}

# round_trips: as many, while others use the device.
round_trips() {
	local i references used=0 users=()

	for i in "" hold hold; do
		"$LIB_DIR/churn" "$NODE" $i &
		users+=($!)
	done
	for ((i = 0; i < ROUNDS; i++)); do
		sleep 0.02
		references=$(</sys/module/pmem_dax/refcnt)
		[ "$references" = 0 ] || used=$((used + 1))
		echo $NAMESPACE >"$DRIVERS/pmem_dax/unbind" || fail "not unbound"
		echo $NAMESPACE >"$DRIVERS/pmem_dax/bind" || fail "not bound"
	done
	[ $used -gt $((ROUNDS / 2)) ] || fail "used in $used rounds only"
	kill "${users[@]}"
	for i in "${users[@]}"; do
		wait "$i" || [ $? = $((128 + 15)) ] || fail "a user ended by itself"
	done 2>/dev/null
}

# mappings: made and removed, a hundred for each round.
mappings() {
	"$LIB_DIR/mapper" "$NODE" times $((100 * ROUNDS)) || fail "not mapped"
}

# grown COMMAND: what did, by nearly as much as there were rounds. What is unaccounted goes up and
# down by some 50 pages, so for that half as much is enough: it does not go up twice.
grown() {
	local before after

	# Nothing else may run when they are taken.
	before=$(counts)
	"$1"
	after=$(counts)
	join <(sort <<<"$before") <(sort <<<"$after") |
		awk -v rounds="$ROUNDS" '
			$3 - $2 >= ($1 == "unaccounted" ? 0.5 : 0.8) * rounds { print $1, $3 - $2 }'
}

# nothing_grows COMMAND
nothing_grows() {
	local lost

	NODE=$(take $NAMESPACE)
	# The first ones fill caches that stay.
	ROUNDS=10 grown "$1" >/dev/null
	# The rest of the kernel is alive too; but what leaks does so every time.
	lost=$(grown "$1") || fail "$lost"
	[ -n "$lost" ] || return 0
	echo "maybe lost: $lost"
	lost=$(grown "$1" | grep -wF "$(cut -d ' ' -f 1 <<<"$lost")") || true
	expect "" "$lost" "what is lost in $ROUNDS rounds, twice"
}

test_under_load() {
	nothing_grows round_trips
}

test_mappings() {
	nothing_grows mappings
}

run_tests $NAMESPACE -- under_load mappings
