// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever nobody does with an open file of the node, what root writes to sysfs is done
 * soon: unbinding and binding, claims, bad blocks, and whether stores are written back. So
 * are changes of a partition, with a file of that.
 *
 * But for pins, for which unbinding waits and says so: end_of_life.c.
 */
#include <linux/blkpg.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "pmem_dax.h"

#define NAMESPACE	"namespace0.0"
#define LENGTH		(8 * SZ_2M)
#define NOBODY		65534
#define ATTACKERS	3
#define ROUNDS		3

/* Seconds in which a write to sysfs is done; the emulated machine is a slow one. */
#ifdef PMEM_DAX_TIMEOUT
#define SOON	60
#else
#define SOON	15
#endif

static void stand_still(int fd)
{
	char *map = map_shared(fd, LENGTH, 0), *copy;
	size_t at;

	copy = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED || copy == MAP_FAILED)
		_exit(2);
	for (at = 0; at < LENGTH; at += SZ_4K) {
		touch(map + at);
		touch(copy + at);
	}
	raise(SIGSTOP);
}

/* It goes on when the memory is gone, by a handler. */
static void fault(int fd)
{
	char *maps[2] = { map_shared(fd, LENGTH, 0), map_skewed(fd, LENGTH, 0, SZ_4K,
			  PROT_READ | PROT_WRITE, MAP_SHARED) };
	size_t at;

	for (;;) {
		for (at = 0; at < LENGTH; at += SZ_4K)
			bus_code(maps[at / SZ_4K & 1] + at, at & SZ_4K);
		madvise(maps[0], LENGTH, MADV_DONTNEED);
		madvise(maps[1], LENGTH, MADV_DONTNEED);
	}
}

static void map(int fd)
{
	char *map;

	for (;;) {
		map = map_shared(fd, LENGTH, 0);
		if (map == MAP_FAILED)
			continue;
		bus_code(map, true);
		bus_code(map + SZ_2M, false);
		munmap(map, LENGTH);
	}
}

static void transfer(int fd)
{
	char *buffer = malloc(LENGTH);

	for (;;) {
		if (pread(fd, buffer, LENGTH, 0) < 0 || pwrite(fd, buffer, LENGTH, 0) < 0)
			fsync(fd);
	}
}

static void synchronize(int fd)
{
	char *map = map_shared(fd, LENGTH, 0);
	size_t at;

	for (;;) {
		for (at = 0; at < LENGTH; at += SZ_2M)
			bus_code(map + at, true);
		msync(map, LENGTH, MS_SYNC);
		fsync(fd);
		ioctl(fd, BLKFLSBUF);
	}
}

