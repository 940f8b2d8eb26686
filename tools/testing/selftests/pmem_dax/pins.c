// SPDX-License-Identifier: GPL-2.0
/*
 * The memory can be pinned for long, and does not go away while it is.
 */
#include <linux/io_uring.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"
#define LENGTH	SZ_2M

FIXTURE(pins) {
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(pins) {
	size_t skew;
};

FIXTURE_VARIANT_ADD(pins, huge) {
	.skew = 0,
};

FIXTURE_VARIANT_ADD(pins, small) {
	.skew = SZ_4K,
};

FIXTURE_SETUP(pins)
{
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
}

FIXTURE_TEARDOWN(pins)
{
	close(self->fd);
	shell("hand_over " NAMESPACE " pmem_dax");
}

/* pin() - keep pages of a mapping for as long as the file that is returned is open */
static int pin(char *start, size_t length)
{
	struct io_uring_params params = {};
	struct iovec vector = { start, length };
	int ring = syscall(__NR_io_uring_setup, 1, &params);

	if (ring < 0)
		return -1;
	if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &vector, 1)) {
		close(ring);
		return -1;
	}
	return ring;
}

TEST_F(pins, for_long)
{
	int ring;

	fill(self->map, LENGTH, self->seed, 0);
	ring = pin(self->map + SZ_4K, 16 * SZ_4K);
	ASSERT_LE(0, ring) {
		TH_LOG("io_uring: %s", strerror(errno));
	}
	EXPECT_EQ(-1, differs(self->map, LENGTH, self->seed, 0));
	store_byte(self->map + SZ_4K, 'x');
	ASSERT_EQ(1, pread(self->fd, self->buffer, 1, SZ_4K));
	EXPECT_EQ('x', self->buffer[0]);
	close(ring);
}

/* The device is not gone before the pin is: it waits, and the memory stays what it was. */
TEST_F(pins, unbind_waits)
{
	int ring, status;
	pid_t pid;

	touch(self->map);
	ring = pin(self->map, SZ_4K);
	ASSERT_LE(0, ring);
	munmap(self->map, LENGTH);
	close(self->fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		close(ring);
		_exit(shell("echo " NAMESPACE " >/sys/bus/nd/drivers/pmem_dax/unbind"));
	}
	usleep(1500000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	close(ring);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	self->fd = -1;
}

PMEM_DAX_MAIN(NAMESPACE)
