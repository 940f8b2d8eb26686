// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever call is made for a mapping, it does what it is for or is refused. After either, what
 * is still mapped are the pages of the media, what is not mapped any more cannot be touched, and
 * nothing holds the device when all is unmapped. (The kernel complains of pages that a process
 * has not given back, and that fails the run.)
 */
#include <sys/prctl.h>
#include <linux/futex.h>
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "pmem_dax.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif
#ifndef UFFDIO_REGISTER_MODE_RWP
#define UFFDIO_REGISTER_MODE_RWP	8
#endif

#define LENGTH	(2 * SZ_2M)
#define PAGES	(LENGTH / SZ_4K)
/* A page in the middle of a 2M page. */
#define MIDDLE	(SZ_2M + 7 * SZ_4K)
/* The last page of a 2M page. */
#define BORDER	(SZ_2M - SZ_4K)
/* Of each page, what is at its ends: what goes wrong here does so in pages. */
#define EDGE	64

FIXTURE(mapping_calls) {
	/* Where each page of the device is mapped; NULL if it is not. */
	char *at[PAGES];
	char *map, *buffer;
	/* What is on the media, and the mapping shows. */
	uint64_t seed;
	int fd, direct;
};

/* Which pages are mapped after a call; the same as before it if it was refused. */
enum present {
	ANY,
	SAME,
	ALL,
	NONE,
	/* The large pages: a sync removes single ones, as mm would not tell of stores to them. */
	LARGE,
};

/*
 * A call, its arguments, and its error. Without a length it is for all of the mapping, and keeps
 * its size.
 */
FIXTURE_VARIANT(mapping_calls) {
	int (*call)(struct __test_metadata *_metadata, FIXTURE_DATA(mapping_calls) *self,
		    const FIXTURE_VARIANT(mapping_calls) *row);
	size_t from, length, size, skew;
	long arg;
	int flags, error;
	enum present present;
};

#define CALL(name)									\
	static int name(struct __test_metadata *_metadata,				\
			FIXTURE_DATA(mapping_calls) *self,				\
			const FIXTURE_VARIANT(mapping_calls) *row)

#define ROW(name)	FIXTURE_VARIANT_ADD(mapping_calls, name)

static void stamp(char *page, uint64_t seed, size_t i)
{
	fill(page, EDGE, seed, i * SZ_4K);
	fill(page + SZ_4K - EDGE, EDGE, seed, (i + 1) * SZ_4K - EDGE);
}

static bool stamped(const char *page, uint64_t seed, size_t i)
{
	return differs(page, EDGE, seed, i * SZ_4K) == -1 &&
	       differs(page + SZ_4K - EDGE, EDGE, seed, (i + 1) * SZ_4K - EDGE) == -1;
}

/* store_all() - stamp what is mapped */
static void store_all(FIXTURE_DATA(mapping_calls) *self, uint64_t seed)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		if (self->at[i])
			stamp(self->at[i], seed, i);
}

/* wrong_page() - the first one that is mapped and does not show the stamp; -1 if all do */
static long wrong_page(FIXTURE_DATA(mapping_calls) *self, uint64_t seed)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		if (self->at[i] && !stamped(self->at[i], seed, i))
			return i;
	return -1;
}

/* wrong_on_media() - the same of the media, where what is not mapped has another stamp */
static long wrong_on_media(FIXTURE_DATA(mapping_calls) *self, uint64_t mapped, uint64_t unmapped)
{
	size_t i;

	if (pread(self->direct, self->buffer, LENGTH, 0) != LENGTH)
		return 0;
	for (i = 0; i < PAGES; i++)
		if (!stamped(self->buffer + i * SZ_4K, self->at[i] ? mapped : unmapped, i))
			return i;
	return -1;
}

static void write_media(FIXTURE_DATA(mapping_calls) *self, uint64_t seed)
{
	size_t i;

	for (i = 0; i < PAGES; i++)
		stamp(self->buffer + i * SZ_4K, seed, i);
	if (pwrite(self->direct, self->buffer, LENGTH, 0) == LENGTH)
		self->seed = seed;
}

/* moved() - a part of the mapping is somewhere else now, or nowhere */
static void moved(FIXTURE_DATA(mapping_calls) *self, size_t from, size_t length, char *to)
{
	size_t i;

	for (i = 0; i < length / SZ_4K; i++)
		self->at[from / SZ_4K + i] = to ? to + i * SZ_4K : NULL;
}

FIXTURE_SETUP(mapping_calls)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->direct = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->direct);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	write_media(self, new_seed());
}

