// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever fails inside a call, the call fails cleanly, or does without: nothing is left behind,
 * and the device is as usable as before.
 *
 * Each call is made with its first allocation or access to the caller's memory failing, then with
 * the second one, and so on, until there are no more: /proc/self/fail-nth. Then each of them with
 * each of the functions failing that the driver calls and that may fail: fail_function, with
 * those of allow_errors/functions.h. (What it left behind shows when the module is unloaded, and
 * to kmemleak at the end.)
 *
 * Environment: PMEM_DAX_STRIDE=N, every Nth of the failures only, from one of the first N on.
 *
 * For kernels with fault injection: PMEM_DAX_DEBUG in the Makefile.
 */
#include "pmem_dax.h"

#define NAMESPACE	"namespace2.0"
#define LENGTH		(2 * SZ_2M)

/* More than any call has. */
#define MOST	5000

/* What is set up for a call, and outlives it. */
static struct {
	int fd, fail_nth, module;
	char *map;
	char buffer[2 * SZ_4K];
} it = { .fd = -1, .fail_nth = -1, .module = -1, .map = MAP_FAILED };

struct call {
	const char *name;
	/*
	 * With a file, and a mapping, or what a holder left in the page cache; with the namespace
	 * unbound, the module not loaded.
	 */
	bool opened, mapped, cached, unbound, unloaded;
	/* Negative if it failed, with errno. */
	int (*make)(void);
	/* It may fail only with these. */
	int errors[8];
};

static int do_open(void)
{
	it.fd = open_node();
	return it.fd;
}

static int do_mmap(void)
{
	it.map = map_shared(it.fd, LENGTH, 0);
	return it.map == MAP_FAILED ? -1 : 0;
}

static int do_mmap_private(void)
{
	it.map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, it.fd, 0);
	return it.map == MAP_FAILED ? -1 : 0;
}

static int do_munmap(void)
{
	/* A part in the middle, which splits it, and then the rest. */
	return munmap(it.map + SZ_4K, SZ_4K) ?: munmap(it.map, LENGTH);
}

/* Accesses cannot fail: who is out of memory tries again. */
static int do_fault_huge(void)
{
	touch(it.map);
	return 0;
}

static int do_fault_small(void)
{
	char *map = map_skewed(it.fd, LENGTH, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	int result, error;

	if (map == MAP_FAILED)
		return -1;
	result = madvise(map, LENGTH / 8, MADV_POPULATE_WRITE);
	error = errno;
	munmap(map, LENGTH);
	errno = error;
	return result;
}

static int do_copy_on_write(void)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, it.fd, 0);
	int result, error;

	if (map == MAP_FAILED)
		return -1;
	result = madvise(map, 4 * SZ_4K, MADV_POPULATE_WRITE);
	error = errno;
	munmap(map, SZ_2M);
	errno = error;
	return result;
}

static int do_read(void)
{
	return pread(it.fd, it.buffer, sizeof(it.buffer), 512);
}

static int do_write(void)
{
	return pwrite(it.fd, it.buffer, sizeof(it.buffer), 512);
}

static int do_direct_io(void)
{
	/* To the mapping, which is pinned for it. */
	return pread(it.fd, it.map + SZ_4K, SZ_4K, SZ_1M);
}

static int do_fsync(void)
{
	return fsync(it.fd);
}

static int do_msync(void)
{
	return msync(it.map, LENGTH, MS_SYNC);
}

static int do_flush(void)
{
	return ioctl(it.fd, BLKFLSBUF);
}

static int do_mprotect(void)
{
	return mprotect(it.map + SZ_4K, SZ_4K, PROT_READ) ?:
	       mprotect(it.map, LENGTH, PROT_READ | PROT_WRITE);
}

static int do_mremap(void)
{
	char *map = mremap(it.map, LENGTH, SZ_2M, MREMAP_MAYMOVE | MREMAP_FIXED,
			   it.map + 64 * SZ_2M);

	if (map == MAP_FAILED)
		return -1;
	it.map = map;
	return 0;
}

static int do_fork(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	if (pid < 0)
		return -1;
	return waitpid(pid, NULL, 0) == pid ? 0 : -1;
}

static int do_exclusive_open(void)
{
	int fd = open(node, O_RDWR | O_EXCL);

	if (fd >= 0)
		close(fd);
	return fd;
}

