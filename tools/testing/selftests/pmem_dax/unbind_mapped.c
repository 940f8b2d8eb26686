// SPDX-License-Identifier: GPL-2.0
/*
 * Unbinding a namespace that is mapped cannot be refused, so it ends well: what
 * was stored is on the media, what is touched later gets SIGBUS, what is read gets
 * nothing or an error, and the namespace can be bound again at once.
 */
#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"
#define LENGTH	(2 * SZ_2M)

FIXTURE(unbind_mapped) {
	char *huge, *small, *private;
	dev_t dev;
	int fd;
};

/* tell() - write the name of the namespace to a file of the driver */
static int tell(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int result = -1;

	if (write(fd, NAMESPACE, strlen(NAMESPACE)) == strlen(NAMESPACE))
		result = 0;
	close(fd);
	return result;
}

static int unbind_it(void)
{
	return tell(DRIVER "unbind");
}

static int bind_it(void)
{
	return tell(DRIVER "bind");
}

FIXTURE_SETUP(unbind_mapped)
{
	struct stat stat_buf;

	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, fstat(self->fd, &stat_buf));
	self->dev = stat_buf.st_rdev;
	self->huge = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->huge);
	self->small = map_skewed(self->fd, LENGTH, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->small);
	self->private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->private);
}

FIXTURE_TEARDOWN(unbind_mapped)
{
	close(self->fd);
	shell("hand_over " NAMESPACE " pmem_dax");
}

TEST_F(unbind_mapped, touched)
{
	char *maps[] = { self->huge, self->small, self->private };
	int i;

	/* The second half was never touched, the first was. */
	touch(self->huge);
	touch(self->small);
	touch(self->private);
	ASSERT_EQ(0, unbind_it());
	for (i = 0; i < ARRAY_SIZE(maps); i++) {
		EXPECT_EQ(BUS_ADRERR, bus_code(maps[i], false));
		EXPECT_EQ(BUS_ADRERR, bus_code(maps[i], true));
		EXPECT_EQ(BUS_ADRERR, bus_code(maps[i] + SZ_4K, false));
		EXPECT_EQ(BUS_ADRERR, bus_code(maps[i] + SZ_2M, false));
		EXPECT_EQ(BUS_ADRERR, bus_code(maps[i] + LENGTH - 1, true));
	}
}

TEST_F(unbind_mapped, stored_before)
{
	uint64_t seed = new_seed();
	char *buffer = malloc(LENGTH);
	int fd;

	ASSERT_NE(NULL, buffer);
	fill(self->huge, LENGTH, seed, 0);
	ASSERT_EQ(0, unbind_it());
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	fd = open_node();
	ASSERT_LE(0, fd);
	ASSERT_EQ(LENGTH, pread(fd, buffer, LENGTH, 0));
	EXPECT_EQ(-1, differs(buffer, LENGTH, seed, 0));
	close(fd);
}

TEST_F(unbind_mapped, system_calls)
{
	char buffer[16], path[64];

	touch(self->huge);
	ASSERT_EQ(0, unbind_it());

	errno = 0;
	if (pread(self->fd, buffer, sizeof(buffer), 0) != 0)
		EXPECT_TRUE(errno == ENXIO || errno == EIO);
	errno = 0;
	EXPECT_EQ(-1, pwrite(self->fd, buffer, sizeof(buffer), 0));
	EXPECT_TRUE(errno == ENXIO || errno == EIO || errno == ENOSPC);
	errno = 0;
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, SZ_2M, 0));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(0, size_of(self->fd));
	/* Whatever they return. */
	fsync(self->fd);
	msync(self->huge, LENGTH, MS_SYNC);
	ioctl(self->fd, BLKFLSBUF);
	ioctl(self->fd, BLKRRPART);
	mprotect(self->small, LENGTH, PROT_READ);

	EXPECT_EQ(-1, open_node());
	EXPECT_TRUE(errno == ENOENT || errno == ENXIO);
	/* By another node, which is not removed with the disk. */
	snprintf(path, sizeof(path), "/tmp/unbind_mapped.%d", getpid());
	ASSERT_EQ(0, mknod(path, S_IFBLK | 0600, self->dev));
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(ENXIO, errno);
	unlink(path);
}

