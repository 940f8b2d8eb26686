// SPDX-License-Identifier: GPL-2.0
/*
 * The device is either mapped or held by somebody who needs it alone: a mount,
 * swap, mkfs. Who comes second gets EBUSY, and none of it lasts longer than what
 * it is for.
 */
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/swap.h>

#include "pmem_dax.h"

FIXTURE(claim) {
	char *map;
	int fd;
};

FIXTURE_SETUP(claim)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(claim)
{
	close(self->fd);
}

/* exclusive_errno() - of an attempt to hold the device */
static int exclusive_errno(void)
{
	int fd = open(node, O_RDWR | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int shared_errno(int fd)
{
	return map_errno(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
}

#define ASSERT_MAPPED()							\
	do {								\
		self->map = map_shared(self->fd, 2 * SZ_2M, 0);		\
		ASSERT_NE(MAP_FAILED, self->map);			\
	} while (0)

TEST_F(claim, mapped_then_exclusive)
{
	ASSERT_MAPPED();
	EXPECT_EQ(EBUSY, exclusive_errno());
	touch(self->map);
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(self->map, 2 * SZ_2M);
	EXPECT_EQ(0, exclusive_errno());
}

TEST_F(claim, mapped_then_plain_open)
{
	int fd;

	ASSERT_MAPPED();
	fd = open_node();
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, shared_errno(fd));
	EXPECT_EQ(0, shared_errno(self->fd));
	close(fd);
}

TEST_F(claim, mapped_then_mkfs)
{
	uint64_t seed = new_seed();

	ASSERT_MAPPED();
	fill(self->map, 2 * SZ_2M, seed, 0);
	EXPECT_NE(0, shell("mkfs.ext4 -q -F %s 2>/dev/null", node));
	EXPECT_EQ(-1, differs(self->map, 2 * SZ_2M, seed, 0));
	munmap(self->map, 2 * SZ_2M);
	EXPECT_EQ(0, shell("mkfs.ext4 -q -F %s 64M", node));
}

TEST_F(claim, mapped_then_mounted)
{
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s 64M", node));
	ASSERT_MAPPED();
	EXPECT_EQ(-1, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, mount(node, "/mnt", "ext4", MS_RDONLY, NULL));
	EXPECT_EQ(EBUSY, errno);
	munmap(self->map, 2 * SZ_2M);
	ASSERT_EQ(0, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(0, umount("/mnt"));
}

TEST_F(claim, mapped_then_swap)
{
	ASSERT_EQ(0, shell("mkswap -q %s", node));
	ASSERT_MAPPED();
	EXPECT_EQ(-1, swapon(node, 0));
	EXPECT_EQ(EBUSY, errno);
	munmap(self->map, 2 * SZ_2M);
	ASSERT_EQ(0, swapon(node, 0));
	EXPECT_EQ(0, swapoff(node));
}

/* Device mapper and md hold what they are made of, as long as they are there. */
#define DM_CREATE	"dmsetup create --noudevsync claim --table \"0 131072 linear %s 0\" 2>/dev/null"
#define DM_REMOVE	"dmsetup remove --noudevsync --retry claim"
#define MD_CREATE	"mdadm --create /dev/md0 --run --level=1 --raid-devices=2 " \
			"--metadata=1.2 %s missing >/dev/null"
#define MD_STOP		"mdadm --stop /dev/md0 2>/dev/null && mdadm --zero-superblock %s"

TEST_F(claim, device_mapper)
{
	ASSERT_MAPPED();
	EXPECT_NE(0, shell(DM_CREATE, node));
	munmap(self->map, 2 * SZ_2M);
	ASSERT_EQ(0, shell(DM_CREATE, node));
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_PRIVATE, 0));
	ASSERT_EQ(0, shell(DM_REMOVE));
	EXPECT_EQ(0, shared_errno(self->fd));
}

TEST_F(claim, md)
{
	ASSERT_MAPPED();
	EXPECT_NE(0, shell(MD_CREATE, node));
	EXPECT_NE(0, access("/sys/block/md0/md/dev-pmem0", F_OK));
	munmap(self->map, 2 * SZ_2M);
	ASSERT_EQ(0, shell(MD_CREATE, node));
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_PRIVATE, 0));
	ASSERT_EQ(0, shell(MD_STOP, node));
	EXPECT_EQ(0, shared_errno(self->fd));
}

