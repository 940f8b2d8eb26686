// SPDX-License-Identifier: GPL-2.0
/*
 * Who may only read the node, and has nothing but that, cannot write to it by any route that
 * the kernel has. Each route is tried with a file that may be written to as well, and leads to
 * the media then, so that it is a route.
 */
#include <linux/aio_abi.h>
#include <linux/falloc.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#ifndef FALLOC_FL_WRITE_ZEROES
#define FALLOC_FL_WRITE_ZEROES	0x80
#endif

#define LENGTH	(2 * SZ_2M)
#define NOBODY	65534
#define MARK	"written by an attacker, who may not"
#define SIZE	sizeof(MARK)

/* What an attacker has. */
struct loot {
	/* The node, with the rights that the test is about, and a mapping with the same. */
	int fd;
	char *map;
	/* A file of his own with MARK at its start. */
	int file;
};

struct route {
	const char *name;
	/* Tries; whatever it returns, it is the media that count. */
	void (*walk)(const struct loot *loot);
	/* It leads nowhere even with a file that may be written to: it is refused anyway. */
	bool blind;
};

static void by_mprotect(const struct loot *loot)
{
	if (!mprotect(loot->map, SZ_4K, PROT_READ | PROT_WRITE))
		memcpy(loot->map, MARK, SIZE);
}

static void by_mprotect_of_a_copy(const struct loot *loot)
{
	char *map = mremap(loot->map, 0, SZ_4K, MREMAP_MAYMOVE);

	if (map != MAP_FAILED && !mprotect(map, SZ_4K, PROT_READ | PROT_WRITE))
		memcpy(map, MARK, SIZE);
}

static void by_moving_to_another(const struct loot *loot)
{
	char *map = mremap(loot->map, SZ_4K, SZ_4K, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);

	if (map == MAP_FAILED)
		map = mremap(loot->map, SZ_4K, SZ_4K, MREMAP_MAYMOVE);
	if (map != MAP_FAILED && !mprotect(map, SZ_4K, PROT_WRITE))
		memcpy(map, MARK, SIZE);
}

static void by_a_new_mapping(const struct loot *loot)
{
	char *map = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED, loot->fd, 0);

	if (map != MAP_FAILED)
		memcpy(map, MARK, SIZE);
}

static void by_a_validated_mapping(const struct loot *loot)
{
	char *map = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
			 loot->fd, 0);

	if (map != MAP_FAILED)
		memcpy(map, MARK, SIZE);
}

/* Stores go to a copy, also in the page that was there before, and after a fork. */
static void by_a_private_mapping(const struct loot *loot)
{
	char *map = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, loot->fd, 0);
	pid_t pid;

	if (map == MAP_FAILED)
		return;
	load_byte(map);
	memcpy(map, MARK, SIZE);
	pid = fork();
	memcpy(map, MARK, SIZE);
	memcpy(map + SZ_2M, MARK, SIZE);
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
}

/* a_child() - of the attacker's, that has the mapping too and stands still */
static pid_t a_child(void)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pause();
		_exit(0);
	}
	return pid;
}

