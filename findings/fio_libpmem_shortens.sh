#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# fio 3.33 has an engine for persistent memory, libpmem. A good guess is that a job with
# --size uses that much of a file and leaves the rest alone, and that --readonly makes
# this certain; so it is with mmap, the engine that is nearest to it.
#
# libpmem gives the file the length of the job, as it maps it with PMEM_FILE_CREATE: what
# lies behind is lost, also by a job that only reads, and by one that then fails because
# the file is not on persistent memory.
#
# Who measures a disk image or a pool in place takes a copy of it, or gives no size.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

fio_packages

# job FORCE ENGINE OPTION...: run a job that reads a file of 4 MiB. Say how long the file
# is then. With FORCE 1 libpmem takes any file for persistent memory.
job() {
	local engine=$2 force=$1
	shift 2

	head -c 4M /dev/zero | tr '\0' a >"$work/file"
	PMEM_IS_PMEM_FORCE=$force fio --name=job --filename="$work/file" --rw=read --bs=4k \
		--readonly --ioengine="$engine" "$@" >"$work/log" 2>&1 || true
	echo "$engine $*: $(stat -c %s "$work/file")"
}

{
	job 0 mmap --size=1M
	job 0 libpmem --size=1M
	job 1 libpmem --size=1M
	job 1 libpmem
} | expect 'mmap --size=1M: 4194304
libpmem --size=1M: 1048576
libpmem --size=1M: 1048576
libpmem : 4194304'
