// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping of a partition is that of its own bytes, from the first to the last
 * and not one more. One that does not start and end at pages cannot be mapped.
 */
#include <linux/blkpg.h>

#include "pmem_dax.h"

#define SECTOR 512

/* In sectors. The first two and the last two are neighbours; no end is at a 2M boundary. */
static const struct {
	off_t start, size;
	bool pages;
} parts[] = {
	{ 2048, 8192, true },
	{ 10240, 8200, true },
	{ 18441, 8199, false },
	{ 26640, 8191, false },
	{ 34832, 16384, true },
	{ 51216, 40960, true },
};

FIXTURE(partitions) {
	char *buffer;
	int fd;
};

static int open_part(int number)
{
	char path[80];

	snprintf(path, sizeof(path), "%sp%d", node, number);
	return open(path, O_RDWR | O_CLOEXEC);
}

/* blkpg() - add, resize or delete a partition; in sectors */
static int blkpg(int fd, int op, int number, off_t start, off_t size)
{
	struct blkpg_partition part = {
		.start = start * SECTOR,
		.length = size * SECTOR,
		.pno = number,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op,
		.datalen = sizeof(part),
		.data = &part,
	};

	return ioctl(fd, BLKPG, &arg);
}

FIXTURE_SETUP(partitions)
{
	int i;

	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	/* Those of the test before, which had them open. */
	for (i = 1; i <= 255; i++)
		blkpg(self->fd, BLKPG_DEL_PARTITION, i, 0, 0);
	for (i = 0; i < ARRAY_SIZE(parts); i++)
		ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, i + 1, parts[i].start,
				   parts[i].size));
	self->buffer = aligned_alloc(SZ_4K, 64 * SZ_1M);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(partitions)
{
	close(self->fd);
}

/* What is stored to a partition, with large and small pages, is found at its place of the disk. */
TEST_F(partitions, its_own_bytes)
{
	uint64_t seed = new_seed();
	int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		off_t start = parts[i].start * SECTOR;
		size_t size = parts[i].size * SECTOR;
		char *map;
		int part;

		if (!parts[i].pages)
			continue;
		part = open_part(i + 1);
		ASSERT_LE(0, part);
		EXPECT_EQ(size, size_of(part));
		map = map_shared(part, size, 0);
		ASSERT_NE(MAP_FAILED, map);
		fill(map, size, seed, start);
		/* Large pages fit where the disk's are, not where the partition starts. */
		EXPECT_EQ(start % SZ_2M, (uintptr_t)map % SZ_2M);
		EXPECT_EQ((start + size) / SZ_2M - (start + SZ_2M - 1) / SZ_2M,
			  huge_bytes(map, size) / SZ_2M);
		munmap(map, size);
		close(part);
	}
	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		off_t start = parts[i].start * SECTOR;
		size_t size = parts[i].size * SECTOR;

		if (!parts[i].pages)
			continue;
		ASSERT_EQ(size, pread(self->fd, self->buffer, size, start));
		ASSERT_EQ(-1, differs(self->buffer, size, seed, start));
	}
}

TEST_F(partitions, reads_and_writes)
{
	off_t start = parts[1].start * SECTOR, size = parts[1].size * SECTOR;
	int part = open_part(2);
	char *map;

	ASSERT_LE(0, part);
	map = map_shared(part, size, 0);
	ASSERT_NE(MAP_FAILED, map);
	memset(self->buffer, 0x11, 1000);
	ASSERT_EQ(1000, pwrite(part, self->buffer, 1000, 4000));
	EXPECT_EQ(0, memcmp(map + 4000, self->buffer, 1000));
	ASSERT_EQ(1000, pread(self->fd, self->buffer + SZ_4K, 1000, start + 4000));
	EXPECT_EQ(0, memcmp(self->buffer + SZ_4K, self->buffer, 1000));
	memset(map + 4500, 0x22, 1000);
	ASSERT_EQ(1000, pread(part, self->buffer, 1000, 4500));
	EXPECT_EQ(0, memcmp(map + 4500, self->buffer, 1000));
	EXPECT_EQ(10, pwrite(part, self->buffer, 1000, size - 10));
	EXPECT_EQ(0, pread(part, self->buffer, 1000, size));
	EXPECT_EQ(-1, pwrite(part, self->buffer, 1000, size));
	EXPECT_EQ(ENOSPC, errno);
}

