#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A good guess is that --offset of fio means the same for each engine: a job that starts
# at 2 MiB there leaves what is before alone. In fio 3.33 it does so for those that read
# and write, such as psync. The engines that map, mmap and libpmem, map the start of the
# file, so the job loads from and stores to that. Neither its report nor its own --verify
# shows it, as both go to the same wrong place.
#
# So --offset_increment does not part jobs either, and with --offset a mapped disk loses
# the partition table that the offset was to spare. What does part them is a partition,
# or a file, for each job.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

fio_packages

# job ENGINE OPTION...: write to a file of four MiB, the first of which is of ones, the
# second of twos and so on. Say what each begins with afterwards. libpmem is to take the
# file for persistent memory; what it does to its length is in fio_libpmem_shortens.sh.
job() {
	local engine=$1
	shift

	for byte in 1 2 3 4; do
		head -c 1M /dev/zero | tr '\0' "$byte"
	done >"$work/file"
	PMEM_IS_PMEM_FORCE=1 fio --name=job --filename="$work/file" --rw=write --bs=4k --size=1M \
		--buffer_pattern='"x"' --verify_state_save=0 --ioengine="$engine" "$@" \
		>"$work/log"
	printf '%s:' "$engine $*"
	od -An -v -c -w1048576 "$work/file" | awk '{ printf " %s", $1 }'
	echo
}

{
	for engine in psync mmap libpmem; do
		job "$engine" --offset=2M
	done
	job mmap --offset=2M --verify=pattern --verify_pattern='"x"'
	for engine in psync mmap; do
		job "$engine" --numjobs=2 --offset_increment=1M
	done
} | expect 'psync --offset=2M: 1 2 x 4
mmap --offset=2M: x 2 3 4
libpmem --offset=2M: x
mmap --offset=2M --verify=pattern --verify_pattern="x": x 2 3 4
psync --numjobs=2 --offset_increment=1M: x x 3 4
mmap --numjobs=2 --offset_increment=1M: x 2 3 4'
