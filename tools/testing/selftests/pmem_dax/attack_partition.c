// SPDX-License-Identifier: GPL-2.0
/*
 * Who has a partition, and nothing but a file of it that may be written to, reaches no byte
 * of the disk before or behind it, whatever offsets, lengths and addresses he comes up with.
 *
 * What he does is chosen at random, from a seed that is told; PMEM_DAX_SEED replays it.
 */
#include <linux/blkpg.h>
#include <linux/falloc.h>
#include <sys/prctl.h>

#include "seeded.h"

#define START	(3 * SZ_1M)
#define PART	(5 * SZ_1M + SZ_4K)
#define DISK	(16 * SZ_1M)
#define PAGES	(PART / SZ_4K)
#define NOBODY	65534
#define ROUNDS	300

/* How the attacker tells that he saw or stored what he should not have been able to. */
#define BREACH	42

/* Mostly beside the ends of the partition, of large pages, or of what can be counted. */
static off_t some_offset(void)
{
	static const off_t edges[] = {
		0, PART, SZ_2M - START % SZ_2M, DISK - START, 512 * SZ_1M - START,
		-START, 1L << 32, 1L << 43, 1L << 51, 1L << 62, INT64_MAX - SZ_4K + 1, INT64_MIN,
	};
	off_t edge = edges[below(ARRAY_SIZE(edges))];

	if (below(4) == 0)
		return below(DISK / SZ_4K) * SZ_4K;
	return edge + ((off_t)below(9) - 4) * SZ_4K;
}

/* One mapping: each page of it is either the partition's, or SIGBUS. */
static void map_some(int fd)
{
	size_t length = (1 + below(below(2) ? 8 : 1500)) * SZ_4K;
	size_t skew = below(2) ? 0 : below(512) * SZ_4K, first;
	bool store = below(2);
	off_t offset = some_offset(), page, i;
	char *map, *grown;
	int tries, code;

	map = map_skewed(fd, length, offset, skew, PROT_READ | PROT_WRITE,
			 below(4) ? MAP_SHARED : MAP_PRIVATE);
	if (map == MAP_FAILED)
		return;
	if (below(4) == 0)
		madvise(map, length, below(2) ? MADV_POPULATE_READ : MADV_POPULATE_WRITE);
	/* More than was asked for at first. */
	first = length;
	if (below(2)) {
		grown = mremap(map, length, length + SZ_2M, MREMAP_MAYMOVE);
		if (grown != MAP_FAILED) {
			map = grown;
			length += SZ_2M;
		}
	}
	for (tries = 0; tries < 24; tries++) {
		i = tries < 4 ? length / SZ_4K - 1 - tries : below(length / SZ_4K);
		if (tries >= 4 && tries < 8)
			i = first / SZ_4K - 2 + tries - 4;
		if (i < 0 || i >= length / SZ_4K)
			continue;
		page = offset / SZ_4K + i;
		code = bus_code(map + i * SZ_4K, store);
		if (!code != (page >= 0 && page < PAGES))
			_exit(BREACH);
		/* Each word of it tells which one it is. */
		if (!code && *(uint64_t *)(map + i * SZ_4K) != page)
			_exit(BREACH + 1);
	}
	munmap(map, length);
}

/* What is not a mapping. Of what would reach behind the end, not even a part is zeroed. */
static void transfer_some(int fd)
{
	static uint64_t buffer[3 * SZ_4K / 8];
	off_t offset = some_offset() + below(3) * 512 + below(2) * 8, i;
	size_t words = 1 + below(ARRAY_SIZE(buffer));
	ssize_t done, room = offset < 0 || offset > PART ? 0 : PART - offset;
	struct blkpg_partition part = { .start = 0, .length = DISK, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_RESIZE_PARTITION, .datalen = sizeof(part), .data = &part,
	};
	uint64_t range[2] = { offset & ~4095UL, SZ_2M };

	switch (below(4)) {
	case 0:
		done = pread(fd, buffer, words * 8, offset);
		for (i = 0; i < done / 8; i++)
			if (buffer[i] != (offset + i * 8) / SZ_4K)
				_exit(BREACH + 1);
		break;
	case 1:
		for (i = 0; i < words; i++)
			buffer[i] = (offset + i * 8) / SZ_4K;
		done = pwrite(fd, buffer, words * 8, offset);
		break;
	case 2:
		if (range[0] + range[1] <= PART)
			return;
		if (!fallocate(fd, FALLOC_FL_ZERO_RANGE, range[0], range[1]) ||
		    !ioctl(fd, BLKZEROOUT, range))
			_exit(BREACH + 2);
		return;
	default:
		if (!ioctl(fd, BLKPG, &arg))
			_exit(BREACH + 3);
		return;
	}
	if (done > room)
		_exit(BREACH + 4);
}

/* Nor when the partition was larger a moment ago. */
#define KEPT	SZ_1M
#define SHRINKS	12