/* A mapping that is too long must not show, or change, what the next partition has. */
TEST_F(partitions, not_the_next_ones_bytes)
{
	const int numbers[] = { 1, 5 };
	uint64_t seed = new_seed();
	int i, j;

	fill(self->buffer, 64 * SZ_1M, seed, 0);
	ASSERT_EQ(63 * SZ_1M, pwrite(self->fd, self->buffer + SZ_1M, 63 * SZ_1M, SZ_1M));
	for (i = 0; i < ARRAY_SIZE(numbers); i++) {
		int n = numbers[i] - 1;
		off_t start = parts[n].start * SECTOR, size = parts[n].size * SECTOR;
		int part = open_part(numbers[i]);

		ASSERT_LE(0, part);
		for (j = 0; j < 2; j++) {
			char *map = map_skewed(part, size + 4 * SZ_1M, 0,
					       j ? SZ_4K : start % SZ_2M, PROT_READ | PROT_WRITE,
					       MAP_SHARED);

			ASSERT_NE(MAP_FAILED, map);
			/* The bytes before the end, so that a large page could come. */
			EXPECT_EQ(0, bus_code(map + size - 1, true));
			EXPECT_EQ(BUS_ADRERR, bus_code(map + size, false));
			EXPECT_EQ(BUS_ADRERR, bus_code(map + size, true));
			EXPECT_EQ(BUS_ADRERR, bus_code(map + size + SZ_1M, true));
			EXPECT_EQ(BUS_ADRERR, bus_code(map + size + 4 * SZ_1M - 1, false));
			munmap(map, size + 4 * SZ_1M);
		}
		close(part);
	}
}

TEST_F(partitions, before_its_start)
{
	off_t overflow = (INT64_MAX & ~(SZ_4K - 1)) - SZ_4K;
	int part = open_part(5);

	ASSERT_LE(0, part);
	/* On the disk this offset would be beyond what can be counted. */
	EXPECT_EQ(EOVERFLOW, map_errno(part, PROT_READ, MAP_SHARED, overflow));
	EXPECT_EQ(EOVERFLOW, map_errno(part, PROT_READ, MAP_SHARED, -SZ_4K));
	close(part);
}

TEST_F(partitions, not_of_pages)
{
	char first[SECTOR];
	int i;

	for (i = 0; i < ARRAY_SIZE(parts); i++) {
		char command[160], line[256];
		int part;

		if (parts[i].pages)
			continue;
		part = open_part(i + 1);
		ASSERT_LE(0, part);
		EXPECT_EQ(EINVAL, map_errno(part, PROT_READ, MAP_SHARED, 0));
		snprintf(command, sizeof(command), "dmesg | grep \"pmem_dax.*%s.*boundar\"",
			 node + strlen("/dev/"));
		EXPECT_EQ(0, shell_line(line, sizeof(line), command));
		/* It is good for all else. */
		EXPECT_EQ(SECTOR, pread(part, first, SECTOR, 0));
		EXPECT_EQ(SECTOR, pwrite(part, first, SECTOR, 0));
		close(part);
	}
}

