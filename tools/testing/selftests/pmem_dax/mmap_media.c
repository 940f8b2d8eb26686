// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of the node is the media itself: what is stored through it is found,
 * at the same place, by another driver that reads the namespace, and vice versa.
 */
#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"

FIXTURE(mmap_media) {
	char *buffer;
	off_t size;
	uint64_t seed;
};

FIXTURE_VARIANT(mmap_media) {
	size_t skew;
};

/* With 2M pages. */
FIXTURE_VARIANT_ADD(mmap_media, huge) {
	.skew = 0,
};

/* The same, but at an address at which 2M pages do not fit. */
FIXTURE_VARIANT_ADD(mmap_media, small) {
	.skew = SZ_4K,
};

FIXTURE_SETUP(mmap_media)
{
	int fd;

	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	fd = open_node();
	ASSERT_LE(0, fd);
	self->size = size_of(fd);
	ASSERT_LT(0, self->size);
	close(fd);
	self->buffer = aligned_alloc(SZ_4K, SZ_4K);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
}

FIXTURE_TEARDOWN(mmap_media)
{
	free(self->buffer);
}

/*
 * next_page() - the pages that are looked at
 *
 * The first and the last few of the device, those on both sides of each 2M boundary, and
 * every 97th: no power of two, so that pages which are mixed up are found.
 */
static off_t next_page(off_t offset, off_t size)
{
	for (offset += SZ_4K; offset < size; offset += SZ_4K) {
		off_t in_block = offset % SZ_2M;

		if (in_block == 0 || in_block == SZ_2M - SZ_4K || offset / SZ_4K % 97 == 0 ||
		    offset < 8 * SZ_4K || offset >= size - 8 * SZ_4K)
			break;
	}
	return offset;
}

#define for_each_page(offset, size) \
	for (offset = 0; offset < (size); offset = next_page(offset, size))

TEST_F(mmap_media, store_is_on_media)
{
	off_t offset;
	char *map;
	int fd;

	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_skewed(fd, self->size, 0, variant->skew, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	for_each_page(offset, self->size)
		fill(map + offset, SZ_4K, self->seed, offset);
	EXPECT_EQ(variant->skew ? 0 : self->size, huge_bytes(map, self->size));
	munmap(map, self->size);
	close(fd);

	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	fd = open(node, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for_each_page(offset, self->size) {
		ASSERT_EQ(SZ_4K, pread(fd, self->buffer, SZ_4K, offset));
		ASSERT_EQ(-1, differs(self->buffer, SZ_4K, self->seed, offset));
	}
	close(fd);
}

TEST_F(mmap_media, media_is_loaded)
{
	off_t offset;
	char *map;
	int fd;

	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd);
	for_each_page(offset, self->size) {
		fill(self->buffer, SZ_4K, self->seed, offset);
		ASSERT_EQ(SZ_4K, pwrite(fd, self->buffer, SZ_4K, offset));
	}
	close(fd);

	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_skewed(fd, self->size, 0, variant->skew, PROT_READ, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	for_each_page(offset, self->size)
		ASSERT_EQ(-1, differs(map + offset, SZ_4K, self->seed, offset));
	EXPECT_EQ(variant->skew ? 0 : self->size, huge_bytes(map, self->size));
	munmap(map, self->size);
	close(fd);
}

TEST_F(mmap_media, physical_address)
{
	uint64_t start = namespace_start(NAMESPACE);
	off_t offset;
	char *map;
	int fd;

	ASSERT_NE(0, start);
	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_skewed(fd, self->size, 0, variant->skew, PROT_READ, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	for (offset = 0; offset < self->size; offset += 31 * SZ_1M + SZ_4K) {
		load_byte(map + offset);
		ASSERT_EQ(start + offset, physical(map + offset));
	}
	munmap(map, self->size);
	close(fd);
}

PMEM_DAX_MAIN(NAMESPACE)
