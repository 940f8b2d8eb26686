// SPDX-License-Identifier: GPL-2.0
/*
 * When the hardware finds bad memory, the firmware's driver tells of it: then
 * nobody gets at it any more, not even who had it mapped. It can be made good by
 * the hardware only, and the next driver finds it in the list.
 *
 * The machine check comes from mce-inject, which hands it to the kernel's list of
 * those who want to know: drivers/acpi/nfit/mce.c is one.
 */
#include <poll.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"
#define LENGTH	(3 * SZ_2M)
#define BAD	(SZ_2M + 5 * SZ_4K + 512)
#define LIST	"4137 1"

#define INJECT	"/sys/kernel/debug/mce-inject/"

FIXTURE(machine_check) {
	char *map, list[64];
	uint64_t start;
	int fd;
};

FIXTURE_SETUP(machine_check)
{
	ASSERT_EQ(0, shell("modprobe mce-inject"));
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	self->start = namespace_start(NAMESPACE);
	ASSERT_NE(0, self->start);
	snprintf(self->list, sizeof(self->list), "/sys/class/block/%s/badblocks",
		 node + strlen("/dev/"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

/* The bus forgets nothing, so it has to go. */
FIXTURE_TEARDOWN_PARENT(machine_check)
{
	EXPECT_EQ(0, shell("renew_nfit " NAMESPACE " && load claim=" NAMESPACE));
}

/* machine_check() - an uncorrected error in the 512 bytes at @address, for AMD and Intel */
static int machine_check(uint64_t address)
{
	char line[32];

	snprintf(line, sizeof(line), "%#" PRIx64 "\n", address);
	return write_line(INJECT "flags", "sw\n") || write_line(INJECT "cpu", "0\n") ||
	       write_line(INJECT "status", "0xac00000000080080\n") ||
	       write_line(INJECT "addr", line) || write_line(INJECT "misc", "0x89\n") ||
	       write_line(INJECT "bank", "4\n");
}

TEST_F(machine_check, told)
{
	struct pollfd list = { .fd = open(self->list, O_RDONLY | O_CLOEXEC), .events = POLLPRI };
	uint64_t seed = new_seed();
	char *buffer = aligned_alloc(SZ_4K, SZ_2M), line[64];
	int i;

	fill(self->map, LENGTH, seed, 0);
	EXPECT_EQ(LENGTH, huge_bytes(self->map, LENGTH));
	ASSERT_EQ(0, pread(list.fd, line, sizeof(line), 0));
	EXPECT_EQ(0, poll(&list, 1, 0));
	ASSERT_EQ(0, machine_check(self->start + BAD));
	ASSERT_EQ(1, poll(&list, 1, 10000));
	/* The next that is told of it removes what is mapped. */
	for (i = 0; i < 100 && present_bytes(self->map, LENGTH); i++)
		usleep(10000);
	ASSERT_TRUE(read_line(self->list, line, sizeof(line)));
	EXPECT_STREQ(LIST, line);

	EXPECT_EQ(12, poisoned(self->map + BAD, false));
	EXPECT_EQ(12, poisoned(self->map + BAD - 1, true));
	EXPECT_EQ(-1, differs(self->map, BAD - 512, seed, 0));
	EXPECT_EQ(-1, differs(self->map + BAD + SZ_4K - 512, LENGTH - BAD - SZ_4K + 512, seed,
			      BAD + SZ_4K - 512));
	EXPECT_EQ(LENGTH - SZ_2M, huge_bytes(self->map, LENGTH));

	/* A read has what is good of the page. */
	EXPECT_EQ(512, pread(self->fd, buffer, SZ_4K, BAD - 512));
	EXPECT_EQ(-1, differs(buffer, 512, seed, BAD - 512));
	EXPECT_EQ(-1, pread(self->fd, buffer, 1, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(512, pread(self->fd, buffer, 512, BAD + 512));
	EXPECT_EQ(-1, differs(buffer, 512, seed, BAD + 512));
	/* The firmware has no command to clear it. */
	EXPECT_EQ(-1, pwrite(self->fd, buffer, 512, BAD));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, pwrite(self->fd, buffer, SZ_2M, SZ_2M));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(512, pwrite(self->fd, buffer, 512, BAD + 512));
	munmap(self->map, LENGTH);
	close(self->fd);
	close(list.fd);

	/* Who has the namespace next knows it from the start. */
	ASSERT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind"));
	ASSERT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/bind"));
	ASSERT_TRUE(read_line(self->list, line, sizeof(line)));
	EXPECT_STREQ(LIST, line);
	self->fd = open_node();
	self->map = map_shared(self->fd, LENGTH, 0);
	EXPECT_EQ(12, poisoned(self->map + BAD, false));
	munmap(self->map, LENGTH);
	close(self->fd);
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	ASSERT_TRUE(read_line(self->list, line, sizeof(line)));
	EXPECT_STREQ(LIST, line);
	free(buffer);
}

/*
 * What is bad within the first 8 KiB is where a partition table begins, and where an info block
 * would be. A namespace that has none is a disk with a bad sector all the same.
 */
FIXTURE(first_blocks) {
	char *buffer, list[64];
	uint64_t start;
};

FIXTURE_VARIANT(first_blocks) {
	off_t bad;
	const char *line;
	/* that the place of an info block cannot be read */
	const char *told;
};

/* The header of a GPT. */
FIXTURE_VARIANT_ADD(first_blocks, header) {
	.bad = 512,
	.line = "1 1",
	.told = "0",
};

/* Its entries, which have a copy at the end of the disk. */
FIXTURE_VARIANT_ADD(first_blocks, entries) {
	.bad = SZ_4K + 512,
	.line = "9 1",
	.told = "1",
};

FIXTURE_SETUP(first_blocks)
{
	ASSERT_EQ(0, shell("modprobe mce-inject"));
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	self->start = namespace_start(NAMESPACE);
	ASSERT_NE(0, self->start);
	snprintf(self->list, sizeof(self->list), "/sys/class/block/%s/badblocks",
		 node + strlen("/dev/"));
	self->buffer = aligned_alloc(SZ_4K, SZ_2M);
}

FIXTURE_TEARDOWN_PARENT(first_blocks)
{
	EXPECT_EQ(0, shell("renew_nfit " NAMESPACE " && load claim=" NAMESPACE));
	EXPECT_EQ(0, shell("wipefs -qa %s", node));
}

TEST_F_TIMEOUT(first_blocks, raw, 300)
{
	uint64_t seed = new_seed();
	char line[64];
	int i, fd;

	ASSERT_EQ(0, shell("echo 2048,131072 | sfdisk -q --no-reread --no-tell-kernel -X gpt %s",
			   node));
	ASSERT_EQ(0, machine_check(self->start + variant->bad));
	for (i = 0; i < 100; i++) {
		if (read_line(self->list, line, sizeof(line)) && *line)
			break;
		usleep(10000);
	}
	EXPECT_STREQ(variant->line, line);

	ASSERT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind"));
	EXPECT_EQ(0, shell("log_mark; echo " NAMESPACE " >$DRIVERS/pmem_dax/bind && [ \"$(log_since \"taken as raw\" | wc -l)\" = %s ]",
			   variant->told));
	ASSERT_TRUE(read_line(self->list, line, sizeof(line)));
	EXPECT_STREQ(variant->line, line);
	fd = open_node();
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, pread(fd, self->buffer, 512, variant->bad));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(512, pread(fd, self->buffer, 512, variant->bad + 512));
	/* The firmware has no command to clear it. */
	EXPECT_EQ(-1, pwrite(fd, self->buffer, 512, variant->bad));
	EXPECT_EQ(EIO, errno);
	fill(self->buffer, SZ_2M, seed, 0);
	EXPECT_EQ(SZ_2M, pwrite(fd, self->buffer, SZ_2M, SZ_1M));
	memset(self->buffer, 0, SZ_2M);
	EXPECT_EQ(SZ_2M, pread(fd, self->buffer, SZ_2M, SZ_1M));
	EXPECT_EQ(-1, differs(self->buffer, SZ_2M, seed, 0));
	close(fd);
	/* The kernel itself looks there only if it was booted with "gpt". */
	if (variant->bad > SZ_4K)
		EXPECT_EQ(0, shell("[ \"$(partx -gro SECTORS %s)\" = 131072 ]", node));

	/* As the other driver has it. */
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	ASSERT_TRUE(read_line(self->list, line, sizeof(line)));
	EXPECT_STREQ(variant->line, line);
}

PMEM_DAX_MAIN(NAMESPACE)