static int do_zero(void)
{
	uint64_t range[2] = { 0, SZ_1M };

	return ioctl(it.fd, BLKZEROOUT, range);
}

static int do_claim(void)
{
	return write_line(DRIVER "claim", "namespace7.0");
}

static int do_read_claims(void)
{
	char line[64];

	return read_line(DRIVER "claim", line, sizeof(line)) ? 0 : -1;
}

static int do_badblocks(void)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	return write_line(path, "80000 8");
}

static int do_bind(void)
{
	return write_line(DRIVER "bind", NAMESPACE);
}

static int do_load(void)
{
	return syscall(__NR_finit_module, it.module, "claim=" NAMESPACE, 0);
}

static int do_load_fsdax(void)
{
	return syscall(__NR_finit_module, it.module, "claim=" NAMESPACE ":mode=fsdax", 0);
}

static const struct call calls[] = {
	{ .name = "open", .make = do_open, .errors = { ENOMEM, ENFILE, EFAULT } },
	{ .name = "exclusive open", .make = do_exclusive_open,
	  .errors = { ENOMEM, ENFILE, EFAULT } },
	{ .name = "mmap", .opened = true, .make = do_mmap, .errors = { ENOMEM, ENFILE } },
	{ .name = "mmap, private", .opened = true, .make = do_mmap_private,
	  .errors = { ENOMEM, ENFILE } },
	{ .name = "mmap, after a holder", .cached = true, .make = do_mmap,
	  .errors = { ENOMEM, ENFILE } },
	{ .name = "munmap", .mapped = true, .make = do_munmap, .errors = { ENOMEM } },
	{ .name = "first fault", .mapped = true, .make = do_fault_huge },
	{ .name = "faults of 4 KiB", .opened = true, .make = do_fault_small,
	  .errors = { ENOMEM, ENFILE, EFAULT } },
	{ .name = "copy on write", .opened = true, .make = do_copy_on_write,
	  .errors = { ENOMEM, ENFILE, EFAULT, EHWPOISON } },
	{ .name = "read", .opened = true, .make = do_read, .errors = { ENOMEM, EFAULT } },
	{ .name = "write", .opened = true, .make = do_write, .errors = { ENOMEM, EFAULT } },
	{ .name = "read, mapped", .mapped = true, .make = do_read, .errors = { ENOMEM, EFAULT } },
	{ .name = "write, mapped", .mapped = true, .make = do_write,
	  .errors = { ENOMEM, EFAULT } },
	{ .name = "read to the mapping", .mapped = true, .make = do_direct_io,
	  .errors = { ENOMEM, EFAULT } },
	{ .name = "fsync", .mapped = true, .make = do_fsync, .errors = { ENOMEM, EIO } },
	{ .name = "msync", .mapped = true, .make = do_msync, .errors = { ENOMEM, EIO } },
	{ .name = "BLKFLSBUF", .mapped = true, .make = do_flush, .errors = { ENOMEM, EIO } },
	{ .name = "BLKZEROOUT", .opened = true, .make = do_zero,
	  .errors = { ENOMEM, EIO, EFAULT } },
	{ .name = "mprotect", .mapped = true, .make = do_mprotect, .errors = { ENOMEM } },
	{ .name = "mremap", .mapped = true, .make = do_mremap, .errors = { ENOMEM } },
	{ .name = "fork", .mapped = true, .make = do_fork, .errors = { ENOMEM, EAGAIN } },
	/* EBADF is that the file of sysfs could not be opened. */
	{ .name = "claim", .make = do_claim, .errors = { ENOMEM, EFAULT, EBADF } },
	{ .name = "list of claims", .make = do_read_claims, .errors = { ENOMEM, EFAULT, EBADF } },
	{ .name = "bad blocks", .make = do_badblocks, .errors = { ENOMEM, EFAULT, EBADF } },
};

/* These have so many allocations that tests of their own go through them. */
static const struct call bind_call = { .name = "bind", .make = do_bind, .unbound = true };
static const struct call load_calls[] = {
	{ .name = "load", .make = do_load, .unloaded = true },
	{ .name = "load, fsdax", .make = do_load_fsdax, .unloaded = true },
};

/* fail() - the @nth allocation or access from now on; 0 for none any more */
static bool fail(int nth)
{
	char line[16];

	snprintf(line, sizeof(line), "%d", nth);
	return pwrite(it.fail_nth, line, strlen(line), 0) == strlen(line);
}

