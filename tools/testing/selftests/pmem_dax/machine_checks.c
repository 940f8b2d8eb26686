// SPDX-License-Identifier: GPL-2.0
/*
 * Machine checks of the whole way, from the bank of a CPU to memory_failure(): a page may be made
 * good at any moment after, by who polls the list of bad blocks, and nothing is lost by that but
 * what was in it. Who runs into one is told with the address, or killed where the CPU cannot go on.
 *
 * An error that nobody has run into yet (deferred, to AMD) is written to a bank by mce-inject, and
 * found when the kernel polls the banks. One that a load runs into comes from QEMU: see
 * tools/testing/vm/machine_checks.
 */
#include <glob.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <termios.h>

#include "pmem_dax.h"

/* This kind of memory believes that whatever is written becomes good. */
#define NAMESPACE "namespace2.0"
#define LENGTH	(2 * SZ_2M)

#define INJECT	"/sys/kernel/debug/mce-inject/"
#define POLLING	"/sys/devices/system/machinecheck/machinecheck0/check_interval"

/*
 * MCi_STATUS, see asm/mce.h: VAL, EN, MISCV, ADDRV, POISON; and DEFERRED, or UC. QEMU's CPUs are
 * AMD's, but signal errors as Intel's do: S, AR.
 */
#define DEFERRED	0x9c00180000000000UL
#define UNCORRECTED	0xbd80080000000000UL
/* The address is that of a page. */
#define MISC	0x8c
/* MCG_STATUS: in progress, and where the CPU may go on, if it may */
#define MCIP	4
#define EIPV	2
#define RIPV	1

/* How long to wait for anything, in steps of 10 ms */
#define SOON	2000
/* Seconds: banks are polled once a second, at first. */
#define LIMIT	120

static int bad_blocks(int flags)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	return open(path, flags | O_CLOEXEC);
}

/* handled() - how many errors memory_failure() is done with, but for the caller's part */
static long handled(void)
{
	glob_t nodes = {};
	char line[32];
	long sum = 0;
	size_t i;

	glob("/sys/devices/system/node/node*/memory_failure/total", 0, NULL, &nodes);
	for (i = 0; i < nodes.gl_pathc; i++)
		if (read_line(nodes.gl_pathv[i], line, sizeof(line)))
			sum += strtol(line, NULL, 0);
	globfree(&nodes);
	return sum;
}

/* defer() - an error in the page at @address, which nobody has run into; 0 or -1 */
static int defer(uint64_t address)
{
	char status[32], line[32], misc[32];

	snprintf(status, sizeof(status), "%#lx\n", DEFERRED);
	snprintf(line, sizeof(line), "%#" PRIx64 "\n", address);
	snprintf(misc, sizeof(misc), "%#x\n", MISC);
	return write_line(INJECT "flags", "hw\n") || write_line(INJECT "cpu", "0\n") ||
	       write_line(INJECT "status", status) || write_line(INJECT "addr", line) ||
	       write_line(INJECT "misc", misc) || write_line(INJECT "bank", "2\n");
}

FIXTURE(machine_checks) {
	char *map;
	uint64_t start, seed;
	int fd;
};

FIXTURE_SETUP(machine_checks)
{
	ASSERT_EQ(0, shell("have " NAMESPACE));
	self->start = namespace_start(NAMESPACE);
	ASSERT_NE(0, self->start);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->seed = new_seed();
	fill(self->map, LENGTH, self->seed, 0);
}

FIXTURE_TEARDOWN(machine_checks)
{
	char *zeros = calloc(1, LENGTH);

	EXPECT_EQ(LENGTH, pwrite(self->fd, zeros, LENGTH, 0));
	free(zeros);
	munmap(self->map, LENGTH);
	close(self->fd);
}

/* struct healer - a thread that makes each page good again as soon as it is in the list */
struct healer {
	pthread_t thread;
	/* Whether with zeros, by bios; else by write(2). */
	bool zero;
	int fd;
	int healed, failed;
	bool stop;
};

static bool heal(struct healer *healer, off_t offset)
{
	static const char page[SZ_4K];
	uint64_t range[2] = { offset, SZ_4K };

	if (healer->zero)
		return !ioctl(healer->fd, BLKZEROOUT, range);
	return pwrite(healer->fd, page, SZ_4K, offset) == SZ_4K;
}

