// SPDX-License-Identifier: GPL-2.0
/*
 * A read or write that is under way while its partition shrinks does not reach what is cut
 * off. Once BLKPG has returned, that can be another partition's.
 */
#include <linux/blkpg.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>

#include "pmem_dax.h"

/* This kind of memory believes that whatever is written becomes good. */
#define NAMESPACE	"namespace2.0"

/* The partition. */
#define START	SZ_1M
#define SIZE	(56 * SZ_1M)

/* What was there, what the calls have, and what the next partition gets. */
#define OLD	'o'
#define CALLS	'c'
#define NEXT	'n'

/* The partition, of which @cut bytes are cut off, and another one of these. */
struct parts {
	int disk, part, next;
	size_t cut;
	char *buffer;
};

static int blkpg(int disk, int op, int number, off_t start, size_t size)
{
	struct blkpg_partition part = { .start = start, .length = size, .pno = number };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };

	return ioctl(disk, BLKPG, &arg);
}

static int open_part(int number, int flags)
{
	char path[80];

	snprintf(path, sizeof(path), "%sp%d", node, number);
	return open(path, O_RDWR | O_CLOEXEC | flags);
}

/* put_back() - what was cut off is the first partition's again, and OLD */
static bool put_back(struct parts *parts)
{
	off_t cut = START + SIZE - parts->cut;

	if (parts->next >= 0 &&
	    (close(parts->next) || blkpg(parts->disk, BLKPG_DEL_PARTITION, 2, 0, 0)))
		return false;
	parts->next = -1;
	/* Before the first partition has it: what the other one had is not for its readers. */
	memset(parts->buffer, OLD, parts->cut);
	return pwrite(parts->disk, parts->buffer, parts->cut, cut) == parts->cut &&
	       !blkpg(parts->disk, BLKPG_RESIZE_PARTITION, 1, START, SIZE);
}

/* make_parts() - of which @cut bytes will be cut off; the first one is opened with @flags */
static bool make_parts(struct parts *parts, size_t cut, int flags)
{
	*parts = (struct parts){
		.disk = open_node(), .part = -1, .next = -1, .cut = cut,
		.buffer = aligned_alloc(SZ_4K, cut),
	};
	if (parts->disk < 0 || !parts->buffer ||
	    blkpg(parts->disk, BLKPG_ADD_PARTITION, 1, START, SIZE) || !put_back(parts))
		return false;
	parts->part = open_part(1, flags);
	return parts->part >= 0;
}

static bool remove_parts(struct parts *parts)
{
	bool removed;

	close(parts->part);
	close(parts->next);
	removed = !blkpg(parts->disk, BLKPG_DEL_PARTITION, 1, 0, 0) &&
		  (parts->next < 0 || !blkpg(parts->disk, BLKPG_DEL_PARTITION, 2, 0, 0));
	close(parts->disk);
	free(parts->buffer);
	return removed;
}

/* cut_off() - make it the next partition's, and NEXT */
static bool cut_off(struct parts *parts)
{
	off_t end = SIZE - parts->cut;

	memset(parts->buffer, NEXT, parts->cut);
	if (blkpg(parts->disk, BLKPG_RESIZE_PARTITION, 1, START, end) ||
	    blkpg(parts->disk, BLKPG_ADD_PARTITION, 2, START + end, parts->cut))
		return false;
	parts->next = open_part(2, 0);
	return pwrite(parts->next, parts->buffer, parts->cut, 0) == parts->cut;
}

static bool all(const char *buffer, char value, size_t length)
{
	return buffer[0] == value && !memcmp(buffer, buffer + 1, length - 1);
}

/* is_untouched() - whether the next partition has what it got */
static bool is_untouched(struct parts *parts)
{
	return pread(parts->next, parts->buffer, parts->cut, 0) == parts->cut &&
	       all(parts->buffer, NEXT, parts->cut);
}

/* list() - list a page of the partition as bad */
static bool list(off_t offset)
{
	char path[128], line[32];

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	snprintf(line, sizeof(line), "%lu 8\n", (START + offset) / 512);
	return !write_line(path, line);
}

