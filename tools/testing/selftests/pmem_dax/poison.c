// SPDX-License-Identifier: GPL-2.0
/*
 * Memory that was found bad is not touched again, whoever found it: an access
 * through a mapping gets SIGBUS with the address, a read gets EIO, and a write
 * makes it good again.
 */
#include <poll.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include <liburing.h>

#include "pmem_dax.h"

/* This kind of memory believes that whatever is written becomes good. */
#define NAMESPACE "namespace2.0"
#define LENGTH	(2 * SZ_2M)
#define BAD	(SZ_2M + 5 * SZ_4K)

/* What is lost is a page, in 2M pages too: the others of them are there. */
#define LSB	12

/* by_madvise() - as memory-failure tests do */
static int by_madvise(char *map, off_t offset)
{
	return go_bad(map + offset);
}

/* by_address() - as mcelog does, which has it mapped here */
static int by_address(char *map, off_t offset)
{
	static uint64_t start;
	struct sigaction old;
	char line[32];
	int result;

	start = start ?: namespace_start(NAMESPACE);
	snprintf(line, sizeof(line), "%#" PRIx64 "\n", start + offset);
	listen_for_reports(&old);
	result = write_line("/sys/devices/system/memory/hard_offline_page", line);
	sigaction(SIGBUS, &old, NULL);
	return result;
}

static int bad_blocks(int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	return open(path, flags | O_CLOEXEC);
}

/* by_list() - what is mapped stays so: the driver is not told (block/genhd.c) */
static int by_list(char *map, off_t offset)
{
	char line[32];
	int fd = bad_blocks(O_WRONLY), result;

	memset(&report, 0, sizeof(report));
	snprintf(line, sizeof(line), "%lu 8\n", offset / 512);
	result = write(fd, line, strlen(line)) == strlen(line) ? 0 : -1;
	close(fd);
	return madvise(map + offset, SZ_4K, MADV_DONTNEED) ?: result;
}

/* listed() - the list of bad blocks */
static const char *listed(void)
{
	static char list[256];
	int fd = bad_blocks(O_RDONLY);
	ssize_t length = read(fd, list, sizeof(list) - 1);

	close(fd);
	list[length > 0 ? length : 0] = '\0';
	return list;
}

#define LIST_OF_BAD	"4136 8\n"

FIXTURE(poison) {
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(poison) {
	size_t skew;
	int (*report)(char *map, off_t offset);
	/* Whether the driver is told, and so tells. */
	bool told;
};

FIXTURE_VARIANT_ADD(poison, huge) {
	.skew = 0,
	.report = by_madvise,
	.told = true,
};

FIXTURE_VARIANT_ADD(poison, small) {
	.skew = SZ_4K,
	.report = by_madvise,
	.told = true,
};

FIXTURE_VARIANT_ADD(poison, address) {
	.skew = 0,
	.report = by_address,
	.told = true,
};

FIXTURE_VARIANT_ADD(poison, list) {
	.skew = 0,
	.report = by_list,
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
	ASSERT_STREQ("", listed());
	ASSERT_EQ(0, variant->report(self->map, BAD));
	ASSERT_STREQ(LIST_OF_BAD, listed());
}

FIXTURE_TEARDOWN(poison)
{
	memset(self->buffer, 0, LENGTH);
	pwrite(self->fd, self->buffer, LENGTH, 0);
	close(self->fd);
}

TEST_F(poison, accessed)
{
	char *other = map_shared(self->fd, LENGTH, 0);
	char *private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, other);
	ASSERT_NE(MAP_FAILED, private);
	EXPECT_EQ(LSB, poisoned(self->map + BAD + 100, false));
	EXPECT_EQ(LSB, poisoned(self->map + BAD + SZ_4K - 1, true));
	EXPECT_EQ(LSB, poisoned(other + BAD, true));
	EXPECT_EQ(LSB, poisoned(private + BAD, true));
	EXPECT_EQ(LSB, poisoned(private + BAD + 1, false));
	/* Nothing but that page is lost. */
	EXPECT_EQ(-1, differs(self->map, BAD, self->seed, 0));
	EXPECT_EQ(-1, differs(other, BAD, self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + BAD + SZ_4K, LENGTH - BAD - SZ_4K, self->seed,
			      BAD + SZ_4K));
}