static void *heal_at_once(void *data)
{
	struct healer *healer = data;
	struct pollfd list = { .fd = bad_blocks(O_RDONLY), .events = POLLPRI };
	char text[4096], *line, *end;
	unsigned long sector;
	ssize_t length;

	while (!__atomic_load_n(&healer->stop, __ATOMIC_SEQ_CST)) {
		length = pread(list.fd, text, sizeof(text) - 1, 0);
		text[length > 0 ? length : 0] = '\0';
		for (line = text; *line; line = strchr(end, '\n') + 1) {
			sector = strtoul(line, &end, 10);
			if (heal(healer, sector * 512 & ~(SZ_4K - 1)))
				__atomic_fetch_add(&healer->healed, 1, __ATOMIC_SEQ_CST);
			else
				__atomic_fetch_add(&healer->failed, 1, __ATOMIC_SEQ_CST);
		}
		poll(&list, 1, 100);
	}
	close(list.fd);
	return NULL;
}

struct syncer {
	pthread_t thread;
	char *map;
	int fd;
	int failed;
	bool stop;
};

/* sync_always() - writes back what is not bad all the time */
static void *sync_always(void *data)
{
	struct syncer *syncer = data;

	while (!__atomic_load_n(&syncer->stop, __ATOMIC_SEQ_CST))
		if (fsync(syncer->fd))
			syncer->failed++;
	return NULL;
}

/*
 * A page that was made good while its error was still being handled is as any other: it can be
 * written to, read, written back, and the device be unbound.
 */
static bool survives(struct __test_metadata *_metadata, FIXTURE_DATA(machine_checks) *self,
		     bool zero)
{
	struct healer healer = { .zero = zero, .fd = self->fd };
	struct syncer syncer = { .fd = self->fd };
	char *buffer = aligned_alloc(SZ_4K, SZ_4K);
	int round, i;
	off_t page;
	long before;

	ASSERT_EQ(0, pthread_create(&healer.thread, NULL, heal_at_once, &healer));
	ASSERT_EQ(0, pthread_create(&syncer.thread, NULL, sync_always, &syncer));
	for (round = 0; round < 4; round++) {
		page = (7 + round * 3) * SZ_4K;
		before = handled();
		ASSERT_EQ(0, defer(self->start + page));
		for (i = 0; i < SOON && handled() == before; i++)
			usleep(10000);
		ASSERT_LT(i, SOON);
		for (i = 0; i < SOON && healer.healed <= round; i++)
			usleep(10000);
		ASSERT_LT(i, SOON);
		/* What the caller of memory_failure() does after it. */
		usleep(50000);
		ASSERT_EQ(0, bus_code(self->map + page, true));
		ASSERT_EQ(SZ_4K, pread(self->fd, buffer, SZ_4K, page));
		fill(buffer, SZ_4K, self->seed, page);
		ASSERT_EQ(SZ_4K, pwrite(self->fd, buffer, SZ_4K, page));
		ASSERT_EQ(-1, differs(self->map + page, SZ_4K, self->seed, page));
		ASSERT_EQ(0, fsync(self->fd));
	}
	__atomic_store_n(&healer.stop, true, __ATOMIC_SEQ_CST);
	__atomic_store_n(&syncer.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(healer.thread, NULL);
	pthread_join(syncer.thread, NULL);
	EXPECT_EQ(0, healer.failed);
	EXPECT_EQ(0, syncer.failed);
	EXPECT_EQ(-1, differs(self->map, LENGTH, self->seed, 0));
	free(buffer);
	return true;
}

TEST_F_TIMEOUT(machine_checks, healed_by_write, LIMIT)
{
	ASSERT_TRUE(survives(_metadata, self, false));
}

TEST_F_TIMEOUT(machine_checks, healed_by_bios, LIMIT)
{
	ASSERT_TRUE(survives(_metadata, self, true));
}

/* Nor does the next driver find a hole, be the page good again or not. */
TEST_F_TIMEOUT(machine_checks, unbound, LIMIT)
{
	long before = handled();
	char *zeros;
	int i, fd;

	ASSERT_EQ(0, defer(self->start + 5 * SZ_4K));
	for (i = 0; i < SOON && handled() == before; i++)
		usleep(10000);
	ASSERT_LT(i, SOON);
	usleep(50000);
	EXPECT_EQ(12, poisoned(self->map + 5 * SZ_4K, false));
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " nd_pmem"));
	fd = open(node, O_RDWR | O_DIRECT | O_CLOEXEC);
	ASSERT_LE(0, fd);
	zeros = aligned_alloc(SZ_4K, LENGTH);
	memset(zeros, 0, LENGTH);
	EXPECT_EQ(LENGTH, pwrite(fd, zeros, LENGTH, 0));
	EXPECT_EQ(LENGTH, pread(fd, zeros, LENGTH, 0));
	close(fd);
	free(zeros);
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	close(self->fd);
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

