// SPDX-License-Identifier: GPL-2.0
/*
 * A mapping uses no page cache, and what the page cache had for the media is on
 * the media when there is a mapping.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"

FIXTURE(page_cache) {
	char *buffer;
	int fd;
};

FIXTURE_SETUP(page_cache)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->buffer = aligned_alloc(SZ_4K, SZ_1M);
	ASSERT_NE(NULL, self->buffer);
}

FIXTURE_TEARDOWN(page_cache)
{
	close(self->fd);
}

/* buffers() - the kilobytes that the page cache has of all block devices */
static long buffers(void)
{
	char line[64] = "";

	shell_line(line, sizeof(line), "grep ^Buffers: /proc/meminfo | tr -dc 0-9");
	return line[0] ? atol(line) : -1;
}

FIXTURE(growth) {
	int fd;
};

FIXTURE_VARIANT(growth) {
	size_t length, skew;
};

FIXTURE_VARIANT_ADD(growth, huge) {
	.length = 256 * SZ_1M,
	.skew = 0,
};

FIXTURE_VARIANT_ADD(growth, small) {
	.length = 16 * SZ_1M,
	.skew = SZ_4K,
};

FIXTURE_SETUP(growth)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(growth)
{
	close(self->fd);
}

TEST_F(growth, none)
{
	char *map, buffer[512];
	long before, after;
	size_t i;

	before = buffers();
	ASSERT_LE(0, before);
	map = map_skewed(self->fd, variant->length, 0, variant->skew, PROT_READ | PROT_WRITE,
			 MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	for (i = 0; i < variant->length; i += SZ_4K)
		touch(map + i);
	EXPECT_EQ(0, cached_pages(self->fd));
	ASSERT_EQ(512, pread(self->fd, buffer, 512, SZ_1M + 100));
	ASSERT_EQ(512, pwrite(self->fd, buffer, 512, SZ_1M + 100));
	EXPECT_EQ(0, msync(map, variant->length, MS_SYNC));
	EXPECT_EQ(0, cached_pages(self->fd));
	after = buffers();
	EXPECT_EQ(before, after);
	munmap(map, variant->length);
	EXPECT_EQ(0, cached_pages(self->fd));
}

/*
 * cache_dirty() - leave dirty pages in the page cache of @fd
 *
 * As long as somebody holds the device, all others go through the page cache; and as long as
 * the device is open, nobody writes it back when the holder is gone.
 */
static bool cache_dirty(const char *path, int fd, const void *data, size_t length, off_t offset)
{
	int holder = open(path, O_RDWR | O_EXCL | O_CLOEXEC);
	bool written;

	if (holder < 0)
		return false;
	written = pwrite(fd, data, length, offset) == length && cached_pages(fd) > 0;
	close(holder);
	return written;
}

TEST_F(page_cache, dirty_pages_before_the_first_mapping)
{
	uint64_t seed = new_seed();
	char *map;

	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_TRUE(cache_dirty(node, self->fd, self->buffer, SZ_1M, SZ_2M));
	map = map_shared(self->fd, SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, cached_pages(self->fd));
	EXPECT_EQ(-1, differs(map, SZ_1M, seed, 0));
	/* Nothing is left that could be written over this. */
	fill(map, SZ_1M, ~seed, 0);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ(-1, differs(map, SZ_1M, ~seed, 0));
	munmap(map, SZ_2M);
	EXPECT_EQ(0, fsync(self->fd));
	ASSERT_EQ(SZ_1M, pread(self->fd, self->buffer, SZ_1M, SZ_2M));
	EXPECT_EQ(-1, differs(self->buffer, SZ_1M, ~seed, 0));
}

/* late_memory() - a page that is not there before write_late() */
static char *late_memory(int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *memory = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			    0);

	*uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	area.range.start = (uintptr_t)memory;
	area.range.len = SZ_4K;
	return memory == MAP_FAILED || ioctl(*uffd, UFFDIO_API, &api) ||
	       ioctl(*uffd, UFFDIO_REGISTER, &area) ? NULL : memory;
}

