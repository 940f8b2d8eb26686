// SPDX-License-Identifier: GPL-2.0
/*
 * Nobody, with a file of the node, cannot fill the log of the kernel: 10,000 calls that the
 * driver refuses and has something to say of leave as many lines as its limit lets pass, ten
 * in five seconds for each device.
 *
 * What touches bad memory through a mapping is not among them: there the kernel has a line of
 * its own for each SIGBUS (arch/x86/mm/fault.c: do_sigbus), whoever's memory it is.
 */
#include "pmem_dax.h"

/* Fewer where all is slow. */
#ifdef PMEM_DAX_TIMEOUT
#define CALLS	1000
#else
#define CALLS	10000
#endif
#define NOBODY	65534

/* log_lines() - that were written since the last call; errors are not lines */
static int log_lines(int log)
{
	char record[8192];
	int lines = 0;

	for (;;) {
		if (read(log, record, sizeof(record)) > 0)
			lines++;
		else if (errno == EPIPE)
			/* So many that some are gone already. */
			lines += 1000;
		else
			return lines;
	}
}

/* A call of each kind that the driver refuses, and says why. */
static void past_the_end(int fd)
{
	mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, 1L << 40);
}

static void too_far(int fd)
{
	mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, INT64_MAX - SZ_2M + 1);
}

/* Up there is no address that a process can have. */
static void too_high(int fd)
{
	unsigned long address = 1UL << 63;

	mmap((void *)address, SZ_4K, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	mmap((void *)-SZ_4K, SZ_4K, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	mmap((void *)-SZ_2M, SZ_2M, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, SZ_4K);
	mmap((void *)address, SZ_2M, PROT_READ, MAP_SHARED, fd, SZ_4K);
}

/* Calls of all kinds that are wrong somehow. */
static void wrong(int fd)
{
	const off_t offsets[] = { -1, INT64_MIN, INT64_MAX, 1L << 40, 1 };
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	static char buffer[512];
	int pipes[2], i;

	for (i = 0; i < ARRAY_SIZE(offsets); i++) {
		pread(fd, buffer, sizeof(buffer), offsets[i]);
		pread(fd, (void *)SZ_4K, sizeof(buffer), offsets[i]);
		pwrite(fd, (void *)SZ_4K, sizeof(buffer), offsets[i]);
		fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offsets[i], SZ_4K);
		sync_file_range(fd, offsets[i], SZ_4K, SYNC_FILE_RANGE_WRITE);
		posix_fadvise(fd, offsets[i], SZ_4K, POSIX_FADV_DONTNEED);
		mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, offsets[i]);
		mmap(NULL, SIZE_MAX & ~(SZ_4K - 1), PROT_READ, MAP_SHARED, fd, offsets[i]);
	}
	for (i = 0; i < 256; i++)
		ioctl(fd, _IO(0x12, i), (void *)SZ_4K);
	if (map == MAP_FAILED)
		return;
	for (i = 0; i < 32; i++)
		madvise(map, SZ_2M, i);
	mprotect(map, SZ_4K, PROT_READ | PROT_GROWSDOWN);
	mremap(map, SZ_2M, 2 * SZ_2M, 0);
	mremap(map, 0, SZ_2M, MREMAP_MAYMOVE);
	mremap(map, SZ_2M, SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED, 1UL << 63);
	msync(map, SZ_2M, MS_SYNC | MS_ASYNC);
	if (!pipe(pipes)) {
		splice(fd, NULL, pipes[1], NULL, SZ_4K, SPLICE_F_NONBLOCK);
		splice(pipes[0], NULL, fd, NULL, SZ_4K, SPLICE_F_NONBLOCK);
		close(pipes[0]);
		close(pipes[1]);
	}
	munmap(map, SZ_2M);
}

static void held(int fd)
{
	mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED, fd, 0);
}

