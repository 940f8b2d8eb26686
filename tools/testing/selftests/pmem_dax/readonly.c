// SPDX-License-Identifier: GPL-2.0
/*
 * A device that is read-only is not stored to, whether it was made so by an
 * administrator or by its region, and whether or not it was mapped before.
 */
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <linux/netlink.h>

#include "pmem_dax.h"

FIXTURE(readonly) {
	int fd;
};

FIXTURE_VARIANT(readonly) {
	const char *set, *clear;
	bool is_ioctl;
};

FIXTURE_VARIANT_ADD(readonly, setro) {
	.set = "blockdev --setro %s",
	.clear = "blockdev --setrw %s",
	.is_ioctl = true,
};

FIXTURE_VARIANT_ADD(readonly, region) {
	.set = "echo 1 >/sys/bus/nd/devices/region0/read_only",
	.clear = "echo 0 >/sys/bus/nd/devices/region0/read_only",
};

static int run(const char *command)
{
	char line[128];

	snprintf(line, sizeof(line), command, node);
	return shell("%s", line);
}

FIXTURE_SETUP(readonly)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(readonly)
{
	close(self->fd);
	run(variant->clear);
}

TEST_F(readonly, then_mapped)
{
	int fd = open(node, O_RDONLY | O_CLOEXEC);
	int readonly = 0;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, run(variant->set));
	ASSERT_EQ(0, ioctl(fd, BLKROGET, &readonly));
	EXPECT_EQ(1, readonly);
	EXPECT_EQ(EINVAL, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	/* It could be made writable later. */
	EXPECT_EQ(EINVAL, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, map_errno(fd, PROT_READ, MAP_SHARED, 0));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
	EXPECT_EQ(0, map_errno(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0));
	EXPECT_EQ(-1, pwrite(self->fd, "x", 1, 0));
	EXPECT_EQ(EPERM, errno);
	ASSERT_EQ(0, run(variant->clear));
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	EXPECT_EQ(1, pwrite(self->fd, "x", 1, 0));
	close(fd);
}

/*
 * A user is refused as long as there are mappings; after the hardware's switch
 * no access gets through.
 */
TEST_F(readonly, mapped_before)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	if (run(variant->set)) {
		EXPECT_EQ(0, bus_code(map, true));
		EXPECT_EQ(0, bus_code(map + SZ_4K, true));
		munmap(map, SZ_2M);
		EXPECT_EQ(0, run(variant->set));
		EXPECT_EQ(0, run(variant->clear));
		return;
	}
	EXPECT_EQ(BUS_ADRERR, bus_code(map, true));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + SZ_4K, true));
	ASSERT_EQ(0, run(variant->clear));
	EXPECT_EQ(0, bus_code(map, true));
	EXPECT_EQ(0, bus_code(map + SZ_4K, true));
	EXPECT_EQ(0, bus_code(map + 2 * SZ_4K, true));
}

/*
 * To load from a page first is no way round that: the entry would be a writable one. Nor
 * is a mapping that only becomes one for stores.
 */
TEST_F(readonly, loaded_then_stored_to)
{
	char *map = map_skewed(self->fd, SZ_2M, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	char *loads = mmap(NULL, SZ_2M, PROT_READ, MAP_SHARED, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, loads);
	if (run(variant->set))
		return;
	EXPECT_EQ(BUS_ADRERR, bus_code(map, false));
	EXPECT_EQ(BUS_ADRERR, bus_code(map, true));
	EXPECT_EQ(0, bus_code(loads, false));
	EXPECT_EQ(-1, mprotect(loads, SZ_2M, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	EXPECT_EQ(0, bus_code(loads, false));
	EXPECT_EQ(0, mprotect(map, SZ_2M, PROT_NONE));
}

TEST_F(readonly, private_mapping_before)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	if (run(variant->set))
		return;
	EXPECT_EQ(0, bus_code(map, false));
	EXPECT_EQ(0, bus_code(map, true));
}

/*
 * What somebody maps between the question whether there are mappings and the mark would
 * stay writable, so all is looked at anew after a mark.
 */
TEST_F(readonly, mapped_meanwhile)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, 0);
	int zero = 0;

	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	ASSERT_LT(0, present_bytes(map, SZ_2M));
	ASSERT_EQ(0, variant->is_ioctl ? ioctl(self->fd, BLKROSET, &zero) : run(variant->set));
	EXPECT_EQ(0, present_bytes(map, SZ_2M));
	munmap(map, SZ_2M);
}

/*
 * What a region is that is read-only, its disk is from the start. This one waits to be told of
 * the disk, and has the CPU at once then, before the call by which it is bound goes on.
 */
#define BINDS	4

static int map_when_announced(int events)
{
	char event[4096];
	ssize_t length;
	int fd, error;

	do {
		length = recv(events, event, sizeof(event) - 1, 0);
		event[length < 0 ? 0 : length] = '\0';
	} while (strncmp(event, "add@", 4) || strcmp(basename(event), node + strlen("/dev/")));
	fd = open_node();
	error = fd < 0 ? errno : map_errno(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	close(fd);
	return error;
}

TEST(read_only_when_bound)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	struct sched_param first = { .sched_priority = 1 };
	int error, events, i, pipes[2], status;
	cpu_set_t cpu, all;
	pid_t pid;

	events = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);
	ASSERT_EQ(0, bind(events, (struct sockaddr *)&kernel, sizeof(kernel)));
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	ASSERT_EQ(0, sched_getaffinity(0, sizeof(all), &all));
	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	EXPECT_EQ(0, write_line(DRIVER "unbind", "namespace0.0"));
	EXPECT_EQ(0, write_line("/sys/bus/nd/devices/region0/read_only", "1"));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (sched_setscheduler(0, SCHED_FIFO, &first))
			_exit(1);
		for (i = 0; i < BINDS; i++) {
			error = map_when_announced(events);
			if (write(pipes[1], &error, sizeof(error)) != sizeof(error))
				_exit(2);
		}
		_exit(0);
	}
	close(pipes[1]);
	for (i = 0; i < BINDS; i++) {
		EXPECT_EQ(0, write_line(DRIVER "bind", "namespace0.0"));
		EXPECT_EQ(sizeof(error), read(pipes[0], &error, sizeof(error)));
		EXPECT_EQ(EINVAL, error);
		if (i < BINDS - 1)
			EXPECT_EQ(0, write_line(DRIVER "unbind", "namespace0.0"));
	}
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, write_line("/sys/bus/nd/devices/region0/read_only", "0"));
	EXPECT_EQ(0, sched_setaffinity(0, sizeof(all), &all));
	close(pipes[0]);
	close(events);
}

PMEM_DAX_MAIN("namespace0.0")
