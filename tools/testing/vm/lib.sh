# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts of this directory share: where things are, how progress and
# failure are told, and how a command runs inside the build root.

set -euo pipefail

# Ctrl-C ends a script even if what it runs makes light of it: apt-get then stops
# before all is installed, and returns 0.
trap 'exit 130' INT

VM_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$VM_DIR/../../.." && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:?is not set: set it or XDG_CACHE_HOME}/.cache}/pmem-dax

# The kernel series that the source supports, the newest first, and the Debian whose backports have
# them. Documentation/kernels.rst says what else belongs to a new one.
SERIES=(7.3 7.2)
SUITE=trixie

# What is in the cache is named after a hash of everything that decides what is in it: roots, and
# the kernels, which are built in them.
ROOT_KEY=$(cat "$VM_DIR/root.sh" "$VM_DIR/packages" | sha256sum | cut -c1-12)
KERNEL_KEY=$( (echo "$ROOT_KEY" && cat "$VM_DIR/kernel.sh") | sha256sum | cut -c1-12)
BASE=$CACHE/base-$ROOT_KEY
# This file has the release of the kernel that is meant if none is named.
DEFAULT=$CACHE/default-$KERNEL_KEY

# The kernel that is used, which in_root has at /build, and the root that has its compilers: see
# use_kernel. Empty before that.
KERNEL_DIR=
ROOT=

# The debug kernel that in_root has at /build/debug; empty if it is not wanted.
debug=

# Whether in_root replaces the shell that calls it; empty if not.
replace=

# step TEXT: one progress line, with the seconds since the script began.
step() {
	printf '[%4ds] %s\n' "$SECONDS" "$*"
}

# die TEXT...: the error, in lines, and the end.
die() {
	printf '%s\n' "$@" | sed '/^$/d; s/^/pmem_dax: /' >&2
	exit 1
}

# kernel_dir RELEASE: where that kernel is in the cache.
kernel_dir() {
	echo "$CACHE/kernel-$KERNEL_KEY-$1"
}

# series_of RELEASE: 7.3 of 7.3.4+deb13-amd64.
series_of() {
	cut -d. -f1,2 <<<"${1%%[!0-9.]*}"
}

# supported SERIES
supported() {
	[[ " ${SERIES[*]} " == *" $1 "* ]]
}

# find_kernel: the one that is meant (see build-root), if the cache has it, and with it its root: sets
# $KVER, $KERNEL_DIR and $ROOT, and what is in its kernel.env.
find_kernel() {
	local dir

	[[ ${KERNEL:-} =~ ^[0-9A-Za-z.+~-]*$ ]] ||
		die "KERNEL=$KERNEL is no release of a kernel: type make kernels to see which there are"
	case ${KERNEL:-} in
	"") KVER=$(cat "$DEFAULT" 2>/dev/null) || return 1 ;;
	newest) return 1 ;;
	*-*) KVER=$KERNEL ;;
	*)
		KVER=$(find "$CACHE" -maxdepth 1 -name "kernel-$KERNEL_KEY-$KERNEL.*" -printf '%f\n' \
			2>/dev/null | sed -nE "s/^kernel-$KERNEL_KEY-([0-9.]+(\+deb[0-9]+)?-amd64)\$/\1/p" |
			sort -V | tail -n 1)
		[ -n "$KVER" ] || return 1
		;;
	esac
	dir=$(kernel_dir "$KVER")
	[ -e "$dir/kernel.env" ] || return 1
	# shellcheck source=/dev/null
	. "$dir/kernel.env"
	[ -d "$CACHE/$ROOT_NAME" ] || return 1
	KERNEL_DIR=$dir
	ROOT=$CACHE/$ROOT_NAME
}

# use_kernel: the same, and make it if it is not there. What is called later uses the same one.
use_kernel() {
	find_kernel || {
		"$VM_DIR/build-root"
		[ "${KERNEL:-}" != newest ] || KERNEL=
		find_kernel || die "the kernel ${KERNEL:-that was just made} is not in $CACHE"
	}
	touch "$ROOT" "$KERNEL_DIR"
	export KERNEL=$KVER
}

