#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Show the namespaces of persistent memory, and move one between nd_pmem and
# pmem_dax; see pmem-dax(8).
#
# A namespace is not moved while anybody uses its disk: unbinding a driver asks
# nobody, and would take the disk away under them. While it moves the disk is
# open with O_EXCL, so that nobody can mount it. If the new driver does not take
# the namespace, the old one gets it back.

set -u

bus=/sys/bus/nd
claims=$bus/drivers/pmem_dax/claim
boot_file=/etc/modprobe.d/pmem-dax.conf
boot_mark='# Made by "pmem-dax attach --boot"; "pmem-dax detach --boot" removes it.'

usage() {
	cat <<-END
		usage: pmem-dax list
		       pmem-dax status NAMESPACE
		       pmem-dax attach NAMESPACE[:SETTING...] [--boot]
		       pmem-dax detach NAMESPACE [--boot]
		       pmem-dax help
	END
}

say() {
	echo "pmem-dax: $*"
}

die() {
	say "$*" >&2
	exit 1
}

# in_use TEXT: the refusal that is nobody's fault.
in_use() {
	printf '%s\n' "$1" | sed 's/^/pmem-dax: /' >&2
	say "$namespace stays with ${from:-nobody}" >&2
	exit 3
}

# write WORD FILE: into a sysfs file; quietly, as the caller tells of a failure.
write() {
	(echo "$1" >"$2") 2>/dev/null
}

# attribute DEVICE NAME: of sysfs. It may wait for the lock of the device, which is held
# while a driver takes it, or lets go of it, and then nothing ends who reads it; so he is
# left behind after a while.
attribute() {
	{ cat "$bus/devices/$1/$2" 2>/dev/null 9>&- & } | timeout 3 cat
}

# busy NAMESPACE: why the lock of its device is held; nothing if it is not. The size of a pfn
# is one of the attributes that want it.
busy() {
	holder=$(attribute "$1" holder) && attribute "${holder:-$1}" size >/dev/null && return
	taker=$(driver "${holder:-$1}")
	echo "$1 is being ${taker:+bound to }${taker:-unbound}: dmesg says what it waits for"
}

# owner NAMESPACE: the device of the bus that makes a disk of it: another one, pfnX.Y
# in fsdax mode, if it is not used raw.
owner() {
	holder=$(cat "$bus/devices/$1/holder" 2>/dev/null)
	echo "${holder:-$1}"
}

# driver DEVICE: its driver; nothing if it has none.
driver() {
	link=$(readlink "$bus/devices/$1/driver") && echo "${link##*/}"
}

# disk DEVICE: its disk; nothing if it has none.
disk() {
	ls "$bus/devices/$1/block" 2>/dev/null
}

# mode NAMESPACE: as ndctl calls it.
mode() {
	case $(cat "$bus/devices/$1/mode") in
	safe) echo sector ;;
	memory) echo fsdax ;;
	dax) echo devdax ;;
	*) echo raw ;;
	esac
}

# claimed NAMESPACE: the line of the list by which pmem_dax takes it; else nothing.
claimed() {
	claim "$1" | grep . || claim all
}

# claim NAMESPACE: its line in the list of those that pmem_dax takes; else nothing.
claim() {
	awk -F : -v n="$1" '$1 == n' "$claims" 2>/dev/null
}

