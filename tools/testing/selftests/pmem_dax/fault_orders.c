// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping is made of 2M pages wherever they fit, without being asked to, and
 * of 4K pages elsewhere; both may be mixed.
 */
#include "pmem_dax.h"

#define THP "/sys/kernel/mm/transparent_hugepage/enabled"

FIXTURE(fault_orders) {
	int fd;
};

FIXTURE_SETUP(fault_orders)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(fault_orders)
{
	close(self->fd);
}

/* count_faults() - the page faults that storing to (or loading from) each page takes */
static long count_faults(char *map, size_t length, bool store)
{
	long before = minor_faults();
	size_t i;

	for (i = 0; i < length; i += SZ_4K) {
		if (store)
			touch(map + i);
		else
			load_byte(map + i);
	}
	return minor_faults() - before;
}

/*
 * faults_in_order() - those that @pages pages take from @map on, mapped with small pages and
 * touched in their order
 *
 * A fault maps as many pages behind its own as are mapped right before it, but at most 64, and
 * none of the next page table.
 */
static long faults_in_order(const char *map, long pages)
{
	long index = (uintptr_t)map / SZ_4K % 512, mapped = 0, faults = 0;

	while (pages > 0) {
		long more = mapped < 64 ? mapped : 64;

		if (more > 511 - index)
			more = 511 - index;
		if (more > pages - 1)
			more = pages - 1;
		faults++;
		mapped += 1 + more;
		pages -= 1 + more;
		index = (index + 1 + more) % 512;
		if (!index)
			mapped = 0;
	}
	return faults;
}

FIXTURE(access) {
	int fd;
};

FIXTURE_VARIANT(access) {
	bool store;
};

FIXTURE_VARIANT_ADD(access, load) {
	.store = false,
};

FIXTURE_VARIANT_ADD(access, store) {
	.store = true,
};

FIXTURE_SETUP(access)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(access)
{
	close(self->fd);
}

TEST_F(access, whole_blocks)
{
	char *map = map_shared(self->fd, 64 * SZ_1M, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, (uintptr_t)map % SZ_2M);
	EXPECT_EQ(32, count_faults(map, 64 * SZ_1M, variant->store));
	EXPECT_EQ(64 * SZ_1M, huge_bytes(map, 64 * SZ_1M));
}

TEST_F(access, skewed)
{
	char *map = map_skewed(self->fd, 8 * SZ_1M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(faults_in_order(map, 2048), count_faults(map, 8 * SZ_1M, variant->store));
	EXPECT_EQ(0, huge_bytes(map, 8 * SZ_1M));
}

/* The address suits the offset: only the ends are made of small pages. */
TEST_F(access, unaligned_offset)
{
	char *map = map_shared(self->fd, 16 * SZ_1M, SZ_4K);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(SZ_4K, (uintptr_t)map % SZ_2M);
	EXPECT_EQ(faults_in_order(map, 511) + 7 + 1, count_faults(map, 16 * SZ_1M, variant->store));
	EXPECT_EQ(14 * SZ_1M, huge_bytes(map, 16 * SZ_1M));
}

TEST_F(access, length_not_of_blocks)
{
	char *map = map_shared(self->fd, 3 * SZ_1M, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(1 + faults_in_order(map + SZ_2M, 256),
		  count_faults(map, 3 * SZ_1M, variant->store));
	EXPECT_EQ(SZ_2M, huge_bytes(map, 3 * SZ_1M));
}

TEST_F(access, last_block)
{
	char *map = map_shared(self->fd, SZ_2M, size_of(self->fd) - SZ_2M);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(1, count_faults(map, SZ_2M, variant->store));
}

/* A page that was loaded from first needs no second fault to be stored to. */
TEST_F(fault_orders, store_after_load)
{
	char *huge = map_shared(self->fd, SZ_2M, 0);
	char *small = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, huge);
	ASSERT_NE(MAP_FAILED, small);
	EXPECT_EQ(1, count_faults(huge, SZ_2M, false));
	EXPECT_EQ(faults_in_order(small, 512), count_faults(small, SZ_2M, false));
	EXPECT_EQ(0, count_faults(huge, SZ_2M, true));
	EXPECT_EQ(0, count_faults(small, SZ_2M, true));
}

/* resident() - the pages of the range that are mapped */
static long resident(const char *map, size_t length)
{
	long pages = 0;
	size_t i;

	for (i = 0; i < length; i += SZ_4K)
		pages += physical(map + i) != 0;
	return pages;
}

/* Who does not touch pages in their order gets those that he touches, and pays for no others. */
TEST_F(fault_orders, random_order)
{
	char *map = map_skewed(self->fd, SZ_1M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	int i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = 255; i >= 0; i -= 2)
		touch(map + i * SZ_4K);
	EXPECT_EQ(128, resident(map, SZ_1M));
	/* One behind another one brings one more, and that is all. */
	touch(map + 100 * SZ_4K);
	EXPECT_EQ(129, resident(map, SZ_1M));
	ASSERT_EQ(0, madvise(map, SZ_1M, MADV_DONTNEED));
	touch(map + 10 * SZ_4K);
	touch(map + 11 * SZ_4K);
	EXPECT_EQ(3, resident(map, SZ_1M));
	EXPECT_NE(0, physical(map + 12 * SZ_4K));
}

/* What is mapped besides is the device's memory too, and nothing behind its end. */
TEST_F(fault_orders, followers_stop_at_the_end)
{
	off_t size = size_of(self->fd);
	char *map = map_skewed(self->fd, SZ_2M, size - 8 * SZ_4K, SZ_4K, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	int i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < 8; i++)
		touch(map + i * SZ_4K);
	EXPECT_EQ(8, resident(map, SZ_2M));
	for (i = 1; i < 8; i++)
		EXPECT_EQ(physical(map) + i * SZ_4K, physical(map + i * SZ_4K));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + 8 * SZ_4K, true));
}