/*
 * has_failed() - whether there were that many
 *
 * Reading it is an access to memory, too: if that one failed, the call was not what did.
 */
static bool has_failed(void)
{
	char line[16] = "";
	bool none_left = pread(it.fail_nth, line, sizeof(line) - 1, 0) > 0 && atoi(line) == 0;

	fail(0);
	return none_left;
}

/* mapped() - how many mappings the driver counts */
static int mapped(void)
{
	char path[80], line[16];

	snprintf(path, sizeof(path), "/sys/class/block/%s/pmem_dax/mappings",
		 node + strlen("/dev/"));
	return read_line(path, line, sizeof(line)) ? atoi(line) : -1;
}

/* clean_up() - after a call, whatever came of it; false if that is not possible */
static bool clean_up(void)
{
	if (it.map != MAP_FAILED)
		munmap(it.map, LENGTH);
	it.map = MAP_FAILED;
	if (it.fd >= 0)
		close(it.fd);
	it.fd = -1;
	if (access("/sys/module/pmem_dax", F_OK) && do_load())
		return false;
	return (!access(DRIVER NAMESPACE, F_OK) || !do_bind()) && mapped() == 0;
}

static bool prepare(const struct call *call)
{
	int holder;

	if (call->unbound)
		return !write_line(DRIVER "unbind", NAMESPACE);
	if (call->unloaded)
		return !shell("unload_all");
	if (call->opened || call->mapped || call->cached)
		it.fd = open_node();
	if (call->cached) {
		/* Beside a holder others have the page cache. */
		holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
		if (pwrite(it.fd, it.buffer, SZ_4K, 0) != SZ_4K || close(holder))
			return false;
	}
	if (call->mapped)
		it.map = map_shared(it.fd, LENGTH, 0);
	return (!call->opened && !call->mapped && !call->cached) ||
	       (it.fd >= 0 && (!call->mapped || it.map != MAP_FAILED));
}

/* is_usable() - the device, with a pattern that nobody wrote before */
static bool is_usable(void)
{
	uint64_t seed = new_seed();
	int fd = open_node();
	char *map = map_shared(fd, SZ_2M + SZ_4K, 0);
	bool result = false;

	if (map != MAP_FAILED) {
		fill(map, SZ_2M + SZ_4K, seed, 0);
		result = !fsync(fd) && media_differs(fd, 0, SZ_2M + SZ_4K, seed) == -1 &&
			 huge_bytes(map, SZ_2M) == SZ_2M;
		munmap(map, SZ_2M + SZ_4K);
	}
	close(fd);
	return result;
}

static bool may_fail_with(const struct call *call, int error)
{
	int i;

	if (call->unbound || call->unloaded)
		return true;
	for (i = 0; i < ARRAY_SIZE(call->errors) && call->errors[i]; i++)
		if (call->errors[i] == error)
			return true;
	return false;
}

#define SETTINGS "/sys/kernel/debug/"
#define FUNCTIONS SETTINGS "fail_function/"
#define TRACED "/sys/kernel/tracing/available_filter_functions"

/* Allocations that may sleep, and those of one page, fail too; and in silence. */
static const struct {
	const char *path, *value;
} settings[] = {
	{ SETTINGS "failslab/ignore-gfp-wait", "N" },
	{ SETTINGS "failslab/verbose", "0" },
	{ SETTINGS "fail_page_alloc/ignore-gfp-wait", "N" },
	{ SETTINGS "fail_page_alloc/ignore-gfp-highmem", "N" },
	{ SETTINGS "fail_page_alloc/min-order", "0" },
	{ SETTINGS "fail_page_alloc/verbose", "0" },
	{ SETTINGS "fail_usercopy/verbose", "0" },
};

FIXTURE(fault_injection) {
};

FIXTURE_SETUP(fault_injection)
{
	int i;

	it.fail_nth = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, it.fail_nth);
	it.module = open(getenv("PMEM_DAX_KO") ?: "", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, it.module);
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		ASSERT_EQ(0, write_line(settings[i].path, settings[i].value))
			TH_LOG("%s: %s", settings[i].path, strerror(errno));
}

FIXTURE_TEARDOWN(fault_injection)
{
	fail(0);
	write_line(FUNCTIONS "probability", "0");
	write_line(FUNCTIONS "inject", "\n");
	EXPECT_TRUE(clean_up());
	close(it.fail_nth);
	close(it.module);
}

