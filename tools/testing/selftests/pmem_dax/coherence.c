// SPDX-License-Identifier: GPL-2.0
/*
 * A byte that is stored through a mapping and a byte that is read from or written
 * to the node are the same byte, at once, at any alignment.
 */
#include <pthread.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define LENGTH	(2 * SZ_2M)

FIXTURE(coherence) {
	char *map, *copy, *buffer;
	int fd;
};

FIXTURE_VARIANT(coherence) {
	size_t skew;
};

FIXTURE_VARIANT_ADD(coherence, huge) {
	.skew = 0,
};

FIXTURE_VARIANT_ADD(coherence, small) {
	.skew = SZ_4K,
};

/* map is the mapping, copy what must be in it. */
FIXTURE_SETUP(coherence)
{
	uint64_t seed = new_seed();

	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->map);
	self->copy = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->copy);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	fill(self->map, LENGTH, seed, 0);
	fill(self->copy, LENGTH, seed, 0);
}

FIXTURE_TEARDOWN(coherence)
{
	close(self->fd);
}

/* Places and lengths that cross cache lines, pages and blocks, or just do not. */
static const struct {
	off_t offset;
	size_t length;
} pieces[] = {
	{ 0, 1 }, { 0, 7 }, { 1, 1 }, { 3, 8 }, { 60, 8 }, { 511, 2 }, { 512, 512 },
	{ 4095, 1 }, { 4095, 2 }, { 4096, 4096 }, { 4097, 4095 }, { 8191, 4098 },
	{ 12345, 23456 }, { SZ_2M - 1, 2 }, { SZ_2M - 3, SZ_4K + 7 }, { SZ_2M - SZ_4K, 2 * SZ_4K },
	{ SZ_2M, 1 }, { SZ_2M + 17, 100001 }, { LENGTH - 1, 1 },
};

TEST_F(coherence, written_then_loaded)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		off_t offset = pieces[i].offset;
		size_t length = pieces[i].length;

		memset(self->copy + offset, i + 1, length);
		ASSERT_EQ(length, pwrite(self->fd, self->copy + offset, length, offset));
		ASSERT_EQ(0, memcmp(self->map + offset, self->copy + offset, length));
	}
	/* And nothing beside it was changed. */
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
}

TEST_F(coherence, stored_then_read)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(pieces); i++) {
		off_t offset = pieces[i].offset;
		size_t length = pieces[i].length;

		memset(self->map + offset, i + 1, length);
		memset(self->copy + offset, i + 1, length);
		memset(self->buffer, 0x55, length + 1);
		ASSERT_EQ(length, pread(self->fd, self->buffer, length, offset));
		ASSERT_EQ(0, memcmp(self->buffer, self->copy + offset, length));
		ASSERT_EQ(0x55, self->buffer[length]);
	}
	ASSERT_EQ(LENGTH, pread(self->fd, self->buffer, LENGTH, 0));
	EXPECT_EQ(0, memcmp(self->buffer, self->copy, LENGTH));
}

/* Read before it was mapped, so that a page cache would have it, then stored to. */
TEST_F(coherence, read_before_and_after)
{
	off_t offset = 64 * SZ_1M;
	char *map;

	ASSERT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, offset));
	map = map_shared(self->fd, SZ_4K, offset);
	ASSERT_NE(MAP_FAILED, map);
	memset(map, self->buffer[0] + 1, SZ_4K);
	memcpy(self->copy, map, SZ_4K);
	ASSERT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, offset));
	EXPECT_EQ(0, memcmp(self->copy, self->buffer, SZ_4K));
	munmap(map, SZ_4K);
	ASSERT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, offset));
	EXPECT_EQ(0, memcmp(self->copy, self->buffer, SZ_4K));
}

