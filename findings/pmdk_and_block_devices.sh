#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# A good guess is that PMDK 1.12.1 maps what mmap() takes, so a block device too, and
# finds out by itself whether the mapping is of the media. It looks at the type of the
# file first, and takes regular files and device DAX only: libpmem, libpmem2 and libpmemobj
# refuse a block device, with a bare number in the message (060000, S_IFBLK). With a length
# and PMEM_FILE_CREATE it is no different, and PMEM_IS_PMEM_FORCE=1, which has each file
# count as persistent memory, does not help.
#
# Who has /dev/pmem0 maps it with mmap() and flushes with pmem_flush() or pmem_persist(),
# which take any address; pools need a file system with -o dax, or devdax.

# shellcheck source=findings/lib/finding.sh
. "$(dirname "$0")/lib/finding.sh"

packages libpmem1=1.12.1-2 libpmem2=1.12.1-2 libpmemobj1=1.12.1-2 libndctl6 libdaxctl1 \
	libkeyutils1
cat >"$work/program.py" <<'PYTHON'
import ctypes
import mmap
import os
import sys

pmem, pmem2, obj = (
    ctypes.CDLL(name) for name in ("libpmem.so.1", "libpmem2.so.1", "libpmemobj.so.1")
)
for function in (pmem.pmem_map_file, obj.pmemobj_create):
    function.restype = ctypes.c_void_p
for function in (pmem.pmem_errormsg, pmem2.pmem2_errormsg, obj.pmemobj_errormsg):
    function.restype = ctypes.c_char_p
size = ctypes.c_size_t

for path in sys.argv[1:]:
    name = path.encode()

    def say(what, done, message):
        print(what, "yes" if done else message().decode().replace(path, "it"))

    for flags, what in ((0, "libpmem"), (1, "libpmem, PMEM_FILE_CREATE")):
        length = size(flags * (16 << 20))
        say(what, pmem.pmem_map_file(name, length, flags, 0o600, None, None), pmem.pmem_errormsg)
    fd = os.open(path, os.O_RDWR)
    source = ctypes.c_void_p()
    say("libpmem2", pmem2.pmem2_source_from_fd(ctypes.byref(source), fd) == 0, pmem2.pmem2_errormsg)
    say("libpmemobj", obj.pmemobj_create(name, b"", size(0), 0o600), obj.pmemobj_errormsg)
    # What is left: a mapping of one's own, and the flush alone.
    memory = mmap.mmap(fd, 4096)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pmem.pmem_persist(ctypes.c_void_p(address), size(64))
    print("pmem_persist", "yes")
PYTHON
block_device 16M 512
truncate -s 16M "$work/file"
for path in "$work/file" "$device"; do
	PMEM_IS_PMEM_FORCE=1 python3 "$work/program.py" "$path"
done | expect 'libpmem yes
libpmem, PMEM_FILE_CREATE yes
libpmem2 yes
libpmemobj yes
pmem_persist yes
libpmem file type 060000 not supported
libpmem, PMEM_FILE_CREATE file type 060000 not supported
libpmem2 file type 060000 not supported
libpmemobj file type 060000 not supported
pmem_persist yes'
