// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping does not wait for a frozen file system: neither for the one that the
 * node is on, nor for one on the next partition. And what the freeze is for, that
 * nobody writes to a file, is as without a mapping.
 */
#include <sys/mount.h>

#include <linux/blkpg.h>

#include "pmem_dax.h"

#define MNT	"/mnt"
#define NODE	MNT "/node"
#define LENGTH	(4 * SZ_2M)

/* start() - do something in a child, which inherits what is mapped */
static pid_t start(int (*act)(void *), void *data)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(act(data));
	return pid;
}

/* state() - as in /proc/PID/stat: 'D' is blocked, 'Z' is through */
static char state(pid_t pid)
{
	char path[32], line[128] = "", *end;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file || !fgets(line, sizeof(line), file))
		line[0] = '\0';
	if (file)
		fclose(file);
	end = strrchr(line, ')');
	return end && end[1] ? end[2] : '?';
}

/* settled() - the state in which it is through, or blocked for a while */
static char settled(pid_t pid)
{
	int blocked = 0, i;

	for (i = 0; i < 200; i++) {
		char c = state(pid);

		if (c == 'Z')
			return c;
		blocked = c == 'D' ? blocked + 1 : 0;
		if (blocked == 10)
			return c;
		usleep(50000);
	}
	return state(pid);
}