TEST_F(coherence, other_files)
{
	int direct = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	int sync = open(node, O_RDWR | O_SYNC | O_CLOEXEC);
	int other = open(node, O_RDWR | O_CLOEXEC);

	ASSERT_LE(0, direct);
	ASSERT_LE(0, sync);
	ASSERT_LE(0, other);
	memset(self->buffer, 1, SZ_4K);
	ASSERT_EQ(SZ_4K, pwrite(direct, self->buffer, SZ_4K, SZ_4K));
	EXPECT_EQ(0, memcmp(self->map + SZ_4K, self->buffer, SZ_4K));
	memset(self->buffer, 2, 100);
	ASSERT_EQ(100, pwrite(sync, self->buffer, 100, 5000));
	EXPECT_EQ(0, memcmp(self->map + 5000, self->buffer, 100));
	store_byte(self->map + 5000, 3);
	ASSERT_EQ(SZ_4K, pread(direct, self->buffer, SZ_4K, SZ_4K));
	EXPECT_EQ(3, self->buffer[5000 - SZ_4K]);
	ASSERT_EQ(1, pread(other, self->buffer, 1, 5000));
	EXPECT_EQ(3, self->buffer[0]);
	close(direct);
	close(sync);
	close(other);
}

TEST_F(coherence, vectors)
{
	struct iovec vectors[] = {
		{ self->buffer, 3 }, { self->buffer + 100, 4099 }, { self->buffer + 5000, 1 },
	};

	ASSERT_EQ(4103, preadv(self->fd, vectors, 3, SZ_2M - 1000));
	EXPECT_EQ(0, memcmp(self->buffer, self->map + SZ_2M - 1000, 3));
	EXPECT_EQ(0, memcmp(self->buffer + 100, self->map + SZ_2M - 997, 4099));
	EXPECT_EQ(0, memcmp(self->buffer + 5000, self->map + SZ_2M + 3102, 1));
	memset(self->buffer, 9, 6000);
	ASSERT_EQ(4103, pwritev(self->fd, vectors, 3, SZ_2M - 1000));
	memset(self->copy + SZ_2M - 1000, 9, 4103);
	EXPECT_EQ(0, memcmp(self->copy, self->map, LENGTH));
}

TEST_F(coherence, file_position)
{
	ASSERT_EQ(10000, lseek(self->fd, 10000, SEEK_SET));
	ASSERT_EQ(77, read(self->fd, self->buffer, 77));
	EXPECT_EQ(0, memcmp(self->buffer, self->map + 10000, 77));
	memset(self->copy + 10077, 4, 23);
	ASSERT_EQ(23, write(self->fd, self->copy + 10077, 23));
	EXPECT_EQ(10100, lseek(self->fd, 0, SEEK_CUR));
	EXPECT_EQ(0, memcmp(self->copy, self->map, LENGTH));
}

TEST_F(coherence, splice)
{
	off_t offset = 4000;
	int pipes[2];

	ASSERT_EQ(0, pipe(pipes));
	memset(self->map + 4000, 6, 10000);
	ASSERT_EQ(10000, splice(self->fd, &offset, pipes[1], NULL, 10000, 0));
	ASSERT_EQ(10000, read(pipes[0], self->buffer, 10000));
	EXPECT_EQ(0, memcmp(self->buffer, self->map + 4000, 10000));

	memset(self->copy + 4000, 8, 10000);
	ASSERT_EQ(10000, write(pipes[1], self->copy + 4000, 10000));
	offset = 4000;
	ASSERT_EQ(10000, splice(pipes[0], NULL, self->fd, &offset, 10000, 0));
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
}

/* The device's own memory is the buffer: pages that are not yet there are faulted in meanwhile. */
TEST_F(coherence, buffer_is_the_mapping)
{
	char *map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(10000, pwrite(self->fd, map + 100, 10000, SZ_2M + 33));
	memcpy(self->copy + SZ_2M + 33, self->copy + 100, 10000);
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	ASSERT_EQ(10000, pread(self->fd, map + SZ_2M + 50000, 10000, 77));
	memcpy(self->copy + SZ_2M + 50000, self->copy + 77, 10000);
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	/* Onto itself. */
	ASSERT_EQ(SZ_4K, pwrite(self->fd, map + 5 * SZ_4K, SZ_4K, 5 * SZ_4K));
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
}

