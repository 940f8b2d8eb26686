#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# ATTR{name}!="value" in a rule of udev: a good guess is that it holds of a device without such
# an attribute. udev(7) says so of the operator ("or the specified key is not present at all"),
# and ENV does where there is no such property, DRIVER where no driver is bound, and SYSCTL
# where there is no such file. With ATTR and ATTRS udev 252 reads the file first, and the match
# fails if there is none, whatever the operator: neither != nor =="" holds.
#
# A rule for all namespaces but those with some value is then none for those that have no such
# attribute, as the uuid where there are no labels. It takes a second one, with TEST!="uuid".

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages udev=252.39-1~deb12u2 libsystemd-shared=252.39-1~deb12u2 libkmod2=30+20221128-1
export LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$work/tree/usr/lib/x86_64-linux-gnu/systemd

# holds MATCH...: say of each whether it holds of /dev/null, as udevadm tries the rules; with
# a /run and a /dev of its own, since it makes links there. Needs root.
holds() {
	local number=0

	for match in "$@"; do
		number=$((number + 1))
		printf '%s, ENV{FINDING_%d}="yes"\n' "$match" "$number"
	done >"$work/finding.rules"
	unshare -m bash -e >"$work/log" 2>&1 <<-SHELL
		mount -t tmpfs none /run
		mount -t tmpfs none /dev
		mknod /dev/null c 1 3
		mkdir -p /run/udev/rules.d
		cp "$work/finding.rules" /run/udev/rules.d
		"$work/tree/bin/udevadm" test /sys/devices/virtual/mem/null
	SHELL
	number=0
	for match in "$@"; do
		number=$((number + 1))
		printf '%s: ' "$match"
		if grep -q "^FINDING_$number=yes" "$work/log"; then
			echo yes
		else
			echo no
		fi
	done
}

{
	"$work/tree/bin/udevadm" --version
	holds 'ENV{none}!="1"' 'ENV{none}==""' 'DRIVER!="1"' 'DRIVER==""' \
		'SYSCTL{kernel/none}!="1"' 'SYSCTL{kernel/none}==""' \
		'ATTR{none}!="1"' 'ATTR{none}==""' 'ATTRS{none}!="1"' \
		'ATTR{dev}!="1"' 'ATTR{dev}=="1:3"' 'TEST!="none"'
} | expect '252
ENV{none}!="1": yes
ENV{none}=="": yes
DRIVER!="1": yes
DRIVER=="": yes
SYSCTL{kernel/none}!="1": yes
SYSCTL{kernel/none}=="": yes
ATTR{none}!="1": no
ATTR{none}=="": no
ATTRS{none}!="1": no
ATTR{dev}!="1": yes
ATTR{dev}=="1:3": yes
TEST!="none": yes'