/* A call that waits for the second of two pages of its caller's memory. */
FIXTURE(late) {
	struct parts parts;
	pthread_t thread;
	char *memory;
	int uffd;
	bool write;
	ssize_t done;
};

FIXTURE_VARIANT(late) {
	bool write;
	off_t bad;
};

FIXTURE_VARIANT_ADD(late, write) {
	.write = true,
};

/* Bad memory, which is kept or cut off, is written to in a way of its own. */
FIXTURE_VARIANT_ADD(late, write_kept_bad) {
	.write = true,
	.bad = SIZE - 2 * SZ_4K,
};

FIXTURE_VARIANT_ADD(late, write_cut_bad) {
	.write = true,
	.bad = SIZE - SZ_4K,
};

FIXTURE_VARIANT_ADD(late, read) {
	.write = false,
};

FIXTURE_SETUP(late)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	ASSERT_TRUE(make_parts(&self->parts, SZ_4K, 0));
	self->memory = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	ASSERT_NE(MAP_FAILED, self->memory);
	memset(self->memory, CALLS, SZ_4K);
	self->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	area.range.start = (uintptr_t)self->memory;
	area.range.len = 2 * SZ_4K;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_API, &api));
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_REGISTER, &area));
	self->write = variant->write;
	if (variant->bad)
		ASSERT_TRUE(list(variant->bad));
}

FIXTURE_TEARDOWN(late)
{
	EXPECT_TRUE(remove_parts(&self->parts));
}

static void *call_late(void *argument)
{
	FIXTURE_DATA(late) *self = argument;
	off_t offset = SIZE - 2 * SZ_4K;

	self->done = self->write ? pwrite(self->parts.part, self->memory, 2 * SZ_4K, offset) :
				   pread(self->parts.part, self->memory, 2 * SZ_4K, offset);
	return NULL;
}

TEST_F(late, stays_inside)
{
	struct pollfd waits = { .fd = self->uffd, .events = POLLIN };
	struct uffdio_copy copy = { .dst = (uintptr_t)self->memory + SZ_4K, .len = SZ_4K };

	ASSERT_EQ(0, pthread_create(&self->thread, NULL, call_late, self));
	ASSERT_EQ(1, poll(&waits, 1, 20000));
	/* Who is in a call has it open. */
	EXPECT_EQ(-1, blkpg(self->parts.disk, BLKPG_DEL_PARTITION, 1, 0, 0));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_TRUE(cut_off(&self->parts));
	copy.src = (uintptr_t)self->memory;
	ASSERT_EQ(0, ioctl(self->uffd, UFFDIO_COPY, &copy));
	ASSERT_EQ(0, pthread_join(self->thread, NULL));
	if (self->write) {
		EXPECT_EQ(SZ_4K, self->done);
	} else {
		/* With the last sector of it the call waited. */
		EXPECT_EQ(SZ_4K + 512, self->done);
		EXPECT_TRUE(all(self->memory + SZ_4K, OLD, 512));
		EXPECT_EQ(NULL, memchr(self->memory, NEXT, 2 * SZ_4K));
	}
	EXPECT_TRUE(is_untouched(&self->parts));
}

/* Calls that are made all the time, by a thread. */
struct caller {
	int fd;
	size_t length;
	off_t offset;
	char *memory;
	int pipe[2];
	unsigned long calls;
	bool stop, saw_next;
};

static void do_write(struct caller *caller)
{
	pwrite(caller->fd, caller->memory, caller->length, caller->offset);
}

static void do_read(struct caller *caller)
{
	ssize_t done = pread(caller->fd, caller->memory, caller->length, caller->offset);

	if (done > 0 && memchr(caller->memory, NEXT, done))
		caller->saw_next = true;
}

static void do_zero(struct caller *caller)
{
	uint64_t range[2] = { caller->offset, caller->length };

	ioctl(caller->fd, BLKZEROOUT, range);
}

/* The first page of it, which is not cut off, is bad each time. */
static void do_heal(struct caller *caller)
{
	list(caller->offset);
	do_write(caller);
}

#define PIPE	0x10000UL