/* In the whole of it, whatever it is now; what root has behind it is never seen. */
static void reach_for(int fd, uint64_t outside)
{
	static uint64_t buffer[4 * SZ_1M / 8];
	off_t offset = KEPT / 2 + below((PART - KEPT / 2) / 512) * 512;
	size_t length = (1 + below(sizeof(buffer) / 512)) * 512;
	uint64_t range[2] = { offset, length };
	ssize_t done, i;

	switch (below(3)) {
	case 0:
		pwrite(fd, buffer, length, offset);
		break;
	case 1:
		done = pread(fd, buffer, length, offset);
		for (i = 0; i < done / 8; i++)
			if (buffer[i] == pattern(outside, offset + i * 8))
				_exit(BREACH);
		memset(buffer, 0, sizeof(buffer));
		break;
	default:
		ioctl(fd, BLKZEROOUT, range);
	}
}

static int resize(int fd, size_t size)
{
	struct blkpg_partition part = { .start = START, .length = size, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_RESIZE_PARTITION, .datalen = sizeof(part), .data = &part,
	};

	return ioctl(fd, BLKPG, &arg);
}

TEST(no_byte_that_was_cut_off)
{
	struct blkpg_partition part = { .start = START, .length = PART, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part,
	};
	unsigned long *calls = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0), end;
	char path[80], *zeroes = calloc(1, PART), *buffer = malloc(PART);
	uint64_t outside = new_seed();
	int fd = open_node(), status, i, j;
	pid_t pid;

	TH_LOG("seed %" PRIu64, start_seeded());
	ASSERT_LE(0, fd);
	ASSERT_EQ(PART, pwrite(fd, zeroes, PART, START));
	ASSERT_EQ(0, ioctl(fd, BLKPG, &arg));
	snprintf(path, sizeof(path), "%sp1", node);
	pid = fork();
	if (!pid) {
		fd = open(path, O_RDWR);
		if (fd < 0 || setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			reach_for(fd, outside);
			__atomic_add_fetch(calls, 1, __ATOMIC_SEQ_CST);
		}
	}
	for (i = 0; i < SHRINKS; i++) {
		usleep(1000 * below(20));
		ASSERT_EQ(0, resize(fd, KEPT));
		fill(buffer, PART - KEPT, outside, KEPT);
		ASSERT_EQ(PART - KEPT, pwrite(fd, buffer, PART - KEPT, START + KEPT));
		end = __atomic_load_n(calls, __ATOMIC_SEQ_CST) + 3;
		for (j = 0; j < 10000 && __atomic_load_n(calls, __ATOMIC_SEQ_CST) < end; j++) {
			ASSERT_EQ(0, waitpid(pid, &status, WNOHANG)) TH_LOG("he saw it");
			usleep(1000);
		}
		EXPECT_LE(end, __atomic_load_n(calls, __ATOMIC_SEQ_CST));
		ASSERT_EQ(PART - KEPT, pread(fd, buffer, PART - KEPT, START + KEPT));
		EXPECT_EQ(-1, differs(buffer, PART - KEPT, outside, KEPT)) TH_LOG("round %d", i);
		ASSERT_EQ(PART - KEPT, pwrite(fd, zeroes, PART - KEPT, START + KEPT));
		ASSERT_EQ(0, resize(fd, PART));
	}
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	arg.op = BLKPG_DEL_PARTITION;
	EXPECT_EQ(0, ioctl(fd, BLKPG, &arg));
	free(buffer);
	free(zeroes);
	close(fd);
}

TEST(no_byte_outside)
{
	struct blkpg_partition part = { .start = START, .length = PART, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(part), .data = &part,
	};
	uint64_t outside = new_seed();
	int fd = open_node(), status, i;
	char path[80], *buffer = aligned_alloc(SZ_4K, DISK);
	pid_t pid;

	TH_LOG("seed %" PRIu64, start_seeded());
	ASSERT_LE(0, fd);
	ASSERT_NE(NULL, buffer);
	fill(buffer, DISK, outside, 0);
	for (i = 0; i < PART; i += 8)
		*(uint64_t *)(buffer + START + i) = i / SZ_4K;
	ASSERT_EQ(DISK, pwrite(fd, buffer, DISK, 0));
	ASSERT_EQ(0, ioctl(fd, BLKPG, &arg));
	snprintf(path, sizeof(path), "%sp1", node);
	pid = fork();
	if (!pid) {
		fd = open(path, O_RDWR);
		if (fd < 0 || setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		for (i = 0; i < ROUNDS; i++) {
			map_some(fd);
			transfer_some(fd);
		}
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status) TH_LOG("he saw or did something else: %d", WEXITSTATUS(status));
	ASSERT_EQ(DISK, pread(fd, buffer, DISK, 0));
	EXPECT_EQ(-1, differs(buffer, START, outside, 0));
	EXPECT_EQ(-1, differs(buffer + START + PART, DISK - START - PART, outside, START + PART));
	arg.op = BLKPG_DEL_PARTITION;
	EXPECT_EQ(0, ioctl(fd, BLKPG, &arg));
	free(buffer);
	close(fd);
}

PMEM_DAX_MAIN("namespace0.0")