TEST_F(fault_orders, address_suits_unasked)
{
	const size_t lengths[] = { SZ_2M, SZ_2M + SZ_4K, 5 * SZ_1M, 64 * SZ_1M };
	const off_t offsets[] = { 0, SZ_4K, SZ_1M, 3 * SZ_1M + 3 * SZ_4K };
	int i, j;

	for (i = 0; i < ARRAY_SIZE(lengths); i++) {
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			off_t skipped = (SZ_2M - offsets[j] % SZ_2M) % SZ_2M;
			char *map = map_shared(self->fd, lengths[i], offsets[j]);

			ASSERT_NE(MAP_FAILED, map);
			/* Where no block fits, any address will do. */
			if (lengths[i] >= skipped + SZ_2M)
				EXPECT_EQ(offsets[j] % SZ_2M, (uintptr_t)map % SZ_2M)
					TH_LOG("length %zx offset %lx", lengths[i], offsets[j]);
			munmap(map, lengths[i]);
		}
	}
}

TEST_F(fault_orders, small_mapping)
{
	char *map = map_shared(self->fd, SZ_1M, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(faults_in_order(map, 256), count_faults(map, SZ_1M, true));
	EXPECT_EQ(0, huge_bytes(map, SZ_1M));
}

TEST_F(fault_orders, no_huge_pages_wanted)
{
	char *map = map_shared(self->fd, SZ_2M, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, SZ_2M, MADV_NOHUGEPAGE));
	/* In order, the second one brings what a large page would have brought. */
	EXPECT_EQ(2, count_faults(map, SZ_2M, true));
	EXPECT_EQ(0, huge_bytes(map, SZ_2M));
	ASSERT_EQ(0, madvise(map, SZ_2M, MADV_DONTNEED));
	for (int i = 510; i >= 0; i -= 2)
		touch(map + i * SZ_4K);
	EXPECT_EQ(256, resident(map, SZ_2M));
}

/* The pages are the device's, so what is set for anonymous memory says nothing about them. */
TEST_F(fault_orders, whatever_thp_is_set_to)
{
	char *map = map_shared(self->fd, SZ_2M, 0);
	char line[64], *setting;
	long faults;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, shell_line(line, sizeof(line), "cat " THP));
	setting = strchr(line, '[');
	ASSERT_NE(NULL, setting);
	ASSERT_EQ(0, shell("echo never >" THP));
	faults = count_faults(map, SZ_2M, true);
	ASSERT_EQ(0, shell("echo %.*s >" THP, (int)strcspn(setting + 1, "]"), setting + 1));
	EXPECT_EQ(1, faults);
}

