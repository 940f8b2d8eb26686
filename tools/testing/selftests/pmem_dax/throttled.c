// SPDX-License-Identifier: GPL-2.0
/*
 * A process that is made to sleep where it allocates, as its cgroup is over its memory.high, lets
 * nobody else wait: what has to see the end of all faults is as quick beside 64 of them as beside
 * 64 that sleep nowhere.
 */
#include <linux/blkpg.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define TASKS		64
/* Page tables of each task: more than a cgroup is charged for at a time (MEMCG_CHARGE_BATCH). */
#define TABLES		192
/* How often each call is made, and the seconds after which it is not made any more. */
#define ROUNDS		7
#define ENOUGH		10
/* What is quicker than that is not told apart on a busy machine; a task sleeps for 2 s. */
#define FLOOR_USEC	50000
#define CGROUPS		"/run/cgroup"
#define GROUP		CGROUPS "/throttled"

/* fault_all() - a page in each 2M of memory, in one call */
static int fault_all(char *map, int blocks)
{
	struct iovec remote[TABLES];
	char bytes[TABLES];
	struct iovec local = { bytes, blocks };
	int i;

	for (i = 0; i < blocks; i++)
		remote[i] = (struct iovec){ map + i * SZ_2M, 1 };
	return process_vm_readv(getpid(), &local, 1, remote, blocks, 0) == blocks ? 0 : -1;
}

FIXTURE(throttled) {
	/* How many times each task has been round. */
	long *rounds;
	pid_t tasks[TASKS];
	char *map;
	int fd, bad;
};

FIXTURE_VARIANT(throttled) {
	const char *settings;
	void (*call)(struct __test_metadata *_metadata, FIXTURE_DATA(throttled) *self);
};

/* What waits for faults. */

static void set_writable(struct __test_metadata *_metadata, FIXTURE_DATA(throttled) *self)
{
	int no = 0;

	ASSERT_EQ(0, ioctl(self->fd, BLKROSET, &no));
}

static void change_partitions(struct __test_metadata *_metadata, FIXTURE_DATA(throttled) *self)
{
	struct blkpg_partition partition = { .start = SZ_2M, .length = SZ_2M, .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_ADD_PARTITION, .datalen = sizeof(partition), .data = &partition,
	};

	ASSERT_EQ(0, ioctl(self->fd, BLKPG, &arg));
	arg.op = BLKPG_DEL_PARTITION;
	ASSERT_EQ(0, ioctl(self->fd, BLKPG, &arg));
}

static void lose_page(struct __test_metadata *_metadata, FIXTURE_DATA(throttled) *self)
{
	self->bad++;
	ASSERT_EQ(0, go_bad(self->map + self->bad * SZ_4K));
}

FIXTURE_VARIANT_ADD(throttled, set_writable) {
	.settings = "namespace0.0", .call = set_writable,
};

FIXTURE_VARIANT_ADD(throttled, partitions) {
	.settings = "namespace0.0", .call = change_partitions,
};

FIXTURE_VARIANT_ADD(throttled, memory_failure) {
	.settings = "namespace0.0", .call = lose_page,
};

FIXTURE_VARIANT_ADD(throttled, fsdax) {
	.settings = "namespace0.0:mode=fsdax", .call = set_writable,
};

FIXTURE_SETUP(throttled)
{
	char command[64];

	snprintf(command, sizeof(command), "take %s", variant->settings);
	ASSERT_EQ(0, shell_line(node, sizeof(node), command));
	mkdir(CGROUPS, 0755);
	ASSERT_EQ(0, mount("none", CGROUPS, "cgroup2", 0, NULL));
	ASSERT_EQ(0, write_line(CGROUPS "/cgroup.subtree_control", "+memory"));
	ASSERT_EQ(0, mkdir(GROUP, 0755));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_LT(TABLES * SZ_2M, size_of(self->fd));
	self->map = map_shared(self->fd, SZ_2M, size_of(self->fd) - SZ_2M);
	ASSERT_NE(MAP_FAILED, self->map);
	self->rounds = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, self->rounds);
}