static void split(int fd)
{
	char *map = map_shared(fd, LENGTH, 0);
	pid_t pid;
	int i;

	for (i = 0;; i++) {
		bus_code(map + i % 4 * SZ_2M, true);
		mprotect(map + i % 500 * SZ_4K, SZ_4K, i & 1 ? PROT_READ : PROT_READ | PROT_WRITE);
		mremap(map + SZ_2M, SZ_2M, SZ_2M, MREMAP_MAYMOVE);
		pid = fork();
		if (!pid) {
			bus_code(map, true);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

/* Memory that is there when somebody says so. */
static char *late_memory(int *fd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *memory = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);

	*fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	area.range.start = (uintptr_t)memory;
	area.range.len = SZ_2M;
	if (memory == MAP_FAILED || ioctl(*fd, UFFDIO_API, &api) ||
	    ioctl(*fd, UFFDIO_REGISTER, &area))
		_exit(2);
	return memory;
}

static void read_to_late_memory(int fd)
{
	int uffd;

	if (pread(fd, late_memory(&uffd), SZ_1M, 0) < 0)
		_exit(3);
}

static void write_from_late_memory(int fd)
{
	int uffd;

	if (pwrite(fd, late_memory(&uffd), SZ_1M, 0) < 0)
		_exit(3);
}

static void start(pid_t *attackers, int fd, void (*attack)(int fd))
{
	int i;

	for (i = 0; i < ATTACKERS; i++) {
		attackers[i] = fork();
		if (attackers[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (setgid(NOBODY) || setuid(NOBODY))
			_exit(1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Ends when the harness kills it. */
		attack(fd);
		for (;;)
			pause();
	}
}

static void end(pid_t *attackers)
{
	int i;

	for (i = 0; i < ATTACKERS; i++) {
		if (attackers[i] <= 0)
			continue;
		kill(attackers[i], SIGKILL);
		waitpid(attackers[i], NULL, 0);
		attackers[i] = 0;
	}
}

/* root() - write to a file of sysfs; how many seconds that took, -1 if it failed */
static int root(const char *path, const char *line)
{
	time_t start = time(NULL);

	if (write_line(path, line)) {
		perror(path);
		return -1;
	}
	return time(NULL) - start;
}

FIXTURE(attack_unbind) {
	pid_t attackers[ATTACKERS];
	int fd;
};

FIXTURE_VARIANT(attack_unbind) {
	void (*attack)(int fd);
};

FIXTURE_VARIANT_ADD(attack_unbind, stopped) {
	.attack = stand_still,
};

FIXTURE_VARIANT_ADD(attack_unbind, faults) {
	.attack = fault,
};

FIXTURE_VARIANT_ADD(attack_unbind, maps) {
	.attack = map,
};

FIXTURE_VARIANT_ADD(attack_unbind, transfers) {
	.attack = transfer,
};

FIXTURE_VARIANT_ADD(attack_unbind, syncs) {
	.attack = synchronize,
};

FIXTURE_VARIANT_ADD(attack_unbind, splits) {
	.attack = split,
};

/* In the middle of a copy. */
FIXTURE_VARIANT_ADD(attack_unbind, reads_to_late_memory) {
	.attack = read_to_late_memory,
};

FIXTURE_VARIANT_ADD(attack_unbind, writes_from_late_memory) {
	.attack = write_from_late_memory,
};

FIXTURE_SETUP(attack_unbind)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	ASSERT_EQ(0, write_line("/proc/sys/vm/unprivileged_userfaultfd", "1"));
}

FIXTURE_TEARDOWN(attack_unbind)
{
	end(self->attackers);
	write_line("/proc/sys/vm/unprivileged_userfaultfd", "0");
	close(self->fd);
}

#define EXPECT_SOON(path, line)						\
	do {								\
		int seconds = root(path, line);				\
									\
		EXPECT_LE(0, seconds);					\
		EXPECT_GE(SOON, seconds) TH_LOG("%s", path);		\
	} while (0)

TEST_F_TIMEOUT(attack_unbind, is_soon, 10 * SOON)
{
	char path[128];
	int i;

	for (i = 0; i < ROUNDS; i++) {
		start(self->attackers, self->fd, variant->attack);
		sleep(1);
		snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks",
			 node + strlen("/dev/"));
		EXPECT_SOON(path, "819200 8");
		snprintf(path, sizeof(path), "/sys/class/block/%s/dax/write_cache",
			 node + strlen("/dev/"));
		EXPECT_SOON(path, "0");
		EXPECT_SOON(path, "1");
		EXPECT_SOON(DRIVER "claim", NAMESPACE);
		EXPECT_SOON(DRIVER "unbind", NAMESPACE);
		/* With what is left of the attackers. */
		EXPECT_SOON(DRIVER "bind", NAMESPACE);
		end(self->attackers);
		close(self->fd);
		self->fd = open_node();
		ASSERT_LE(0, self->fd);
	}
}

/* blkpg() - change the partition; how many seconds that took, -1 if it failed */
static int blkpg(int fd, int op, size_t size)
{
	struct blkpg_partition part = { .start = SZ_1M, .length = size, .pno = 1 };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };
	time_t start = time(NULL);

	if (ioctl(fd, BLKPG, &arg)) {
		perror("BLKPG");
		return -1;
	}
	return time(NULL) - start;
}

TEST_F_TIMEOUT(attack_unbind, shrinks_soon, 10 * SOON)
{
	char path[80];
	int part, i;

	snprintf(path, sizeof(path), "%sp1", node);
	ASSERT_LE(0, blkpg(self->fd, BLKPG_ADD_PARTITION, LENGTH));
	part = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, part);
	start(self->attackers, part, variant->attack);
	sleep(1);
	for (i = 0; i < ROUNDS; i++) {
		int shrunk = blkpg(self->fd, BLKPG_RESIZE_PARTITION, SZ_2M);
		int grown = blkpg(self->fd, BLKPG_RESIZE_PARTITION, LENGTH);

		EXPECT_LE(0, shrunk);
		EXPECT_GE(SOON, shrunk);
		EXPECT_LE(0, grown);
		EXPECT_GE(SOON, grown);
	}
	end(self->attackers);
	close(part);
	/* The kernel may have the memory of a process, and its files, for a while (mmget). */
	for (i = 0; i < 50 && blkpg(self->fd, BLKPG_DEL_PARTITION, 0) < 0; i++)
		usleep(100000);
	EXPECT_GT(50, i);
}

/* A transfer that waits for memory of its caller. */
struct transfer {
	pthread_t thread;
	int fd;
	char *memory;
	bool write;
	ssize_t done;
};

static void *do_transfer(void *arg)
{
	struct transfer *it = arg;

	it->done = it->write ? pwrite(it->fd, it->memory, SZ_1M, 0) :
			       pread(it->fd, it->memory, SZ_1M, 0);
	return NULL;
}

static int bring(int uffd, char *memory, size_t length)
{
	struct uffdio_zeropage zeroes = { .range = { (uintptr_t)memory, length } };

	return ioctl(uffd, UFFDIO_ZEROPAGE, &zeroes);
}

/*
 * The memory comes when the device is gone: the call returns what was copied before. Of a read
 * that is the sector too that it holds until the memory comes.
 */
TEST(memory_comes_later)
{
	struct transfer it = {};
	struct uffd_msg message;
	int uffd, i;

	for (i = 0; i < 2; i++) {
		it.write = i;
		it.fd = open_node();
		ASSERT_LE(0, it.fd);
		it.memory = late_memory(&uffd);
		/* A page of zeroes is there, but not to be written to, until it is written to. */
		ASSERT_EQ(0, bring(uffd, it.memory, SZ_4K));
		it.memory[0] = 1;
		ASSERT_EQ(0, pthread_create(&it.thread, NULL, do_transfer, &it));
		ASSERT_EQ(sizeof(message), read(uffd, &message, sizeof(message)));
		EXPECT_EQ(UFFD_EVENT_PAGEFAULT, message.event);
		EXPECT_SOON(DRIVER "unbind", NAMESPACE);
		ASSERT_EQ(0, bring(uffd, it.memory + SZ_4K, SZ_1M - SZ_4K));
		ASSERT_EQ(0, pthread_join(it.thread, NULL));
		EXPECT_EQ(it.write ? SZ_4K : SZ_4K + 512, it.done);
		close(uffd);
		close(it.fd);
		EXPECT_SOON(DRIVER "bind", NAMESPACE);
	}
}

PMEM_DAX_MAIN(NAMESPACE)
