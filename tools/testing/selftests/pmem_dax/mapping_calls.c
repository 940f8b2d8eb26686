// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever call is made on a mapping: it says what Documentation/user-guide.rst has it
 * say, and the mapping's bytes are those of the media afterwards, with pages of the same
 * sizes.
 */
#include <linux/mempolicy.h>
#include <linux/userfaultfd.h>

#include "pmem_dax.h"

/* Newer than the C library's headers. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL	102
#define MADV_GUARD_REMOVE	103
#endif

#define LENGTH	(3 * SZ_2M)
#define PIECE	(SZ_1M + SZ_4K)

static const struct layout layouts[] = { LAYOUT_HUGE, LAYOUT_SMALL, LAYOUT_MIXED };

/* mapped_pages() - how many pages of a range have an entry */
static long mapped_pages(const char *map, size_t length)
{
	long count = 0;
	size_t at;

	for (at = 0; at < length; at += SZ_4K)
		count += physical(map + at) != 0;
	return count;
}

/* fault_signal() - the signal that an access ends with; 0 if it works */
static int fault_signal(char *address, bool store)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (store)
			touch(address);
		else
			load_byte(address);
		_exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* error_of() - the error of a call that returned @result; 0 if it succeeded */
static int error_of(long result)
{
	return result == -1 ? errno : 0;
}

/*
 * The calls that leave a mapping where it is. Each is made on a mapping that has been
 * stored to, and returns its error, or -1 if it did not do what it is for.
 */
static int do_madvise(char *map, int advice)
{
	return error_of(madvise(map, LENGTH, advice));
}

static int do_process_madvise(char *map, int advice)
{
	struct iovec all = { map, LENGTH };
	int pidfd = syscall(__NR_pidfd_open, getpid(), 0), error;
	long result = syscall(__NR_process_madvise, pidfd, &all, 1, advice, 0);

	error = error_of(result);
	close(pidfd);
	return error;
}

static int do_mlock(char *map, int flags)
{
	return error_of(mlock2(map, LENGTH, flags)) ?: error_of(munlock(map, LENGTH));
}

static int do_msync(char *map, int flags)
{
	return error_of(msync(map, LENGTH, flags));
}

static int do_mincore(char *map, int unused)
{
	unsigned char there[LENGTH / SZ_4K];
	int i;

	if (mincore(map, LENGTH, there))
		return errno;
	for (i = 0; i < ARRAY_SIZE(there); i++)
		if (!(there[i] & 1))
			return -1;
	return 0;
}

static int do_mbind(char *map, int mode)
{
	unsigned long first = 1;

	return error_of(syscall(__NR_mbind, map, LENGTH, mode, &first, 8, MPOL_MF_MOVE));
}

static int do_mprotect(char *map, int prot)
{
	return error_of(mprotect(map + SZ_4K, PIECE, prot)) ?:
	       error_of(mprotect(map, LENGTH, PROT_READ | PROT_WRITE));
}

/* To @length more or, with MREMAP_DONTUNMAP, to elsewhere. */
static int do_mremap(char *map, int flags)
{
	size_t length = flags & MREMAP_DONTUNMAP ? LENGTH : LENGTH + SZ_4K;

	return mremap(map, LENGTH, length, flags) == MAP_FAILED ? errno : 0;
}

/* A second mapping of the same. */
static int do_mremap_of_nothing(char *map, int flags)
{
	return mremap(map, 0, LENGTH, flags) == MAP_FAILED ? errno : 0;
}

static int do_remap_file_pages(char *map, int page)
{
	return error_of(remap_file_pages(map, SZ_4K, 0, page, 0));
}

static int do_userfaultfd(char *map, int mode)
{
	struct uffdio_register all = {
		.range = { (uintptr_t)map, LENGTH },
		.mode = mode,
	};
	struct uffdio_api api = { .api = UFFD_API };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC), error;

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return -1;
	error = error_of(ioctl(fd, UFFDIO_REGISTER, &all));
	close(fd);
	return error;
}

