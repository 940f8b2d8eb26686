# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# The parts of build-root that make a kernel's directory of the cache, which is /build in the
# build root while that kernel is used (see in_root):
#
#   linux             the kernel's source
#   kdir              its build tree (make -C /build/kdir M=...)
#   modules/$KVER     its image and modules, in /usr/lib/modules too
#   initramfs.cpio    mounts the root and starts vm/init
#   kernel.env        what lib.sh reads: its release, its compilers, and the root that has them
#
# What is in it is decided by this file and by the root, and its name is a hash of both.

# fetch_headers: of all that a kernel has, what says what it is.
fetch_headers() {
	step "the kernel is $KVER ($VERSION)"
	mkdir -p "$KERNEL_DIR/modules" "$KERNEL_DIR/debug"
	# shellcheck disable=SC2016 # expanded by the inner shell
	logged kernel-headers in_root "$BASE" sh -ec '
		cd /build
		apt-get download "linux-headers-$1=$2"
		dpkg -x linux-headers-*.deb headers
		cp "headers/usr/src/linux-headers-$1/.config" config
		cp "headers/usr/src/linux-headers-$1/Module.symvers" Module.symvers
		rm -r headers linux-headers-*.deb' sh "$KVER" "$VERSION"
}

# fetch_kernel: its source and image. It needs nothing of the compilers' root.
fetch_kernel() {
	# The image is only unpacked: its maintainer scripts want a boot loader.
	# shellcheck disable=SC2016 # expanded by the inner shell
	logged kernel-fetch in_root "$BASE" sh -ec '
		cd /build
		mkdir linux image debs
		cd debs
		names=linux-source-$3=$2
		for name in image binary modules base; do
			! apt-cache show "linux-$name-$1=$2" >/dev/null 2>&1 ||
				names="$names linux-$name-$1=$2"
		done
		apt-get download $names
		dpkg-deb --fsys-tarfile linux-source-*.deb |
			tar -xO "./usr/src/linux-source-$3.tar.xz" | xz -dc -T0 |
			tar -x --strip-components=1 -C ../linux
		test -s ../linux/Kbuild
		rm linux-source-*.deb
		for deb in *.deb; do
			dpkg -x "$deb" ../image
		done
		cd ..
		test -e "image/usr/lib/modules/$1/vmlinuz" ||
			mv "image/boot/vmlinuz-$1" "image/usr/lib/modules/$1/vmlinuz"
		test -s "image/usr/lib/modules/$1/vmlinuz"
		mv "image/usr/lib/modules/$1" modules/
		rm -r image debs' sh "$KVER" "$VERSION" "$(series_of "$KVER")"
}

# prepare_tree: the build tree. Debian ships no Rust metadata of its kernels (no .rmeta, no
# libmacros.so), so they are made again with the kernel's own configuration and the very
# compiler that built it; the crate hashes are then those that the running kernel exports.
prepare_tree() {
	step "preparing the kernel's build tree and its Rust crates (about two minutes)"
	# What tells the versions of tools other than rustc may differ: Debian mends a compiler after
	# a kernel was built. What follows from them is in options of its own.
	# shellcheck disable=SC2016 # expanded by the inner shell
	logged kernel-prepare in_root "$ROOT" sh -ec '
		kmake() {
			make -C /build/linux O=/build/kdir -j"$(nproc)" \
				CROSS_COMPILE=x86_64-linux-gnu- CC="$CC" \
				HOSTCC="$HOSTCC" KERNELRELEASE="$KVER" "$@"
		}
		options() {
			grep -vE "^CONFIG_((CC|BINDGEN)_VERSION_TEXT|(GCC|AS|LD|PAHOLE)_VERSION)=" "$1"
		}
		KVER=$1 CC=$2 HOSTCC=$3
		mkdir /build/kdir
		cp /build/config /build/kdir/.config
		kmake olddefconfig
		options /build/config >/run/theirs
		options /build/kdir/.config >/run/ours
		if ! diff /run/theirs /run/ours; then
			echo "olddefconfig changed the configuration of the kernel (above):" \
				"a tool differs from those that built it"
			exit 1
		fi
		kmake prepare
		kmake modules_prepare
		cp /build/Module.symvers /build/kdir/' sh "$KVER" "$CC" "$HOSTCC"
}

