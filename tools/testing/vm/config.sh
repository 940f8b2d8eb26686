# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What a kernel's configuration tells: whether it can have the module, and what built it.

# What the module cannot do without, and why.
NEEDED_OPTIONS='
X86_64			other machines are not supported
RUST			it is written in Rust
FUNCTION_TRACER		it hooks functions by ftrace
DYNAMIC_FTRACE_WITH_ARGS it reads the arguments of functions that it hooks
LIBNVDIMM		the namespaces are those of libnvdimm
NVDIMM_PFN		it reads their info blocks
ZONE_DEVICE		the memory has struct pages
FS_DAX			pages are mapped as fs/dax.c does it
TRANSPARENT_HUGEPAGE	it maps pages of 2 MiB (real-time kernels have none)
TRACEPOINTS		it has trace events
'

# option FILE NAME: its value in the configuration FILE, without quotes; nothing if it is not set.
option() {
	sed -nE "s/^CONFIG_$2=\"?([^\"]*)\"?\$/\1/p" "$1"
}

# check_options FILE: that the kernel of this configuration can have the module at all.
check_options() {
	local name why missing=()

	while read -r name why; do
		[ -z "$name" ] || [[ $(option "$1" "$name") == [ym] ]] ||
			missing+=("  CONFIG_$name: $why")
	done <<<"$NEEDED_OPTIONS"
	[ ${#missing[@]} = 0 ] ||
		die "the kernel $KVER cannot have this module; its configuration lacks" "${missing[@]}" \
		    "type make kernels to see which there are; amd64 and cloud-amd64 of ${SERIES[*]} have these"
}

# read_compilers FILE: those that built the kernel of this configuration: $CC and $HOSTCC, as they
# are called, and $RUSTC, the version.
read_compilers() {
	local cc

	cc=$(option "$1" CC_VERSION_TEXT)
	CC=${cc%% *}
	HOSTCC=${CC#x86_64-linux-gnu-}
	RUSTC_TEXT=$(option "$1" RUSTC_VERSION_TEXT)
	RUSTC=${RUSTC_TEXT#rustc }
	RUSTC=${RUSTC%% *}
	[[ $HOSTCC == gcc-+([0-9]) ]] ||
		die "the kernel $KVER was built by $cc, and only Debian's gcc-N can be installed for it" \
		    "type make kernels to see which others there are; for a kernel of your own:" \
		    "make KDIR=... modules"
}