FIXTURE(call) {
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(call) {
	int (*make)(char *map, int argument);
	int argument, error;
	/* The entries are gone then; a touch brings them back. */
	bool drops;
	/* The same with those of a 2M page of which only a part was meant. */
	bool splits;
};

FIXTURE_VARIANT_ADD(call, madv_normal) {
	.make = do_madvise,
	.argument = MADV_NORMAL,
};

FIXTURE_VARIANT_ADD(call, madv_random) {
	.make = do_madvise,
	.argument = MADV_RANDOM,
};

FIXTURE_VARIANT_ADD(call, madv_sequential) {
	.make = do_madvise,
	.argument = MADV_SEQUENTIAL,
};

FIXTURE_VARIANT_ADD(call, madv_willneed) {
	.make = do_madvise,
	.argument = MADV_WILLNEED,
};

FIXTURE_VARIANT_ADD(call, madv_dontneed) {
	.make = do_madvise,
	.argument = MADV_DONTNEED,
	.drops = true,
};

FIXTURE_VARIANT_ADD(call, madv_dontneed_locked) {
	.make = do_madvise,
	.argument = MADV_DONTNEED_LOCKED,
	.drops = true,
};

FIXTURE_VARIANT_ADD(call, madv_free) {
	.make = do_madvise,
	.argument = MADV_FREE,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_remove) {
	.make = do_madvise,
	.argument = MADV_REMOVE,
	.error = ENODEV,
};

FIXTURE_VARIANT_ADD(call, madv_dontfork) {
	.make = do_madvise,
	.argument = MADV_DONTFORK,
};

FIXTURE_VARIANT_ADD(call, madv_dofork) {
	.make = do_madvise,
	.argument = MADV_DOFORK,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_wipeonfork) {
	.make = do_madvise,
	.argument = MADV_WIPEONFORK,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_keeponfork) {
	.make = do_madvise,
	.argument = MADV_KEEPONFORK,
};

FIXTURE_VARIANT_ADD(call, madv_cold) {
	.make = do_madvise,
	.argument = MADV_COLD,
};

FIXTURE_VARIANT_ADD(call, madv_pageout) {
	.make = do_madvise,
	.argument = MADV_PAGEOUT,
};

FIXTURE_VARIANT_ADD(call, madv_mergeable) {
	.make = do_madvise,
	.argument = MADV_MERGEABLE,
};

FIXTURE_VARIANT_ADD(call, madv_unmergeable) {
	.make = do_madvise,
	.argument = MADV_UNMERGEABLE,
};

FIXTURE_VARIANT_ADD(call, madv_hugepage) {
	.make = do_madvise,
	.argument = MADV_HUGEPAGE,
};

FIXTURE_VARIANT_ADD(call, madv_nohugepage) {
	.make = do_madvise,
	.argument = MADV_NOHUGEPAGE,
};

FIXTURE_VARIANT_ADD(call, madv_collapse) {
	.make = do_madvise,
	.argument = MADV_COLLAPSE,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_dontdump) {
	.make = do_madvise,
	.argument = MADV_DONTDUMP,
};

FIXTURE_VARIANT_ADD(call, madv_dodump) {
	.make = do_madvise,
	.argument = MADV_DODUMP,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_populate_read) {
	.make = do_madvise,
	.argument = MADV_POPULATE_READ,
};

FIXTURE_VARIANT_ADD(call, madv_populate_write) {
	.make = do_madvise,
	.argument = MADV_POPULATE_WRITE,
};

FIXTURE_VARIANT_ADD(call, madv_guard_install) {
	.make = do_madvise,
	.argument = MADV_GUARD_INSTALL,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, madv_guard_remove) {
	.make = do_madvise,
	.argument = MADV_GUARD_REMOVE,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, process_madvise) {
	.make = do_process_madvise,
	.argument = MADV_COLD,
};

FIXTURE_VARIANT_ADD(call, mlock) {
	.make = do_mlock,
};

FIXTURE_VARIANT_ADD(call, mlock_onfault) {
	.make = do_mlock,
	.argument = MLOCK_ONFAULT,
};

FIXTURE_VARIANT_ADD(call, msync_async) {
	.make = do_msync,
	.argument = MS_ASYNC,
};

FIXTURE_VARIANT_ADD(call, msync_sync) {
	.make = do_msync,
	.argument = MS_SYNC,
};

FIXTURE_VARIANT_ADD(call, msync_invalidate) {
	.make = do_msync,
	.argument = MS_SYNC | MS_INVALIDATE,
};

FIXTURE_VARIANT_ADD(call, mincore) {
	.make = do_mincore,
};

FIXTURE_VARIANT_ADD(call, mbind) {
	.make = do_mbind,
	.argument = MPOL_BIND,
};

FIXTURE_VARIANT_ADD(call, mprotect_none) {
	.make = do_mprotect,
	.argument = PROT_NONE,
	.splits = true,
};

FIXTURE_VARIANT_ADD(call, mprotect_read) {
	.make = do_mprotect,
	.argument = PROT_READ,
	.splits = true,
};

FIXTURE_VARIANT_ADD(call, mprotect_exec) {
	.make = do_mprotect,
	.argument = PROT_READ | PROT_EXEC,
	.splits = true,
};

FIXTURE_VARIANT_ADD(call, mremap_growth) {
	.make = do_mremap,
	.error = EFAULT,
};

FIXTURE_VARIANT_ADD(call, mremap_growth_elsewhere) {
	.make = do_mremap,
	.argument = MREMAP_MAYMOVE,
	.error = EFAULT,
};

FIXTURE_VARIANT_ADD(call, mremap_dontunmap) {
	.make = do_mremap,
	.argument = MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, mremap_of_nothing) {
	.make = do_mremap_of_nothing,
	.argument = MREMAP_MAYMOVE,
	.error = EFAULT,
};

FIXTURE_VARIANT_ADD(call, remap_file_pages) {
	.make = do_remap_file_pages,
	.argument = 1,
	.error = ENODEV,
};

FIXTURE_VARIANT_ADD(call, userfaultfd_missing) {
	.make = do_userfaultfd,
	.argument = UFFDIO_REGISTER_MODE_MISSING,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, userfaultfd_wp) {
	.make = do_userfaultfd,
	.argument = UFFDIO_REGISTER_MODE_WP,
	.error = EINVAL,
};

FIXTURE_VARIANT_ADD(call, userfaultfd_minor) {
	.make = do_userfaultfd,
	.argument = UFFDIO_REGISTER_MODE_MINOR,
	.error = EINVAL,
};

FIXTURE_SETUP(call)
{
	self->fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->seed = new_seed();
}

FIXTURE_TEARDOWN(call)
{
	close(self->fd);
}

TEST_F(call, made)
{
	const struct layout *layout;

	for (layout = layouts; layout < layouts + ARRAY_SIZE(layouts); layout++) {
		long huge = layout_huge(layout, LENGTH), there = LENGTH / SZ_4K;
		char *map = map_layout(self->fd, LENGTH, layout);
		uint64_t seed = self->seed++;

		ASSERT_NE(MAP_FAILED, map);
		fill(map, LENGTH, seed, 0);
		ASSERT_EQ(huge, huge_bytes(map, LENGTH));
		EXPECT_EQ(variant->error, variant->make(map, variant->argument));
		if (variant->drops)
			there = 0;
		else if (variant->splits && huge)
			there -= SZ_2M / SZ_4K;
		EXPECT_EQ(there, mapped_pages(map, LENGTH));
		EXPECT_EQ(-1, differs(map, LENGTH, seed, 0));
		EXPECT_EQ(-1, media_differs(self->fd, layout->offset, LENGTH, seed));
		fill(map, LENGTH, ~seed, 0);
		EXPECT_EQ(-1, media_differs(self->fd, layout->offset, LENGTH, ~seed));
		if (!variant->splits)
			EXPECT_EQ(huge, huge_bytes(map, LENGTH));
		EXPECT_EQ(0, munmap(map, LENGTH));
	}
	EXPECT_EQ(0, cached_pages(self->fd));
}

/* The calls that change what is mapped where. */
FIXTURE(mapping) {
	char *map, *other;
	uint64_t seed;
	off_t offset;
	int fd;
};

FIXTURE_VARIANT(mapping) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(mapping, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(mapping, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(mapping, mixed) {
	.layout = LAYOUT_MIXED,
};

/* There is room at other for the mapping, but for its 2M pages only where they are mixed. */
FIXTURE_SETUP(mapping)
{
	self->offset = variant->layout.offset;
	self->fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->other = map_skewed(-1, LENGTH, 0, SZ_1M, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	ASSERT_NE(MAP_FAILED, self->other);
	self->seed = new_seed();
	fill(self->map, LENGTH, self->seed, 0);
}

/* Whatever is still mapped goes with the process. */
FIXTURE_TEARDOWN(mapping)
{
	EXPECT_EQ(0, cached_pages(self->fd));
	close(self->fd);
}

/* follows() - whether @length bytes at @map are the media's from @at on, also when stored to */
static bool follows(int fd, char *map, off_t offset, off_t at, size_t length, uint64_t seed)
{
	char *buffer = aligned_alloc(SZ_4K, length);
	bool result;

	result = differs(map, length, seed, at) == -1;
	fill(map, length, ~seed, at);
	result = result && pread(fd, buffer, length, offset + at) == length &&
		 differs(buffer, length, ~seed, at) == -1;
	fill(map, length, seed, at);
	free(buffer);
	return result;
}

#define FOLLOWS(map, at, length) \
	EXPECT_TRUE(follows(self->fd, map, self->offset, at, length, self->seed))

TEST_F(mapping, fork)
{
	int status;
	pid_t pid = fork();

	ASSERT_LE(0, pid);
	if (pid == 0) {
		if (differs(self->map, LENGTH, self->seed, 0) != -1)
			_exit(1);
		fill(self->map + PIECE, PIECE, ~self->seed, PIECE);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(-1, differs(self->map, PIECE, self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + PIECE, PIECE, ~self->seed, PIECE));
	fill(self->map, LENGTH, self->seed, 0);
	FOLLOWS(self->map, 0, LENGTH);
}

TEST_F(mapping, dontfork)
{
	ASSERT_EQ(0, madvise(self->map + SZ_4K, PIECE, MADV_DONTFORK));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + SZ_4K, false));
	EXPECT_EQ(0, fault_signal(self->map, true));
	EXPECT_EQ(0, fault_signal(self->map + SZ_4K + PIECE, true));
	FOLLOWS(self->map, 0, LENGTH);
}

TEST_F(mapping, moved)
{
	ASSERT_EQ(self->other, mremap(self->map, LENGTH, LENGTH, MREMAP_MAYMOVE | MREMAP_FIXED,
				      self->other));
	FOLLOWS(self->other, 0, LENGTH);
	EXPECT_EQ(SIGSEGV, fault_signal(self->map, false));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + LENGTH - SZ_4K, false));
}

TEST_F(mapping, part_moved)
{
	ASSERT_EQ(self->other, mremap(self->map + SZ_4K, PIECE, PIECE,
				      MREMAP_MAYMOVE | MREMAP_FIXED, self->other));
	FOLLOWS(self->other, SZ_4K, PIECE);
	FOLLOWS(self->map, 0, SZ_4K);
	FOLLOWS(self->map + SZ_4K + PIECE, SZ_4K + PIECE, LENGTH - SZ_4K - PIECE);
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + SZ_4K, false));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + PIECE, false));
}

