#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# pmempool_rm() of libpmempool 1.12.1 removes a pool of persistent memory. A good guess is
# that it looks for one first, as it has to tell a pool from a pool set, and as the same
# library says of other files that they are no pools (pmempool_check_init(), and a check
# that ends with 1, not consistent). But what does not begin like a pool set is just
# unlinked, with status 0 and no flag that forces it: a text, the image of a disk. Only
# the nodes of block devices and directories are refused, as files that it cannot remove.
#
# Who tidies up with it, or with "pmempool rm", checks the path first.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages libpmempool1=1.12.1-2 libpmem1=1.12.1-2 libpmemlog1=1.12.1-2 libndctl6 libdaxctl1 \
	libkeyutils1 gdisk=1.0.9-2.1 libpopt0
cat >"$work/program.py" <<'PYTHON'
import ctypes
import os
import sys

pool = ctypes.CDLL("libpmempool.so.1")
log = ctypes.CDLL("libpmemlog.so.1")
for function in (log.pmemlog_create, pool.pmempool_check_init, pool.pmempool_check):
    function.restype = ctypes.c_void_p


class Arguments(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p),
        ("backup", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("flags", ctypes.c_int),
    ]


def check(path):
    strings = 1 << 5  # PMEMPOOL_CHECK_FORMAT_STR
    arguments = Arguments(path.encode(), None, 0, strings)
    context = pool.pmempool_check_init(ctypes.byref(arguments), ctypes.c_size_t(24))
    if not context:
        return "no check"
    while pool.pmempool_check(ctypes.c_void_p(context)):
        pass
    return pool.pmempool_check_end(ctypes.c_void_p(context))


os.chdir(sys.argv[1])
log.pmemlog_close(ctypes.c_void_p(log.pmemlog_create(b"pool", ctypes.c_size_t(8 << 20), 0o600)))
os.mknod("node", 0o060600, os.stat(sys.argv[2]).st_rdev)
os.mkdir("directory")
for path in ("pool", "text", "image", "node", "directory"):
    was = check(path)
    status = pool.pmempool_rm(path.encode(), 0)
    print(f"{path}: check {was}, rm {status},", "there" if os.path.exists(path) else "gone")
PYTHON
mkdir "$work/files"
echo 'some text' >"$work/files/text"
truncate -s 16M "$work/files/image"
sgdisk -n 1:0:0 "$work/files/image" >"$work/log"
block_device 16M 512
python3 "$work/program.py" "$work/files" "$device" | expect 'pool: check 0, rm 0, gone
text: check no check, rm 0, gone
image: check 1, rm 0, gone
node: check no check, rm -1, there
directory: check no check, rm -1, there'
