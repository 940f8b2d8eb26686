// SPDX-License-Identifier: GPL-2.0
/*
 * With mode=fsdax file systems on the disk map its memory too, and a page belongs to one
 * at a time: to a file, or to a mapping of the node. Here they take turns.
 */
#include <liburing.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"
#define LENGTH	(4 * SZ_2M)
#define FILE_NAME "/mnt/file"

/* Unless it is bound; as it was claimed, with its setting. */
#define BIND	"[ -n \"$(driver_of " NAMESPACE ")\" ] || echo " NAMESPACE " >$DRIVERS/pmem_dax/bind"

FIXTURE(fsdax) {
	int fd;
};

FIXTURE_VARIANT(fsdax) {
	const char *type, *mkfs;
	/* Whether it places files so that 2M fit. */
	bool aligned;
};

FIXTURE_VARIANT_ADD(fsdax, ext4) {
	.type = "ext4",
	.mkfs = "mkfs.ext4 -q -F -b 4096 -E lazy_itable_init=0,stride=512,stripe_width=512",
	.aligned = true,
};

FIXTURE_VARIANT_ADD(fsdax, xfs) {
	.type = "xfs",
	.mkfs = "mkfs.xfs -q -f",
};

FIXTURE_SETUP(fsdax)
{
	self->fd = -1;
	ASSERT_EQ(0, shell(BIND));
	ASSERT_EQ(0, shell("%s %s", variant->mkfs, node));
}

FIXTURE_TEARDOWN(fsdax)
{
	close(self->fd);
	umount2("/mnt", MNT_DETACH);
}

/* mount_it() - with direct access for all files */
static int mount_it(const char *type)
{
	return mount(node, "/mnt", type, 0, "dax=always");
}

/* open_file() - a new file of LENGTH, or the old one */
static int open_file(bool new)
{
	int fd = open(FILE_NAME, O_RDWR | O_CLOEXEC | (new ? O_CREAT | O_EXCL : 0), 0600);

	if (new && fd >= 0 && posix_fallocate(fd, 0, LENGTH)) {
		close(fd);
		return -1;
	}
	return fd;
}

/* map_file() - with MAP_SYNC, so without page cache or not at all */
static char *map_file(int fd)
{
	return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC, fd, 0);
}

/* What a file's mapping stores, the file has, and still has after all else used the disk. */
TEST_F(fsdax, file)
{
	uint64_t seed = new_seed();
	char *map, *raw;
	int file, i;

	ASSERT_EQ(0, mount_it(variant->type));
	file = open_file(true);
	ASSERT_LE(0, file);
	map = map_file(file);
	ASSERT_NE(MAP_FAILED, map);
	fill(map, LENGTH, seed, 0);
	if (variant->aligned)
		EXPECT_LE(SZ_2M, huge_bytes(map, LENGTH));
	EXPECT_EQ(-1, media_differs(file, 0, LENGTH, seed));
	ASSERT_EQ(0, munmap(map, LENGTH));
	ASSERT_EQ(0, close(file));
	ASSERT_EQ(0, umount("/mnt"));

	for (i = 0; i < 3; i++) {
		self->fd = open_node();
		ASSERT_LE(0, self->fd);
		raw = map_shared(self->fd, LENGTH, 0);
		ASSERT_NE(MAP_FAILED, raw);
		touch(raw);
		touch(raw + LENGTH - 1);
		EXPECT_EQ(-1, mount_it(variant->type));
		EXPECT_EQ(EBUSY, errno);
		ASSERT_EQ(0, munmap(raw, LENGTH));
		ASSERT_EQ(0, close(self->fd));

		ASSERT_EQ(0, mount_it(variant->type));
		self->fd = open_node();
		EXPECT_EQ(EBUSY, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
		close(self->fd);
		file = open_file(false);
		ASSERT_LE(0, file);
		EXPECT_EQ(-1, media_differs(file, 0, LENGTH, seed));
		map = map_file(file);
		ASSERT_NE(MAP_FAILED, map);
		EXPECT_EQ(-1, differs(map, LENGTH, seed, 0));
		ASSERT_EQ(0, munmap(map, LENGTH));
		ASSERT_EQ(0, close(file));
		ASSERT_EQ(0, umount("/mnt"));
	}
}

/* Files that the system call, a mapping, and holes and truncation change. */
TEST_F(fsdax, zeroes)
{
	const size_t odd = 3 * SZ_4K + 100;
	uint64_t seed = new_seed();
	char *map, *zero = calloc(1, SZ_4K);
	int file;

	ASSERT_EQ(0, mount_it(variant->type));
	file = open_file(true);
	ASSERT_LE(0, file);
	map = map_file(file);
	ASSERT_NE(MAP_FAILED, map);
	fill(map, LENGTH, seed, 0);
	/* The rest of the page is to be zero when the file grows again. */
	ASSERT_EQ(0, ftruncate(file, odd));
	ASSERT_EQ(0, ftruncate(file, LENGTH));
	EXPECT_EQ(0, memcmp(map + odd, zero, SZ_4K - 100));
	EXPECT_EQ(0, map[LENGTH - 1]);
	ASSERT_EQ(0, fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 100));
	EXPECT_EQ(0, memcmp(map + 10, zero, 100));
	EXPECT_EQ(-1, differs(map + 112, odd - 120, seed, 112));
	EXPECT_EQ(0, close(file));
}

