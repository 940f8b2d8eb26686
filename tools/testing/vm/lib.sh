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

# The build root's name is a hash of everything that decides what is in it.
ROOT_KEY=$(cat "$VM_DIR/build-root" "$VM_DIR/packages" | sha256sum | cut -c1-16)
ROOT=$CACHE/root-$ROOT_KEY

# The debug kernel that in_root has at /build/debug; empty if it is not wanted.
debug=

# Whether in_root replaces the shell that calls it; empty if not.
replace=

# step TEXT: one progress line, with the seconds since the script began.
step() {
	printf '[%4ds] %s\n' "$SECONDS" "$*"
}

# die TEXT...: the error, one line per argument, and the end.
die() {
	printf 'pmem_dax: %s\n' "$@" >&2
	exit 1
}

# What a command that fails may want; empty if nobody knows.
hint=

# debug_config debug|full|races: the configuration of that debug kernel. Of two lines for an
# option the last one counts.
debug_config() {
	cat "$VM_DIR/debug.config"
	[ "$1" = debug ] || cat "$VM_DIR/full.config"
	[ "$1" != races ] || cat "$VM_DIR/races.config"
}

# debug_kernel debug|full|races: its directory. The root's compilers make it, and its name is
# a hash of what decides its content, too.
debug_kernel() {
	local key

	key=$( (cat "$VM_DIR/debug-kernel" && debug_config "$1" && echo "$ROOT_KEY") |
		sha256sum | cut -c1-16)
	echo "$CACHE/$1-kernel-$key"
}

# logged NAME COMMAND...: run COMMAND with its output in a log; show the log's
# end, and the hint, only if it fails.
logged() {
	local log=$CACHE/log/$1.log

	shift
	mkdir -p "$CACHE/log"
	if ! "$@" >"$log" 2>&1 </dev/null; then
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
# /dev there, this checkout at /pmem_dax and the directory $debug, if any, at
# /build/debug. Each has a /run of its own, where make puts what it names after its
# process, 1 here: one make would meet what another left that was killed.
in_root() {
	local dir=$1

	shift
	mkdir -p "$dir/pmem_dax" ${debug:+"$dir/build/debug"}
	# shellcheck disable=SC2016 # expanded by the inner shell
	${replace:+exec} "${CONTAINED[@]}" sh -ec '
		root=$1 top=$2 debug=$3
		shift 3
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs -o mode=755 run "$root/run"
		mount --bind "$top" "$root/pmem_dax"
		test -z "$debug" || mount --bind "$debug" "$root/build/debug"
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root \
			LANG=C.UTF-8 TERM="${TERM:-dumb}" MAKE_TMPDIR=/run \
			DEBIAN_FRONTEND=noninteractive \
			chroot "$root" "$@"
	' sh "$dir" "$TOP" "$debug" "$@"
}
