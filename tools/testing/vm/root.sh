# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The parts of build-root that make roots: a small one to ask the mirror with, and from it
# those with the compilers. What is in them is decided by this file and by packages alone, and
# their names are a hash of both: changing one makes new roots.

# host_mirror: that of this machine's own apt; nothing if it has none.
host_mirror() {
	command -v apt-get >/dev/null || return 0
	# shellcheck disable=SC2016 # apt expands it
	apt-get indextargets --format '$(REPO_URI)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
		head -n 1
}

# copy_apt_settings DIR: what this machine's apt needs to reach its mirror: proxies and the like.
copy_apt_settings() {
	local dir=$1

	command -v apt-config >/dev/null || return 0
	apt-config dump | grep -E '^Acquire::(https?::.*|Check-Valid-Until|Check-Date|Retries) ' \
		>"$dir/etc/apt/apt.conf.d/50host" || true
	cp -r /etc/apt/auth.conf /etc/apt/auth.conf.d "$dir/etc/apt/" 2>/dev/null || true
}

# make_base: the small one, $BASE.
make_base() {
	local dir=$CACHE/making-base mirror

	step "debootstrap $SUITE"
	mirror=$(host_mirror)
	# With xz, to unpack a kernel while the compilers are installed elsewhere.
	# shellcheck disable=SC2086 # no mirror: debootstrap has a default
	captured debootstrap contained debootstrap --variant=minbase \
		--include=ca-certificates,xz-utils "$SUITE" "$dir" $mirror ||
		die "debootstrap cannot get Debian $SUITE from ${mirror:-its default mirror}:" \
		    "$(said_last debootstrap)" "${NETWORK[@]}"
	# debootstrap wrote the mirror that it used; backports are beside it.
	sed -n "s/ $SUITE / $SUITE-backports /p" "$dir/etc/apt/sources.list" |
		head -n 1 >"$dir/etc/apt/sources.list.d/backports.list"
	# Where a kernel is bound, see in_root.
	mkdir -p "$dir/build" "$dir/usr/lib/modules"
	mv "$dir" "$BASE"
}

# install DIR NAME PACKAGE...: apt-get returns 0 too if it was interrupted, so see
# that nothing is left to do.
install() {
	local dir=$1 name=$2

	shift 2
	# shellcheck disable=SC2016 # expanded by the inner shell
	logged "$name" in_root "$dir" sh -ec '
		apt-get install -y --no-install-recommends "$@"
		! apt-get install -s --no-install-recommends "$@" | grep -E "^(Inst|Conf) "
	' sh "$@"
}

# pin_rustc DIR: have apt take the rustc of the version $RUSTC and what is of its source, wherever
# it is from, and whatever apt would prefer. A suite may have several: backports has newer ones.
pin_rustc() {
	local dir=$1 all version

	all=$(in_root "$BASE" apt-cache madison rustc | awk '{ print $3 }' | sort -uV)
	version=$(grep "^${RUSTC//./\\.}[+~-]" <<<"$all" | tail -n 1) ||
		die "the kernel $KVER was built by rustc $RUSTC, which the mirror does not have" \
		    "it has: ${all//$'\n'/, }" \
		    "a module that another one builds does not load: type make kernels, and take" \
		    "another kernel, or try again when the mirror has both"
	printf 'Package: src:rustc\nPin: version %s\nPin-Priority: 1001\n' "$version" \
		>"$dir/etc/apt/preferences.d/rustc"
}

# make_root: $ROOT, with the compilers $CC and $RUSTC.
make_root() {
	local dir=$CACHE/making-root packages

	step "installing packages (about two minutes)"
	cp -a "$BASE" "$dir"
	pin_rustc "$dir"
	packages=$(sed 's/#.*//' "$VM_DIR/packages")
	# shellcheck disable=SC2086 # a list
	KERNEL_DIR='' install "$dir" root-install "$HOSTCC" $packages
	KERNEL_DIR='' logged root-clean in_root "$dir" apt-get clean
	mv "$dir" "$ROOT"
}