/* A device that is bound again has nothing to do with what is left of the old one. */
TEST_F(unbind_mapped, bound_again)
{
	uint64_t seed = new_seed();
	char *map, buffer[16];
	int fd;

	fill(self->huge, LENGTH, seed, 0);
	ASSERT_EQ(0, unbind_it());
	ASSERT_EQ(0, bind_it());
	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_shared(fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, differs(map, LENGTH, seed, 0));
	EXPECT_EQ(LENGTH, huge_bytes(map, LENGTH));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->huge, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->small, true));
	EXPECT_NE(16, pread(self->fd, buffer, 16, 0));
	fill(map, LENGTH, ~seed, 0);
	ASSERT_EQ(16, pread(fd, buffer, 16, SZ_4K));
	EXPECT_EQ(-1, differs(buffer, 16, ~seed, SZ_4K));
	/* Nor does the end of the old mapping. */
	munmap(self->huge, LENGTH);
	munmap(self->small, LENGTH);
	munmap(self->private, LENGTH);
	close(self->fd);
	EXPECT_EQ(-1, open(node, O_RDWR | O_EXCL));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(-1, differs(map, LENGTH, ~seed, 0));
	munmap(map, LENGTH);
	self->fd = open(node, O_RDWR | O_EXCL);
	EXPECT_LE(0, self->fd);
	close(fd);
}

/* The module has to stay for what is left. */
TEST_F(unbind_mapped, module_stays)
{
	touch(self->huge);
	close(self->fd);
	ASSERT_EQ(0, unbind_it());
	EXPECT_NE(0, shell("rmmod pmem_dax 2>/dev/null"));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->huge, true));
	munmap(self->huge, LENGTH);
	munmap(self->small, LENGTH);
	munmap(self->private, LENGTH);
	EXPECT_EQ(0, shell("rmmod pmem_dax"));
	EXPECT_EQ(0, shell("load claim=" NAMESPACE));
}

/* use() - all that can be done with the device, while it goes and comes */
static void use(FIXTURE_DATA(unbind_mapped) *self)
{
	char buffer[2 * SZ_4K];
	int i;

	for (i = 0;; i++) {
		off_t offset = (i * 37 % 1000) * SZ_4K;
		char *map;
		int fd;

		bus_code(self->huge + offset, i & 1);
		bus_code(self->small + offset, i & 2);
		bus_code(self->private + offset, i & 4);
		/* Leave some time to who ends it. */
		usleep(1000);
		fd = open_node();
		if (fd < 0)
			continue;
		map = map_shared(fd, LENGTH, 0);
		if (map != MAP_FAILED) {
			bus_code(map + offset, true);
			munmap(map, LENGTH);
		}
		if (pread(fd, buffer, sizeof(buffer), offset) == sizeof(buffer) &&
		    pwrite(fd, buffer, sizeof(buffer), offset) == sizeof(buffer))
			fsync(fd);
		close(fd);
	}
}

TEST_F_TIMEOUT(unbind_mapped, in_use, 60)
{
	pid_t children[2];
	int i, status;

	for (i = 0; i < ARRAY_SIZE(children); i++) {
		children[i] = fork();
		ASSERT_LE(0, children[i]);
		if (children[i] == 0)
			use(self);
	}
	for (i = 0; i < 3; i++) {
		usleep(100000);
		EXPECT_EQ(0, unbind_it());
		EXPECT_EQ(0, bind_it());
	}
	for (i = 0; i < ARRAY_SIZE(children); i++) {
		kill(children[i], SIGTERM);
		ASSERT_EQ(children[i], waitpid(children[i], &status, 0));
		/* Nothing but the end that we brought about. */
		EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	}
}

PMEM_DAX_MAIN(NAMESPACE)