/*
 * Who only looks what is on the device is not kept out by a mapping, sees what it stores, and
 * leaves nothing in the page cache.
 */
#define UDEV_FINDS_IT	"udevadm test-builtin blkid /sys/block/%s 2>/dev/null | " \
			"grep -q ID_FS_LABEL=mapped"

TEST_F(claim, mapped_then_probed)
{
	const size_t length = 64 * SZ_1M;
	char *image, *map;
	int file, i;

	ASSERT_EQ(0, shell("wipefs -qa %s", node));
	ASSERT_EQ(0, shell("truncate -s 64M /tmp/image && mkfs.ext4 -q -F -L mapped /tmp/image"));
	file = open("/tmp/image", O_RDONLY | O_CLOEXEC);
	image = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, image);
	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);

	for (i = 0; i < 2; i++) {
		memset(map, 0, length);
		EXPECT_EQ(2, shell("blkid -p %s", node));
		EXPECT_EQ(1, shell(UDEV_FINDS_IT, node + strlen("/dev/")));
		/* A file system made through the mapping. */
		memcpy(map, image, length);
		EXPECT_EQ(0, shell("blkid -p %s | grep -q LABEL=.mapped", node));
		EXPECT_EQ(0, shell(UDEV_FINDS_IT, node + strlen("/dev/")));
		EXPECT_EQ(0, cached_pages(self->fd));
	}
	munmap(map, length);
	ASSERT_EQ(0, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(0, shell("echo content >/mnt/file"));
	ASSERT_EQ(0, umount("/mnt"));
	/* And with the mapping again its file is there. */
	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_NE(NULL, memmem(map, length, "content\n", 8));
	munmap(map, length);
	munmap(image, length);
	close(file);
}

/* A table that was stored through a mapping counts when it is read. */
TEST_F(claim, table_through_mapping)
{
	const size_t length = 16 * SZ_1M;
	char *image, *map;
	int file;

	ASSERT_EQ(0, shell("truncate -s $(blockdev --getsize64 %s) /tmp/table", node));
	ASSERT_EQ(0, shell("parted -s /tmp/table mklabel msdos mkpart primary 2M 10M"));
	file = open("/tmp/table", O_RDONLY | O_CLOEXEC);
	image = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, image);
	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);
	memcpy(map, image, length);
	EXPECT_NE(0, shell("blockdev --rereadpt %s 2>/dev/null", node));
	munmap(map, length);
	ASSERT_EQ(0, shell("blockdev --rereadpt %s", node));
	EXPECT_EQ(0, shell("[ $(blockdev --getsize64 %sp1) = $((8 << 20)) ]", node));
	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);
	memset(map, 0, SZ_4K);
	munmap(map, length);
	ASSERT_EQ(0, shell("blockdev --rereadpt %s", node));
	EXPECT_NE(0, shell("[ -e %sp1 ]", node));
	munmap(image, length);
	close(file);
}

TEST_F(claim, mapped_then_partitions_read)
{
	ASSERT_MAPPED();
	EXPECT_EQ(-1, ioctl(self->fd, BLKRRPART));
	EXPECT_EQ(EBUSY, errno);
	munmap(self->map, 2 * SZ_2M);
	EXPECT_EQ(0, ioctl(self->fd, BLKRRPART));
}

TEST_F(claim, exclusive_then_mapped)
{
	int other = open(node, O_RDWR | O_EXCL | O_CLOEXEC);

	ASSERT_LE(0, other);
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_PRIVATE, 0));
	EXPECT_EQ(0, shared_errno(other));
	close(other);
	EXPECT_EQ(0, shared_errno(self->fd));
}

