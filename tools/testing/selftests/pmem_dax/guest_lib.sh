# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Guests of a real KVM for the tests named guest_*: QEMU with a stock kernel, and
# in it a shell that takes commands from here. What is known of a guest is in the
# files of a directory, so that each test, which is a shell of its own, can go on
# with a guest that an earlier one started:
#
#   guest_start a -object ... -device ...
#   guest_boot a
#   guest a 'ls /dev/pmem0'
#   monitor a 'info memdev'
#   guest_quit a

GUEST_LIB=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
GUESTS=${GUESTS:-/tmp/guests}
GUEST_RAM=${GUEST_RAM:-256M}
# Seconds for one command, and for a boot, in an emulated machine that others share:
# with a tenth of a CPU it takes 150 s to boot.
GUEST_SECONDS=180
GUEST_BOOT_SECONDS=500

# The last three: not to look for what is not there takes seconds less.
GUEST_COMMAND_LINE="console=ttyS0 quiet panic=-1 mitigations=off tsc=reliable no_timer_check"
GUEST_COMMAND_LINE+=" pci=noearly,lastbus=0 8250.nr_uarts=1"

# What the guest's kernel has in modules, in the order in which they are loaded.
GUEST_MODULES="libnvdimm nfit nd_pmem virtio_pmem virtio_balloon ext4"

# have_kvm: or why not.
have_kvm() {
	[ -c /dev/kvm ] || modprobe -q kvm_amd || modprobe -q kvm_intel
	if [ ! -c /dev/kvm ]; then
		echo "no KVM"
	elif ! command -v qemu-system-x86_64 >/dev/null; then
		echo "no QEMU"
	fi
}

# guest_release: the guests' kernel: the running one, or the first that has an image. A debug
# kernel has none, takes minutes to boot in an emulated machine, and it is the host that it is for.
guest_release() {
	local release

	for release in "$(uname -r)" $(ls /usr/lib/modules); do
		if guest_kernel "$release" >/dev/null; then
			echo "$release"
			return
		fi
	done
	echo "no kernel has an image in /usr/lib/modules or /boot" >&2
	return 1
}

# guest_kernel RELEASE: its image.
guest_kernel() {
	local file

	for file in "/usr/lib/modules/$1/vmlinuz" "/boot/vmlinuz-$1"; do
		if [ -e "$file" ]; then
			echo "$file"
			return
		fi
	done
	return 1
}

# guest_initramfs [PROGRAM...]: make the guest's root, with these programs in its
# /bin, unless it is there.
# shellcheck disable=SC2120 # most need none
guest_initramfs() {
	local dir=$GUESTS/root file name module program

	[ ! -e "$GUESTS/initramfs" ] || return 0
	mkdir -p "$dir"/{bin,sbin,etc,dev,proc,sys,mnt,tmp,modules}
	cp "$(command -v busybox)" "$dir/bin/busybox"
	cp /etc/mke2fs.conf "$dir/etc"
	for program in "$(command -v mkfs.ext4)" "$(command -v ndctl)" "$@"; do
		cp -L "$program" "$dir/bin/${program##*/}"
		ldd "$program" | grep -o '/[^ ]*' | while read -r file; do
			mkdir -p "$dir/${file%/*}"
			cp -L "$file" "$dir/$file"
		done
	done
	for module in $GUEST_MODULES; do
		modprobe -S "$(guest_release)" -i --show-depends "$module"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r file; do
		name=${file##*/}
		name=${name%.xz}
		case $file in
		*.xz) xz -dc "$file" >"$dir/modules/$name" ;;
		*) cp "$file" "$dir/modules" ;;
		esac
		echo "$name" >>"$dir/modules/order"
	done
	cat >"$dir/init" <<-"INIT"
		#!/bin/busybox sh
		# Take commands from a virtio port; after each one say how it ended.
		/bin/busybox --install -s /bin
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs devtmpfs /dev
		while read -r name; do insmod "/modules/$name"; done </modules/order
		# The port is made by a work queue. Without it this would make a file.
		while [ ! -c /dev/vport0p1 ]; do sleep 0.1; done
		exec 3<>/dev/vport0p1
		echo ready >&3
		while read -r line <&3; do
			eval "$line" </dev/null >&3 2>&1
			echo "= $?" >&3
		done
	INIT
	chmod +x "$dir/init"
	(cd "$dir" && find . | cpio -o -H newc 2>/dev/null) >"$GUESTS/initramfs"
	rm -r "$dir"
}

