// SPDX-License-Identifier: GPL-2.0
/*
 * A private mapping shows the media until a page is stored to; that page is a
 * copy from then on, and no store gets to the media.
 */
#include "pmem_dax.h"

#define LENGTH	(2 * SZ_2M)

FIXTURE(private_cow) {
	char *map, *shared, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(private_cow) {
	size_t skew;
	int flags;
	bool load_first;
};

FIXTURE_VARIANT_ADD(private_cow, huge) {
	.skew = 0,
	.flags = O_RDWR,
};

FIXTURE_VARIANT_ADD(private_cow, huge_loaded) {
	.skew = 0,
	.flags = O_RDWR,
	.load_first = true,
};

FIXTURE_VARIANT_ADD(private_cow, small) {
	.skew = SZ_4K,
	.flags = O_RDWR,
};

FIXTURE_VARIANT_ADD(private_cow, small_loaded) {
	.skew = SZ_4K,
	.flags = O_RDWR,
	.load_first = true,
};

/* The file need not be open for writing. */
FIXTURE_VARIANT_ADD(private_cow, file_read_only) {
	.skew = 0,
	.flags = O_RDONLY,
	.load_first = true,
};

FIXTURE_SETUP(private_cow)
{
	int fd = open_node();

	ASSERT_LE(0, fd);
	self->shared = map_shared(fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->shared);
	self->seed = new_seed();
	fill(self->shared, LENGTH, self->seed, 0);
	close(fd);

	self->fd = open(node, variant->flags | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = malloc(LENGTH);
	ASSERT_NE(NULL, self->buffer);
	if (variant->load_first)
		ASSERT_EQ(-1, differs(self->map, LENGTH, self->seed, 0));
}

FIXTURE_TEARDOWN(private_cow)
{
	close(self->fd);
}

TEST_F(private_cow, store_is_private)
{
	const off_t offsets[] = { 0, SZ_4K, SZ_2M - SZ_4K, SZ_2M, SZ_2M + 5 * SZ_4K,
				  LENGTH - SZ_4K };
	off_t offset;
	int i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++)
		store_byte(self->map + offsets[i] + 100, 'p');

	/* The stores are there, and the rest of those pages is what the media has. */
	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		char *page = self->map + offsets[i];

		EXPECT_EQ('p', load_byte(page + 100));
		EXPECT_EQ(-1, differs(page, 96, self->seed, offsets[i]));
		EXPECT_EQ(-1, differs(page + 104, SZ_4K - 104, self->seed, offsets[i] + 104));
		EXPECT_NE(physical(page), physical(self->shared + offsets[i]));
	}
	/* All other pages are still those of the media. */
	for (offset = 3 * SZ_4K; offset < LENGTH; offset += 64 * SZ_4K) {
		load_byte(self->map + offset);
		EXPECT_EQ(physical(self->shared + offset), physical(self->map + offset));
	}

	/* Nothing of it is on the media, by whatever way it is read. */
	EXPECT_EQ(-1, differs(self->shared, LENGTH, self->seed, 0));
	ASSERT_EQ(LENGTH, pread(self->fd, self->buffer, LENGTH, 0));
	EXPECT_EQ(-1, differs(self->buffer, LENGTH, self->seed, 0));
	munmap(self->map, LENGTH);
	EXPECT_EQ(-1, differs(self->shared, LENGTH, self->seed, 0));
}

TEST_F(private_cow, media_changes)
{
	/* Of a page that was not stored to the change shows, of one that was it does not. */
	store_byte(self->map + 100, 'p');
	store_byte(self->shared + 101, 's');
	store_byte(self->shared + SZ_4K + 101, 's');
	EXPECT_EQ('p', load_byte(self->map + 100));
	EXPECT_NE('s', load_byte(self->map + 101));
	EXPECT_EQ('s', load_byte(self->map + SZ_4K + 101));
}

TEST_F(private_cow, discarded)
{
	store_byte(self->map + 100, 'p');
	ASSERT_EQ(0, madvise(self->map, SZ_4K, MADV_DONTNEED));
	EXPECT_EQ(-1, differs(self->map, SZ_4K, self->seed, 0));
}

TEST_F(private_cow, child)
{
	int status;
	pid_t pid;

	store_byte(self->map + 100, 'p');
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		if (load_byte(self->map + 100) != 'p')
			_exit(1);
		store_byte(self->map + 100, 'c');
		store_byte(self->map + SZ_2M + 100, 'c');
		_exit(load_byte(self->map + 100) == 'c' ? 0 : 2);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ('p', load_byte(self->map + 100));
	EXPECT_EQ(-1, differs(self->map + SZ_2M, SZ_4K, self->seed, SZ_2M));
	EXPECT_EQ(-1, differs(self->shared, LENGTH, self->seed, 0));
}

/* The kernel stores through it too. */
TEST_F(private_cow, system_call)
{
	ASSERT_EQ(100, pread(self->fd, self->map + SZ_4K, 100, SZ_2M));
	EXPECT_EQ(-1, differs(self->map + SZ_4K, 96, self->seed, SZ_2M));
	EXPECT_EQ(-1, differs(self->shared, LENGTH, self->seed, 0));
}

PMEM_DAX_MAIN("namespace0.0")
