// SPDX-License-Identifier: GPL-2.0
/*
 * A device may go at any time and for any reason, whatever is done with it. Some
 * reasons can be refused while it is used, and are; for the others, who uses it
 * gets errors, what is pinned is waited for, and what was written is there when the
 * device comes back.
 */
#include <sys/mount.h>

#include <liburing.h>

#include "pmem_dax.h"

#define LENGTH	(4 * SZ_2M)
#define MNT	"/mnt"

/* What is done with the device that a reason may be refused for. */
enum use { OPEN = 1, HELD = 2, PINNED = 4 };

FIXTURE(end_of_life) {
	struct io_uring ring;
	char path[64];
	char *map, *small, *private, *untouched, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(end_of_life) {
	const char *namespace;
	/* Shell commands: to bring about the end, and to have the device again. */
	const char *end, *again;
	enum use refused;
};

FIXTURE_VARIANT_ADD(end_of_life, unbind) {
	.namespace = "namespace2.0",
	.end = "echo namespace2.0 >$DRIVERS/pmem_dax/unbind",
	.again = "echo namespace2.0 >$DRIVERS/pmem_dax/bind",
};

FIXTURE_VARIANT_ADD(end_of_life, ndctl) {
	.namespace = "namespace2.0",
	.end = "ndctl disable-namespace namespace2.0 >/dev/null 2>&1",
	.again = "echo namespace2.0 >$DRIVERS/pmem_dax/bind",
	/* It asks for the disk alone. */
	.refused = HELD | PINNED,
};

FIXTURE_VARIANT_ADD(end_of_life, rmmod) {
	.namespace = "namespace2.0",
	.end = "rmmod pmem_dax 2>/dev/null",
	.again = "load claim=namespace2.0,namespace3.0",
	.refused = OPEN | HELD,
};

/* The region, with all namespaces in it. */
FIXTURE_VARIANT_ADD(end_of_life, region) {
	.namespace = "namespace2.0",
	.end = "echo region2 >$DRIVERS/nd_region/unbind",
	.again = "echo region2 >$DRIVERS/nd_region/bind",
};

/* The device that the memory is of loses its driver. */
FIXTURE_VARIANT_ADD(end_of_life, virtio_unbind) {
	.namespace = "namespace3.0",
	.end = "cd -P $DEVICES/namespace3.0/../../.. && echo ${PWD##*/} >driver/unbind",
	.again = "rebind_virtio && appears namespace3.0",
};

/* It is unplugged. */
FIXTURE_VARIANT_ADD(end_of_life, pci_remove) {
	.namespace = "namespace3.0",
	.end = "cd -P $DEVICES/namespace3.0/../../../.. && echo 1 >remove",
	.again = "echo 1 >/sys/bus/pci/rescan && appears namespace3.0",
};

FIXTURE_SETUP(end_of_life)
{
	char command[64];

	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	ASSERT_EQ(0, shell_line(self->path, sizeof(self->path), command));
	ASSERT_NE('\0', self->path[0]);
	self->fd = open(self->path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	self->seed = new_seed();
	self->buffer = aligned_alloc(SZ_4K, LENGTH);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN_PARENT(end_of_life)
{
	umount2(MNT, MNT_DETACH);
	EXPECT_EQ(0, shell("[ -b \"$(node_of %s)\" ] || { %s; }; node_appears %s",
			   variant->namespace, variant->again, variant->namespace));
}

static int status_of(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ended() - bring it about; whether it came, or was refused, as it should */
static bool ended(FIXTURE_DATA(end_of_life) *self, const FIXTURE_VARIANT(end_of_life) *variant,
		  enum use use)
{
	bool refused = variant->refused & use;

	return (shell("%s", variant->end) != 0) == refused;
}

/* expect_no_access() - with the file; a write has that @error */
static void expect_no_access(struct __test_metadata *_metadata, FIXTURE_DATA(end_of_life) *self,
			     int error)
{
	EXPECT_EQ(0, pread(self->fd, self->buffer, SZ_4K, 0));
	EXPECT_EQ(-1, pwrite(self->fd, self->buffer, SZ_4K, 0));
	EXPECT_EQ(error, errno);
	EXPECT_EQ(-1, fsync(self->fd));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(MAP_FAILED, map_shared(self->fd, SZ_4K, 0));
	EXPECT_EQ(ENXIO, errno);
}

/* expect_gone() - what system calls with the file say then */
static void expect_gone(struct __test_metadata *_metadata, FIXTURE_DATA(end_of_life) *self)
{
	char path[64];
	struct stat file;

	expect_no_access(_metadata, self, ENOSPC);
	EXPECT_EQ(0, size_of(self->fd));
	ASSERT_EQ(0, fstat(self->fd, &file));
	snprintf(path, sizeof(path), "/tmp/end_of_life.%d", getpid());
	ASSERT_EQ(0, mknod(path, S_IFBLK | 0600, file.st_rdev));
	EXPECT_EQ(-1, open(path, O_RDWR));
	EXPECT_EQ(ENXIO, errno);
	unlink(path);
}

/* have_again() - the device; its file */
static int have_again(FIXTURE_DATA(end_of_life) *self,
		      const FIXTURE_VARIANT(end_of_life) *variant)
{
	char command[64];

	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	if (shell("[ -b \"$(node_of %s)\" ] || { %s; }; node_appears %s", variant->namespace,
		  variant->again, variant->namespace) ||
	    shell_line(self->path, sizeof(self->path), command))
		return -1;
	return open(self->path, O_RDWR | O_CLOEXEC);
}

/* The block layer leaves a partition its size; but nothing is mapped, read or written there. */
TEST_F(end_of_life, partition)
{
	char command[64];
	int fd, old = self->fd;

	snprintf(command, sizeof(command), "node_of %s", variant->namespace);
	ASSERT_EQ(0, shell("echo 4096,65536 | sfdisk -q --no-reread --no-tell-kernel --label dos $(%s) && partx -u $(%s)",
			   command, command));
	snprintf(command, sizeof(command), "echo $(node_of %s)p1", variant->namespace);
	ASSERT_EQ(0, shell_line(self->path, sizeof(self->path), command));
	fd = open(self->path, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, fd);
	close(old);
	old = fd;
	self->fd = fd;
	ASSERT_TRUE(ended(self, variant, HELD));
	if (!(variant->refused & HELD))
		expect_no_access(_metadata, self, EIO);
	self->fd = have_again(self, variant);
	ASSERT_LE(0, self->fd);
	if (!(variant->refused & HELD)) {
		/* Nor of the disk that has its number then. */
		EXPECT_EQ(MAP_FAILED, map_shared(old, SZ_4K, 0));
		EXPECT_EQ(ENXIO, errno);
		fd = open(self->path, O_RDWR | O_EXCL | O_CLOEXEC);
		EXPECT_LE(0, fd);
		close(fd);
	}
	close(old);
	memset(self->buffer, 0, SZ_4K);
	EXPECT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, 0));
	EXPECT_EQ(0, shell("partx -d %s || true", self->path));
}

TEST_F(end_of_life, open)
{
	int fd;

	fill(self->buffer, SZ_2M, self->seed, 0);
	ASSERT_EQ(SZ_2M, pwrite(self->fd, self->buffer, SZ_2M, SZ_4K));
	ASSERT_TRUE(ended(self, variant, OPEN));
	if (!(variant->refused & OPEN))
		expect_gone(_metadata, self);
	else
		EXPECT_EQ(0, media_differs(self->fd, SZ_4K, SZ_2M, self->seed) + 1);
	fd = have_again(self, variant);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, media_differs(fd, SZ_4K, SZ_2M, self->seed));
	close(fd);
}

static void map_all(struct __test_metadata *_metadata, FIXTURE_DATA(end_of_life) *self)
{
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	self->small = map_skewed(self->fd, LENGTH, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, self->small);
	self->private = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);
	ASSERT_NE(MAP_FAILED, self->private);
	self->untouched = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->untouched);
	fill(self->map, LENGTH / 2, self->seed, 0);
	fill(self->small + LENGTH / 2, LENGTH / 2, self->seed, LENGTH / 2);
	memset(self->private, 'p', SZ_4K);
	load_byte(self->private + SZ_2M);
}

