// SPDX-License-Identifier: GPL-2.0
/*
 * How the device was opened, and in which state it was, decides what can be
 * mapped: the table of the user's guide, row by row.
 */
#include "pmem_dax.h"

#define REGION	"/sys/bus/nd/devices/region0/read_only"

enum state { PLAIN, SETRO, REGION_RO, MAPPED, HELD };

FIXTURE(open_modes) {
	char *map;
	int holder;
};

FIXTURE_VARIANT(open_modes) {
	enum state state;
	int flags;
	int open_error, shared_write, shared_read, private_write;
};

FIXTURE_VARIANT_ADD(open_modes, rdwr) { PLAIN, O_RDWR };
FIXTURE_VARIANT_ADD(open_modes, rdwr_direct) { PLAIN, O_RDWR | O_DIRECT };
FIXTURE_VARIANT_ADD(open_modes, rdwr_sync) { PLAIN, O_RDWR | O_SYNC };
FIXTURE_VARIANT_ADD(open_modes, rdwr_exclusive) { PLAIN, O_RDWR | O_EXCL };
FIXTURE_VARIANT_ADD(open_modes, rdonly) { PLAIN, O_RDONLY, 0, EACCES };
FIXTURE_VARIANT_ADD(open_modes, rdonly_direct) { PLAIN, O_RDONLY | O_DIRECT, 0, EACCES };
FIXTURE_VARIANT_ADD(open_modes, rdonly_exclusive) { PLAIN, O_RDONLY | O_EXCL, 0, EACCES };
FIXTURE_VARIANT_ADD(open_modes, wronly) { PLAIN, O_WRONLY, 0, EACCES, EACCES, EACCES };
FIXTURE_VARIANT_ADD(open_modes, wr_sync) { PLAIN, O_WRONLY | O_SYNC, 0, EACCES, EACCES, EACCES };
FIXTURE_VARIANT_ADD(open_modes, setro_rdwr) { SETRO, O_RDWR, 0, EINVAL, EINVAL };
FIXTURE_VARIANT_ADD(open_modes, setro_rdwr_exclusive) { SETRO, O_RDWR | O_EXCL, 0, EINVAL, EINVAL };
FIXTURE_VARIANT_ADD(open_modes, setro_rdonly) { SETRO, O_RDONLY, 0, EACCES };
FIXTURE_VARIANT_ADD(open_modes, setro_wronly) { SETRO, O_WRONLY, 0, EACCES, EACCES, EACCES };
FIXTURE_VARIANT_ADD(open_modes, region_rdwr) { REGION_RO, O_RDWR, 0, EINVAL, EINVAL };
FIXTURE_VARIANT_ADD(open_modes, region_rdonly) { REGION_RO, O_RDONLY, 0, EACCES };
FIXTURE_VARIANT_ADD(open_modes, mapped_rdwr) { MAPPED, O_RDWR };
FIXTURE_VARIANT_ADD(open_modes, mapped_exclusive) { MAPPED, O_RDWR | O_EXCL, EBUSY };
FIXTURE_VARIANT_ADD(open_modes, mapped_rdonly_excl) { MAPPED, O_RDONLY | O_EXCL, EBUSY };
FIXTURE_VARIANT_ADD(open_modes, held_rdwr) { HELD, O_RDWR, 0, EBUSY, EBUSY, EBUSY };
FIXTURE_VARIANT_ADD(open_modes, held_rdonly) { HELD, O_RDONLY, 0, EACCES, EBUSY, EBUSY };
FIXTURE_VARIANT_ADD(open_modes, held_exclusive) { HELD, O_RDWR | O_EXCL, EBUSY };

static void set_writable(void)
{
	shell("blockdev --setrw %s", node);
	write_line(REGION, "0");
}

FIXTURE_SETUP(open_modes)
{
	set_writable();
	switch (variant->state) {
	case PLAIN:
		break;
	case SETRO:
		ASSERT_EQ(0, shell("blockdev --setro %s", node));
		break;
	case REGION_RO:
		ASSERT_EQ(0, write_line(REGION, "1"));
		break;
	case MAPPED:
		self->holder = open_node();
		self->map = map_shared(self->holder, SZ_2M, 0);
		ASSERT_NE(MAP_FAILED, self->map);
		ASSERT_EQ(0, close(self->holder));
		break;
	case HELD:
		self->holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
		ASSERT_LE(0, self->holder);
		break;
	}
}

FIXTURE_TEARDOWN(open_modes)
{
	set_writable();
}

TEST_F(open_modes, row)
{
	int fd = open(node, variant->flags | O_CLOEXEC);

	EXPECT_EQ(variant->open_error, fd < 0 ? errno : 0);
	if (fd < 0)
		return;
	EXPECT_EQ(variant->shared_write,
		  map_errno(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	EXPECT_EQ(variant->shared_read, map_errno(fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(variant->private_write,
		  map_errno(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
	close(fd);
}

/* An administrator cannot make it read-only while it is mapped, not even for loads alone. */
TEST(setro_while_mapped)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC), on = 1;
	char *map;

	ASSERT_LE(0, fd);
	map = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, ioctl(fd, BLKROSET, &on));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, bus_code(map, false));
	munmap(map, SZ_2M);
	EXPECT_EQ(0, ioctl(fd, BLKROSET, &on));
	set_writable();
	close(fd);
}

PMEM_DAX_MAIN("namespace0.0")