/* A file can be mapped while it is bound only: then it is waited for, and nothing is lost. */
struct unbinding {
	pthread_t thread;
	int result;
	bool done;
};

static void *unbind_it(void *arg)
{
	struct unbinding *unbinding = arg;

	unbinding->result = write_line(DRIVER "unbind", NAMESPACE);
	__atomic_store_n(&unbinding->done, true, __ATOMIC_RELEASE);
	return NULL;
}

TEST_F(fsdax, unbind_while_mapped)
{
	struct unbinding unbinding = {};
	uint64_t seed = new_seed();
	char *map;
	int file;

	ASSERT_EQ(0, mount_it(variant->type));
	file = open_file(true);
	ASSERT_LE(0, file);
	ASSERT_EQ(0, fsync(file));
	map = map_file(file);
	ASSERT_NE(MAP_FAILED, map);
	fill(map, LENGTH, seed, 0);
	ASSERT_EQ(0, msync(map, LENGTH, MS_SYNC));

	ASSERT_EQ(0, pthread_create(&unbinding.thread, NULL, unbind_it, &unbinding));
	/* Long enough for the line in the log that says what it waits for. */
	usleep(3000000);
	EXPECT_FALSE(__atomic_load_n(&unbinding.done, __ATOMIC_ACQUIRE));
	EXPECT_EQ(0, shell("dmesg | grep -q \"waiting for page.*in a file\""));
	ASSERT_EQ(0, munmap(map, LENGTH));
	ASSERT_EQ(0, close(file));
	ASSERT_EQ(0, umount("/mnt"));
	ASSERT_EQ(0, pthread_join(unbinding.thread, NULL));
	EXPECT_EQ(0, unbinding.result);

	ASSERT_EQ(0, shell(BIND));
	ASSERT_EQ(0, mount_it(variant->type));
	file = open_file(false);
	ASSERT_LE(0, file);
	EXPECT_EQ(-1, media_differs(file, 0, LENGTH, seed));
	EXPECT_EQ(0, close(file));
}

/* Bad memory in a file that is mapped: reported by an administrator, found by who touches it. */
TEST_F(fsdax, bad_page)
{
	char *map;
	pid_t pid;
	int file, status;

	ASSERT_EQ(0, mount_it(variant->type));
	file = open_file(true);
	ASSERT_LE(0, file);
	map = map_file(file);
	ASSERT_NE(MAP_FAILED, map);
	memset(map, 1, LENGTH);

	/* Who asked for it is killed. */
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		madvise(map + SZ_2M + SZ_4K, SZ_4K, MADV_HWPOISON);
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGBUS, status);
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(map + SZ_2M + SZ_4K, false));
	EXPECT_EQ(0, bus_code(map + SZ_2M, false));
	EXPECT_EQ(0, bus_code(map + SZ_2M + 2 * SZ_4K, true));
	EXPECT_EQ(-1, pread(file, map, SZ_4K, SZ_2M + SZ_4K));
	EXPECT_EQ(EIO, errno);
	ASSERT_EQ(0, munmap(map, LENGTH));
	EXPECT_EQ(0, close(file));
	umount("/mnt");
	/* The kernel does not map it again, and the list is that of the device. */
	EXPECT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind"));
	EXPECT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/bind"));
}

