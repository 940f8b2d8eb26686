// SPDX-License-Identifier: GPL-2.0
/*
 * What makes stores durable: the kernel is watched at work. A call that promises it
 * writes back the CPU caches of all that was stored through mappings since the last
 * one, then has the region flushed, and that is over when the call returns. It leaves
 * the rest alone.
 *
 * An emulated machine has no caches to lose, so bytes cannot show it. Instead each call
 * is held against the functions of the kernel that were entered meanwhile, in order.
 */
#include <liburing.h>

#include "flush_watch.h"
#include "pmem_dax.h"

#include <sys/mount.h>
#include <sys/uio.h>

#include <linux/blkpg.h>

/* region_of() - the address of the region that our fsync flushes */
static uint64_t region_of(int fd)
{
	char line[512], task[32];
	uint64_t region = 0;
	FILE *trace;

	snprintf(task, sizeof(task), "-%d ", gettid());
	watch();
	if (fsync(fd))
		return 0;
	trace = fopen(WATCH "trace", "re");
	while (trace && fgets(line, sizeof(line), trace)) {
		if (strstr(line, task) && strstr(line, ": flush: "))
			region = field(line, " region=");
	}
	if (trace)
		fclose(trace);
	return region;
}

/*
 * seen() - what was done to the device since watch(), in words
 *
 *   back A+N   the CPU caches of N bytes from A on were written back (in hex)
 *   user A+N   as many were copied from a process, around the caches
 *   bio A+N    the same from the pages of a bio
 *   flush      the region was flushed, by the host if that is its affair
 *   fua        it was to be flushed before the end of a bio
 *   host       the host did that, later
 *
 * What failed is followed by the error.
 */
static const char *seen(void)
{
	static char text[16384];
	char line[512], name[16], last[16] = "";
	uint64_t begin = 0, end = 0;
	bool flushing = false, fua = false, by_host = false, open_range = false;
	char *to = text, *done = text;
	FILE *trace;

	write_line(WATCH "trace_marker", "end");
	trace = fopen(WATCH "trace", "re");
	text[0] = '\0';
	while (trace && fgets(line, sizeof(line), trace) && to < text + sizeof(text) - 128) {
		const char *at = strstr(line, "] ");
		uint64_t offset = place_of(line);
		uint64_t size = field(line, " size=");
		int result = field(line, " result=");
		bool place;

		if (line[0] == '#' || !at || sscanf(at, "] %*s %*u: %15[a-z_]", name) != 1)
			continue;
		place = strstr(line, " base=");
		if (place && offset >= watched.size)
			continue;
		if (strstr(line, " region=") && field(line, " region=") != watched.region)
			continue;
		if (open_range && place && offset == end && !strcmp(name, last)) {
			end += size;
			continue;
		}
		if (open_range)
			to += sprintf(to, " %s %" PRIx64 "+%" PRIx64, last, begin, end - begin);
		open_range = place;
		if (place) {
			begin = offset;
			end = offset + size;
			strcpy(last, name);
		} else if (!strcmp(name, "flush")) {
			flushing = true;
			by_host = false;
			fua = field(line, " bio=");
		} else if (!strcmp(name, "hosted")) {
			if (!flushing)
				to += sprintf(to, result ? " host failed" : " host");
			by_host = !result;
		} else if (!strcmp(name, "flushed") && flushing) {
			flushing = false;
			to += sprintf(to, fua ? " fua" : " flush");
			if (result < 0)
				to += sprintf(to, "%d", result);
			else if (!fua && by_host != watched.host)
				to += sprintf(to, " that did nothing");
		} else if (!strncmp(name, "tracing_mark", 12)) {
			done = to;
		}
	}
	if (trace)
		fclose(trace);
	/* Not what came after this was asked. */
	*done = '\0';
	return text[0] == ' ' ? text + 1 : text;
}

#define EXPECT_SEEN(expected, call)		\
	do {					\
		watch();			\
		EXPECT_EQ(0, call);		\
		EXPECT_STREQ(expected, seen());	\
	} while (0)

FIXTURE(flushes) {
	char path[64];
	char *map;
	int fd;
};

FIXTURE_VARIANT(flushes) {
	const char *namespace;
	uint64_t size;
	bool host;
};

FIXTURE_VARIANT_ADD(flushes, nfit) {
	.namespace = "namespace0.0",
	.size = 512 * SZ_1M,
};

/* Its flush is a request to the host, which is waited for. */
FIXTURE_VARIANT_ADD(flushes, virtio) {
	.namespace = "namespace3.0",
	.size = 128 * SZ_1M,
	.host = true,
};