static void end_child(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void by_ptrace(const struct loot *loot)
{
	pid_t pid = a_child();
	long word;
	size_t i;

	if (!ptrace(PTRACE_SEIZE, pid, NULL, NULL) && !ptrace(PTRACE_INTERRUPT, pid, NULL, NULL)) {
		waitpid(pid, NULL, __WALL);
		for (i = 0; i < SIZE; i += sizeof(word)) {
			memcpy(&word, MARK + i, sizeof(word) < SIZE - i ? sizeof(word) : SIZE - i);
			ptrace(PTRACE_POKEDATA, pid, loot->map + i, (void *)word);
			ptrace(PTRACE_POKETEXT, pid, loot->map + i, (void *)word);
		}
	}
	end_child(pid);
}

static void by_proc_mem_of(const char *path, const struct loot *loot)
{
	int fd = open(path, O_RDWR);

	if (pwrite(fd, MARK, SIZE, (uintptr_t)loot->map) < 0)
		close(fd);
}

static void by_proc_self_mem(const struct loot *loot)
{
	by_proc_mem_of("/proc/self/mem", loot);
}

static void by_proc_mem(const struct loot *loot)
{
	pid_t pid = a_child();
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	by_proc_mem_of(path, loot);
	end_child(pid);
}

static void by_process_vm_writev(const struct loot *loot)
{
	struct iovec from = { MARK, SIZE }, to = { loot->map, SIZE };
	pid_t pid = a_child();

	process_vm_writev(pid, &from, 1, &to, 1, 0);
	end_child(pid);
}

static void by_write(const struct loot *loot)
{
	if (pwrite(loot->fd, MARK, SIZE, 0) < 0)
		errno = 0;
}

static void by_pwritev2(const struct loot *loot)
{
	struct iovec from = { MARK, SIZE };

	pwritev2(loot->fd, &from, 1, 0, RWF_DSYNC);
}

static void by_aio(const struct loot *loot)
{
	struct iocb iocb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = loot->fd,
		.aio_buf = (uintptr_t)MARK, .aio_nbytes = SIZE,
	}, *list = &iocb;
	aio_context_t context = 0;
	struct io_event event;

	syscall(__NR_io_setup, 1, &context);
	if (syscall(__NR_io_submit, context, 1, &list) == 1)
		syscall(__NR_io_getevents, context, 1, 1, &event, NULL);
	syscall(__NR_io_destroy, context);
}

static void by_splice(const struct loot *loot)
{
	int pipes[2];
	off_t offset = 0;

	if (pipe(pipes) || write(pipes[1], MARK, SIZE) < 0)
		return;
	splice(pipes[0], NULL, loot->fd, &offset, SIZE, 0);
}

static void by_copy_file_range(const struct loot *loot)
{
	off_t from = 0, to = 0;

	copy_file_range(loot->file, &from, loot->fd, &to, SIZE, 0);
}

static void by_sendfile(const struct loot *loot)
{
	off_t from = 0;

	lseek(loot->fd, 0, SEEK_SET);
	sendfile(loot->fd, loot->file, &from, SIZE);
}

/* A page in a pipe must not be appended to, whose it is. */
static void by_filling_up_a_pipe(const struct loot *loot)
{
	struct iovec page = { loot->map, 1 };
	char buffer[SZ_4K];
	int pipes[2], i;
	off_t offset = 0;

	for (i = 0; i < 2; i++) {
		if (pipe(pipes))
			return;
		fcntl(pipes[1], F_SETFL, O_NONBLOCK);
		/* Leaves each of its buffers with the flag that it may be appended to. */
		while (write(pipes[1], buffer, sizeof(buffer)) > 0)
			;
		fcntl(pipes[0], F_SETFL, O_NONBLOCK);
		while (read(pipes[0], buffer, sizeof(buffer)) > 0)
			;
		if (i)
			vmsplice(pipes[1], &page, 1, SPLICE_F_GIFT);
		else
			splice(loot->fd, &offset, pipes[1], NULL, 1, 0);
		if (write(pipes[1], MARK, SIZE) < 0)
			errno = 0;
	}
}

/* The kernel stores what it reads to the mapping. */
static void by_reading(const struct loot *loot)
{
	if (pread(loot->file, loot->map, SIZE, 0) < 0)
		errno = 0;
}

static void by_reading_a_pipe(const struct loot *loot)
{
	struct iovec to = { loot->map, SIZE };
	int pipes[2];

	if (pipe(pipes) || write(pipes[1], MARK, SIZE) < 0)
		return;
	/* From the pipe's pages to memory. */
	vmsplice(pipes[0], &to, 1, 0);
}

static int uring(struct io_uring *ring, struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe;
	int result;

	io_uring_submit(ring);
	result = io_uring_wait_cqe(ring, &cqe);
	if (!result) {
		result = cqe->res;
		io_uring_cqe_seen(ring, cqe);
	}
	return result;
}

static void by_io_uring(const struct loot *loot)
{
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init(2, &ring, 0))
		return;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_write(sqe, loot->fd, MARK, SIZE, 0);
	uring(&ring, sqe);
	/* As a registered file. */
	io_uring_register_files(&ring, &loot->fd, 1);
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_write(sqe, 0, MARK, SIZE, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	uring(&ring, sqe);
	io_uring_queue_exit(&ring);
}