/* Who finds it, or makes as if, is told at once where it is. */
TEST_F(poison, told_at_once)
{
	ASSERT_EQ(variant->told, report.signals);
	if (!variant->told)
		return;
	EXPECT_EQ(BUS_MCEERR_AR, report.code);
	EXPECT_EQ(self->map + BAD, report.address);
	EXPECT_EQ(LSB, report.lsb);
	/* Of each page, and with the address of a mapping that shares it, not of a copy. */
	ASSERT_EQ(0, munmap(self->map, LENGTH));
	self->map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	touch(self->map + BAD + SZ_4K);
	self->map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, variant->report(self->map, BAD + SZ_4K));
	EXPECT_EQ(1, report.signals);
	EXPECT_EQ(self->map + BAD + SZ_4K, report.address);
}

/* struct other - another process that has the page mapped, at an address of its own */
struct other {
	int policy;
	/* Whether it is another thread than the first that asks. */
	bool thread;
	/* Whether it is to be told early. */
	bool early;
	pid_t pid;
	/* What it says is all of a struct seen; what it is told is to say that, by a byte. */
	int says, told;
};

struct seen {
	void *map;
	int signals, code, lsb;
	void *address;
	bool by_thread;
};

static bool by_thread;

static void on_report_of_thread(int signal, siginfo_t *info, void *context)
{
	by_thread = getpid() != gettid();
	on_report(signal, info, context);
}

static void *ask_for_ever(void *data)
{
	struct other *other = data;
	char byte = 0;

	prctl(PR_MCE_KILL, PR_MCE_KILL_SET, other->policy, 0, 0);
	write(other->says, &byte, 1);
	for (;;)
		pause();
	return NULL;
}

static void be_another(struct other *other)
{
	struct sigaction action = { .sa_sigaction = on_report_of_thread, .sa_flags = SA_SIGINFO };
	char *map = map_shared(open_node(), LENGTH, 0);
	struct seen seen = { .map = map };
	pthread_t thread;
	char byte = 0;

	memset(&report, 0, sizeof(report));
	sigaction(SIGBUS, &action, NULL);
	load_byte(map + SZ_2M);
	if (other->thread) {
		pthread_create(&thread, NULL, ask_for_ever, other);
	} else {
		if (other->policy != PR_MCE_KILL_DEFAULT)
			prctl(PR_MCE_KILL, PR_MCE_KILL_SET, other->policy, 0, 0);
		write(other->says, &byte, 1);
	}
	while (read(other->told, &byte, 1) < 0)
		;
	/* The other thread may not have run since. */
	for (int i = 0; i < 1000 && other->early && !report.signals; i++)
		usleep(10000);
	seen.signals = report.signals;
	seen.code = report.code;
	seen.lsb = report.lsb;
	seen.address = report.address;
	seen.by_thread = by_thread;
	write(other->says, &seen, sizeof(seen));
	_exit(0);
}

