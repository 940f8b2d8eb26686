// SPDX-License-Identifier: GPL-2.0
/*
 * Who moves, merges, collapses, splits or takes away pages of memory leaves those
 * of the device alone: they stay where they are, as they are mapped.
 */
#include <linux/mempolicy.h>

#include "pmem_dax.h"

#define LENGTH	(3 * SZ_2M)
#define PAGES	(LENGTH / SZ_4K)
#define MM	"/sys/kernel/mm/"

FIXTURE(neighbours) {
	uint64_t seed, before[PAGES];
	long huge;
	char *map;
	int fd;
};

FIXTURE_VARIANT(neighbours) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(neighbours, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(neighbours, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(neighbours, mixed) {
	.layout = LAYOUT_MIXED,
};

/* read_entries() - what the kernel tells of the pages: their frames, and whether they are there */
static bool read_entries(const char *map, uint64_t entries[PAGES])
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i;
	ssize_t size = PAGES * sizeof(entries[0]);
	bool result = pread(fd, entries, size, (uintptr_t)map / SZ_4K * 8) == size;

	close(fd);
	for (i = 0; i < PAGES; i++)
		entries[i] &= 1UL << 63 | ((1UL << 55) - 1);
	return result;
}

FIXTURE_SETUP(neighbours)
{
	uint64_t start = namespace_start("namespace0.0");
	int i;

	self->seed = new_seed();
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	fill(self->map, LENGTH, self->seed, 0);
	/* Two pages that could be merged. */
	memset(self->map + 8 * SZ_4K, 0x5a, 2 * SZ_4K);
	self->huge = huge_bytes(self->map, LENGTH);
	ASSERT_EQ(layout_huge(&variant->layout, LENGTH), self->huge);
	ASSERT_TRUE(read_entries(self->map, self->before));
	for (i = 0; i < PAGES; i++)
		ASSERT_EQ(1UL << 63 | ((start + variant->layout.offset) / SZ_4K + i),
			  self->before[i]);
}

FIXTURE_TEARDOWN(neighbours)
{
	munmap(self->map, LENGTH);
	close(self->fd);
}

#define EXPECT_UNCHANGED()						\
	do {								\
		uint64_t after[PAGES];					\
									\
		EXPECT_TRUE(read_entries(self->map, after));			\
		EXPECT_EQ(0, memcmp(self->before, after, sizeof(after)));	\
		EXPECT_EQ(self->huge, huge_bytes(self->map, LENGTH));	\
		EXPECT_EQ(-1, differs(self->map, 8 * SZ_4K, self->seed, 0));	\
		EXPECT_EQ(-1, differs(self->map + 10 * SZ_4K, LENGTH - 10 * SZ_4K,	\
				      self->seed, 10 * SZ_4K));		\
		EXPECT_EQ(0x5a, self->map[8 * SZ_4K]);			\
		EXPECT_EQ(0x5a, self->map[10 * SZ_4K - 1]);		\
	} while (0)

/* number() - that a file of the kernel has in its first line; -1 if there is none */
static long number(const char *path)
{
	char line[64] = "";
	FILE *file = fopen(path, "r");

	if (!file)
		return -1;
	if (!fgets(line, sizeof(line), file))
		line[0] = '\0';
	fclose(file);
	return line[0] ? atol(line) : -1;
}

/* scanned() - wait until a thread of the kernel has looked at all there is, twice */
static bool scanned(const char *counter)
{
	long start = number(counter);
	int i;

	for (i = 0; i < 600 && number(counter) < start + 3; i++)
		usleep(50000);
	return number(counter) >= start + 3;
}

/* last_node() - that has memory; pages on the first one would move there */
static int last_node(void)
{
	char line[64], *last;

	if (shell_line(line, sizeof(line), "cat /sys/devices/system/node/has_memory"))
		return 0;
	last = strpbrk(line, "-,");
	return last ? atoi(last + 1) : 0;
}

TEST_F(neighbours, move_pages)
{
	void *pages[3] = { self->map, self->map + SZ_1M + SZ_4K, self->map + LENGTH - SZ_4K };
	int nodes[3], status[3], i;

	ASSERT_LT(0, last_node());
	/* Neither where it is is told... */
	ASSERT_EQ(0, syscall(__NR_move_pages, 0, 3, pages, NULL, status, 0));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(-ENOENT, status[i]);
		nodes[i] = last_node();
	}
	/* ...nor is it moved. */
	EXPECT_EQ(0, syscall(__NR_move_pages, 0, 3, pages, nodes, status, MPOL_MF_MOVE));
	for (i = 0; i < 3; i++)
		EXPECT_EQ(-EFAULT, status[i]);
	EXPECT_UNCHANGED();
}

