/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of this directory share: the node of the namespace under test,
 * access to memory that may not be there, and what the kernel tells of pages.
 */
#ifndef PMEM_DAX_H
#define PMEM_DAX_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>
#include <linux/mman.h>

#include "kselftest_harness.h"

/* Seconds for a test; the harness has no way to say so. */
#ifdef PMEM_DAX_TIMEOUT
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	PMEM_DAX_TIMEOUT
#endif

#define SZ_4K	0x1000UL
#define SZ_1M	0x100000UL
#define SZ_2M	0x200000UL

/* Where namespaces are bound, unbound and claimed. */
#define DRIVER	"/sys/bus/nd/drivers/pmem_dax/"

/* The node of the first namespace that the test program asked for. */
static char node[64];

/*
 * The bash that has lib.sh, which takes half a second to start in an emulated machine. It is
 * asked by one process at a time.
 */
static struct {
	/* Pipes: command lines, each between how to run it and a null byte; and answers. */
	int questions, answers;
	/* In memory that all processes share, and so left true if one dies that asks. */
	bool *busy;
	ino_t mounts;
} bash;

/* mount_namespace() - of this process; 0 if there is no /proc */
static inline ino_t mount_namespace(void)
{
	struct stat stat_buf;

	return stat("/proc/self/ns/mnt", &stat_buf) ? 0 : stat_buf.st_ino;
}

/*
 * start_bash() - for all tests of a program; it ends when they are over
 *
 * It reads the questions from file 3, and writes the answers to file 4.
 */
static inline int start_bash(void)
{
	static const char program[] =
		". ./lib.sh\n"
		"while IFS= read -r -d '' -u 3 line; do\n"
		"	first=\n"
		"	if [ \"${line:0:1}\" = '<' ]; then\n"
		"		first=$(eval \"${line:1}\" 3<&- 4>&-)\n"
		"	else\n"
		"		(eval \"${line:1}\") >&2 3<&- 4>&-\n"
		"	fi\n"
		"	printf '%s\\n%s\\n' $? \"${first%%$'\\n'*}\" >&4\n"
		"done\n";
	int to[2], from[2];
	pid_t pid;

	if (pipe(to) || pipe(from))
		return -1;
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0) {
		/* Out of the way of each other, first. */
		to[0] = fcntl(to[0], F_DUPFD, 10);
		from[1] = fcntl(from[1], F_DUPFD, 10);
		dup2(to[0], 3);
		dup2(from[1], 4);
		close_range(5, ~0U, 0);
		execlp("bash", "bash", "-c", program, NULL);
		_exit(127);
	}
	/* Out of the way of tests that look at the numbers of files. */
	bash.questions = fcntl(to[1], F_DUPFD_CLOEXEC, 100);
	bash.answers = fcntl(from[0], F_DUPFD_CLOEXEC, 100);
	close(to[0]);
	close(to[1]);
	close(from[0]);
	close(from[1]);
	bash.busy = mmap(NULL, sizeof(*bash.busy), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bash.mounts = mount_namespace();
	return bash.questions < 0 || bash.answers < 0 || bash.busy == MAP_FAILED ? -1 : 0;
}

/* read_answer() - a line of it; -1 if there is none */
static inline int read_answer(char *line, size_t size)
{
	size_t length = 0;
	char c;

	while (read(bash.answers, &c, 1) == 1) {
		if (c == '\n') {
			line[length] = '\0';
			return 0;
		}
		if (length + 1 < size)
			line[length++] = c;
	}
	return -1;
}

/*
 * ask_bash() - have the bash of all run a command line; its exit status
 *
 * Returns -1 if it was not run, or there is no answer, and -2 if this process must do it by itself:
 * another one asks, or the command would not be run as this process is.
 */
