// SPDX-License-Identifier: GPL-2.0
/*
 * Map a part of a device, store to each page of it, and tell what it took.
 *
 * Usage: map DEVICE OFFSET SIZE [TEXT]
 *
 * TEXT is stored at the start of the mapping, with plain stores of the CPU.
 */

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#define PAGE 4096UL
#define PAGES_PER_2M 512L

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt + usage.ru_majflt;
}

/* The copies that the kernel keeps of what is on block devices. */
static long page_cache_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *file = fopen("/proc/meminfo", "r");

	if (!file)
		err(1, "/proc/meminfo");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Buffers: %ld", &kb) == 1)
			break;
	fclose(file);
	if (kb < 0)
		errx(1, "no Buffers in /proc/meminfo");
	return kb;
}

int main(int argc, char **argv)
{
	unsigned long offset, size, i;
	long before, cache, count, large;
	volatile char *addr;
	char *map;
	int fd;

	if (argc < 4)
		errx(1, "usage: map DEVICE OFFSET SIZE [TEXT]");
	offset = strtoul(argv[2], NULL, 0);
	size = strtoul(argv[3], NULL, 0);
	fd = open(argv[1], O_RDWR);
	if (fd < 0)
		err(1, "%s", argv[1]);

	cache = page_cache_kb();
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (map == MAP_FAILED)
		err(1, "mmap of %s", argv[1]);

	addr = map;
	before = faults();
	for (i = 0; i < size; i += PAGE)
		addr[i] = 0;
	count = faults() - before;
	cache = page_cache_kb() - cache;

	/*
	 * With DAX each page is mapped once: 512 at a time, or one. A page cache
	 * maps as many at a time as it has in one folio, so only the sum is right.
	 */
	large = (long)(size / PAGE - count) / (PAGES_PER_2M - 1);
	if (argc > 4)
		strcpy(map, argv[4]);
	printf("%ld %ld %ld\n", large, count - large, cache);
	return 0;
}
