#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# pmem-dax moves a namespace there and back, never while somebody uses it, and says
# who does; a move that fails changes nothing. (What it does for the next boot is
# tested with boots: tools/testing/boot.)

# shellcheck source=lib.sh disable=SC1091
. "$(dirname "$0")/lib.sh"
# shellcheck source=tool_lib.sh disable=SC1091
. "$LIB_DIR/tool_lib.sh"
# shellcheck source=/dev/null
. "$LIB_DIR/../kselftest/ktap_helpers.sh"

NVMET=/sys/kernel/config/nvmet/subsystems/test

claims() {
	paste -s -d ' ' "$DRIVERS/pmem_dax/claim"
}

test_there_and_back() {
	local sum

	both
	dd if=/dev/urandom of=/dev/pmem0 bs=1M count=1 status=none
	sum=$(head -c 1M /dev/pmem0 | md5sum)
	tool 0 attach namespace0.0
	said "namespace0.0 is /dev/pmem0 of pmem_dax now"
	# As ndctl list says it.
	said ' *"blockdev":"pmem0"'
	expect pmem_dax "$(driver_of namespace0.0)" driver
	expect namespace0.0 "$(claims)" claims
	expect "$sum" "$(head -c 1M /dev/pmem0 | md5sum)" contents
	tool 0 attach namespace0.0
	said "pmem_dax has namespace0.0 already"
	tool 0 detach namespace0.0
	said "namespace0.0 is /dev/pmem0 of nd_pmem now"
	expect nd_pmem "$(driver_of namespace0.0)" driver
	expect "" "$(claims)" claims
	expect "$sum" "$(head -c 1M /dev/pmem0 | md5sum)" contents
	tool 0 detach namespace0.0
	said "nd_pmem has namespace0.0 already"
}

# They are the driver's affair.
test_settings() {
	both
	tool 1 attach namespace2.0:align=7G
	expect nd_pmem "$(driver_of namespace2.0)" "driver after a bad setting"
	expect "" "$(claims)" claims
	tool 0 attach namespace2.0:align=1G
	expect namespace2.0:align=1G "$(claims)" claims
	# None: it stays as it is. The default by name: it does not.
	tool 0 attach namespace2.0
	expect namespace2.0:align=1G "$(claims)" claims
	tool 0 list
	# That is how the kernel calls memory that it could make struct pages for.
	said "namespace2.0 *fsdax *64M *pmem_dax *pmem2 *align=1G *no"
	tool 0 attach namespace2.0:align=2M
	expect namespace2.0 "$(claims)" claims
	tool 0 status namespace2.0
	said "mode: *fsdax"
	said "size: *67108864 (64M)"
	said "driver: *pmem_dax"
	said "disk: */dev/pmem2"
	said "claimed: *namespace2.0"
	said "at boot: *not claimed by pmem_dax"
	said "users: *none"
}

# Taken as one of all, and given back, which takes nothing off the list.
test_all() {
	unload_all
	load claim=all
	modprobe nd_pmem
	tool 0 detach namespace2.0
	expect nd_pmem "$(driver_of namespace2.0)" driver
	expect all "$(claims)" claims
	expect pmem_dax "$(driver_of namespace0.0)" "driver of another one"
	tool 0 list
	said "namespace0.0 .* pmem_dax *pmem[0-9]* *all *no"
}

test_wrong_arguments() {
	local words

	both
	for words in "" "list namespace0.0" "status namespace0.0:align=1G" attach \
		"attach namespace0.0 namespace2.0" "attach --reboot namespace0.0" \
		"detach namespace0.0:align=1G"; do
		# shellcheck disable=SC2086 # words
		tool 2 $words
	done
	for words in pmem0 namespace9.0 namespace0.0/..; do
		tool 1 attach "$words"
	done
	expect nd_pmem "$(driver_of namespace0.0)" driver
}

# use NODE...: seven partitions, each used in another way; the last is for processes.
use() {
	mkfs.ext2 -q "${1}p1"
	mount "${1}p1" /mnt
	mkswap "${1}p2" >/dev/null
	swapon "${1}p2"
	dmsetup create moves --table "0 8192 linear ${1}p3 0"
	modprobe loop
	LOOP=$(losetup -f --show "${1}p4")
	modprobe nvmet
	mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
	mkdir -p $NVMET/namespaces/1
	echo -n "${1}p5" >$NVMET/namespaces/1/device_path
	echo 1 >$NVMET/namespaces/1/enable
}