static int exclusive_errno(void)
{
	int fd = open(node, O_RDWR | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* number_in() - the number that a line of a file starts with after @key; -1 if there is none */
static long number_in(const char *path, const char *key)
{
	FILE *file = fopen(path, "r");
	char line[128];
	long number = -1;

	if (!file)
		return -1;
	while (number == -1 && fgets(line, sizeof(line), file))
		if (!strncmp(line, key, strlen(key)))
			number = strtol(line + strlen(key), NULL, 10);
	fclose(file);
	return number;
}

/* The device is the mapping's up to its end, and nobody's after that. */
FIXTURE_TEARDOWN(mapping_calls)
{
	size_t i, run;

	EXPECT_EQ(EBUSY, exclusive_errno());
	EXPECT_EQ(0, cached_pages(self->fd));
	for (i = 0; i < PAGES; i += run) {
		for (run = 1; i + run < PAGES; run++)
			if (self->at[i + run] != self->at[i] + run * SZ_4K)
				break;
		if (self->at[i])
			EXPECT_EQ(0, munmap(self->at[i], run * SZ_4K));
	}
	EXPECT_EQ(0, cached_pages(self->fd));
	EXPECT_EQ(0, exclusive_errno());
	close(self->fd);
	close(self->direct);
	EXPECT_EQ(0, number_in("/sys/module/pmem_dax/refcnt", ""));
}

/* check() - that mapping and media are one, wherever it is mapped and only there */
static void check(struct __test_metadata *_metadata, FIXTURE_DATA(mapping_calls) *self)
{
	uint64_t seed = new_seed();
	size_t i;

	EXPECT_EQ(-1, wrong_page(self, self->seed));
	store_all(self, seed);
	EXPECT_EQ(-1, wrong_on_media(self, seed, self->seed));
	write_media(self, ~seed);
	EXPECT_EQ(-1, wrong_page(self, ~seed));
	for (i = 0; i < PAGES; i++) {
		if (self->at[i] == self->map + i * SZ_4K)
			continue;
		/* Both ends of each hole will do. */
		if (i && i + 1 < PAGES && !self->at[i - 1] == !self->at[i] &&
		    !self->at[i + 1] == !self->at[i])
			continue;
		EXPECT_EQ(SEGV_MAPERR, segv_code(self->map + i * SZ_4K, false));
		EXPECT_EQ(SEGV_MAPERR, segv_code(self->map + i * SZ_4K, true));
	}
}

static void test_row(struct __test_metadata *_metadata, FIXTURE_DATA(mapping_calls) *self,
		     const FIXTURE_VARIANT(mapping_calls) *row, struct layout layout, bool touched)
{
	FIXTURE_VARIANT(mapping_calls) whole = *row;
	uint64_t seed = new_seed();
	long before;

	if (!row->length)
		whole.length = LENGTH;
	if (!row->size)
		whole.size = whole.length;
	self->map = map_layout(self->fd, LENGTH, &layout);
	ASSERT_NE(MAP_FAILED, self->map);
	moved(self, 0, LENGTH, self->map);
	if (touched) {
		store_all(self, seed);
		self->seed = seed;
		ASSERT_EQ(layout_huge(&layout, LENGTH), huge_bytes(self->map, LENGTH));
	}
	before = present_bytes(self->map, LENGTH);
	ASSERT_EQ(touched ? LENGTH : 0, before);

	EXPECT_EQ(row->error, row->call(_metadata, self, &whole));
	if (row->present == ALL)
		before = LENGTH;
	else if (row->present == NONE)
		before = 0;
	else if (row->present == LARGE)
		before = huge_bytes(self->map, LENGTH);
	if (row->present != ANY || row->error)
		EXPECT_EQ(before, present_bytes(self->map, LENGTH));
	check(_metadata, self);
}

TEST_F(mapping_calls, untouched_huge)
{
	test_row(_metadata, self, variant, (struct layout)LAYOUT_HUGE, false);
}

TEST_F(mapping_calls, untouched_small)
{
	test_row(_metadata, self, variant, (struct layout)LAYOUT_SMALL, false);
}

TEST_F(mapping_calls, touched_huge)
{
	test_row(_metadata, self, variant, (struct layout)LAYOUT_HUGE, true);
}

TEST_F(mapping_calls, touched_small)
{
	test_row(_metadata, self, variant, (struct layout)LAYOUT_SMALL, true);
}

/* child_status() - what a child exited with, or the signal that ended it, negative */
static int child_status(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* fork */

CALL(by_child)
{
	uint64_t seed = new_seed();
	int pipes[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	if (pid == 0) {
		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		if (wrong_page(self, seed) != -1)
			_exit(2);
		store_all(self, ~seed);
		_exit(0);
	}
	if (pid < 0)
		return errno;
	store_all(self, seed);
	EXPECT_EQ(1, write(pipes[1], "", 1));
	EXPECT_EQ(0, child_status(pid));
	self->seed = ~seed;
	close(pipes[0]);
	close(pipes[1]);
	return 0;
}

ROW(fork) { .call = by_child };

/* The child has it longer than its parent. */
CALL(by_orphan)
{
	uint64_t seed = new_seed();
	int pipes[2];
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	if (pid == 0) {
		if (read(pipes[0], &byte, 1) != 1)
			_exit(1);
		if (wrong_page(self, self->seed) != -1)
			_exit(2);
		store_all(self, seed);
		_exit(0);
	}
	if (pid < 0)
		return errno;
	EXPECT_EQ(0, munmap(self->map, LENGTH));
	EXPECT_EQ(EBUSY, exclusive_errno());
	EXPECT_EQ(1, write(pipes[1], "", 1));
	EXPECT_EQ(0, child_status(pid));
	EXPECT_EQ(0, exclusive_errno());
	self->seed = seed;
	close(pipes[0]);
	close(pipes[1]);
	/* For the check. */
	EXPECT_EQ(self->map, mmap(self->map, LENGTH, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, self->fd, 0));
	return 0;
}

ROW(fork_then_munmap) { .call = by_orphan };

/*
 * madvise(2), for a page and for all. Where a page is to differ from its neighbours, a 2M page
 * goes, and comes back as small ones when it is touched.
 */

CALL(advise)
{
	int first = madvise(self->map + MIDDLE, SZ_4K, row->arg) ? errno : 0;

	EXPECT_EQ(row->error, first);
	return madvise(self->map, LENGTH, row->arg) ? errno : 0;
}

ROW(madv_normal) { .call = advise, .arg = MADV_NORMAL, .present = SAME };
ROW(madv_random) { .call = advise, .arg = MADV_RANDOM };
ROW(madv_sequential) { .call = advise, .arg = MADV_SEQUENTIAL };
ROW(madv_willneed) { .call = advise, .arg = MADV_WILLNEED, .present = SAME };
ROW(madv_dontneed) { .call = advise, .arg = MADV_DONTNEED, .present = NONE };
ROW(madv_dontneed_locked) { .call = advise, .arg = MADV_DONTNEED_LOCKED, .present = NONE };
ROW(madv_free) { .call = advise, .arg = MADV_FREE, .error = EINVAL };
ROW(madv_remove) { .call = advise, .arg = MADV_REMOVE, .error = ENODEV };
ROW(madv_dofork) { .call = advise, .arg = MADV_DOFORK, .present = SAME };
ROW(madv_wipeonfork) { .call = advise, .arg = MADV_WIPEONFORK, .error = EINVAL };
ROW(madv_keeponfork) { .call = advise, .arg = MADV_KEEPONFORK, .present = SAME };
ROW(madv_dontdump) { .call = advise, .arg = MADV_DONTDUMP };
ROW(madv_dodump) { .call = advise, .arg = MADV_DODUMP, .present = SAME };
ROW(madv_mergeable) { .call = advise, .arg = MADV_MERGEABLE, .present = SAME };
ROW(madv_unmergeable) { .call = advise, .arg = MADV_UNMERGEABLE, .present = SAME };
ROW(madv_hugepage) { .call = advise, .arg = MADV_HUGEPAGE, .present = SAME };
ROW(madv_nohugepage) { .call = advise, .arg = MADV_NOHUGEPAGE };
ROW(madv_collapse) { .call = advise, .arg = MADV_COLLAPSE, .error = EINVAL };
ROW(madv_cold) { .call = advise, .arg = MADV_COLD, .present = SAME };
ROW(madv_pageout) { .call = advise, .arg = MADV_PAGEOUT, .present = SAME };
ROW(madv_populate_read) { .call = advise, .arg = MADV_POPULATE_READ, .present = ALL };
ROW(madv_populate_write) { .call = advise, .arg = MADV_POPULATE_WRITE, .present = ALL };
ROW(madv_guard_remove) { .call = advise, .arg = MADV_GUARD_REMOVE, .present = SAME };

/* A guarded page is not to be touched, by nobody; what is around it is. */
CALL(guard)
{
	char *start = self->map + row->from, *end = start + row->length;
	int before = row->from ? 0 : -1, behind = end < self->map + LENGTH ? 0 : -1;

	if (madvise(start, row->length, MADV_GUARD_INSTALL))
		return errno;
	EXPECT_EQ(SEGV_MAPERR, segv_code(start, false));
	EXPECT_EQ(SEGV_MAPERR, segv_code(end - SZ_4K, true));
	EXPECT_EQ(before, row->from ? segv_code(start - SZ_4K, true) : -1);
	EXPECT_EQ(behind, end < self->map + LENGTH ? segv_code(end, true) : -1);
	EXPECT_EQ(-1, pread(self->direct, start, SZ_4K, LENGTH));
	EXPECT_EQ(EFAULT, errno);
	/* What takes the pages away does not take the guard. */
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(0, madvise(self->map, LENGTH, MADV_DONTNEED));
	EXPECT_EQ(SEGV_MAPERR, segv_code(start, true));
	return madvise(start, row->length, MADV_GUARD_REMOVE) ? errno : 0;
}

ROW(madv_guard_page) { .call = guard, .from = MIDDLE, .length = SZ_4K };
ROW(madv_guard_across) { .call = guard, .from = BORDER, .length = 3 * SZ_4K };
ROW(madv_guard_all) { .call = guard, .present = NONE };

CALL(advise_not_to_fork)
{
	int error = madvise(self->map, LENGTH, MADV_DONTFORK) ? errno : 0;
	pid_t pid = fork();

	if (pid == 0)
		_exit(segv_code(self->map, false) != SEGV_MAPERR ||
		      segv_code(self->map + MIDDLE, true) != SEGV_MAPERR);
	EXPECT_EQ(0, child_status(pid));
	return error;
}

ROW(madv_dontfork) { .call = advise_not_to_fork, .present = SAME };

/* The page is loaded, and then not taken. */
CALL(advise_offline)
{
	EXPECT_EQ(-1, madvise(self->map + MIDDLE, SZ_4K, MADV_SOFT_OFFLINE));
	EXPECT_EQ(EIO, errno);
	return 0;
}

ROW(madv_soft_offline) { .call = advise_offline };

/* process_madvise(2), of this process and of another one */

static int advise_process(FIXTURE_DATA(mapping_calls) *self, pid_t pid, int advice)
{
	struct iovec vector = { self->map, LENGTH };
	int pidfd = syscall(__NR_pidfd_open, pid, 0);
	int error = 0;

	if (syscall(__NR_process_madvise, pidfd, &vector, 1, advice, 0) != LENGTH)
		error = errno;
	close(pidfd);
	return error;
}

CALL(advise_self)
{
	return advise_process(self, getpid(), row->arg);
}

CALL(advise_child)
{
	pid_t pid = fork();
	int error;

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		wrong_page(self, self->seed);
		raise(SIGSTOP);
		_exit(wrong_page(self, self->seed) != -1);
	}
	if (pid < 0 || waitpid(pid, NULL, WUNTRACED) != pid)
		return errno;
	error = advise_process(self, pid, row->arg);
	kill(pid, SIGCONT);
	EXPECT_EQ(0, child_status(pid));
	return error;
}

ROW(process_cold) { .call = advise_self, .arg = MADV_COLD, .present = SAME };
ROW(process_pageout) { .call = advise_self, .arg = MADV_PAGEOUT, .present = SAME };
ROW(process_willneed) { .call = advise_self, .arg = MADV_WILLNEED, .present = SAME };
ROW(process_dontneed) { .call = advise_self, .arg = MADV_DONTNEED, .present = NONE };
ROW(process_collapse) { .call = advise_self, .arg = MADV_COLLAPSE, .error = EINVAL };
ROW(child_cold) { .call = advise_child, .arg = MADV_COLD, .present = SAME };
ROW(child_pageout) { .call = advise_child, .arg = MADV_PAGEOUT, .present = SAME };
ROW(child_willneed) { .call = advise_child, .arg = MADV_WILLNEED, .present = SAME };
ROW(child_dontneed) { .call = advise_child, .arg = MADV_DONTNEED, .error = EINVAL };
ROW(child_collapse) { .call = advise_child, .arg = MADV_COLLAPSE, .error = EINVAL };

/* mremap(2) */

CALL(remap)
{
	char *to = NULL, *result;
	int error;

	if (row->flags & MREMAP_FIXED) {
		to = map_skewed(-1, LENGTH, 0, row->skew, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(MAP_FAILED, to);
	}
	result = mremap(self->map + row->from, row->length, row->size, row->flags, to);
	error = errno;
	if (to && result == MAP_FAILED)
		munmap(to, LENGTH);
	else if (to)
		munmap(to + row->size, LENGTH - row->size);
	if (result == MAP_FAILED)
		return error;
	EXPECT_EQ(to ?: self->map + row->from, result);
	moved(self, row->from, row->length, NULL);
	moved(self, row->from, row->size, result);
	return 0;
}

#define MOVE	(MREMAP_MAYMOVE | MREMAP_FIXED)
#define KEEP	(MREMAP_MAYMOVE | MREMAP_DONTUNMAP)
#define MORE	(LENGTH + SZ_4K)

ROW(mremap_move) { .call = remap, .flags = MOVE };
ROW(mremap_move_askew) { .call = remap, .flags = MOVE, .skew = 3 * SZ_4K };
ROW(mremap_move_block) { .call = remap, .flags = MOVE, .from = SZ_2M, .length = SZ_2M };
ROW(mremap_move_page) { .call = remap, .flags = MOVE, .from = MIDDLE, .length = SZ_4K };
ROW(mremap_move_shrunk) { .call = remap, .flags = MOVE, .length = SZ_2M, .size = SZ_4K };
ROW(mremap_same_length) { .call = remap, .flags = MREMAP_MAYMOVE };
ROW(mremap_shrink) { .call = remap, .size = SZ_2M };
ROW(mremap_shrink_in_block) { .call = remap, .size = MIDDLE };
ROW(mremap_shrink_part) { .call = remap, .from = SZ_4K, .length = SZ_2M, .size = SZ_4K };
ROW(mremap_shrink_and_move) { .call = remap, .flags = MOVE, .size = MIDDLE };
ROW(mremap_grow_over) { .call = remap, .length = SZ_2M, .size = LENGTH, .error = ENOMEM };

/* What it grows by is more of the device, at the place or where all of it fits. */
CALL(grow)
{
	size_t length = row->length, i;
	char *to = NULL, *result;

	if (row->flags & MREMAP_FIXED) {
		to = map_skewed(-1, LENGTH, 0, row->skew, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(MAP_FAILED, to);
	}
	if (munmap(self->map + length, LENGTH - length))
		return errno;
	if (row->flags & MREMAP_MAYMOVE && !to) {
		/* Here it cannot. */
		EXPECT_EQ(self->map + length,
			  mmap(self->map + length, SZ_4K, PROT_NONE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	}
	result = mremap(self->map, length, LENGTH, row->flags, to);
	if (row->flags & MREMAP_MAYMOVE && !to)
		munmap(self->map + length, SZ_4K);
	if (result == MAP_FAILED)
		return errno;
	if (!(row->flags & MREMAP_MAYMOVE))
		EXPECT_EQ(self->map, result);
	if (to)
		EXPECT_EQ(to, result);
	moved(self, 0, LENGTH, result);
	for (i = length / SZ_4K; i < PAGES; i++)
		EXPECT_TRUE(stamped(self->at[i], self->seed, i));
	return 0;
}

ROW(mremap_grow) { .call = grow, .length = SZ_2M };
ROW(mremap_grow_in_block) { .call = grow, .length = MIDDLE };
ROW(mremap_grow_or_move) { .call = grow, .length = SZ_2M, .flags = MREMAP_MAYMOVE };
ROW(mremap_grow_and_move) { .call = grow, .length = MIDDLE, .flags = MOVE };
ROW(mremap_grow_askew) { .call = grow, .length = MIDDLE, .flags = MOVE, .skew = 3 * SZ_4K };

/* Behind the end of the device there is nothing, as in any mapping. */
CALL(grow_past_end)
{
	size_t device = size_of(self->fd);
	char *result = mremap(self->map, LENGTH, device + SZ_2M, MREMAP_MAYMOVE), byte;

	if (result == MAP_FAILED)
		return errno;
	EXPECT_EQ(1, pread(self->fd, &byte, 1, device - 1));
	EXPECT_EQ(byte, load_byte(result + device - 1));
	EXPECT_EQ(BUS_ADRERR, bus_code(result + device, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(result + device + SZ_2M - 1, true));
	EXPECT_EQ(0, munmap(result + LENGTH, device + SZ_2M - LENGTH));
	moved(self, 0, LENGTH, result);
	return 0;
}

ROW(mremap_grow_past_end) { .call = grow_past_end };

/* The old mapping stays, empty, and can be touched anew. */
CALL(keep_and_map)
{
	char *to = NULL, *result;

	if (row->flags & MREMAP_FIXED) {
		to = map_skewed(-1, LENGTH, 0, row->skew, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
		ASSERT_NE(MAP_FAILED, to);
	}
	result = mremap(self->map, row->arg, LENGTH, row->flags, to);
	if (result == MAP_FAILED)
		return errno;
	if (row->arg)
		EXPECT_EQ(0, present_bytes(self->map, LENGTH));
	EXPECT_EQ(-1, wrong_page(self, self->seed));
	EXPECT_EQ(LENGTH, present_bytes(self->map, LENGTH));
	moved(self, 0, LENGTH, result);
	EXPECT_EQ(-1, wrong_page(self, self->seed));
	return munmap(self->map, LENGTH) ? errno : 0;
}

ROW(mremap_dontunmap) { .call = keep_and_map, .arg = LENGTH, .flags = KEEP };
ROW(mremap_dontunmap_fixed) { .call = keep_and_map, .arg = LENGTH, .flags = KEEP | MOVE };
/* A length of 0 asks for another mapping of the same. */
ROW(mremap_duplicate) { .call = keep_and_map, .flags = MREMAP_MAYMOVE };

/* What was one mapping, and was split, is moved in one call. */
CALL(remap_of_parts)
{
	ASSERT_EQ(0, madvise(self->map + MIDDLE, SZ_4K, MADV_RANDOM));
	return remap(_metadata, self, row);
}

ROW(mremap_move_of_parts) { .call = remap_of_parts, .flags = MOVE };

/* munmap(2), and what else takes pages away */

CALL(unmap)
{
	moved(self, row->from, row->length, NULL);
	return munmap(self->map + row->from, row->length) ? errno : 0;
}

ROW(munmap_first_page) { .call = unmap, .length = SZ_4K };
ROW(munmap_middle_page) { .call = unmap, .from = MIDDLE, .length = SZ_4K };
ROW(munmap_last_page) { .call = unmap, .from = LENGTH - SZ_4K, .length = SZ_4K };
ROW(munmap_block) { .call = unmap, .from = SZ_2M, .length = SZ_2M };
ROW(munmap_across_blocks) { .call = unmap, .from = BORDER, .length = 3 * SZ_4K };

CALL(map_over)
{
	char *other = mmap(self->map + row->from, row->length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	ASSERT_EQ(self->map + row->from, other);
	EXPECT_EQ(0, load_byte(other));
	store_byte(other, 1);
	return unmap(_metadata, self, row);
}

ROW(mmap_over_middle_page) { .call = map_over, .from = MIDDLE, .length = SZ_4K };

/* mprotect(2) */

CALL(protect)
{
	char *start = self->map + row->from, *last = start + row->length - SZ_4K;
	int load = row->arg & PROT_READ ? 0 : SEGV_ACCERR;

	if (mprotect(start, row->length, row->arg))
		return errno;
	EXPECT_EQ(load, segv_code(start, false));
	EXPECT_EQ(load, segv_code(last, false));
	EXPECT_EQ(SEGV_ACCERR, segv_code(start, true));
	EXPECT_EQ(SEGV_ACCERR, segv_code(last, true));
	if (row->from)
		EXPECT_EQ(0, segv_code(start - SZ_4K, true));
	/* The kernel may not either. */
	EXPECT_EQ(-1, read(self->fd, start, SZ_4K));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, madvise(start, SZ_4K, MADV_POPULATE_WRITE));
	EXPECT_EQ(EINVAL, errno);
	EXPECT_EQ(-1, wrong_on_media(self, self->seed, self->seed));
	return mprotect(start, row->length, PROT_READ | PROT_WRITE) ? errno : 0;
}

ROW(mprotect_read) { .call = protect, .arg = PROT_READ };
ROW(mprotect_none) { .call = protect, .arg = PROT_NONE };
ROW(mprotect_read_of_page) { .call = protect, .arg = PROT_READ, .from = MIDDLE, .length = SZ_4K };
ROW(mprotect_none_of_page) { .call = protect, .arg = PROT_NONE, .from = MIDDLE, .length = SZ_4K };
ROW(mprotect_across) { .call = protect, .arg = PROT_READ, .from = BORDER, .length = 3 * SZ_4K };

/* large_again() - how much has 2M pages when all is mapped anew */
static long large_again(FIXTURE_DATA(mapping_calls) *self)
{
	madvise(self->map, LENGTH, MADV_DONTNEED);
	store_all(self, self->seed);
	return huge_bytes(self->map, LENGTH);
}

/* A mapping that was split is never joined again, so there 2M do not fit any more. */
CALL(protect_and_back)
{
	bool suits = (uintptr_t)self->map % SZ_2M == 0;

	if (madvise(self->map + MIDDLE, SZ_4K, MADV_DONTNEED))
		return errno;
	EXPECT_EQ(suits ? LENGTH : 0, large_again(self));
	if (mprotect(self->map + MIDDLE, SZ_4K, PROT_READ) ||
	    mprotect(self->map, LENGTH, PROT_READ | PROT_WRITE))
		return errno;
	EXPECT_EQ(suits ? LENGTH - SZ_2M : 0, large_again(self));
	return 0;
}

ROW(mprotect_and_back) { .call = protect_and_back, .present = ALL };

CALL(execute)
{
	/* mov $42, %eax; ret */
	const char code[] = { 0xb8, 42, 0, 0, 0, 0xc3 };
	char *page = self->map + MIDDLE + SZ_4K / 2;

	memcpy(page, code, sizeof(code));
	if (mprotect(self->map + MIDDLE, SZ_4K, PROT_READ | PROT_EXEC))
		return errno;
	EXPECT_EQ(42, ((int (*)(void))page)());
	return mprotect(self->map + MIDDLE, SZ_4K, PROT_READ | PROT_WRITE) ? errno : 0;
}

ROW(mprotect_exec) { .call = execute };

CALL(protect_read_only_file)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC), error;
	char *map = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, fd, 0);

	close(fd);
	ASSERT_NE(MAP_FAILED, map);
	error = mprotect(map, SZ_2M, PROT_READ | PROT_WRITE) ? errno : 0;
	EXPECT_TRUE(stamped(map, self->seed, 0));
	EXPECT_EQ(SEGV_ACCERR, segv_code(map, true));
	munmap(map, SZ_2M);
	return error;
}

ROW(mprotect_of_read_only_file) { .call = protect_read_only_file, .error = EACCES };

/* mmap(2) again, with other flags; where it is refused, what was there stays */

CALL(map_again)
{
	char *map = mmap(self->map, LENGTH, PROT_READ | PROT_WRITE,
			 MAP_SHARED | row->flags, self->fd, 0);

	return map == MAP_FAILED ? errno : 0;
}

#define LATER	(MAP_FIXED | MAP_POPULATE | MAP_NONBLOCK)

ROW(map_fixed) { .call = map_again, .flags = MAP_FIXED, .present = NONE };
ROW(map_populate) { .call = map_again, .flags = MAP_FIXED | MAP_POPULATE, .present = ALL };
ROW(map_nonblock) { .call = map_again, .flags = LATER, .present = NONE };
ROW(map_locked) { .call = map_again, .flags = MAP_FIXED | MAP_LOCKED, .present = ALL };
ROW(map_stack) { .call = map_again, .flags = MAP_FIXED | MAP_STACK, .present = NONE };
ROW(map_noreserve) { .call = map_again, .flags = MAP_FIXED | MAP_NORESERVE, .present = NONE };
ROW(map_growsdown) { .call = map_again, .flags = MAP_FIXED | MAP_GROWSDOWN, .error = EINVAL };
ROW(map_hugetlb) { .call = map_again, .flags = MAP_FIXED | MAP_HUGETLB, .error = EINVAL };
ROW(map_fixed_noreplace) { .call = map_again, .flags = MAP_FIXED_NOREPLACE, .error = EEXIST };

/* Page by page, in any order. Each is a mapping of its own, and none is lost. */
CALL(map_in_pieces)
{
	const int prot = PROT_READ | PROT_WRITE;
	size_t i;

	munmap(self->map, LENGTH);
	for (i = 0; i < PAGES; i++) {
		/* Forwards, backwards, or first those at even places. */
		size_t page = row->arg == 0 ? i : row->arg == 1 ? PAGES - 1 - i :
			      i < PAGES / 2 ? 2 * i : 2 * i - PAGES + 1;
		char *at = self->map + page * SZ_4K;

		if (mmap(at, SZ_4K, prot, MAP_SHARED | MAP_FIXED, self->fd, page * SZ_4K) != at)
			return errno;
	}
	/* What would join them. */
	if (mprotect(self->map, LENGTH, PROT_READ) || mprotect(self->map, LENGTH, prot))
		return errno;
	if (munmap(self->map + MIDDLE, SZ_4K))
		return errno;
	if (mremap(self->map + MIDDLE - SZ_4K, SZ_4K, 2 * SZ_4K, 0) == MAP_FAILED)
		return errno;
	return 0;
}

ROW(map_pages_forwards) { .call = map_in_pieces };
ROW(map_pages_backwards) { .call = map_in_pieces, .arg = 1 };
ROW(map_pages_between) { .call = map_in_pieces, .arg = 2 };

/* An address that no process has. */
CALL(map_too_high)
{
	char *map = mmap((void *)row->arg, LENGTH, PROT_READ, MAP_SHARED | row->flags, self->fd,
			 SZ_4K);

	return map == MAP_FAILED ? errno : 0;
}

#define HIGH	INT64_MIN

ROW(map_too_high) { .call = map_too_high, .arg = HIGH, .flags = MAP_FIXED, .error = ENOMEM };
ROW(map_highest) { .call = map_too_high, .arg = -LENGTH, .flags = MAP_FIXED, .error = ENOMEM };

/* 0 is an address as any other, for those who may have it; the offset would suit another one. */
CALL(map_at_zero)
{
	char * volatile start = NULL;
	char *map = mmap(start, LENGTH, PROT_READ, MAP_SHARED | row->flags, self->fd, SZ_4K);
	char byte;

	if (map == MAP_FAILED)
		return errno;
	EXPECT_EQ(start, map);
	EXPECT_EQ(1, pread(self->fd, &byte, 1, SZ_4K));
	EXPECT_EQ(byte, load_byte(map));
	EXPECT_EQ(0, munmap(map, LENGTH));
	return 0;
}

ROW(map_fixed_at_zero) { .call = map_at_zero, .flags = MAP_FIXED, .present = SAME };
ROW(map_fixed_noreplace_at_zero) {
	.call = map_at_zero, .flags = MAP_FIXED_NOREPLACE, .present = SAME
};

/* mlock(2) and the like map all pages, and then there is nothing to lock */

CALL(lock)
{
	int error;

	error = syscall(__NR_mlock2, self->map, LENGTH, row->flags) ? errno : 0;
	EXPECT_EQ(0, number_in("/proc/self/status", "VmLck:"));
	/* EBUSY if it were locked. */
	EXPECT_EQ(0, msync(self->map, LENGTH, MS_INVALIDATE));
	EXPECT_EQ(0, munlock(self->map + MIDDLE, SZ_4K));
	EXPECT_EQ(0, munlock(self->map, LENGTH));
	return error;
}

ROW(mlock) { .call = lock, .present = ALL };
ROW(mlock_onfault) { .call = lock, .flags = MLOCK_ONFAULT, .present = ALL };

CALL(lock_all)
{
	int error = mlockall(row->flags) ? errno : 0;

	munlockall();
	return error;
}

ROW(mlockall) { .call = lock_all, .flags = MCL_CURRENT, .present = ALL };

/* msync(2) */

CALL(sync_range)
{
	int first = msync(self->map + MIDDLE, SZ_4K, row->flags) ? errno : 0;

	EXPECT_EQ(row->error, first);
	return msync(self->map, LENGTH, row->flags) ? errno : 0;
}

ROW(msync_nothing) { .call = sync_range, .flags = 0, .present = SAME };
ROW(msync_sync) { .call = sync_range, .flags = MS_SYNC, .present = LARGE };
ROW(msync_async) { .call = sync_range, .flags = MS_ASYNC, .present = SAME };
ROW(msync_invalidate) { .call = sync_range, .flags = MS_INVALIDATE, .present = SAME };
ROW(msync_all) { .call = sync_range, .flags = MS_SYNC | MS_INVALIDATE, .present = LARGE };
ROW(msync_both) { .call = sync_range, .flags = MS_SYNC | MS_ASYNC, .error = EINVAL };

CALL(sync_hole)
{
	moved(self, MIDDLE, SZ_4K, NULL);
	EXPECT_EQ(0, munmap(self->map + MIDDLE, SZ_4K));
	EXPECT_EQ(-1, msync(self->map, LENGTH, MS_SYNC));
	EXPECT_EQ(ENOMEM, errno);
	return 0;
}

ROW(msync_hole) { .call = sync_hole };

/*
 * For mincore(2) all of the device is in memory, mapped or not, but for the first page: that nobody
 * may find who has not mapped it (lib/buildid.c would read it).
 */
CALL(in_core)
{
	long mapped = present_bytes(self->map, SZ_4K) / SZ_4K;
	unsigned char pages[PAGES];
	long count = 0;
	size_t i;

	if (mincore(self->map, LENGTH, pages))
		return errno;
	for (i = 0; i < PAGES; i++)
		count += pages[i] & 1;
	EXPECT_EQ(PAGES - 1 + mapped, count);
	return 0;
}

ROW(mincore) { .call = in_core, .present = SAME };

CALL(remap_pages)
{
	EXPECT_EQ(-1, syscall(__NR_remap_file_pages, self->map + MIDDLE, SZ_4K, 0, 0, 0));
	return syscall(__NR_remap_file_pages, self->map, LENGTH, 0, 0, 0) ? errno : 0;
}

ROW(remap_file_pages) { .call = remap_pages, .error = ENODEV };

/* mseal(2) is for ever, so a child does it. */
CALL(seal)
{
	uint64_t seed = new_seed();
	pid_t pid = fork();

	if (pid == 0) {
		int error = syscall(__NR_mseal, self->map, LENGTH, 0) ? errno : 0;

		if (error)
			_exit(error);
		if (munmap(self->map, LENGTH) != -1 || errno != EPERM ||
		    munmap(self->map + MIDDLE, SZ_4K) != -1 || errno != EPERM ||
		    mprotect(self->map, LENGTH, PROT_READ) != -1 || errno != EPERM ||
		    mremap(self->map, LENGTH, SZ_2M, 0) != MAP_FAILED || errno != EPERM ||
		    mmap(self->map, SZ_4K, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0) != MAP_FAILED || errno != EPERM)
			_exit(254);
		if (madvise(self->map, LENGTH, MADV_DONTNEED))
			_exit(253);
		if (wrong_page(self, self->seed) != -1)
			_exit(252);
		store_all(self, seed);
		_exit(0);
	}
	self->seed = seed;
	return child_status(pid);
}

ROW(mseal) { .call = seal };

/* userfaultfd(2) */

CALL(watch)
{
	struct uffdio_api api = { .api = UFFD_API, .features = row->flags };
	struct uffdio_register range = {
		.range = { (uintptr_t)self->map, LENGTH },
		.mode = row->arg,
	};
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC), error;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	error = ioctl(fd, UFFDIO_REGISTER, &range) ? errno : 0;
	close(fd);
	return error;
}

#define WP	UFFDIO_REGISTER_MODE_WP
#define ASYNC	UFFD_FEATURE_WP_ASYNC
#define UNPOPULATED	UFFD_FEATURE_WP_UNPOPULATED

ROW(userfaultfd_missing) { .call = watch, .arg = UFFDIO_REGISTER_MODE_MISSING, .error = EINVAL };
ROW(userfaultfd_wp) { .call = watch, .arg = WP, .error = EINVAL };

/* written() - how much was stored to, as userfaultfd says */
static long written(FIXTURE_DATA(mapping_calls) *self)
{
	return scan_bytes(self->map, LENGTH, PAGE_IS_WRITTEN);
}

/* protect_written() - let the kernel note what is stored to from now on, large pages as they are */
static int protect_written(FIXTURE_DATA(mapping_calls) *self)
{
	struct page_region region;
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC,
		.start = (uintptr_t)self->map,
		.end = (uintptr_t)self->map + LENGTH,
		.vec = (uintptr_t)&region,
		.vec_len = 1,
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), n;

	do {
		n = ioctl(fd, PAGEMAP_SCAN, &arg);
		arg.start = arg.walk_end;
	} while (n >= 0 && arg.start < arg.end);
	close(fd);
	return n < 0 ? n : 0;
}

/* The kernel notes which pages are stored to: none is missed, however it comes to be there. */
CALL(watch_stores)
{
	struct uffdio_api api = { .api = UFFD_API, .features = ASYNC | UNPOPULATED };
	struct uffdio_range range = { (uintptr_t)self->map, LENGTH };
	struct uffdio_register watch = { .range = range, .mode = WP };
	struct uffdio_writeprotect protect = { range, UFFDIO_WRITEPROTECT_MODE_WP };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC), i;
	uint64_t seed = new_seed();
	bool by_scan;
	long large;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ioctl(fd, UFFDIO_API, &api));
	if (ioctl(fd, UFFDIO_REGISTER, &watch))
		return errno;
	for (i = 0; i < 3; i++) {
		/* A scan protects what is there. */
		by_scan = row->arg && present_bytes(self->map, LENGTH) == LENGTH;
		ASSERT_EQ(0, by_scan ? protect_written(self) :
				       ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
		EXPECT_EQ(0, written(self));
		/* Of a large page all counts as stored to. */
		large = huge_bytes(self->map, LENGTH);
		/* By a sync pages go. */
		if (i == 1)
			EXPECT_EQ(0, fsync(self->fd));
		if (i == 2)
			EXPECT_EQ(0, madvise(self->map + SZ_2M, SZ_2M, MADV_DONTNEED));
		stamp(self->map + MIDDLE, seed, MIDDLE / SZ_4K);
		EXPECT_EQ(large ? SZ_2M : SZ_4K, written(self));
		EXPECT_EQ(SZ_4K, scan_bytes(self->map + MIDDLE, SZ_4K, PAGE_IS_WRITTEN));
		stamp(self->map + BORDER, seed, BORDER / SZ_4K);
		stamp(self->map + BORDER + SZ_4K, seed, BORDER / SZ_4K + 1);
		EXPECT_EQ(large ?: 3 * SZ_4K, written(self));
		store_all(self, seed);
		EXPECT_EQ(LENGTH, written(self));
		self->seed = seed;
		EXPECT_EQ(-1, wrong_on_media(self, seed, seed));
	}
	/* Nobody watches any more. */
	ASSERT_EQ(0, ioctl(fd, UFFDIO_WRITEPROTECT, &protect));
	close(fd);
	return 0;
}

ROW(userfaultfd_wp_async) { .call = watch_stores };
ROW(userfaultfd_wp_async_by_scan) { .call = watch_stores, .arg = true };
ROW(userfaultfd_minor) { .call = watch, .arg = UFFDIO_REGISTER_MODE_MINOR, .error = EINVAL };
ROW(userfaultfd_rwp) { .call = watch, .arg = UFFDIO_REGISTER_MODE_RWP, .error = EINVAL };

/* NUMA */

CALL(bind_to_node)
{
	unsigned long nodes = 1;

	return syscall(__NR_mbind, self->map, LENGTH, MPOL_BIND, &nodes, 2,
		       MPOL_MF_STRICT | MPOL_MF_MOVE_ALL) ? errno : 0;
}

ROW(mbind) { .call = bind_to_node, .present = SAME };

CALL(move_page)
{
	void *pages[] = { self->map + MIDDLE };
	int node = 0, status = 0;

	if (syscall(__NR_move_pages, 0, 1, pages, row->arg ? &node : NULL, &status,
		    MPOL_MF_MOVE_ALL))
		return errno;
	return -status;
}

ROW(move_pages) { .call = move_page, .arg = true, .error = EFAULT };
ROW(move_pages_where) { .call = move_page, .arg = false, .error = ENOENT };

/* /proc */

CALL(clear_refs)
{
	return write_line("/proc/self/clear_refs", row->arg == 1 ? "1" : "4") ? errno : 0;
}

ROW(clear_referenced) { .call = clear_refs, .arg = 1, .present = SAME };
ROW(clear_soft_dirty) { .call = clear_refs, .arg = 4, .present = SAME };

CALL(read_proc)
{
	const char * const paths[] = {
		"/proc/self/maps", "/proc/self/smaps", "/proc/self/smaps_rollup",
		"/proc/self/numa_maps",
	};
	char buffer[4096];
	int i, fd, n;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		fd = open(paths[i], O_RDONLY | O_CLOEXEC);
		do {
			n = read(fd, buffer, sizeof(buffer));
		} while (n > 0);
		if (n < 0)
			return errno;
		close(fd);
	}
	return 0;
}

ROW(smaps) { .call = read_proc, .present = SAME };

/* It leads to the node, and so to the bytes that the mapping shows. */
CALL(open_map_file)
{
	char path[80], name[80], byte;
	int fd, n;

	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)self->map,
		 (unsigned long)self->map + LENGTH);
	n = readlink(path, name, sizeof(name) - 1);
	ASSERT_LT(0, n);
	name[n] = '\0';
	EXPECT_STREQ(node, name);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno;
	EXPECT_EQ(1, pread(fd, &byte, 1, MIDDLE));
	EXPECT_EQ(self->map[MIDDLE], byte);
	EXPECT_EQ(0, close(fd));
	return 0;
}

