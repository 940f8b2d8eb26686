// SPDX-License-Identifier: GPL-2.0
/* The groups of bench that read, write and sync. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "map.h"

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

/*
 * A call's cost, one after the other or at random. The first round fills the page
 * cache, if there is one.
 */
static double bench_transfer(const char *name, size_t size, int write, int flags, int random)
{
	uint64_t total = UINT64_MAX, start;
	unsigned int calls = size <= SZ_4K ? CALLS : size < SZ_1M ? 64 : 16;
	unsigned int *order = shuffled(calls);
	int fd = open_device(flags);
	char *buf = buffer(size);

	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (unsigned int j = 0; j < calls; j++) {
			off_t pos = (random ? order[j] : j) * size;
			ssize_t n;

			n = write && i ? pwrite(fd, buf, size, pos) : pread(fd, buf, size, pos);
			if (n != (ssize_t)size)
				err(1, "%s: %zd of %zu bytes", name, n, size);
		}
		if (i)
			total = min(total, since(start));
	}
	free(order);
	free(buf);
	close(fd);
	report(name, total, calls);
	return (double)total / calls;
}

static const struct size {
	const char *name;
	size_t size;
} sizes[] = {
	{ "512", 512 }, { "4k", SZ_4K }, { "64k", SZ_64K }, { "1m", SZ_1M }, {}
};

/*
 * Calls of one kind, and by how much each size is above its bare copy. What goes
 * through the page cache does not copy around the CPU caches.
 */
static void bench_transfers(const char *name, int write, int flags, int cached)
{
	void (*copy)(char *, const char *, size_t) = copy_bytes;
	char figure[64];

	if (write && !cached)
		copy = copy_around_cache;
	for (const struct size *s = sizes; s->name; s++) {
		double bare = bare_copy(s->size, copy), cost;

		snprintf(figure, sizeof(figure), "%s_%s", name, s->name);
		cost = bench_transfer(figure, s->size, write, flags, 0);
		printf("%s_above %.1f\n", figure, cost - bare);
		printf("%s_copy %.1f\n", figure, bare);
	}
}

void bench_io(int cached)
{
	bench_transfers("pread", 0, 0, cached);
	bench_transfers("pwrite", 1, 0, cached);
	bench_transfers("direct_pread", 0, O_DIRECT, 0);
	bench_transfers("direct_pwrite", 1, O_DIRECT, 0);
}

static void bench_random(const char *name, int write, int flags)
{
	char figure[64];

	for (const struct size *s = sizes; s->name; s++) {
		snprintf(figure, sizeof(figure), "%s_%s_random", name, s->name);
		bench_transfer(figure, s->size, write, flags, 1);
	}
}

void bench_random_io(void)
{
	bench_random("pread", 0, 0);
	bench_random("pwrite", 1, 0);
	bench_random("direct_pread", 0, O_DIRECT);
	bench_random("direct_pwrite", 1, O_DIRECT);
}

/*
 * Syncs of what nobody stored to, and after a store to each page, or to one page in
 * each 2 MiB, of so many chunks at the device's end. What is mapped counts as stored to
 * as long as the device is open.
 */
static void bench_syncs(int mapped, unsigned int chunks, size_t step, const char *name)
{
	size_t size = (chunks ? chunks : 1) * SZ_2M;
	uint64_t cost = UINT64_MAX, start;
	int fd = open_device(0);
	off_t end = lseek(fd, 0, SEEK_END);
	char *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, end - size);
	char figure[64];

	if (addr == MAP_FAILED)
		err(1, "mmap %s", device);
	for (int i = 0; i < (chunks ? ROUNDS + 1 : CALLS); i++) {
		for (size_t j = 0; chunks && j < size; j += step)
			*(volatile char *)(addr + j) = 1;
		start = now();
		if (mapped ? msync(addr, size, MS_SYNC) : fsync(fd))
			err(1, "sync of %s", device);
		cost = min(cost, since(start));
	}
	munmap(addr, size);
	close(fd);
	snprintf(figure, sizeof(figure), "%s_%s", mapped ? "msync" : "fsync", name);
	report(figure, cost, 1);
}

void bench_sync(void)
{
	bench_syncs(0, 0, SZ_4K, "clean");
	bench_syncs(0, 1, SZ_4K, "2m");
	bench_syncs(0, 64, SZ_4K, "64");
	bench_syncs(0, 64, SZ_2M, "64_sparse");
	bench_syncs(1, 0, SZ_4K, "clean");
	bench_syncs(1, 1, SZ_4K, "2m");
	bench_syncs(1, 64, SZ_4K, "64");
}

static void store(char *to)
{
	for (int i = 0; i < 64; i += 8)
		*(volatile uint64_t *)(to + i) = i;
}

/* Map as much as there is of @size for stores, store to it once, and sync. */
static char *stored(int fd, size_t *size, size_t step)
{
	size_t all = lseek(fd, 0, SEEK_END);
	char *addr;

	*size = min(*size, all);
	addr = map_at(fd, 0, *size, 0);
	for (size_t j = 0; j < *size; j += step)
		*(volatile char *)(addr + j) = 1;
	if (fsync(fd))
		err(1, "sync of %s", device);
	return addr;
}