/* Who holds the device maps it, and nobody else: not even when its file is closed. */
TEST_F(claim, exclusive_and_mapped)
{
	int other = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
	char *map;

	ASSERT_LE(0, other);
	map = map_shared(other, SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	close(other);
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(map, SZ_2M);
	EXPECT_EQ(0, shared_errno(self->fd));
	EXPECT_EQ(0, exclusive_errno());
}

TEST_F(claim, mounted_then_mapped)
{
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s 64M", node));
	ASSERT_EQ(0, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(EBUSY, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
	ASSERT_EQ(0, umount("/mnt"));
	EXPECT_EQ(0, shared_errno(self->fd));
}

TEST_F(claim, swap_then_mapped)
{
	ASSERT_EQ(0, shell("mkswap -q %s", node));
	ASSERT_EQ(0, swapon(node, 0));
	/* The core itself refuses to map a swap file for writing. */
	EXPECT_NE(0, shared_errno(self->fd));
	EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_PRIVATE, 0));
	ASSERT_EQ(0, swapoff(node));
	EXPECT_EQ(0, shared_errno(self->fd));
}

/* Each mapping counts, and each part of one. */
TEST_F(claim, until_the_last_page)
{
	char *map;

	ASSERT_MAPPED();
	map = map_shared(self->fd, SZ_4K, SZ_1M);
	ASSERT_NE(MAP_FAILED, map);
	munmap(self->map, SZ_2M);
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(self->map + SZ_2M + SZ_4K, SZ_2M - SZ_4K);
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(self->map + SZ_2M, SZ_4K);
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(map, SZ_4K);
	EXPECT_EQ(0, exclusive_errno());
}

TEST_F(claim, private_mapping_counts)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(EBUSY, exclusive_errno());
	munmap(map, SZ_2M);
	EXPECT_EQ(0, exclusive_errno());
}

TEST_F(claim, file_closed)
{
	ASSERT_MAPPED();
	touch(self->map);
	close(self->fd);
	EXPECT_EQ(EBUSY, exclusive_errno());
	touch(self->map + SZ_2M);
	munmap(self->map, 2 * SZ_2M);
	EXPECT_EQ(0, exclusive_errno());
}

TEST_F(claim, child_has_it)
{
	int pipes[2], status;
	pid_t pid;
	char c;

	ASSERT_MAPPED();
	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		close(pipes[1]);
		_exit(read(pipes[0], &c, 1));
	}
	munmap(self->map, 2 * SZ_2M);
	EXPECT_EQ(EBUSY, exclusive_errno());
	close(pipes[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, exclusive_errno());
}

/* What mmap refuses takes nothing. */
TEST_F(claim, failed_mapping)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	EXPECT_EQ(EACCES, map_errno(fd, PROT_WRITE, MAP_SHARED, 0));
	EXPECT_EQ(0, exclusive_errno());
	EXPECT_NE(0, map_errno(self->fd, PROT_READ, MAP_SHARED, INT64_MAX & ~(SZ_4K - 1)));
	EXPECT_EQ(0, exclusive_errno());
	/* The address cannot be: the device was asked before that is found. */
	EXPECT_EQ(MAP_FAILED, mmap((void *)-SZ_2M, SZ_4K, PROT_READ, MAP_SHARED | MAP_FIXED,
				   self->fd, 0));
	EXPECT_EQ(0, exclusive_errno());
	close(fd);
}

/*
 * While somebody maps and unmaps, the disk has no holder but mappings. Who writes to it or
 * maps it must not be told otherwise, not even for a moment.
 */
FIXTURE(claim_race) {
	pid_t pid;
	int fd;
};

FIXTURE_SETUP(claim_race)
{
	self->fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (self->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			munmap(map_shared(self->fd, SZ_4K, 0), SZ_4K);
	}
}

FIXTURE_TEARDOWN(claim_race)
{
	kill(self->pid, SIGKILL);
	waitpid(self->pid, NULL, 0);
	close(self->fd);
}

/* The page cache would refuse a direct write of a byte. */
TEST_F(claim_race, writes)
{
	time_t end = time(NULL) + 3;
	long calls = 0, wrong = 0;

	for (; time(NULL) < end; calls++)
		wrong += pwrite(self->fd, "x", 1, SZ_1M + 1) != 1;
	EXPECT_EQ(0, wrong)
		TH_LOG("%ld of %ld went to the page cache", wrong, calls);
}

TEST_F(claim_race, maps)
{
	time_t end = time(NULL) + 3;
	long calls = 0, wrong = 0;

	for (; time(NULL) < end; calls++)
		wrong += map_errno(self->fd, PROT_READ, MAP_SHARED, 0) != 0;
	EXPECT_EQ(0, wrong)
		TH_LOG("%ld of %ld were refused", wrong, calls);
}

PMEM_DAX_MAIN("namespace0.0")
