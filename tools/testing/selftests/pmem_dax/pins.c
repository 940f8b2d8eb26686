// SPDX-License-Identifier: GPL-2.0
/*
 * The memory can be pinned for long, here as the registered buffer of an io_uring: I/O
 * goes to the media, whatever becomes of the mapping, and the device does not go away.
 */
#include <liburing.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"
#define LENGTH	(64 * SZ_1M)
#define PIECE	(4 * SZ_4K)

/* Where 4K and 2M pages may meet: the ends, and around 1M and 2M from there. */
static const off_t places[] = {
	0, SZ_1M - PIECE / 2, SZ_2M - SZ_4K, 33 * SZ_1M - SZ_4K - 512, LENGTH - SZ_1M - SZ_4K,
	LENGTH - PIECE,
};

FIXTURE(pins) {
	struct io_uring ring;
	char *map, *buffer;
	uint64_t seed;
	int fd;
};

FIXTURE_VARIANT(pins) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(pins, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(pins, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(pins, mixed) {
	.layout = LAYOUT_MIXED,
};

FIXTURE_SETUP(pins)
{
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, SZ_2M);
	ASSERT_NE(NULL, self->buffer);
	self->seed = new_seed();
	ASSERT_EQ(0, io_uring_queue_init(1, &self->ring, 0));
}

FIXTURE_TEARDOWN(pins)
{
	io_uring_queue_exit(&self->ring);
	close(self->fd);
}

/* transfer() - one read or write of the registered buffer; what it returns */
static int transfer(struct io_uring *ring, bool store, int file, char *address, size_t length)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	int result;

	if (store)
		io_uring_prep_read_fixed(sqe, file, address, length, 0, 0);
	else
		io_uring_prep_write_fixed(sqe, file, address, length, 0, 0);
	result = io_uring_submit_and_wait(ring, 1);
	if (result != 1)
		return result;
	result = io_uring_wait_cqe(ring, &cqe);
	if (result)
		return result;
	result = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return result;
}

/*
 * passes() - whether bytes go from the media through a registered buffer to @file, and the
 * other way
 *
 * @start is the buffer's address of the byte at @offset, which may be unmapped.
 */
static bool passes(struct io_uring *ring, int fd, int file, char *start, off_t offset)
{
	char *bytes = aligned_alloc(SZ_4K, PIECE);
	uint64_t seed = new_seed();
	bool result;

	fill(bytes, PIECE, seed, 0);
	result = pwrite(fd, bytes, PIECE, offset) == PIECE &&
		 transfer(ring, false, file, start, PIECE) == PIECE;
	memset(bytes, 0, PIECE);
	result = result && pread(file, bytes, PIECE, 0) == PIECE &&
		 differs(bytes, PIECE, seed, 0) == -1;

	fill(bytes, PIECE, ~seed, 0);
	result = result && pwrite(file, bytes, PIECE, 0) == PIECE &&
		 transfer(ring, true, file, start, PIECE) == PIECE;
	memset(bytes, 0, PIECE);
	result = result && pread(fd, bytes, PIECE, offset) == PIECE &&
		 differs(bytes, PIECE, ~seed, 0) == -1;
	free(bytes);
	return result;
}

/* Copied to a file by the CPU, and by the disk's device without a copy. */
TEST_F(pins, fixed_buffer)
{
	struct iovec vector = { self->map, LENGTH };
	int files[] = { memfd_create("pins", MFD_CLOEXEC), open_disk(O_RDWR | O_DIRECT) };
	int i, j;

	if (files[1] < 0)
		SKIP(return, "no empty /dev/vda");
	/* Nobody has touched it. */
	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &vector, 1));
	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		for (j = 0; j < ARRAY_SIZE(places); j++) {
			EXPECT_TRUE(passes(&self->ring, self->fd, files[i], self->map + places[j],
					   variant->layout.offset + places[j])) {
				TH_LOG("at 0x%lx", places[j]);
			}
		}
	}

	/* The pin is as good without the mapping, and stays with the device's bytes. */
	fill(self->buffer, PIECE, self->seed, 0);
	memcpy(self->map, self->buffer, PIECE);
	munmap(self->map, LENGTH);
	for (j = 0; j < ARRAY_SIZE(places); j++)
		EXPECT_TRUE(passes(&self->ring, self->fd, files[1], self->map + places[j],
				   variant->layout.offset + places[j]));
	EXPECT_EQ(0, io_uring_unregister_buffers(&self->ring));
	close(files[0]);
	close(files[1]);
}