static inline int ask_bash(const char *line, char *first, size_t size)
{
	const char *how = first ? "<" : ">";
	char status[16], nothing[2];
	struct iovec question[] = {
		{ (char *)how, 1 },
		{ (char *)line, strlen(line) + 1 },
	};

	if (!bash.busy || geteuid() || !bash.mounts || mount_namespace() != bash.mounts ||
	    __atomic_exchange_n(bash.busy, true, __ATOMIC_ACQUIRE))
		return -2;
	/* Shorter than what a pipe takes at once. */
	if (writev(bash.questions, question, 2) != 1 + (ssize_t)question[1].iov_len ||
	    read_answer(status, sizeof(status)) ||
	    read_answer(first ?: nothing, first ? size : sizeof(nothing)))
		return -1;
	__atomic_store_n(bash.busy, false, __ATOMIC_RELEASE);
	return atoi(status);
}

/* shell_line() - the same as shell(); @first, if not NULL, is the first line of the output */
static inline int shell_line(char *first, size_t size, const char *line)
{
	int status = ask_bash(line, first, size);
	char *command;
	FILE *pipe;

	if (status != -2)
		return status;
	if (asprintf(&command, "exec bash -c '. ./lib.sh; %s'%s", line, first ? "" : " >&2") < 0)
		return -1;
	pipe = popen(command, "r");
	free(command);
	if (!pipe)
		return -1;
	if (first) {
		first[0] = '\0';
		if (fgets(first, size, pipe))
			first[strcspn(first, "\n")] = '\0';
	}
	while (fgetc(pipe) != EOF)
		;
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/*
 * shell() - run a command line that may use the functions of lib.sh
 *
 * Returns its exit status.
 */
static inline __attribute__((format(printf, 1, 2))) int shell(const char *format, ...)
{
	va_list args;
	char *line;
	int status;

	va_start(args, format);
	status = vasprintf(&line, format, args);
	va_end(args);
	if (status < 0)
		return -1;
	status = shell_line(NULL, 0, line);
	free(line);
	return status;
}

/* write_line() - to a file of the kernel; -1 and errno */
static inline int write_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), result;

	result = write(fd, line, strlen(line));
	close(fd);
	return result < 0 ? -1 : 0;
}

/* read_line() - the first line of a file of the kernel */
static inline bool read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t length = read(fd, line, size - 1);

	close(fd);
	line[length > 0 ? length : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return length > 0;
}

/*
 * pmem_dax_main() - run the tests with @namespaces, which are separated by spaces
 *
 * In the end the module must be unloadable: nothing may be left of what the tests did.
 */
static inline int pmem_dax_main(int argc, char **argv, const char *namespaces)
{
	char command[256], reason[256];
	int status;
	pid_t pid;

	if (chdir(dirname(strdup(argv[0])))) {
		perror("chdir");
		return KSFT_FAIL;
	}
	if (start_bash()) {
		perror("bash");
		return KSFT_FAIL;
	}
	snprintf(command, sizeof(command), "missing %s", namespaces);
	if (shell_line(reason, sizeof(reason), command) || reason[0]) {
		ksft_print_header();
		ksft_exit_skip("%s\n", reason);
	}
	snprintf(command, sizeof(command), "take %s", namespaces);
	if (shell_line(node, sizeof(node), command)) {
		ksft_print_header();
		ksft_exit_fail_msg("pmem_dax did not take %s\n", namespaces);
	}
	fflush(stdout);
	/* The harness does not return. */
	pid = fork();
	if (pid == 0)
		exit(test_harness_run(argc, argv));
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("harness");
		status = KSFT_FAIL << 8;
	}
	if (shell("unload_all")) {
		ksft_print_msg("something is still in use after the tests\n");
		return KSFT_FAIL;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : KSFT_FAIL;
}

#define PMEM_DAX_MAIN(namespaces)					\
	int main(int argc, char **argv)					\
	{								\
		return pmem_dax_main(argc, argv, namespaces);		\
	}

/*
 * pmem_dax_main_with() - the same, with a namespace of @region, which is disabled until it is
 * wanted: see tools/testing/kselftest
 */
static inline int pmem_dax_main_with(int argc, char **argv, const char *region,
				     const char *namespaces)
{
	const char *drivers = "/sys/bus/nd/drivers/nd_region/";
	char command[128];
	int status;

	snprintf(command, sizeof(command), "echo %s 2>/dev/null >%sbind", region, drivers);
	if (system(command))
		perror(region);
	status = pmem_dax_main(argc, argv, namespaces);
	snprintf(command, sizeof(command), "echo %s >%sunbind", region, drivers);
	if (system(command))
		perror(region);
	return status;
}