/* The whole disk and a partition are not mapped at once; two partitions are. */
TEST_F(partitions, claims)
{
	int first = open_part(1), second = open_part(2), exclusive;
	char *map, path[80];

	ASSERT_LE(0, first);
	ASSERT_LE(0, second);
	map = map_shared(first, SZ_1M, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_TRUE(is_refused(self->fd, EBUSY, "somebody has the disk or a partition"));
	EXPECT_EQ(0, map_errno(second, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, map_errno(first, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(-1, open(node, O_RDWR | O_EXCL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, ioctl(self->fd, BLKRRPART));
	EXPECT_EQ(EBUSY, errno);
	snprintf(path, sizeof(path), "%sp1", node);
	EXPECT_EQ(-1, open(path, O_RDWR | O_EXCL));
	EXPECT_EQ(EBUSY, errno);
	snprintf(path, sizeof(path), "%sp2", node);
	exclusive = open(path, O_RDWR | O_EXCL);
	EXPECT_LE(0, exclusive);
	EXPECT_TRUE(is_refused(second, EBUSY, "somebody holds it"));
	EXPECT_EQ(0, map_errno(first, PROT_READ, MAP_SHARED, 0));
	close(exclusive);
	munmap(map, SZ_1M);

	map = map_shared(self->fd, SZ_1M, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_TRUE(is_refused(first, EBUSY, "somebody has the disk or a partition"));
	EXPECT_EQ(-1, open(path, O_RDWR | O_EXCL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_NE(0, shell("mkfs.ext4 -q -F %s 2>/dev/null", path));
	munmap(map, SZ_1M);
	EXPECT_EQ(0, map_errno(first, PROT_READ, MAP_SHARED, 0));
	exclusive = open(node, O_RDWR | O_EXCL);
	EXPECT_LE(0, exclusive);
	close(exclusive);
	close(first);
	close(second);
}

/* What is written beside a holder of the partition is shared, and on the media at the end. */
TEST_F(partitions, written_beside_a_holder)
{
	off_t start = parts[0].start * SECTOR;
	int part = open_part(1), holder;
	uint64_t seed = new_seed();
	char *map, path[80];

	ASSERT_LE(0, part);
	snprintf(path, sizeof(path), "%sp1", node);
	holder = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, holder);
	ASSERT_EQ(SZ_1M, pread(part, self->buffer, SZ_1M, 0));
	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_EQ(SZ_1M, pwrite(part, self->buffer, SZ_1M, 0));
	EXPECT_TRUE(is_refused(part, EBUSY, "somebody holds it"));
	EXPECT_EQ(-1, media_differs(part, 0, SZ_1M, seed));
	close(holder);
	close(part);
	map = map_shared(self->fd, SZ_1M, start);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, differs(map, SZ_1M, seed, 0));
	munmap(map, SZ_1M);
}

/* What is mounted from a partition, the others do not mind. */
TEST_F(partitions, one_mounted_one_mapped)
{
	int part = open_part(1);
	char *map;

	ASSERT_LE(0, part);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %sp6", node));
	ASSERT_EQ(0, shell("mount %sp6 /mnt", node));
	map = map_shared(part, SZ_2M, 0);
	EXPECT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, shell("dd if=/dev/urandom of=/mnt/file bs=1M count=4 status=none"));
	munmap(map, SZ_2M);
	EXPECT_EQ(0, shell("umount /mnt && fsck.ext4 -fn %sp6 >/dev/null", node));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
}

/* As many partitions as there can be, all on our major, so that each can be mapped. */
TEST_F(partitions, very_many)
{
	struct stat disk, last;
	uint64_t seed = new_seed();
	char path[80], *map;
	int part, i;

	for (i = ARRAY_SIZE(parts) + 1; i <= 255; i++)
		ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, i, i * 2048 + 131072, 2048));
	snprintf(path, sizeof(path), "%sp255", node);
	ASSERT_EQ(0, stat(node, &disk));
	ASSERT_EQ(0, stat(path, &last));
	EXPECT_EQ(major(disk.st_rdev), major(last.st_rdev));
	part = open_part(255);
	ASSERT_LE(0, part);
	map = map_shared(part, SZ_1M, 0);
	ASSERT_NE(MAP_FAILED, map);
	fill(map, SZ_1M, seed, 0);
	EXPECT_EQ(0, cached_pages(part));
	ASSERT_EQ(SZ_1M, pread(self->fd, self->buffer, SZ_1M, (255 + 64) * SZ_1M));
	EXPECT_EQ(-1, differs(self->buffer, SZ_1M, seed, 0));
	munmap(map, SZ_1M);
	close(part);
}

/*
 * How a mapping is coloured is decided by the disk: a partition at 1M has large pages too, but
 * not from its first byte on.
 */
TEST_F(partitions, colours)
{
	static const struct {
		off_t start;
		size_t skew;
		long huge;
	} cases[] = {
		{ SZ_1M, 0, 0 },
		{ SZ_1M, SZ_1M, SZ_2M },
		{ SZ_2M, 0, 4 * SZ_1M },
		{ SZ_2M, SZ_1M, 0 },
	};
	int i;

	blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0);
	blkpg(self->fd, BLKPG_DEL_PARTITION, 2, 0, 0);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t seed = new_seed();
		char *map;
		int part;

		ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, 1, cases[i].start / SECTOR,
				   4 * SZ_1M / SECTOR));
		part = open_part(1);
		ASSERT_LE(0, part);
		map = map_skewed(part, 4 * SZ_1M, 0, cases[i].skew, PROT_READ | PROT_WRITE,
				 MAP_SHARED);
		ASSERT_NE(MAP_FAILED, map);
		fill(map, 4 * SZ_1M, seed, 0);
		EXPECT_EQ(cases[i].huge, huge_bytes(map, 4 * SZ_1M));
		munmap(map, 4 * SZ_1M);
		ASSERT_EQ(4 * SZ_1M, pread(self->fd, self->buffer, 4 * SZ_1M, cases[i].start));
		EXPECT_EQ(-1, differs(self->buffer, 4 * SZ_1M, seed, 0));
		/* Where the caller does not say, it is as good as it can be. */
		map = map_shared(part, 4 * SZ_1M, 0);
		ASSERT_NE(MAP_FAILED, map);
		fill(map, 4 * SZ_1M, seed, 0);
		EXPECT_EQ(cases[i].start % SZ_2M ? SZ_2M : 4 * SZ_1M,
			  huge_bytes(map, 4 * SZ_1M));
		munmap(map, 4 * SZ_1M);
		close(part);
		ASSERT_EQ(0, blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0));
	}
}

