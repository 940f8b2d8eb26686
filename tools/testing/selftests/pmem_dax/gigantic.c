// SPDX-License-Identifier: GPL-2.0
/*
 * With align=1G a mapping is made of 1G pages where they fit, and whatever is
 * done to such a mapping, its bytes are those of the media. What a 1G page is
 * counted in must come down again too: otherwise the module could not be unloaded
 * in the end.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define SZ_1G	(1024 * SZ_1M)
#define SZ_64M	(64 * SZ_1M)

FIXTURE(gigantic) {
	char *block;
	off_t offset;
	int fd;
};

FIXTURE_VARIANT(gigantic) {
	bool store;
};

FIXTURE_VARIANT_ADD(gigantic, load) {
	.store = false,
};

FIXTURE_VARIANT_ADD(gigantic, store) {
	.store = true,
};

/* The first aligned GiB of the device is mapped. */
FIXTURE_SETUP(gigantic)
{
	uint64_t start = namespace_start("namespace4.0");

	ASSERT_NE(0, start);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->offset = -start & (SZ_1G - 1);
	self->block = map_shared(self->fd, SZ_1G, self->offset);
	ASSERT_NE(MAP_FAILED, self->block);
}

FIXTURE_TEARDOWN(gigantic)
{
	munmap(self->block, SZ_1G);
	close(self->fd);
}

/* faults() - those that touching a page in each 64M of the range takes */
static long faults(char *start, size_t length, bool store)
{
	long before = minor_faults();
	size_t i;

	for (i = 0; i < length; i += SZ_64M) {
		if (store)
			touch(start + i);
		else
			load_byte(start + i);
	}
	return minor_faults() - before;
}

/* mark() - store where others than us may look; marked() - whether it is there */
static void mark(char *block, uint64_t seed)
{
	size_t i;

	for (i = 0; i < SZ_1G; i += SZ_64M) {
		fill(block + i, 64, seed, i);
		fill(block + i + SZ_64M - 64, 64, seed, i + 64);
	}
}

static bool marked(int fd, off_t offset, uint64_t seed)
{
	char buffer[64];
	size_t i;

	for (i = 0; i < SZ_1G; i += SZ_64M) {
		if (pread(fd, buffer, 64, offset + i) != 64 ||
		    differs(buffer, 64, seed, i) != -1 ||
		    pread(fd, buffer, 64, offset + i + SZ_64M - 64) != 64 ||
		    differs(buffer, 64, seed, i + 64) != -1)
			return false;
	}
	return true;
}

TEST_F(gigantic, one_fault)
{
	uint64_t seed = new_seed();

	EXPECT_EQ(0, (uintptr_t)self->block % SZ_1G);
	EXPECT_EQ(1, faults(self->block, SZ_1G, variant->store));
	/* Stores after loads need no other fault. */
	EXPECT_EQ(0, faults(self->block, SZ_1G, true));
	mark(self->block, seed);
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
}

/* Around the aligned blocks there are smaller ones. */
TEST_F(gigantic, edges)
{
	off_t size = size_of(self->fd);
	size_t head = self->offset, tail = (size - self->offset) % SZ_1G;
	char *map = map_shared(self->fd, size, 0);

	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, (uintptr_t)(map + head) % SZ_1G);
	ASSERT_TRUE(head || tail);
	EXPECT_EQ((head + SZ_64M - 1) / SZ_64M, faults(map, head, variant->store));
	EXPECT_EQ((size - head) / SZ_1G, faults(map + head, size - head - tail, variant->store));
	EXPECT_EQ((tail + SZ_64M - 1) / SZ_64M, faults(map + size - tail, tail, variant->store));
	if (head)
		EXPECT_EQ(SZ_2M, huge_bytes(map, SZ_2M));
	munmap(map, size);
}

