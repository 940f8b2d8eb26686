/* SPDX-License-Identifier: GPL-2.0 */
/* What the benchmarks share: a mapping of which it is known whether 2 MiB pages fit. */
#ifndef PMEM_DAX_BENCH_MAP_H
#define PMEM_DAX_BENCH_MAP_H

#include <err.h>
#include <stdint.h>
#include <sys/mman.h>

#define SZ_2M	(2UL << 20)

/* Map the start of @fd, @skew bytes after a 2 MiB boundary. */
static inline char *map_at(int fd, size_t size, size_t skew)
{
	char *hole, *addr;

	hole = mmap(NULL, size + 2 * SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hole == MAP_FAILED)
		err(1, "mmap of an address range");
	munmap(hole, size + 2 * SZ_2M);
	addr = (char *)(((uintptr_t)hole + SZ_2M - 1) & ~(SZ_2M - 1)) + skew;
	addr = mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (addr == MAP_FAILED)
		err(1, "mmap of the device");
	return addr;
}

#endif