let_go_all() {
	umount /mnt
	swapoff "${1}p2"
	dmsetup remove moves
	losetup -d "$LOOP"
	echo 0 >$NVMET/namespaces/1/enable
	rmdir $NVMET/namespaces/1 $NVMET
	modprobe -r nvmet
}

# What a test that failed had in use; which of it is not known.
after_failure() {
	local config=/sys/kernel/config gadget

	umount /mnt
	swapoff -a
	dmsetup remove moves
	losetup -D
	echo 0 >$NVMET/namespaces/1/enable
	rmdir $NVMET/namespaces/1 $NVMET "$config"/target/core/{fileio,iblock}_0/moves "$config"/target/core/{fileio,iblock}_0
	rm -f /dev/second
	[ ! -e /dev/away_loop ] || mv /dev/away_loop /dev/loop0
	gadget=$config/usb_gadget/moves
	rmdir "$gadget"/functions/mass_storage.0 "$gadget"
	modprobe -r nvmet
	pkill -KILL -x pmem-dax
	pkill -KILL -x strace
	[ ! -e /dev/away ] || mv /dev/away /dev/pmem0
} 2>/dev/null

# processes NODE [PINS]: those that have it in ways that are hard to find: in another mount
# namespace, in a mapping without a file, in a thread with files of its own, in an
# io_uring; and if it is wanted, one with nothing but pins. Tells their numbers, and ends when its input does.
processes() {
	python3 -I -S -c '
import ctypes, mmap, os, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
name = sys.argv[1].encode()
libc.syscall.restype = ctypes.c_long

def check(value):
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value

def mounted():
    check(libc.unshare(0x20000))
    check(libc.mount(None, b"/", None, 0x44000, None))
    check(libc.mount(name + b"p7", b"/media", b"ext2", 0, None))

def mapped():
    # By a name that nobody knows.
    os.mknod("/tmp/node", 0o600 | 0o60000, os.stat(name + b"p6").st_rdev)
    fd = os.open("/tmp/node", os.O_RDWR)
    global memory
    memory = mmap.mmap(fd, 4096, trackfd=False)
    os.close(fd)
    os.unlink("/tmp/node")

def threaded():
    ready = threading.Event()
    def run():
        check(libc.unshare(0x400))
        os.open(name + b"p6", os.O_RDONLY)
        ready.set()
        threading.Event().wait()
    threading.Thread(target=run, daemon=True).start()
    ready.wait()

def registered():
    params = (ctypes.c_ubyte * 120)()
    ring = check(libc.syscall(425, 1, params))
    fd = os.open(name + b"p6", os.O_RDONLY)
    check(libc.syscall(427, ring, 2, (ctypes.c_int * 1)(fd), 1))
    os.close(fd)

def pinned():
    fd = os.open(name + b"p6", os.O_RDWR)
    memory = mmap.mmap(fd, 4096, trackfd=False)
    os.close(fd)
    params = (ctypes.c_ubyte * 120)()
    ring = check(libc.syscall(425, 1, params))
    view = ctypes.c_char.from_buffer(memory)
    vector = (ctypes.c_ulong * 2)(ctypes.addressof(view), 4096)
    check(libc.syscall(427, ring, 0, vector, 1))
    del view
    memory.close()

uses = [mounted, mapped, threaded, registered]
if len(sys.argv) > 2:
    uses.append(pinned)
children = []
for use in uses:
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        use()
        os.write(into, b"x")
        threading.Event().wait()
    assert os.read(out, 1) == b"x"
    children.append(pid)
print(*children, flush=True)
sys.stdin.read()
for pid in children:
    os.kill(pid, 9)
    os.wait()' "$@"
}

# refuses DRIVER COMMAND [PINS]: with all that use the disk at the same time.
refuses() {
	local pids sectors

	hand_over namespace0.0 "$1"
	printf 'size=16MiB\n%.0s' 1 2 3 4 5 6 7 | sfdisk -q -w always --label gpt /dev/pmem0
	mkfs.ext2 -q /dev/pmem0p7
	use /dev/pmem0
	# The page cache of nd_pmem cannot be pinned for long.
	coproc USERS { processes /dev/pmem0 ${3:+"$3"}; }
	read -r -t 60 -a pids <&"${USERS[0]}" || fail "the processes failed"
	tool 3 "$2" namespace0.0
	said "pmem0p1 is mounted at /mnt"
	said "the kernel swaps to /dev/pmem0p2"
	said "pmem0p3 is part of /dev/dm-0"
	said "pmem0p4 is what /sys/block/loop0/loop/backing_file names"
	said "pmem0p5 is what $NVMET/namespaces/1/device_path names"
	said "pmem0p7 is mounted at /media"
	said "process ${pids[1]} (python3) has pmem0p6 open or mapped"
	said "process ${pids[2]} (python3) has pmem0p6 open or mapped"
	said "process ${pids[3]} (python3) has pmem0p6 in an io_uring"
	if [ -n "${3:-}" ]; then
		said "[1-9][0-9]* pages of pmem0 are pinned: .*"
		said "process ${pids[4]} (python3) has memory pinned, which may be that of pmem0"
	fi
	said "namespace0.0 stays with $1"
	expect "$1" "$(driver_of namespace0.0)" driver
	expect "$([ "$1" = nd_pmem ] || echo namespace0.0)" "$(claims)" claims
	let_go_all /dev/pmem0
	eval "exec ${USERS[1]}>&-"
	wait "$USERS_PID" || true
}

