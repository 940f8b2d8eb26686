// SPDX-License-Identifier: GPL-2.0
/*
 * Does one thing after the other, each after it was done often enough that it costs what
 * it always does, and marks where it begins and ends; see bench/profile.
 *
 * Usage: profiled CONTENDER DEVICE WHAT...
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "map.h"

#define SZ_4K	4096UL
#define SZ_64M	(64UL << 20)
#define WARM	20

/* Where bench/steps stops the machine. */
__attribute__((noinline)) void profile_begin(const char *name)
{
	asm volatile("" : : "r"(name) : "memory");
}

__attribute__((noinline)) void profile_end(void)
{
	asm volatile("" : : : "memory");
}

static char buf[SZ_2M] __attribute__((aligned(4096)));
static const char *device;
static int fd;
static char *map;

static void fault(size_t offset)
{
	*(volatile char *)(map + offset) = 1;
}

/* Backwards, so that nobody takes it for a run. */
static void fault_4k(int i)
{
	fault(SZ_64M - (i + 1) * SZ_4K);
}

static void fault_2m(int i)
{
	fault(i * SZ_2M);
}

static void open_close(int i)
{
	(void)i;
	close(open(device, O_RDWR));
}

static void pread_4k(int i)
{
	if (pread(fd, buf, SZ_4K, i * SZ_4K) != SZ_4K)
		err(1, "pread");
}

static void pwrite_4k(int i)
{
	if (pwrite(fd, buf, SZ_4K, i * SZ_4K) != SZ_4K)
		err(1, "pwrite");
}

static void sync_all(int i)
{
	(void)i;
	if (fsync(fd))
		err(1, "fsync");
}

static void nothing(int i)
{
	(void)i;
}

static void do_mmap(int i)
{
	(void)i;
	map = map_at(fd, 0, SZ_64M, 0);
}

static void do_munmap(int i)
{
	(void)i;
	munmap(map, SZ_64M);
}

static const struct {
	const char *name;
	void (*before)(int i);	/* is not counted */
	void (*what)(int i);
	void (*after)(int i);
	size_t skew;		/* of the mapping, if there is one */
	int mapped, flags;
} things[] = {
	{ "fault_4k", nothing, fault_4k, nothing, SZ_4K, 1, 0 },
	{ "fault_2m", nothing, fault_2m, nothing, 0, 1, 0 },
	{ "open_close", nothing, open_close, nothing, 0, 0, 0 },
	{ "mmap", nothing, do_mmap, do_munmap, 0, 0, 0 },
	{ "pread_4k", nothing, pread_4k, nothing, 0, 0, 0 },
	{ "pread_4k_direct", nothing, pread_4k, nothing, 0, 0, O_DIRECT },
	{ "pwrite_4k", nothing, pwrite_4k, nothing, 0, 0, 0 },
	{ "pwrite_4k_direct", nothing, pwrite_4k, nothing, 0, 0, O_DIRECT },
	{ "fsync", nothing, sync_all, nothing, 0, 0, 0 },
	{ "fsync_2m", fault_2m, sync_all, nothing, 0, 1, 0 },
};

static void profile(const char *contender, size_t thing)
{
	char name[64];

	snprintf(name, sizeof(name), "%s %s", contender, things[thing].name);
	fd = open(device, O_RDWR | things[thing].flags);
	if (fd < 0)
		err(1, "open %s", device);
	if (things[thing].mapped)
		map = map_at(fd, 0, SZ_64M, things[thing].skew);
	for (int i = 0; i <= WARM; i++) {
		/* One chunk is dirty. */
		things[thing].before(0);
		if (i == WARM)
			profile_begin(name);
		things[thing].what(i);
		if (i == WARM)
			profile_end();
		things[thing].after(i);
	}
	if (things[thing].mapped)
		munmap(map, SZ_64M);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 4)
		errx(1, "usage: profiled CONTENDER DEVICE WHAT...");
	device = argv[2];
	memset(buf, 1, sizeof(buf));
	for (int i = 3; i < argc; i++) {
		size_t thing = 0;

		while (strcmp(argv[i], things[thing].name))
			if (++thing == sizeof(things) / sizeof(*things))
				errx(1, "no %s", argv[i]);
		profile(argv[1], thing);
	}
	return 0;
}