/* stride() - from one failure to the next that is tried */
static int stride(void)
{
	const char *given = getenv("PMEM_DAX_STRIDE");

	return given && atoi(given) > 0 ? atoi(given) : 1;
}

/* fail_each() - make the call, with each of the failures that it may meet */
static void fail_each(struct __test_metadata *_metadata, const struct call *call)
{
	int nth, result, error, refused = 0, tried = 0;
	bool injected = true;

	for (nth = 1 + new_seed() % stride(); injected && nth < MOST; nth += stride()) {
		ASSERT_TRUE(prepare(call)) TH_LOG("%s, %d", call->name, nth);
		ASSERT_TRUE(fail(nth));
		result = call->make();
		error = errno;
		injected = has_failed();
		ASSERT_TRUE(clean_up()) TH_LOG("%s, %d", call->name, nth);
		refused += result < 0;
		tried += injected;
		ASSERT_TRUE(result >= 0 || (injected && may_fail_with(call, error)))
			TH_LOG("%s, %d: %s", call->name, nth, strerror(error));
		if (tried % 10 == 1 || !injected)
			ASSERT_TRUE(is_usable()) TH_LOG("%s, %d", call->name, nth);
	}
	TH_LOG("%s: %d of %d failures made it fail", call->name, refused, tried);
	EXPECT_GT(MOST, nth);
}

TEST_F_TIMEOUT(fault_injection, calls, 900)
{
	int i;

	ASSERT_TRUE(is_usable());
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		fail_each(_metadata, &calls[i]);
}

/* The bus and the memory of a device take the most of all. */
TEST_F_TIMEOUT(fault_injection, bind, 1500)
{
	fail_each(_metadata, &bind_call);
}

#define FUNCTION(name, type) #name
static const char *const functions[] = {
#include "allow_errors/functions.h"
};

/* set_function() - to fail, or no more; from the next arm() on, the first time that it is called */
static bool set_function(const char *name, bool on)
{
	char line[128];

	/*
	 * It fails for us only, or, if ftrace does not know it, for everybody: it is a breakpoint
	 * then, in which a task is not seen (lib/fault-inject.c: fail_task).
	 * Nobody else is there to call what that is about.
	 */
	snprintf(line, sizeof(line), "grep -qx %s " TRACED, name);
	if (on && write_line(FUNCTIONS "task-filter", shell("%s", line) ? "N" : "Y"))
		return false;
	snprintf(line, sizeof(line), "%s%s", on ? "" : "!", name);
	return !write_line(FUNCTIONS "inject", line);
}

static bool arm(void)
{
	return !write_line(FUNCTIONS "times", "1") && !write_line("/proc/self/make-it-fail", "1");
}

/* disarm() - whether the function was called */
static bool disarm(void)
{
	char line[16];

	return !write_line("/proc/self/make-it-fail", "0") &&
	       read_line(FUNCTIONS "times", line, sizeof(line)) && atoi(line) == 0;
}

/*
 * fail_function() - make the call, with the function failing that was set
 *
 * Returns whether the call came to it.
 */
static bool fail_function(struct __test_metadata *_metadata, const struct call *call,
			  const char *name)
{
	int result, error;
	bool failed;

	ASSERT_TRUE(prepare(call)) TH_LOG("%s, %s", call->name, name);
	ASSERT_TRUE(arm());
	result = call->make();
	error = errno;
	failed = disarm();
	ASSERT_TRUE(clean_up()) TH_LOG("%s, %s", call->name, name);
	/* EINVAL is what fail_function makes of it. */
	ASSERT_TRUE(result >= 0 ||
		    (failed && (error == EINVAL || may_fail_with(call, error))))
		TH_LOG("%s, %s: %s", call->name, name, strerror(error));
	if (failed) {
		TH_LOG("%s: %s %s", name, call->name, result < 0 ? strerror(error) : "did without");
		ASSERT_TRUE(is_usable()) TH_LOG("%s, %s", call->name, name);
	}
	return failed;
}

