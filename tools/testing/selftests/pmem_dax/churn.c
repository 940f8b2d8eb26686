// SPDX-License-Identifier: GPL-2.0
/*
 * churn NODE [hold] - use a device in all ways, over and over, whatever becomes of
 * it: it may go and come at any time. With "hold", have it mapped all the time too.
 */
#include "pmem_dax.h"

#define LENGTH	(2 * SZ_2M)

static void access_some(char *map, int round)
{
	off_t offset = round * 37 % 1000 * SZ_4K;

	bus_code(map + offset, round & 1);
	bus_code(map + (offset + SZ_2M) % LENGTH, round & 2);
}

static void once(const char *path, int round)
{
	char buffer[2 * SZ_4K];
	char *map;
	int fd = open(path, O_RDWR | O_CLOEXEC | (round & 4 ? O_DIRECT : 0));

	if (fd < 0)
		return;
	map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, round & 8 ? MAP_PRIVATE : MAP_SHARED, fd,
		   0);
	if (map != MAP_FAILED) {
		access_some(map, round);
		munmap(map, LENGTH);
	}
	map = map_skewed(fd, LENGTH, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (map != MAP_FAILED) {
		access_some(map, round);
		munmap(map, LENGTH);
	}
	if (pread(fd, buffer, sizeof(buffer), round % 100 * 512) == sizeof(buffer) &&
	    pwrite(fd, buffer, sizeof(buffer), round % 100 * 512) == sizeof(buffer))
		fsync(fd);
	close(fd);
}

int main(int argc, char **argv)
{
	char *map = MAP_FAILED;
	int round, fd;

	if (argc < 2)
		return 1;
	for (round = 0;; round++) {
		once(argv[1], round);
		if (argc > 2) {
			/* The old one stays for a while; most are of a device that is gone. */
			if (map != MAP_FAILED)
				access_some(map, round);
			if (round % 16 == 0) {
				if (map != MAP_FAILED)
					munmap(map, LENGTH);
				fd = open(argv[1], O_RDWR | O_CLOEXEC);
				map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
					   0);
				close(fd);
			}
		}
		/* Leave some time to who ends it. */
		usleep(1000);
	}
}
