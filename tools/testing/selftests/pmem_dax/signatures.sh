#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# pmem-dax says before a move what it changes for what is on the disk, and what to set: and what it
# says comes true, with the real LVM, mdadm, bcache, swap, LUKS and file systems.

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=tool_lib.sh disable=SC1091
. "$LIB_DIR/tool_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

# notes WANTED...: the notes begin with these, and there are no others.
notes() {
	local wanted

	expect "$#" "$(grep -c '^pmem-dax: note: ' <<<"$SAID")" "notes in: $SAID"
	for wanted; do
		grep -q "^pmem-dax: note: $wanted" <<<"$SAID" || fail "no note '$wanted' in: $SAID"
	done
}

# partitions SIZE...: namespace0.0 has these, with nothing on them, and nd_pmem has it.
partitions() {
	both
	wipefs -qa /dev/pmem0
	printf 'size=%s\n' "$@" | sfdisk -q -w always -W always --label gpt /dev/pmem0 >/dev/null
}

# maps NODE, maps_not NODE: it can be mapped, or not.
maps() {
	"$LIB_DIR/mapper" "$1" >/dev/null || fail "$1 cannot be mapped"
}

maps_not() {
	refused "$LIB_DIR/mapper" "$1"
}

# Its commands are told of files that the shell has open.
export LVM_SUPPRESS_FD_WARNINGS=1

# What a test leaves behind.
after_failure() {
	umount /mnt
	swapoff -a
	cryptsetup close secret
	vgchange -an pmemvg
	mdadm --stop --scan
	echo 1 | tee /sys/block/bcache*/bcache/stop
	restore
} >/dev/null 2>&1

# The files that tests change.
restore() {
	local file

	for file in lvm/lvm.conf fstab crypttab mdadm/mdadm.conf; do
		if [ -e "/tmp/etc/$file" ]; then
			cp "/tmp/etc/$file" "/etc/$file"
		else
			rm -f "/etc/$file"
		fi
	done
	rm -rf /etc/lvm/devices /etc/udev/rules.d/69-bcache.rules
}

save() {
	mkdir -p /tmp/etc/lvm /tmp/etc/mdadm
	cp /etc/lvm/lvm.conf /tmp/etc/lvm/
	cp /etc/mdadm/mdadm.conf /tmp/etc/mdadm/
	cp /etc/fstab /etc/crypttab /tmp/etc/ 2>/dev/null || true
}