TEST_F_TIMEOUT(fault_injection, functions, 1500)
{
	const char *name;
	bool called;
	int i, j;

	ASSERT_EQ(0, shell("insmod \"$PMEM_DAX_ALLOW_ERRORS_KO\""));
	ASSERT_EQ(0, write_line(FUNCTIONS "verbose", "0"));
	ASSERT_EQ(0, write_line(FUNCTIONS "probability", "100"));
	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		name = functions[i];
		ASSERT_TRUE(set_function(name, true)) TH_LOG("%s: %s", name, strerror(errno));
		called = fail_function(_metadata, &bind_call, name);
		for (j = 0; j < ARRAY_SIZE(calls); j++)
			called |= fail_function(_metadata, &calls[j], name);
		for (j = 0; !called && j < ARRAY_SIZE(load_calls); j++) {
			called = fail_function(_metadata, &load_calls[j], name);
			ASSERT_EQ(0, shell("unload_all"));
			ASSERT_EQ(0, do_load());
		}
		EXPECT_TRUE(called) TH_LOG("%s: nobody calls it", name);
		ASSERT_TRUE(set_function(name, false));
	}
	ASSERT_EQ(0, shell("rmmod allow_errors"));
}

/*
 * A copy that stops has met bad memory that no list has, or the caller's is not there, however
 * often it was brought. Only the first is EIO, and not tried again and again: each time is a
 * machine check.
 */
TEST_F(fault_injection, machine_checks)
{
	uint64_t seed = new_seed();
	char line[16];
	int pipe_of[2];

	ASSERT_EQ(0, pipe(pipe_of));
	ASSERT_EQ(0, shell("insmod \"$PMEM_DAX_ALLOW_ERRORS_KO\""));
	ASSERT_EQ(0, write_line(FUNCTIONS "verbose", "0"));
	ASSERT_EQ(0, write_line(FUNCTIONS "probability", "100"));
	it.fd = open_node();
	fill(it.buffer, SZ_4K, seed, 0);
	ASSERT_EQ(SZ_4K, pwrite(it.fd, it.buffer, SZ_4K, 0));

	ASSERT_TRUE(set_function("_copy_mc_to_iter", true));
	memset(it.buffer, 1, SZ_4K);
	ASSERT_TRUE(arm());
	ASSERT_EQ(0, write_line(FUNCTIONS "times", "100"));
	EXPECT_EQ(SZ_4K, pread(it.fd, it.buffer, SZ_4K, 0));
	EXPECT_FALSE(disarm());
	ASSERT_TRUE(read_line(FUNCTIONS "times", line, sizeof(line)));
	EXPECT_EQ(91, atoi(line));
	EXPECT_EQ(-1, differs(it.buffer, SZ_4K, seed, 0));
	ASSERT_TRUE(set_function("_copy_mc_to_iter", false));

	/* The last of them says who is meant: both fail for everybody, but twice only. */
	ASSERT_EQ(0, write_line(FUNCTIONS "times", "0"));
	ASSERT_TRUE(set_function("copy_mc_to_kernel", true));
	ASSERT_TRUE(set_function("_copy_mc_to_iter", true));
	/* It is not copied on write then. */
	memset(it.buffer, 1, SZ_4K);
	/* The copy to the stack is said to have stopped at its last byte. */
	ASSERT_EQ(0, write_line(FUNCTIONS "times", "2"));
	EXPECT_EQ(511, pread(it.fd, it.buffer, SZ_4K, 0));
	EXPECT_TRUE(disarm());
	ASSERT_EQ(0, write_line(FUNCTIONS "times", "2"));
	EXPECT_EQ(-1, pread(it.fd, it.buffer, 1, 0));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(disarm());
	ASSERT_EQ(0, write_line(FUNCTIONS "times", "2"));
	EXPECT_EQ(-1, splice(it.fd, NULL, pipe_of[1], NULL, 1, 0));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(disarm());
	ASSERT_TRUE(set_function("copy_mc_to_kernel", false));
	ASSERT_TRUE(set_function("_copy_mc_to_iter", false));
	EXPECT_EQ(SZ_4K, pread(it.fd, it.buffer, SZ_4K, 0));
	EXPECT_EQ(-1, differs(it.buffer, SZ_4K, seed, 0));
	ASSERT_EQ(0, shell("rmmod allow_errors"));
	close(pipe_of[0]);
	close(pipe_of[1]);
}

/*
 * A page that the kernel does not get into its mapping again is not written to, and stays bad. It
 * is made good by a write that comes later.
 */
