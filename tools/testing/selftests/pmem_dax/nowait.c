// SPDX-License-Identifier: GPL-2.0
/*
 * Who does not want to wait (RWF_NOWAIT, and io_uring's first try) is served at once where the
 * bytes are only copied, and gets EAGAIN where something would have to be waited for: dirty pages
 * of the page cache, bad memory that is to become good, a flush by the host.
 */
#include <sys/uio.h>

#include <liburing.h>

#include "pmem_dax.h"

/* This kind of memory believes that whatever is written becomes good. */
#define NAMESPACE "namespace2.0"
/* That of this one is flushed by the host. */
#define FLUSHED "namespace3.0"
#define BAD	(SZ_2M + 5 * SZ_4K)
#define LENGTH	(16 * SZ_4K)

FIXTURE(nowait) {
	char *buffer, *copy;
	uint64_t seed;
	int fd;
};

FIXTURE_SETUP(nowait)
{
	self->fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->copy = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->copy);
	self->seed = new_seed();
	fill(self->buffer, LENGTH, self->seed, 0);
}

FIXTURE_TEARDOWN(nowait)
{
	close(self->fd);
}

static long value_or_error(long value)
{
	return value < 0 ? -errno : value;
}

static long do_read(int fd, void *buffer, size_t length, off_t offset, int flags)
{
	const struct iovec vector = { buffer, length };

	return value_or_error(preadv2(fd, &vector, 1, offset, flags));
}

static long do_write(int fd, const void *buffer, size_t length, off_t offset, int flags)
{
	const struct iovec vector = { (void *)buffer, length };

	return value_or_error(pwritev2(fd, &vector, 1, offset, flags));
}

TEST_F(nowait, done_at_once)
{
	char *untouched;

	EXPECT_EQ(LENGTH, do_write(self->fd, self->buffer, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_EQ(-1, media_differs(self->fd, SZ_1M, LENGTH, self->seed));
	EXPECT_EQ(LENGTH, do_read(self->fd, self->copy, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_EQ(-1, differs(self->copy, LENGTH, self->seed, 0));
	/* As with any file, page faults of the caller are not what he does not wait for. */
	untouched = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, untouched);
	EXPECT_EQ(LENGTH, do_read(self->fd, untouched, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_EQ(-1, differs(untouched, LENGTH, self->seed, 0));
	munmap(untouched, LENGTH);
}

/* No worker has to do it: a ring that may have none gets all done. */
TEST_F(nowait, ring_without_workers)
{
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	int i;

	ASSERT_EQ(0, io_uring_queue_init(8, &ring, 0));
	for (i = 0; i < 2; i++) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);

		ASSERT_NE(NULL, sqe);
		if (i)
			io_uring_prep_read(sqe, self->fd, self->copy, LENGTH, SZ_1M);
		else
			io_uring_prep_write(sqe, self->fd, self->buffer, LENGTH, SZ_1M);
		/* What would wait fails. */
		sqe->rw_flags = RWF_NOWAIT;
		ASSERT_EQ(1, io_uring_submit(&ring));
		/* It is done when the call that submits it returns. */
		ASSERT_EQ(0, io_uring_peek_cqe(&ring, &cqe));
		EXPECT_EQ(LENGTH, cqe->res);
		io_uring_cqe_seen(&ring, cqe);
	}
	EXPECT_EQ(-1, differs(self->copy, LENGTH, self->seed, 0));
	io_uring_queue_exit(&ring);
}

TEST_F(nowait, page_cache)
{
	int plain = open_node();

	ASSERT_LE(0, plain);
	ASSERT_EQ(0, readahead(plain, SZ_1M, LENGTH));
	ASSERT_LT(0, cached_pages(plain));
	EXPECT_EQ(-EAGAIN, do_read(plain, self->copy, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_EQ(-EAGAIN, do_write(plain, self->buffer, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_LT(0, cached_pages(plain));
	/* Who waits makes an end of it. */
	EXPECT_EQ(LENGTH, do_write(plain, self->buffer, LENGTH, SZ_1M, 0));
	EXPECT_EQ(0, cached_pages(plain));
	EXPECT_EQ(LENGTH, do_read(plain, self->copy, LENGTH, SZ_1M, RWF_NOWAIT));
	EXPECT_EQ(-1, differs(self->copy, LENGTH, self->seed, 0));
	close(plain);
}

static bool is_bad(void)
{
	char path[128], line[64];

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	return read_line(path, line, sizeof(line));
}

static void bad_memory(struct __test_metadata *_metadata, FIXTURE_DATA(nowait) * self)
{
	char *map = map_shared(self->fd, 2 * SZ_2M, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, go_bad(map + BAD));
	munmap(map, 2 * SZ_2M);
	ASSERT_TRUE(is_bad());
}

/* A call on the node, and one that comes as a bio, since somebody holds the node. */
TEST_F(nowait, bad_memory)
{
	int holder = -1, i;

	for (i = 0; i < 2; i++) {
		bad_memory(_metadata, self);
		if (i) {
			holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
			ASSERT_LE(0, holder);
		}
		EXPECT_EQ(-EIO, do_read(self->fd, self->copy, SZ_4K, BAD, RWF_NOWAIT));
		EXPECT_EQ(-EAGAIN, do_write(self->fd, self->buffer, SZ_4K, BAD, RWF_NOWAIT));
		EXPECT_TRUE(is_bad());
		/* What is good beside it is nobody's to wait for. */
		EXPECT_EQ(SZ_4K, do_write(self->fd, self->buffer, SZ_4K, BAD + SZ_4K, RWF_NOWAIT));
		EXPECT_EQ(SZ_4K, do_read(self->fd, self->copy, SZ_4K, BAD + SZ_4K, RWF_NOWAIT));
		EXPECT_EQ(SZ_4K, do_write(self->fd, self->buffer, SZ_4K, BAD, 0));
		EXPECT_FALSE(is_bad());
		EXPECT_EQ(SZ_4K, do_write(self->fd, self->buffer, SZ_4K, BAD, RWF_NOWAIT));
	}
	close(holder);
}

/* durable_write() - what a bio that is to be durable, and not to wait, comes to on @disk */
static long durable_write(const char *disk, const void *buffer, int flags)
{
	int holder = open(disk, O_RDWR | O_EXCL | O_CLOEXEC);
	int fd = open(disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	long result = holder < 0 || fd < 0 ? -ENODEV :
		      do_write(fd, buffer, SZ_4K, SZ_1M, flags | RWF_DSYNC);

	close(fd);
	close(holder);
	return result;
}

TEST_F(nowait, flush_by_the_host)
{
	char disk[64];

	ASSERT_EQ(0, shell_line(disk, sizeof(disk), "node_of " FLUSHED));
	EXPECT_EQ(-EAGAIN, durable_write(disk, self->buffer, RWF_NOWAIT));
	EXPECT_EQ(SZ_4K, durable_write(disk, self->buffer, 0));
	EXPECT_EQ(SZ_4K, durable_write(node, self->buffer, RWF_NOWAIT));
}

PMEM_DAX_MAIN(NAMESPACE " " FLUSHED)