# kernel_files: the number of each block device that the kernel has open because it was
# told of a file, and where that shows: loop devices, exports of NVMe, targets of LIO,
# USB gadgets.
kernel_files() {
	# By number, as the name may be one of another mount namespace.
	# shellcheck disable=SC2016 # Perl's variables
	perl -e '
		for (glob("/sys/block/loop*/loop/backing_file")) {
			my ($loop) = m{^/sys/block/([^/]*)};
			# LOOP_GET_STATUS64; lo_rdevice is the third number.
			my $status = "\0" x 232;
			my $file;
			open($file, "<", "/dev/$loop") && ioctl($file, 0x4C05, $status) or next;
			my $rdev = (unpack("Q3", $status))[2];
			printf("%d:%d %s\n", $rdev >> 8 & 0xfff, $rdev & 0xff | $rdev >> 12 & 0xfff00, $_);
		}'
	for file in /sys/kernel/config/nvmet/subsystems/*/namespaces/*/device_path \
		/sys/kernel/config/usb_gadget/*/functions/mass_storage.*/lun.*/file; do
		[ ! -e "$file" ] || [ "$(cat "${file%/*}/enable" 2>/dev/null)" = 0 ] ||
			echo "$(stat -L -c %Hr:%Lr "$(cat "$file")" 2>/dev/null) $file"
	done
	for file in /sys/kernel/config/target/core/fileio_*/*/info; do
		[ ! -e "$file" ] ||
			echo "$(stat -L -c %Hr:%Lr \
				"$(sed -n 's/.* File: \(.*\)  Size: .*/\1/p' "$file")" 2>/dev/null) $file"
	done
	for file in /sys/kernel/config/target/core/iblock_*/*/info; do
		[ ! -e "$file" ] ||
			echo "$(sed -n 's/.*Major: \([0-9]*\) Minor: \([0-9]*\) .*/\1:\2/p' "$file") $file"
	done
}

# unexplained DISK [PID]: how often it is open, but by that process. Only pmem_dax can tell.
unexplained() {
	opens=$(cat "/sys/block/$1/pmem_dax/openers" 2>/dev/null)
	# That one has it once, if at all: see give.
	[ -z "${2:-}" ] || [ -n "${PMEM_DAX_REFUSED:-}" ] || opens=$((${opens:-1} - 1))
	echo "${opens:-0}"
}

# users DISK [PID]: a line for each user of the disk or a partition of it, but for one
# process; one for all that is not known.
users() {
	known=$(known_users "$@")
	opens=$(unexplained "$@")
	# Who closes it may not be done.
	for _ in 1 2 3 4 5; do
		if [ -n "$known" ] || [ "$opens" -le 0 ]; then
			break
		fi
		sleep 0.2
		opens=$(unexplained "$@")
	done
	# And who opened it may have been missed.
	if [ -z "$known" ] && [ "$opens" -gt 0 ]; then
		known=$(known_users "$@")
	fi
	if [ -n "$known" ]; then
		echo "$known"
	elif [ "$opens" -gt 0 ]; then
		echo "$1 is open, and no process shows it (openers: $opens):" \
			"a file on its way through a socket, or something in the kernel"
	fi
}

# known_users DISK [PID]: a line for each known user of the disk or a partition of it,
# but for one process.
known_users() {
	parts=$(for file in "/sys/class/block/$1/dev" "/sys/class/block/$1/$1"p*/dev; do
		[ -e "$file" ] || continue
		part=${file%/dev}
		echo "part $(cat "$file") ${part##*/}"
	done)

	# Every process's mounts: containers have their own. Some file systems are
	# known by the name of the disk only.
	{
		echo "$parts"
		printf '%s\n' /proc/[0-9]*/mountinfo | xargs cat 2>/dev/null
	} | awk '
		/^part / { name[$2] = name["/dev/" $3] = $3; next }
		!($3 in name) { $3 = $(NF - 1) }
		$3 in name { print name[$3] " is mounted at " $5 }' | sort -u
	{
		echo "$parts"
		cat /proc/swaps
	} | awk '
		/^part / { swap["/dev/" $3]; next }
		$1 in swap { print "the kernel swaps to " $1 }'
	for file in "/sys/class/block/$1"/holders/* "/sys/class/block/$1/$1"p*/holders/*; do
		part=${file%/holders/*}
		[ ! -e "$file" ] || echo "${part##*/} is part of /dev/${file##*/}"
	done
	{
		echo "$parts"
		kernel_files
	} | awk '
		/^part / { name[$2] = $3; next }
		$1 in name { print name[$1] " is what " $2 " names" }'
	pinned=$(cat "/sys/block/$1/pmem_dax/pinned" 2>/dev/null)
	[ "${pinned:-0}" = 0 ] || echo "$pinned pages of $1 are pinned: by io_uring, RDMA or VFIO"
	{
		# By number, whatever the node is called. Each thread may have files of its
		# own, and a mapping outlives its file.
		{
			echo "$parts"
			printf '%s\n' /proc/[0-9]*/task/[0-9]*/fd/* /proc/[0-9]*/map_files/* |
				xargs stat --cached=always -L -c '%Hr:%Lr %n %F' 2>/dev/null
		} | awk '
			/^part / { name[$2] = $3; next }
			/ block special file$/ && $1 in name {
				split($2, path, "/")
				print path[3], name[$1], "open or mapped"
			}'
		# What was registered with an io_uring is known by name.
		find /proc/[0-9]*/fd -lname 'anon_inode:*io_uring*' 2>/dev/null |
			sed 's|/fd/|/fdinfo/|' | xargs -r grep -EHs "^ *[0-9]+: /dev/$1(p[0-9]+)?\$" |
			sed 's|^/proc/\([0-9]*\)/.*: /dev/\(.*\)|\1 \2 in an io_uring|'
	} | sort -u | while read -r pid part how; do
		# It may be gone.
		[ "$pid" = "${2:-}" ] || ! comm=$(cat "/proc/$pid/comm" 2>/dev/null) ||
			echo "process $pid ($comm) has $part $how"
	done
}

# boot_claims: what pmem_dax is told by the lines in $boot_file that are ours: names
# with commas between them.
boot_claims() {
	awk -v mark="$boot_mark" '
		$0 == mark { own = 1; next }
		own && sub(/^options pmem_dax claim=/, "") { print }
		{ own = 0 }' "$boot_file" 2>/dev/null
}

# boot_others: the other lines about it, of any file and of the kernel's command line.
boot_others() {
	modprobe -c | grep '^options pmem_dax .*claim=' |
		grep -Fvx "options pmem_dax claim=$(boot_claims)"
}

# boot_line NAMESPACE: what makes pmem_dax take it at the next boot; else nothing.
boot_line() {
	modprobe -c | sed -n 's/^options pmem_dax .*claim=\([^ ]*\).*/\1/p' | tail -n 1 | tr , '\n' |
		awk -F : -v n="$1" '$1 == n || $1 == "all"'
}

# boot_check: whether it can be set what happens at boot.
boot_check() {
	[ "$to" != pmem_dax ] || modinfo pmem_dax >/dev/null 2>&1 ||
		die "pmem_dax is not installed where modprobe finds it: make install"
	others=$(boot_others)
	[ -z "$others" ] ||
		die "the last claim= counts, so change this line yourself, and leave out --boot:" \
			"$others (see: grep -r claim= /etc/modprobe.d /proc/cmdline)"
}

# boot_set [ENTRY]: the namespace is claimed so at boot; or not at all.
boot_set() {
	list=$({
		boot_claims | tr , '\n' | awk -F : -v n="$namespace" '$1 != n'
		[ -z "${1:-}" ] || echo "$1"
	} | paste -s -d , -)
	[ "${#list}" -lt 1024 ] || die "the list of claims has no room for $namespace"
	mkdir -p "${boot_file%/*}"
	{
		[ ! -e "$boot_file" ] || awk -v mark="$boot_mark" '
			$0 == mark { own = 1; next }
			own && /^(options pmem_dax claim=|softdep nd_pmem pre: pmem_dax$)/ { next }
			{ own = 0; print }' "$boot_file"
		if [ -n "$list" ]; then
			echo "$boot_mark"
			echo "options pmem_dax claim=$list"
			echo "softdep nd_pmem pre: pmem_dax"
		fi
	} >"$boot_file.new" || die "$boot_file.new cannot be written"
	sync "$boot_file.new"
	if [ -s "$boot_file.new" ]; then
		mv "$boot_file.new" "$boot_file"
	else
		rm -f "$boot_file.new" "$boot_file"
	fi
	say "at boot $namespace goes to $to; if an initramfs has nd_pmem, make it again" \
		"(update-initramfs -u)"
}

# done_with TEXT: the move, or there was nothing to do.
done_with() {
	say "$1"
	if [ -n "$boot" ]; then
		case $to in
		pmem_dax)
			entry=$(claim "$namespace")
			# It may have been taken as one of all.
			[ -n "$entry" ] || entry=$namespace$(claim all | sed 's/^all//')
			boot_set "$entry"
			;;
		nd_pmem) boot_set ;;
		esac
	fi
	exit 0
}

# bind DRIVER: whether the driver took the namespace.
bind() {
	write "$device" "$bus/drivers/$1/bind"
	device=$(owner "$namespace")
	[ "$(driver "$device")" = "$1" ]
}

# restore_claim: to $old.
restore_claim() {
	if [ -n "$old" ]; then
		write "$old" "$claims"
	elif [ -n "$(claim "$namespace")" ]; then
		write "-$namespace" "$claims"
	fi
}

# move: from $from, which is empty if no driver has the namespace, to $to.
move() {
	old=$(claim "$namespace")
	if [ "$to" = pmem_dax ] && { [ -z "$old" ] || [ -n "$setting" ]; }; then
		write "$namespace$setting" "$claims" ||
			die "pmem_dax refuses the claim $namespace$setting; dmesg says why"
		[ "$from" != "$to" ] || [ "$(claim "$namespace")" != "$old" ] ||
			done_with "$to has $namespace like that already"
	fi
	if [ -n "$from" ]; then
		write "$device" "$bus/drivers/$from/unbind"
		if [ -n "$(driver "$device")" ]; then
			restore_claim
			die "$from did not let go of $namespace"
		fi
	fi
	[ "$to" = pmem_dax ] || [ -z "$old" ] || write "-$namespace" "$claims"
	bind "$to" && return

	say "$to did not take $namespace; dmesg says why" >&2
	restore_claim
	[ -n "$from" ] || die "it has no driver, as before"
	bind "$from" || die "and $from did not take it back: it has no driver now"
	die "$from has it again: nothing was changed"
}

# known: whether there is such a namespace.
known() {
	case $namespace in
	*/*) die "$namespace is not the name of a namespace" ;;
	namespace*) ;;
	*) die "$namespace is not the name of a namespace, like namespace0.0" ;;
	esac
	[ -d "$bus/devices/$namespace" ] ||
		die "there is no $namespace; see: pmem-dax list"
}

# not_busy: whether its driver may be asked for, and changed.
not_busy() {
	busy=$(busy "$namespace")
	[ -z "$busy" ] || {
		say "$busy" >&2
		exit 3
	}
}

# check: whether the namespace may be moved.
check() {
	[ "$(id -u)" = 0 ] || die "this needs root"
	[ -d "$bus/drivers/$to" ] || modprobe "$to" ||
		die "$to is not loaded, and modprobe does not load it"
	known
	case $device in
	namespace* | pfn*) ;;
	*) die "$namespace is in $(mode "$namespace") mode; see: ndctl list -Ni -n $namespace" ;;
	esac
	case $from in
	"" | nd_pmem | pmem_dax) ;;
	*) die "$namespace belongs to the driver $from" ;;
	esac
	[ -z "$boot" ] || boot_check
}

# give: the namespace to $to. Run twice if there is a disk: the second time
# by the process that holds the disk, or tells in $PMEM_DAX_REFUSED why it cannot.
give() {
	[ "${PMEM_DAX_HELD_BY:-}" = "$PPID" ] || not_busy
	device=$(owner "$namespace")
	from=$(driver "$device")
	if [ "${PMEM_DAX_HELD_BY:-}" != "$PPID" ]; then
		check
		exec 9>/run/pmem-dax.lock
		flock 9
	fi
	if [ "$from" = "$to" ] &&
		{ [ -z "$setting" ] || [ "$(claim "$namespace")" = "$namespace$setting" ]; }; then
		done_with "$to has $namespace already"
	fi
	disk=$(disk "$device")
	if [ -n "$disk" ]; then
		# udev does not look at a disk that is locked with flock.
		# shellcheck disable=SC2016 # Perl's variables
		[ "${PMEM_DAX_HELD_BY:-}" = "$PPID" ] || exec perl -MFcntl=:DEFAULT,:flock -e '
			my $disk = shift;
			$ENV{PMEM_DAX_HELD_BY} = $$;
			$ENV{PMEM_DAX_REFUSED} = "";
			if (sysopen(my $file, $disk, O_RDONLY | O_EXCL)) {
				our $held = $file;
				for (1 .. 50) {
					last if flock($held, LOCK_EX | LOCK_NB);
					select(undef, undef, undef, 0.1);
				}
			} else {
				$ENV{PMEM_DAX_REFUSED} = "$disk: $!" .
					($!{EBUSY} ? ": somebody in the kernel has it" : "");
			}
			my $status = system(@ARGV);
			exit($status & 127 ? 1 : $status >> 8)' "/dev/$disk" "$0" "$command" "$name" ${boot:+--boot}
		found=$(users "$disk" "$PMEM_DAX_HELD_BY")
		# udev opens a disk for a moment even if it is locked.
		[ -z "$found" ] || [ ! -e /run/udev/control ] || [ -n "$PMEM_DAX_REFUSED" ] || {
			sleep 1
			found=$(users "$disk" "$PMEM_DAX_HELD_BY")
		}
		[ -z "$found$PMEM_DAX_REFUSED" ] || in_use "${found:-$PMEM_DAX_REFUSED}"
		sync "/dev/$disk" || die "/dev/$disk cannot be written back; $namespace stays with $from"
	fi
	move
	# It asks all namespaces, one of which may be being unbound.
	! command -v ndctl >/dev/null || { ndctl list -n "$namespace" 2>&1 9>&- & } | timeout 20 cat
	done_with "$namespace is /dev/$(disk "$device") of $to now"
}

# used DISK: whether it is, as far as may be known.
used() {
	if [ -z "$1" ]; then
		echo -
	elif [ "$(id -u)" != 0 ]; then
		echo "?"
	elif [ -n "$(users "$1")" ]; then
		echo yes
	else
		echo no
	fi
}

list() {
	status=0
	format='%-14s %-7s %7s  %-9s %-8s %-11s %s\n'
	# shellcheck disable=SC2059 # it is a format
	printf "$format" NAMESPACE MODE SIZE DRIVER DISK CLAIMED USERS
	for dir in "$bus"/devices/namespace*; do
		size=$(cat "$dir/size" 2>/dev/null)
		# What regions have ready for the next one has no size.
		[ "${size:-0}" != 0 ] || continue
		name=${dir##*/}
		busy=$(busy "$name")
		if [ -n "$busy" ]; then
			# shellcheck disable=SC2059
			printf "$format" "$name" "?" "$(numfmt --to=iec "$size")" "?" "?" "?" "?"
			say "$busy" >&2
			status=3
			continue
		fi
		owner=$(owner "$name")
		driver=$(driver "$owner")
		disk=$(disk "$owner")
		claimed=$(claimed "$name")
		case $claimed in
		"") claimed=no ;;
		*:*) claimed=${claimed#*:} ;;
		all) ;;
		*) claimed=yes ;;
		esac
		# shellcheck disable=SC2059
		printf "$format" "$name" "$(mode "$name")" "$(numfmt --to=iec "$size")" \
			"${driver:--}" "${disk:--}" "$claimed" "$(used "$disk")"
	done
	return $status
}