/* Others are told before they touch it, if they asked for that. */
TEST_F(poison, told_early)
{
	struct other others[] = {
		{ .policy = PR_MCE_KILL_EARLY },
		{ .policy = PR_MCE_KILL_EARLY, .thread = true },
		{ .policy = PR_MCE_KILL_LATE },
		{ .policy = PR_MCE_KILL_DEFAULT },
	};
	off_t bad = BAD + 3 * SZ_4K;
	int pipes[2][2], status;
	struct seen seen;
	unsigned int i;
	char byte = 0;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		others[i].early = variant->told && others[i].policy == PR_MCE_KILL_EARLY;
		ASSERT_EQ(0, pipe(pipes[0]));
		ASSERT_EQ(0, pipe(pipes[1]));
		fflush(NULL);
		others[i].pid = fork();
		ASSERT_LE(0, others[i].pid);
		if (others[i].pid == 0) {
			others[i].says = pipes[0][1];
			others[i].told = pipes[1][0];
			munmap(self->map, LENGTH);
			be_another(&others[i]);
		}
		others[i].says = pipes[0][0];
		others[i].told = pipes[1][1];
		ASSERT_EQ(1, read(others[i].says, &byte, 1));
	}
	ASSERT_EQ(0, variant->report(self->map, bad));
	EXPECT_EQ(variant->told, report.signals);
	for (i = 0; i < ARRAY_SIZE(others); i++) {
		ASSERT_EQ(1, write(others[i].told, &byte, 1));
		ASSERT_EQ(sizeof(seen), read(others[i].says, &seen, sizeof(seen)));
		EXPECT_EQ(others[i].early, seen.signals);
		if (others[i].early) {
			EXPECT_EQ(BUS_MCEERR_AO, seen.code);
			EXPECT_EQ(seen.map + bad, seen.address);
			EXPECT_EQ(LSB, seen.lsb);
			EXPECT_EQ(others[i].thread, seen.by_thread);
		}
		ASSERT_EQ(others[i].pid, waitpid(others[i].pid, &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* What is mapped along with the pages that somebody goes through is never the bad one. */
TEST_F(poison, in_order)
{
	char *map = map_skewed(self->fd, LENGTH, 0, variant->skew, PROT_READ | PROT_WRITE,
			       MAP_SHARED);
	off_t offset;

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, madvise(map, LENGTH, MADV_NOHUGEPAGE));
	for (offset = SZ_2M; offset < BAD; offset += SZ_4K)
		load_byte(map + offset);
	EXPECT_EQ(0, physical(map + BAD));
	EXPECT_EQ(LSB, poisoned(map + BAD, false));
	for (offset = BAD + SZ_4K; offset < LENGTH; offset += SZ_4K)
		load_byte(map + offset);
	EXPECT_EQ(0, physical(map + BAD));
	EXPECT_EQ(LSB, poisoned(map + BAD, true));
}

/* One that had the page mapped when it went bad, and one that comes later. */
TEST_F(poison, other_processes)
{
	int i, status;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (pid == 0) {
			char *map = self->map;

			if (i) {
				munmap(self->map, LENGTH);
				close(self->fd);
				map = map_shared(open_node(), LENGTH, 0);
			}
			_exit(poisoned(map + BAD + i, i) != LSB ||
			      bus_code(map + BAD - 1, i) || bus_code(map + BAD + SZ_4K, i));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* The kernel, for a process, gets no further than that. */
TEST_F(poison, system_calls)
{
	struct iovec here = { self->buffer, 3 * SZ_4K };
	struct iovec there = { self->map + BAD - SZ_4K, 3 * SZ_4K };
	int file = memfd_create("poison", MFD_CLOEXEC), disk = open_disk(O_RDWR | O_DIRECT);
	struct io_uring ring;

	EXPECT_EQ(SZ_4K, process_vm_readv(getpid(), &here, 1, &there, 1, 0));
	EXPECT_EQ(-1, differs(self->buffer, SZ_4K, self->seed, BAD - SZ_4K));
	EXPECT_EQ(SZ_4K, process_vm_writev(getpid(), &here, 1, &there, 1, 0));
	EXPECT_EQ(SZ_4K, pwrite(file, there.iov_base, 3 * SZ_4K, 0));
	EXPECT_EQ(-1, pwrite(file, self->map + BAD, SZ_4K, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(file, self->map + BAD, SZ_4K, 0));
	EXPECT_EQ(EFAULT, errno);
	/* From itself to itself. */
	EXPECT_EQ(-1, pwrite(self->fd, self->map + BAD, SZ_4K, 0));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_LE(0, disk);
	EXPECT_EQ(-1, pwrite(disk, self->map + BAD, SZ_4K, 0));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_EQ(-1, pread(disk, self->map + BAD, SZ_4K, 0));
	EXPECT_EQ(EFAULT, errno);
	ASSERT_EQ(0, io_uring_queue_init(1, &ring, 0));
	EXPECT_EQ(-EFAULT, io_uring_register_buffers(&ring, &there, 1));
	there.iov_len = SZ_4K;
	EXPECT_EQ(0, io_uring_register_buffers(&ring, &there, 1));
	io_uring_queue_exit(&ring);
	EXPECT_EQ(-1, mlock(self->map + BAD, SZ_4K));
	EXPECT_EQ(-1, madvise(self->map + BAD, SZ_4K, MADV_POPULATE_READ));
	EXPECT_EQ(EHWPOISON, errno);
	close(disk);
	close(file);
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
	EXPECT_EQ(-1, differs(self->buffer, SZ_4K, self->seed, BAD + SZ_4K));
}

TEST_F(poison, written)
{
	/* A sector that is written in part is not made good. */
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer, 100, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer, SZ_4K + 511, BAD - 512));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer, SZ_4K, BAD + 1));
	EXPECT_EQ(EIO, errno);
	EXPECT_STREQ(LIST_OF_BAD, listed());
	EXPECT_EQ(LSB, poisoned(self->map + BAD, false));
	/* Nor was anything else of it written. */
	EXPECT_EQ(-1, differs(self->map, BAD, self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + BAD + SZ_4K, SZ_4K, self->seed, BAD + SZ_4K));

	fill(self->buffer, SZ_4K, ~self->seed, 0);
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, BAD));
	EXPECT_STREQ("", listed());
	EXPECT_EQ(0, bus_code(self->map + BAD, true));
	EXPECT_EQ(-1, differs(self->map + BAD, SZ_4K, ~self->seed, 0));
	ASSERT_EQ(SZ_4K, pread(self->fd, self->buffer, SZ_4K, BAD));
	EXPECT_EQ(-1, differs(self->buffer, SZ_4K, ~self->seed, 0));
}