struct writer {
	int fd;
	char *late;
	ssize_t written;
};

static void *write_late(void *argument)
{
	struct writer *writer = argument;

	writer->written = pwrite(writer->fd, writer->late, SZ_4K, SZ_2M);
	return NULL;
}

/* be_late() - write @data; say so when it is waited for, and bring it soon after being told to */
static bool be_late(int fd, const char *data, int parent)
{
	struct writer writer = { .fd = fd };
	struct pollfd waits = { .events = POLLIN };
	struct uffdio_copy copy = { .src = (uintptr_t)data, .len = SZ_4K };
	pthread_t thread;
	char told = 0;

	writer.late = late_memory(&waits.fd);
	copy.dst = (uintptr_t)writer.late;
	if (!writer.late || pthread_create(&thread, NULL, write_late, &writer) ||
	    poll(&waits, 1, 10000) != 1 || waits.revents != POLLIN ||
	    write(parent, &told, 1) != 1 || read(parent, &told, 1) != 1)
		return false;
	usleep(20000);
	return !ioctl(waits.fd, UFFDIO_COPY, &copy) && !pthread_join(thread, NULL) &&
	       writer.written == SZ_4K;
}

/* Whoever is writing to the page cache when it is mapped dirties it only then. */
TEST_F(page_cache, writer_under_way)
{
	int holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC), sockets[2], status;
	pid_t writer;
	char *map, told;

	ASSERT_LE(0, holder);
	memset(self->buffer, 0, SZ_4K);
	ASSERT_EQ(SZ_4K, pwrite(holder, self->buffer, SZ_4K, SZ_2M));
	memset(self->buffer, 'w', SZ_4K);
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	writer = fork();
	ASSERT_LE(0, writer);
	if (!writer)
		_exit(!be_late(self->fd, self->buffer, sockets[1]));
	close(sockets[1]);
	ASSERT_EQ(1, read(sockets[0], &told, 1));

	/* Who maps it is not to wait for ever. */
	EXPECT_TRUE(is_refused(holder, EBUSY, "somebody is writing to its page cache"));
	ASSERT_EQ(1, write(sockets[0], &told, 1));
	map = map_shared(holder, SZ_4K, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(writer, waitpid(writer, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ('w', load_byte(map));
	EXPECT_EQ(0, cached_pages(self->fd));
	memset(map, 'm', SZ_4K);
	EXPECT_EQ(0, fsync(self->fd));
	EXPECT_EQ('m', load_byte(map));
	munmap(map, SZ_4K);
	close(sockets[0]);
	close(holder);
}

/* The hardware cannot make it good; the list is made anew when the device is bound. */
TEST_F(page_cache, not_written)
{
	int holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC);
	char path[80];

	ASSERT_LE(0, holder);
	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	ASSERT_EQ(0, write_line(path, "4136 8\n"));
	memset(self->buffer, 'd', SZ_4K);
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, 4136 * 512));
	EXPECT_TRUE(is_refused(holder, EIO, "what is in its page cache could not be written"));
	/* Who asks again knows. */
	EXPECT_EQ(0, map_errno(holder, PROT_READ, MAP_SHARED, 0));
	close(holder);
	EXPECT_EQ(0, write_line(DRIVER "unbind", NAMESPACE));
	EXPECT_EQ(0, write_line(DRIVER "bind", NAMESPACE));
}

#define MANY (16 * SZ_4K)