TEST_F(end_of_life, mapped)
{
	char *maps[4];
	int i, fd;

	map_all(_metadata, self);
	maps[0] = self->map;
	maps[1] = self->small;
	maps[2] = self->private;
	maps[3] = self->untouched;
	ASSERT_TRUE(ended(self, variant, HELD));
	if (variant->refused & HELD) {
		for (i = 0; i < ARRAY_SIZE(maps); i++)
			EXPECT_EQ(0, bus_code(maps[i] + SZ_4K, true));
		EXPECT_EQ('p', load_byte(self->private));
	} else {
		/* A copy is gone too, as that of a file that was truncated. */
		for (i = 0; i < ARRAY_SIZE(maps); i++) {
			EXPECT_EQ(BUS_ADRERR, bus_code(maps[i], false));
			EXPECT_EQ(BUS_ADRERR, bus_code(maps[i], true));
			EXPECT_EQ(BUS_ADRERR, bus_code(maps[i] + SZ_2M, true));
			EXPECT_EQ(BUS_ADRERR, bus_code(maps[i] + LENGTH - 1, false));
		}
		EXPECT_EQ(-1, msync(self->map, LENGTH, MS_SYNC));
		EXPECT_EQ(EIO, errno);
		expect_gone(_metadata, self);
	}
	fd = have_again(self, variant);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, media_differs(fd, 0, LENGTH, self->seed));
	close(fd);
}

