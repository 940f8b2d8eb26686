// SPDX-License-Identifier: GPL-2.0
/*
 * Each trace event tells what happened, where it happened, and nothing more. An event that
 * nobody enabled tells nothing.
 */
#include "pmem_dax.h"

#define INSTANCE	"/sys/kernel/tracing/instances/pmem_dax_trace/"
#define EVENTS		INSTANCE "events/pmem_dax/"

/* This kind of memory believes that whatever is written becomes good. */
#define LEGACY_NODE	"/dev/pmem2"

/* enable() - the event, or all of them, and no other; "" for none */
static int enable(const char *event)
{
	char path[128];

	if (write_line(EVENTS "enable", "0"))
		return -1;
	close(open(INSTANCE "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
	if (!event[0])
		return 0;
	snprintf(path, sizeof(path), EVENTS "%s%senable", event, strcmp(event, "all") ? "/" : "");
	if (!strcmp(event, "all"))
		return write_line(EVENTS "enable", "1");
	return write_line(path, "1");
}

/* told() - what was told since enable(): of each event its name and its fields, in a line */
static const char *told(void)
{
	static char text[8192];
	char line[512], *to = text;
	FILE *trace = fopen(INSTANCE "trace", "re");

	text[0] = '\0';
	while (trace && fgets(line, sizeof(line), trace) &&
	       to + strlen(line) < text + sizeof(text)) {
		const char *event = strstr(line, "pmem_");

		if (line[0] != '#')
			to += sprintf(to, "%s", event ?: line);
	}
	if (trace)
		fclose(trace);
	return text;
}

/* told_of() - how many times one was told of */
static int told_of(const char *event)
{
	char name[64];
	const char *at = told();
	int times = 0;

	snprintf(name, sizeof(name), "%s: ", event);
	while ((at = strstr(at, name))) {
		times++;
		at++;
	}
	return times;
}

/* fault_line() - one of them, of a fault */
static char *fault_line(char *to, const char *event, uint64_t page, const char *address,
			int order, bool write, const char *result)
{
	return to + sprintf(to, "%s: disk=%s page=0x%" PRIx64 " address=0x%lx order=%d write=%d %s\n",
			    event, node + strlen("/dev/"), page, (unsigned long)address & -SZ_4K,
			    order, write, result);
}

static int bind_as(const char *namespace, const char *setting)
{
	return shell("echo %s >" DRIVER "unbind && echo %s:%s >" DRIVER "claim && echo %s >" DRIVER
		     "bind", namespace, namespace, setting, namespace);
}

FIXTURE(trace_gigantic) {
};

FIXTURE_VARIANT(trace_gigantic) {
	const char *setting;
	bool gigantic;
};

FIXTURE_VARIANT_ADD(trace_gigantic, none) {
	.setting = "align=2M",
};

FIXTURE_VARIANT_ADD(trace_gigantic, some) {
	.setting = "align=1G",
	.gigantic = true,
};

FIXTURE_SETUP(trace_gigantic)
{
	ASSERT_EQ(0, mkdir(INSTANCE, 0700));
	ASSERT_EQ(0, bind_as("namespace4.0", variant->setting));
}

FIXTURE_TEARDOWN(trace_gigantic)
{
	enable("");
	rmdir(INSTANCE);
}

TEST_F(trace_gigantic, fault)
{
	size_t gib = 1024 * SZ_1M;
	off_t offset = -namespace_start("namespace4.0") & (gib - 1);
	char expected[512], *to = expected, *start, *map;
	uint64_t page = offset / SZ_4K;
	int fd;

	strcpy(node, "/dev/pmem4");
	fd = open_node();
	start = mmap(NULL, 2 * gib, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, start);
	map = (char *)(((uintptr_t)start + gib - 1) & -gib);
	map = mmap(map, gib, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, offset);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, enable("all"));
	touch(map);
	if (variant->gigantic) {
		fault_line(to, "pmem_fault", page, map, 18, true, "result=NOPAGE");
	} else {
		to = fault_line(to, "pmem_fault_refused", page, map, 18, true, "reason=order");
		to = fault_line(to, "pmem_fault", page, map, 18, true, "result=FALLBACK");
		fault_line(to, "pmem_fault", page, map, 9, true, "result=NOPAGE");
	}
	EXPECT_STREQ(expected, told());
	munmap(start, 2 * gib);
	close(fd);
}

FIXTURE(trace) {
	char expected[4096], *end;
	int fd;
};

FIXTURE_SETUP(trace)
{
	ASSERT_EQ(0, mkdir(INSTANCE, 0700));
	/* That 1G is tried before, where page tables have room for it, is another test's affair. */
	ASSERT_EQ(0, write_line(EVENTS "pmem_fault/filter", "order < 18"));
	ASSERT_EQ(0, write_line(EVENTS "pmem_fault_refused/filter", "order < 18"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->end = self->expected;
}

FIXTURE_TEARDOWN(trace)
{
	close(self->fd);
	enable("");
	rmdir(INSTANCE);
}

/* TELLS() - expect one more, of a fault at @offset of the disk */
#define TELLS(event, offset, address, order, write, result)				\
	(self->end = fault_line(self->end, event, (offset) / SZ_4K, address, order, write, result))

TEST_F(trace, fault)
{
	off_t place = SZ_2M + 3 * SZ_4K + 5;
	char *map = map_skewed(self->fd, 2 * SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *small = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, small);
	ASSERT_EQ(0, enable("pmem_fault"));
	touch(map + place);
	TELLS("pmem_fault", place, map + place, 9, true, "result=NOPAGE");
	load_byte(map);
	TELLS("pmem_fault", 0, map, 9, false, "result=NOPAGE");
	EXPECT_STREQ(self->expected, told());
	/* They are there now. */
	touch(map + place + SZ_4K);
	EXPECT_STREQ(self->expected, told());
	load_byte(small + 7 * SZ_4K);
	TELLS("pmem_fault", 7 * SZ_4K, small + 7 * SZ_4K, 9, false, "result=FALLBACK");
	TELLS("pmem_fault", 7 * SZ_4K, small + 7 * SZ_4K, 0, false, "result=NOPAGE");
	EXPECT_STREQ(self->expected, told());
	munmap(map, 2 * SZ_2M);
	munmap(small, SZ_2M);
}

/* What was copied has no result by that name: the core goes on with it. */
TEST_F(trace, fault_copied)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(0, enable("pmem_fault"));
	touch(map + SZ_4K);
	TELLS("pmem_fault", SZ_4K, map + SZ_4K, 9, true, "result=FALLBACK");
	TELLS("pmem_fault", SZ_4K, map + SZ_4K, 0, true, "result=");
	EXPECT_STREQ(self->expected, told());
	munmap(map, SZ_2M);
}

TEST_F(trace, refused_outside)
{
	char *map = map_skewed(self->fd, SZ_1M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_EQ(0, enable("pmem_fault_refused"));
	touch(map);
	TELLS("pmem_fault_refused", 0, map, 9, true, "reason=outside");
	EXPECT_STREQ(self->expected, told());
	munmap(map, SZ_1M);
}

TEST_F(trace, refused_unaligned)
{
	char *map = map_skewed(self->fd, 2 * SZ_2M, SZ_4K, 0, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_EQ(0, enable("pmem_fault_refused"));
	load_byte(map + SZ_2M);
	TELLS("pmem_fault_refused", SZ_2M + SZ_4K, map + SZ_2M, 9, false, "reason=unaligned");
	EXPECT_STREQ(self->expected, told());
	munmap(map, 2 * SZ_2M);
}

TEST_F(trace, refused_private)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	ASSERT_EQ(0, enable("pmem_fault_refused"));
	touch(map);
	TELLS("pmem_fault_refused", 0, map, 9, true, "reason=private");
	EXPECT_STREQ(self->expected, told());
	munmap(map, SZ_2M);
}

TEST_F(trace, refused_end)
{
	off_t size = size_of(self->fd), last = size - SZ_2M;
	char *map = map_skewed(self->fd, 2 * SZ_2M, last, 0, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_EQ(0, enable("pmem_fault_refused"));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + SZ_2M, false));
	TELLS("pmem_fault_refused", size, map + SZ_2M, 9, false, "reason=end");
	TELLS("pmem_fault_refused", size, map + SZ_2M, 0, false, "reason=end");
	EXPECT_STREQ(self->expected, told());
	munmap(map, 2 * SZ_2M);
}

TEST_F(trace, refused_read_only)
{
	const char *read_only = "/sys/bus/nd/devices/region0/read_only";
	char *map = map_skewed(self->fd, SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_EQ(0, write_line(read_only, "1"));
	EXPECT_EQ(0, enable("pmem_fault_refused"));
	EXPECT_EQ(BUS_ADRERR, bus_code(map, false));
	TELLS("pmem_fault_refused", 0, map, 9, false, "reason=read_only");
	TELLS("pmem_fault_refused", 0, map, 0, false, "reason=read_only");
	EXPECT_STREQ(self->expected, told());
	ASSERT_EQ(0, write_line(read_only, "0"));
	munmap(map, SZ_2M);
}

TEST_F(trace, refused_removed)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_EQ(0, write_line(DRIVER "unbind", "namespace0.0"));
	EXPECT_EQ(0, enable("pmem_fault_refused"));
	EXPECT_EQ(BUS_ADRERR, bus_code(map, true));
	TELLS("pmem_fault_refused", 0, map, 9, true, "reason=removed");
	TELLS("pmem_fault_refused", 0, map, 0, true, "reason=removed");
	EXPECT_STREQ(self->expected, told());
	munmap(map, SZ_2M);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, write_line(DRIVER "bind", "namespace0.0"));
}

/* With file systems about, fs/dax.c is asked. */
TEST_F(trace, fsdax)
{
	char *map;

	close(self->fd);
	ASSERT_EQ(0, bind_as("namespace0.0", "mode=fsdax"));
	self->fd = open_node();
	map = map_skewed(self->fd, 2 * SZ_2M, SZ_4K, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	EXPECT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, enable("all"));
	touch(map);
	TELLS("pmem_fault_refused", SZ_4K, map, 9, true, "reason=entries");
	TELLS("pmem_fault", SZ_4K, map, 9, true, "result=FALLBACK");
	TELLS("pmem_fault", SZ_4K, map, 0, true, "result=NOPAGE");
	EXPECT_STREQ(self->expected, told());
	munmap(map, 2 * SZ_2M);
	close(self->fd);
	self->fd = -1;
	ASSERT_EQ(0, bind_as("namespace0.0", "mode=generic"));
}

TEST_F(trace, write_back)
{
	char *map = map_shared(self->fd, 64 * SZ_2M, 0);

	ASSERT_NE(MAP_FAILED, map);
	touch(map + SZ_2M);
	touch(map + 9 * SZ_2M + SZ_1M);
	ASSERT_EQ(0, enable("pmem_write_back"));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("pmem_write_back: disk=pmem0 start=0x200000 bytes=0x200000\n"
		     "pmem_write_back: disk=pmem0 start=0x1200000 bytes=0x200000\n", told());
	ASSERT_EQ(0, enable("pmem_write_back"));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", told());
	touch(map + SZ_2M);
	EXPECT_EQ(0, msync(map + SZ_2M + SZ_4K, SZ_4K, MS_SYNC));
	EXPECT_STREQ("pmem_write_back: disk=pmem0 start=0x201000 bytes=0x1000\n", told());
	munmap(map, 64 * SZ_2M);
}

#define FLUSH "pmem_flush: disk=pmem0 result=0\n"

TEST_F(trace, flush)
{
	int held = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
	int direct = open(node, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
	char *buffer = aligned_alloc(SZ_4K, SZ_4K);

	ASSERT_LE(0, held);
	ASSERT_LE(0, direct);
	memset(buffer, 0, SZ_4K);
	ASSERT_EQ(0, enable("pmem_flush"));
	EXPECT_EQ(0, fsync(held));
	EXPECT_STREQ(FLUSH, told());
	/* As somebody else has it, this is a bio, with REQ_FUA; and an fsync after it. */
	EXPECT_EQ(SZ_4K, pwrite(direct, buffer, SZ_4K, 0));
	EXPECT_STREQ(FLUSH FLUSH FLUSH, told());
	free(buffer);
	close(direct);
	close(held);
}

TEST_F(trace, poison)
{
	int fd = open(LEGACY_NODE, O_RDWR | O_CLOEXEC);
	off_t bad = SZ_2M + 5 * SZ_4K;
	char *buffer = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	char *map;

	ASSERT_NE(MAP_FAILED, buffer);
	ASSERT_EQ(0, mprotect(buffer + SZ_4K, SZ_4K, PROT_NONE));
	map = map_skewed(fd, 2 * SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	touch(map + bad);
	strcpy(node, LEGACY_NODE);
	ASSERT_EQ(0, enable("all"));
	ASSERT_EQ(0, go_bad(map + bad));
	EXPECT_STREQ("pmem_poison_set: disk=pmem2 start=0x205000 bytes=0x1000\n", told());

	ASSERT_EQ(0, enable("all"));
	EXPECT_EQ(12, poisoned(map + bad, true));
	TELLS("pmem_fault_refused", bad, map + bad, 9, true, "reason=poison");
	TELLS("pmem_fault", bad, map + bad, 9, true, "result=FALLBACK");
	TELLS("pmem_fault_refused", bad, map + bad, 0, true, "reason=poison");
	TELLS("pmem_fault", bad, map + bad, 0, true, "result=HWPOISON");
	EXPECT_STREQ(self->expected, told());

	/* The hardware makes nothing good that is not written then. */
	ASSERT_EQ(0, go_bad(map + bad + SZ_4K));
	ASSERT_EQ(0, enable("all"));
	EXPECT_EQ(SZ_4K, pwrite(fd, buffer, 2 * SZ_4K, bad));
	EXPECT_STREQ("pmem_poison_clear: disk=pmem2 start=0x205000 bytes=0x1000\n", told());
	EXPECT_EQ(SZ_4K, pwrite(fd, buffer, SZ_4K, bad + SZ_4K));
	munmap(map, 2 * SZ_2M);
	munmap(buffer, 2 * SZ_4K);
	close(fd);
}

/* do_all() - something of everything */
static void do_all(struct __test_metadata *_metadata, int fd)
{
	char *map = map_skewed(fd, 2 * SZ_2M, 0, 0, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *private = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	char *buffer = aligned_alloc(SZ_4K, SZ_4K);

	ASSERT_NE(MAP_FAILED, map);
	memset(buffer, 0, SZ_4K);
	touch(map);
	touch(private);
	EXPECT_EQ(0, fsync(fd));
	EXPECT_EQ(0, go_bad(map));
	EXPECT_EQ(12, poisoned(map, true));
	EXPECT_EQ(SZ_4K, pwrite(fd, buffer, SZ_4K, 0));
	munmap(map, 2 * SZ_2M);
	munmap(private, SZ_4K);
	free(buffer);
}

static const char * const all[] = {
	"pmem_fault", "pmem_fault_refused", "pmem_write_back", "pmem_flush", "pmem_poison_set",
	"pmem_poison_clear",
};

/* Each of them by itself, and there is no other. */
TEST_F(trace, one_by_one)
{
	int fd = open(LEGACY_NODE, O_RDWR | O_CLOEXEC), i, j;
	char line[16];

	ASSERT_EQ(0, shell_line(line, sizeof(line), "ls -d " EVENTS "*/ | wc -l"));
	EXPECT_EQ(ARRAY_SIZE(all), atoi(line));
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		ASSERT_EQ(0, enable(all[i]));
		do_all(_metadata, fd);
		for (j = 0; j < ARRAY_SIZE(all); j++)
			EXPECT_EQ(i == j, told_of(all[j]) > 0)
				TH_LOG("%s, when %s is on:\n%s", all[j], all[i], told());
	}
	ASSERT_EQ(0, enable(""));
	do_all(_metadata, fd);
	EXPECT_STREQ("", told());
	close(fd);
}

/* The module may go while events are on, and comes back with them off. */
TEST_F(trace, unload)
{
	close(self->fd);
	ASSERT_EQ(0, enable("all"));
	EXPECT_EQ(0, shell("unload_all"));
	EXPECT_EQ(-1, access(EVENTS "enable", F_OK));
	EXPECT_EQ(0, shell("take namespace0.0"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ("", told());
	ASSERT_EQ(0, enable("pmem_flush"));
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_STREQ(FLUSH, told());
}

PMEM_DAX_MAIN_WITH("region4", "namespace0.0 namespace2.0 namespace4.0")