TEST_F(mapping, shrunk)
{
	ASSERT_EQ(self->map, mremap(self->map, LENGTH, PIECE, 0));
	FOLLOWS(self->map, 0, PIECE);
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + PIECE, false));
	EXPECT_EQ(-1, media_differs(self->fd, self->offset, LENGTH, self->seed));
}

TEST_F(mapping, shrunk_and_moved)
{
	ASSERT_EQ(self->other, mremap(self->map, LENGTH, PIECE, MREMAP_MAYMOVE | MREMAP_FIXED,
				      self->other));
	FOLLOWS(self->other, 0, PIECE);
	EXPECT_EQ(SIGSEGV, fault_signal(self->map, false));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + PIECE, false));
	EXPECT_EQ(-1, media_differs(self->fd, self->offset, LENGTH, self->seed));
}

TEST_F(mapping, hole)
{
	ASSERT_EQ(0, munmap(self->map + PIECE, SZ_4K));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + PIECE, true));
	FOLLOWS(self->map, 0, PIECE);
	FOLLOWS(self->map + PIECE + SZ_4K, PIECE + SZ_4K, LENGTH - PIECE - SZ_4K);
	EXPECT_EQ(-1, media_differs(self->fd, self->offset, LENGTH, self->seed));
}

TEST_F(mapping, read_only_for_a_time)
{
	ASSERT_EQ(0, mprotect(self->map + SZ_4K, PIECE, PROT_READ));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + SZ_4K, true));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map + PIECE, true));
	EXPECT_EQ(0, fault_signal(self->map + PIECE, false));
	EXPECT_EQ(0, fault_signal(self->map, true));
	EXPECT_EQ(0, fault_signal(self->map + SZ_4K + PIECE, true));
	EXPECT_EQ(-1, differs(self->map, LENGTH, self->seed, 0));
	ASSERT_EQ(0, mprotect(self->map, LENGTH, PROT_NONE));
	EXPECT_EQ(SIGSEGV, fault_signal(self->map, false));
	ASSERT_EQ(0, mprotect(self->map, LENGTH, PROT_READ | PROT_WRITE));
	FOLLOWS(self->map, 0, LENGTH);
}