/* All that is left of the use: it keeps neither a file nor the module, so nothing is refused. */
TEST_F(end_of_life, pinned)
{
	struct iovec vector;
	pid_t pid;
	int fd;

	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	fill(self->map, LENGTH, self->seed, 0);
	vector.iov_base = self->map + SZ_2M + SZ_4K;
	vector.iov_len = SZ_4K;
	ASSERT_EQ(0, io_uring_queue_init(1, &self->ring, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &vector, 1));
	munmap(self->map, LENGTH);
	close(self->fd);
	self->fd = -1;
	/* It would inherit the ring. */
	fcntl(self->ring.ring_fd, F_SETFD, FD_CLOEXEC);
	if (variant->refused & PINNED) {
		EXPECT_TRUE(ended(self, variant, PINNED));
		EXPECT_EQ(0, shell("log_has \"not to be had alone.*last by end_of_life.%d.\"",
				   getpid()));
		io_uring_queue_exit(&self->ring);
		/* The ring lets go some time later. */
		EXPECT_EQ(0, shell("for i in {1..50}; do { %s; } && exit; sleep 0.1; done; exit 1",
				   variant->end));
	} else {
		pid = fork();
		if (pid == 0)
			execl("/bin/bash", "bash", "-c", ". ./lib.sh; eval \"$0\"", variant->end,
			      NULL);
		ASSERT_LT(0, pid);
		/* It says who is to blame, as far as that is known. */
		EXPECT_EQ(0, shell("log_has \"is pinned.*last by end_of_life.%d.\"", getpid()));
		EXPECT_EQ(0, waitpid(pid, NULL, WNOHANG));
		io_uring_queue_exit(&self->ring);
		EXPECT_EQ(0, status_of(pid));
	}
	fd = have_again(self, variant);
	ASSERT_LE(0, fd);
	EXPECT_EQ(-1, media_differs(fd, 0, LENGTH, self->seed));
	close(fd);
}

#define BLOCK	(16 * SZ_4K)
#define BLOCKS	16

/* What who writes has to say, while it does. */
struct progress {
	uint64_t begun[BLOCKS], done[BLOCKS];
	int error;
};

