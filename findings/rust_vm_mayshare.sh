#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A kernel module in Rust asks whether a mapping is shared by VM_MAYSHARE: VM_SHARED is cleared
# where the file is open for reading only. A good guess is that bindings::VM_MAYSHARE, and
# flags::MAYSHARE of kernel::mm::virt, are C's VM_MAYSHARE, as all constants of the bindings are what C
# has under that name; bindgen makes them, and a wrong one would not compile.
#
# Flags that bindgen cannot evaluate are written by hand in rust/bindings/bindings_helper.h, and in
# Linux 7.2 this one has the value of VM_MAYEXEC. That is set in private mappings too, unless the file
# system is mounted noexec, so each of them looks like a shared one. 7.3 has it right.
#
# Who builds for several series compares the values in bindings_generated.rs, as nothing else tells.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

# Where apt has Debian from.
mirror=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' |
	grep -v security | head -n 1)

# flags_of SERIES VERSION SHA256: what the kernel crate takes for it, and from where.
flags_of() {
	local file=linux-source-$1_$2_all.deb sources=$work/linux-source-$1

	(cd "$work" && /usr/lib/apt/apt-helper -o APT::Sandbox::User=root download-file \
		"${mirror%/}/pool/main/l/linux/$file" "$file" "SHA256:$3" >/dev/null)
	dpkg-deb --fsys-tarfile "$work/$file" | tar -xO "./usr/src/linux-source-$1.tar.xz" |
		tar -xJ -C "$work" "linux-source-$1/rust/bindings/bindings_helper.h" \
			"linux-source-$1/rust/kernel/mm/virt.rs"
	rm "$work/$file"
	echo "$2:"
	sed -n 's/^const vm_flags_t RUST_CONST_HELPER_\(VM_MAY.*\);$/bindings: \1/p' \
		"$sources/rust/bindings/bindings_helper.h"
	sed -n 's/^ *pub const \(MAYSHARE\): vm_flags_t = \(.*\) as vm_flags_t;$/flags: \1 = \2/p' \
		"$sources/rust/kernel/mm/virt.rs"
}

{
	flags_of 7.2 7.2.12-1~bpo13+1 73ca6c22599ba411ab3179642d33501ca2c90174e13c3c8d86e996ea1cbf2a8f
	flags_of 7.3 7.3.4-1~bpo13+1 703e369ddd4cce971452f5a593ee55df3a5c10c83caf0fa0df039633ed181ee3
} | expect '7.2.12-1~bpo13+1:
bindings: VM_MAYREAD = VM_MAYREAD
bindings: VM_MAYWRITE = VM_MAYWRITE
bindings: VM_MAYEXEC = VM_MAYEXEC
bindings: VM_MAYSHARE = VM_MAYEXEC
flags: MAYSHARE = bindings::VM_MAYSHARE
7.3.4-1~bpo13+1:
bindings: VM_MAYREAD = VM_MAYREAD
bindings: VM_MAYWRITE = VM_MAYWRITE
bindings: VM_MAYEXEC = VM_MAYEXEC
bindings: VM_MAYSHARE = VM_MAYSHARE
flags: MAYSHARE = bindings::VM_MAYSHARE'