/* status_of() - the exit status of a child that is not blocked any more */
static int status_of(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int freeze(void)
{
	int fd = open(MNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = -1;

	if (fd >= 0)
		result = ioctl(fd, FIFREEZE, 0);
	close(fd);
	return result;
}

static int thaw(void)
{
	int fd = open(MNT, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = -1;

	if (fd >= 0)
		result = ioctl(fd, FITHAW, 0);
	close(fd);
	return result;
}

static int write_file(void *data)
{
	int fd = open(MNT "/file", O_RDWR | O_CLOEXEC);

	return pwrite(fd, data, 4, 0) != 4;
}

static bool file_has(const char *text)
{
	int fd = open(MNT "/file", O_RDONLY | O_CLOEXEC);
	char buffer[4] = "";
	bool result = pread(fd, buffer, 4, 0) == 4 && !memcmp(buffer, text, 4);

	close(fd);
	return result;
}

static int store_once(void *data)
{
	touch(data);
	return 0;
}

struct mapped {
	int fd;
	char *shared, *private, *loads;
};

/* All that a program does with a mapping; the number of what failed. */
static int use(void *data)
{
	const struct mapped *mapped = data;
	char *map = mapped->shared;
	size_t i;

	for (i = 0; i < LENGTH; i += SZ_4K) {
		load_byte(mapped->loads + i);
		touch(map + i);
	}
	touch(mapped->private);
	if (mprotect(map, SZ_2M, PROT_READ) || mprotect(map, SZ_2M, PROT_READ | PROT_WRITE))
		return 1;
	touch(map);
	if (madvise(map, LENGTH, MADV_DONTNEED))
		return 2;
	touch(map + SZ_2M);
	if (msync(map, LENGTH, MS_SYNC))
		return 3;
	if (fsync(mapped->fd))
		return 4;
	map = map_shared(mapped->fd, SZ_2M, SZ_2M);
	if (map == MAP_FAILED)
		return 5;
	touch(map);
	if (munmap(map, SZ_2M) || munmap(mapped->shared, LENGTH))
		return 6;
	return 0;
}

/* The file system that the node is on. */
FIXTURE(freeze) {
	struct mapped mapped;
	int frozen;
};

FIXTURE_VARIANT(freeze) {
	const char *driver, *type;
	size_t skew;
};

FIXTURE_VARIANT_ADD(freeze, huge_ext4) {
	.driver = "pmem_dax",
	.type = "ext4",
};

FIXTURE_VARIANT_ADD(freeze, small_ext4) {
	.driver = "pmem_dax",
	.type = "ext4",
	.skew = SZ_4K,
};

/* One in which the time of an inode cannot be changed while it is frozen. */
FIXTURE_VARIANT_ADD(freeze, huge_xfs) {
	.driver = "pmem_dax",
	.type = "xfs",
};

FIXTURE_VARIANT_ADD(freeze, small_xfs) {
	.driver = "pmem_dax",
	.type = "xfs",
	.skew = SZ_4K,
};

FIXTURE_VARIANT_ADD(freeze, nd_pmem_xfs) {
	.driver = "nd_pmem",
	.type = "xfs",
};

FIXTURE_SETUP(freeze)
{
	struct mapped *mapped = &self->mapped;
	struct stat stat_buf;

	if (shell("grep -qw %s /proc/filesystems || modprobe %s", variant->type, variant->type))
		SKIP(return, "the kernel has no %s", variant->type);
	ASSERT_EQ(0, shell("hand_over namespace0.0 %s", variant->driver));
	ASSERT_EQ(0, stat(node, &stat_buf));
	/* The file system itself is on a disk of ours, too. */
	/* If the one before did not come to its end. */
	thaw();
	umount(MNT);
	ASSERT_EQ(0, shell("wipefs -q -a $(node_of namespace1.0)"));
	ASSERT_EQ(0, shell("mkfs.%s -q $(node_of namespace1.0)", variant->type));
	ASSERT_EQ(0, shell("mount $(node_of namespace1.0) " MNT));
	ASSERT_EQ(0, shell("echo text >" MNT "/file"));
	ASSERT_EQ(0, mknod(NODE, S_IFBLK | 0600, stat_buf.st_rdev));
	mapped->fd = open(NODE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mapped->fd);
	mapped->shared = map_skewed(mapped->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
				    MAP_SHARED);
	ASSERT_NE(MAP_FAILED, mapped->shared);
	mapped->private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped->fd, 0);
	ASSERT_NE(MAP_FAILED, mapped->private);
	mapped->loads = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, mapped->fd, 0);
	ASSERT_NE(MAP_FAILED, mapped->loads);
	/* The times of the node are to be old, or nobody would want to change them. */
	usleep(50000);
	ASSERT_EQ(0, freeze());
	self->frozen = 1;
}

FIXTURE_TEARDOWN(freeze)
{
	struct mapped *mapped = &self->mapped;

	if (self->frozen)
		thaw();
	munmap(mapped->shared, LENGTH);
	munmap(mapped->private, LENGTH);
	munmap(mapped->loads, LENGTH);
	close(mapped->fd);
	umount(MNT);
	shell("hand_over namespace0.0 pmem_dax");
}

TEST_F_TIMEOUT(freeze, of_the_nodes_file_system, 120)
{
	bool ours = !strcmp(variant->driver, "pmem_dax");
	pid_t writer, user;

	writer = start(write_file, "TEXT");
	ASSERT_LT(0, writer);
	EXPECT_EQ('D', settled(writer));

	/* A page of the page cache that is stored to changes the times of the node. */
	user = ours ? start(use, &self->mapped) : start(store_once, self->mapped.shared);
	ASSERT_LT(0, user);
	EXPECT_EQ(ours ? 'Z' : 'D', settled(user));

	/* Nor does the freeze suffer. */
	EXPECT_EQ('D', state(writer));
	EXPECT_TRUE(file_has("text"));
	EXPECT_EQ(-1, freeze());
	EXPECT_EQ(EBUSY, errno);
	ASSERT_EQ(0, thaw());
	self->frozen = 0;
	EXPECT_EQ(0, status_of(user));
	EXPECT_EQ(0, status_of(writer));
	EXPECT_TRUE(file_has("TEXT"));
}

static int write_node(void *data)
{
	const struct mapped *mapped = data;

	return pwrite(mapped->fd, "x", 1, 0) != 1;
}

static int take_away(void *data)
{
	return shell("echo namespace0.0 >$DRIVERS/pmem_dax/unbind");
}

/*
 * write(2) changes the times of the node, and waits for that as it does with any block device.
 * But nobody else should wait for it.
 */
TEST_F_TIMEOUT(freeze, unbound_while_a_write_waits, 120)
{
	pid_t writer, unbinder;

	/* How it is mapped does not matter. */
	if (strcmp(variant->driver, "pmem_dax") || strcmp(variant->type, "xfs") || variant->skew)
		return;
	writer = start(write_node, &self->mapped);
	ASSERT_LT(0, writer);
	EXPECT_EQ('D', settled(writer));
	unbinder = start(take_away, NULL);
	ASSERT_LT(0, unbinder);
	EXPECT_EQ('Z', settled(unbinder));
	ASSERT_EQ(0, thaw());
	self->frozen = 0;
	EXPECT_EQ(0, status_of(unbinder));
	status_of(writer);
}

/* The file that was mapped may be the last one of the disk, and the node need not be there. */
TEST_F_TIMEOUT(freeze, opened_and_closed, 120)
{
	struct mapped *mapped = &self->mapped;
	char *map;
	int fd;

	if (strcmp(variant->driver, "pmem_dax"))
		return;
	munmap(mapped->shared, LENGTH);
	munmap(mapped->private, LENGTH);
	munmap(mapped->loads, LENGTH);
	EXPECT_EQ(0, close(mapped->fd));
	fd = open(NODE, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	map = map_skewed(fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	mapped->fd = fd;
	mapped->shared = map;
	touch(map);
	EXPECT_EQ(variant->skew ? 0 : SZ_2M, huge_bytes(map, LENGTH));
	EXPECT_EQ(0, msync(map, LENGTH, MS_SYNC));
	ASSERT_EQ(0, thaw());
	self->frozen = 0;
	EXPECT_EQ(0, unlink(NODE));
	ASSERT_EQ(0, freeze());
	self->frozen = 1;
	touch(map + SZ_2M);
	EXPECT_EQ(variant->skew ? 0 : 2 * SZ_2M, huge_bytes(map, LENGTH));
}

/* A file system on the other partition, frozen by device mapper, which is suspended. */
FIXTURE(neighbour) {
	int fd;
	struct mapped mapped;
};

static int add_partition(int fd, int number, off_t start, off_t size)
{
	struct blkpg_partition part = { .start = start, .length = size, .pno = number };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION,
		.datalen = sizeof(part),
		.data = &part,
	};

	return ioctl(fd, BLKPG, &arg);
}

FIXTURE_SETUP(neighbour)
{
	struct mapped *mapped = &self->mapped;
	char path[80];

	if (shell("modprobe dm_mod 2>/dev/null"))
		SKIP(return, "the kernel has no device mapper");
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, add_partition(self->fd, 1, SZ_2M, LENGTH));
	ASSERT_EQ(0, add_partition(self->fd, 2, SZ_2M + LENGTH, 64 * SZ_1M));
	ASSERT_EQ(0, shell("dmsetup create --noudevsync freeze --table \"0 131072 linear %sp2 0\"",
			   node));
	ASSERT_EQ(0, shell("dmsetup mknodes && mkfs.ext4 -q -F /dev/mapper/freeze"));
	ASSERT_EQ(0, shell("mount /dev/mapper/freeze " MNT));
	ASSERT_EQ(0, shell("echo text >" MNT "/file"));
	snprintf(path, sizeof(path), "%sp1", node);
	mapped->fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mapped->fd);
	mapped->shared = map_shared(mapped->fd, LENGTH, 0);
	mapped->private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, mapped->fd, 0);
	mapped->loads = mmap(NULL, LENGTH, PROT_READ, MAP_SHARED, mapped->fd, 0);
	ASSERT_NE(MAP_FAILED, mapped->shared);
	ASSERT_NE(MAP_FAILED, mapped->private);
	ASSERT_NE(MAP_FAILED, mapped->loads);
}