TEST_F(coherence, zeroed)
{
	uint64_t range[] = { SZ_4K, 4 * SZ_4K };

	ASSERT_EQ(0, ioctl(self->fd, BLKZEROOUT, range));
	memset(self->copy + SZ_4K, 0, 4 * SZ_4K);
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	ASSERT_EQ(0, fallocate(self->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, SZ_2M,
			       SZ_4K));
	memset(self->copy + SZ_2M, 0, SZ_4K);
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
}

TEST_F(coherence, synced)
{
	memset(self->copy, 3, LENGTH);
	memset(self->map, 3, LENGTH);
	EXPECT_EQ(0, msync(self->map, LENGTH, MS_SYNC));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, fdatasync(self->fd));
	EXPECT_EQ(0, sync_file_range(self->fd, 0, LENGTH, SYNC_FILE_RANGE_WRITE));
	EXPECT_EQ(0, posix_fadvise(self->fd, 0, 0, POSIX_FADV_DONTNEED));
	EXPECT_EQ(0, ioctl(self->fd, BLKFLSBUF));
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	ASSERT_EQ(LENGTH, pread(self->fd, self->buffer, LENGTH, 0));
	EXPECT_EQ(0, memcmp(self->buffer, self->copy, LENGTH));
}

/* The kernel itself reads and writes the node too: as a file, for a disk that is made of it. */
TEST_F(coherence, loop)
{
	char command[80], path[64];
	int loop;

	snprintf(command, sizeof(command), "modprobe loop; losetup -f --show %.32s", node);
	ASSERT_EQ(0, shell_line(path, sizeof(path), command));
	loop = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	EXPECT_LE(0, loop);

	memset(self->copy + SZ_2M - SZ_4K, 5, 2 * SZ_4K);
	EXPECT_EQ(2 * SZ_4K, pwrite(loop, self->copy + SZ_2M - SZ_4K, 2 * SZ_4K, SZ_2M - SZ_4K));
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	memset(self->map, 6, SZ_1M);
	memset(self->copy, 6, SZ_1M);
	EXPECT_EQ(LENGTH, pread(loop, self->buffer, LENGTH, 0));
	EXPECT_EQ(0, memcmp(self->buffer, self->copy, LENGTH));
	EXPECT_EQ(0, fallocate(loop, FALLOC_FL_ZERO_RANGE, SZ_2M, SZ_4K));
	memset(self->copy + SZ_2M, 0, SZ_4K);
	EXPECT_EQ(0, memcmp(self->map, self->copy, LENGTH));
	EXPECT_EQ(0, fsync(loop));
	EXPECT_EQ(0, cached_pages(self->fd));
	close(loop);
	EXPECT_EQ(0, shell("losetup -d %s", path));
}

/* While one holds the device with O_EXCL and maps it, the others see what is stored too. */
TEST_F(coherence, mapped_by_a_holder)
{
	int holder, other;
	char *map;

	munmap(self->map, LENGTH);
	holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
	other = open(node, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, holder);
	ASSERT_LE(0, other);
	/* Through the page cache, as the device is held. */
	ASSERT_EQ(SZ_4K, pread(other, self->buffer, SZ_4K, 0));
	memset(self->buffer, 1, 64);
	ASSERT_EQ(64, pwrite(other, self->buffer, 64, SZ_4K));

	map = map_shared(holder, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, memcmp(map + SZ_4K, self->buffer, 64));
	memset(map, 2, 64);
	ASSERT_EQ(64, pread(other, self->buffer, 64, 0));
	EXPECT_EQ(0, memcmp(map, self->buffer, 64));
	memset(self->buffer, 3, 64);
	ASSERT_EQ(64, pwrite(other, self->buffer, 64, 0));
	EXPECT_EQ(0, memcmp(map, self->buffer, 64));
	/* When it is not mapped any more, the page cache must not have what was there before. */
	memset(map, 4, 64);
	munmap(map, LENGTH);
	ASSERT_EQ(64, pread(other, self->buffer, 64, 0));
	EXPECT_EQ(4, self->buffer[0]);
	close(holder);
	ASSERT_EQ(64, pread(other, self->buffer, 64, 0));
	EXPECT_EQ(4, self->buffer[0]);
	close(other);
}