/* Of which the pages are not those that a large page begins with. */
TEST_F(pins, part_of_a_large_page)
{
	off_t start = SZ_2M + 3 * SZ_4K + 1000, end = 3 * SZ_2M - 7 * SZ_4K + 24;
	struct iovec vector = { self->map + start, end - start };
	int file = memfd_create("pins", MFD_CLOEXEC);

	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &vector, 1));
	start += variant->layout.offset;
	EXPECT_TRUE(passes(&self->ring, self->fd, file, vector.iov_base, start));
	EXPECT_TRUE(passes(&self->ring, self->fd, file, vector.iov_base + SZ_2M - SZ_4K,
			   start + SZ_2M - SZ_4K));
	EXPECT_TRUE(passes(&self->ring, self->fd, file, self->map + end - PIECE,
			   variant->layout.offset + end - PIECE));
	EXPECT_EQ(-EFAULT, transfer(&self->ring, true, file, self->map + end - PIECE + 1, PIECE));
	close(file);
}

/* Parent and child and the device still have the same pages. */
TEST_F(pins, fork)
{
	struct iovec vector = { self->map, LENGTH };
	int file = memfd_create("pins", MFD_CLOEXEC);
	char *middle = self->map + 33 * SZ_1M;
	int status;
	pid_t pid;

	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &vector, 1));
	memset(middle, 'p', SZ_4K);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		status = load_byte(middle) != 'p';
		memset(middle, 'c', SZ_4K);
		_exit(status);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(SZ_4K, transfer(&self->ring, false, file, middle, SZ_4K));
	ASSERT_EQ(SZ_4K, pread(file, self->buffer, SZ_4K, 0));
	EXPECT_EQ('c', self->buffer[0]);
	EXPECT_EQ('c', self->buffer[SZ_4K - 1]);

	/* What comes from the file the mapping has, as it has what is stored. */
	EXPECT_TRUE(passes(&self->ring, self->fd, file, middle,
			   variant->layout.offset + 33 * SZ_1M));
	ASSERT_EQ(PIECE, pread(self->fd, self->buffer, PIECE,
			       variant->layout.offset + 33 * SZ_1M));
	EXPECT_EQ(0, memcmp(middle, self->buffer, PIECE));
	close(file);
}

/* The pinned pages of a private mapping are copies. */
TEST_F(pins, private)
{
	char *private = map_skewed(self->fd, SZ_2M, variant->layout.offset, variant->layout.skew,
				   PROT_READ | PROT_WRITE, MAP_PRIVATE);
	struct iovec vector = { private, SZ_2M };
	int file = memfd_create("pins", MFD_CLOEXEC);

	ASSERT_NE(MAP_FAILED, private);
	fill(self->map, SZ_2M, self->seed, 0);
	EXPECT_EQ(-1, differs(private, SZ_2M, self->seed, 0));
	ASSERT_EQ(0, io_uring_register_buffers(&self->ring, &vector, 1));
	fill(self->buffer, PIECE, ~self->seed, SZ_1M);
	ASSERT_EQ(PIECE, pwrite(file, self->buffer, PIECE, 0));
	ASSERT_EQ(PIECE, transfer(&self->ring, true, file, private + SZ_1M, PIECE));
	EXPECT_EQ(-1, differs(private + SZ_1M, PIECE, ~self->seed, SZ_1M));
	EXPECT_EQ(-1, differs(private, SZ_1M, self->seed, 0));
	ASSERT_EQ(SZ_2M, pread(self->fd, self->buffer, SZ_2M, variant->layout.offset));
	EXPECT_EQ(-1, differs(self->buffer, SZ_2M, self->seed, 0));
	close(file);
}

FIXTURE(unbind) {
};

FIXTURE_SETUP(unbind)
{
}

FIXTURE_TEARDOWN_PARENT(unbind)
{
	shell("hand_over " NAMESPACE " pmem_dax");
}

/* pin() - keep pages of a mapping for as long as the ring is there */
static bool pin(struct io_uring *ring, char *start, size_t length)
{
	struct iovec vector = { start, length };

	return !io_uring_queue_init(1, ring, 0) && !io_uring_register_buffers(ring, &vector, 1);
}