# need_module FILE: that this module of the checkout is there, and is for the kernel that is used.
need_module() {
	local file=$TOP/$1 found

	[ -e "$file" ] || die "$1 is not there: run make build KERNEL=$KVER"
	found=$(grep -aom 1 'vermagic=[^ ]*' "$file") || true
	found=${found#vermagic=}
	[ "$found" = "$KVER" ] ||
		die "$1 is for the kernel $found, and this wants the kernel $KVER" \
		    "run make build KERNEL=$KVER, or run this with KERNEL=$found"
}

# What a command that fails may want; empty if nobody knows.
hint=

# debug_config debug|full|races: the configuration of that debug kernel. Of two lines for an
# option the last one counts. A series may have names of its own for some of it.
debug_config() {
	local series

	series=$VM_DIR/debug-$(series_of "$KVER").config
	cat "$VM_DIR/debug.config"
	[ ! -e "$series" ] || cat "$series"
	[ "$1" = debug ] || cat "$VM_DIR/full.config"
	[ "$1" != races ] || cat "$VM_DIR/races.config"
}

# debug_kernel debug|full|races: its directory. It is of the kernel that is used, and its name is
# a hash of what decides its content, too.
debug_kernel() {
	local key

	key=$( (cat "$VM_DIR/debug-kernel" && debug_config "$1" && echo "${KERNEL_DIR##*/}") |
		sha256sum | cut -c1-16)
	echo "$CACHE/$1-kernel-$key"
}

# forget_others DIRECTORY KERNEL [MODULE]: remove what Kbuild made in DIRECTORY, and in MODULE below it,
# for another kernel than KERNEL. make would not see it: paths are the same, and headers may be older.
forget_others() {
	local used=$1/build/objects-are-for name made=()

	[ "$(cat "$used" 2>/dev/null)" != "$2" ] || return 0
	for name in '*.ko' '*.mod' '*.mod.c' '*.o' '*.rmeta' '.*.cmd' '.*.d' generated.rs \
		modules.order Module.symvers; do
		made+=(-o -name "$name")
	done
	find "$1" -maxdepth 1 -type f \( -name 'pmem_dax.*' -o -name '.*' -o -name '[mM]odule*' \) \
		\( "${made[@]:1}" \) -exec rm {} +
	find "$1/rust" "$1/drivers" ${3:+"$1/$3"} -type f \( "${made[@]:1}" \) -exec rm {} +
	mkdir -p "$1/build"
	echo "$2" >"$used"
}

# captured NAME COMMAND...: run COMMAND with its output in a log.
captured() {
	local log=$CACHE/log/$1.log

	shift
	mkdir -p "$CACHE/log"
	"$@" >"$log" 2>&1 </dev/null
}

# said_last NAME: the first error in such a log, or its last line.
said_last() {
	grep -m 1 '^E: ' "$CACHE/log/$1.log" || tail -n 1 "$CACHE/log/$1.log"
}

# logged NAME COMMAND...: likewise; show the log's end, and the hint, only if it fails.
logged() {
	local log=$CACHE/log/$1.log

	if ! captured "$@"; then
		shift
		tail -n 25 "$log" >&2
		die "failed: $*" "the whole output is in $log" ${hint:+"$hint"}
	fi
}

# Before a command: its mounts and processes are its own, and end with it, and all
# of it with the shell that started it, however that ends.
CONTAINED=(setpriv --pdeathsig KILL
	unshare --mount --propagation private --pid --fork --kill-child)

contained() {
	"${CONTAINED[@]}" "$@"
}

# in_root DIR COMMAND...: run COMMAND in the root DIR, contained, with /proc and
# /dev there, this checkout at /pmem_dax, the kernel that is used, if any, at /build, its modules
# where they are looked for, and the directory $debug, if any, at /build/debug. Each has a /run of its own, where make puts what it names after its
# process, 1 here: one make would meet what another left that was killed.
in_root() {
	local dir=$1

	shift
	mkdir -p "$dir/pmem_dax"
	# shellcheck disable=SC2016 # expanded by the inner shell
	${replace:+exec} "${CONTAINED[@]}" sh -ec '
		root=$1 top=$2 kernel=$3 debug=$4
		shift 4
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs -o mode=755 run "$root/run"
		mount --bind "$top" "$root/pmem_dax"
		if test -n "$kernel"; then
			mount --bind "$kernel" "$root/build"
			mount --bind "$kernel/modules" "$root/usr/lib/modules"
		fi
		test -z "$debug" || mount --bind "$debug" "$root/build/debug"
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			LANG=C.UTF-8 TERM="${TERM:-dumb}" MAKE_TMPDIR=/run \
			DEBIAN_FRONTEND=noninteractive \
			chroot "$root" "$@"
	' sh "$dir" "$TOP" "$KERNEL_DIR" "$debug" "$@"
}
