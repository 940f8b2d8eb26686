// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that was found bad is not touched again: an access through a mapping gets
 * SIGBUS with the address, a read gets EIO, and a write makes it good again.
 */
#include "pmem_dax.h"

/* This kind of memory believes that whatever is written becomes good. */
#define NAMESPACE "namespace2.0"
#define LENGTH	(2 * SZ_2M)
#define BAD	(SZ_2M + 5 * SZ_4K)

FIXTURE(poison) {
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(poison) {
	size_t skew;
};

FIXTURE_VARIANT_ADD(poison, huge) {
	.skew = 0,
};

FIXTURE_VARIANT_ADD(poison, small) {
	.skew = SZ_4K,
};

FIXTURE_SETUP(poison)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	fill(self->map, LENGTH, self->seed, 0);
	/* The signal that this process gets for it is that of an access. */
	signal(SIGBUS, SIG_IGN);
	ASSERT_EQ(0, madvise(self->map + BAD, SZ_4K, MADV_HWPOISON));
	signal(SIGBUS, SIG_DFL);
}

FIXTURE_TEARDOWN(poison)
{
	memset(self->buffer, 0, SZ_4K);
	pwrite(self->fd, self->buffer, SZ_4K, BAD);
	close(self->fd);
}

TEST_F(poison, accessed)
{
	char *other = map_shared(self->fd, LENGTH, 0);
	char *private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_NE(MAP_FAILED, private);
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(self->map + BAD + 100, false));
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(self->map + BAD + SZ_4K - 1, true));
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(other + BAD, true));
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(private + BAD, true));
	/* Nothing but that page is lost. */
	EXPECT_EQ(-1, differs(self->map, BAD, self->seed, 0));
	EXPECT_EQ(-1, differs(other, BAD, self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + BAD + SZ_4K, LENGTH - BAD - SZ_4K, self->seed,
			      BAD + SZ_4K));
}

TEST_F(poison, read)
{
	EXPECT_EQ(-1, pread(self->fd, self->buffer, SZ_4K, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pread(self->fd, self->buffer, 1, BAD + SZ_4K - 1));
	EXPECT_EQ(EIO, errno);
	/* Up to there, and from there on. */
	EXPECT_EQ(SZ_4K, pread(self->fd, self->buffer, 3 * SZ_4K, BAD - SZ_4K));
	EXPECT_EQ(-1, differs(self->buffer, SZ_4K, self->seed, BAD - SZ_4K));
	EXPECT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, BAD + SZ_4K));
}

TEST_F(poison, listed)
{
	char line[64], command[128];

	snprintf(command, sizeof(command), "cat /sys/class/block/%s/badblocks",
		 node + strlen("/dev/"));
	ASSERT_EQ(0, shell_line(line, sizeof(line), command));
	EXPECT_EQ(BAD / 512, strtoul(line, NULL, 10)) {
		TH_LOG("badblocks: '%s'", line);
	}
	EXPECT_NE(NULL, strstr(line, " 8"));
}

TEST_F(poison, written)
{
	/* A sector that is written in part is not made good. */
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer, 100, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(self->map + BAD, false));

	fill(self->buffer, SZ_4K, ~self->seed, 0);
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, BAD));
	EXPECT_EQ(0, bus_code(self->map + BAD, true));
	EXPECT_EQ(-1, differs(self->map + BAD, SZ_4K, ~self->seed, 0));
	ASSERT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, BAD));
	EXPECT_EQ(-1, differs(self->buffer, SZ_4K, ~self->seed, 0));
}

PMEM_DAX_MAIN(NAMESPACE)