/* The node itself, without a file system. */
FIXTURE(node) {
	char *map;
	int fd;
};

FIXTURE_SETUP(node)
{
	ASSERT_EQ(0, shell(BIND));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
}

FIXTURE_TEARDOWN(node)
{
	close(self->fd);
}

TEST_F(node, pages)
{
	uint64_t seed = new_seed();
	char *small = map_skewed(self->fd, LENGTH, 0, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);

	fill(self->map, LENGTH, seed, 0);
	EXPECT_EQ(LENGTH, huge_bytes(self->map, LENGTH));
	EXPECT_EQ(-1, media_differs(self->fd, 0, LENGTH, seed));
	ASSERT_NE(MAP_FAILED, small);
	EXPECT_EQ(-1, differs(small, LENGTH, seed, 0));
	EXPECT_EQ(0, huge_bytes(small, LENGTH));
	EXPECT_EQ(0, cached_pages(self->fd));
	EXPECT_EQ(0, msync(self->map, LENGTH, MS_SYNC));
}

/* For long, no: the file system could not wait for that. At once, and not after a while. */
/* map_again() - open the node, map and store to it; how much of it has 2M pages then */
static long map_again(size_t skew)
{
	int fd = open_node();
	char *map = map_skewed(fd, LENGTH, 0, skew, PROT_READ | PROT_WRITE, MAP_SHARED);
	long huge;

	if (map == MAP_FAILED)
		return -1;
	memset(map, 0, LENGTH);
	huge = huge_bytes(map, LENGTH);
	munmap(map, LENGTH);
	close(fd);
	return huge;
}

/* Of how it was mapped before it was closed nothing is left, not even small pages. */
TEST_F(node, not_grown)
{
	EXPECT_TRUE(keeps_size(self->map, LENGTH));
	EXPECT_EQ(0, bus_code(self->map, true));
}

TEST_F(node, small_pages_before)
{
	munmap(self->map, LENGTH);
	close(self->fd);
	/* Who has it alone finds nothing mapped, in large pages or small ones. */
	self->fd = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
	close(self->fd);
	self->fd = -1;
	EXPECT_EQ(0, map_again(SZ_4K));
	EXPECT_EQ(LENGTH, map_again(0));
	/* The other way round the large ones stay, and serve the small ones. */
	EXPECT_EQ(0, map_again(SZ_4K));
	EXPECT_EQ(LENGTH, map_again(0));
}

TEST_F(node, no_long_pins)
{
	struct iovec vector = { self->map, LENGTH };
	struct io_uring ring;
	int disk;

	touch(self->map);
	ASSERT_EQ(0, io_uring_queue_init(1, &ring, 0));
	EXPECT_EQ(-EOPNOTSUPP, io_uring_register_buffers(&ring, &vector, 1));
	io_uring_queue_exit(&ring);

	/* For the time of a transfer, yes. */
	disk = open_disk(O_RDWR | O_DIRECT);
	ASSERT_LE(0, disk);
	EXPECT_EQ(SZ_2M, pwrite(disk, self->map, SZ_2M, 0));
	EXPECT_EQ(SZ_2M, pread(disk, self->map + SZ_2M, SZ_2M, 0));
	EXPECT_EQ(0, memcmp(self->map, self->map + SZ_2M, SZ_2M));
	close(disk);
}