TEST_F(mapping, read_only_for_ever)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC);
	char *map = mmap(self->other, LENGTH, PROT_READ, MAP_SHARED | MAP_FIXED, fd, self->offset);

	close(fd);
	ASSERT_EQ(self->other, map);
	EXPECT_EQ(-1, differs(map, LENGTH, self->seed, 0));
	EXPECT_EQ(-1, mprotect(map, LENGTH, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(SIGSEGV, fault_signal(map, true));
	FOLLOWS(self->map, 0, LENGTH);
	EXPECT_EQ(-1, differs(map, LENGTH, self->seed, 0));
}

/* All pages are there when the call returns, and of the right size. */
TEST_F(mapping, populated)
{
	static const int flags[] = { MAP_POPULATE, MAP_LOCKED };
	int i;

	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		ASSERT_EQ(self->map, mmap(self->map, LENGTH, PROT_READ | PROT_WRITE,
					  MAP_SHARED | MAP_FIXED | flags[i], self->fd,
					  self->offset));
		EXPECT_EQ(LENGTH / SZ_4K, mapped_pages(self->map, LENGTH));
		FOLLOWS(self->map, 0, LENGTH);
		EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
	}
}

TEST_F(mapping, sealed)
{
	ASSERT_EQ(0, syscall(__NR_mseal, self->map, LENGTH, 0));
	EXPECT_EQ(-1, munmap(self->map, SZ_4K));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, mprotect(self->map, LENGTH, PROT_NONE));
	EXPECT_EQ(EPERM, errno);
	FOLLOWS(self->map, 0, LENGTH);
}

PMEM_DAX_MAIN("namespace0.0")