TEST_F(fault_injection, hole)
{
	ASSERT_EQ(0, shell("insmod \"$PMEM_DAX_ALLOW_ERRORS_KO\""));
	ASSERT_EQ(0, write_line(FUNCTIONS "verbose", "0"));
	ASSERT_EQ(0, write_line(FUNCTIONS "probability", "100"));
	it.fd = open_node();
	it.map = map_shared(it.fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, it.map);
	ASSERT_EQ(0, go_bad(it.map + SZ_4K));
	ASSERT_TRUE(set_function("clear_mce_nospec", true));
	ASSERT_TRUE(arm());
	EXPECT_EQ(-1, pwrite(it.fd, it.buffer, SZ_4K, SZ_4K));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(disarm());
	EXPECT_EQ(12, poisoned(it.map + SZ_4K, false));
	EXPECT_EQ(-1, pread(it.fd, it.buffer, SZ_4K, SZ_4K));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(SZ_4K, pwrite(it.fd, it.buffer, SZ_4K, SZ_4K));
	EXPECT_EQ(0, bus_code(it.map + SZ_4K, true));

	/* Nor is the next driver left to find out. */
	ASSERT_EQ(0, go_bad(it.map + SZ_4K));
	ASSERT_TRUE(arm());
	shell("dmesg -C");
	ASSERT_EQ(0, write_line(DRIVER "unbind", NAMESPACE));
	EXPECT_TRUE(disarm());
	EXPECT_EQ(0, shell("log_has \"bytes 0x1000 to 0x2000 stay unmapped\""));
	ASSERT_TRUE(set_function("clear_mce_nospec", false));
	ASSERT_EQ(0, shell("rmmod allow_errors"));
}

/* It is not refused, whatever happens. */
TEST_F_TIMEOUT(fault_injection, unbind, 900)
{
	bool injected = true;
	int nth, tried = 0;

	for (nth = 1 + new_seed() % stride(); injected && nth < MOST; nth += stride()) {
		it.fd = open_node();
		it.map = map_shared(it.fd, LENGTH, 0);
		ASSERT_NE(MAP_FAILED, it.map);
		touch(it.map);
		touch(it.map + SZ_2M);
		ASSERT_TRUE(fail(nth));
		if (write_line(DRIVER "unbind", NAMESPACE)) {
			/* Before it came to the driver. */
			injected = has_failed();
			ASSERT_TRUE(injected);
			ASSERT_EQ(0, write_line(DRIVER "unbind", NAMESPACE));
		} else {
			injected = has_failed();
		}
		EXPECT_EQ(BUS_ADRERR, bus_code(it.map, true));
		ASSERT_TRUE(clean_up());
		tried += injected;
		if (tried % 10 == 1 || !injected)
			ASSERT_TRUE(is_usable()) TH_LOG("%d", nth);
	}
	TH_LOG("%d failures", tried);
	EXPECT_GT(MOST, nth);
}

#define BIOS SETTINGS "fail_make_request/"

/* What goes to the disk as bios, since somebody holds it, fails as a whole. */
TEST_F_TIMEOUT(fault_injection, bios, 300)
{
	char path[128], *buffer = aligned_alloc(SZ_4K, SZ_4K);
	int fd, holder;

	ASSERT_NE(NULL, buffer);
	snprintf(path, sizeof(path), "/sys/class/block/%s/make-it-fail", node + strlen("/dev/"));
	ASSERT_EQ(0, write_line(path, "1"));
	ASSERT_EQ(0, write_line(BIOS "verbose", "0"));
	ASSERT_EQ(0, write_line(BIOS "times", "-1"));
	ASSERT_EQ(0, write_line(BIOS "probability", "100"));
	holder = open(node, O_RDONLY | O_EXCL);
	ASSERT_LE(0, holder);
	fd = open_node();
	EXPECT_EQ(-1, pread(fd, buffer, SZ_4K, SZ_1M));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(SZ_4K, pwrite(fd, buffer, SZ_4K, SZ_2M));
	EXPECT_EQ(-1, fsync(fd));
	EXPECT_EQ(EIO, errno);
	ASSERT_EQ(0, write_line(BIOS "probability", "0"));
	EXPECT_EQ(SZ_4K, pread(fd, buffer, SZ_4K, SZ_1M));
	close(holder);
	close(fd);
	free(buffer);
	EXPECT_TRUE(is_usable());
}

PMEM_DAX_MAIN(NAMESPACE)