# nvdimm NODE [SETTING...]: $NVDIMM is what makes a device of the guest of it. The
# settings are those of the memory backend, and come last, so they win.
nvdimm() {
	local node=$1 id=nv${#NVDIMM[@]} settings

	shift
	settings=$(IFS=, && echo "$*")
	NVDIMM=(-object "memory-backend-file,id=m$id,mem-path=$node,align=2M,share=on,pmem=on${settings:+,$settings}"
		-device "nvdimm,memdev=m$id,id=$id")
}

# guest_run DIR ARGUMENT...: QEMU, with what belongs to it in there.
guest_run() {
	local dir=$1 line='' ended monitor status=0

	shift
	# What is in a pipe is gone with the last who has it open, and a directory when a guest
	# of the same name is started.
	exec {monitor}<>"$dir/monitor.out" {ended}>"$dir/ended"
	# Its memory is of a kind that KVM maps in 4 KiB: what is mapped in larger pages
	# is not that.
	#
	# The port is a legacy one, whose queues are told of by I/O ports and not by memory. For a
	# store to memory that is none, once it has forgotten all pages of the guest, KVM has to
	# emulate; it refuses if an exception is on its way, and takes that for true if exit_int_info
	# has the type of one (svm_check_emulate_instruction()). TCG leaves it there when it has come.
	# shellcheck disable=SC2086 # words
	${GUEST_BEFORE:-} qemu-system-x86_64 -S -accel kvm -cpu qemu64 -smp 1 \
		-machine "q35,nvdimm=on,usb=off,smm=off,i8042=off,sata=off,smbus=off${GUEST_MACHINE-,memory-backend=ram}" \
		-m "$GUEST_RAM,slots=4,maxmem=16G" \
		-object "memory-backend-memfd,id=ram,size=$GUEST_RAM" \
		-nodefaults -no-user-config -display none -no-reboot \
		-kernel "$(guest_kernel "$(guest_release)")" -initrd "$GUESTS/initramfs" \
		-append "$GUEST_COMMAND_LINE ${GUEST_APPEND:-}" \
		-serial "file:$dir/console" \
		-chardev "pipe,id=port,path=$dir/port" -device virtio-serial,disable-legacy=off,disable-modern=on \
		-device virtserialport,chardev=port \
		-chardev "pipe,id=monitor,path=$dir/monitor" -mon chardev=monitor,mode=control \
		"$@" </dev/null >"$dir/said" 2>&1 &
	echo $! >"$dir/pid"
	wait $! || status=$?
	# The monitor told why, unless it was killed: guest-reset, and nothing on the console, is a
	# triple fault.
	echo "QEMU has ended, with status $status" >&"$ended"
	while IFS= read -r -t 0.1 line; do
		[[ $line != *SHUTDOWN* ]] || echo "$line"
	done <&"$monitor" >&"$ended"
}

# guest_start NAME ARGUMENT...: start QEMU, stopped. Before, $GUEST_BEFORE may have
# a command that it is started by. Fails if QEMU does; $(guest_said NAME) is why.
guest_start() {
	local dir=$GUESTS/$1 end=$((SECONDS + GUEST_SECONDS))

	shift
	rm -rf "$dir"
	mkdir -p "$dir"
	mkfifo "$dir"/{port,monitor}.{in,out}
	# shellcheck disable=SC2119 # not what this function is for
	guest_initramfs
	guest_run "$dir" "$@" </dev/null >/dev/null 2>&1 &
	# The shell is not to tell when it is killed.
	disown
	until [ -s "$dir/pid" ]; do
		[ $SECONDS -lt $end ] || return
		sleep 0.01
	done
	guest_greeted "${dir##*/}"
}

# fetch FD SECONDS: a whole line, in $line; fails if it is not there in time. What there
# is of it is kept in $part, for the next call, to the last blank.
fetch() {
	if IFS= read -r -t "$2" line <&"$1"; then
		line=$part$line
		part=
	else
		part+=$line
		line=
		return 1
	fi
}

# guest_greeted NAME: QEMU's monitor answers, so it has all devices; or QEMU died.
guest_greeted() {
	local dir=$GUESTS/$1 line='' part='' monitor commands end=$((SECONDS + GUEST_SECONDS))

	# Both ways, as QEMU may never come to open it.
	exec {monitor}<>"$dir/monitor.out" {commands}<>"$dir/monitor.in"
	echo '{"execute":"qmp_capabilities"}' >&"$commands"
	while [ $SECONDS -lt $end ]; do
		if fetch "$monitor" 0.1; then
			[[ $line != '{"return"'* ]] || break
		elif ! guest_lives "$1"; then
			break
		fi
	done
	exec {monitor}>&- {commands}>&-
	[[ $line == '{"return"'* ]]
}

guest_pid() {
	cat "$GUESTS/$1/pid"
}

# guest_said NAME: what QEMU wrote.
guest_said() {
	cat "$GUESTS/$1/said"
}

# guests_state: of each guest what may tell why a test failed.
guests_state() {
	local dir name

	for dir in "$GUESTS"/*/; do
		name=$(basename "$dir")
		[ -e "$dir/pid" ] || continue
		echo "guest $name: what QEMU wrote, and the end of the console"
		guest_said "$name"
		# QEMU may not have come to make it.
		[ ! -e "$dir/console" ] || tail -n 20 "$dir/console"
		guest_lives "$name" || { sleep 1 && cat "$dir/ended" && continue; }
		monitor "$name" 'info status'
		monitor "$name" 'info registers' | grep IP=
		grep . /sys/kernel/debug/kvm/"$(guest_pid "$name")"-*/{exits,halt_exits,pages_*}
	done 2>&1 | sed 's/^/# /'
}

# guest_lives NAME: QEMU does, or one of its threads, which have its memory and files.
guest_lives() {
	local pid state tasks

	pid=$(guest_pid "$1")
	state=$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null) || return
	tasks=("/proc/$pid/task"/*)
	[ -n "$state" ] && { [ "$state" != Z ] || [ ${#tasks[@]} -gt 1 ]; }
}

# monitor NAME COMMAND: what QEMU's monitor for people answers.
monitor() {
	local dir=$GUESTS/$1 line='' part='' monitor i

	exec {monitor}<>"$dir/monitor.out"
	printf '{"execute":"human-monitor-command","arguments":{"command-line":"%s"}}\n' \
		"${2//\"/\\\"}" 1<>"$dir/monitor.in"
	for ((i = 0; i < GUEST_SECONDS; )); do
		if ! fetch "$monitor" 1; then
			guest_lives "$1" || break
			i=$((i + 1))
			continue
		fi
		case $line in
		'{"return": "'*)
			exec {monitor}>&-
			line=${line#'{"return": "'}
			line=${line%'"}'*}
			# What printf leaves alone of the escapes of JSON.
			printf '%b' "${line//\\\"/\"}"
			return
			;;
		'{"error"'*) break ;;
		esac
	done
	exec {monitor}>&-
	echo "the monitor of guest $1: ${line:-no answer to $2}" >&2
	return 1
}

# guest_boot NAME...: let them run, one after the other, until they take commands.
guest_boot() {
	local name line part port i

	for name; do
		monitor "$name" cont
		exec {port}<>"$GUESTS/$name/port.out"
		line=
		part=
		for ((i = 0; i < GUEST_BOOT_SECONDS; i++)); do
			fetch "$port" 1 || true
			[ "$line" = ready ] || guest_lives "$name" || break
			[ "$line" != ready ] || break
		done
		exec {port}>&-
		if [ "$line" != ready ]; then
			echo "guest $name did not boot"
			guests_state
			guest_kill "$name"
			return 1
		fi
	done
}

# guest_tell NAME COMMAND: and do not wait for what comes of it.
guest_tell() {
	echo "${2//$'\n'/ }" 1<>"$GUESTS/$1/port.in"
}

# guest_answer NAME: the output and the status of what it was told; 125 if that does
# not end.
guest_answer() {
	local line='' part='' port i

	exec {port}<>"$GUESTS/$1/port.out"
	for ((i = 0; i < GUEST_SECONDS; )); do
		if ! fetch "$port" 1; then
			guest_lives "$1" || break
			i=$((i + 1))
			continue
		fi
		if [[ $line == "= "* ]]; then
			exec {port}>&-
			return "${line#= }"
		fi
		printf '%s\n' "$line"
	done
	exec {port}>&-
	echo "guest $1 does not answer" >&2
	return 125
}

# guest NAME COMMAND: run it there.
guest() {
	guest_tell "$@"
	guest_answer "$1"
}

# guest_gone NAME: QEMU ended, soon.
guest_gone() {
	local end=$((SECONDS + GUEST_SECONDS))

	while [ $SECONDS -lt $end ]; do
		guest_lives "$1" || return 0
		sleep 0.1
	done
	echo "guest $1 did not end" >&2
	return 1
}

# guest_quit NAME: end QEMU, as one pulls a plug.
guest_quit() {
	echo '{"execute":"quit"}' 1<>"$GUESTS/$1/monitor.in"
	guest_gone "$1"
}

# guest_off NAME: the guest's own way.
guest_off() {
	guest_tell "$1" 'umount /mnt; sync; poweroff -f'
	guest_gone "$1"
}

# guest_kill NAME: if it is there.
guest_kill() {
	if guest_lives "$1"; then
		kill -KILL "$(guest_pid "$1")" && guest_gone "$1"
	fi
}

# guests_end: all of them.
guests_end() {
	local dir status=0

	for dir in "$GUESTS"/*/; do
		[ ! -e "$dir/pid" ] || guest_kill "$(basename "$dir")" || status=1
	done
	return $status
}

# kvm_pages NAME 4k|2m|1g: how many leaves of that size KVM's page tables of it have.
kvm_pages() {
	local pid dir

	pid=$(guest_pid "$1")
	for dir in /sys/kernel/debug/kvm/"$pid"-*; do
		cat "$dir/pages_$2"
		return
	done
	echo "KVM tells nothing of guest $1" >&2
	return 1
}

# starts_with NODE: the line of text that the media has at its very start.
starts_with() {
	head -c 64 "$1" | head -n 1 | tr -c '[:print:]\n' '?'
}

# trace EVENT...: from here on, those of pmem_dax are told to traced.
trace() {
	local event

	echo >/sys/kernel/tracing/trace
	for event; do
		echo 1 >"/sys/kernel/tracing/events/pmem_dax/$event/enable"
	done
}

# traced PATTERN: how many lines there are of it.
traced() {
	grep -c -e "$1" /sys/kernel/tracing/trace || true
}

trace_off() {
	[ ! -e /sys/kernel/tracing/events/pmem_dax ] ||
		echo 0 >/sys/kernel/tracing/events/pmem_dax/enable
}

# The next test goes on with the guests.
after_failure() {
	trace_off
	guests_state
}

clean_up() {
	trace_off
	guests_end
}

# run_guest_tests NAMESPACE... -- TEST...: run_tests, if there can be guests. What
# they leave ends with each test that fails, and at the end.
run_guest_tests() {
	local reason

	reason=$(have_kvm)
	if [ -n "$reason" ]; then
		ktap_print_header
		ktap_skip_all "$reason"
		exit "$KSFT_SKIP"
	fi
	# Guests of another script are not this one's, but their root may be.
	rm -rf "$GUESTS"/*/
	run_tests "$@"
}
