// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping may be longer than the device, as that of a file may be longer than
 * the file: up to the last byte it works, behind it there is a SIGBUS.
 */
#include "pmem_dax.h"

#include <linux/blkpg.h>

FIXTURE(bounds) {
	off_t size;
	int fd;
};

FIXTURE_SETUP(bounds)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->size = size_of(self->fd);
	ASSERT_LT(0, self->size);
}

FIXTURE_TEARDOWN(bounds)
{
	close(self->fd);
}

TEST_F(bounds, size_is_the_namespaces)
{
	char line[32];
	uint64_t size;

	ASSERT_EQ(0, shell_line(line, sizeof(line),
				"cat /sys/bus/nd/devices/namespace0.0/size"));
	EXPECT_EQ(strtoll(line, NULL, 0), self->size);
	ASSERT_EQ(0, ioctl(self->fd, BLKGETSIZE64, &size));
	EXPECT_EQ(size, self->size);
}

FIXTURE(end) {
	char *map;
	off_t size;
	int fd;
};

FIXTURE_VARIANT(end) {
	size_t skew;
	int flags;
};

FIXTURE_VARIANT_ADD(end, huge) {
	.skew = 0,
	.flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(end, small) {
	.skew = SZ_4K,
	.flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(end, private) {
	.skew = 0,
	.flags = MAP_PRIVATE,
};

/* The last 4M of the device, and as much behind it. */
FIXTURE_SETUP(end)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->size = size_of(self->fd);
	self->map = map_skewed(self->fd, 8 * SZ_1M, self->size - 4 * SZ_1M, variant->skew,
			       PROT_READ | PROT_WRITE, variant->flags);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(end)
{
	close(self->fd);
}

TEST_F(end, load)
{
	char *end = self->map + 4 * SZ_1M;

	EXPECT_EQ(BUS_ADRERR, bus_code(end, false));
	EXPECT_EQ(0, bus_code(end - 1, false));
	EXPECT_EQ(0, bus_code(end - SZ_4K, false));
	EXPECT_EQ(0, bus_code(end - SZ_2M - 1, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(end, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(end + SZ_2M - 1, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(end + 4 * SZ_1M - 1, false));
}

TEST_F(end, store)
{
	char *end = self->map + 4 * SZ_1M;

	EXPECT_EQ(BUS_ADRERR, bus_code(end, true));
	EXPECT_EQ(0, bus_code(end - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(end, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(end + SZ_2M - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(end + 4 * SZ_1M - 1, true));
}

/* A system call that is given such memory gets an error, and no signal. */
TEST_F(end, system_call)
{
	char *end = self->map + 4 * SZ_1M;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, zero);
	EXPECT_EQ(-1, read(zero, end, 64));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pwrite(self->fd, end, 64, 0));
	EXPECT_EQ(EFAULT, errno);
	/* What there is in front of it is transferred. */
	EXPECT_EQ(64, pwrite(self->fd, end - 64, 128, 0));
	EXPECT_EQ(64, pread(self->fd, end - 64, 128, 0));
	close(zero);
}

/* A mapping of which no byte is there is an error that is better told at once. */
TEST_F(bounds, wholly_behind_the_end)
{
	EXPECT_EQ(ENXIO, map_errno(self->fd, PROT_READ, MAP_SHARED, self->size));
	EXPECT_EQ(ENXIO, map_errno(self->fd, PROT_READ, MAP_PRIVATE, self->size));
	EXPECT_EQ(ENXIO, map_errno(self->fd, PROT_READ, MAP_SHARED, self->size + SZ_2M));
	EXPECT_EQ(ENXIO, map_errno(self->fd, PROT_READ, MAP_SHARED, 1L << 40));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ, MAP_SHARED, self->size - SZ_4K));
}

TEST_F(bounds, offset_that_cannot_be)
{
	const off_t last = INT64_MAX & ~(SZ_4K - 1);

	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, SZ_2M, last));
	EXPECT_EQ(EOVERFLOW, errno);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, 2 * SZ_4K, last));
	EXPECT_EQ(EOVERFLOW, errno);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, SZ_4K, -SZ_4K));
	EXPECT_EQ(EOVERFLOW, errno);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, SZ_4K, 512));
	EXPECT_EQ(EINVAL, errno);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, 0, 0));
	EXPECT_EQ(EINVAL, errno);
}

/* The largest offset that can be counted is behind the end like any other. */
TEST_F(bounds, largest_offset)
{
	const off_t last = (INT64_MAX & ~(SZ_4K - 1)) - SZ_4K;

	EXPECT_EQ(ENXIO, map_errno(self->fd, PROT_READ, MAP_SHARED, last));
}

/* A mapping that grows ends where the node does, also if the disk goes on. */
TEST_F(bounds, mapping_grows_to_the_end)
{
	struct blkpg_partition part = { .start = SZ_2M, .length = SZ_2M + 3 * SZ_4K, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION,
		.datalen = sizeof(part),
		.data = &part,
	};
	char path[80];
	char *map;
	int fd;

	ASSERT_EQ(0, ioctl(self->fd, BLKPG, &arg));
	snprintf(path, sizeof(path), "%sp1", node);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	map = map_shared(fd, SZ_4K, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, bus_code(map, true));
	map = mremap(map, SZ_4K, 3 * SZ_2M, MREMAP_MAYMOVE);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, bus_code(map + part.length - 1, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + part.length, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + part.length, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + 2 * SZ_2M, false));
	EXPECT_EQ(0, bus_code(map, true));
	munmap(map, 3 * SZ_2M);
	close(fd);
	arg.op = BLKPG_DEL_PARTITION;
	EXPECT_EQ(0, ioctl(self->fd, BLKPG, &arg));
}

TEST_F(bounds, reads_and_writes_end_there)
{
	char buffer[64] = {};
	off_t end = self->size;

	EXPECT_EQ(0, pread(self->fd, buffer, 64, end));
	EXPECT_EQ(0, pread(self->fd, buffer, 64, end + SZ_2M));
	EXPECT_EQ(13, pread(self->fd, buffer, 64, end - 13));
	EXPECT_EQ(13, pwrite(self->fd, buffer, 64, end - 13));
	EXPECT_EQ(-1, pwrite(self->fd, buffer, 64, end));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buffer, 64, end + SZ_2M));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(0, pwrite(self->fd, buffer, 0, end));
}

PMEM_DAX_MAIN("namespace0.0")