/* Where the address does not suit there are only small pages, of the same memory. */
TEST_F(gigantic, address_that_does_not_suit)
{
	char *map = map_skewed(self->fd, SZ_1G, self->offset, 0, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	uint64_t seed = new_seed();

	ASSERT_NE(MAP_FAILED, map);
	if ((uintptr_t)map % SZ_1G == 0)
		map += SZ_2M;
	EXPECT_EQ(15, faults(map, 15 * SZ_64M, variant->store));
	EXPECT_EQ(0, huge_bytes(map, SZ_64M));
	mark(self->block, seed);
	EXPECT_EQ(-1, differs(map + SZ_64M, 64, seed, SZ_64M));
}

TEST_F(gigantic, hole)
{
	const size_t at = 3 * SZ_64M + SZ_4K;
	uint64_t seed = new_seed();

	mark(self->block, seed);
	ASSERT_EQ(0, munmap(self->block + at, SZ_4K));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	EXPECT_EQ(-1, differs(self->block, 64, seed, 0));
	EXPECT_EQ(-1, differs(self->block + 15 * SZ_64M, 64, seed, 15 * SZ_64M));
	seed = new_seed();
	mark(self->block, seed);
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
}

TEST_F(gigantic, protection)
{
	uint64_t seed = new_seed();
	char *part = self->block + 5 * SZ_64M;
	int status;
	pid_t pid;

	EXPECT_EQ(1, faults(self->block, SZ_1G, variant->store));
	/* All of it stays one page, */
	ASSERT_EQ(0, mprotect(self->block, SZ_1G, PROT_READ));
	EXPECT_EQ(0, faults(self->block, SZ_1G, false));
	ASSERT_EQ(0, mprotect(self->block, SZ_1G, PROT_READ | PROT_WRITE));
	mark(self->block, seed);
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	/* and a part of it cannot. */
	ASSERT_EQ(0, mprotect(part, SZ_2M, PROT_READ));
	pid = fork();
	if (!pid) {
		struct rlimit none = {};

		setrlimit(RLIMIT_CORE, &none);
		store_byte(part, 1);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	EXPECT_EQ(-1, differs(part, 64, seed, 5 * SZ_64M));
	ASSERT_EQ(0, mprotect(part, SZ_2M, PROT_READ | PROT_WRITE));
	seed = new_seed();
	mark(self->block, seed);
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
}

/* room() - free addresses for @length bytes, @skew bytes above a 1G boundary */
static char *room(size_t length, size_t skew)
{
	size_t all = length + 2 * SZ_1G;
	char *start = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(start, all);
	return (char *)(((uintptr_t)start + SZ_1G - 1) & ~(SZ_1G - 1)) + skew;
}

TEST_F(gigantic, moved)
{
	const size_t skews[] = { 0, SZ_2M, SZ_4K };
	uint64_t seed;
	char *to;
	int i;

	for (i = 0; i < ARRAY_SIZE(skews); i++) {
		faults(self->block, SZ_1G, variant->store);
		to = room(SZ_1G, skews[i]);
		ASSERT_EQ(to, mremap(self->block, SZ_1G, SZ_1G, MREMAP_MAYMOVE | MREMAP_FIXED, to));
		self->block = to;
		seed = new_seed();
		mark(self->block, seed);
		EXPECT_TRUE(marked(self->fd, self->offset, seed));
	}
}

TEST_F(gigantic, part_moved)
{
	const size_t at = 5 * SZ_64M;
	uint64_t seed = new_seed();
	char *to = room(SZ_64M, 0);

	mark(self->block, seed);
	ASSERT_EQ(to, mremap(self->block + at, SZ_64M, SZ_64M, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(-1, differs(to, 64, seed, at));
	EXPECT_EQ(-1, differs(self->block + at + SZ_64M, 64, seed, at + SZ_64M));
	EXPECT_EQ(-1, differs(self->block, 64, seed, 0));
	munmap(to, SZ_64M);
}

TEST_F(gigantic, shrunk)
{
	uint64_t seed = new_seed();

	mark(self->block, seed);
	ASSERT_EQ(self->block, mremap(self->block, SZ_1G, SZ_64M, 0));
	EXPECT_EQ(-1, differs(self->block, 64, seed, 0));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
}

TEST_F(gigantic, not_grown)
{
	uint64_t seed = new_seed();

	mark(self->block, seed);
	EXPECT_TRUE(keeps_size(self->block, SZ_1G));
	EXPECT_EQ(-1, differs(self->block, 64, seed, 0));
}

static atomic_bool stop;

/* go_on_storing() - until told to end */
static void *go_on_storing(void *data)
{
	while (!stop)
		touch(data);
	return NULL;
}

/*
 * An entry of 1 GiB that comes while all are being removed: the core takes it for a broken one, and
 * forgets that it was counted (mm/memory.c: zap_pud_range).
 */
TEST_F(gigantic, removed_beside_faults)
{
	time_t end = time(NULL) + 5;
	pthread_t threads[2];
	int i;

	stop = false;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, go_on_storing,
					    self->block + i * SZ_64M));
	do {
		ASSERT_EQ(0, fsync(self->fd));
		/* This removes all, too. */
		ASSERT_EQ(0, ioctl(self->fd, BLKROSET, &(int){ 0 }));
	} while (time(NULL) < end);
	stop = true;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	EXPECT_NE(0, shell("dmesg | grep -q 'bad pud'"));
}

TEST_F(gigantic, forgotten)
{
	uint64_t seed = new_seed();

	mark(self->block, seed);
	ASSERT_EQ(0, madvise(self->block + SZ_64M, SZ_4K, MADV_DONTNEED));
	EXPECT_EQ(1, faults(self->block, SZ_1G, variant->store));
	ASSERT_EQ(0, madvise(self->block, SZ_1G, MADV_DONTNEED));
	EXPECT_EQ(1, faults(self->block, SZ_1G, variant->store));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	EXPECT_EQ(-1, differs(self->block + SZ_64M, 64, seed, SZ_64M));
}

TEST_F(gigantic, child)
{
	uint64_t seed = new_seed();
	int status;
	pid_t pid;

	EXPECT_EQ(1, faults(self->block, SZ_1G, variant->store));
	pid = fork();
	if (!pid) {
		long taken = faults(self->block, SZ_1G, variant->store);

		mark(self->block, seed);
		_exit(taken);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(1 << 8, status);
	EXPECT_EQ(0, faults(self->block, SZ_1G, variant->store));
	EXPECT_EQ(-1, differs(self->block + 7 * SZ_64M, 64, seed, 7 * SZ_64M));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
}

/* fork would copy a 1G page of a private mapping without counting it. */
TEST_F(gigantic, private)
{
	uint64_t seed = new_seed();
	char *map;
	pid_t pid;

	mark(self->block, seed);
	map = mmap(NULL, SZ_1G, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, self->offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(16, faults(map, SZ_1G, false));
	mark(map, ~seed);
	pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(-1, differs(map + SZ_64M, 64, ~seed, SZ_64M));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	munmap(map, SZ_1G);
}

/* A mapping of a file that is open for reading is shared all the same, and has no copies. */
TEST_F(gigantic, read_only_file)
{
	uint64_t seed = new_seed();
	int fd = open(node, O_RDONLY | O_CLOEXEC), status;
	char *map = mmap(NULL, SZ_1G, PROT_READ, MAP_SHARED, fd, self->offset);
	pid_t pid;
	char *to;

	close(fd);
	ASSERT_NE(MAP_FAILED, map);
	mark(self->block, seed);
	EXPECT_EQ(0, (uintptr_t)map % SZ_1G);
	EXPECT_EQ(1, faults(map, SZ_1G, false));
	EXPECT_EQ(SEGV_ACCERR, segv_code(map + SZ_64M, true));
	EXPECT_EQ(-1, mprotect(map, SZ_1G, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	pid = fork();
	if (!pid)
		_exit(faults(map, SZ_1G, false));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(1 << 8, status);
	to = room(SZ_1G, 0);
	ASSERT_EQ(to, mremap(map, SZ_1G, SZ_1G, MREMAP_MAYMOVE | MREMAP_FIXED, to));
	EXPECT_EQ(1, faults(to, SZ_1G, false));
	EXPECT_EQ(-1, differs(to + 7 * SZ_64M, 64, seed, 7 * SZ_64M));
	/* A part of it, and the rest. */
	ASSERT_EQ(0, munmap(to + SZ_64M, SZ_4K));
	EXPECT_EQ(-1, differs(to + 9 * SZ_64M, 64, seed, 9 * SZ_64M));
	EXPECT_EQ(0, munmap(to, SZ_1G));
}

/* Of a GiB with a bad page only that is lost; written, all is as it was. */
TEST_F(gigantic, bad_page)
{
	size_t bad = 5 * SZ_64M + SZ_4K, i;
	uint64_t seed = new_seed();
	char page[SZ_4K] = {};
	char *map;

	mark(self->block, seed);
	ASSERT_EQ(0, go_bad(self->block + bad));
	EXPECT_EQ(12, poisoned(self->block + bad + 5, variant->store));
	EXPECT_EQ(0, bus_code(self->block + bad - 1, variant->store));
	EXPECT_EQ(0, bus_code(self->block + bad + SZ_4K, variant->store));
	EXPECT_EQ(0, huge_bytes(self->block, SZ_1G));
	for (i = 0; i < SZ_1G; i += SZ_64M)
		EXPECT_EQ(-1, differs(self->block + i, 64, seed, i));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	map = map_shared(self->fd, SZ_1G, self->offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(12, poisoned(map + bad, variant->store));
	munmap(map, SZ_1G);

	ASSERT_EQ(SZ_4K, pwrite(self->fd, page, SZ_4K, self->offset + bad));
	EXPECT_EQ(0, bus_code(self->block + bad, variant->store));
	/* One that is made now has it in one piece, as does the old one without its tables. */
	map = map_shared(self->fd, SZ_1G, self->offset);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(1, faults(map, SZ_1G, variant->store));
	EXPECT_TRUE(marked(self->fd, self->offset, seed));
	munmap(map, SZ_1G);
}

/* The kernel's own walks find the pages too. */
TEST_F(gigantic, read_by_another_call)
{
	uint64_t seed = new_seed();
	char buffer[64];
	struct iovec local = { buffer, sizeof(buffer) };
	struct iovec remote = { self->block + 9 * SZ_64M, sizeof(buffer) };

	mark(self->block, seed);
	ASSERT_EQ(64, process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	EXPECT_EQ(-1, differs(buffer, 64, seed, 9 * SZ_64M));
}

PMEM_DAX_MAIN_WITH("region4", "namespace4.0:align=1G")
