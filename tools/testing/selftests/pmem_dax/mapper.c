// SPDX-License-Identifier: GPL-2.0
/*
 * mapper FILE [hold] - map 4 MiB of a file shared, store to each page, say how
 * it is mapped; with "hold" keep it mapped until the end of the input.
 *
 * mapper FILE times N - map it N times in turns, with a page of either size each time.
 */
#include "pmem_dax.h"

static int many_times(int fd, long times)
{
	char *large, *small;

	while (times--) {
		large = map_shared(fd, 2 * SZ_2M, 0);
		small = map_skewed(fd, 2 * SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE,
				   times & 1 ? MAP_SHARED : MAP_PRIVATE);
		if (large == MAP_FAILED || small == MAP_FAILED) {
			perror("mapper: mmap");
			return 1;
		}
		touch(large);
		touch(small);
		if (munmap(large, 2 * SZ_2M) || munmap(small, 2 * SZ_2M))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const size_t length = 4 * SZ_1M;
	/* What was read ahead behind the mapping does not count. */
	struct cachestat_range range = { .len = length };
	struct cachestat cache = {};
	char *map, c;
	size_t i;
	int fd;

	fd = argc > 1 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0) {
		perror("mapper: open");
		return 1;
	}
	if (argc > 3)
		return many_times(fd, atol(argv[3]));
	map = map_shared(fd, length, 0);
	if (map == MAP_FAILED) {
		perror("mapper: mmap");
		return 1;
	}
	for (i = 0; i < length; i += SZ_4K)
		touch(map + i);
	if (syscall(__NR_cachestat, fd, &range, &cache, 0)) {
		perror("mapper: cachestat");
		return 1;
	}
	printf("huge %ld cached %ld\n", huge_bytes(map, length), (long)cache.nr_cache);
	fflush(stdout);
	if (argc > 2)
		while (read(STDIN_FILENO, &c, 1) > 0)
			;
	return 0;
}