/* One block, mapped with a large page, with small ones, and with both at once. */
TEST_F(fault_orders, both_orders_of_one_block)
{
	char *huge = map_shared(self->fd, SZ_2M, SZ_2M);
	char *small = map_skewed(self->fd, SZ_2M, SZ_2M, SZ_4K, PROT_READ | PROT_WRITE,
				 MAP_SHARED);
	uint64_t seed = new_seed();

	ASSERT_NE(MAP_FAILED, huge);
	ASSERT_NE(MAP_FAILED, small);
	fill(huge, SZ_1M, seed, 0);
	fill(small + SZ_1M, SZ_1M, seed, SZ_1M);
	EXPECT_EQ(SZ_2M, huge_bytes(huge, SZ_2M));
	EXPECT_EQ(0, huge_bytes(small, SZ_2M));
	EXPECT_EQ(-1, differs(huge, SZ_2M, seed, 0));
	EXPECT_EQ(-1, differs(small, SZ_2M, seed, 0));
	EXPECT_EQ(physical(huge + 5 * SZ_4K), physical(small + 5 * SZ_4K));
}

/* A large page of which a part is unmapped or protected becomes small ones. */
TEST_F(fault_orders, large_page_is_split)
{
	char *map = map_shared(self->fd, 2 * SZ_2M, 0);
	uint64_t seed = new_seed();
	long before;

	ASSERT_NE(MAP_FAILED, map);
	fill(map, 2 * SZ_2M, seed, 0);
	EXPECT_EQ(2 * SZ_2M, huge_bytes(map, 2 * SZ_2M));

	ASSERT_EQ(0, munmap(map + 7 * SZ_4K, SZ_4K));
	ASSERT_EQ(0, mprotect(map + SZ_2M + 9 * SZ_4K, SZ_4K, PROT_READ));
	before = minor_faults();
	EXPECT_EQ(-1, differs(map, 7 * SZ_4K, seed, 0));
	EXPECT_EQ(-1, differs(map + 8 * SZ_4K, SZ_2M - 8 * SZ_4K, seed, 8 * SZ_4K));
	EXPECT_EQ(-1, differs(map + SZ_2M, SZ_2M, seed, SZ_2M));
	EXPECT_LE(minor_faults() - before, 1024);

	ASSERT_EQ(0, mprotect(map + SZ_2M + 9 * SZ_4K, SZ_4K, PROT_READ | PROT_WRITE));
	fill(map + SZ_2M, SZ_2M, ~seed, SZ_2M);
	EXPECT_EQ(-1, differs(map + SZ_2M, SZ_2M, ~seed, SZ_2M));
}

TEST_F(fault_orders, moved_mapping)
{
	char *map = map_shared(self->fd, 2 * SZ_2M, 0);
	uint64_t seed = new_seed();
	char *to;

	ASSERT_NE(MAP_FAILED, map);
	fill(map, 2 * SZ_2M, seed, 0);
	to = mmap(NULL, 4 * SZ_2M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, to);
	/* To an address at which 2M pages do not fit. */
	to = (char *)(((uintptr_t)to + SZ_2M - 1) & ~(SZ_2M - 1)) + 3 * SZ_4K;
	ASSERT_EQ(to, mremap(map, 2 * SZ_2M, 2 * SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-1, differs(to, 2 * SZ_2M, seed, 0));
	EXPECT_EQ(0, huge_bytes(to, 2 * SZ_2M));
	fill(to, 2 * SZ_2M, ~seed, 0);
	munmap(to, 2 * SZ_2M);

	map = map_shared(self->fd, 2 * SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, differs(map, 2 * SZ_2M, ~seed, 0));
}

/* A child of fork() has the mapping too, and faults by itself. */
TEST_F(fault_orders, child)
{
	char *map = map_shared(self->fd, SZ_2M, 0);
	uint64_t seed = new_seed();
	int status;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, map);
	fill(map, SZ_2M, seed, 0);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		if (differs(map, SZ_2M, seed, 0) != -1)
			_exit(1);
		if (huge_bytes(map, SZ_2M) != SZ_2M)
			_exit(2);
		fill(map, SZ_2M, ~seed, 0);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-1, differs(map, SZ_2M, ~seed, 0));
}

PMEM_DAX_MAIN("namespace0.0")