FIXTURE_SETUP(flushes)
{
	char command[128];

	watched.start = namespace_start(variant->namespace);
	ASSERT_NE(0, watched.start);
	watched.size = variant->size;
	watched.host = variant->host;
	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	ASSERT_EQ(0, shell_line(self->path, sizeof(self->path), command));
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(variant->size, size_of(self->fd));
	watched.region = region_of(self->fd);
	ASSERT_NE(0, watched.region);
	self->map = map_shared(self->fd, variant->size, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(flushes)
{
	umount("/mnt");
	close(self->fd);
}

/*
 * Chunks of 2M are what is remembered of large pages. These are in two words of 64, where
 * there are so many.
 */
#define CHUNK(n)	((n) * SZ_2M)

static void touch_chunks(char *map)
{
	touch(map + CHUNK(1));
	touch(map + CHUNK(9) + SZ_1M);
	touch(map + CHUNK(63) - 8);
	touch(map + CHUNK(63));
}

#define TOUCHED	"back 200000+200000 back 1200000+200000 back 7c00000+400000"

TEST_F(flushes, fsync)
{
	EXPECT_SEEN("flush", fsync(self->fd));
	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush", fsync(self->fd));
	EXPECT_SEEN("flush", fsync(self->fd));
	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush", fdatasync(self->fd));
	EXPECT_SEEN("flush", fdatasync(self->fd));
}

/* What was made durable is mapped still, and can be read without a fault, and a mark. */
TEST_F(flushes, loads_after)
{
	long before;
	int i;

	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush", fsync(self->fd));
	EXPECT_EQ(4 * CHUNK(1), present_bytes(self->map, variant->size));
	before = minor_faults();
	for (i = 0; i < SZ_2M; i += SZ_4K)
		load_byte(self->map + CHUNK(9) + i);
	EXPECT_EQ(before, minor_faults());
	EXPECT_SEEN("flush", fsync(self->fd));
	/* One fault, which brings back nothing but the right to store. */
	touch(self->map + CHUNK(9));
	touch(self->map + CHUNK(9) + SZ_1M);
	EXPECT_EQ(before + 1, minor_faults());
	EXPECT_SEEN("back 1200000+200000 flush", fsync(self->fd));
}

/* The same of single pages, which have to be brought back. */
TEST_F(flushes, pages)
{
	char *map = map_skewed(self->fd, CHUNK(4), 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	touch(map + CHUNK(1));
	touch(map + CHUNK(1) + 70 * SZ_4K);
	touch(map + CHUNK(2) + 3 * SZ_4K);
	EXPECT_SEEN("back 200000+1000 back 246000+1000 back 403000+1000 flush", fsync(self->fd));
	EXPECT_SEEN("flush", fsync(self->fd));
	touch(map + CHUNK(1) + 70 * SZ_4K);
	EXPECT_SEEN("back 246000+1000 flush", fsync(self->fd));
}

/* Of more chunks than a sync takes at once. */
TEST_F(flushes, pages_of_many)
{
	char *map = map_skewed(self->fd, CHUNK(32), 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	char expected[1024] = "", *to = expected;
	int i;

	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < 30; i++) {
		touch(map + CHUNK(i) + i * SZ_4K);
		to += sprintf(to, "back %lx+1000 ", CHUNK(i) + i * SZ_4K);
	}
	strcpy(to, "flush");
	EXPECT_SEEN(expected, fsync(self->fd));
	EXPECT_SEEN("flush", fsync(self->fd));
}

/* A chunk that is in both is written back as a whole, and neither can be stored to after. */
TEST_F(flushes, both)
{
	char *map = map_skewed(self->fd, CHUNK(4), 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	touch(map + CHUNK(1) + SZ_4K);
	touch(self->map + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
	EXPECT_SEEN("flush", fsync(self->fd));
	touch(map + CHUNK(1) + SZ_4K);
	EXPECT_SEEN("back 201000+1000 flush", fsync(self->fd));
	touch(self->map + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
}

/*
 * What is stored to here and there, sync after sync, is tracked by pages when that was
 * seen thrice; until it is stored to all over.
 */
TEST_F(flushes, sparse)
{
	char *map = self->map;
	int i;

	for (i = 0; i < 2; i++) {
		touch(map + CHUNK(1));
		touch(map + CHUNK(3) + SZ_1M);
		EXPECT_SEEN("back 200000+200000 back 600000+200000 flush", fsync(self->fd));
		EXPECT_EQ(2 * CHUNK(1), huge_bytes(map, CHUNK(4)));
	}
	/* It has to be seen within a second. */
	for (i = 0; i < 100 && huge_bytes(map, CHUNK(4)); i++) {
		touch(map + CHUNK(1));
		touch(map + CHUNK(3) + SZ_1M);
		ASSERT_EQ(0, fsync(self->fd));
	}
	for (i = 0; i < 3; i++) {
		touch(map + CHUNK(1) + i * SZ_4K);
		touch(map + CHUNK(3) + SZ_1M);
		EXPECT_EQ(0, huge_bytes(map, CHUNK(4)));
		EXPECT_SEEN(i == 0 ? "back 200000+1000 back 700000+1000 flush" :
			    i == 1 ? "back 201000+1000 back 700000+1000 flush" :
				     "back 202000+1000 back 700000+1000 flush", fsync(self->fd));
	}
	/* By backward touches, with which nothing is mapped besides. */
	for (i = 40; i > 0; i--)
		touch(map + CHUNK(1) + i * SZ_4K);
	EXPECT_SEEN("back 201000+28000 flush", fsync(self->fd));
	/* Where there is a page table mm puts no large page; but whoever maps it next has one. */
	munmap(map, variant->size);
	map = map_shared(self->fd, variant->size, 0);
	for (i = 0; i < 4; i++) {
		touch(map + CHUNK(1));
		touch(map + CHUNK(3) + SZ_1M);
		EXPECT_EQ(CHUNK(1), huge_bytes(map, CHUNK(4)));
		EXPECT_SEEN("back 200000+200000 back 700000+1000 flush", fsync(self->fd));
	}
	munmap(map, variant->size);
	/* With the last close all that is forgotten. */
	close(self->fd);
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	map = map_shared(self->fd, variant->size, 0);
	touch(map + CHUNK(3) + SZ_1M);
	EXPECT_EQ(CHUNK(1), huge_bytes(map, CHUNK(4)));
}

/* The administrator says that the caches are written back anyway. Nothing is forgotten by that. */
TEST_F(flushes, write_cache)
{
	char path[96];

	snprintf(path, sizeof(path), "/sys/block/%s/dax/write_cache", self->path + 5);
	touch_chunks(self->map);
	ASSERT_EQ(0, write_line(path, "0"));
	EXPECT_SEEN("flush", fsync(self->fd));
	EXPECT_SEEN("flush", msync(self->map, variant->size, MS_SYNC));
	ASSERT_EQ(0, write_line(path, "1"));
	EXPECT_SEEN(TOUCHED " flush", fsync(self->fd));
	touch_chunks(self->map);
	ASSERT_EQ(0, write_line(path, "0"));
	munmap(self->map, variant->size);
	EXPECT_SEEN("flush flush", close(self->fd));
	/* Not by a last close either, which would have written back. */
	ASSERT_EQ(0, write_line(path, "1"));
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	EXPECT_SEEN(TOUCHED " flush", fsync(self->fd));
	EXPECT_SEEN("", close(self->fd));
}

/* Whoever has it open can make durable what others stored. */
TEST_F(flushes, fsync_after_munmap)
{
	int fd = open(self->path, O_RDONLY | O_CLOEXEC);

	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush", fsync(fd));
	touch_chunks(self->map);
	munmap(self->map, variant->size);
	EXPECT_SEEN(TOUCHED " flush", fsync(fd));
	EXPECT_SEEN("flush", fsync(fd));
	EXPECT_SEEN("", close(self->fd));
	EXPECT_SEEN("", close(fd));
}

/* With the last mapping of a node, whoever has it open. */
TEST_F(flushes, last_close)
{
	int fd = open(self->path, O_RDONLY | O_CLOEXEC);

	touch_chunks(self->map);
	EXPECT_SEEN("", close(self->fd));
	EXPECT_SEEN(TOUCHED " flush", munmap(self->map, variant->size));
	EXPECT_SEEN("", close(fd));
	/* Now nobody has entries to store through. */
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	EXPECT_SEEN("flush", fsync(self->fd));
	EXPECT_SEEN("", close(self->fd));
}

/* A mapping that lives longer than the file is what keeps it open. */
TEST_F(flushes, last_munmap)
{
	touch_chunks(self->map);
	EXPECT_SEEN("", close(self->fd));
	EXPECT_SEEN(TOUCHED " flush", munmap(self->map, variant->size));
}

/* One that a process leaves behind by its end too. */
TEST_F(flushes, exit)
{
	pid_t pid;

	munmap(self->map, variant->size);
	close(self->fd);
	watch();
	pid = fork();
	if (pid == 0) {
		int fd = open(self->path, O_RDWR | O_CLOEXEC);

		touch_chunks(map_shared(fd, variant->size, 0));
		close(fd);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_STREQ(TOUCHED " flush", seen());
}

TEST_F(flushes, msync)
{
	char *map = self->map;

	touch_chunks(map);
	/* A part of a chunk can be stored to again, and stays marked. */
	EXPECT_SEEN("back 201000+1000 flush", msync(map + CHUNK(1) + SZ_4K, 1, MS_SYNC));
	EXPECT_SEEN("back 3ff000+1000 flush", msync(map + CHUNK(2) - SZ_4K, 3 * SZ_4K, MS_SYNC));
	EXPECT_SEEN("back 1200000+200000 back 7c00000+100000 flush",
		    msync(map + CHUNK(5), CHUNK(62) + SZ_1M - CHUNK(5), MS_SYNC));
	EXPECT_SEEN("flush", msync(map + CHUNK(2), CHUNK(7), MS_SYNC));
	EXPECT_SEEN("back 200000+200000 back 7c00000+400000 flush",
		    msync(map, variant->size, MS_SYNC));
	EXPECT_SEEN("flush", msync(map, variant->size, MS_SYNC));
	touch_chunks(map);
	/* It promises nothing, and with a page cache does nothing either. */
	EXPECT_SEEN("", msync(map, variant->size, MS_ASYNC));
	EXPECT_SEEN("", msync(map, variant->size, MS_INVALIDATE));
}

/* The marks are in words of 64. */
TEST_F(flushes, all_chunks)
{
	char expected[64];
	int i;

	for (i = 63; i < variant->size / SZ_2M; i += i < 66 ? 1 : variant->size / SZ_2M - 67)
		touch(self->map + CHUNK(i));
	if (variant->size == CHUNK(64))
		EXPECT_SEEN("back 7e00000+200000 flush", fsync(self->fd));
	else
		EXPECT_SEEN("back 7e00000+800000 back 1fe00000+200000 flush", fsync(self->fd));
	for (i = 0; i < variant->size / SZ_2M; i++)
		touch(self->map + CHUNK(i));
	snprintf(expected, sizeof(expected), "back 0+%" PRIx64 " flush", variant->size);
	EXPECT_SEEN(expected, msync(self->map, variant->size, MS_SYNC));
}

/* Pages that are mapped besides, because somebody goes through the memory in order. */
TEST_F(flushes, followers)
{
	char *map = map_skewed(self->fd, CHUNK(4), 0, SZ_1M, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *end = map + CHUNK(1) + 100 * SZ_4K, *at;
	char expected[64];

	ASSERT_NE(MAP_FAILED, map);
	for (at = end - 4 * SZ_4K; at < end; at += SZ_4K)
		touch(at);
	ASSERT_EQ(0, huge_bytes(map, CHUNK(4)));
	/* One can be stored to that no fault was made for. */
	ASSERT_LT(0, present_bytes(end, CHUNK(1)));
	snprintf(expected, sizeof(expected), "back 260000+%lx flush",
		 4 * SZ_4K + present_bytes(end, CHUNK(1)));
	EXPECT_SEEN(expected, fsync(self->fd));
	EXPECT_EQ(0, present_bytes(map, CHUNK(4)));
}

/* A load through a mapping for stores makes an entry that can be stored through. */
TEST_F(flushes, loads)
{
	char *map = mmap(NULL, CHUNK(4), PROT_READ, MAP_SHARED, self->fd, 0);

	load_byte(self->map + CHUNK(9));
	load_byte(map + CHUNK(1));
	EXPECT_SEEN("back 1200000+200000 flush", fsync(self->fd));
	load_byte(self->map + CHUNK(9));
	load_byte(map + CHUNK(1));
	EXPECT_SEEN("flush", fsync(self->fd));
}

/*
 * mprotect() could make entries of both sizes that are there writable without a fault,
 * and those that a sync made read-only. It marks nothing by itself.
 */
TEST_F(flushes, mprotect)
{
	char *huge = mmap(NULL, CHUNK(4), PROT_READ, MAP_SHARED, self->fd, 0);
	char *small = map_skewed(self->fd, CHUNK(4), 0, SZ_4K, PROT_READ, MAP_SHARED);

	load_byte(huge + CHUNK(1));
	load_byte(small + CHUNK(3));
	ASSERT_EQ(0, mprotect(huge + CHUNK(1), CHUNK(1), PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, mprotect(small + CHUNK(3), SZ_4K, PROT_READ | PROT_WRITE));
	EXPECT_SEEN("flush", fsync(self->fd));
	touch(huge + CHUNK(1));
	touch(small + CHUNK(3));
	EXPECT_SEEN("back 200000+200000 back 600000+1000 flush", fsync(self->fd));
	ASSERT_EQ(0, mprotect(huge + CHUNK(1), CHUNK(1), PROT_READ | PROT_WRITE | PROT_EXEC));
	touch(huge + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
	ASSERT_EQ(0, mprotect(huge + CHUNK(1), CHUNK(1), PROT_READ));
	ASSERT_EQ(0, mprotect(huge + CHUNK(1), CHUNK(1), PROT_READ | PROT_WRITE));
	touch(huge + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
}

/* What is stored to a copy is of no interest to the media. */
TEST_F(flushes, private)
{
	char *map = mmap(NULL, CHUNK(2), PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	load_byte(map);
	touch(map + CHUNK(1));
	EXPECT_SEEN("flush", fsync(self->fd));
}

/* A child, and a mapping that was moved, store through entries of their own. */
TEST_F(flushes, fork_and_mremap)
{
	char *room = mmap(NULL, CHUNK(4), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *moved;
	pid_t pid;

	touch(self->map + CHUNK(1));
	pid = fork();
	if (pid == 0) {
		touch(self->map + CHUNK(2));
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	moved = mremap(self->map + CHUNK(1), CHUNK(4), CHUNK(4), MREMAP_MAYMOVE | MREMAP_FIXED,
		       room);
	ASSERT_EQ(room, moved);
	touch(moved);
	touch(moved + CHUNK(3));
	EXPECT_SEEN("back 200000+400000 back 800000+200000 flush", fsync(self->fd));
	EXPECT_SEEN("flush", msync(moved, CHUNK(1), MS_SYNC));
	touch(moved);
	EXPECT_SEEN("back 200000+200000 flush", msync(moved, CHUNK(1), MS_SYNC));
}

/* What each process stores after another one's sync is marked again. */
TEST_F(flushes, fork_after)
{
	int i, status;

	touch(self->map + CHUNK(1));
	for (i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			touch(self->map + CHUNK(1));
			touch(self->map + CHUNK(2));
			status = fsync(self->fd);
			touch(self->map + CHUNK(2));
			_exit(status);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		ASSERT_EQ(0, status);
		touch(self->map + CHUNK(1));
		watch();
		ASSERT_EQ(0, fsync(self->fd));
		/* By pages, if that was seen thrice within a second. */
		if (i == 0 || strcmp(seen(), "back 200000+1000 back 400000+1000 flush"))
			EXPECT_STREQ("back 200000+400000 flush", seen());
	}
}

/* write(2) goes around the caches; it is durable when somebody asks for that. */
TEST_F(flushes, write)
{
	static const struct {
		int open, rwf;
		const char *seen;
	} cases[] = {
		{ 0, 0, "" },
		{ O_DSYNC, 0, " flush" },
		{ O_SYNC, 0, " flush" },
		{ 0, RWF_DSYNC, " flush" },
		{ 0, RWF_SYNC, " flush" },
		{ O_DIRECT, RWF_DSYNC, " flush" },
	};
	char *buffer = aligned_alloc(SZ_4K, 2 * SZ_4K);
	int i;

	/* What is not there yet is copied in parts. */
	memset(buffer, 1, 2 * SZ_4K);
	/* It owes nothing to what others stored, elsewhere. */
	touch(self->map + CHUNK(9));
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int fd = open(self->path, O_RDWR | O_CLOEXEC | cases[i].open);
		struct iovec vec = { buffer, SZ_4K };
		char expected[128];

		watch();
		EXPECT_EQ(SZ_4K, pwritev2(fd, &vec, 1, SZ_2M, cases[i].rwf));
		snprintf(expected, sizeof(expected), "user 200000+1000%s", cases[i].seen);
		EXPECT_STREQ(expected, seen());
		vec.iov_len = 4999;
		watch();
		EXPECT_EQ(4999, pwritev2(fd, &vec, 1, SZ_2M + 13, cases[i].rwf));
		snprintf(expected, sizeof(expected), "user 20000d+1387%s", cases[i].seen);
		EXPECT_STREQ(expected, seen());
		close(fd);
	}
	free(buffer);
}

/* These promise nothing for a device: the one never, the others reach only a page cache. */
TEST_F(flushes, none)
{
	touch(self->map);
	EXPECT_SEEN("", sync_file_range(self->fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE |
					SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
	EXPECT_SEEN("", syncfs(self->fd));
	EXPECT_SEEN("back 0+200000 flush", fsync(self->fd));
}

/* sync_alone() - let sync(2) reach the device of @path, and no other */
static int sync_alone(const char *path)
{
	return shell("for disk in /sys/block/*/pmem_dax; do [ $disk = /sys/block/%s/pmem_dax ]; "
		     "echo $((! $?)) >$disk/global_sync; done", path + 5);
}

TEST_F(flushes, sync)
{
	char path[96];

	ASSERT_EQ(0, sync_alone(self->path));
	snprintf(path, sizeof(path), "/sys/block/%s/pmem_dax/global_sync", self->path + 5);
	EXPECT_SEEN("", (sync(), 0));
	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush", (sync(), 0));
	EXPECT_SEEN("flush", fsync(self->fd));
	touch(self->map);
	ASSERT_EQ(0, write_line(path, "0"));
	EXPECT_SEEN("", (sync(), 0));
	ASSERT_EQ(0, write_line(path, "1"));
	EXPECT_SEEN("back 0+200000 flush", (sync(), 0));
}

/* count_flushes() - how often a region was flushed since watch(), without a mark in the trace */
static int count_flushes(void)
{
	FILE *trace = fopen(WATCH "trace", "re");
	char line[512];
	int count = 0;

	while (trace && fgets(line, sizeof(line), trace))
		count += !!strstr(line, ": flushed: ");
	if (trace)
		fclose(trace);
	return count;
}

/* By the keyboard, of a machine that nobody can log in to any more. */
TEST_F(flushes, sysrq)
{
	int i;

	ASSERT_EQ(0, sync_alone(self->path));
	touch_chunks(self->map);
	watch();
	ASSERT_EQ(0, write_line("/proc/sysrq-trigger", "s"));
	for (i = 0; i < 200 && !count_flushes(); i++)
		usleep(50000);
	EXPECT_STREQ(TOUCHED " flush", seen());
}

/* However often sync(2) is called, that is no sign of how a user stores. */
TEST_F(flushes, sync_is_no_hint)
{
	int i;

	ASSERT_EQ(0, sync_alone(self->path));
	for (i = 0; i < 5; i++) {
		touch(self->map);
		EXPECT_SEEN("back 0+200000 flush", (sync(), 0));
	}
	EXPECT_EQ(CHUNK(1), huge_bytes(self->map, CHUNK(1)));
}

TEST_F(flushes, blkflsbuf)
{
	touch(self->map + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", ioctl(self->fd, BLKFLSBUF));
	/* Whoever holds the device by then. */
	touch(self->map + CHUNK(1));
	munmap(self->map, variant->size);
	EXPECT_SEEN("back 200000+200000 flush", ioctl(self->fd, BLKFLSBUF));
	EXPECT_SEEN("flush", ioctl(self->fd, BLKFLSBUF));
}

TEST_F(flushes, blkflsbuf_exclusive)
{
	char *map;
	int fd;

	munmap(self->map, variant->size);
	close(self->fd);
	fd = open(self->path, O_RDWR | O_EXCL | O_CLOEXEC);
	map = map_shared(fd, CHUNK(2), 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map + CHUNK(1));
	EXPECT_SEEN("back 200000+200000 flush", ioctl(fd, BLKFLSBUF));
	close(fd);
}

/* A range of a partition is at another place on the disk. */
TEST_F(flushes, partition)
{
	struct blkpg_partition part = { .start = 5 * SZ_1M, .length = CHUNK(4), .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION,
		.datalen = sizeof(part),
		.data = &part,
	};
	char path[80];
	char *map;
	int fd;

	munmap(self->map, variant->size);
	ASSERT_EQ(0, ioctl(self->fd, BLKPG, &arg));
	snprintf(path, sizeof(path), "%sp1", self->path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	map = map_shared(fd, CHUNK(4), 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_SEEN("back 500000+1000 flush", msync(map, SZ_4K, MS_SYNC));
	EXPECT_SEEN("back 500000+1000 flush", msync(map, CHUNK(4), MS_SYNC));
	/* All that the partition has of the chunk. */
	EXPECT_SEEN("back 500000+1000 flush", fsync(fd));
	EXPECT_SEEN("flush", fsync(fd));
	touch(map);
	EXPECT_SEEN("back 500000+1000 flush", fsync(self->fd));
	touch(map);
	EXPECT_SEEN("back 500000+1000 flush", ioctl(fd, BLKFLSBUF));
	EXPECT_SEEN("flush", ioctl(self->fd, BLKFLSBUF));
	touch(map + SZ_1M);
	munmap(map, CHUNK(4));
	EXPECT_SEEN("back 600000+200000 flush", close(fd));
	arg.op = BLKPG_DEL_PARTITION;
	EXPECT_EQ(0, ioctl(self->fd, BLKPG, &arg));
	EXPECT_SEEN("", close(self->fd));
}

/* A partition's sync leaves its neighbour's stores alone; one of the disk does not. */
TEST_F(flushes, neighbours)
{
	struct blkpg_partition part = { .length = CHUNK(8) };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION,
		.datalen = sizeof(part),
		.data = &part,
	};
	int fds[2], synced, reader, i;
	char *maps[2], path[80];

	munmap(self->map, variant->size);
	close(self->fd);
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	for (i = 0; i < 2; i++) {
		part.pno = i + 1;
		part.start = CHUNK(8) * (i + 1);
		ASSERT_EQ(0, ioctl(self->fd, BLKPG, &arg));
		snprintf(path, sizeof(path), "%sp%d", self->path, i + 1);
		fds[i] = open(path, O_RDWR | O_CLOEXEC);
		ASSERT_LE(0, fds[i]);
		maps[i] = map_shared(fds[i], CHUNK(8), 0);
		ASSERT_NE(MAP_FAILED, maps[i]);
	}
	touch(maps[0] + CHUNK(1));
	touch(maps[1] + CHUNK(2));
	EXPECT_SEEN("back 2400000+200000 flush", fsync(fds[1]));
	snprintf(path, sizeof(path), "%sp2", self->path);
	synced = open(path, O_RDWR | O_DSYNC | O_CLOEXEC);
	EXPECT_SEEN("user 2000000+40 flush", pwrite(synced, path, 64, 0) - 64);
	close(synced);
	touch(maps[1]);
	EXPECT_SEEN("back 1200000+200000 back 2000000+200000 flush", fsync(self->fd));
	touch(maps[0]);
	touch(maps[1]);
	/* A reader of the disk, as udev is one, has nothing to do with what others mapped. */
	reader = open(self->path, O_RDONLY | O_CLOEXEC);
	EXPECT_SEEN("", close(reader));
	munmap(maps[1], CHUNK(8));
	EXPECT_SEEN("back 2000000+200000 flush", close(fds[1]));
	munmap(maps[0], CHUNK(8));
	EXPECT_SEEN("back 1000000+200000 flush", close(fds[0]));
	arg.op = BLKPG_DEL_PARTITION;
	for (part.pno = 1; part.pno <= 2; part.pno++)
		EXPECT_EQ(0, ioctl(self->fd, BLKPG, &arg));
}

/* While somebody holds the device, calls send bios. */
TEST_F(flushes, bios)
{
	char *buffer = aligned_alloc(SZ_4K, SZ_4K);
	int holder, fd, direct;

	munmap(self->map, variant->size);
	close(self->fd);
	holder = open(self->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	fd = open(self->path, O_RDWR | O_CLOEXEC);
	direct = open(self->path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	EXPECT_SEEN("", pwrite(fd, buffer, SZ_4K, SZ_2M) - SZ_4K);
	EXPECT_SEEN("bio 200000+1000 flush", fsync(fd));
	/* Durable when it has ended. That the flush after it is not needed, nobody knows. */
	EXPECT_SEEN(variant->host ? "bio 300000+1000 fua host flush" : "bio 300000+1000 fua flush",
		    pwrite(direct, buffer, SZ_4K, 3 * SZ_1M) - SZ_4K);
	close(direct);
	close(fd);
	close(holder);
	free(buffer);
}

/* What a file system promises, it has to send bios for. */
TEST_F(flushes, ext4)
{
	char *buffer = malloc(SZ_4K);
	const char *text;
	int fd;

	munmap(self->map, variant->size);
	close(self->fd);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s 16M", self->path));
	ASSERT_EQ(0, mount(self->path, "/mnt", "ext4", 0, NULL));
	fd = open("/mnt/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	fill(buffer, SZ_4K, new_seed(), 0);
	EXPECT_EQ(SZ_4K, write(fd, buffer, SZ_4K));
	watch();
	EXPECT_EQ(0, fsync(fd));
	text = seen();
	/* The journal's commit comes with a flush before it, of the data, and one after it. */
	EXPECT_EQ(text, strstr(text, "bio "));
	EXPECT_NE(NULL, strstr(text, " flush bio "));
	text = strrchr(text, ' ');
	ASSERT_NE(NULL, text);
	EXPECT_STREQ(variant->host ? " host" : " fua", text);
	/* Now only data. */
	EXPECT_EQ(SZ_4K, pwrite(fd, buffer, SZ_4K, 0));
	watch();
	EXPECT_EQ(0, fdatasync(fd));
	text = seen();
	EXPECT_EQ(text, strstr(text, "bio "));
	text = strrchr(text, ' ');
	ASSERT_NE(NULL, text);
	EXPECT_STREQ(" flush", text);
	close(fd);
	free(buffer);
}

TEST_F(flushes, unbind)
{
	touch_chunks(self->map);
	EXPECT_SEEN(TOUCHED " flush",
		    shell("echo %s >$DRIVERS/pmem_dax/unbind", variant->namespace));
	munmap(self->map, variant->size);
	EXPECT_SEEN("", close(self->fd));
	EXPECT_EQ(0, shell("echo %s >$DRIVERS/pmem_dax/bind", variant->namespace));
}

/* store_pinned() - let the kernel store to a page that a ring has pinned */
static int store_pinned(struct io_uring *ring, char *page)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int result;

	io_uring_prep_read_fixed(sqe, fd, page, SZ_4K, 0, 0);
	result = io_uring_submit(ring) == 1 ? io_uring_wait_cqe(ring, &cqe) : -1;
	if (!result) {
		result = cqe->res == SZ_4K ? 0 : -1;
		io_uring_cqe_seen(ring, cqe);
	}
	close(fd);
	return result;
}

/* Pages that are pinned are stored to after the last close. */
TEST_F(flushes, pinned)
{
	struct iovec vec = { self->map + CHUNK(1), SZ_4K };
	struct io_uring ring;
	long before;

	ASSERT_EQ(0, io_uring_queue_init(1, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&ring, &vec, 1));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
	/* It stays marked, so nobody has to fault for it. */
	before = minor_faults();
	touch(self->map + CHUNK(1));
	EXPECT_EQ(before, minor_faults());
	ASSERT_EQ(0, store_pinned(&ring, vec.iov_base));
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
	munmap(self->map, variant->size);
	/* When the node is closed, and the disk. */
	EXPECT_SEEN("back 200000+200000 flush back 200000+200000 flush", close(self->fd));
	ASSERT_EQ(0, store_pinned(&ring, vec.iov_base));
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	EXPECT_SEEN("back 200000+200000 flush", fsync(self->fd));
	ASSERT_EQ(0, store_pinned(&ring, vec.iov_base));
	io_uring_unregister_buffers(&ring);
	EXPECT_SEEN("back 200000+200000 flush", close(self->fd));
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	EXPECT_SEEN("flush", fsync(self->fd));
}

/* What is bad may not be mapped in the kernel any more, so nothing is done to it. */
TEST_F(flushes, bad_page)
{
	touch(self->map + CHUNK(1));
	ASSERT_EQ(0, go_bad(self->map + CHUNK(1) + 3 * SZ_4K));
	ASSERT_EQ(0, go_bad(self->map + CHUNK(2) - SZ_4K));
	touch(self->map + CHUNK(2));
	EXPECT_SEEN("back 200000+3000 back 204000+1fb000 back 400000+200000 flush",
		    fsync(self->fd));
	munmap(self->map, variant->size);
	close(self->fd);
	EXPECT_EQ(0, shell("echo %s >$DRIVERS/pmem_dax/unbind", variant->namespace));
	EXPECT_EQ(0, shell("echo %s >$DRIVERS/pmem_dax/bind", variant->namespace));
}

/* And after the mappings were removed. */
TEST_F(flushes, unbind_pinned)
{
	struct iovec vec = { self->map + CHUNK(1), SZ_4K };
	struct io_uring ring;
	int status, i;
	pid_t pid;

	ASSERT_EQ(0, io_uring_queue_init(1, &ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&ring, &vec, 1));
	munmap(self->map, variant->size);
	close(self->fd);
	watch();
	pid = fork();
	if (pid == 0)
		_exit(shell("echo %s >$DRIVERS/pmem_dax/unbind", variant->namespace));
	for (i = 0; i < 100 && !strstr(seen(), "flush"); i++)
		usleep(100000);
	EXPECT_STREQ("back 200000+200000 flush", seen());
	EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
	ASSERT_EQ(0, store_pinned(&ring, vec.iov_base));
	watch();
	io_uring_unregister_buffers(&ring);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_STREQ("back 200000+200000 flush", seen());
	EXPECT_EQ(0, shell("echo %s >$DRIVERS/pmem_dax/bind", variant->namespace));
}

int main(int argc, char **argv)
{
	int status;

	if (!getuid() && (watch_setup() || watch_enable(true))) {
		perror("flushes: kprobe_events");
		watch_teardown();
		return 1;
	}
	status = pmem_dax_main(argc, argv, "namespace0.0 namespace3.0");
	watch_teardown();
	return status;
}