TEST_F(neighbours, migrate_pages)
{
	unsigned long from = ~0UL >> 1, to = 1UL << last_node();

	/* How many of all the process has could not be moved. */
	EXPECT_LE(0, syscall(__NR_migrate_pages, 0, 64, &from, &to));
	EXPECT_UNCHANGED();
}

TEST_F(neighbours, mbind)
{
	unsigned long to = 1UL << last_node();

	EXPECT_EQ(0, syscall(__NR_mbind, self->map, LENGTH, MPOL_BIND, &to, 64, MPOL_MF_MOVE));
	EXPECT_UNCHANGED();
	EXPECT_EQ(0, syscall(__NR_mbind, self->map, LENGTH, MPOL_BIND, &to, 64,
			     MPOL_MF_MOVE_ALL | MPOL_MF_STRICT));
	EXPECT_UNCHANGED();
}

#define NUMA_BALANCING	"/sys/kernel/debug/sched/numa_balancing"

/* numa_scans() - how often the kernel went over all of this process; -1 if it does not tell */
static long numa_scans(void)
{
	FILE *file = fopen("/proc/self/sched", "r");
	long scans = -1;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		sscanf(line, "mm->numa_scan_seq : %ld", &scans);
	if (file)
		fclose(file);
	return scans;
}

/* It takes away the entries of pages, to see by the faults who needs them where. */
TEST_F(neighbours, numa_balancing)
{
	const size_t length = 4 * SZ_1M;
	char *others = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	time_t end = time(NULL) + 20;
	long start = numa_scans();
	size_t at;

	ASSERT_NE(MAP_FAILED, others);
	ASSERT_LE(0, start);
	/* It comes sooner than the second that it would let pass. */
	ASSERT_EQ(0, write_line(NUMA_BALANCING "/scan_delay_ms", "20"));
	ASSERT_EQ(0, write_line(NUMA_BALANCING "/scan_period_min_ms", "20"));
	/* A pass may have begun behind the mapping. */
	while (numa_scans() < start + 2 && time(NULL) < end) {
		for (at = 0; at < length; at += SZ_4K)
			others[at]++;
		for (at = 0; at < LENGTH; at += SZ_4K)
			load_byte(self->map + at);
	}
	EXPECT_LE(start + 2, numa_scans());
	EXPECT_UNCHANGED();
	EXPECT_EQ(0, munmap(others, length));
}

TEST_F_TIMEOUT(neighbours, ksm, 120)
{
	char *memory = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	if (number(MM "ksm/run") < 0)
		SKIP(return, "the kernel has no KSM");
	ASSERT_NE(MAP_FAILED, memory);
	madvise(memory, SZ_2M, MADV_NOHUGEPAGE);
	memset(memory, 0x5a, 64 * SZ_4K);
	EXPECT_EQ(0, madvise(memory, SZ_2M, MADV_MERGEABLE));
	EXPECT_EQ(0, madvise(self->map, LENGTH, MADV_MERGEABLE));
	write_line(MM "ksm/pages_to_scan", "20000");
	write_line(MM "ksm/sleep_millisecs", "10");
	ASSERT_EQ(0, write_line(MM "ksm/run", "1"));
	EXPECT_TRUE(scanned(MM "ksm/full_scans"));
	/* It found those that it may merge. */
	EXPECT_LE(60, number(MM "ksm/pages_sharing"));
	EXPECT_GT(70, number(MM "ksm/pages_sharing"));
	EXPECT_UNCHANGED();
	write_line(MM "ksm/run", "2");
	munmap(memory, SZ_2M);
	EXPECT_EQ(0, madvise(self->map, LENGTH, MADV_UNMERGEABLE));
	EXPECT_UNCHANGED();
}

