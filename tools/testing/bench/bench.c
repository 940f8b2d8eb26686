// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map, touch, unmap, read and write a pmem device.
 *
 * Usage: bench DEVICE [4k]
 *
 * Prints one "name value" line for each figure. Times are of CLOCK_MONOTONIC,
 * which counts instructions, one a nanosecond, under QEMU's -icount shift=0: a
 * figure is then the same on any machine, however busy. With "4k" mappings that
 * only 4 KiB pages fit are measured too. A character device (devdax) has no
 * read and write.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SZ_4K	4096UL
#define SZ_2M	(2UL << 20)
#define SZ_64M	(64UL << 20)
#define SZ_256M	(256UL << 20)

/* Of several rounds the cheapest counts: the others met a timer tick more. */
#define ROUNDS	2
#define CALLS	2048

static const char *device;
static uint64_t clock_cost;

static uint64_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

static uint64_t since(uint64_t start)
{
	return now() - start - clock_cost;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void calibrate(void)
{
	uint64_t cost = UINT64_MAX;

	clock_cost = 0;
	for (int i = 0; i < CALLS; i++)
		cost = min(cost, since(now()));
	clock_cost = cost;
}

static void report(const char *name, uint64_t total, unsigned long units)
{
	printf("%s %.1f\n", name, (double)total / units);
}

/* The last close drops what the page cache holds of a block device. */
static int open_device(int flags)
{
	int fd = open(device, O_RDWR | flags);

	if (fd < 0)
		err(1, "open %s", device);
	return fd;
}

/* Map the start of @fd, @skew bytes after a 2 MiB boundary. */
static char *map_at(int fd, size_t size, size_t skew)
{
	char *hole, *addr;

	hole = mmap(NULL, size + 2 * SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (hole == MAP_FAILED)
		err(1, "mmap of an address range");
	munmap(hole, size + 2 * SZ_2M);
	addr = (char *)(((uintptr_t)hole + SZ_2M - 1) & ~(SZ_2M - 1)) + skew;
	addr = mmap(addr, size, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (addr == MAP_FAILED)
		err(1, "mmap %s", device);
	return addr;
}

/* Each page, from the first on or from the last. */
static __attribute__((noinline)) void touch(char *addr, size_t size, int write, int backwards)
{
	volatile char *p;

	for (size_t i = 0; i < size; i += SZ_4K) {
		p = backwards ? addr + size - SZ_4K - i : addr + i;
		if (write)
			*p = 1;
		else
			(void)*p;
	}
}

/*
 * First touch and unmap of 64 MiB, each page of it; @unit is what one fault
 * should map. A second touch costs no fault and is subtracted.
 */
static void bench_touch(const char *unit_name, size_t unit, size_t skew, int write, int backwards)
{
	uint64_t first = UINT64_MAX, second = UINT64_MAX, unmap = UINT64_MAX, start;
	char name[32];

	for (int i = 0; i < ROUNDS; i++) {
		int fd = open_device(0);
		char *addr = map_at(fd, SZ_64M, skew);

		start = now();
		touch(addr, SZ_64M, write, backwards);
		first = min(first, since(start));
		start = now();
		touch(addr, SZ_64M, write, backwards);
		second = min(second, since(start));
		start = now();
		munmap(addr, SZ_64M);
		unmap = min(unmap, since(start));
		close(fd);
	}
	snprintf(name, sizeof(name), "%s_%s", write ? "write" : "read", unit_name);
	report(name, first - second, SZ_64M / unit);
	snprintf(name, sizeof(name), "unmap_%s_%s", write ? "written" : "read", unit_name);
	report(name, unmap, SZ_64M / unit);
}

/* The cheapest call: others meet a timer, or an empty list of free objects. */
static void bench_mmap(void)
{
	uint64_t cost = UINT64_MAX, start;
	int fd = open_device(0);

	for (int i = 0; i < ROUNDS * CALLS; i++) {
		void *addr;

		start = now();
		addr = mmap(NULL, SZ_64M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		cost = min(cost, since(start));
		if (addr == MAP_FAILED)
			err(1, "mmap %s", device);
		munmap(addr, SZ_64M);
	}
	close(fd);
	report("mmap", cost, 1);
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

static void bench_io(const char *name, size_t size, int write, int flags)
{
	uint64_t total = UINT64_MAX, start;
	int fd = open_device(flags);
	char *buf = aligned_alloc(SZ_4K, size < SZ_4K ? SZ_4K : size);

	if (!buf)
		errx(1, "out of memory");
	memset(buf, 1, size);
	/* The first round fills the page cache, if there is one. */
	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (int j = 0; j < CALLS; j++) {
			off_t pos = j * size;
			ssize_t n;

			n = write && i ? pwrite(fd, buf, size, pos) : pread(fd, buf, size, pos);
			if (n != (ssize_t)size)
				err(1, "%s: %zd of %zu bytes", name, n, size);
		}
		if (i)
			total = min(total, since(start));
	}
	free(buf);
	close(fd);
	report(name, total, CALLS);
}

/* The page cache of block devices, and of nothing else, is what meminfo calls Buffers. */
static long page_cache_kb(void)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	long kb = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Buffers: %ld", &kb) == 1)
			break;
	if (kb < 0)
		errx(1, "no Buffers in /proc/meminfo");
	fclose(f);
	return kb;
}

static void bench_page_cache(void)
{
	int fd = open_device(0);
	char *addr = map_at(fd, SZ_256M, 0);
	long before = page_cache_kb();

	touch(addr, SZ_256M, 0, 0);
	printf("page_cache_kb %ld\n", page_cache_kb() - before);
	munmap(addr, SZ_256M);
	close(fd);
}

int main(int argc, char **argv)
{
	struct stat st;

	if (argc < 2)
		errx(1, "usage: bench DEVICE [4k]");
	device = argv[1];
	if (stat(device, &st))
		err(1, "%s", device);
	setlinebuf(stdout);

	calibrate();
	bench_getppid();
	bench_mmap();
	bench_touch("2m", SZ_2M, 0, 1, 0);
	bench_touch("2m", SZ_2M, 0, 0, 0);
	if (argc > 2) {
		bench_touch("4k", SZ_4K, SZ_4K, 1, 0);
		bench_touch("4k", SZ_4K, SZ_4K, 0, 0);
		bench_touch("4k_backwards", SZ_4K, SZ_4K, 1, 1);
	}
	bench_page_cache();
	if (S_ISCHR(st.st_mode))
		return 0;
	bench_io("pread_512", 512, 0, 0);
	bench_io("pread_4k", SZ_4K, 0, 0);
	bench_io("pwrite_512", 512, 1, 0);
	bench_io("pwrite_4k", SZ_4K, 1, 0);
	bench_io("direct_pread_512", 512, 0, O_DIRECT);
	bench_io("direct_pread_4k", SZ_4K, 0, O_DIRECT);
	bench_io("direct_pwrite_512", 512, 1, O_DIRECT);
	bench_io("direct_pwrite_4k", SZ_4K, 1, O_DIRECT);
	return 0;
}
