// SPDX-License-Identifier: GPL-2.0
/*
 * What it costs to map, touch, unmap, read, write and sync a pmem device.
 *
 * Usage: bench DEVICE GROUP...
 *
 *   map       map, touch and unmap, where 2 MiB pages fit
 *   map_4k    the same where only 4 KiB pages fit
 *   populate  map 1 GiB with MAP_POPULATE
 *   io        read and write
 *   cached    the same, if it goes through the page cache
 *   fsync     sync, with nothing dirty and with 2 MiB
 *   file      read and write with O_DIRECT, and write and sync; DEVICE is a file of a
 *             file system
 *   mkfs      make file systems, with the programs for it
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
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "map.h"

#define SZ_4K	4096UL
#define SZ_1M	(1024UL << 10)
#define SZ_64M	(64UL << 20)
#define SZ_256M	(256UL << 20)
#define SZ_1G	(1024UL << 20)

/*
 * Of several rounds the cheapest counts: the others met a timer tick more, or an
 * empty list of free pages. Those that take no time are done more often.
 */
#define ROUNDS	2
#define MORE_ROUNDS	16
#define SHORT	1000000
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

	for (int i = 0; i < (first < SHORT ? MORE_ROUNDS : ROUNDS); i++) {
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

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* The call, with the page table entries of 1 GiB; nothing is stored. */
static void bench_populate(void)
{
	uint64_t cost = UINT64_MAX, start;
	int fd = open_device(0);

	for (int i = 0; i < MORE_ROUNDS; i++) {
		char *addr;
		long before;

		start = now();
		addr = mmap(NULL, SZ_1G, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
		cost = min(cost, since(start));
		if (addr == MAP_FAILED)
			err(1, "mmap %s", device);
		/* What cannot be populated is left out without a word. */
		before = faults();
		for (size_t j = 0; j < SZ_1G; j += SZ_2M)
			*(volatile char *)(addr + j) = 1;
		if (faults() != before)
			errx(1, "MAP_POPULATE of %s left %ld faults", device, faults() - before);
		munmap(addr, SZ_1G);
	}
	close(fd);
	report("populate_1g", cost, 1);
}

/* As a copy that survives machine checks, and one to user space, is made. */
static void copy_bytes(char *to, const char *from, size_t size)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* As arch/x86/lib/copy_user_uncached_64.S: copy_to_nontemporal has it. */
static void copy_around_cache(char *to, const char *from, size_t size)
{
	asm volatile("1: movq (%1), %%r8\n\t"
		     "movq 8(%1), %%r9\n\t"
		     "movq 16(%1), %%r10\n\t"
		     "movq 24(%1), %%r11\n\t"
		     "movnti %%r8, (%0)\n\t"
		     "movnti %%r9, 8(%0)\n\t"
		     "movnti %%r10, 16(%0)\n\t"
		     "movnti %%r11, 24(%0)\n\t"
		     "movq 32(%1), %%r8\n\t"
		     "movq 40(%1), %%r9\n\t"
		     "movq 48(%1), %%r10\n\t"
		     "movq 56(%1), %%r11\n\t"
		     "movnti %%r8, 32(%0)\n\t"
		     "movnti %%r9, 40(%0)\n\t"
		     "movnti %%r10, 48(%0)\n\t"
		     "movnti %%r11, 56(%0)\n\t"
		     "addq $64, %1\n\t"
		     "addq $64, %0\n\t"
		     "subq $64, %2\n\t"
		     "cmpq $64, %2\n\t"
		     "jae 1b"
		     : "+r"(to), "+r"(from), "+r"(size)
		     : : "r8", "r9", "r10", "r11", "memory", "cc");
}

static void *buffer(size_t size)
{
	void *buf = aligned_alloc(SZ_4K, size < SZ_4K ? SZ_4K : size);

	if (!buf)
		errx(1, "out of memory");
	memset(buf, 1, size);
	return buf;
}

/* What @size bytes cost by themselves, with no call around them. */
static uint64_t bare_copy(size_t size, void (*copy)(char *, const char *, size_t))
{
	char *to = buffer(size), *from = buffer(size);
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < MORE_ROUNDS; i++) {
		start = now();
		copy(to, from, size);
		cost = min(cost, since(start));
	}
	free(to);
	free(from);
	return cost;
}

/* A call's cost. The first round fills the page cache, if there is one. */
static double bench_io(const char *name, size_t size, int write, int flags)
{
	uint64_t total = UINT64_MAX, start;
	unsigned int calls = size < SZ_1M ? CALLS : 16;
	int fd = open_device(flags);
	char *buf = buffer(size);

	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (unsigned int j = 0; j < calls; j++) {
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
	report(name, total, calls);
	return (double)total / calls;
}

/*
 * Calls of one kind, and by how much each size is above its bare copy. What goes
 * through the page cache does not copy around the CPU caches.
 */
static void bench_ios(const char *name, int write, int flags, int cached)
{
	static const struct {
		const char *name;
		size_t size;
	} sizes[] = { { "512", 512 }, { "4k", SZ_4K }, { "1m", SZ_1M }, {} }, *s;
	void (*copy)(char *, const char *, size_t) = copy_bytes;
	char figure[64];

	if (write && !cached)
		copy = copy_around_cache;
	for (s = sizes; s->name; s++) {
		double bare = bare_copy(s->size, copy), cost;

		snprintf(figure, sizeof(figure), "%s_%s", name, s->name);
		cost = bench_io(figure, s->size, write, flags);
		printf("%s_above %.1f\n", figure, cost - bare);
		printf("%s_copy %.1f\n", figure, bare);
	}
}

/* Syncs of what nobody dirtied. */
static void bench_clean_fsync(void)
{
	uint64_t total = UINT64_MAX, start;
	int fd = open_device(0);

	for (int i = 0; i < ROUNDS; i++) {
		start = now();
		for (int j = 0; j < CALLS; j++)
			if (fsync(fd))
				err(1, "fsync %s", device);
		total = min(total, since(start));
	}
	close(fd);
	report("fsync_clean", total, CALLS);
}

/* A sync after a store to each page of the device's last 2 MiB. */
static void bench_dirty_fsync(void)
{
	uint64_t cost = UINT64_MAX, start;
	int fd = open_device(0);
	off_t size = lseek(fd, 0, SEEK_END);
	char *addr = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, size - SZ_2M);

	if (addr == MAP_FAILED)
		err(1, "mmap %s", device);
	for (int i = 0; i < ROUNDS + 1; i++) {
		touch(addr, SZ_2M, 1, 0);
		start = now();
		if (fsync(fd))
			err(1, "fsync %s", device);
		cost = min(cost, since(start));
	}
	munmap(addr, SZ_2M);
	close(fd);
	report("fsync_2m", cost, 1);
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

/* Small writes to the page cache, each made durable: bios that flush, and a journal. */
static void bench_synced_write(void)
{
	uint64_t total = UINT64_MAX, start;
	int fd = open_device(0);
	char *buf = buffer(SZ_4K);

	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (int j = 0; j < CALLS; j++) {
			if (pwrite(fd, buf, SZ_4K, j * SZ_4K) != SZ_4K || fsync(fd))
				err(1, "write and sync %s", device);
		}
		if (i)
			total = min(total, since(start));
	}
	free(buf);
	close(fd);
	report("file_synced_4k", total, CALLS);
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

static int has_group(char **groups, const char *name)
{
	for (; *groups; groups++)
		if (!strcmp(*groups, name))
			return 1;
	return 0;
}

int main(int argc, char **argv)
{
	char **groups = argv + 2;
	int cached;

	if (argc < 3)
		errx(1, "usage: bench DEVICE GROUP...");
	device = argv[1];
	setlinebuf(stdout);

	calibrate();
	if (has_group(groups, "map")) {
		bench_getppid();
		bench_mmap();
		bench_touch("2m", SZ_2M, 0, 1, 0);
		bench_touch("2m", SZ_2M, 0, 0, 0);
		bench_page_cache();
	}
	if (has_group(groups, "map_4k")) {
		bench_touch("4k", SZ_4K, SZ_4K, 1, 0);
		bench_touch("4k", SZ_4K, SZ_4K, 0, 0);
		bench_touch("4k_backwards", SZ_4K, SZ_4K, 1, 1);
	}
	if (has_group(groups, "populate"))
		bench_populate();
	cached = has_group(groups, "cached");
	if (cached || has_group(groups, "io")) {
		bench_ios("pread", 0, 0, cached);
		bench_ios("pwrite", 1, 0, cached);
		bench_ios("direct_pread", 0, O_DIRECT, 0);
		bench_ios("direct_pwrite", 1, O_DIRECT, 0);
	}
	if (has_group(groups, "fsync")) {
		bench_clean_fsync();
		bench_dirty_fsync();
	}
	if (has_group(groups, "file")) {
		bench_io("file_pread_4k", SZ_4K, 0, O_DIRECT);
		bench_io("file_pwrite_4k", SZ_4K, 1, O_DIRECT);
		bench_synced_write();
	}
	if (has_group(groups, "mkfs"))
		bench_mkfs();
	return 0;
}