# make_initramfs: for vm/run, which shares the root over 9p, or by virtiofs with a kernel that has no 9p.
make_initramfs() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	logged kernel-initramfs in_root "$ROOT" sh -ec '
		depmod "$1"
		dir=$(mktemp -d)
		mkdir -p "$dir/bin" "$dir/modules" "$dir/dev" "$dir/proc" "$dir/sys" "$dir/mnt"
		cp /usr/bin/busybox "$dir/bin/busybox"
		for module in virtio_pci $2 overlay; do
			modprobe -S "$1" --show-depends "$module"
		done | sed -n "s/^insmod \([^ ]*\).*/\1/p" | awk "!seen[\$0]++" |
		while read -r file; do
			name=$(basename "${file%.xz}")
			xz -dc "$file" >"$dir/modules/$name"
			echo "$name" >>"$dir/modules/order"
		done
		test -s "$dir/modules/order"
		cat >"$dir/init" <<-"INIT"
			#!/bin/busybox sh
			# Mount the shared root, with a throw-away layer on top, and go there.
			/bin/busybox mkdir -p /ro /rw /new
			/bin/busybox --install -s /bin
			mount -t proc proc /proc
			while read -r name; do insmod "/modules/$name"; done </modules/order
			type=virtiofs opts=ro
			if grep -qw 9p /proc/filesystems; then
				type=9p opts=ro,cache=loose,trans=virtio,version=9p2000.L,msize=512000
			fi
			mount -t $type -o $opts root /ro || exec poweroff -f
			mount -t tmpfs -o size=80% tmpfs /rw
			mkdir /rw/upper /rw/work
			mount -t overlay -o lowerdir=/ro,upperdir=/rw/upper,workdir=/rw/work overlay /new
			mount -t $type -o $opts src /new/pmem_dax || exec poweroff -f
			umount /proc
			exec switch_root /new /pmem_dax/tools/testing/vm/init
		INIT
		chmod +x "$dir/init"
		cd "$dir"
		find . | cpio -o -H newc >/build/initramfs.cpio
		rm -r "$dir"' sh "$KVER" "$1"
}

# make_kernel: the directory of the kernel $KVER, of the version $VERSION, and the root that it needs.
make_kernel() {
	local KERNEL_DIR=$CACHE/making-kernel made fetching packing sharing
	local CC HOSTCC RUSTC RUSTC_TEXT ROOT found

	made=$(kernel_dir "$KVER")
	fetch_headers
	check_options "$KERNEL_DIR/config"
	read_compilers "$KERNEL_DIR/config"
	ROOT=$CACHE/root-$ROOT_KEY-rustc-$RUSTC-$HOSTCC
	need_space
	# Both of these have a lot to wait for, so they run at once.
	fetch_kernel &
	fetching=$!
	background+=("$fetching")
	[ -d "$ROOT" ] || make_root
	found=$(in_root "$ROOT" rustc --version)
	[ "$RUSTC_TEXT" = "$found" ] ||
		die "the compiler does not match the kernel $KVER:" \
		    "the kernel was built with: $RUSTC_TEXT" \
		    "the build root has:        $found" \
		    "a module built so would not load: type make kernels, and take another kernel," \
		    "or try again when the mirror has both"
	step "unpacking the kernel and its source"
	wait "$fetching" || exit
	sharing=9p
	[ -n "$(option "$KERNEL_DIR/config" NET_9P)" ] || sharing=virtiofs
	hint=
	case $sharing in
	9p) make_initramfs "9p 9pnet_virtio" & ;;
	virtiofs) make_initramfs virtiofs & ;;
	esac
	packing=$!
	background+=("$packing")
	prepare_tree
	wait "$packing" || exit
	printf '%s=%q\n' KVER "$KVER" VERSION "$VERSION" CC "$CC" HOSTCC "$HOSTCC" \
		SHARING "$sharing" ROOT_NAME "${ROOT##*/}" >"$KERNEL_DIR/kernel.env"
	mv "$KERNEL_DIR" "$made"
}