static uint64_t fsync_cost(int fd)
{
	uint64_t start = now(), cost;
	int failed = fsync(fd);

	cost = since(start);
	if (failed)
		err(1, "sync of %s", device);
	return cost;
}

/*
 * Syncs of a device of which much is mapped, after all of it was stored to and synced
 * once. What is stored again and again is so three times before it is counted.
 */
static void bench_stored_part(size_t size, size_t step)
{
	enum { WARM = 3 };
	uint64_t clean = UINT64_MAX, one = UINT64_MAX, cycle = UINT64_MAX, all = UINT64_MAX;
	uint64_t sparse = UINT64_MAX, again = UINT64_MAX, total, start, cost;
	int fd = open_device(0);
	char *addr = stored(fd, &size, step);
	unsigned int *order, pages;

	/* A load of what was stored before is none. */
	for (size_t j = 0; j < size; j += step)
		(void)*(volatile char *)(addr + j);
	again = fsync_cost(fd);
	for (int i = 0; i < CALLS; i++)
		clean = min(clean, fsync_cost(fd));
	for (int i = 0; i < WARM + ROUNDS; i++) {
		start = now();
		store(addr);
		cost = fsync_cost(fd);
		if (i >= WARM) {
			one = min(one, cost);
			cycle = min(cycle, since(start));
		}
	}
	for (int i = 0; i < WARM + ROUNDS; i++) {
		store(addr + SZ_2M);
		start = now();
		if (msync(addr, size, MS_SYNC))
			err(1, "msync %s", device);
		cost = since(start);
		if (i >= WARM)
			all = min(all, cost);
	}
	for (int i = 0; i < WARM + ROUNDS; i++) {
		for (size_t j = 0; j < 64 * SZ_2M; j += SZ_2M)
			store(addr + j);
		cost = fsync_cost(fd);
		if (i >= WARM)
			sparse = min(sparse, cost);
	}
	munmap(addr, size);
	close(fd);
	report("stored_fsync_clean", clean, 1);
	report("stored_fsync_read", again, 1);
	report("stored_fsync_64b", one, 1);
	report("stored_cycle_64b", cycle, 1);
	report("stored_msync_64b", all, 1);
	report("stored_fsync_64_sparse", sparse, 1);
	if (step != SZ_4K)
		return;

	fd = open_device(0);
	addr = stored(fd, &size, step);
	pages = size / SZ_4K;
	order = shuffled(pages);
	start = now();
	for (int i = 0; i < 1000; i++) {
		store(addr + order[i] * SZ_4K);
		fsync_cost(fd);
	}
	total = since(start);
	free(order);
	munmap(addr, size);
	close(fd);
	report("stored_random_4k", total, 1000);
}

void bench_stored(void)
{
	bench_stored_part(SZ_256M, SZ_4K);
}

/* All of a large device, by a byte in each 2 MiB. */
void bench_stored_all(void)
{
	bench_stored_part(SIZE_MAX, SZ_2M);
}

/* 64 bytes, again and again in another page, by instructions of the CPU alone. */
static void bench_flush(void)
{
	uint64_t total = UINT64_MAX, start;
	int fd = open_device(0);
	char *addr = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd,
			  0);

	/* The page cache has no such mapping: then there is no figure. */
	if (addr == MAP_FAILED && errno == EOPNOTSUPP) {
		close(fd);
		return;
	}
	if (addr == MAP_FAILED)
		err(1, "mmap %s with MAP_SYNC", device);
	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (size_t j = 0; j < SZ_2M; j += SZ_4K) {
			store(addr + j);
			asm volatile("clwb (%0)\n\tsfence" : : "r"(addr + j) : "memory");
		}
		total = min(total, since(start));
	}
	munmap(addr, SZ_2M);
	close(fd);
	report("store_clwb", total, SZ_2M / SZ_4K);
}

/* The same by a call. A character device has none. */
static void bench_msync(void)
{
	uint64_t total = UINT64_MAX, start;
	int fd = open_device(0);
	char *addr = map_at(fd, 0, SZ_2M, 0);

	for (int i = 0; i < ROUNDS + 1; i++) {
		start = now();
		for (size_t j = 0; j < SZ_2M; j += SZ_4K * 16) {
			store(addr + j);
			if (msync(addr + j, SZ_4K, MS_SYNC)) {
				if (errno != EINVAL)
					err(1, "msync %s", device);
				goto out;
			}
		}
		total = min(total, since(start));
	}
	report("store_msync", total, SZ_2M / (SZ_4K * 16));
out:
	munmap(addr, SZ_2M);
	close(fd);
}

void bench_durable(void)
{
	bench_flush();
	bench_msync();
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

void bench_file(void)
{
	bench_transfer("file_pread_4k", SZ_4K, 0, O_DIRECT, 0);
	bench_transfer("file_pwrite_4k", SZ_4K, 1, O_DIRECT, 0);
	bench_synced_write();
}