static struct progress *new_progress(void)
{
	return mmap(NULL, sizeof(struct progress), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

/* write_block() - which may take more than one call when the disk goes meanwhile */
static bool write_block(int fd, const void *block, off_t offset)
{
	ssize_t done, n;

	for (done = 0; done < BLOCK; done += n) {
		n = pwrite(fd, block + done, BLOCK - done, offset + done);
		if (n <= 0)
			return false;
	}
	return true;
}

/* write_on() - block after block, each time with another content, until it fails */
static void write_on(int fd, struct progress *progress, bool sync)
{
	uint64_t *block = aligned_alloc(SZ_4K, BLOCK);
	uint64_t i;

	for (i = 1;; i++) {
		fill(block, BLOCK, i, 0);
		progress->begun[i % BLOCKS] = i;
		if (!write_block(fd, block, i % BLOCKS * BLOCK) || (sync && fsync(fd)))
			break;
		progress->done[i % BLOCKS] = i;
	}
	progress->error = errno;
	_exit(0);
}

/* lost() - whether something is not there that was said to be written */
static bool lost(int fd, const struct progress *progress)
{
	int i;

	for (i = 0; i < BLOCKS; i++) {
		if (!progress->done[i])
			return true;
		if (progress->begun[i] == progress->done[i] &&
		    media_differs(fd, i * BLOCK, BLOCK, progress->done[i]) != -1)
			return true;
	}
	return false;
}

static void wait_for(const struct progress *progress)
{
	int i;

	for (i = 0; i < 1000 && !*(volatile uint64_t *)&progress->done[0]; i++)
		usleep(10000);
}

/* Reads and writes, by system calls; some of them are under way. */
static void in_calls(struct __test_metadata *_metadata, FIXTURE_DATA(end_of_life) *self,
		     const FIXTURE_VARIANT(end_of_life) *variant, enum use use)
{
	struct progress *progress = new_progress();
	pid_t writer, reader;
	int fd;

	writer = fork();
	if (writer == 0)
		write_on(self->fd, progress, false);
	reader = fork();
	if (reader == 0) {
		while (pread(self->fd, self->buffer, SZ_2M, 0) == SZ_2M)
			;
		_exit(0);
	}
	wait_for(progress);
	ASSERT_TRUE(ended(self, variant, use));
	if (variant->refused & use) {
		EXPECT_EQ(0, waitpid(writer, NULL, WNOHANG));
		EXPECT_EQ(0, waitpid(reader, NULL, WNOHANG));
		kill(writer, SIGKILL);
		kill(reader, SIGKILL);
		waitpid(reader, NULL, 0);
		waitpid(writer, NULL, 0);
	} else {
		EXPECT_EQ(0, status_of(writer));
		EXPECT_EQ(0, status_of(reader));
		EXPECT_TRUE(progress->error == ENOSPC || progress->error == EIO) {
			TH_LOG("the writer got error %d", progress->error);
		}
	}
	close(self->fd);
	fd = have_again(self, variant);
	ASSERT_LE(0, fd);
	EXPECT_FALSE(lost(fd, progress));
	close(fd);
}

TEST_F(end_of_life, in_calls)
{
	in_calls(_metadata, self, variant, OPEN);
}

/* The same while somebody holds the device, so that they go through the page cache. */
TEST_F(end_of_life, in_cached_calls)
{
	int holder;

	holder = open(self->path, O_RDONLY | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, holder);
	in_calls(_metadata, self, variant, HELD);
	close(holder);
}

/* A file system on it, which sends bios. */
TEST_F_TIMEOUT(end_of_life, mounted, 120)
{
	struct progress *progress = new_progress();
	pid_t writer;
	int fd;

	close(self->fd);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 -J size=4 %s 24M", self->path));
	ASSERT_EQ(0, mount(self->path, MNT, "ext4", 0, NULL));
	writer = fork();
	if (writer == 0)
		write_on(open(MNT "/file", O_RDWR | O_CREAT | O_CLOEXEC, 0600), progress, true);
	wait_for(progress);
	ASSERT_TRUE(ended(self, variant, HELD));
	if (variant->refused & HELD) {
		EXPECT_EQ(0, waitpid(writer, NULL, WNOHANG));
		kill(writer, SIGKILL);
		waitpid(writer, NULL, 0);
	} else {
		EXPECT_EQ(0, status_of(writer));
		EXPECT_EQ(EIO, progress->error);
	}
	EXPECT_EQ(0, umount(MNT));
	fd = have_again(self, variant);
	ASSERT_LE(0, fd);
	close(fd);
	ASSERT_EQ(0, mount(self->path, MNT, "ext4", 0, NULL));
	fd = open(MNT "/file", O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	EXPECT_FALSE(lost(fd, progress));
	close(fd);
	EXPECT_EQ(0, umount(MNT));
	EXPECT_EQ(0, shell("fsck.ext4 -fn %s >/dev/null 2>&1", self->path));
}

PMEM_DAX_MAIN("namespace2.0 namespace3.0")
