// SPDX-License-Identifier: GPL-2.0
/*
 * Where durability is up to the host, and the host fails, each caller who was
 * promised it is told: every one, every time.
 */
#include <pthread.h>
#include <sys/uio.h>

#include <linux/aio_abi.h>

#include "pmem_dax.h"

#define LENGTH	(2 * SZ_2M)

FIXTURE(flush_fails) {
	char *map;
	int fd;
};

/* How the device is used meanwhile. */
FIXTURE_VARIANT(flush_fails) {
	bool mapped, held;
};

FIXTURE_VARIANT_ADD(flush_fails, unmapped) {
};

FIXTURE_VARIANT_ADD(flush_fails, mapped) {
	.mapped = true,
};

/* By somebody else, with whom the page cache is shared. */
FIXTURE_VARIANT_ADD(flush_fails, held) {
	.held = true,
};

static int holder = -1;

FIXTURE_SETUP(flush_fails)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = MAP_FAILED;
	if (variant->mapped) {
		self->map = map_shared(self->fd, LENGTH, 0);
		ASSERT_NE(MAP_FAILED, self->map);
		touch(self->map);
		touch(self->map + SZ_2M);
	}
	if (variant->held) {
		holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
		ASSERT_LE(0, holder);
	}
}

FIXTURE_TEARDOWN(flush_fails)
{
	if (self->map != MAP_FAILED)
		munmap(self->map, LENGTH);
	close(holder);
	close(self->fd);
}

/* error_of() - of a call that says so by -1; 0 if it succeeded */
#define error_of(call)	((call) < 0 ? errno : 0)

TEST_F(flush_fails, fsync)
{
	ASSERT_EQ(4, pwrite(self->fd, "here", 4, 0));
	EXPECT_EQ(EIO, error_of(fsync(self->fd)));
	/* Nothing became durable meanwhile. */
	EXPECT_EQ(EIO, error_of(fsync(self->fd)));
	EXPECT_EQ(EIO, error_of(fdatasync(self->fd)));
}

TEST_F(flush_fails, fsync_of_another)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC);

	ASSERT_LE(0, fd);
	ASSERT_EQ(4, pwrite(self->fd, "here", 4, 0));
	EXPECT_EQ(EIO, error_of(fsync(fd)));
	EXPECT_EQ(EIO, error_of(fsync(self->fd)));
	close(fd);
}

/* The bytes are there for who reads them, only not durable. */
static int write_with(int flags, const char *text)
{
	int fd = open(node, O_RDWR | O_CLOEXEC | flags), error;
	char buffer[4];

	if (fd < 0)
		return -1;
	error = error_of(pwrite(fd, text, 4, SZ_4K));
	if (pread(fd, buffer, 4, SZ_4K) != 4 || memcmp(buffer, text, 4))
		error = -1;
	close(fd);
	return error;
}

TEST_F(flush_fails, durable_write)
{
	struct iovec iov = { "word", 4 };

	EXPECT_EQ(0, write_with(0, "none"));
	EXPECT_EQ(EIO, write_with(O_DSYNC, "data"));
	EXPECT_EQ(EIO, write_with(O_SYNC, "sync"));
	EXPECT_EQ(4, pwritev2(self->fd, &iov, 1, 0, 0));
	EXPECT_EQ(EIO, error_of(pwritev2(self->fd, &iov, 1, 0, RWF_DSYNC)));
	EXPECT_EQ(EIO, error_of(pwritev2(self->fd, &iov, 1, 0, RWF_SYNC)));
}

TEST_F(flush_fails, durable_direct_write)
{
	int fd = open(node, O_RDWR | O_CLOEXEC | O_DIRECT | O_DSYNC);
	char *buffer = aligned_alloc(SZ_4K, SZ_4K);

	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, buffer);
	memset(buffer, 'd', SZ_4K);
	EXPECT_EQ(EIO, error_of(pwrite(fd, buffer, SZ_4K, 0)));
	EXPECT_EQ(EIO, error_of(pwrite(fd, buffer, SZ_4K, 0)));
	close(fd);
	free(buffer);
}

TEST_F(flush_fails, aio)
{
	struct iocb block = { .aio_fildes = self->fd, .aio_lio_opcode = IOCB_CMD_FSYNC };
	struct iocb *blocks[] = { &block };
	struct io_event event;
	aio_context_t context = 0;

	ASSERT_EQ(0, syscall(__NR_io_setup, 1, &context));
	ASSERT_EQ(1, syscall(__NR_io_submit, context, 1, blocks));
	ASSERT_EQ(1, syscall(__NR_io_getevents, context, 1, 1, &event, NULL));
	EXPECT_EQ(-EIO, event.res);
	EXPECT_EQ(0, syscall(__NR_io_destroy, context));
}

TEST_F(flush_fails, flush_buffers)
{
	EXPECT_EQ(EIO, error_of(ioctl(self->fd, BLKFLSBUF, 0)));
	EXPECT_EQ(EIO, error_of(ioctl(self->fd, BLKFLSBUF, 0)));
}

/* What promises nothing fails nothing. */
TEST_F(flush_fails, no_promise)
{
	ASSERT_EQ(4, pwrite(self->fd, "here", 4, 0));
	EXPECT_EQ(0, error_of(sync_file_range(self->fd, 0, SZ_4K, SYNC_FILE_RANGE_WRITE |
					      SYNC_FILE_RANGE_WAIT_AFTER)));
	if (variant->mapped)
		EXPECT_EQ(0, error_of(msync(self->map, LENGTH, MS_ASYNC)));
}

TEST_F(flush_fails, msync)
{
	char *map = map_shared(self->fd, SZ_2M, 0);

	if (variant->held) {
		EXPECT_EQ(MAP_FAILED, map);
		return;
	}
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(EIO, error_of(msync(map, SZ_2M, MS_SYNC)));
	EXPECT_EQ(EIO, error_of(msync(map, SZ_2M, MS_SYNC)));
	EXPECT_EQ(EIO, error_of(msync(map + SZ_1M, SZ_4K, MS_SYNC)));
	EXPECT_EQ(0, munmap(map, SZ_2M));
}

static void *fsync_often(void *data)
{
	const int *fd = data;
	long failed = 0;
	int i;

	for (i = 0; i < 50; i++)
		failed += fsync(*fd) < 0 && errno == EIO;
	return (void *)failed;
}

/* A flush that somebody waits for already is not enough for who comes later. */
TEST_F(flush_fails, all_at_once)
{
	pthread_t threads[4];
	void *failed;
	int i;

	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, fsync_often, &self->fd));
	for (i = 0; i < ARRAY_SIZE(threads); i++) {
		ASSERT_EQ(0, pthread_join(threads[i], &failed));
		EXPECT_EQ(50, (long)failed);
	}
}

/* Nobody can be told, but the administrator is. */
TEST(last_close)
{
	int fd = open_node();
	char *map;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, shell("dmesg -C"));
	map = map_shared(fd, SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(0, munmap(map, SZ_2M));
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(0, shell("dmesg | grep -q \"flush at the last close failed\""));
	/* It is as usable as before. */
	fd = open_node();
	EXPECT_LE(0, fd);
	EXPECT_EQ(0, close(fd));
}

TEST(unbind)
{
	ASSERT_EQ(0, shell("dmesg -C"));
	EXPECT_EQ(0, write_line(DRIVER "unbind", "namespace5.0"));
	EXPECT_EQ(0, shell("dmesg | grep -q \"the last flush failed\""));
	EXPECT_EQ(0, write_line(DRIVER "bind", "namespace5.0"));
}

PMEM_DAX_MAIN_WITH("region5", "namespace5.0")
