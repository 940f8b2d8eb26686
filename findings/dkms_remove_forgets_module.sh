#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# "dkms remove MODULE/VERSION -k KERNEL": a good guess is that it undoes what was done for that
# kernel, and that the module stays added for others, unless there is --all; so dkms(8) reads.
# dkms 3.0.10 forgets the module when no other kernel has it, even if it was never built for
# the one that is named. For a kernel that is installed later it is not built, then: neither
# "dkms autoinstall" nor "dkms status" says a word, and both end with 0.
#
# Debian's hook calls it for each kernel package that is removed. Who has an out-of-tree driver
# for one kernel, and changes to another, installs the second before the first goes; to take
# it from a kernel alone, and have it stay added, there is "dkms unbuild".

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages dkms=3.0.10-8+deb12u1 kmod=30+20221128-1 libkmod2=30+20221128-1
for program in modinfo depmod lsmod; do
	ln -sf "$work/tree/bin/kmod" "$work/tree/sbin/$program"
done

mkdir -p "$work"/{dkms,kernel/include,modules,source/driver-1.0}
touch "$work/kernel/.config" "$work/source/driver-1.0/driver.c"
cat >"$work/source/driver-1.0/dkms.conf" <<'CONF'
PACKAGE_NAME=driver
PACKAGE_VERSION=1.0
BUILT_MODULE_NAME[0]=driver
DEST_MODULE_LOCATION[0]=/updates
STRIP[0]=no
AUTOINSTALL=yes
MAKE='gcc -c -o driver.ko driver.c'
CLEAN=true
CONF

dkms_here() {
	dkms "$@" --dkmstree "$work/dkms" --sourcetree "$work/source" --installtree "$work/modules" \
		--kernelsourcedir "$work/kernel" --no-depmod
}

# run ARGUMENT...: dkms with that; say what it ends with, and what "dkms status" says then.
run() {
	local status=0

	dkms_here "$@" >"$work/log" 2>&1 || status=$?
	printf '%s: %s\n' "$*" "$status"
	dkms_here status | sed 's/^/  /'
}

# new: the module is added, and for no kernel yet.
new() {
	rm -rf "$work/dkms/driver" "$work/modules"
	mkdir -p "$work/modules"/{1.0,2.0}
	run add driver/1.0
}

{
	dkms --version
	new
	run install driver/1.0 -k 1.0
	run install driver/1.0 -k 2.0
	run remove driver/1.0 -k 1.0
	run remove driver/1.0 -k 2.0
	run autoinstall -k 1.0
	new
	run remove driver/1.0 -k 1.0
	new
	run install driver/1.0 -k 1.0
	run unbuild driver/1.0 -k 1.0
	run autoinstall -k 2.0
} | expect 'dkms-3.0.10
add driver/1.0: 0
  driver/1.0: added
install driver/1.0 -k 1.0: 0
  driver/1.0, 1.0, x86_64: installed
install driver/1.0 -k 2.0: 0
  driver/1.0, 1.0, x86_64: installed
  driver/1.0, 2.0, x86_64: installed
remove driver/1.0 -k 1.0: 0
  driver/1.0, 2.0, x86_64: installed
remove driver/1.0 -k 2.0: 0
autoinstall -k 1.0: 0
add driver/1.0: 0
  driver/1.0: added
remove driver/1.0 -k 1.0: 0
add driver/1.0: 0
  driver/1.0: added
install driver/1.0 -k 1.0: 0
  driver/1.0, 1.0, x86_64: installed
unbuild driver/1.0 -k 1.0: 0
  driver/1.0: added
autoinstall -k 2.0: 0
  driver/1.0, 2.0, x86_64: installed'