/* The device is not gone before each pin is: it waits, and the memory stays what it was. */
TEST_F(unbind, waits)
{
	struct io_uring huge, small;
	int fd, status;
	char *map;
	pid_t pid;

	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_skewed(fd, 2 * SZ_2M, SZ_1M, SZ_1M, PROT_READ | PROT_WRITE, MAP_SHARED);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_TRUE(pin(&small, map + SZ_4K, SZ_4K));
	ASSERT_TRUE(pin(&huge, map + SZ_2M, SZ_4K));
	ASSERT_EQ(SZ_2M, huge_bytes(map, 2 * SZ_2M));
	munmap(map, 2 * SZ_2M);
	close(fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		io_uring_queue_exit(&huge);
		io_uring_queue_exit(&small);
		_exit(!!write_line(DRIVER "unbind", NAMESPACE));
	}
	usleep(1000000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	io_uring_queue_exit(&small);
	usleep(1000000);
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	io_uring_queue_exit(&huge);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Two partitions, of which the border is in the middle of a large page. */
#define PART	(32 * SZ_1M)

FIXTURE(left) {
	struct io_uring ring;
	char parts[2][80];
};

FIXTURE_SETUP(left)
{
	ASSERT_EQ(0, shell("echo -e \"2048,65536\\n67584,65536\" | sfdisk -q -X dos %s", node));
	snprintf(self->parts[0], sizeof(self->parts[0]), "%sp1", node);
	snprintf(self->parts[1], sizeof(self->parts[1]), "%sp2", node);
	ASSERT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 %s", self->parts[0]));
}

FIXTURE_TEARDOWN_PARENT(left)
{
	EXPECT_EQ(0, shell("wipefs -qa %s && blockdev --rereadpt %s", node, node));
}

/* alone() - open what is to be used by nobody else, and close it again; 0 or the error */
static int alone(const char *path)
{
	int fd = open(path, O_RDWR | O_EXCL | O_CLOEXEC);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

/* settles() - whether it can be had alone soon: a ring goes some time after it was closed */
static bool settles(const char *path)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (!alone(path))
			return true;
		usleep(10000);
	}
	return false;
}

/* map_part() - all of a partition, faulted in */
static char *map_part(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	char *map = mmap(NULL, PART, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);

	close(fd);
	return map;
}

/* Who wants a partition alone, or the disk, is refused while it is pinned, though not mapped. */
TEST_F_TIMEOUT(left, by_a_pin, 300)
{
	const char *first = self->parts[0], *second = self->parts[1];
	char *map = map_part(first);

	ASSERT_NE(MAP_FAILED, map);
	/* The last page of it is in the same large page as the first one of its neighbour. */
	ASSERT_TRUE(pin(&self->ring, map + PART - SZ_4K, SZ_4K));
	EXPECT_EQ(EBUSY, alone(first));
	munmap(map, PART);
	EXPECT_EQ(EBUSY, alone(first));
	EXPECT_EQ(EBUSY, alone(node));
	EXPECT_EQ(0, shell("log_has \"not to be had alone: .* mapped last by pins\""));
	EXPECT_NE(0, shell("mkfs.ext4 -q -F -b 4096 %s", first));
	EXPECT_NE(0, shell("mount %s /mnt && umount /mnt", first));
	/* Its neighbour was never mapped. */
	EXPECT_EQ(0, alone(second));
	EXPECT_EQ(0, shell("mkfs.ext4 -q -F -b 4096 %s", second));
	/* And mapping it again is no matter of this. */
	map = map_part(first);
	ASSERT_NE(MAP_FAILED, map);
	munmap(map, PART);
	io_uring_queue_exit(&self->ring);
	EXPECT_TRUE(settles(first));
	EXPECT_EQ(0, alone(node));
	EXPECT_EQ(0, shell("mount %s /mnt && umount /mnt", first));
}

/* What a neighbour maps or pins keeps nobody away, but for pins in a large page of both. */
TEST_F_TIMEOUT(left, by_a_neighbour, 300)
{
	const char *first = self->parts[0], *second = self->parts[1];
	char *map = map_part(first), *other = map_part(second);

	ASSERT_NE(MAP_FAILED, map);
	ASSERT_NE(MAP_FAILED, other);
	munmap(other, PART);
	EXPECT_EQ(0, alone(second));
	other = map_part(second);
	ASSERT_NE(MAP_FAILED, other);
	munmap(other, PART);
	ASSERT_TRUE(pin(&self->ring, map, PART - SZ_1M));
	EXPECT_EQ(0, alone(second));
	EXPECT_EQ(EBUSY, alone(node));
	munmap(map, PART);
	EXPECT_EQ(0, alone(second));
	EXPECT_EQ(EBUSY, alone(node));
	EXPECT_EQ(EBUSY, alone(first));
	/* Of other bytes than it was mapped by. */
	ASSERT_EQ(0, shell("echo 2048,131072 | sfdisk -q --no-reread -X dos %s && partx -u %s",
			   node, node));
	EXPECT_EQ(EBUSY, alone(first));
	io_uring_queue_exit(&self->ring);
	EXPECT_TRUE(settles(first));
}

PMEM_DAX_MAIN(NAMESPACE)
