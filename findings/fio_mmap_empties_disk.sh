#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A good guess is that the mmap engine of fio stores what the job says, no more: so it
# does with files. Of a block device, fio 3.33 first frees all that it has mapped, with
# MADV_REMOVE. If the mapping may be written to and the device can discard, the blocks
# are zeroes then: a job of one write empties the rest of its --size, and a mixed job
# that happens to read only reads zeroes. invalidate=0, fadvise_hint=0 and direct=1 change
# nothing. A job of reads maps for loads alone, which the kernel frees nothing of.
#
# A device that has nothing to free, such as /dev/pmem0, keeps its data. So a job that was
# harmless there is not on the disk that it is to be compared with; and the other way
# round, the first touches of a disk are those of holes, and not of data.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

fio_packages

# job OPTION...: run a job of the mmap engine on $file, four MiB, the first of which is of
# ones, the second of twos and so on. Say what each ends with afterwards.
job() {
	for byte in 1 2 3 4; do
		head -c 1M /dev/zero | tr '\0' "$byte"
	done | dd of="$file" conv=notrunc,fsync status=none
	fio --name=job --filename="$file" --bs=4k --ioengine=mmap "$@" >"$work/log"
	printf '%s:' "$*"
	for mib in 1 2 3 4; do
		od -An -c -j "$((mib * 1048576 - 1))" -N 1 "$file" | awk '{ printf " %s", $1 }'
	done
	echo
}

block_device 4M 512
{
	file=$work/file
	job --rw=write --size=2M --io_size=4k
	job --rw=randrw --rwmixread=100 --io_size=4k
	file=$device
	job --rw=write --size=2M --io_size=4k
	job --rw=randrw --rwmixread=100 --io_size=4k
	job --rw=randrw --rwmixread=100 --io_size=4k --invalidate=0 --fadvise_hint=0
	job --rw=randread --io_size=4k
} | expect '--rw=write --size=2M --io_size=4k: 1 2 3 4
--rw=randrw --rwmixread=100 --io_size=4k: 1 2 3 4
--rw=write --size=2M --io_size=4k: \0 \0 3 4
--rw=randrw --rwmixread=100 --io_size=4k: \0 \0 \0 \0
--rw=randrw --rwmixread=100 --io_size=4k --invalidate=0 --fadvise_hint=0: \0 \0 \0 \0
--rw=randread --io_size=4k: 1 2 3 4'
