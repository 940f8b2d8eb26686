// SPDX-License-Identifier: GPL-2.0
/*
 * MAP_SYNC promises that what the CPU wrote back is durable. It is given where the
 * region keeps that promise, and refused where a system call is needed.
 */
#include "pmem_dax.h"

FIXTURE(mmap_sync) {
	int fd;
};

FIXTURE_VARIANT(mmap_sync) {
	const char *namespace;
	bool synchronous;
};

/* An NVDIMM. */
FIXTURE_VARIANT_ADD(mmap_sync, nfit) {
	.namespace = "namespace0.0",
	.synchronous = true,
};

/* Memory that the command line says is persistent. */
FIXTURE_VARIANT_ADD(mmap_sync, legacy) {
	.namespace = "namespace2.0",
	.synchronous = true,
};

/* The host has a page cache, which has to be told. */
FIXTURE_VARIANT_ADD(mmap_sync, virtio) {
	.namespace = "namespace3.0",
	.synchronous = false,
};

FIXTURE_SETUP(mmap_sync)
{
	char command[64], path[64];

	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	ASSERT_EQ(0, shell_line(path, sizeof(path), command));
	self->fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(mmap_sync)
{
	close(self->fd);
}

TEST_F(mmap_sync, map_sync)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
			 self->fd, 0);

	if (variant->synchronous) {
		ASSERT_NE(MAP_FAILED, map);
		touch(map);
		EXPECT_EQ(SZ_2M, huge_bytes(map, SZ_2M));
		/* "sf": the flag VM_SYNC. */
		EXPECT_EQ(0, shell("grep -q \"^VmFlags:.* sf\" /proc/%d/smaps", getpid()));
	} else {
		EXPECT_EQ(MAP_FAILED, map);
		EXPECT_EQ(EOPNOTSUPP, errno);
	}
}

/* Without it the mapping is the same for both. */
TEST_F(mmap_sync, msync)
{
	uint64_t seed = new_seed();
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	fill(map, SZ_2M, seed, 0);
	EXPECT_EQ(SZ_2M, huge_bytes(map, SZ_2M));
	EXPECT_EQ(0, cached_pages(self->fd));
	EXPECT_EQ(0, msync(map, SZ_2M, MS_SYNC));
	EXPECT_EQ(0, msync(map + SZ_4K, SZ_4K, MS_SYNC));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(-1, differs(map, SZ_2M, seed, 0));
}

TEST_F(mmap_sync, unknown_flag)
{
	EXPECT_EQ(MAP_FAILED, mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED_VALIDATE | 0x200000,
				   self->fd, 0));
	EXPECT_EQ(EOPNOTSUPP, errno);
}

#define REBIND(file)	"for n in namespace3.0 namespace0.0; do echo $n >$DRIVERS/pmem_dax/" file "; done"

/* A device that comes after another one has nothing of it. */
TEST(recycled)
{
	int i;

	for (i = 0; i < 2; i++) {
		char path[64];
		int fd;

		/* The kernel frees them a moment later, and takes the last one that it freed. */
		ASSERT_EQ(0, shell(REBIND("unbind")));
		usleep(100000);
		ASSERT_EQ(0, shell(REBIND("bind")));
		ASSERT_EQ(0, shell_line(path, sizeof(path), "node_of namespace3.0"));
		fd = open(path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fd);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE,
					   MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0));
		EXPECT_EQ(EOPNOTSUPP, errno);
		close(fd);
	}
}

PMEM_DAX_MAIN("namespace0.0 namespace2.0 namespace3.0")