FIXTURE_TEARDOWN(throttled)
{
	int i;

	for (i = 0; i < TASKS; i++) {
		if (self->tasks[i] <= 0)
			continue;
		kill(self->tasks[i], SIGKILL);
		waitpid(self->tasks[i], NULL, 0);
	}
	/* Bad memory is forgotten with the module: there is no firmware that makes it good. */
	munmap(self->map, SZ_2M);
	close(self->fd);
	rmdir(GROUP);
	EXPECT_EQ(0, umount(CGROUPS));
}

/* One that does nothing but have page tables made. */
static void fault_for_ever(FIXTURE_DATA(throttled) *self, int i)
{
	char *map;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (write_line(GROUP "/cgroup.procs", "0"))
		_exit(1);
	map = mmap(NULL, TABLES * SZ_2M, PROT_READ, MAP_SHARED, self->fd, 0);
	if (map == MAP_FAILED || madvise(map, TABLES * SZ_2M, MADV_NOHUGEPAGE))
		_exit(2);
	while (!fault_all(map, TABLES) && !madvise(map, TABLES * SZ_2M, MADV_DONTNEED))
		__atomic_fetch_add(&self->rounds[i], 1, __ATOMIC_SEQ_CST);
	_exit(3);
}

static long now_usec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int by_size(const void *a, const void *b)
{
	return *(const long *)a < *(const long *)b ? -1 : *(const long *)a > *(const long *)b;
}

/* usec() - how long the call takes: the median */
static long usec(struct __test_metadata *_metadata, FIXTURE_DATA(throttled) *self,
		 const FIXTURE_VARIANT(throttled) *variant)
{
	long start = now_usec(), before, taken[ROUNDS];
	int n;

	for (n = 0; n < ROUNDS && now_usec() - start < ENOUGH * 1000000; n++) {
		/* So that some fault meanwhile. */
		usleep(20000);
		before = now_usec();
		variant->call(_metadata, self);
		taken[n] = now_usec() - before;
	}
	qsort(taken, n, sizeof(*taken), by_size);
	return taken[n / 2];
}

/* throttles() - how often a task was made to sleep so far, about */
static long throttles(void)
{
	char line[32];

	shell_line(line, sizeof(line), "grep \"^high \" " GROUP "/memory.events | cut -d\" \" -f2");
	return atol(line);
}

TEST_F_TIMEOUT(throttled, lets_nobody_wait, 200)
{
	struct sched_param first = { .sched_priority = 1 };
	long alone, busy, beside, high;
	int i;

	/* What is measured is not how many wait for a CPU. */
	ASSERT_EQ(0, sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first));
	alone = usec(_metadata, self, variant);
	for (i = 0; i < TASKS; i++) {
		self->tasks[i] = fork();
		if (!self->tasks[i])
			fault_for_ever(self, i);
		ASSERT_LT(0, self->tasks[i]);
	}
	/* All are there, and nothing keeps them: what takes time is that there are so many. */
	for (i = 0; i < TASKS; i++)
		while (!__atomic_load_n(&self->rounds[i], __ATOMIC_SEQ_CST) &&
		       !waitpid(self->tasks[i], NULL, WNOHANG))
			usleep(10000);
	busy = usec(_metadata, self, variant);
	ASSERT_EQ(0, write_line(GROUP "/memory.high", "65536"));
	high = throttles();
	for (i = 0; i < 500 && throttles() < high + 2 * TASKS; i++)
		usleep(10000);
	high = throttles();
	beside = usec(_metadata, self, variant);
	TH_LOG("%ld us alone, %ld us beside them, %ld us while they sleep", alone, busy, beside);
	/* They still do, for up to 2 s each time. */
	for (i = 0; i < 500 && throttles() <= high; i++)
		usleep(10000);
	EXPECT_LT(high, throttles());
	EXPECT_GE(3 * (busy > FLOOR_USEC ? busy : FLOOR_USEC), beside);
	for (i = 0; i < TASKS; i++)
		EXPECT_EQ(0, waitpid(self->tasks[i], NULL, WNOHANG));
}

PMEM_DAX_MAIN("namespace0.0")