/* A page in a pipe stays pinned when it is unmapped: nobody else can have the disk until then. */
TEST_F(node, pinned_for_a_while)
{
	struct iovec vector = { self->map, SZ_4K };
	char *page = malloc(SZ_4K);
	int pipes[2];

	memset(self->map, 7, SZ_4K);
	ASSERT_EQ(0, pipe(pipes));
	ASSERT_EQ(SZ_4K, vmsplice(pipes[1], &vector, 1, 0));
	ASSERT_EQ(0, munmap(self->map, LENGTH));
	EXPECT_EQ(-1, open(node, O_RDWR | O_EXCL | O_CLOEXEC));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, shell("dmesg | tail -3 | grep -q \"not to be had alone\""));
	/* Mapping it again is no hindrance. */
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(7, load_byte(self->map));
	ASSERT_EQ(0, munmap(self->map, LENGTH));
	ASSERT_EQ(SZ_4K, read(pipes[0], page, SZ_4K));
	EXPECT_EQ(7, page[0]);
	EXPECT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 %s 64M", node));
}

/* Partitions: a mapping of one keeps file systems off all of the disk. */
TEST_F(node, partitions)
{
	char first[80], second[80], *map;
	int fd, exclusive;

	ASSERT_EQ(0, munmap(self->map, LENGTH));
	ASSERT_EQ(0, shell("parted -s %s mklabel gpt mkpart a 2M 66M mkpart b 66M 130M", node));
	snprintf(first, sizeof(first), "%sp1", node);
	snprintf(second, sizeof(second), "%sp2", node);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 %s", second));
	fd = open(first, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, fd);
	map = map_shared(fd, 65 * SZ_1M, 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(SZ_2M, huge_bytes(map, 64 * SZ_1M));
	EXPECT_EQ(BUS_ADRERR, bus_code(map + 64 * SZ_1M, true));
	EXPECT_EQ(-1, mount(second, "/mnt", "ext4", 0, "dax=always"));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, map_errno(self->fd, PROT_READ, MAP_SHARED, 0));
	ASSERT_EQ(0, munmap(map, 65 * SZ_1M));
	ASSERT_EQ(0, mount(second, "/mnt", "ext4", 0, "dax=always"));
	EXPECT_EQ(EBUSY, map_errno(fd, PROT_READ, MAP_SHARED, 0));
	ASSERT_EQ(0, umount("/mnt"));
	EXPECT_EQ(0, map_errno(fd, PROT_READ, MAP_SHARED, 0));
	exclusive = open(second, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, exclusive);
	EXPECT_EQ(EBUSY, map_errno(exclusive, PROT_READ, MAP_SHARED, 0));
	close(exclusive);
	EXPECT_EQ(0, close(fd));
	EXPECT_EQ(0, shell("wipefs -qa %s", node));
}

TEST_F(node, private_copies)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_PRIVATE, self->fd, 0);

	ASSERT_NE(MAP_FAILED, map);
	memset(self->map, 3, SZ_2M);
	EXPECT_EQ(3, load_byte(map + SZ_4K));
	store_byte(map + SZ_4K, 4);
	EXPECT_EQ(4, load_byte(map + SZ_4K));
	EXPECT_EQ(3, load_byte(self->map + SZ_4K));
	EXPECT_EQ(3, load_byte(map + 2 * SZ_4K));
}

TEST_F(node, unbind)
{
	memset(self->map, 5, LENGTH);
	ASSERT_EQ(0, write_line(DRIVER "unbind", NAMESPACE));
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map, false));
	EXPECT_EQ(0, munmap(self->map, LENGTH));
	ASSERT_EQ(0, close(self->fd));
	ASSERT_EQ(0, shell(BIND));
	self->fd = open_node();
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	EXPECT_EQ(5, load_byte(self->map + LENGTH - 1));
}

/* Known to be bad; a read of the rest is not. */
TEST_F(node, bad_sector)
{
	char path[80], line[64];

	snprintf(path, sizeof(path), "/sys/block/%s/badblocks", node + strlen("/dev/"));
	touch(self->map);
	snprintf(line, sizeof(line), "%lu 1", (SZ_2M + SZ_4K) / 512);
	ASSERT_EQ(0, write_line(path, line));
	EXPECT_EQ(BUS_MCEERR_AR, bus_code(self->map + SZ_2M + SZ_4K, true));
	EXPECT_EQ(0, bus_code(self->map + SZ_2M, true));
	EXPECT_EQ(0, huge_bytes(self->map + SZ_2M, SZ_2M));
	EXPECT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind"));
}

PMEM_DAX_MAIN(NAMESPACE ":mode=fsdax")