static void do_splice_write(struct caller *caller)
{
	loff_t offset = caller->offset, end = offset + caller->length;

	while (offset < end && write(caller->pipe[1], caller->memory, PIPE) == PIPE)
		if (splice(caller->pipe[0], NULL, caller->fd, &offset, PIPE, 0) != PIPE)
			break;
	/* The rest of the last one. */
	fcntl(caller->pipe[0], F_SETFL, O_NONBLOCK);
	while (read(caller->pipe[0], caller->memory + PIPE, PIPE) > 0)
		;
	fcntl(caller->pipe[0], F_SETFL, 0);
}

static void do_splice_read(struct caller *caller)
{
	loff_t offset = caller->offset, end = offset + caller->length;
	ssize_t done;

	while (offset < end) {
		done = splice(caller->fd, &offset, caller->pipe[1], NULL, PIPE, 0);
		if (done <= 0 || read(caller->pipe[0], caller->memory, done) != done)
			break;
		if (memchr(caller->memory, NEXT, done))
			caller->saw_next = true;
	}
}

/*
 * What is called while the partition is cut, and put back. Where somebody has the partition
 * alone, the calls of others with O_DIRECT are bios.
 */
FIXTURE(calls) {
	struct parts parts;
	struct caller caller;
	pthread_t thread;
	int holder;
};

FIXTURE_VARIANT(calls) {
	void (*call)(struct caller *caller);
	bool bios;
};

FIXTURE_VARIANT_ADD(calls, write) {
	.call = do_write,
};

FIXTURE_VARIANT_ADD(calls, read) {
	.call = do_read,
};

FIXTURE_VARIANT_ADD(calls, heal) {
	.call = do_heal,
};

FIXTURE_VARIANT_ADD(calls, zero) {
	.call = do_zero,
};

FIXTURE_VARIANT_ADD(calls, splice_write) {
	.call = do_splice_write,
};

FIXTURE_VARIANT_ADD(calls, splice_read) {
	.call = do_splice_read,
};

FIXTURE_VARIANT_ADD(calls, write_by_bios) {
	.call = do_write,
	.bios = true,
};

FIXTURE_VARIANT_ADD(calls, read_by_bios) {
	.call = do_read,
	.bios = true,
};

#define CUT	(32 * SZ_1M)
#define ROUNDS	6

FIXTURE_SETUP(calls)
{
	struct caller *caller = &self->caller;

	ASSERT_TRUE(make_parts(&self->parts, CUT, variant->bios ? O_DIRECT : 0));
	self->holder = variant->bios ? open_part(1, O_EXCL) : -1;
	ASSERT_EQ(variant->bios, self->holder >= 0);
	*caller = (struct caller){
		.fd = self->parts.part,
		.length = CUT + SZ_4K,
		.offset = SIZE - CUT - SZ_4K,
		.memory = aligned_alloc(SZ_4K, CUT + SZ_4K),
	};
	ASSERT_NE(NULL, caller->memory);
	memset(caller->memory, CALLS, caller->length);
	ASSERT_EQ(0, pipe(caller->pipe));
}

FIXTURE_TEARDOWN(calls)
{
	close(self->holder);
	EXPECT_TRUE(remove_parts(&self->parts));
}

struct work {
	struct caller *caller;
	void (*call)(struct caller *caller);
};