# lvm_conf SETTING: in its section devices. There is no udev to wait for.
lvm_conf() {
	sed "s|^devices {|&\n\t$1|
		s|^activation {|&\n\tudev_sync = 0\n\tudev_rules = 0|" /tmp/etc/lvm/lvm.conf >/etc/lvm/lvm.conf
}

TYPES='types = [ "pmem_dax", 256 ]'
NO_UDEV='obtain_device_list_from_udev = 0'

# volumes: the groups that LVM finds.
volumes() {
	pvs --noheadings -o vg_name 2>/dev/null | tr -d ' '
}

# volume_group SETTINGS: there is one on a partition of namespace0.0, with a volume, and LVM has these.
volume_group() {
	partitions 256MiB
	lvm_conf "$1"
	vgcreate -qq pmemvg /dev/pmem0p1
	lvcreate -qq -an -Zn -Wn -L 128M -n volume pmemvg 2>/dev/null
}

unseen="pmem0p1: LVM does not see it under pmem_dax: if this host uses it, set devices { types = \[ \"pmem_dax\", 256 \] } in /etc/lvm/lvm.conf$"

test_lvm() {
	save
	volume_group "$NO_UDEV"
	expect pmemvg "$(volumes)" "groups that LVM finds under nd_pmem"

	tool 0 attach namespace0.0
	notes "$unseen"
	expect "" "$(volumes)" "groups that LVM finds under pmem_dax"
	refused vgchange -qq -ay pmemvg
	tool 0 detach namespace0.0
	notes "pmem0p1: LVM sees it under nd_pmem, and activates what is on it: if a guest made it, reject"
	expect pmemvg "$(volumes)" "groups that LVM finds again"

	lvm_conf "$NO_UDEV\n\t$TYPES"
	tool 0 attach namespace0.0
	notes
	expect pmemvg "$(volumes)" "groups that LVM finds if it knows pmem_dax"
	vgchange -qq -ay pmemvg
	echo here >/dev/pmemvg/volume || echo here >/dev/mapper/pmemvg-volume
	tool 3 detach namespace0.0
	said "pmem0p1 is part of /dev/dm-0"
	notes
	vgchange -qq -an pmemvg
	tool 0 detach namespace0.0
	notes
	restore
}

# With the file by which LVM makes use of some devices only: their names stay.
test_lvm_devices() {
	save
	partitions 256MiB
	lvm_conf "$NO_UDEV\n\tuse_devicesfile = 1\n\t$TYPES"
	vgcreate -qq pmemvg /dev/pmem0p1
	grep -q pmem0p1 /etc/lvm/devices/system.devices || fail "not in the file"
	tool 0 attach namespace0.0
	notes
	expect pmemvg "$(volumes)" "groups that LVM finds"
	vgchange -qq -ay pmemvg
	vgchange -qq -an pmemvg
	lvm_conf "$NO_UDEV\n\tuse_devicesfile = 1"
	expect "" "$(volumes)" "groups that LVM finds without the type"
	# It sees what is in the file and nothing else, as the operator wants it.
	tool 0 detach namespace0.0
	notes
	tool 0 attach namespace0.0
	notes "$unseen"
	restore
}

# A volume with direct access, as its disk has it.
test_lvm_fsdax() {
	save
	volume_group "$NO_UDEV\n\t$TYPES"
	tool 0 attach namespace0.0:mode=fsdax
	notes
	vgchange -qq -ay pmemvg
	mkfs.ext4 -q -b 4096 /dev/mapper/pmemvg-volume
	mount -o dax=always /dev/mapper/pmemvg-volume /mnt
	umount /mnt
	vgchange -qq -an pmemvg
	restore
}

# What a guest made, and the host assembles as soon as the disk appears. (The rule of udev calls
# mdadm like that.)
test_md() {
	local map

	save
	partitions 64MiB
	modprobe raid1
	mdadm --create /dev/md7 --run --level=1 --raid-devices=2 --metadata=1.2 --homehost=guest \
		/dev/pmem0p1 missing 2>/dev/null
	mdadm --stop /dev/md7 2>/dev/null

	tool 0 attach namespace0.0
	notes "pmem0p1: udev has mdadm assemble the array, and then it cannot be mapped (EBUSY): if a guest made it, set AUTO -all in /etc/mdadm/mdadm.conf$"
	maps /dev/pmem0p1
	mdadm --incremental --run /dev/pmem0p1 2>/dev/null
	maps_not /dev/pmem0p1
	mdadm --stop --scan 2>/dev/null
	maps /dev/pmem0p1
	tool 0 detach namespace0.0
	notes
	mdadm --incremental --run /dev/pmem0p1 2>/dev/null
	maps /dev/pmem0p1
	mdadm --stop --scan 2>/dev/null

	sed -i '1i AUTO -all' /etc/mdadm/mdadm.conf
	tool 0 attach namespace0.0
	notes
	refused mdadm --incremental --run /dev/pmem0p1
	maps /dev/pmem0p1
	tool 0 detach namespace0.0
	restore
}

test_bcache() {
	local i

	save
	partitions 64MiB
	make-bcache -B /dev/pmem0p1 >/dev/null
	tool 0 attach namespace0.0
	notes "pmem0p1: udev registers it with bcache, and then it cannot be mapped (EBUSY): if a guest made it: ln -s /dev/null /etc/udev/rules.d/69-bcache.rules$"
	maps /dev/pmem0p1
	modprobe bcache
	# What the rule does.
	echo /dev/pmem0p1 >/sys/fs/bcache/register
	maps_not /dev/pmem0p1
	echo 1 >/sys/block/pmem0/pmem0p1/bcache/stop
	# It is released later.
	for ((i = 0; i < 50; i++)); do
		! "$LIB_DIR/mapper" /dev/pmem0p1 >/dev/null 2>&1 || break
		sleep 0.2
	done
	maps /dev/pmem0p1
	tool 0 detach namespace0.0
	notes
	mkdir -p /etc/udev/rules.d
	ln -s /dev/null /etc/udev/rules.d/69-bcache.rules
	tool 0 attach namespace0.0
	notes
	restore
}

test_swap_and_luks() {
	save
	partitions 64MiB 64MiB
	mkswap /dev/pmem0p1 >/dev/null
	echo pass | cryptsetup luksFormat -q --type luks1 --pbkdf-force-iterations 1000 /dev/pmem0p2 -
	tool 0 attach namespace0.0
	notes
	tool 0 detach namespace0.0

	echo "UUID=$(blkid -p -s UUID -o value /dev/pmem0p1) none swap sw 0 0" >/etc/fstab
	printf '#\nsecret PARTUUID=%s none luks\n' \
		"$(blkid -p -s PART_ENTRY_UUID -o value /dev/pmem0p2)" >/etc/crypttab
	tool 0 attach namespace0.0
	notes "pmem0p1: line 1 of /etc/fstab swaps to it: as long as the kernel does, it cannot be mapped" \
		"pmem0p2: line 2 of /etc/crypttab opens it as secret: as long as it is open, it cannot be mapped"
	maps /dev/pmem0p1
	swapon /dev/pmem0p1
	maps_not /dev/pmem0p1
	swapoff /dev/pmem0p1
	modprobe dm-crypt
	echo pass | DM_DISABLE_UDEV=1 cryptsetup open /dev/pmem0p2 secret -d -
	maps_not /dev/pmem0p2
	DM_DISABLE_UDEV=1 cryptsetup close secret
	tool 0 detach namespace0.0
	notes
	restore
}

# Of all ways to name a file system, and three that do with "dax" as they like.
test_fstab() {
	local uuid

	save
	partitions 64MiB 320MiB 64MiB
	mkfs.ext4 -q -b 4096 -L "a b" /dev/pmem0p1
	# With reflink its direct access wants a whole disk.
	mkfs.xfs -q -m reflink=0 /dev/pmem0p2
	mkfs.ext4 -q -b 4096 /dev/pmem0p3
	uuid=$(blkid -p -s UUID -o value /dev/pmem0p2)
	cat >/etc/fstab <<-END
		# <file system> <mount point> <type> <options>
		LABEL=a\\040b /mnt ext4 defaults,dax=always 0 2
		/dev/disk/by-uuid/$uuid /mnt xfs dax 0 0
		/dev/pmem0p3 /mnt ext4 dax=inode,nofail 0 0
		/dev/pmem1 /mnt ext4 dax 0 0
	END
	tool 0 attach namespace0.0
	notes "pmem0p1: line 2 of /etc/fstab mounts it at /mnt with dax: with mode=generic it cannot be mounted: pmem-dax attach namespace0.0:mode=fsdax$" \
		"pmem0p2: line 3 of /etc/fstab mounts it at /mnt with dax: with mode=generic it is mounted without direct access: " \
		"pmem0p3: line 4 of /etc/fstab mounts it at /mnt with dax=inode: with mode=generic it is mounted, but no file"
	refused mount -o dax=always /dev/pmem0p1 /mnt
	mount -o dax=always /dev/pmem0p2 /mnt
	! grep -q ' /mnt .*dax=always' /proc/mounts || fail "direct access of xfs"
	umount /mnt
	mount -o dax=inode /dev/pmem0p3 /mnt
	umount /mnt

	# It is there already, and changes its mode.
	tool 0 attach namespace0.0:mode=fsdax
	notes
	mount -o dax=always /dev/pmem0p1 /mnt
	umount /mnt
	mount -o dax=always /dev/pmem0p2 /mnt
	grep -q ' /mnt .*dax=always' /proc/mounts || fail "no direct access of xfs"
	umount /mnt
	tool 0 detach namespace0.0
	notes "pmem0p1: line 2 of /etc/fstab .*: under nd_pmem, as the namespace is in raw mode, it cannot be mounted$" \
		"pmem0p2: " "pmem0p3: "
	refused mount -o dax=always /dev/pmem0p1 /mnt
	# Without a driver there is no disk to look at before.
	echo namespace0.0 >"$DRIVERS/nd_pmem/unbind"
	tool 0 attach namespace0.0
	notes "pmem0p1: " "pmem0p2: " "pmem0p3: "
	# It keeps what it is claimed with.
	tool 0 detach namespace0.0
	echo namespace0.0:mode=fsdax >"$DRIVERS/pmem_dax/claim"
	tool 0 attach namespace0.0
	notes
	restore
}

# What fails at each boot is said when that is set, also if the namespace was moved before.
test_boot() {
	local list

	list=/lib/modules/$(uname -r)/modules.dep
	save
	partitions 64MiB
	mkfs.ext4 -q /dev/pmem0p1
	echo "/dev/pmem0p1 /mnt ext4 dax 0 0" >/etc/fstab
	# That is where modprobe finds it, for the tool.
	echo updates/pmem_dax.ko: >>"$list"
	tool 0 attach namespace0.0
	notes "pmem0p1: line 1 of /etc/fstab .* it cannot be mounted: "
	tool 0 attach namespace0.0
	said "pmem_dax has namespace0.0 already"
	notes
	tool 0 attach --boot namespace0.0
	notes "pmem0p1: line 1 of /etc/fstab .* it cannot be mounted, and stops the boot: "
	sed -i 's/dax/dax,nofail/' /etc/fstab
	tool 0 attach --boot namespace0.0
	notes "pmem0p1: line 1 of /etc/fstab .* it cannot be mounted: "
	tool 0 detach --boot namespace0.0
	notes "pmem0p1: line 1 of /etc/fstab .*: under nd_pmem, "
	[ ! -e /etc/modprobe.d/pmem-dax.conf ] || fail "it is set still"
	sed -i '$d' "$list"
	restore
}

# What udev calls is in a hurry, and says nothing.
test_hold() {
	save
	partitions 64MiB
	mkfs.ext4 -q /dev/pmem0p1
	echo "/dev/pmem0p1 /mnt ext4 dax 0 0" >/etc/fstab
	echo namespace0.0 >"$DRIVERS/pmem_dax/claim"
	tool 0 hold -v
	expect pmem_dax "$(driver_of namespace0.0)" driver
	notes
	! grep -q 'looking what is on' <<<"$SAID" || fail "it looked: $SAID"
	restore
}

# milliseconds
now() {
	echo $((${EPOCHREALTIME/./} / 1000))
}

# Without an answer the namespace is moved all the same, soon.
test_no_answer() {
	local since usual

	save
	partitions 64MiB
	mkfs.ext4 -q /dev/pmem0p1
	echo "/dev/pmem0p1 /mnt ext4 dax 0 0" >/etc/fstab
	since=$(now)
	tool 0 attach namespace0.0
	usual=$(($(now) - since))
	notes "pmem0p1: line 1 of /etc/fstab"
	tool 0 detach namespace0.0

	mkdir -p /tmp/bin
	printf '#!/bin/sh\nexec sleep 600\n' >/tmp/bin/blkid
	chmod +x /tmp/bin/blkid
	since=$(now)
	PATH=/tmp/bin:$PATH tool 0 attach -v namespace0.0
	since=$(($(now) - since))
	[ $((since - usual)) -lt 5000 ] || fail "it took $since ms instead of $usual ms"
	said "blkid: it does not answer: what is on pmem0 is not known"
	# By the path it is known.
	notes "pmem0p1: line 1 of /etc/fstab"
	pkill -x sleep && fail "it still runs"
	tool 0 detach namespace0.0

	rm /tmp/bin/blkid
	PATH=/tmp/bin tool 0 attach -v namespace0.0
	said "blkid: No such file or directory .*: what is on pmem0 is not known"
	expect pmem_dax "$(driver_of namespace0.0)" driver
	tool 0 detach namespace0.0
	PATH=/tmp/bin tool 0 attach namespace0.0
	! grep -q blkid <<<"$SAID" || fail "it said so without -v: $SAID"
	restore
}

clean_up() {
	wipe namespace0.0
}

run_tests namespace0.0 -- lvm lvm_devices lvm_fsdax md bcache swap_and_luks fstab boot hold \
	no_answer