FIXTURE_TEARDOWN(neighbour)
{
	struct mapped *mapped = &self->mapped;

	shell("dmsetup resume --noudevsync freeze");
	umount(MNT);
	shell("dmsetup remove --noudevsync --retry freeze");
	munmap(mapped->shared, LENGTH);
	munmap(mapped->private, LENGTH);
	munmap(mapped->loads, LENGTH);
	close(mapped->fd);
	shell("partx -d %s", node);
	close(self->fd);
}

TEST_F_TIMEOUT(neighbour, suspended, 120)
{
	pid_t writer, user;
	char word[8];

	ASSERT_EQ(0, shell("dmsetup suspend --noudevsync freeze"));
	writer = start(write_file, "TEXT");
	ASSERT_LT(0, writer);
	EXPECT_EQ('D', settled(writer));
	user = start(use, &self->mapped);
	ASSERT_LT(0, user);
	EXPECT_EQ('Z', settled(user));
	EXPECT_EQ(0, status_of(user));
	/* That file system is not ours, so files of the partition can be used in all ways. */
	EXPECT_EQ(8, pwrite(self->mapped.fd, "written", 8, SZ_1M));
	EXPECT_EQ(8, pread(self->mapped.fd, word, 8, SZ_1M));
	EXPECT_EQ(0, memcmp(word, self->mapped.shared + SZ_1M, 8));
	EXPECT_EQ('D', state(writer));
	ASSERT_EQ(0, shell("dmsetup resume --noudevsync freeze"));
	EXPECT_EQ(0, status_of(writer));
	EXPECT_TRUE(file_has("TEXT"));
}

PMEM_DAX_MAIN("namespace0.0 namespace1.0")
