/* SPDX-License-Identifier: GPL-2.0 */
/* What the benchmarks share: a mapping of which it is known whether large pages fit. */
#ifndef PMEM_DAX_BENCH_MAP_H
#define PMEM_DAX_BENCH_MAP_H

#include <err.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/types.h>

#define SZ_2M	(2UL << 20)

/* Where nothing is mapped, @skew bytes after a boundary of 2 MiB, or of 1 GiB if that fits. */
static inline char *hole(size_t size, size_t skew)
{
	size_t align = size >> 30 ? 1UL << 30 : SZ_2M;
	char *addr;

	addr = mmap(NULL, size + 2 * align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (addr == MAP_FAILED)
		err(1, "mmap of an address range");
	munmap(addr, size + 2 * align);
	return (char *)(((uintptr_t)addr + align - 1) & ~(align - 1)) + skew;
}

/* Map @fd there. */
static inline char *map_at(int fd, off_t offset, size_t size, size_t skew)
{
	char *addr = mmap(hole(size, skew), size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset);

	if (addr == MAP_FAILED)
		err(1, "mmap of the device");
	return addr;
}

#endif