static void *call_on(void *argument)
{
	struct work *work = argument;

	while (!__atomic_load_n(&work->caller->stop, __ATOMIC_SEQ_CST)) {
		work->call(work->caller);
		__atomic_add_fetch(&work->caller->calls, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* wait_for_calls() - until @count of them are over */
static bool wait_for_calls(struct caller *caller, unsigned long count)
{
	unsigned long end = __atomic_load_n(&caller->calls, __ATOMIC_SEQ_CST) + count;
	int i;

	for (i = 0; i < 20000 && __atomic_load_n(&caller->calls, __ATOMIC_SEQ_CST) < end; i++)
		usleep(1000);
	return __atomic_load_n(&caller->calls, __ATOMIC_SEQ_CST) >= end;
}

TEST_F_TIMEOUT(calls, stay_inside, 120)
{
	struct work work = { &self->caller, variant->call };
	int i;

	ASSERT_EQ(0, pthread_create(&self->thread, NULL, call_on, &work));
	for (i = 0; i < ROUNDS; i++) {
		EXPECT_TRUE(wait_for_calls(&self->caller, 1));
		ASSERT_TRUE(cut_off(&self->parts));
		/* That which was under way, and one after it. */
		EXPECT_TRUE(wait_for_calls(&self->caller, 2));
		EXPECT_TRUE(is_untouched(&self->parts)) TH_LOG("round %d", i);
		ASSERT_TRUE(put_back(&self->parts));
	}
	__atomic_store_n(&self->caller.stop, true, __ATOMIC_SEQ_CST);
	ASSERT_EQ(0, pthread_join(self->thread, NULL));
	EXPECT_FALSE(self->caller.saw_next);
}

/* A bio that the block layer has wait, after it looked at the end: for a limit of a cgroup. */
FIXTURE(throttled) {
	struct parts parts;
	struct caller caller;
	int holder;
};

FIXTURE_VARIANT(throttled) {
	void (*call)(struct caller *caller);
};

FIXTURE_VARIANT_ADD(throttled, zero) {
	.call = do_zero,
};

FIXTURE_VARIANT_ADD(throttled, write) {
	.call = do_write,
};

FIXTURE_VARIANT_ADD(throttled, read) {
	.call = do_read,
};

#define CGROUP	"/run/cgroup/shrink/"

/* limit() - the bytes in a second of the disk's bios */
static int limit(const char *bytes)
{
	char line[80];
	struct stat disk;

	if (stat(node, &disk))
		return -1;
	snprintf(line, sizeof(line), "%u:%u rbps=%s wbps=%s", major(disk.st_rdev),
		 minor(disk.st_rdev), bytes, bytes);
	return write_line(CGROUP "io.max", line);
}

FIXTURE_SETUP(throttled)
{
	ASSERT_EQ(0, shell("mkdir -p /run/cgroup && mount -t cgroup2 none /run/cgroup"));
	ASSERT_EQ(0, write_line("/run/cgroup/cgroup.subtree_control", "+io"));
	ASSERT_EQ(0, mkdir(CGROUP, 0700));
	ASSERT_TRUE(make_parts(&self->parts, SZ_1M, O_DIRECT));
	self->holder = open_part(1, O_EXCL);
	ASSERT_LE(0, self->holder);
	self->caller = (struct caller){
		.fd = self->parts.part,
		.length = SZ_1M,
		.offset = SIZE - SZ_1M,
		.memory = aligned_alloc(SZ_4K, SZ_1M),
	};
	ASSERT_NE(NULL, self->caller.memory);
	memset(self->caller.memory, CALLS, SZ_1M);
	ASSERT_EQ(0, limit("4096"));
}

FIXTURE_TEARDOWN(throttled)
{
	limit("max");
	close(self->holder);
	EXPECT_TRUE(remove_parts(&self->parts));
	EXPECT_EQ(0, shell("rmdir " CGROUP " && umount /run/cgroup"));
}

/* is_waiting() - whether a process waits for something that signals do not end */
static bool is_waiting(pid_t pid)
{
	char path[64], line[256];

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	return read_line(path, line, sizeof(line)) && strstr(line, ") D ");
}

TEST_F(throttled, stays_inside)
{
	int status, tries, i = 0;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (write_line(CGROUP "cgroup.procs", "0"))
			_exit(2);
		variant->call(&self->caller);
		_exit(self->caller.saw_next);
	}
	/* For a moment it may wait for something else. */
	for (tries = 0; tries < 1000 && i < 20; tries++) {
		usleep(10000);
		i = is_waiting(pid) ? i + 1 : 0;
	}
	EXPECT_TRUE(cut_off(&self->parts));
	EXPECT_TRUE(is_waiting(pid));
	EXPECT_EQ(0, limit("max"));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_TRUE(is_untouched(&self->parts));
	EXPECT_EQ(0, shell("dmesg | grep -q \"past the end that partition 1 has now\""));
}

PMEM_DAX_MAIN(NAMESPACE)