test_nd_pmem_in_use() {
	both
	refuses nd_pmem attach
}

test_pmem_dax_in_use() {
	both
	refuses pmem_dax detach pins
	# An io_uring is not gone as soon as its process.
	wait_for is_unpinned
	tool 0 detach namespace0.0
}

# configfs MODULE...: with what they have there.
configfs() {
	modprobe -a "$@"
	mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
}

# in_kernel DRIVER COMMAND: the kernel has the disk open for what was told its name; no process
# has, and nothing holds it.
in_kernel() {
	local config=/sys/kernel/config/target/core/fileio_0/moves
	local gadget=/sys/kernel/config/usb_gadget/moves loop

	hand_over namespace0.0 "$1"
	configfs target_core_mod target_core_file target_core_iblock libcomposite usb_f_mass_storage
	mkdir -p "$config"
	printf 'fd_dev_name=/dev/pmem0' >"$config/control"
	echo 1 >"$config/enable"
	tool 3 "$2" namespace0.0
	said "pmem0 is what $config/info names"
	expect "$1" "$(driver_of namespace0.0)" "driver beside LIO"
	rmdir "$config" "${config%/*}"

	config=/sys/kernel/config/target/core/iblock_0/moves
	mkdir -p "$config"
	printf 'udev_path=/dev/pmem0' >"$config/control"
	echo 1 >"$config/enable"
	tool 3 "$2" namespace0.0
	said "pmem0 is what $config/info names"
	expect "$1" "$(driver_of namespace0.0)" "driver beside LIO's own block device"
	rmdir "$config" "${config%/*}"

	mkdir -p "$gadget/functions/mass_storage.0"
	echo /dev/pmem0 >"$gadget/functions/mass_storage.0/lun.0/file"
	tool 3 "$2" namespace0.0
	said "pmem0 is what $gadget/functions/mass_storage.0/lun.0/file names"
	expect "$1" "$(driver_of namespace0.0)" "driver beside a gadget"
	rmdir "$gadget/functions/mass_storage.0" "$gadget"

	# Its name means nothing but where it was made.
	# shellcheck disable=SC2016 # for that shell
	loop=$(unshare -m sh -c 'mount -t tmpfs none /media && mknod /media/node b "0x$1" "0x$2" &&
		losetup -f --show /media/node' sh "$(stat -c %t /dev/pmem0)" "$(stat -c %T /dev/pmem0)")
	expect /node "$(cat "/sys/block/${loop#/dev/}/loop/backing_file")" "name of its file"
	tool 3 "$2" namespace0.0
	said "pmem0 is what /sys/block/${loop#/dev/}/loop/backing_file names"
	expect "$1" "$(driver_of namespace0.0)" "driver beside a loop device"
	losetup -d "$loop"

	# That name is gone, and the node of the loop device is elsewhere.
	mknod /dev/second b "0x$(stat -c %t /dev/pmem0)" "0x$(stat -c %T /dev/pmem0)"
	loop=$(losetup -f --show /dev/second)
	rm /dev/second
	expect "/dev/second (deleted)" "$(cat "/sys/block/${loop#/dev/}/loop/backing_file")" \
		"name of its file that is gone"
	tool 3 "$2" namespace0.0
	said "pmem0 is what /sys/block/${loop#/dev/}/loop/backing_file names"
	losetup -d "$loop"
	loop=$(losetup -f --show /dev/pmem0)
	mv "$loop" /dev/away_loop
	tool 3 "$2" namespace0.0
	said "pmem0 is what /sys/block/${loop#/dev/}/loop/backing_file names"
	expect "$1" "$(driver_of namespace0.0)" "driver beside a loop device without a node"
	mv /dev/away_loop "$loop"
	losetup -d "$loop"
	tool 0 "$2" namespace0.0
}

test_nd_pmem_in_kernel() {
	both
	in_kernel nd_pmem attach
}

test_pmem_dax_in_kernel() {
	both
	in_kernel pmem_dax detach
}

# A file that nobody has, as it is on its way from one process to another.
test_on_its_way() {
	both
	hand_over namespace0.0 pmem_dax
	coproc USERS { exec python3 -I -S -c '
import os, socket, sys
into, out = socket.socketpair()
for name in sys.argv[1:]:
    fd = os.open(name, os.O_RDONLY)
    socket.send_fds(into, [b"x"], [fd])
    os.close(fd)
print("sent", flush=True)
sys.stdin.read()' /dev/pmem0 /dev/pmem0; }
	read -r -t 60 <&"${USERS[0]}" || fail "it could not be sent"
	expect 2 "$(cat /sys/block/pmem0/pmem_dax/openers)" openers
	tool 3 detach namespace0.0
	said "pmem0 is open, and no process shows it (openers: 2): .*"
	said "namespace0.0 stays with pmem_dax"
	expect pmem_dax "$(driver_of namespace0.0)" driver
	tool 0 status namespace0.0
	said "users: *pmem0 is open, and no process shows it (openers: 2): .*"
	tool 0 list
	said "namespace0.0 .* yes"
	eval "exec ${USERS[1]}>&-"
	wait "$USERS_PID"
	tool 0 detach namespace0.0
}

# A backend of a hypervisor is handed the file by a socket, maps it, pins it, and keeps nothing but the
# pins; the process that opened the disk is gone.
test_handed_on() {
	local pid

	both
	hand_over namespace0.0 pmem_dax
	coproc USERS { exec python3 -I -S -c '
import ctypes, mmap, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def check(value):
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value

here, there = socket.socketpair()
if os.fork() == 0:
    fd = os.open(sys.argv[1], os.O_RDWR)
    memory = mmap.mmap(fd, 4096)
    socket.send_fds(there, [b"x"], [fd])
    os._exit(0)
fd = socket.recv_fds(here, 1, 1)[1][0]
os.wait()
there.close()
memory = mmap.mmap(fd, 4 << 20, trackfd=False)
os.close(fd)
print(os.getpid(), flush=True)
sys.stdin.readline()
params = (ctypes.c_ubyte * 120)()
ring = check(libc.syscall(425, 1, params))
view = ctypes.c_char.from_buffer(memory)
vector = (ctypes.c_ulong * 2)(ctypes.addressof(view), 4 << 20)
check(libc.syscall(427, ring, 0, vector, 1))
del view
memory.close()
print("pinned", flush=True)
sys.stdin.readline()' /dev/pmem0; }
	read -r -t 60 pid <&"${USERS[0]}" || fail "it could not be handed on"
	tool 3 detach namespace0.0
	said "process $pid (python3) has pmem0 open or mapped"
	echo >&"${USERS[1]}"
	read -r -t 60 <&"${USERS[0]}" || fail "it could not be pinned"
	tool 3 detach namespace0.0
	said "[1-9][0-9]* pages of pmem0 are pinned: .*"
	said "process $pid (python3) has memory pinned, which may be that of pmem0"
	! grep -q mapped <<<"$SAID" || fail "mapped still: $SAID"
	said "namespace0.0 stays with pmem_dax"
	echo >&"${USERS[1]}"
	wait "$USERS_PID"
	wait_for is_unpinned
	tool 0 detach namespace0.0
}

is_unpinned() {
	[ "$(cat /sys/block/pmem0/pmem_dax/pinned /sys/block/pmem0/pmem_dax/openers)" = "0
0" ]
}

# pause CALL PATH ARGUMENTS: start the tool, which waits before its first system call CALL, of that
# path unless it is "", until it goes on.
pause() {
	local call=$1 path=$2

	shift 2
	strace -D -o /tmp/trace -e "trace=$call" -e "inject=$call:delay_enter=600s" \
		${path:+-P "$path"} "$TOOL" "$@" >/tmp/said 2>&1 &
	PAUSED=$!
}

# go_on STATUS: the tool, which must exit so, when nobody traces it any more.
go_on() {
	local status=0

	kill -KILL "$(sed -n 's/^TracerPid:\t//p' "/proc/$PAUSED/status")"
	wait "$PAUSED" || status=$?
	SAID=$(</tmp/said)
	rm -f /tmp/said /tmp/trace
	expect "$1" "$status" "status of the tool, which said: $SAID"
}

# wait_for COMMAND...: that it is true.
wait_for() {
	local i

	for i in {1..150}; do
		if "$@"; then
			return
		fi
		sleep 0.2
	done
	fail "it is never true: $*"
}

# is_in NUMBER: the tool is at the system call of that number.
is_in() {
	[[ $(cat "/proc/$PAUSED/syscall" 2>/dev/null) == "$1 "* ]]
}

# Between the check and the move nobody can mount it.
test_mount_meanwhile() {
	both
	mkfs.ext2 -q -F /dev/pmem0 16M
	# It writes back what is cached when it saw that nobody uses the disk.
	pause fsync "" attach namespace0.0
	wait_for is_in 74
	if mount /dev/pmem0 /mnt 2>/dev/null; then
		umount /mnt
		fail "mounted while it is moved"
	fi
	go_on 0
	expect pmem_dax "$(driver_of namespace0.0)" driver
}

unbound() {
	[ ! -e "$DEVICES/namespace0.0/driver" ]
}

# The new driver does not want it, as its claim is gone at the last moment. Then the
# claim is as it was before, too.
test_goes_back() {
	both
	echo namespace0.0:align=1G >"$DRIVERS/pmem_dax/claim"
	pause openat "$DRIVERS/pmem_dax/bind" attach namespace0.0:align=2M
	wait_for unbound
	echo -namespace0.0 >"$DRIVERS/pmem_dax/claim"
	go_on 1
	said "nd_pmem has it again: nothing was changed"
	expect nd_pmem "$(driver_of namespace0.0)" driver
	expect namespace0.0:align=1G "$(claims)" claims
}

# What a unit of systemd asks before it starts what maps the disk.
test_check() {
	both
	tool 1 check namespace0.0
	said "namespace0.0 belongs to the driver nd_pmem, not pmem_dax"
	tool 1 check namespace9.0
	hand_over namespace0.0 pmem_dax
	tool 0 check namespace0.0
	expect "" "$SAID" "what it says if all is well"
	mv /dev/pmem0 /dev/away
	tool 1 check namespace0.0
	said "there is no /dev/pmem0, which namespace0.0 should be"
	mknod /dev/pmem0 b 7 0
	tool 1 check namespace0.0
	said "/dev/pmem0 is not namespace0.0: it is the device 7:0, and the disk is .*"
	mv /dev/away /dev/pmem0
	tool 0 check namespace0.0
	echo namespace0.0 >"$DRIVERS/pmem_dax/unbind"
	tool 1 check namespace0.0
	said "namespace0.0 has no driver"
}

# json EXPRESSION: in Python, of what the tool said.
json() {
	python3 -I -S -c 'import json, sys; said = json.load(sys.stdin); print(eval(sys.argv[1]))' \
		"$1" <<<"$SAID"
}

test_json() {
	both
	hand_over namespace2.0 pmem_dax
	tool 0 list --json
	expect "['raw', 536870912, 'nd_pmem', '/dev/pmem0', None, False]" \
		"$(json '[said[0][k] for k in ("mode", "size", "driver", "disk", "claim", "used")]')" \
		"namespace0.0"
	expect "['namespace2.0', 'pmem_dax', 'namespace2.0', None]" \
		"$(json '[said[2][k] for k in ("namespace", "driver", "claim", "busy")]')" "namespace2.0"
	exec 5</dev/pmem2
	tool 0 status --json namespace2.0
	expect "process pmem2 $BASHPID True" \
		"$(json '"{kind} {device} {pid} ".format(**said["users"][0]) + str(said["used"])')" users
	exec 5<&-
}

# In fsdax mode it moves as well; in others it is somebody's data.
test_modes() {
	both
	ndctl create-namespace -f -e namespace2.0 -m fsdax >/dev/null
	tool 0 attach namespace2.0:mode=fsdax
	tool 0 list
	said "namespace2.0 *fsdax *[0-9.]*M *pmem_dax *pmem2 *mode=fsdax *no"
	tool 0 detach namespace2.0
	said "namespace2.0 is /dev/pmem2 of nd_pmem now"
	ndctl create-namespace -f -e namespace2.0 -m sector >/dev/null
	tool 1 attach namespace2.0
	said "namespace2.0 is in sector mode; see: .*"
	ndctl create-namespace -f -e namespace2.0 -m raw >/dev/null
}

clean_up() {
	wipe namespace0.0
}

run_tests namespace0.0 namespace2.0 -- there_and_back settings all wrong_arguments \
	nd_pmem_in_use pmem_dax_in_use nd_pmem_in_kernel pmem_dax_in_kernel on_its_way handed_on \
	mount_meanwhile goes_back modes check json