/* What is good may be written in part. */
TEST_F(poison, written_with_parts_of_neighbours)
{
	fill(self->buffer, 3 * SZ_4K, ~self->seed, BAD - SZ_4K);
	ASSERT_EQ(2 * SZ_4K + 8, pwrite(self->fd, self->buffer + 8, 2 * SZ_4K + 8,
					BAD - SZ_4K + 8));
	EXPECT_STREQ("", listed());
	EXPECT_EQ(-1, differs(self->map, BAD - SZ_4K + 8, self->seed, 0));
	EXPECT_EQ(-1, differs(self->map + BAD - SZ_4K + 8, 2 * SZ_4K + 8, ~self->seed,
			      BAD - SZ_4K + 8));
	EXPECT_EQ(-1, differs(self->map + BAD + SZ_4K + 16, SZ_4K - 16, self->seed,
			      BAD + SZ_4K + 16));
}

/* Sector by sector: the page is as good as new after the last one, and not before. */
TEST_F(poison, written_in_pieces)
{
	char *private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);
	int i;

	ASSERT_NE(MAP_FAILED, private);
	fill(self->buffer, SZ_4K, ~self->seed, 0);
	for (i = 0; i < 8; i++) {
		EXPECT_EQ(LSB, poisoned(self->map + BAD, true));
		EXPECT_EQ(LSB, poisoned(private + BAD, true));
		EXPECT_EQ(-1, pread(self->fd, self->buffer + SZ_4K, 1, BAD + i * 512 + 511));
		ASSERT_EQ(512, pwrite(self->fd, self->buffer + i * 512, 512, BAD + i * 512));
		EXPECT_EQ(1, pread(self->fd, self->buffer + SZ_4K, 1, BAD + i * 512 + 511));
	}
	EXPECT_STREQ("", listed());
	EXPECT_EQ(0, bus_code(private + BAD, true));
	EXPECT_EQ(0, bus_code(self->map + BAD, true));
	EXPECT_EQ(-1, differs(private + BAD, SZ_4K, ~self->seed, 0));
}

/* What was not written, since the caller's memory ended, is not good either. */
TEST_F(poison, written_half)
{
	ASSERT_EQ(0, variant->report(self->map, BAD + SZ_4K));
	ASSERT_EQ(0, mprotect(self->buffer + SZ_4K, SZ_4K, PROT_NONE));
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer + SZ_4K, SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_STREQ("4136 16\n", listed());
	fill(self->buffer, SZ_4K, ~self->seed, 0);
	/* What ends within a bad sector does not heal it: it could not be read then. */
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer + SZ_4K - 100, SZ_4K, BAD));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_STREQ("4136 16\n", listed());
	ASSERT_EQ(512, pwrite(self->fd, self->buffer + SZ_4K - 1000, SZ_4K, BAD));
	EXPECT_STREQ("4137 15\n", listed());
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, 2 * SZ_4K, BAD));
	ASSERT_EQ(0, mprotect(self->buffer + SZ_4K, SZ_4K, PROT_READ | PROT_WRITE));
	EXPECT_STREQ("4144 8\n", listed());
	EXPECT_EQ(-1, differs(self->map + BAD, SZ_4K, ~self->seed, 0));
	EXPECT_EQ(LSB, poisoned(self->map + BAD + SZ_4K, false));
	EXPECT_EQ(-1, pread(self->fd, self->buffer, 1, BAD + SZ_4K));
	EXPECT_EQ(EIO, errno);
}