/* Who holds the device goes past the page cache, which others fill and dirty time and again. */
TEST_F(page_cache, holder_beside_writers)
{
	int holder = open(node, O_RDWR | O_EXCL | O_CLOEXEC), i, status;
	time_t end = time(NULL) + 3;
	pid_t other;
	char *byte;

	ASSERT_LE(0, holder);
	other = fork();
	ASSERT_LE(0, other);
	for (i = 0; time(NULL) < end; i++) {
		byte = self->buffer + (other ? 0 : MANY) + i % 16 * SZ_4K;
		*byte = i;
		if (pwrite(other ? holder : self->fd, byte, 1, byte - self->buffer) == 1)
			continue;
		if (!other)
			_exit(errno);
		EXPECT_EQ(0, errno) TH_LOG("%s, %d", strerror(errno), i);
		break;
	}
	if (!other)
		_exit(0);
	ASSERT_EQ(other, waitpid(other, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_LT(100, i);
	close(holder);
	memset(self->buffer + MANY, 0, MANY);
	for (i = 0; i < 16; i++) {
		ASSERT_EQ(1, pread(self->fd, self->buffer + MANY, 1, i * SZ_4K));
		EXPECT_EQ(self->buffer[i * SZ_4K], self->buffer[MANY]);
	}
}

TEST_F(page_cache, dirty_pages_before_a_read)
{
	uint64_t seed = new_seed();

	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_TRUE(cache_dirty(node, self->fd, self->buffer, SZ_1M, SZ_2M));
	memset(self->buffer, 0, SZ_1M);
	ASSERT_EQ(SZ_1M, pread(self->fd, self->buffer, SZ_1M, SZ_2M));
	EXPECT_EQ(-1, differs(self->buffer, SZ_1M, seed, 0));
}

TEST_F(page_cache, dirty_pages_before_a_write)
{
	uint64_t seed = new_seed();
	char *map;

	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_TRUE(cache_dirty(node, self->fd, self->buffer, SZ_1M, SZ_2M));
	fill(self->buffer, SZ_4K, ~seed, 2 * SZ_4K);
	ASSERT_EQ(SZ_4K, pwrite(self->fd, self->buffer, SZ_4K, SZ_2M + 2 * SZ_4K));
	map = map_shared(self->fd, SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(-1, differs(map, 2 * SZ_4K, seed, 0));
	EXPECT_EQ(-1, differs(map + 2 * SZ_4K, SZ_4K, ~seed, 2 * SZ_4K));
	EXPECT_EQ(-1, differs(map + 3 * SZ_4K, SZ_1M - 3 * SZ_4K, seed, 3 * SZ_4K));
}

/* The pages of a partition's cache are not those of the disk's. */
TEST_F(page_cache, dirty_pages_of_a_partition)
{
	uint64_t seed = new_seed();
	char *map, path[80];
	int part;

	snprintf(path, sizeof(path), "%sp1", node);
	ASSERT_EQ(0, shell("echo 2048,8192 | sfdisk -q %s", node));
	part = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, part);
	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_TRUE(cache_dirty(path, part, self->buffer, SZ_1M, SZ_1M));
	map = map_shared(self->fd, SZ_2M, SZ_2M);
	EXPECT_NE(MAP_FAILED, map);
	if (map != MAP_FAILED) {
		EXPECT_EQ(-1, differs(map, SZ_1M, seed, 0));
		fill(map, SZ_1M, ~seed, 0);
		EXPECT_EQ(0, fsync(part));
		EXPECT_EQ(-1, differs(map, SZ_1M, ~seed, 0));
		munmap(map, SZ_2M);
	}
	close(part);
	EXPECT_EQ(0, shell("wipefs -q -a %s && blockdev --rereadpt %s", node, node));
}

TEST_F(page_cache, dirty_pages_of_the_disk)
{
	uint64_t seed = new_seed();
	char *map, path[80];
	int part;

	snprintf(path, sizeof(path), "%sp1", node);
	ASSERT_EQ(0, shell("echo 2048,8192 | sfdisk -q %s", node));
	part = open(path, O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, part);
	fill(self->buffer, SZ_1M, seed, 0);
	ASSERT_TRUE(cache_dirty(node, self->fd, self->buffer, SZ_1M, SZ_2M));
	map = map_shared(part, SZ_2M, SZ_1M);
	EXPECT_NE(MAP_FAILED, map);
	if (map != MAP_FAILED) {
		EXPECT_EQ(-1, differs(map, SZ_1M, seed, 0));
		fill(map, SZ_1M, ~seed, 0);
		EXPECT_EQ(0, fsync(self->fd));
		EXPECT_EQ(-1, differs(map, SZ_1M, ~seed, 0));
		munmap(map, SZ_2M);
	}
	close(part);
	EXPECT_EQ(0, shell("wipefs -q -a %s && blockdev --rereadpt %s", node, node));
}

/* A file system leaves its last blocks in the page cache when it is unmounted. */
TEST_F(page_cache, file_system_before)
{
	const char *magic = "\x53\xef";
	char *map;

	ASSERT_EQ(0, shell("dd if=/dev/zero of=%s bs=64K count=1 status=none", node));
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -O ^metadata_csum -L BEFORE %s 64M", node));
	ASSERT_EQ(0, mount(node, "/mnt", "ext4", 0, NULL));
	/* This one changes the superblock in the page cache that the mount has. */
	EXPECT_EQ(0, shell("tune2fs -L AFTER %s >/dev/null", node));
	ASSERT_EQ(0, umount("/mnt"));
	map = map_shared(self->fd, SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(0, memcmp(map + 1024 + 0x38, magic, 2));
	EXPECT_EQ(0, memcmp(map + 1024 + 0x78, "AFTER", 6));
	memcpy(map + 1024 + 0x78, "STORED", 7);
	munmap(map, SZ_2M);
	EXPECT_EQ(0, shell("[ \"$(e2label %s)\" = STORED ]", node));
}

/* What was stored is there for a file system that is mounted next. */
TEST_F(page_cache, file_system_after)
{
	char *map;

	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s 64M", node));
	ASSERT_EQ(0, shell("mount %s /mnt && echo one >/mnt/file && umount /mnt", node));
	map = map_shared(self->fd, 64 * SZ_1M, 0);
	ASSERT_NE(MAP_FAILED, map);
	memset(map, 0, 64 * SZ_1M);
	munmap(map, 64 * SZ_1M);
	EXPECT_EQ(-1, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(EINVAL, errno);
}

/*
 * A file system that is stored as a whole, over another one whose blocks the page cache still has,
 * is the one that is mounted; and what is written to it then, is there for the next mapping.
 */
TEST_F(page_cache, file_system_stored)
{
	const size_t length = 32 * SZ_1M;
	uint64_t seed = new_seed();
	char text[32], *image, *map;
	int file;

	ASSERT_EQ(0, shell("mkfs.ext4 -q -F %s 32M && mount %s /mnt && umount /mnt", node, node));
	ASSERT_EQ(0, shell("rm -rf /tmp/tree /tmp/image && mkdir -p /tmp/tree/directory"));
	ASSERT_EQ(0, shell("head -c 3M /dev/urandom >/tmp/tree/directory/large"));
	ASSERT_EQ(0, shell("echo content >/tmp/tree/small"));
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -d /tmp/tree /tmp/image 32M"));
	file = open("/tmp/image", O_RDONLY | O_CLOEXEC);
	image = mmap(NULL, length, PROT_READ, MAP_SHARED, file, 0);
	ASSERT_NE(MAP_FAILED, image);
	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);
	memcpy(map, image, length);
	munmap(map, length);

	ASSERT_EQ(0, mount(node, "/mnt", "ext4", 0, NULL));
	EXPECT_EQ(0, shell("cmp /tmp/tree/small /mnt/small"));
	EXPECT_EQ(0, shell("cmp /tmp/tree/directory/large /mnt/directory/large"));
	snprintf(text, sizeof(text), "written %016lx", (unsigned long)seed);
	EXPECT_EQ(0, shell("echo %s >/mnt/later", text));
	ASSERT_EQ(0, umount("/mnt"));
	EXPECT_EQ(0, shell("fsck.ext4 -fn %s >/dev/null 2>&1", node));

	map = map_shared(self->fd, length, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_NE(NULL, memmem(map, length, text, strlen(text)));
	munmap(map, length);
	munmap(image, length);
	close(file);
}

PMEM_DAX_MAIN(NAMESPACE)