#define PMEM_DAX_MAIN_WITH(region, namespaces)				\
	int main(int argc, char **argv)					\
	{								\
		return pmem_dax_main_with(argc, argv, region, namespaces);	\
	}

/* open_node() - the node, for reading and writing; -1 and errno */
static inline int open_node(void)
{
	return open(node, O_RDWR | O_CLOEXEC);
}

/* open_disk() - the empty disk of the test's machine; -1 if there is none, or it is used */
static inline int open_disk(int flags)
{
	int fd = open("/dev/vda", flags | O_EXCL | O_CLOEXEC);

	if (fd >= 0 && lseek(fd, 0, SEEK_END) != 64 * SZ_1M) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline off_t size_of(int fd)
{
	return lseek(fd, 0, SEEK_END);
}

/* map_shared() - map a part of @fd for reading and writing */
static inline char *map_shared(int fd, size_t length, off_t offset)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
}

/* map_errno() - the error of a mapping that must not succeed; 0 if it does */
static inline int map_errno(int fd, int prot, int flags, off_t offset)
{
	char *map = mmap(NULL, SZ_4K, prot, flags, fd, offset);

	if (map == MAP_FAILED)
		return errno;
	munmap(map, SZ_4K);
	return 0;
}

/*
 * is_refused() - whether mmap(2) fails with @error, each time until the log has the reason, which
 * is within the limit for lines
 */
static inline bool is_refused(int fd, int error, const char *why)
{
	int i;

	shell("dmesg -C");
	for (i = 0; i < 100; i++) {
		if (map_errno(fd, PROT_READ, MAP_SHARED, 0) != error)
			return false;
		if (!shell("dmesg | grep -q \"not mapped: %s\"", why))
			return true;
		usleep(100000);
	}
	return false;
}

/* map_skewed() - map at an address @skew bytes above a 2M boundary */
static inline char *map_skewed(int fd, size_t length, off_t offset, size_t skew, int prot,
			       int flags)
{
	size_t room = length + 2 * SZ_2M;
	char *start = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *address;

	if (start == MAP_FAILED)
		return start;
	address = (char *)(((uintptr_t)start + SZ_2M - 1) & ~(SZ_2M - 1)) + skew;
	munmap(start, address - start);
	munmap(address + length, start + room - address - length);
	return mmap(address, length, prot, flags | MAP_FIXED, fd, offset);
}

/*
 * How a mapping is laid on the media: from which offset, and how far above a 2M boundary. Of
 * the three, the mapping then has 2M pages, 4K pages, and 2M pages between 1M of 4K pages at
 * either end.
 */
struct layout {
	off_t offset;
	size_t skew;
};

#define LAYOUT_HUGE	{ .offset = 0, .skew = 0 }
#define LAYOUT_SMALL	{ .offset = 0, .skew = SZ_4K }
#define LAYOUT_MIXED	{ .offset = SZ_1M, .skew = SZ_1M }

/* map_layout() - map @length bytes, a multiple of 2M */
static inline char *map_layout(int fd, size_t length, const struct layout *layout)
{
	return map_skewed(fd, length, layout->offset, layout->skew, PROT_READ | PROT_WRITE,
			  MAP_SHARED);
}

/* layout_huge() - how many of them have 2M pages when all are mapped */
static inline long layout_huge(const struct layout *layout, size_t length)
{
	if (layout->offset % SZ_2M != layout->skew)
		return 0;
	return layout->skew ? length - SZ_2M : length;
}

/* load_byte(), store_byte() - accesses that the compiler leaves alone */
static inline char load_byte(const char *address)
{
	return __atomic_load_n(address, __ATOMIC_SEQ_CST);
}

static inline void store_byte(char *address, char value)
{
	__atomic_store_n(address, value, __ATOMIC_SEQ_CST);
}

/* touch() - store to a byte without changing it */
static inline void touch(char *address)
{
	__atomic_fetch_or(address, 0, __ATOMIC_SEQ_CST);
}

