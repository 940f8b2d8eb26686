// SPDX-License-Identifier: GPL-2.0
/* The groups of bench that map: what a mapping costs, its faults, and what holds its pages. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "map.h"

/* A disk whose driver ends a write without looking at it. */
#define NO_DISK	"/dev/nullb0"

/* The mapping of which bench_mmap() has the call only. */
static void *map_anywhere(int fd, size_t size, int flags)
{
	void *addr = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, fd, 0);

	if (addr == MAP_FAILED)
		err(1, "mmap %s", device);
	return addr;
}

/*
 * The cheapest call: others meet a timer, or an empty list of free objects. The first
 * mapping of a device may have more to do than those that follow.
 */
static void bench_mmap(const char *name, int first)
{
	uint64_t cost = UINT64_MAX, start;
	int fd = open_device(0);
	void *other = NULL;

	/* Far away, so that the call finds the same neighbours. */
	if (!first)
		other = mmap((void *)(1UL << 40), SZ_64M, PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (other == MAP_FAILED)
		err(1, "mmap %s", device);
	for (int i = 0; i < ROUNDS * CALLS; i++) {
		void *addr;

		start = now();
		addr = mmap(NULL, SZ_64M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		cost = min(cost, since(start));
		if (addr == MAP_FAILED)
			err(1, "mmap %s", device);
		munmap(addr, SZ_64M);
	}
	if (other)
		munmap(other, SZ_64M);
	close(fd);
	report(name, cost, 1);
}

static void bench_open(const char *name)
{
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < CALLS; i++) {
		start = now();
		close(open_device(0));
		cost = min(cost, since(start));
	}
	report(name, cost, 1);
}

/* All that a process does that does nothing with the memory. */
static void bench_session(void)
{
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < CALLS; i++) {
		void *addr;
		int fd;

		start = now();
		fd = open_device(0);
		addr = map_anywhere(fd, SZ_64M, 0);
		munmap(addr, SZ_64M);
		close(fd);
		cost = min(cost, since(start));
	}
	report("session", cost, 1);
}

void bench_calls(void)
{
	bench_mmap("mmap", 1);
	bench_mmap("mmap_more", 0);
	bench_open("open_close");
	bench_session();
}

void bench_foreign(void)
{
	bench_open("foreign_open_close");
}

static void touch_page(char *page, int write)
{
	if (write)
		*(volatile char *)page = 1;
	else
		(void)*(volatile char *)page;
}

/* One page in each @step, in @order. */
static __attribute__((noinline)) void touch(char *addr, size_t step, const unsigned int *order,
					    unsigned int count, int write)
{
	for (unsigned int i = 0; i < count; i++)
		touch_page(addr + order[i] * step, write);
}

struct pattern {
	const char *name;	/* of the figures */
	size_t size, skew;	/* of the mapping */
	size_t step;		/* from a page to the next one, if it is in order */
	size_t unit;		/* of what the figures are */
};

enum order { IN_ORDER, BACKWARDS, RANDOM };

static unsigned int *order_of(unsigned int count, enum order order)
{
	unsigned int *numbers = shuffled(count);

	if (order == RANDOM)
		return numbers;
	for (unsigned int i = 0; i < count; i++)
		numbers[i] = order == IN_ORDER ? i : count - 1 - i;
	return numbers;
}

/* First touch and unmap. A second touch costs no fault and is subtracted. */
static void bench_touch(const struct pattern *pattern, int write, enum order how)
{
	static const char *const suffixes[] = { "", "_backwards", "_random" };
	uint64_t first = UINT64_MAX, second = UINT64_MAX, unmap = UINT64_MAX, start;
	unsigned int count = pattern->size / pattern->step;
	unsigned int *order = order_of(count, how);
	char name[64];

	for (int i = 0; i < rounds(first); i++) {
		int fd = open_device(0);
		char *addr = map_at(fd, 0, pattern->size, pattern->skew);

		start = now();
		touch(addr, pattern->step, order, count, write);
		first = min(first, since(start));
		start = now();
		touch(addr, pattern->step, order, count, write);
		second = min(second, since(start));
		start = now();
		munmap(addr, pattern->size);
		unmap = min(unmap, since(start));
		close(fd);
	}
	free(order);
	snprintf(name, sizeof(name), "%s_%s%s", write ? "write" : "read", pattern->name,
		 suffixes[how]);
	report(name, first - second, pattern->size / pattern->unit);
	if (how != IN_ORDER)
		return;
	snprintf(name, sizeof(name), "unmap_%s_%s", write ? "written" : "read", pattern->name);
	report(name, unmap, pattern->size / pattern->unit);
}

void bench_2m(void)
{
	static const struct pattern pattern = {
		.name = "2m", .size = SZ_64M, .step = SZ_4K, .unit = SZ_2M,
	};

	bench_touch(&pattern, 1, IN_ORDER);
	bench_touch(&pattern, 0, IN_ORDER);
	bench_touch(&pattern, 1, RANDOM);
	bench_touch(&pattern, 0, RANDOM);
}

void bench_4k(void)
{
	static const struct pattern pattern = {
		.name = "4k", .size = SZ_64M, .skew = SZ_4K, .step = SZ_4K, .unit = SZ_4K,
	};

	bench_touch(&pattern, 1, IN_ORDER);
	bench_touch(&pattern, 0, IN_ORDER);
	bench_touch(&pattern, 1, BACKWARDS);
	bench_touch(&pattern, 1, RANDOM);
	bench_touch(&pattern, 0, RANDOM);
}