/* What a victim has to tell. */
struct victim {
	const char *address;
	int signals, code, lsb;
	void *where;
	sigjmp_buf env;
};

static struct victim *victim;

static void on_error(int signal, siginfo_t *info, void *context)
{
	victim->signals++;
	victim->code = info->si_code;
	victim->lsb = info->si_addr_lsb;
	victim->where = info->si_addr;
	siglongjmp(victim->env, 1);
}

/* load_for_ever() - with the address in R15, by which QEMU finds the loop */
static void load_for_ever(const char *address)
{
	register const char *r15 asm("r15") = address;

	asm volatile("1: movb (%0), %%al\n\tjmp 1b" : : "r"(r15) : "al", "memory");
}

static void bind_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* hit() - a machine check for the loop that loads from @address on the last CPU; what came of it */
static const char *hit(const char *address, uint64_t physical, int mcg_status)
{
	static char answer[256];
	struct pollfd port = { .events = POLLIN };
	struct termios raw;
	size_t length = 0;

	port.fd = open("/dev/ttyS1", O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (port.fd < 0 || tcgetattr(port.fd, &raw))
		return strerror(errno);
	cfmakeraw(&raw);
	tcsetattr(port.fd, TCSANOW, &raw);
	dprintf(port.fd, "%ld %#lx 2 %#lx %#x %#" PRIx64 " %#x\n",
		sysconf(_SC_NPROCESSORS_ONLN) - 1, (unsigned long)address, UNCORRECTED, mcg_status,
		physical, MISC);
	while (length < sizeof(answer) - 1 && poll(&port, 1, 90000) == 1) {
		if (read(port.fd, answer + length, 1) != 1 || answer[length] == '\n')
			break;
		length++;
	}
	answer[length] = '\0';
	close(port.fd);
	return answer;
}

/* A load that runs into an error is told of it once, with the address. */
TEST_F_TIMEOUT(machine_checks, load, LIMIT)
{
	char *address = self->map + SZ_2M + 9 * SZ_4K;
	struct sigaction action = { .sa_sigaction = on_error, .sa_flags = SA_SIGINFO };
	int status;
	pid_t pid;

	victim = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, victim);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		sigaction(SIGBUS, &action, NULL);
		bind_to(sysconf(_SC_NPROCESSORS_ONLN) - 1);
		if (!sigsetjmp(victim->env, 1))
			load_for_ever(address);
		/* There is no second signal under way. */
		for (status = 0; status < 20; status++)
			usleep(1000);
		_exit(7);
	}
	EXPECT_STREQ("done", hit(address, self->start + SZ_2M + 9 * SZ_4K, MCIP | RIPV));
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(7 << 8, status);
	EXPECT_EQ(1, victim->signals);
	EXPECT_EQ(BUS_MCEERR_AR, victim->code);
	EXPECT_EQ(12, victim->lsb);
	EXPECT_EQ(address, victim->where);
	/* It is bad for others, too, and made good by a write. */
	EXPECT_EQ(12, poisoned(address, false));
}

/* Where the CPU cannot go on there is nothing left but to kill, whatever the process wants. */
TEST_F_TIMEOUT(machine_checks, cannot_go_on, LIMIT)
{
	char *address = self->map + SZ_2M + 9 * SZ_4K;
	int status;
	pid_t pid;

	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		signal(SIGBUS, SIG_IGN);
		bind_to(sysconf(_SC_NPROCESSORS_ONLN) - 1);
		load_for_ever(address);
	}
	/* Of another page, so that it is not the next load that kills. */
	EXPECT_STREQ("done", hit(address, self->start + 9 * SZ_4K, MCIP | EIPV));
	usleep(100000);
	if (!waitpid(pid, &status, WNOHANG)) {
		usleep(900000);
		EXPECT_EQ(pid, waitpid(pid, &status, WNOHANG));
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	ASSERT_TRUE(WIFSIGNALED(status));
	EXPECT_EQ(SIGBUS, WTERMSIG(status));
}

int main(int argc, char **argv)
{
	if (system("modprobe mce-inject && echo 1 >" POLLING))
		perror("mce-inject");
	return pmem_dax_main(argc, argv, NAMESPACE);
}
