// SPDX-License-Identifier: GPL-2.0
/*
 * A file system that was not found, or that was unmounted, has nothing of the disk any more,
 * though others have the disk open, and the kernel remembers the buffers that were read last.
 */
#include <sys/mount.h>

#include "pmem_dax.h"

FIXTURE(mounts) {
	int fd;
};

/* Each reads the disk to find out that it is not there. */
FIXTURE_VARIANT(mounts) {
	const char *type;
};

FIXTURE_VARIANT_ADD(mounts, bfs) { .type = "bfs" };
FIXTURE_VARIANT_ADD(mounts, ext4) { .type = "ext4" };
FIXTURE_VARIANT_ADD(mounts, iso9660) { .type = "iso9660" };
FIXTURE_VARIANT_ADD(mounts, minix) { .type = "minix" };
FIXTURE_VARIANT_ADD(mounts, vfat) { .type = "vfat" };

FIXTURE_SETUP(mounts)
{
	static const char zeros[SZ_1M];

	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(SZ_1M, pwrite(self->fd, zeros, SZ_1M, 0));
}

FIXTURE_TEARDOWN(mounts)
{
	close(self->fd);
}

TEST_F(mounts, failed_then_mapped)
{
	ASSERT_EQ(-1, mount(node, "/mnt", variant->type, 0, NULL));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
}

TEST_F(mounts, failed_then_written)
{
	ASSERT_EQ(-1, mount(node, "/mnt", variant->type, 0, NULL));
	EXPECT_EQ(1, pwrite(self->fd, "", 1, 0));
	EXPECT_EQ(0, cached_pages(self->fd));
}

/* write_fat() - an empty one of 16 MiB; there is no mkfs.vfat in the machine */
static void write_fat(int fd)
{
	static const unsigned char sector[SZ_4K] = {
		0xeb, 0x3c, 0x90, 'p', 'm', 'e', 'm', '_', 'd', 'a', 'x',
		/*
		 * 16 MiB in sectors of 512 bytes, 4 a cluster; 1 FAT of 32 sectors, 512 entries
		 * in the root.
		 */
		0x00, 0x02, 4, 1, 0, 1, 0x00, 0x02, 0x00, 0x80, 0xf8, 32, 0,
		[510] = 0x55, 0xaa,
		/* The FAT. */
		[512] = 0xf8, 0xff, 0xff, 0xff,
	};

	pwrite(fd, sector, sizeof(sector), 0);
}

FIXTURE(fat) {
	int fd;
};

FIXTURE_SETUP(fat)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(fat)
{
	close(self->fd);
}

TEST_F(fat, unmounted_then_mapped)
{
	char *map;

	write_fat(self->fd);
	ASSERT_EQ(0, mount(node, "/mnt", "vfat", 0, NULL));
	EXPECT_EQ(0, shell("echo content >/mnt/file"));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	ASSERT_EQ(0, umount("/mnt"));
	map = map_shared(self->fd, 2 * SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_NE(NULL, memmem(map, 2 * SZ_2M, "content\n", 8));
	munmap(map, 2 * SZ_2M);
}

PMEM_DAX_MAIN("namespace0.0")
