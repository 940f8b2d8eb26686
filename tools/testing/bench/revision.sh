# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What is beside the module of this checkout: that of another revision.

# Where it is built, below the checkout.
there=build/compare/module

# build_revision REVISION: of its drivers and rust, by this checkout's tools.
build_revision() {
	local base

	base=$(git -C "$TOP" rev-parse --verify --quiet "$1^{commit}") || die "no revision $1"
	rm -rf "${TOP:?}/$there"
	mkdir -p "$TOP/$there"
	step "building the module of ${base:0:12}"
	git -C "$TOP" archive "$base" Kbuild rust drivers | tar -x -C "$TOP/$there"
	"$VM_DIR/kmake" -q compare M="/pmem_dax/$there" modules
}
