// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map, touch, unmap, read, write and sync a pmem device.
 *
 * Usage: bench DEVICE GROUP...
 *
 *   getppid    a call that does nothing
 *   calls      open, map, unmap and close, with nothing touched
 *   foreign    open and close; DEVICE is a disk of somebody else
 *   map_2m     touch and unmap, where 2 MiB pages fit
 *   map_4k     the same where only 4 KiB pages fit
 *   map_1g     the same where 1 GiB pages fit
 *   sparse     touch one page in each 2 MiB of 1 GiB
 *   populate   map 1 GiB with MAP_POPULATE, and fork
 *   populate_4k  the same with 256 MiB where only 4 KiB pages fit
 *   page_cache how much of that a mapping takes
 *   pin        pin and unpin 1 GiB for long
 *   direct     write from the mapping to a disk that takes no time, with O_DIRECT
 *   io         read and write
 *   cached     the same, if it goes through the page cache
 *   random     the same at random
 *   sync       sync, with nothing dirty and with 1 and 64 chunks of 2 MiB
 *   durable    store 64 bytes and make them durable
 *   file       read and write with O_DIRECT, and write and sync; DEVICE is a file of a
 *              file system
 *   mkfs       make file systems, with the programs for it
 *
 * Prints one "name value" line for each figure. Times are of CLOCK_MONOTONIC,
 * which counts instructions, one a nanosecond, under QEMU's -icount shift=0: a
 * figure is then the same on any machine, however busy.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

const char *device;

static uint64_t clock_cost;

uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

uint64_t since(uint64_t start)
{
	return now() - start - clock_cost;
}

uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* How often to do what took @cost; UINT64_MAX if it was not done yet. */
int rounds(uint64_t cost)
{
	return cost < SHORT ? MORE_ROUNDS : ROUNDS;
}

static void calibrate(void)
{
	uint64_t cost = UINT64_MAX;

	clock_cost = 0;
	for (int i = 0; i < CALLS; i++)
		cost = min(cost, since(now()));
	clock_cost = cost;
}

void report(const char *name, uint64_t total, unsigned long units)
{
	printf("%s %.1f\n", name, (double)total / units);
}

int open_node(const char *node, int flags)
{
	int fd = open(node, O_RDWR | flags);

	if (fd < 0)
		err(1, "open %s", node);
	return fd;
}

/* The last close drops what the page cache holds of a block device. */
int open_device(int flags)
{
	return open_node(device, flags);
}

void *buffer(size_t size)
{
	void *buf = aligned_alloc(SZ_4K, size < SZ_4K ? SZ_4K : size);

	if (!buf)
		errx(1, "out of memory");
	memset(buf, 1, size);
	return buf;
}

/* The numbers below @count in an order that is none, and always the same. */
unsigned int *shuffled(unsigned int count)
{
	unsigned int *order = buffer(count * sizeof(*order));
	uint64_t seed = 1;

	for (unsigned int i = 0; i < count; i++) {
		unsigned int other;

		seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		other = (seed >> 33) % (i + 1);
		order[i] = order[other];
		order[other] = i;
	}
	return order;
}

static void bench_getppid(void)
{
	uint64_t total = UINT64_MAX, start;

	for (int i = 0; i < ROUNDS; i++) {
		start = now();
		for (int j = 0; j < CALLS; j++)
			getppid();
		total = min(total, since(start));
	}
	report("getppid", total, CALLS);
}

/* A program, from its start to its end. The first run finds what the later ones will. */
static void bench_program(const char *name, char *argv[])
{
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < MORE_ROUNDS; i++) {
		int status;
		pid_t pid;

		start = now();
		errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, environ);
		if (errno)
			err(1, "%s", argv[0]);
		if (waitpid(pid, &status, 0) != pid || status)
			errx(1, "%s of %s failed", argv[0], device);
		if (i)
			cost = min(cost, since(start));
	}
	report(name, cost, 1);
}

static void bench_mkfs(void)
{
	char *node = (char *)device;
	char *ext4[] = { "/usr/sbin/mkfs.ext4", "-q", "-F", "-b", "4096", node, "256M", NULL };
	char *xfs[] = { "/usr/sbin/mkfs.xfs", "-q", "-f", "-d", "size=512m", node, NULL };

	bench_program("mkfs_ext4", ext4);
	bench_program("mkfs_xfs", xfs);
}

static void bench_direct_io(void)
{
	bench_io(0);
}

static void bench_cached_io(void)
{
	bench_io(1);
}

static const struct {
	const char *name;
	void (*bench)(void);
} groups[] = {
	{ "getppid", bench_getppid },
	{ "calls", bench_calls },
	{ "foreign", bench_foreign },
	{ "map_2m", bench_2m },
	{ "map_4k", bench_4k },
	{ "map_1g", bench_1g },
	{ "sparse", bench_sparse },
	{ "populate", bench_populate },
	{ "populate_4k", bench_populate_4k },
	{ "page_cache", bench_page_cache },
	{ "pin", bench_pin },
	{ "direct", bench_direct },
	{ "io", bench_direct_io },
	{ "cached", bench_cached_io },
	{ "random", bench_random_io },
	{ "sync", bench_sync },
	{ "stored", bench_stored },
	{ "stored_all", bench_stored_all },
	{ "durable", bench_durable },
	{ "file", bench_file },
	{ "mkfs", bench_mkfs },
};

static void run(const char *name)
{
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		if (!strcmp(groups[i].name, name)) {
			groups[i].bench();
			return;
		}
	}
	errx(1, "no group %s", name);
}

int main(int argc, char **argv)
{
	if (argc < 3)
		errx(1, "usage: bench DEVICE GROUP...");
	device = argv[1];
	setlinebuf(stdout);

	calibrate();
	for (char **name = argv + 2; *name; name++)
		run(*name);
	return 0;
}