static void by_io_uring_read(const struct loot *loot)
{
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init(2, &ring, 0))
		return;
	sqe = io_uring_get_sqe(&ring);
	io_uring_prep_read(sqe, loot->file, loot->map, SIZE, 0);
	uring(&ring, sqe);
	io_uring_queue_exit(&ring);
}

static void by_a_fixed_buffer(const struct loot *loot)
{
	struct iovec buffer = { loot->map, SZ_4K };
	struct io_uring_sqe *sqe;
	struct io_uring ring;

	if (io_uring_queue_init(2, &ring, 0))
		return;
	if (!io_uring_register_buffers(&ring, &buffer, 1)) {
		sqe = io_uring_get_sqe(&ring);
		io_uring_prep_read_fixed(sqe, loot->file, loot->map, SIZE, 0, 0);
		uring(&ring, sqe);
	}
	io_uring_queue_exit(&ring);
}

static void by_futex(const struct loot *loot)
{
	int other = 0;

	/* An atomic store by the kernel, of the first four bytes. */
	syscall(__NR_futex, &other, FUTEX_WAKE_OP, 1, 1, loot->map,
		FUTEX_OP(FUTEX_OP_XOR, 0x7ff, FUTEX_OP_CMP_EQ, 0));
}

static void *thread(void *address)
{
	syscall(__NR_set_tid_address, address);
	syscall(__NR_exit, 0);
	return NULL;
}

/* The kernel stores a zero there when the thread ends. */
static void by_the_end_of_a_thread(const struct loot *loot)
{
	pthread_t id;

	if (!pthread_create(&id, NULL, thread, loot->map))
		usleep(500000);
}

static void by_userfaultfd(const struct loot *loot)
{
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	static char page[SZ_4K] __attribute__((aligned(SZ_4K))) = MARK;
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = {
		.range = { (uintptr_t)loot->map, SZ_4K },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffdio_copy copy = {
		.dst = (uintptr_t)loot->map, .src = (uintptr_t)page, .len = SZ_4K,
	};

	madvise(loot->map, SZ_4K, MADV_DONTNEED);
	ioctl(fd, UFFDIO_API, &api);
	ioctl(fd, UFFDIO_REGISTER, &area);
	ioctl(fd, UFFDIO_COPY, &copy);
	close(fd);
}

static void by_opening_it_anew(const struct loot *loot)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", loot->fd);
	fd = open(path, O_RDWR);
	if (fd < 0)
		fd = open(path, O_WRONLY);
	if (pwrite(fd, MARK, SIZE, 0) < 0)
		close(fd);
}

static void by_fallocate(const struct loot *loot)
{
	fallocate(loot->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SZ_4K);
	fallocate(loot->fd, FALLOC_FL_ZERO_RANGE, 0, SZ_4K);
	fallocate(loot->fd, FALLOC_FL_WRITE_ZEROES, 0, SZ_4K);
}

static void by_madvise(const struct loot *loot)
{
	madvise(loot->map, SZ_4K, MADV_POPULATE_WRITE);
	madvise(loot->map, SZ_4K, MADV_REMOVE);
	madvise(loot->map, SZ_4K, MADV_FREE);
	madvise(loot->map, SZ_4K, MADV_DONTNEED);
}

static void by_ioctl(const struct loot *loot)
{
	uint64_t range[2] = { 0, SZ_4K };

	ioctl(loot->fd, BLKZEROOUT, range);
	ioctl(loot->fd, BLKDISCARD, range);
	ioctl(loot->fd, BLKSECDISCARD, range);
}