/* struct taken - memory of a caller that take_memory() takes away all the time, until @stop */
struct taken {
	char *memory;
	size_t length;
	bool stop;
};

/* take_memory() - a thread */
static inline void *take_memory(void *data)
{
	struct taken *taken = data;

	while (!__atomic_load_n(&taken->stop, __ATOMIC_SEQ_CST))
		madvise(taken->memory, taken->length, MADV_DONTNEED);
	return NULL;
}

static __thread struct {
	sigjmp_buf env;
	int code, lsb;
	void *address;
} access_error;

static inline void on_access_error(int signal, siginfo_t *info, void *context)
{
	access_error.code = info->si_code;
	access_error.address = info->si_addr;
	access_error.lsb = info->si_addr_lsb;
	siglongjmp(access_error.env, 1);
}

static inline int access_code(int signal, char *address, bool store)
{
	struct sigaction action = { .sa_sigaction = on_access_error, .sa_flags = SA_SIGINFO }, old;

	access_error.code = 0;
	sigaction(signal, &action, &old);
	if (!sigsetjmp(access_error.env, 1)) {
		if (store)
			touch(address);
		else
			load_byte(address);
	}
	sigaction(signal, &old, NULL);
	if (access_error.code && access_error.address != address)
		return -1;
	return access_error.code;
}

/*
 * bus_code(), segv_code() - access a byte
 *
 * Returns 0 if that worked, or the si_code of the SIGBUS or SIGSEGV; -1 if it named another
 * address.
 */
static inline int bus_code(char *address, bool store)
{
	return access_code(SIGBUS, address, store);
}

static inline int segv_code(char *address, bool store)
{
	return access_code(SIGSEGV, address, store);
}

/*
 * poisoned() - access a byte that is to be bad memory
 *
 * Returns log2 of how much is lost, as SIGBUS tells; -1 if that did not come, or not as it should.
 */
static inline int poisoned(char *address, bool store)
{
	return bus_code(address, store) == BUS_MCEERR_AR ? access_error.lsb : -1;
}

/* What the process was told of memory that went bad, without touching it. */
static struct {
	int signals, code, lsb;
	void *address;
} report;

static inline void on_report(int signal, siginfo_t *info, void *context)
{
	report.signals++;
	report.code = info->si_code;
	report.lsb = info->si_addr_lsb;
	report.address = info->si_addr;
}

/* listen_for_reports() - from here on; what was before is forgotten */
static inline void listen_for_reports(struct sigaction *old)
{
	struct sigaction action = { .sa_sigaction = on_report, .sa_flags = SA_SIGINFO };

	memset(&report, 0, sizeof(report));
	sigaction(SIGBUS, &action, old);
}

/*
 * go_bad() - make the page at @address bad, as memory-failure tests do
 *
 * Returns 0 if that worked, and who did it was told, once, as if by a load; -1 and errno if it did
 * not; 1 if it was told otherwise. With more than one mapping of the page it is that of any.
 */
static inline int go_bad(char *address)
{
	struct sigaction old;
	int result;

	listen_for_reports(&old);
	result = madvise(address, SZ_4K, MADV_HWPOISON);
	sigaction(SIGBUS, &old, NULL);
	if (result)
		return report.signals ? 1 : result;
	return report.signals != 1 || report.code != BUS_MCEERR_AR || report.lsb != 12;
}

/*
 * fill(), differs() - bytes that tell where on the device they belong
 *
 * @offset and @length are multiples of 8. differs() returns the offset of the first word of
 * @buffer that is not what fill() would have put there, -1 if all are.
 */
static inline uint64_t pattern(uint64_t seed, uint64_t offset)
{
	return ((offset >> 3) + 1) * 0x9e3779b97f4a7c15UL ^ seed;
}

static inline void fill(void *buffer, size_t length, uint64_t seed, uint64_t offset)
{
	uint64_t *word = buffer;
	size_t i;

	for (i = 0; i < length / 8; i++)
		word[i] = pattern(seed, offset + i * 8);
}