/*
 * One thread sets byte after byte of the device, by one way, and says how far it has come; the
 * others must find the last of those bytes set, by the other way. (Bytes, as nobody promises
 * that a system call copies a word at once.)
 */
struct progress {
	char *map;
	off_t offset;
	int fd, count, done;
	bool stop, error;
};

static void *set_by_store(void *data)
{
	struct progress *progress = data;
	int i;

	for (i = 0; i < progress->count; i++) {
		store_byte(progress->map + i, 's');
		__atomic_store_n(&progress->done, i, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&progress->stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *find_by_read(void *data)
{
	struct progress *progress = data;

	while (!__atomic_load_n(&progress->stop, __ATOMIC_SEQ_CST)) {
		int done = __atomic_load_n(&progress->done, __ATOMIC_SEQ_CST);
		char c = 0;

		if (done >= 0 &&
		    (pread(progress->fd, &c, 1, progress->offset + done) != 1 || c != 's'))
			progress->error = true;
	}
	return NULL;
}

static void *set_by_write(void *data)
{
	struct progress *progress = data;
	int i;

	for (i = 0; i < progress->count; i++) {
		if (pwrite(progress->fd, "w", 1, progress->offset + i) != 1)
			progress->error = true;
		__atomic_store_n(&progress->done, i, __ATOMIC_SEQ_CST);
	}
	__atomic_store_n(&progress->stop, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void *find_by_load(void *data)
{
	struct progress *progress = data;

	while (!__atomic_load_n(&progress->stop, __ATOMIC_SEQ_CST)) {
		int done = __atomic_load_n(&progress->done, __ATOMIC_SEQ_CST);

		if (done >= 0 && load_byte(progress->map + done) != 'w')
			progress->error = true;
	}
	return NULL;
}

TEST_F(coherence, several_threads)
{
	struct {
		void *(*set)(void *data);
		void *(*find)(void *data);
		int count;
	} ways[] = {
		{ set_by_store, find_by_read, SZ_2M },
		{ set_by_write, find_by_load, 3 * SZ_4K },
	};
	pthread_t threads[3];
	int i, j;

	for (i = 0; i < ARRAY_SIZE(ways); i++) {
		struct progress progress = {
			.map = self->map + SZ_2M - 2 * SZ_4K,
			.offset = SZ_2M - 2 * SZ_4K,
			.fd = self->fd,
			.count = ways[i].count,
			.done = -1,
		};

		memset(progress.map, 0, progress.count);
		for (j = 0; j < ARRAY_SIZE(threads); j++)
			ASSERT_EQ(0, pthread_create(&threads[j], NULL,
						    j ? ways[i].find : ways[i].set, &progress));
		for (j = 0; j < ARRAY_SIZE(threads); j++)
			pthread_join(threads[j], NULL);
		EXPECT_FALSE(progress.error);
	}
}

/* Each turn can come to a huge page that is cleared. */
#define TAKEN	(SZ_1M / 4)

/* other_bytes() - how many of @bytes are neither those of @wanted nor of memory taken away */
static size_t other_bytes(const char *bytes, const char *wanted)
{
	size_t i, count = 0;

	for (i = 0; i < TAKEN; i++)
		count += bytes[i] && bytes[i] != wanted[i];
	return count;
}

/* What the kernel does to a caller's memory at any time is no reason to read or write less. */
TEST_F(coherence, memory_taken_away)
{
	struct taken taken = { .memory = self->buffer, .length = TAKEN };
	pthread_t thread;
	int i;

	ASSERT_EQ(0, pthread_create(&thread, NULL, take_memory, &taken));
	for (i = 0; i < 10; i++) {
		EXPECT_EQ(TAKEN, pread(self->fd, self->buffer, TAKEN, 0));
		EXPECT_EQ(0, other_bytes(self->buffer, self->copy));
		EXPECT_EQ(TAKEN, pwrite(self->fd, self->buffer, TAKEN, 0));
		EXPECT_EQ(0, other_bytes(self->map, self->copy));
		memcpy(self->map, self->copy, TAKEN);
	}
	__atomic_store_n(&taken.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
}

PMEM_DAX_MAIN("namespace0.0")