/* A sector whose second half was taken away when the first one was written is written whole. */
TEST_F(poison, written_while_taken_away)
{
	struct taken taken = { .memory = self->buffer + 2 * SZ_4K, .length = SZ_4K };
	char *from = self->buffer + SZ_4K + 104;
	pthread_t thread;
	int i;

	memset(self->buffer, 0, LENGTH);
	fill(self->buffer + SZ_4K, SZ_4K, ~self->seed, 0);
	ASSERT_EQ(0, pthread_create(&thread, NULL, take_memory, &taken));
	for (i = 0; i < 20; i++) {
		ASSERT_EQ(SZ_4K, pwrite(self->fd, from, SZ_4K, BAD));
		ASSERT_STREQ("", listed());
		ASSERT_EQ(-1, differs(self->map + BAD, SZ_4K - 104, ~self->seed, 104));
		ASSERT_EQ(0, variant->report(self->map, BAD));
		ASSERT_STREQ(LIST_OF_BAD, listed());
	}
	__atomic_store_n(&taken.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
}

/* Large pages come back: to new mappings, and to old ones that let go of their page tables. */
TEST_F(poison, large_pages)
{
	char *map = map_shared(self->fd, LENGTH, 0);
	size_t i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < LENGTH; i += SZ_4K)
		if (i != BAD)
			touch(map + i);
	EXPECT_EQ(SZ_2M, huge_bytes(map, LENGTH));
	EXPECT_EQ(LENGTH - SZ_4K, present_bytes(map, LENGTH));
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, BAD));
	touch(map + BAD);
	EXPECT_EQ(LENGTH, present_bytes(map, LENGTH));
	ASSERT_EQ(0, madvise(map, LENGTH, MADV_DONTNEED));
	touch(map);
	touch(map + BAD);
	EXPECT_EQ(LENGTH, huge_bytes(map, LENGTH));
	munmap(map, LENGTH);

	map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	touch(map + BAD);
	EXPECT_EQ(LENGTH, huge_bytes(map, LENGTH));
}

/* Who waits for changes of the list is told of each that the driver makes. */
TEST_F(poison, polled)
{
	struct pollfd list = { .fd = bad_blocks(O_RDONLY), .events = POLLPRI };
	char text[64];

	ASSERT_LE(0, list.fd);
	/* What is read was told. */
	ASSERT_LT(0, pread(list.fd, text, sizeof(text), 0));
	EXPECT_EQ(0, poll(&list, 1, 0));
	ASSERT_EQ(0, by_madvise(self->map, 0));
	EXPECT_EQ(1, poll(&list, 1, 0));
	ASSERT_LT(0, pread(list.fd, text, sizeof(text), 0));
	EXPECT_EQ(0, poll(&list, 1, 0));
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, 0));
	EXPECT_EQ(1, poll(&list, 1, 0));
	close(list.fd);
}

/*
 * What the list has no room for is not looked at before an access. So the kernel must go on to
 * map it for itself, which it does if its caller gets an error, and nothing changes.
 */
TEST_F(poison, no_room)
{
	off_t there = BAD + 8 * SZ_4K;
	int list = bad_blocks(O_WRONLY), i;
	char line[32];

	for (i = 0; i < 511; i++) {
		snprintf(line, sizeof(line), "%d 1\n", 2 * i);
		ASSERT_EQ(strlen(line), write(list, line, strlen(line)));
	}
	EXPECT_EQ(-1, by_madvise(self->map, there));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, differs(self->map + there, SZ_4K, self->seed, there));
	self->map[there] ^= 1;
	EXPECT_EQ(0, msync(self->map, LENGTH, MS_SYNC));
	ASSERT_EQ(1, pread(self->fd, self->buffer, 1, there));
	EXPECT_EQ(self->map[there], self->buffer[0]);
	fill(self->buffer, SZ_4K, ~self->seed, 0);
	EXPECT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, there));
	/* The same again, as it is not known. */
	EXPECT_EQ(-1, by_madvise(self->map, there));
	EXPECT_EQ(ENOSPC, errno);
	EXPECT_EQ(-1, differs(self->map + there, SZ_4K, ~self->seed, 0));
	/* What was in the list is so still, and a write makes room. */
	EXPECT_EQ(LSB, poisoned(self->map + BAD, false));
	memset(self->buffer, 0, SZ_4K);
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, 0));
	EXPECT_EQ(0, by_madvise(self->map, there));
	EXPECT_EQ(LSB, poisoned(self->map + there, false));
	close(list);
}

PMEM_DAX_MAIN(NAMESPACE)