/* One that ends within 2M of memory: what is mapped in order does not go on behind its end. */
TEST_F(partitions, order_ends_with_it)
{
	const size_t size = 3 * SZ_1M;
	size_t offset;
	char *map;
	int part;

	blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0);
	blkpg(self->fd, BLKPG_DEL_PARTITION, 2, 0, 0);
	ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, 1, SZ_2M / SECTOR, size / SECTOR));
	part = open_part(1);
	ASSERT_LE(0, part);
	map = map_skewed(part, 4 * SZ_1M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, 4 * SZ_1M, MADV_NOHUGEPAGE));
	for (offset = 0; offset < size; offset += SZ_4K)
		touch(map + offset);
	for (; offset < 4 * SZ_1M; offset += SZ_4K)
		EXPECT_EQ(0, physical(map + offset));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + size, false));
	munmap(map, 4 * SZ_1M);
	close(part);
	ASSERT_EQ(0, blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0));
}

/* A partition of 8M that changes while 16M of it are mapped; behind it are 8M, then another one. */
FIXTURE(resized) {
	int fd, part;
	char *map;
};

FIXTURE_VARIANT(resized) {
	size_t skew;
};

FIXTURE_VARIANT_ADD(resized, huge) {
	.skew = 0,
};

FIXTURE_VARIANT_ADD(resized, small) {
	.skew = SZ_4K,
};

#define RESIZED_START	SZ_2M
#define RESIZED_SIZE	(8 * SZ_1M)

static int resize(int fd, size_t size)
{
	return blkpg(fd, BLKPG_RESIZE_PARTITION, 1, RESIZED_START / SECTOR, size / SECTOR);
}

FIXTURE_SETUP(resized)
{
	int i;

	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	for (i = 1; i <= 255; i++)
		blkpg(self->fd, BLKPG_DEL_PARTITION, i, 0, 0);
	ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, 1, RESIZED_START / SECTOR,
			   RESIZED_SIZE / SECTOR));
	ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, 2,
			   (RESIZED_START + 2 * RESIZED_SIZE) / SECTOR, RESIZED_SIZE / SECTOR));
	self->part = open_part(1);
	ASSERT_LE(0, self->part);
	self->map = map_skewed(self->part, 2 * RESIZED_SIZE + SZ_2M, 0, variant->skew,
			       PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(resized)
{
	close(self->part);
	close(self->fd);
}

/* A mapping that is longer than the partition has what that gets. */
TEST_F(resized, grown)
{
	const size_t size = 12 * SZ_1M;
	char *buffer = aligned_alloc(SZ_4K, size);
	uint64_t seed = new_seed();

	ASSERT_NE(NULL, buffer);
	EXPECT_EQ(0, bus_code(self->map + RESIZED_SIZE - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE, true));
	EXPECT_EQ(ENXIO, map_errno(self->part, PROT_READ, MAP_SHARED, RESIZED_SIZE));
	ASSERT_EQ(0, resize(self->fd, size));
	EXPECT_EQ(size, size_of(self->part));
	fill(self->map, size, seed, 0);
	EXPECT_EQ(variant->skew ? 0 : size, huge_bytes(self->map, size));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + size, true));
	EXPECT_EQ(0, map_errno(self->part, PROT_READ, MAP_SHARED, RESIZED_SIZE));
	ASSERT_EQ(size, pread(self->fd, buffer, size, RESIZED_START));
	EXPECT_EQ(-1, differs(buffer, size, seed, 0));
	free(buffer);
}