void bench_1g(void)
{
	static const struct pattern pattern = {
		.name = "1g", .size = SZ_4G, .step = SZ_2M, .unit = SZ_1G,
	};

	bench_touch(&pattern, 1, IN_ORDER);
	bench_touch(&pattern, 0, IN_ORDER);
}

void bench_sparse(void)
{
	static const struct pattern pattern = {
		.name = "sparse", .size = SZ_1G, .step = SZ_2M, .unit = SZ_2M,
	};

	bench_touch(&pattern, 1, IN_ORDER);
	bench_touch(&pattern, 0, IN_ORDER);
	bench_touch(&pattern, 1, RANDOM);
}

static long faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* The call, of a process that has what it has now. The child ends at once. */
static uint64_t fork_cost(void)
{
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < MORE_ROUNDS; i++) {
		pid_t child;

		start = now();
		child = fork();
		if (!child)
			_exit(0);
		cost = min(cost, since(start));
		if (child < 0 || waitpid(child, NULL, 0) != child)
			err(1, "fork");
	}
	return cost;
}

/*
 * The call, with the page table entries of all that it maps; nothing is stored.
 * Then what fork makes of the mapping, above what it takes without.
 */
static void populate(const char *name, size_t size, size_t skew, size_t unit)
{
	uint64_t cost = UINT64_MAX, alone = fork_cost(), forked = 0, start;
	int fd = open_device(0);
	char figure[64];

	for (int i = 0; i < rounds(cost); i++) {
		char *addr;
		long before;

		addr = hole(size, skew);
		start = now();
		addr = mmap(addr, size, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_POPULATE | MAP_FIXED_NOREPLACE, fd, 0);
		cost = min(cost, since(start));
		if (addr == MAP_FAILED)
			err(1, "mmap %s", device);
		/* What cannot be populated is left out without a word. */
		before = faults();
		for (size_t j = 0; j < size; j += unit)
			touch_page(addr + j, 1);
		if (faults() != before)
			errx(1, "MAP_POPULATE of %s left %ld faults", device, faults() - before);
		if (!i)
			forked = fork_cost();
		munmap(addr, size);
	}
	close(fd);
	snprintf(figure, sizeof(figure), "populate_%s", name);
	report(figure, cost, 1);
	snprintf(figure, sizeof(figure), "fork_%s", name);
	printf("%s %.1f\n", figure, (double)forked - (double)alone);
}

void bench_populate(void)
{
	populate("1g", SZ_1G, 0, SZ_2M);
}

void bench_populate_4k(void)
{
	populate("256m_4k", SZ_256M, SZ_4K, SZ_4K);
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

void bench_page_cache(void)
{
	unsigned int *order = order_of(SZ_256M / SZ_4K, IN_ORDER);
	int fd = open_device(0);
	char *addr = map_at(fd, 0, SZ_256M, 0);
	long before = page_cache_kb();

	touch(addr, SZ_4K, order, SZ_256M / SZ_4K, 0);
	printf("page_cache_kb %ld\n", page_cache_kb() - before);
	munmap(addr, SZ_256M);
	close(fd);
	free(order);
}

static uint64_t register_cost(int ring, unsigned int what, void *arg, unsigned int count)
{
	uint64_t start = now(), cost;
	long error = syscall(__NR_io_uring_register, ring, what, arg, count);

	cost = since(start);
	if (error)
		err(1, "io_uring with %s", device);
	return cost;
}

/*
 * A buffer of an io_uring, for each 4 KiB of it. Without liburing, which would be mapped
 * too: what mmap() costs depends on what else is mapped.
 */
void bench_pin(void)
{
	uint64_t pin = UINT64_MAX, unpin = UINT64_MAX;
	int fd = open_device(0);
	char *addr = map_anywhere(fd, SZ_1G, MAP_POPULATE);
	struct iovec vector = { addr, SZ_1G };
	struct io_uring_params params = {};
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	if (ring < 0)
		err(1, "no io_uring");
	for (int i = 0; i < rounds(pin); i++) {
		pin = min(pin, register_cost(ring, IORING_REGISTER_BUFFERS, &vector, 1));
		unpin = min(unpin, register_cost(ring, IORING_UNREGISTER_BUFFERS, NULL, 0));
	}
	close(ring);
	munmap(addr, SZ_1G);
	close(fd);
	report("pin", pin, SZ_1G / SZ_4K);
	report("unpin", unpin, SZ_1G / SZ_4K);
}

static void bench_direct_write(const char *name, int disk, const char *from, size_t size)
{
	uint64_t cost = UINT64_MAX, start;

	for (int i = 0; i < CALLS; i++) {
		start = now();
		if (pwrite(disk, from, size, 0) != (ssize_t)size)
			err(1, "write from %s to %s", device, NO_DISK);
		cost = min(cost, since(start));
	}
	report(name, cost, 1);
}

/* Of the mapping, and of memory that nobody else has, for comparison. */
void bench_direct(void)
{
	int fd = open_device(0), disk = open_node(NO_DISK, O_DIRECT);
	char *addr = map_at(fd, 0, SZ_64M, 0), *memory = buffer(SZ_1M);

	memset(addr, 1, SZ_1M);
	bench_direct_write("direct_from_map_4k", disk, addr, SZ_4K);
	bench_direct_write("direct_from_map_1m", disk, addr, SZ_1M);
	bench_direct_write("direct_from_memory_4k", disk, memory, SZ_4K);
	bench_direct_write("direct_from_memory_1m", disk, memory, SZ_1M);
	free(memory);
	munmap(addr, SZ_64M);
	close(disk);
	close(fd);
}