static const struct route routes[] = {
	{ .name = "mprotect", .walk = by_mprotect },
	{ .name = "mprotect of a copy", .walk = by_mprotect_of_a_copy },
	{ .name = "mprotect after moving it", .walk = by_moving_to_another },
	{ .name = "a new mapping", .walk = by_a_new_mapping },
	{ .name = "a new mapping with MAP_SYNC", .walk = by_a_validated_mapping },
	{ .name = "a private mapping", .walk = by_a_private_mapping, .blind = true },
	{ .name = "ptrace", .walk = by_ptrace },
	{ .name = "/proc/self/mem", .walk = by_proc_self_mem },
	{ .name = "/proc/PID/mem", .walk = by_proc_mem },
	{ .name = "process_vm_writev", .walk = by_process_vm_writev },
	{ .name = "write", .walk = by_write },
	{ .name = "pwritev2", .walk = by_pwritev2 },
	{ .name = "aio", .walk = by_aio },
	{ .name = "splice", .walk = by_splice },
	{ .name = "copy_file_range", .walk = by_copy_file_range, .blind = true },
	{ .name = "sendfile", .walk = by_sendfile },
	{ .name = "appending to its page in a pipe", .walk = by_filling_up_a_pipe, .blind = true },
	{ .name = "read into the mapping", .walk = by_reading },
	{ .name = "vmsplice into the mapping", .walk = by_reading_a_pipe },
	{ .name = "io_uring", .walk = by_io_uring },
	{ .name = "io_uring, reading into the mapping", .walk = by_io_uring_read },
	{ .name = "io_uring, a registered buffer", .walk = by_a_fixed_buffer },
	{ .name = "futex", .walk = by_futex },
	{ .name = "the end of a thread", .walk = by_the_end_of_a_thread },
	{ .name = "userfaultfd", .walk = by_userfaultfd, .blind = true },
	{ .name = "opening it anew", .walk = by_opening_it_anew, .blind = true },
	{ .name = "fallocate", .walk = by_fallocate },
	{ .name = "madvise", .walk = by_madvise, .blind = true },
	{ .name = "ioctl", .walk = by_ioctl },
};

FIXTURE(attack_readonly) {
	char *media;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(attack_readonly) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(attack_readonly, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(attack_readonly, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_SETUP(attack_readonly)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->media = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->media);
	self->seed = new_seed();
}

FIXTURE_TEARDOWN(attack_readonly)
{
	munmap(self->media, LENGTH);
	close(self->fd);
}

/* attack() - walk the route as nobody, with a file opened with @flags; whether that worked out */
static bool attack(const struct route *route, int flags, const struct layout *layout)
{
	struct loot loot;
	int status = -1;
	FILE *file;
	pid_t pid;

	pid = fork();
	if (pid)
		return pid > 0 && waitpid(pid, &status, 0) == pid &&
		       (!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV));
	file = tmpfile();
	loot.fd = open(node, flags);
	if (!file || loot.fd < 0)
		_exit(1);
	loot.file = fileno(file);
	if (write(loot.file, MARK, SIZE) != SIZE || setgid(NOBODY) || setuid(NOBODY))
		_exit(2);
	/* setuid took it away, without which he could not even look at himself. */
	prctl(PR_SET_DUMPABLE, 1);
	if (open(node, O_RDONLY) >= 0)
		_exit(3);
	loot.map = map_skewed(loot.fd, LENGTH, layout->offset, layout->skew,
			      flags == O_RDWR ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED);
	if (loot.map == MAP_FAILED)
		_exit(4);
	load_byte(loot.map);
	route->walk(&loot);
	_exit(0);
}

TEST_F(attack_readonly, no_route_to_the_media)
{
	const struct route *route;
	int i;

	for (i = 0; i < ARRAY_SIZE(routes); i++) {
		route = &routes[i];
		fill(self->media, LENGTH, self->seed, 0);
		EXPECT_TRUE(attack(route, O_RDONLY, &variant->layout))
			TH_LOG("%s: the attacker could not try", route->name);
		EXPECT_EQ(-1, differs(self->media, LENGTH, self->seed, 0))
			TH_LOG("%s: the media were written", route->name);
	}
}

/* Or the other test says nothing. */
TEST_F(attack_readonly, routes_are_routes)
{
	const struct route *route;
	bool written;
	int i;

	for (i = 0; i < ARRAY_SIZE(routes); i++) {
		route = &routes[i];
		fill(self->media, LENGTH, self->seed, 0);
		EXPECT_TRUE(attack(route, O_RDWR, &variant->layout))
			TH_LOG("%s: the attacker could not try", route->name);
		written = differs(self->media, LENGTH, self->seed, 0) >= 0;
		EXPECT_EQ(!route->blind, written)
			TH_LOG("%s: the media were %swritten", route->name, written ? "" : "not ");
	}
}

PMEM_DAX_MAIN("namespace0.0")