ROW(map_files) { .call = open_map_file, .present = ANY };

/* futex(2): a word of the media is the same one in all mappings, and no other word is */

static long futex(char *word, int call, uint32_t value)
{
	return syscall(__NR_futex, word, call, value, NULL, NULL, 0);
}

/* is_waiting() - whether the process is in the futex call */
static bool is_waiting(pid_t pid)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	return number_in(path, "") == __NR_futex;
}

CALL(wait_and_wake)
{
	const size_t others[] = { MIDDLE - SZ_2M, MIDDLE - SZ_4K, MIDDLE + SZ_4K, MIDDLE + 4 };
	char *elsewhere = map_skewed(self->fd, LENGTH, 0, 5 * SZ_4K, PROT_READ | PROT_WRITE,
				     MAP_SHARED);
	uint32_t value = *(uint32_t *)(self->map + MIDDLE);
	int i, woken;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, elsewhere);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(futex(elsewhere + MIDDLE, FUTEX_WAIT, value) != 0);
	}
	munmap(elsewhere, LENGTH);
	for (i = 0; i < 1000 && !is_waiting(pid); i++)
		usleep(1000);
	for (i = 0; i < ARRAY_SIZE(others); i++)
		EXPECT_EQ(0, futex(self->map + others[i], FUTEX_WAKE, 1));
	woken = futex(self->map + MIDDLE, FUTEX_WAKE, 1);
	EXPECT_EQ(1, woken);
	if (woken != 1)
		kill(pid, SIGKILL);
	EXPECT_EQ(0, child_status(pid));
	return 0;
}

ROW(futex) { .call = wait_and_wake };

PMEM_DAX_MAIN("namespace0.0")
