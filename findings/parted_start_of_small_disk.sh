#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "mkpart NAME 0% 100%" is the usual way to have parted choose an aligned start, and a
# good guess is that it is 1 MiB, as sfdisk and sgdisk choose. parted 3.5 takes a percent
# sign as leave to move by half a percent, and aligns only if that leads to such a place:
# up to 200 MiB it does not, and the partition starts at sector 34, of 512 bytes, which
# is not even the start of a page. With -s there is a warning, and the status is 0.
#
# Such sizes are common for the image files of a guest's NVDIMM. A partition that does
# not start at a page cannot be mapped with DAX. "mkpart NAME 1MiB 100%" is aligned with
# every size; "1MB" is not, as it is sector 1953.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages parted=3.5-3+deb12u1 libparted2=3.5-3+deb12u1 gdisk=1.0.9-2.1 libpopt0

# start SIZE PROGRAM ARGUMENT...: where the partition begins that is made by that, with
# FILE for a new file of SIZE.
start() {
	local size=$1
	shift

	rm -f "$work/file"
	truncate -s "$size" "$work/file"
	"${@/#FILE/$work/file}" >"$work/log" 2>&1
	printf '%s %s: ' "$size" "$*"
	parted -sm "$work/file" unit B print | sed -n 's/^1:\([^:]*\).*/\1/p'
}

{
	for size in 64M 200M 201M; do
		start "$size" parted -s FILE mklabel gpt mkpart a 0% 100%
	done
	start 64M parted -s -a optimal FILE mklabel gpt mkpart a 0% 100%
	start 64M parted -s FILE mklabel gpt mkpart a 1MB 100%
	start 64M parted -s FILE mklabel gpt mkpart a 1MiB 100%
	start 64M sgdisk -n 1:0:0 FILE
} | expect '64M parted -s FILE mklabel gpt mkpart a 0% 100%: 17408B
200M parted -s FILE mklabel gpt mkpart a 0% 100%: 17408B
201M parted -s FILE mklabel gpt mkpart a 0% 100%: 1048576B
64M parted -s -a optimal FILE mklabel gpt mkpart a 0% 100%: 17408B
64M parted -s FILE mklabel gpt mkpart a 1MB 100%: 999936B
64M parted -s FILE mklabel gpt mkpart a 1MiB 100%: 1048576B
64M sgdisk -n 1:0:0 FILE: 1048576B'