static inline off_t differs(const void *buffer, size_t length, uint64_t seed, uint64_t offset)
{
	const uint64_t *word = buffer;
	size_t i;

	for (i = 0; i < length / 8; i++)
		if (word[i] != pattern(seed, offset + i * 8))
			return offset + i * 8;
	return -1;
}

/*
 * media_differs() - the same of what is on the media; @offset is that of the pattern's start; -2 if
 * not all of it could be read
 */
static inline off_t media_differs(int fd, off_t offset, size_t length, uint64_t seed)
{
	char *buffer = aligned_alloc(SZ_4K, length);
	ssize_t n = buffer ? pread(fd, buffer, length, offset) : -1;
	off_t result = -2;

	if (n == (ssize_t)length)
		result = differs(buffer, length, seed, 0);
	else
		fprintf(stderr, "# read %zd of %zu bytes at %lld: %s\n", n, length,
			(long long)offset, n < 0 ? strerror(errno) : "no error");
	free(buffer);
	return result;
}

/* new_seed() - what no earlier test left on the device */
static inline uint64_t new_seed(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec << 32 ^ now.tv_nsec ^ (uint64_t)getpid() << 16;
}

/* minor_faults() - of this process so far */
static inline long minor_faults(void)
{
	/* Stored to, so that the fault of its own page, after a fork, is one of those before. */
	struct rusage usage = {};

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_minflt;
}

/* scan_bytes() - how much of the range has pages of @category; -1 if the kernel cannot tell */
static inline long scan_bytes(const char *start, size_t length, uint64_t category)
{
	struct page_region regions[64];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)start,
		.end = (uintptr_t)start + length,
		.vec = (uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions),
		.category_mask = category,
		.return_mask = category,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	long bytes = 0;
	int i, n;

	do {
		n = ioctl(fd, PAGEMAP_SCAN, &arg);
		if (n < 0) {
			bytes = -1;
			break;
		}
		for (i = 0; i < n; i++)
			bytes += regions[i].end - regions[i].start;
		arg.start = arg.walk_end;
	} while (n > 0 && arg.start < arg.end);
	close(fd);
	return bytes;
}

/* huge_bytes() - how much of the range is mapped with 2M pages */
static inline long huge_bytes(const char *start, size_t length)
{
	return scan_bytes(start, length, PAGE_IS_HUGE);
}

/* present_bytes() - how much of the range is mapped with any pages */
static inline long present_bytes(const char *start, size_t length)
{
	return scan_bytes(start, length, PAGE_IS_PRESENT);
}

/* physical() - the physical address of a byte that is mapped; 0 if it is not */
static inline uint64_t physical(const char *address)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0;

	if (pread(fd, &entry, sizeof(entry), (uintptr_t)address / SZ_4K * 8) != sizeof(entry) ||
	    !(entry & 1UL << 63))
		entry = 0;
	close(fd);
	return (entry & ((1UL << 55) - 1)) * SZ_4K;
}

/* namespace_start() - the physical address of a namespace; 0 if it cannot be told */
static inline uint64_t namespace_start(const char *namespace)
{
	char path[128], line[32];

	snprintf(path, sizeof(path), "cat /sys/bus/nd/devices/%s/resource", namespace);
	if (shell_line(line, sizeof(line), path))
		return 0;
	return strtoull(line, NULL, 0);
}

/* keeps_size() - that a mapping neither grows nor is watched, and stays as it is */
static inline bool keeps_size(char *map, size_t length)
{
	return mremap(map, length, length + SZ_4K, MREMAP_MAYMOVE) == MAP_FAILED &&
	       errno == EFAULT &&
	       mremap(map, length, length, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) == MAP_FAILED &&
	       errno == EINVAL &&
	       madvise(map, SZ_4K, 102 /* MADV_GUARD_INSTALL */) && errno == EINVAL;
}

/* cached_pages() - the pages that the page cache has of a file; -1 if the kernel cannot tell */
static inline long cached_pages(int fd)
{
	struct cachestat_range all = {};
	struct cachestat stat;

	if (syscall(__NR_cachestat, fd, &all, &stat, 0))
		return -1;
	return stat.nr_cache;
}

#endif /* PMEM_DAX_H */