status() {
	known
	not_busy
	owner=$(owner "$namespace")
	driver=$(driver "$owner")
	disk=$(disk "$owner")
	size=$(cat "$bus/devices/$namespace/size")
	claimed=$(claimed "$namespace")
	at_boot=$(boot_line "$namespace")
	echo "namespace: $namespace"
	echo "mode:      $(mode "$namespace")"
	echo "size:      $size ($(numfmt --to=iec "$size"))"
	[ "$owner" = "$namespace" ] || echo "used as:   $owner"
	echo "driver:    ${driver:-none}"
	echo "disk:      ${disk:+/dev/}${disk:-none}"
	echo "claimed:   ${claimed:-no}"
	echo "at boot:   ${at_boot:+pmem_dax claims }${at_boot:-not claimed by pmem_dax}"
	case $(used "$disk") in
	yes) users "$disk" | sed '1s/^/users:     /; 1!s/^/           /' ;;
	no) echo "users:     none" ;;
	*) echo "users:     $(used "$disk")" ;;
	esac
}

wrong_usage() {
	usage >&2
	exit 2
}

command=${1:-}
boot=
name=
setting=
to=
[ $# = 0 ] || shift
for word; do
	case $word in
	--boot) boot=y ;;
	-*) wrong_usage ;;
	*)
		[ -z "$name" ] || wrong_usage
		name=$word
		;;
	esac
done
namespace=${name%%:*}
[ "$namespace" = "$name" ] || setting=:${name#*:}

case $command:${name:+name}:${setting:+setting}:$boot in
help:::* | --help:::* | -h:::*) usage ;;
list:::) list ;;
status:name::) status ;;
attach:name:*) to=pmem_dax && give ;;
detach:name::*) to=nd_pmem && give ;;
*) wrong_usage ;;
esac