/* Only whole pages are mapped: the rest of the last one is not the partition's. */
TEST_F(resized, grown_by_no_page)
{
	ASSERT_EQ(0, resize(self->fd, RESIZED_SIZE + SZ_4K + SECTOR));
	EXPECT_EQ(0, bus_code(self->map + RESIZED_SIZE + SZ_4K - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE + SZ_4K, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE + SZ_4K + SECTOR, true));
	EXPECT_EQ(EINVAL, map_errno(self->part, PROT_READ, MAP_SHARED, 0));
	ASSERT_EQ(0, resize(self->fd, RESIZED_SIZE + 2 * SZ_4K));
	EXPECT_EQ(0, bus_code(self->map + RESIZED_SIZE + SZ_4K, true));
	EXPECT_EQ(0, map_errno(self->part, PROT_READ, MAP_SHARED, 0));
}

/* Nor is there more when all that is free belongs to it. */
TEST_F(resized, grown_up_to_the_next)
{
	EXPECT_EQ(-1, resize(self->fd, 2 * RESIZED_SIZE + SECTOR));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE, true));
	ASSERT_EQ(0, resize(self->fd, 2 * RESIZED_SIZE));
	EXPECT_EQ(0, bus_code(self->map + 2 * RESIZED_SIZE - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + 2 * RESIZED_SIZE, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + 2 * RESIZED_SIZE, false));
}

TEST_F(resized, moved)
{
	EXPECT_EQ(-1, blkpg(self->fd, BLKPG_RESIZE_PARTITION, 1, RESIZED_START / SECTOR + 8,
			    RESIZED_SIZE / SECTOR));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, bus_code(self->map, true));
}

/* What was not touched before cannot be any more, and no large page reaches over the new end. */
TEST_F(resized, shrunk)
{
	const size_t size = 5 * SZ_1M;

	ASSERT_EQ(0, resize(self->fd, size));
	EXPECT_EQ(size, size_of(self->part));
	EXPECT_EQ(0, bus_code(self->map, true));
	EXPECT_EQ(0, bus_code(self->map + size - 1, true));
	EXPECT_EQ(variant->skew ? 0 : SZ_2M, huge_bytes(self->map, RESIZED_SIZE));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + size, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + size, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE - 1, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE, false));
}

/* Nor can that be which was: a store would change the bytes of whoever comes next. */
TEST_F(resized, shrunk_when_touched)
{
	const size_t size = 5 * SZ_1M;
	uint64_t seed = new_seed();
	char page[SZ_4K];

	fill(self->map, RESIZED_SIZE, seed, 0);
	ASSERT_EQ(0, resize(self->fd, size));
	EXPECT_EQ(0, bus_code(self->map + size - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + size, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + RESIZED_SIZE - 1, true));
	ASSERT_EQ(0, blkpg(self->fd, BLKPG_ADD_PARTITION, 3, (RESIZED_START + size) / SECTOR,
			   SZ_1M / SECTOR));
	fill(page, sizeof(page), ~seed, 0);
	ASSERT_EQ(sizeof(page), pwrite(self->fd, page, sizeof(page), RESIZED_START + size));
	if (!bus_code(self->map + size, true))
		store_byte(self->map + size, 'x');
	ASSERT_EQ(sizeof(page), pread(self->fd, page, sizeof(page), RESIZED_START + size));
	EXPECT_EQ(-1, differs(page, sizeof(page), ~seed, 0));
}

/* After munmap, all is well again. */
TEST_F(resized, shrunk_and_mapped_anew)
{
	const size_t size = 5 * SZ_1M;
	char *map;

	touch(self->map + RESIZED_SIZE - 1);
	ASSERT_EQ(0, resize(self->fd, size));
	munmap(self->map, 2 * RESIZED_SIZE + SZ_2M);
	map = map_skewed(self->part, RESIZED_SIZE, 0, variant->skew, PROT_READ | PROT_WRITE,
			 MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, bus_code(map + size - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + size, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + RESIZED_SIZE - 1, true));
}

/* As one that is open, one that is mapped cannot be deleted. */
TEST_F(resized, deleted)
{
	struct stat stat_buf;
	char path[80];

	snprintf(path, sizeof(path), "%sp1", node);
	touch(self->map);
	close(self->part);
	EXPECT_EQ(-1, blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_NE(0, shell("partx -d --nr 1 %s 2>/dev/null", node));
	EXPECT_EQ(0, bus_code(self->map + SZ_2M, true));
	munmap(self->map, 2 * RESIZED_SIZE + SZ_2M);
	EXPECT_EQ(0, blkpg(self->fd, BLKPG_DEL_PARTITION, 1, 0, 0));
	EXPECT_EQ(-1, stat(path, &stat_buf));
	EXPECT_EQ(ENOENT, errno);
	self->part = -1;
}

PMEM_DAX_MAIN("namespace0.0")