static void synchronous(int fd)
{
	mmap(NULL, SZ_4K, PROT_READ, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
}

static void no_flush(int fd)
{
	char *map = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map != MAP_FAILED) {
		touch(map);
		msync(map, SZ_4K, MS_SYNC);
		munmap(map, SZ_4K);
	}
	fsync(fd);
}

/* With nobody else who has it open. */
static void last_close(int fd)
{
	fd = open_node();
	no_flush(fd);
	close(fd);
}

static void bad_memory(int fd)
{
	static char buffer[SZ_4K];

	if (pread(fd, buffer, sizeof(buffer), 4 * SZ_1M) >= 0 ||
	    pwrite(fd, buffer, 512, 4 * SZ_1M + 512) >= 0)
		_exit(2);
}

FIXTURE(attack_log) {
	int log, fd, holder;
	time_t start;
};

FIXTURE_VARIANT(attack_log) {
	const char *namespace;
	void (*call)(int fd);
	bool hold, bad, close;
	/* If not CALLS: those that take long. */
	int calls;
};

FIXTURE_VARIANT_ADD(attack_log, past_the_end) {
	.namespace = "namespace0.0", .call = past_the_end,
};

FIXTURE_VARIANT_ADD(attack_log, too_far) {
	.namespace = "namespace0.0", .call = too_far,
};

FIXTURE_VARIANT_ADD(attack_log, too_high) {
	.namespace = "namespace0.0", .call = too_high,
};

FIXTURE_VARIANT_ADD(attack_log, wrong) {
	.namespace = "namespace0.0", .call = wrong, .calls = 100,
};

FIXTURE_VARIANT_ADD(attack_log, held) {
	.namespace = "namespace0.0", .call = held, .hold = true,
};

FIXTURE_VARIANT_ADD(attack_log, bad_memory) {
	.namespace = "namespace0.0", .call = bad_memory, .bad = true,
};

FIXTURE_VARIANT_ADD(attack_log, synchronous) {
	.namespace = "namespace5.0", .call = synchronous,
};

FIXTURE_VARIANT_ADD(attack_log, no_flush) {
	.namespace = "namespace5.0", .call = no_flush, .calls = 1000,
};

FIXTURE_VARIANT_ADD(attack_log, last_close) {
	.namespace = "namespace5.0", .call = last_close, .close = true, .calls = 1000,
};

FIXTURE_SETUP(attack_log)
{
	char command[64];

	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	ASSERT_EQ(0, shell_line(node, sizeof(node), command));
	self->fd = variant->close ? -1 : open_node();
	ASSERT_EQ(variant->close, self->fd < 0);
	if (variant->close)
		ASSERT_EQ(0, chmod(node, 0666));
	self->holder = variant->hold ? open(node, O_RDONLY | O_EXCL) : -1;
	if (variant->bad)
		ASSERT_EQ(0, shell("echo 8192 8 >/sys/class/block/%s/badblocks",
				   node + strlen("/dev/")));
	/* What was said before is not counted: neither here nor by the limit. */
	sleep(6);
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	ASSERT_LE(0, self->log);
	lseek(self->log, 0, SEEK_END);
	self->start = time(NULL);
}

FIXTURE_TEARDOWN(attack_log)
{
	close(self->holder);
	close(self->log);
	close(self->fd);
}

TEST_F_TIMEOUT(attack_log, is_bounded, 120)
{
	int calls = variant->calls ? variant->calls : CALLS, status, i, lines, limit;
	pid_t pid;

	pid = fork();
	if (!pid) {
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		for (i = 0; i < calls; i++)
			variant->call(self->fd);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	lines = log_lines(self->log);
	/* And one each time, that tells how many were held back. */
	limit = 11 * ((time(NULL) - self->start) / 5 + 2);
	TH_LOG("%d lines", lines);
	EXPECT_GE(limit, lines);
}

int main(int argc, char **argv)
{
	return pmem_dax_main_with(argc, argv, "region5", "namespace0.0 namespace5.0");
}
