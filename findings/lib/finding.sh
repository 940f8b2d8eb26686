# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts of this directory share: a directory that goes when they end, a
# block device of a file, packages in that directory, and the comparison.

set -euo pipefail

work=$(mktemp -d)
loops=()

clean_up() {
	[ ${#loops[@]} = 0 ] || losetup -d "${loops[@]}"
	rm -rf "$work"
}
trap clean_up EXIT

# block_device SIZE SECTOR: a new one of zeroes is $device; needs root.
block_device() {
	local file

	file=$(mktemp "$work/disk.XXXXXX")
	truncate -s "$1" "$file"
	device=$(losetup -b "$2" -f --show "$file")
	loops+=("$device")
}

# packages NAME=VERSION...: Debian's packages, unpacked below $work/tree.
packages() {
	(cd "$work" && apt-get download -qq "$@")
	for file in "$work"/*.deb; do
		dpkg -x "$file" "$work/tree"
	done
	export LD_LIBRARY_PATH=$work/tree/usr/lib/x86_64-linux-gnu:$work/tree/lib/x86_64-linux-gnu
	export PATH=$PATH:$work/tree/usr/sbin:$work/tree/sbin:$work/tree/usr/bin
}

# fio_packages: fio 3.33, with libpmem and what its other engines are linked with.
fio_packages() {
	packages fio=3.33-3 libpmem1=1.12.1-2 libpmemblk1=1.12.1-2 libndctl6 libdaxctl1 \
		libkeyutils1 libjson-c5 libaio1 libnuma1 libgfapi0 libgfrpc0 libgfxdr0 \
		libglusterfs0 libtirpc3 libnbd0 libibverbs1 librdmacm1 libnl-3-200 \
		libnl-route-3-200 librados2 librbd1 libfmt9 libboost-thread1.74.0 \
		libboost-iostreams1.74.0
	export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$work/tree/usr/lib/x86_64-linux-gnu/ceph
}

# rust DEPENDENCIES: build standard input with them (lines of Cargo.toml); the program is
# $program.
rust() {
	mkdir -p "$work/crate/src"
	cat >"$work/crate/src/main.rs"
	printf '%s\n' '[package]' 'name = "finding"' 'version = "0.1.0"' 'edition = "2021"' \
		'[dependencies]' "$1" >"$work/crate/Cargo.toml"
	cargo build -q --manifest-path "$work/crate/Cargo.toml"
	program=$work/crate/target/debug/finding
}

# expect TEXT: standard input, which is shown, is that.
expect() {
	local seen

	seen=$(cat)
	printf '%s\n' "$seen"
	[ "$seen" = "$1" ] || {
		printf 'This has changed. It was:\n%s\n' "$1" >&2
		return 1
	}
}
