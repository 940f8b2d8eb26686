// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel takes pages of a mapping for a moment, for whoever asks: direct I/O of a
 * file, another process, a debugger, a pipe, a core dump. All meet the bytes of the media.
 */
#include <elf.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define LENGTH	(2 * SZ_2M)
/* Where no access is aligned, and behind it. */
#define ODD	(SZ_2M - SZ_4K - 3)

#define FILE_SYSTEM	"/mnt"
#define CORE		"/tmp/pmem_dax.core"
#define CORE_PATTERN	"/proc/sys/kernel/core_pattern"

FIXTURE(gup) {
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(gup) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(gup, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(gup, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(gup, mixed) {
	.layout = LAYOUT_MIXED,
};

/* The mapping has the bytes of seed, and nobody has touched it. */
FIXTURE_SETUP(gup)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	fill(self->buffer, LENGTH, self->seed, 0);
	ASSERT_EQ(LENGTH, pwrite(self->fd, self->buffer, LENGTH, variant->layout.offset));
}

FIXTURE_TEARDOWN(gup)
{
	close(self->fd);
}

TEST_F(gup, other_process)
{
	struct iovec local = { self->buffer, LENGTH }, remote = { self->map, LENGTH };
	struct iovec odd = { self->map + ODD, 9 };
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	memset(self->buffer, 0, LENGTH);
	ASSERT_EQ(LENGTH, process_vm_readv(pid, &local, 1, &remote, 1, 0));
	EXPECT_EQ(-1, differs(self->buffer, LENGTH, self->seed, 0));
	fill(self->buffer, LENGTH, ~self->seed, 0);
	ASSERT_EQ(LENGTH, process_vm_writev(pid, &local, 1, &remote, 1, 0));
	EXPECT_EQ(-1, media_differs(self->fd, variant->layout.offset, LENGTH, ~self->seed));

	local = (struct iovec){ "elsewhere", 9 };
	ASSERT_EQ(9, process_vm_writev(pid, &local, 1, &odd, 1, 0));
	EXPECT_EQ(0, memcmp(self->map + ODD, "elsewhere", 9));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	EXPECT_EQ(-1, differs(self->map, ODD & -8, ~self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + SZ_2M, LENGTH - SZ_2M, ~self->seed, SZ_2M));
	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
}

/* traced() - a child that is stopped, with what this process has mapped */
static pid_t traced(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!ptrace(PTRACE_TRACEME, 0, NULL, NULL))
			raise(SIGSTOP);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
		return -1;
	return pid;
}

TEST_F(gup, debugger)
{
	uint64_t odd = 0x6465627567676564;
	char bytes[8], path[32];
	int mem;
	pid_t pid;

	pid = traced();
	ASSERT_LT(0, pid);
	errno = 0;
	EXPECT_EQ(pattern(self->seed, SZ_2M), ptrace(PTRACE_PEEKDATA, pid, self->map + SZ_2M, 0));
	EXPECT_EQ(0, errno);
	ASSERT_EQ(0, ptrace(PTRACE_POKEDATA, pid, self->map + ODD, odd));
	ASSERT_EQ(8, pread(self->fd, bytes, 8, variant->layout.offset + ODD));
	EXPECT_EQ(0, memcmp(bytes, &odd, 8));

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	mem = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	fill(self->buffer, LENGTH, ~self->seed, 0);
	ASSERT_EQ(LENGTH, pwrite(mem, self->buffer, LENGTH, (uintptr_t)self->map));
	EXPECT_EQ(-1, media_differs(self->fd, variant->layout.offset, LENGTH, ~self->seed));
	fill(self->map, LENGTH, self->seed, 0);
	ASSERT_EQ(LENGTH, pread(mem, self->buffer, LENGTH, (uintptr_t)self->map));
	EXPECT_EQ(-1, differs(self->buffer, LENGTH, self->seed, 0));
	close(mem);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* As for a breakpoint: it may store where the process may not, but never to the media. */
TEST_F(gup, debugger_of_read_only)
{
	char *private = map_skewed(self->fd, LENGTH, variant->layout.offset, variant->layout.skew,
				   PROT_READ, MAP_PRIVATE);
	uint64_t word;
	pid_t pid;

	ASSERT_NE(MAP_FAILED, private);
	ASSERT_EQ(0, mprotect(self->map, LENGTH, PROT_READ));
	EXPECT_EQ(-1, differs(private, LENGTH, self->seed, 0));
	pid = traced();
	ASSERT_LT(0, pid);
	EXPECT_EQ(-1, ptrace(PTRACE_POKEDATA, pid, self->map + SZ_2M, 0));
	EXPECT_EQ(EIO, errno);
	ASSERT_EQ(0, ptrace(PTRACE_POKEDATA, pid, private + SZ_2M, 0x1234));
	EXPECT_EQ(0x1234, ptrace(PTRACE_PEEKDATA, pid, private + SZ_2M, 0));
	word = ptrace(PTRACE_PEEKDATA, pid, private + SZ_2M + 8, 0);
	EXPECT_EQ(pattern(self->seed, SZ_2M + 8), word);
	EXPECT_EQ(-1, media_differs(self->fd, variant->layout.offset, LENGTH, self->seed));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* The pipe has the very pages, also when the mapping is gone and when they were a gift. */
TEST_F(gup, pipe)
{
	const int flags[] = { 0, SPLICE_F_GIFT };
	const off_t start = SZ_2M - SZ_1M / 2;
	int i, pipes[2], file;

	file = memfd_create("gup", MFD_CLOEXEC);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(SZ_1M, fcntl(pipes[1], F_SETPIPE_SZ, SZ_1M));
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		struct iovec vector = { self->map + start, SZ_1M };

		ASSERT_EQ(SZ_1M, vmsplice(pipes[1], &vector, 1, flags[i]));
		ASSERT_EQ(8, pwrite(self->fd, "later on", 8, variant->layout.offset + start));
		ASSERT_EQ(SZ_1M / 2, read(pipes[0], self->buffer, SZ_1M / 2));
		EXPECT_EQ(0, memcmp(self->buffer, "later on", 8));
		EXPECT_EQ(-1, differs(self->buffer + 8, SZ_1M / 2 - 8, self->seed, start + 8));
		if (flags[i])
			munmap(self->map, LENGTH);
		ASSERT_EQ(SZ_1M / 2, splice(pipes[0], NULL, file, NULL, SZ_1M / 2, SPLICE_F_MOVE));
		ASSERT_EQ(SZ_1M / 2, pread(file, self->buffer, SZ_1M / 2, i * SZ_1M / 2));
		EXPECT_EQ(-1, differs(self->buffer, SZ_1M / 2, self->seed, SZ_2M));
	}
	/* The file has a copy. */
	memset(self->buffer, 0, SZ_1M);
	ASSERT_EQ(SZ_1M, pwrite(file, self->buffer, SZ_1M, 0));
	EXPECT_EQ(-1, media_differs(self->fd, variant->layout.offset, start, self->seed));
	ASSERT_EQ(LENGTH, pread(self->fd, self->buffer, LENGTH, variant->layout.offset));
	EXPECT_EQ(-1, differs(self->buffer + SZ_2M, LENGTH - SZ_2M, self->seed, SZ_2M));
	close(file);
}

FIXTURE(direct_io) {
	char *map, *fresh, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(direct_io) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(direct_io, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(direct_io, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(direct_io, mixed) {
	.layout = LAYOUT_MIXED,
};

FIXTURE_SETUP(direct_io)
{
	int disk = open_disk(O_RDONLY);

	if (disk < 0)
		SKIP(return, "no empty /dev/vda");
	close(disk);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->fresh = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->fresh);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	ASSERT_EQ(0, shell("mkfs.ext4 -qF /dev/vda"));
	ASSERT_EQ(0, mount("/dev/vda", FILE_SYSTEM, "ext4", 0, NULL));
}

/* In the parent, which has no file open. */
FIXTURE_TEARDOWN_PARENT(direct_io)
{
	EXPECT_EQ(0, umount(FILE_SYSTEM));
}

/* The disk's device reads and writes the media, without a copy between. */
TEST_F(direct_io, of_a_file)
{
	off_t offset = variant->layout.offset;
	int file;

	file = open(FILE_SYSTEM "/file", O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600);
	ASSERT_LE(0, file);
	fill(self->map, LENGTH, self->seed, 0);
	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
	ASSERT_EQ(LENGTH, pwrite(file, self->map, LENGTH, 0));
	ASSERT_EQ(LENGTH, pread(file, self->buffer, LENGTH, 0));
	EXPECT_EQ(-1, differs(self->buffer, LENGTH, self->seed, 0));

	/* To a mapping that nobody has touched. */
	fill(self->buffer, LENGTH, ~self->seed, 0);
	ASSERT_EQ(LENGTH, pwrite(file, self->buffer, LENGTH, 0));
	ASSERT_EQ(LENGTH, pread(file, self->fresh, LENGTH, 0));
	memset(self->buffer, 0, LENGTH);
	ASSERT_EQ(LENGTH, pread(self->fd, self->buffer, LENGTH, offset));
	EXPECT_EQ(-1, differs(self->buffer, LENGTH, ~self->seed, 0));
	EXPECT_EQ(-1, differs(self->map, LENGTH, ~self->seed, 0));
	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->fresh, LENGTH));

	/* Sectors that cross a 2M boundary, and those around stay as they are. */
	fill(self->buffer, 3 * SZ_4K, self->seed, 0);
	ASSERT_EQ(3 * SZ_4K, pwrite(file, self->buffer, 3 * SZ_4K, 0));
	ASSERT_EQ(2 * SZ_4K, pread(file, self->fresh + SZ_2M - SZ_4K + 512, 2 * SZ_4K, 512));
	ASSERT_EQ(3 * SZ_4K, pread(self->fd, self->buffer, 3 * SZ_4K, offset + SZ_2M - SZ_4K));
	EXPECT_EQ(-1, differs(self->buffer, 512, ~self->seed, SZ_2M - SZ_4K));
	EXPECT_EQ(-1, differs(self->buffer + 512, 2 * SZ_4K, self->seed, 512));
	EXPECT_EQ(-1, differs(self->buffer + 512 + 2 * SZ_4K, SZ_4K - 512, ~self->seed,
			      SZ_2M + SZ_4K + 512));
}

FIXTURE(core) {
	char pattern[128];
	char *shared, *private, *hidden, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(core) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(core, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(core, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(core, mixed) {
	.layout = LAYOUT_MIXED,
};

FIXTURE_SETUP(core)
{
	FILE *file = fopen(CORE_PATTERN, "r");

	ASSERT_NE(NULL, file);
	ASSERT_NE(NULL, fgets(self->pattern, sizeof(self->pattern), file));
	fclose(file);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->shared = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->shared);
	self->hidden = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->hidden);
	self->private = map_skewed(self->fd, LENGTH, variant->layout.offset,
				   variant->layout.skew, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	ASSERT_NE(MAP_FAILED, self->private);
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	ASSERT_EQ(0, write_line(CORE_PATTERN, CORE));
}

FIXTURE_TEARDOWN_PARENT(core)
{
	EXPECT_EQ(0, write_line(CORE_PATTERN, self->pattern));
	unlink(CORE);
}

/* dump() - let a child dump core, with a coredump_filter; the file, or -1 */
static int dump(const char *filter)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	int status;
	pid_t pid;

	unlink(CORE);
	pid = fork();
	if (pid == 0) {
		if (!write_line("/proc/self/coredump_filter", filter) &&
		    !setrlimit(RLIMIT_CORE, &unlimited)) {
			signal(SIGABRT, SIG_DFL);
			abort();
		}
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) ||
	    !WCOREDUMP(status))
		return -1;
	return open(CORE, O_RDONLY | O_CLOEXEC);
}

/*
 * dumped() - read what a core has of LENGTH bytes
 *
 * Returns how many it has; -1 if it does not know of them.
 */
static ssize_t dumped(int core, const char *start, char *buffer)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;
	int i;

	if (pread(core, &header, sizeof(header), 0) != sizeof(header))
		return -1;
	for (i = 0; i < header.e_phnum; i++) {
		if (pread(core, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) !=
		    sizeof(segment))
			return -1;
		if (segment.p_type == PT_LOAD && segment.p_vaddr == (uintptr_t)start &&
		    segment.p_memsz == LENGTH)
			return pread(core, buffer, segment.p_filesz, segment.p_offset);
	}
	return -1;
}

/*
 * A core has a mapping if its bit of coredump_filter is set, bit 7 for private and bit 8
 * for shared ones, which none is by default, whatever the bits for other files are; and it
 * was not taken out with MADV_DONTDUMP.
 */
TEST_F(core, as_filter_says)
{
	const struct {
		const char *filter;
		size_t shared, private;
	} cores[] = {
		{ "0x33", 0, 0 },
		{ "0x7f", 0, 0 },
		{ "0x80", 0, LENGTH },
		{ "0x100", LENGTH, 0 },
	};
	int core, i;

	ASSERT_EQ(0, madvise(self->hidden, LENGTH, MADV_DONTDUMP));
	fill(self->buffer, LENGTH, self->seed, 0);
	ASSERT_EQ(LENGTH, pwrite(self->fd, self->buffer, LENGTH, variant->layout.offset));
	/* One page is a copy, the others are not yet there. */
	fill(self->private + SZ_2M, SZ_4K, ~self->seed, SZ_2M);
	for (i = 0; i < ARRAY_SIZE(cores); i++) {
		core = dump(cores[i].filter);
		ASSERT_LE(0, core) {
			TH_LOG("no core with coredump_filter %s", cores[i].filter);
		}
		memset(self->buffer, 0, LENGTH);
		EXPECT_EQ(0, dumped(core, self->hidden, self->buffer));
		EXPECT_EQ(cores[i].shared, dumped(core, self->shared, self->buffer));
		if (cores[i].shared)
			EXPECT_EQ(-1, differs(self->buffer, LENGTH, self->seed, 0));
		EXPECT_EQ(cores[i].private, dumped(core, self->private, self->buffer));
		if (cores[i].private) {
			EXPECT_EQ(-1, differs(self->buffer, SZ_2M, self->seed, 0));
			EXPECT_EQ(-1, differs(self->buffer + SZ_2M, SZ_4K, ~self->seed, SZ_2M));
			EXPECT_EQ(-1, differs(self->buffer + SZ_2M + SZ_4K,
					      LENGTH - SZ_2M - SZ_4K, self->seed,
					      SZ_2M + SZ_4K));
		}
		close(core);
	}
}

PMEM_DAX_MAIN("namespace0.0")
