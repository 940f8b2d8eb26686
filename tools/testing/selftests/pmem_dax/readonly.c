// SPDX-License-Identifier: GPL-2.0
/*
 * A device that is read-only is not stored to, whether it was made so by an
 * administrator or by its region, and whether or not it was mapped before.
 */
#include "pmem_dax.h"

FIXTURE(readonly) {
	int fd;
};

FIXTURE_VARIANT(readonly) {
	const char *set, *clear;
	bool is_ioctl;
};

FIXTURE_VARIANT_ADD(readonly, setro) {
	.set = "blockdev --setro %s",
	.clear = "blockdev --setrw %s",
	.is_ioctl = true,
};

FIXTURE_VARIANT_ADD(readonly, region) {
	.set = "echo 1 >/sys/bus/nd/devices/region0/read_only",
	.clear = "echo 0 >/sys/bus/nd/devices/region0/read_only",
};

static int run(const char *command)
{
	char line[128];

	snprintf(line, sizeof(line), command, node);
	return shell("%s", line);
}

FIXTURE_SETUP(readonly)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(readonly)
{
	close(self->fd);
	run(variant->clear);
}

TEST_F(readonly, then_mapped)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC);
	int readonly = 0;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, run(variant->set));
	ASSERT_EQ(0, ioctl(fd, BLKROGET, &readonly));
	EXPECT_EQ(1, readonly);
	EXPECT_EQ(EINVAL, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	/* It could be made writable later. */
	EXPECT_EQ(EINVAL, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, map_errno(fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
	EXPECT_EQ(0, map_errno(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
	EXPECT_EQ(-1, pwrite(self->fd, "x", 1, 0));
	EXPECT_EQ(EPERM, errno);
	ASSERT_EQ(0, run(variant->clear));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, 0));
	close(fd);
}

/*
 * A user is refused as long as there are mappings; after the hardware's switch
 * no access gets through.
 */
TEST_F(readonly, mapped_before)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	if (run(variant->set)) {
		EXPECT_EQ(0, bus_code(map, true));
		EXPECT_EQ(0, bus_code(map + SZ_4K, true));
		munmap(map, SZ_2M);
		EXPECT_EQ(0, run(variant->set));
		EXPECT_EQ(0, run(variant->clear));
		return;
	}
	EXPECT_EQ(BUS_ADRERR, bus_code(map, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + SZ_4K, true));
	ASSERT_EQ(0, run(variant->clear));
	EXPECT_EQ(0, bus_code(map, true));
	EXPECT_EQ(0, bus_code(map + SZ_4K, true));
	EXPECT_EQ(0, bus_code(map + 2 * SZ_4K, true));
}

/*
 * To load from a page first is no way round that: the entry would be a writable one. Nor
 * is a mapping that only becomes one for stores.
 */
TEST_F(readonly, loaded_then_stored_to)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *loads = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, loads);
	if (run(variant->set))
		return;
	EXPECT_EQ(BUS_ADRERR, bus_code(map, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(map, true));
	EXPECT_EQ(0, bus_code(loads, false));
	EXPECT_EQ(-1, mprotect(loads, SZ_2M, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(0, bus_code(loads, false));
	EXPECT_EQ(0, mprotect(map, SZ_2M, PROT_NONE));
}

TEST_F(readonly, private_mapping_before)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	if (run(variant->set))
		return;
	EXPECT_EQ(0, bus_code(map, false));
	EXPECT_EQ(0, bus_code(map, true));
}

/*
 * What somebody maps between the question whether there are mappings and the mark would
 * stay writable, so all is looked at anew after a mark.
 */
TEST_F(readonly, mapped_meanwhile)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	int zero = 0;

	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	ASSERT_LT(0, present_bytes(map, SZ_2M));
	ASSERT_EQ(0, variant->is_ioctl ? ioctl(self->fd, BLKROSET, &zero) : run(variant->set));
	EXPECT_EQ(0, present_bytes(map, SZ_2M));
	munmap(map, SZ_2M);
}

PMEM_DAX_MAIN("namespace0.0")