TEST_F(neighbours, collapse)
{
	EXPECT_EQ(-1, madvise(self->map, LENGTH, MADV_COLLAPSE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_UNCHANGED();
}

TEST_F_TIMEOUT(neighbours, khugepaged, 120)
{
#define THP	MM "transparent_hugepage/"
	char *memory = map_skewed(-1, SZ_2M, 0, 0, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS);

	ASSERT_NE(MAP_FAILED, memory);
	madvise(memory, SZ_2M, MADV_NOHUGEPAGE);
	memset(memory, 0x5a, SZ_2M);
	ASSERT_EQ(0, write_line(THP "enabled", "always"));
	write_line(THP "khugepaged/scan_sleep_millisecs", "10");
	write_line(THP "khugepaged/pages_to_scan", "100000");
	EXPECT_EQ(0, madvise(memory, SZ_2M, MADV_HUGEPAGE));
	EXPECT_EQ(0, madvise(self->map, LENGTH, MADV_HUGEPAGE));
	EXPECT_TRUE(scanned(THP "khugepaged/full_scans"));
	EXPECT_EQ(SZ_2M, huge_bytes(memory, SZ_2M));
	EXPECT_UNCHANGED();
	munmap(memory, SZ_2M);
}

TEST_F(neighbours, compaction)
{
	ASSERT_EQ(0, write_line("/proc/sys/vm/compact_memory", "1"));
	ASSERT_EQ(0, write_line("/proc/sys/vm/drop_caches", "3"));
	EXPECT_UNCHANGED();
}

/* Reclaim, of all and of a part of a large page. */
TEST_F(neighbours, reclaim)
{
	static const int advices[] = { MADV_COLD, MADV_PAGEOUT };
	int i;

	for (i = 0; i < ARRAY_SIZE(advices); i++) {
		EXPECT_EQ(0, madvise(self->map, LENGTH, advices[i]));
		EXPECT_EQ(0, madvise(self->map + SZ_2M + SZ_4K, 5 * SZ_4K, advices[i]));
		EXPECT_UNCHANGED();
	}
	EXPECT_EQ(-1, madvise(self->map, LENGTH, MADV_FREE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_UNCHANGED();
}

TEST_F(neighbours, split_huge_pages)
{
	const char *file = "/sys/kernel/debug/split_huge_pages";
	char line[96];

	if (access(file, W_OK))
		SKIP(return, "no %s", file);
	write_line(file, "1");
	EXPECT_UNCHANGED();
	snprintf(line, sizeof(line), "%d,0x%lx,0x%lx", getpid(), (unsigned long)self->map,
		 (unsigned long)self->map + LENGTH);
	write_line(file, line);
	EXPECT_UNCHANGED();
}

/* soft_offline() - the errno of giving up the frame of a page */
static int soft_offline(const char *address)
{
	char line[32];

	snprintf(line, sizeof(line), "0x%lx", (unsigned long)physical(address));
	return write_line("/sys/devices/system/memory/soft_offline_page", line) ? errno : 0;
}

TEST_F(neighbours, soft_offline)
{
	char *memory = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	uint64_t frame;

	if (access("/sys/devices/system/memory/soft_offline_page", W_OK))
		SKIP(return, "the kernel cannot give up pages");
	ASSERT_NE(MAP_FAILED, memory);
	touch(memory);
	frame = physical(memory);
	EXPECT_EQ(0, soft_offline(memory));
	EXPECT_NE(frame, physical(memory));

	EXPECT_EQ(EIO, soft_offline(self->map));
	EXPECT_EQ(EIO, soft_offline(self->map + SZ_2M + 7 * SZ_4K));
	EXPECT_EQ(EIO, soft_offline(self->map + LENGTH - SZ_4K));
	EXPECT_EQ(-1, madvise(self->map + SZ_4K, SZ_4K, MADV_SOFT_OFFLINE));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, madvise(self->map + SZ_2M, SZ_2M, MADV_SOFT_OFFLINE));
	EXPECT_EQ(EIO, errno);
	EXPECT_UNCHANGED();
	munmap(memory, SZ_4K);
}

PMEM_DAX_MAIN("namespace0.0")
