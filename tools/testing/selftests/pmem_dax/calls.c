// SPDX-License-Identifier: GPL-2.0
/*
 * System calls on the node do what they do on any block device: each is made with the same
 * arguments on a node of the same size that nd_pmem drives, and must have the same result, leave
 * the same file position and the same bytes in the caller's memory and on the media. Where the
 * two are to differ is a list with reasons, which the users' guide has too.
 */
#include <dirent.h>
#include <linux/aio_abi.h>
#include <linux/blkdev.h>
#include <linux/blkpg.h>
#include <linux/blkzoned.h>
#include <linux/falloc.h>
#include <linux/hdreg.h>
#include <linux/pr.h>
#include <liburing.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/swap.h>
#include <sys/uio.h>

#include "pmem_dax.h"

#define PEER		"namespace1.0"
#define SECTOR		512UL
#define ARENA		SZ_2M
#define CANARY		0x55
/* What is on the media around the bytes of a call is looked at too. */
#define AROUND		SZ_4K

/* How a file is opened. */
enum mode { PLAIN, DIRECT, SYNC, DSYNC, APPEND, NONBLOCK, MODES };

static const int open_flags[MODES] = {
	[DIRECT] = O_DIRECT,
	[SYNC] = O_SYNC,
	[DSYNC] = O_DSYNC,
	[APPEND] = O_APPEND,
	[NONBLOCK] = O_NONBLOCK,
};

/* Where the caller's bytes are. Of PARTLY, what is behind the first 1000 is not mapped. */
enum memory { ALIGNED, ODD, PARTLY, UNMAPPED, READONLY, MEMORIES };

#define PART	1000

/* A node, and all that is needed to make calls on it. */
struct side {
	char node[64], disk[64];
	int fds[MODES], media, holder, pipes[2], file;
	/* The node's size, and where on the disk it starts. */
	off_t size, start;
	struct io_uring ring;
	aio_context_t aio;
	char *memory[MEMORIES];
	/* The first and the last bytes of the disk, if they are mapped. */
	char *first, *last;
	off_t last_start;
};

/* What is done. @flags are those of preadv2() and the like. */
struct row {
	const struct call *call;
	off_t offset;
	size_t length;
	enum mode mode;
	enum memory memory;
	int flags;
};

struct result {
	long value;
	off_t position;
};

struct call {
	const char *name;
	long (*make)(struct side *side, int fd, char *memory, const struct row *row);
	bool writes;
	/* Of what it is given: it starts at the file position, has memory, vectors, flags. */
	bool here, memory, vectors, flags;
};

static long value_or_error(long value)
{
	return value < 0 ? -errno : value;
}

/* Three vectors, of which one is empty. */
#define VECTORS(memory, length)					\
	{							\
		{ memory, (length) / 3 },			\
		{ memory, 0 },					\
		{ (memory) + (length) / 3, (length) - (length) / 3 },	\
	}

static long do_read(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(read(fd, memory, row->length));
}

static long do_write(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(write(fd, memory, row->length));
}

static long do_pread(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(pread(fd, memory, row->length, row->offset));
}

static long do_pwrite(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(pwrite(fd, memory, row->length, row->offset));
}

static long do_readv(struct side *side, int fd, char *memory, const struct row *row)
{
	struct iovec vectors[] = VECTORS(memory, row->length);

	return value_or_error(readv(fd, vectors, 3));
}

static long do_writev(struct side *side, int fd, char *memory, const struct row *row)
{
	struct iovec vectors[] = VECTORS(memory, row->length);

	return value_or_error(writev(fd, vectors, 3));
}

/* The C library has them do what the kernel could not: straight to the kernel. */
static long vectored(long number, int fd, char *memory, const struct row *row, off_t offset)
{
	struct iovec vectors[] = VECTORS(memory, row->length);

	return value_or_error(syscall(number, fd, vectors, 3, offset, 0, row->flags));
}

static long do_preadv(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_preadv, fd, memory, row, row->offset);
}

static long do_pwritev(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_pwritev, fd, memory, row, row->offset);
}

static long do_preadv2(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_preadv2, fd, memory, row, row->offset);
}

static long do_pwritev2(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_pwritev2, fd, memory, row, row->offset);
}

static long do_preadv2_here(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_preadv2, fd, memory, row, -1);
}

static long do_pwritev2_here(struct side *side, int fd, char *memory, const struct row *row)
{
	return vectored(__NR_pwritev2, fd, memory, row, -1);
}

/* How many bytes one call of splice() moves is the file's affair, so until it is done. */
static long splice_from(struct side *side, int fd, char *memory, const struct row *row,
			off_t *offset)
{
	long done = 0, moved, got;

	do {
		moved = splice(fd, offset, side->pipes[1], NULL, row->length - done,
			       SPLICE_F_NONBLOCK);
		if (moved < 0)
			return done ? done : -errno;
		for (got = 0; got < moved;) {
			long n = read(side->pipes[0], memory + done + got, moved - got);

			if (n <= 0)
				return -EPIPE;
			got += n;
		}
		done += moved;
	} while (moved && done < row->length);
	return done;
}

static long do_splice_from(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t offset = row->offset;

	return splice_from(side, fd, memory, row, &offset);
}

static long do_splice_from_here(struct side *side, int fd, char *memory, const struct row *row)
{
	return splice_from(side, fd, memory, row, NULL);
}

static long do_splice_to(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t offset = row->offset;
	long done = 0, moved;

	do {
		char rest[SZ_4K];
		size_t piece = row->length - done < 60000 ? row->length - done : 60000;

		if (write(side->pipes[1], memory + done, piece) != piece)
			return -EPIPE;
		moved = splice(side->pipes[0], NULL, fd, &offset, piece, 0);
		if (moved < 0 && !done)
			done = -errno;
		if (moved > 0)
			done += moved;
		while (moved < (long)piece && read(side->pipes[0], rest, sizeof(rest)) > 0)
			;
		if (moved < (long)piece)
			break;
	} while (done < row->length);
	return done;
}

static long do_sendfile_from(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t offset = row->offset;
	long done, got;

	if (ftruncate(side->file, 0) || lseek(side->file, 0, SEEK_SET))
		return -EPIPE;
	done = value_or_error(sendfile(side->file, fd, &offset, row->length));
	got = done > 0 ? pread(side->file, memory, row->length, 0) : done;
	return got == done && (done < 0 || offset == row->offset + done) ? done : -EPIPE;
}

static long do_sendfile_to(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t offset = 0;

	if (ftruncate(side->file, 0) ||
	    pwrite(side->file, memory, row->length, 0) != row->length)
		return -EPIPE;
	return value_or_error(sendfile(fd, side->file, &offset, row->length));
}

static long do_copy_file_range_from(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t from = row->offset, to = 0;

	return value_or_error(copy_file_range(fd, &from, side->file, &to, row->length, 0));
}

static long do_copy_file_range_to(struct side *side, int fd, char *memory, const struct row *row)
{
	off_t from = 0, to = row->offset;

	return value_or_error(copy_file_range(side->file, &from, fd, &to, row->length, 0));
}

static long uring(struct io_uring *ring, int op, int fd, char *memory, const struct row *row)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
	struct io_uring_cqe *cqe;
	long value;

	io_uring_prep_rw(op, sqe, fd, memory, row->length, row->offset);
	sqe->rw_flags = row->flags;
	value = io_uring_submit_and_wait(ring, 1);
	if (value != 1 || io_uring_wait_cqe(ring, &cqe))
		return -EPIPE;
	value = cqe->res;
	io_uring_cqe_seen(ring, cqe);
	return value;
}

static long do_uring_read(struct side *side, int fd, char *memory, const struct row *row)
{
	return uring(&side->ring, IORING_OP_READ, fd, memory, row);
}

static long do_uring_write(struct side *side, int fd, char *memory, const struct row *row)
{
	return uring(&side->ring, IORING_OP_WRITE, fd, memory, row);
}

static long do_uring_read_fixed(struct side *side, int fd, char *memory, const struct row *row)
{
	return uring(&side->ring, IORING_OP_READ_FIXED, fd, memory, row);
}

static long do_uring_write_fixed(struct side *side, int fd, char *memory, const struct row *row)
{
	return uring(&side->ring, IORING_OP_WRITE_FIXED, fd, memory, row);
}

static long aio(struct side *side, int op, int fd, char *memory, const struct row *row)
{
	struct iocb iocb = {
		.aio_fildes = fd,
		.aio_lio_opcode = op,
		.aio_buf = (uintptr_t)memory,
		.aio_nbytes = row->length,
		.aio_offset = row->offset,
		.aio_rw_flags = row->flags,
	};
	struct iocb *iocbs[] = { &iocb };
	struct io_event event;

	if (syscall(__NR_io_submit, side->aio, 1, iocbs) != 1)
		return -errno;
	if (syscall(__NR_io_getevents, side->aio, 1, 1, &event, NULL) != 1)
		return -EPIPE;
	return event.res;
}

static long do_aio_read(struct side *side, int fd, char *memory, const struct row *row)
{
	return aio(side, IOCB_CMD_PREAD, fd, memory, row);
}

static long do_aio_write(struct side *side, int fd, char *memory, const struct row *row)
{
	return aio(side, IOCB_CMD_PWRITE, fd, memory, row);
}

/* These fill the page cache, or empty it. */
static long do_readahead(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(readahead(fd, row->offset, row->length));
}

static long do_fadvise(struct side *side, int fd, char *memory, const struct row *row)
{
	return posix_fadvise(fd, row->offset, row->length, POSIX_FADV_DONTNEED);
}

static long do_sync_file_range(struct side *side, int fd, char *memory, const struct row *row)
{
	return value_or_error(sync_file_range(fd, row->offset, row->length,
					      SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER));
}

static const struct call calls[] = {
	{ "read", do_read, .here = true, .memory = true },
	{ "write", do_write, .writes = true, .here = true, .memory = true },
	{ "pread", do_pread, .memory = true },
	{ "pwrite", do_pwrite, .writes = true, .memory = true },
	{ "readv", do_readv, .here = true, .memory = true, .vectors = true },
	{ "writev", do_writev, .writes = true, .here = true, .memory = true, .vectors = true },
	{ "preadv", do_preadv, .memory = true, .vectors = true },
	{ "pwritev", do_pwritev, .writes = true, .memory = true, .vectors = true },
	{ "preadv2", do_preadv2, .memory = true, .vectors = true, .flags = true },
	{ "pwritev2", do_pwritev2, .writes = true, .memory = true, .vectors = true, .flags = true },
	{ "preadv2, -1", do_preadv2_here, .here = true, .memory = true, .vectors = true },
	{ "pwritev2, -1", do_pwritev2_here, .writes = true, .here = true, .memory = true,
	  .vectors = true },
	{ "splice from, offset", do_splice_from, .writes = false },
	{ "splice from", do_splice_from_here, .here = true },
	{ "splice to", do_splice_to, .writes = true },
	{ "sendfile from", do_sendfile_from, .writes = false },
	{ "sendfile to", do_sendfile_to, .writes = true, .here = true },
	{ "copy_file_range from", do_copy_file_range_from, .writes = false },
	{ "copy_file_range to", do_copy_file_range_to, .writes = false },
	{ "io_uring read", do_uring_read, .memory = true, .flags = true },
	{ "io_uring write", do_uring_write, .writes = true, .memory = true, .flags = true },
	{ "io_uring read, fixed", do_uring_read_fixed, .memory = true },
	{ "io_uring write, fixed", do_uring_write_fixed, .writes = true, .memory = true },
	{ "aio read", do_aio_read, .memory = true, .flags = true },
	{ "aio write", do_aio_write, .writes = true, .memory = true, .flags = true },
	{ "readahead", do_readahead, .writes = false },
	{ "fadvise", do_fadvise, .writes = false },
	{ "sync_file_range", do_sync_file_range, .writes = false },
};

FIXTURE(calls) {
	struct side ours, peer;
	char *copy;
	uint64_t seed;
	int rows, failures, unaligned;
};

FIXTURE_VARIANT(calls) {
	/* On a partition of that many sectors, from the second MiB on, instead of the disk. */
	unsigned long sectors;
	/* Ours is mapped, both are held by somebody else, both are read-only. */
	bool mapped, held, readonly;
	/* Of so many rows of a table one is made: 1, or a prime that divides no list's length. */
	int stride;
};

FIXTURE_VARIANT_ADD(calls, disk) {
	.stride = 1,
};

FIXTURE_VARIANT_ADD(calls, disk_mapped) {
	.mapped = true,
	.stride = 1,
};

FIXTURE_VARIANT_ADD(calls, disk_held) {
	.held = true,
	.stride = 11,
};

FIXTURE_VARIANT_ADD(calls, disk_readonly) {
	.readonly = true,
	.stride = 11,
};

/* Which does not end at a page, so that it cannot be mapped. */
FIXTURE_VARIANT_ADD(calls, partition) {
	.sectors = 3 * SZ_1M / SECTOR + 3,
	.stride = 11,
};

FIXTURE_VARIANT_ADD(calls, partition_mapped) {
	.sectors = 3 * SZ_1M / SECTOR,
	.mapped = true,
	.stride = 11,
};

/* as_peer() - nd_pmem has the peer's namespace; its node goes to @disk */
static bool as_peer(char *disk, size_t size)
{
	struct dirent *entry;
	DIR *dir;

	if (access("/sys/bus/nd/drivers/nd_pmem/" PEER, F_OK) &&
	    shell("hand_over " PEER " nd_pmem"))
		return false;
	dir = opendir("/sys/bus/nd/devices/" PEER "/block");
	if (!dir)
		return false;
	disk[0] = '\0';
	while ((entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			snprintf(disk, size, "/dev/%.32s", entry->d_name);
	closedir(dir);
	return disk[0];
}

/* open_side() - the files and buffers to make calls on side->disk with */
static bool open_side(struct side *side, unsigned long sectors)
{
	int i;

	side->media = open(side->disk, O_RDWR | O_DIRECT | O_CLOEXEC);
	if (side->media < 0)
		return false;
	if (sectors) {
		struct blkpg_partition part = {
			.pno = 1,
			.start = SZ_1M,
			.length = sectors * SECTOR,
		};
		struct blkpg_ioctl_arg arg = {
			.op = BLKPG_ADD_PARTITION,
			.datalen = sizeof(part),
			.data = &part,
		};

		if (ioctl(side->media, BLKPG, &arg))
			return false;
		side->start = part.start;
	}
	snprintf(side->node, sizeof(side->node), "%.50s%s", side->disk, sectors ? "p1" : "");
	for (i = 0; i < MODES; i++) {
		side->fds[i] = open(side->node, O_RDWR | O_CLOEXEC | open_flags[i]);
		if (side->fds[i] < 0)
			return false;
	}
	side->size = size_of(side->fds[PLAIN]);
	side->holder = -1;
	side->file = memfd_create("calls", MFD_CLOEXEC);
	for (i = 0; i < MEMORIES; i++)
		side->memory[i] = mmap(NULL, ARENA, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	side->memory[ODD] += 1;
	mprotect(side->memory[PARTLY] + SZ_4K, ARENA - SZ_4K, PROT_NONE);
	side->memory[PARTLY] += SZ_4K - PART;
	munmap(side->memory[UNMAPPED], ARENA);
	mprotect(side->memory[READONLY], ARENA, PROT_READ);
	return side->file >= 0 && !pipe2(side->pipes, O_CLOEXEC | O_NONBLOCK) &&
	       !syscall(__NR_io_setup, 8, &side->aio) &&
	       !io_uring_queue_init(4, &side->ring, 0) &&
	       !io_uring_register_buffers(&side->ring,
					  &(struct iovec){ side->memory[ALIGNED], ARENA }, 1);
}

static void close_side(struct side *side, bool partition)
{
	struct blkpg_partition part = { .pno = 1 };
	struct blkpg_ioctl_arg arg = {
		.op = BLKPG_DEL_PARTITION,
		.datalen = sizeof(part),
		.data = &part,
	};
	int i;

	io_uring_queue_exit(&side->ring);
	syscall(__NR_io_destroy, side->aio);
	close(side->holder);
	for (i = 0; i < MODES; i++)
		close(side->fds[i]);
	/* The ring's reference of a file may be dropped later. */
	for (i = 0; partition && i < 100 && ioctl(side->media, BLKPG, &arg); i++)
		usleep(10000);
	close(side->media);
}

/* What the calls touch: the node's first bytes, and its last ones with those behind it. */
#define FIRST	(64 * SECTOR)
#define LAST	(SZ_1M + 64 * SECTOR)

static bool set_bytes(struct side *side, const char *bytes)
{
	off_t end = side->start + (side->size & ~(SZ_4K - 1)), disk = size_of(side->media);
	off_t behind = end + FIRST < disk ? FIRST : disk - end;

	return pwrite(side->media, bytes, FIRST, side->start) == FIRST &&
	       (!side->start || pwrite(side->media, bytes, FIRST, side->start - FIRST) == FIRST) &&
	       pwrite(side->media, bytes, LAST + behind, end - LAST) == LAST + behind;
}

FIXTURE_SETUP(calls)
{
	int one = 1;

	/* The same bytes on both, before there is anything in the way. */
	self->seed = new_seed();
	self->copy = aligned_alloc(SZ_4K, ARENA);
	fill(self->copy, ARENA, self->seed, 0);
	ASSERT_TRUE(as_peer(self->peer.disk, sizeof(self->peer.disk)));
	strcpy(self->ours.disk, node);
	ASSERT_TRUE(open_side(&self->ours, variant->sectors));
	ASSERT_TRUE(open_side(&self->peer, variant->sectors));
	ASSERT_EQ(self->peer.size, self->ours.size);
	ASSERT_EQ(size_of(self->peer.media), size_of(self->ours.media));
	ASSERT_TRUE(set_bytes(&self->ours, self->copy));
	ASSERT_TRUE(set_bytes(&self->peer, self->copy));

	if (variant->mapped) {
		/* With large and with small pages. */
		self->ours.first = map_skewed(self->ours.fds[PLAIN], SZ_2M, 0, 0,
					      PROT_READ | PROT_WRITE, MAP_SHARED);
		ASSERT_NE(MAP_FAILED, self->ours.first);
		self->ours.last_start = (self->ours.size - SZ_2M) & ~(SZ_4K - 1);
		self->ours.last = map_skewed(self->ours.fds[PLAIN], SZ_2M, self->ours.last_start,
					     SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED);
		ASSERT_NE(MAP_FAILED, self->ours.last);
	}
	if (variant->held) {
		self->ours.holder = open(self->ours.node, O_RDWR | O_EXCL | O_CLOEXEC);
		ASSERT_LE(0, self->ours.holder);
		self->peer.holder = open(self->peer.node, O_RDWR | O_EXCL | O_CLOEXEC);
		ASSERT_LE(0, self->peer.holder);
	}
	if (variant->readonly) {
		ASSERT_EQ(0, ioctl(self->ours.media, BLKROSET, &one));
		ASSERT_EQ(0, ioctl(self->peer.media, BLKROSET, &one));
	}
}

FIXTURE_TEARDOWN(calls)
{
	int zero = 0;

	if (variant->readonly) {
		ioctl(self->ours.media, BLKROSET, &zero);
		ioctl(self->peer.media, BLKROSET, &zero);
	}
	if (variant->mapped) {
		munmap(self->ours.first, SZ_2M);
		munmap(self->ours.last, SZ_2M);
	}
	close_side(&self->ours, variant->sectors);
	close_side(&self->peer, variant->sectors);
}

/* mapped_at() - where a range of ours is mapped; NULL if it is not */
static char *mapped_at(const struct side *side, off_t offset, size_t length)
{
	if (side->first && offset + length <= SZ_2M)
		return side->first + offset;
	if (side->last && offset >= side->last_start)
		return side->last + (offset - side->last_start);
	return NULL;
}

/*
 * same_media() - whether both have the same bytes on the media, around a range
 *
 * What ours has is seen by a mapping, which is there, or made for it; what the peer has, by a bio.
 */
static bool same_media(struct side *ours, struct side *peer, off_t offset, size_t length,
		       char *copy)
{
	off_t start, end, disk = size_of(ours->media);
	char *map = NULL, *own = NULL;
	bool same = false;

	if (offset < 0 || offset > ours->size + (off_t)AROUND)
		return true;
	start = ours->start + offset > (off_t)AROUND ? ours->start + offset - AROUND : 0;
	start &= ~(SZ_4K - 1);
	end = (ours->start + offset + length + AROUND + SZ_4K - 1) & ~(SZ_4K - 1);
	if (end > disk)
		end = disk;
	if (start >= end)
		return true;

	if (fsync(ours->fds[PLAIN]) || fsync(peer->fds[PLAIN]) ||
	    pread(peer->media, copy, end - start, start) != end - start)
		return false;
	if (start >= ours->start && end <= ours->start + ours->size)
		map = mapped_at(ours, start - ours->start, end - start);
	if (!map && ours->first) {
		/* Some of it is not the mapped partition's, so nobody else may map it. */
		own = aligned_alloc(SZ_4K, end - start);
		same = pread(ours->media, own, end - start, start) == end - start &&
		       !memcmp(own, copy, end - start);
		free(own);
		return same;
	}
	if (!map) {
		own = mmap(NULL, end - start, PROT_READ, MAP_PRIVATE,
			   ours->holder >= 0 ? ours->holder : ours->media, start);
		if (own == MAP_FAILED)
			return false;
		map = own;
	}
	same = !memcmp(map, copy, end - start);
	if (own)
		munmap(own, end - start);
	return same;
}

/* change() - store other bytes where a call will read, by another way than that call */
static bool change(struct side *side, off_t offset, size_t length, const char *bytes)
{
	char *map;

	if (offset < 0 || offset >= side->size)
		return true;
	if (length > side->size - offset)
		length = side->size - offset;
	map = mapped_at(side, offset, length);
	if (map) {
		memcpy(map, bytes, length);
		return true;
	}
	return pwrite(side->fds[PLAIN], bytes, length, offset) == length;
}

/* accessible() - the bytes of a kind of memory that a row's call could touch and we can look at */
static size_t accessible(const struct row *row)
{
	switch (row->memory) {
	case PARTLY:
		return PART;
	case UNMAPPED:
		return 0;
	default:
		return row->length + 64 < ARENA ? row->length + 64 : ARENA - 1;
	}
}

static struct result make(struct side *side, const struct row *row, uint64_t seed)
{
	char *memory = side->memory[row->memory];
	struct result result;
	int fd = side->fds[row->mode];
	size_t i;

	if (row->memory == READONLY)
		;
	else if (row->call->writes)
		for (i = 0; i < accessible(row); i++)
			memory[i] = seed + i + (i >> 8);
	else
		memset(memory, CANARY, accessible(row));
	if (lseek(fd, row->call->here ? row->offset : 4242, SEEK_SET) < 0)
		lseek(fd, 0, SEEK_SET);
	result.value = row->call->make(side, fd, memory, row);
	result.position = lseek(fd, 0, SEEK_CUR);
	return result;
}

/* is_aligned() - whether nd_pmem would do it with O_DIRECT */
static bool is_aligned(const struct side *side, const struct row *row)
{
	size_t bits = row->offset | row->length;

	if (row->call->memory)
		bits |= (uintptr_t)side->memory[row->memory];
	if (row->call->vectors)
		bits |= row->length / 3;
	return bits % SECTOR == 0;
}

/* compare() - one call, on both */
static void compare(struct __test_metadata *_metadata, FIXTURE_DATA(calls) * self,
		    const FIXTURE_VARIANT(calls) * variant, const struct row *row)
{
	struct side *ours = &self->ours, *peer = &self->peer;
	struct result got, wanted;
	const char *what = NULL;
	struct row instead = *row;
	bool refused;

	self->seed = self->seed * 6364136223846793005UL + 1;
	if (!row->call->writes && !variant->readonly && row->length) {
		fill(self->copy, (row->length + 7) & ~7UL, self->seed, 0);
		if (!change(ours, row->offset, row->length, self->copy) ||
		    !change(peer, row->offset, row->length, self->copy))
			what = "the change before";
	}
	/*
	 * A wanted difference of these calls: nd_pmem refuses all that may not wait. Ours has the
	 * result that it would have otherwise.
	 */
	if (row->call->flags && row->flags > 0 && row->flags & RWF_NOWAIT)
		instead.flags &= ~RWF_NOWAIT;
	/*
	 * The other one: what is not aligned is done with O_DIRECT too, with the result that it has
	 * without. Not while somebody else holds the device.
	 */
	if (row->mode == DIRECT && !variant->held && !is_aligned(peer, row)) {
		struct result direct = make(peer, &instead, self->seed >> 32);

		if (direct.value == -EINVAL) {
			instead.mode = PLAIN;
			self->unaligned++;
		}
	}
	got = make(ours, row, self->seed >> 32);
	/* While somebody holds the device there is a page cache to wait for. */
	refused = instead.flags != row->flags && variant->held &&
		  (got.value == -EAGAIN || got.value == -EOPNOTSUPP);
	if (refused)
		instead.flags = row->flags;
	wanted = make(peer, &instead, self->seed >> 32);
	if (refused)
		wanted.value = got.value;
	self->rows++;

	if (what)
		;
	else if (got.value != wanted.value)
		what = "the result";
	else if (got.position != wanted.position)
		what = "the file position";
	else if (memcmp(ours->memory[row->memory], peer->memory[row->memory], accessible(row)))
		what = "the memory";
	else if (row->call->writes &&
		 !same_media(ours, peer, row->offset, row->length, self->copy))
		what = "the media";
	if (!what)
		return;
	self->failures++;
	EXPECT_EQ(NULL, what);
	TH_LOG("%s of %s(0x%lx, 0x%zx), file %d, memory %d, flags 0x%x: %ld at 0x%lx, not %ld at 0x%lx",
	       what, row->call->name, row->offset, row->length, row->mode, row->memory,
	       row->flags, got.value, got.position, wanted.value, wanted.position);
}

/* Offsets, which count from the end if @end. */
struct place {
	off_t offset;
	bool end;
};

#define START(bytes)	{ .offset = (bytes) }
#define END(bytes)	{ .offset = (bytes), .end = true }

static const struct place all_places[] = {
	START(0), START(1), START(4095), START(8192), END(-4096), END(-1000), END(-1), END(0),
	END(1), END(4096), START(-1), START(-4096), START(LLONG_MAX), START(LLONG_MAX - 4095),
};

static const struct place some_places[] = {
	START(0), START(511), START(4096), END(-4096), END(-512), END(0),
};

static const struct place large_places[] = { END(-(off_t)SZ_1M) };

static const size_t all_lengths[] = { 0, 1, 511, 512, 4095, 4096, 12345 };
static const size_t some_lengths[] = { 1, 512, 4096, 12288 };
static const size_t large_lengths[] = { SZ_1M + 1 };

static off_t at(const struct side *side, const struct place *place)
{
	return place->end ? side->size + place->offset : place->offset;
}

#define for_each(item, array)	\
	for (item = array; item < (array) + ARRAY_SIZE(array); item++)

/* All rows that lists of what they consist of make. Of one that is not there, the first counts. */
struct table {
	const struct place *places;
	const size_t *lengths;
	const enum mode *modes;
	const enum memory *memories;
	const int *flags;
	int n_places, n_lengths, n_modes, n_memories, n_flags;
};

#define LIST(what, array)	.what = array, .n_##what = ARRAY_SIZE(array)

/* digit() - the last digit of a number of which each has a base of its own */
static int digit(int *number, int base)
{
	int result = base ? *number % base : 0;

	if (base)
		*number /= base;
	return result;
}

static void compare_all(struct __test_metadata *_metadata, FIXTURE_DATA(calls) * self,
			const FIXTURE_VARIANT(calls) * variant, const struct table *table)
{
	int i, rest;

	for (i = 0, rest = 0; rest < ARRAY_SIZE(calls); i += variant->stride) {
		struct row row = {};

		rest = i;
		if (table->flags)
			row.flags = table->flags[digit(&rest, table->n_flags)];
		if (table->memories)
			row.memory = table->memories[digit(&rest, table->n_memories)];
		if (table->modes)
			row.mode = table->modes[digit(&rest, table->n_modes)];
		row.length = table->lengths[digit(&rest, table->n_lengths)];
		row.offset = at(&self->ours, &table->places[digit(&rest, table->n_places)]);
		if (rest >= ARRAY_SIZE(calls))
			break;
		row.call = &calls[rest];
		if ((table->flags && !row.call->flags) ||
		    (table->memories && !row.call->memory))
			continue;
		compare(_metadata, self, variant, &row);
		if (self->failures > 20)
			break;
	}
	TH_LOG("%d calls", self->rows);
}

/* Each call, everywhere. */
TEST_F(calls, places)
{
	const struct table tables[] = {
		{ LIST(places, all_places), LIST(lengths, all_lengths) },
		{ LIST(places, large_places), LIST(lengths, large_lengths) },
	};

	compare_all(_metadata, self, variant, &tables[0]);
	compare_all(_metadata, self, variant, &tables[1]);
}

/* Files that were opened with flags, and memory that is not aligned. */
TEST_F(calls, open_flags)
{
	static const enum mode direct[] = { DIRECT };
	static const enum mode others[] = { SYNC, DSYNC, APPEND, NONBLOCK };
	static const enum memory memories[] = { ALIGNED, ODD };
	static const struct place places[] = { START(511), END(-512) };
	static const size_t lengths[] = { 4096 };
	const struct table tables[] = {
		{ LIST(places, some_places), LIST(lengths, some_lengths), LIST(modes, direct) },
		{ LIST(places, some_places), LIST(lengths, some_lengths), LIST(modes, direct),
		  LIST(memories, memories) },
		{ LIST(places, places), LIST(lengths, lengths), LIST(modes, others) },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(tables); i++)
		compare_all(_metadata, self, variant, &tables[i]);
	/* What is not so any more is to go from the users' guide. */
	if (!variant->held)
		EXPECT_LT(0, self->unaligned);
}

/* Memory that ends early, or is not there, or cannot be written. */
TEST_F(calls, memory)
{
	static const size_t lengths[] = { PART, 12288 };
	static const enum mode modes[] = { PLAIN, DIRECT };
	static const enum memory memories[] = { PARTLY, UNMAPPED, READONLY };
	const struct table table = {
		LIST(places, some_places), LIST(lengths, lengths), LIST(modes, modes),
		LIST(memories, memories),
	};

	compare_all(_metadata, self, variant, &table);
}

#ifndef RWF_DONTCACHE
#define RWF_DONTCACHE	0x80
#endif
#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL	0x100
#endif

/* The flags of a call, and those that there are not. */
TEST_F(calls, flags)
{
	static const int flags[] = {
		RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND, RWF_NOAPPEND, RWF_ATOMIC,
		RWF_DONTCACHE, RWF_NOSIGNAL, RWF_APPEND | RWF_NOAPPEND, RWF_NOWAIT | RWF_SYNC,
		RWF_DONTCACHE | RWF_SYNC, 0x8000, 0x40000000, -1,
	};
	static const enum mode modes[] = { PLAIN, DIRECT };
	static const size_t lengths[] = { 1, 1536 };
	const struct table table = {
		LIST(places, some_places), LIST(lengths, lengths), LIST(modes, modes),
		LIST(flags, flags),
	};

	compare_all(_metadata, self, variant, &table);
}

/* Both could be wrong: what the users' guide has, as it has it. */
TEST_F(calls, documented)
{
	static const struct {
		struct place place;
		size_t length;
		int flags;
		long read, write;
	} rows[] = {
		{ START(0), 100, 0, 100, 100 },
		{ END(0), 100, 0, 0, -ENOSPC },
		{ END(4096), 100, 0, 0, -ENOSPC },
		{ END(-10), 100, 0, 10, 10 },
		{ END(0), 0, 0, 0, 0 },
		{ START(-4096), 100, 0, -EINVAL, -EINVAL },
		{ START(10), 100, RWF_SYNC, 100, 100 },
		{ START(10), 100, RWF_APPEND, 100, 100 },
		{ START(10), 100, RWF_HIPRI, 100, 100 },
		{ START(10), 100, RWF_NOAPPEND, 100, 100 },
		{ START(10), 100, RWF_DONTCACHE, 100, 100 },
		{ START(10), 100, RWF_NOSIGNAL, 100, 100 },
		{ START(10), 100, RWF_NOWAIT, 100, 100 },
		{ START(10), 100, RWF_ATOMIC, -EOPNOTSUPP, -EOPNOTSUPP },
		{ START(10), 100, 0x40000000, -EOPNOTSUPP, -EOPNOTSUPP },
	};
	struct side *side = &self->ours;
	int i, fd = side->fds[PLAIN];

	for (i = 0; i < ARRAY_SIZE(rows); i++) {
		struct row row = {
			.offset = at(side, &rows[i].place),
			.length = rows[i].length,
			.flags = rows[i].flags,
		};
		bool refused = variant->readonly && row.length &&
			       rows[i].write != -EOPNOTSUPP && rows[i].write != -EINVAL;
		/* The page cache has no writes that may not wait. */
		bool cached = variant->held && row.flags & RWF_NOWAIT;

		EXPECT_EQ(rows[i].read, do_preadv2(side, fd, side->memory[ALIGNED], &row)) {
			TH_LOG("row %d", i);
		}
		EXPECT_EQ(refused ? -EPERM : cached ? -EOPNOTSUPP : rows[i].write,
			  do_pwritev2(side, fd, side->memory[ALIGNED], &row)) {
			TH_LOG("row %d", i);
		}
	}
	EXPECT_EQ(-EFAULT, value_or_error(pread(fd, side->memory[UNMAPPED], 100, 0)));
	EXPECT_EQ(PART, pread(fd, side->memory[PARTLY], 2 * PART, 0));
}

/* A size limit of the process is one for regular files. */
TEST_F(calls, file_size_limit)
{
	const struct rlimit small = { SZ_4K, RLIM_INFINITY };
	const struct call *call;

	signal(SIGXFSZ, SIG_IGN);
	ASSERT_EQ(0, ftruncate(self->ours.file, SZ_4K));
	ASSERT_EQ(0, setrlimit(RLIMIT_FSIZE, &small));
	for_each(call, calls) {
		struct row row = { .call = call, .offset = 2 * SZ_4K, .length = 100 };

		compare(_metadata, self, variant, &row);
	}
}

/* fill_cache() - have the page cache read ahead; the pages that it has then */
static long fill_cache(struct side *side)
{
	if (readahead(side->fds[PLAIN], 0, FIRST))
		return -1;
	return cached_pages(side->fds[PLAIN]);
}

/*
 * Pages that somebody read ahead must not be found, with the old bytes, when somebody holds the
 * device later and all others read through the page cache.
 */
TEST_F(calls, read_ahead_before)
{
	const struct call *call;
	int holder;

	if (variant->held || variant->readonly)
		return;
	for_each(call, calls) {
		struct row row = { .call = call, .offset = 1000, .length = 3000 };

		if (!call->writes || variant->mapped)
			continue;
		ASSERT_LT(0, fill_cache(&self->ours));
		EXPECT_EQ(row.length, make(&self->ours, &row, call - calls).value);
		holder = open(self->ours.node, O_RDWR | O_EXCL | O_CLOEXEC);
		ASSERT_LE(0, holder);
		ASSERT_EQ(4000, pread(self->ours.fds[PLAIN], self->copy, 4000, 0));
		ASSERT_LT(0, cached_pages(self->ours.fds[PLAIN]));
		EXPECT_EQ(0, memcmp(self->copy + row.offset, self->ours.memory[ALIGNED],
				    row.length)) {
			TH_LOG("%s", call->name);
		}
		close(holder);
	}
	if (!variant->mapped)
		return;
	/* And what was stored, when it is not mapped any more. */
	ASSERT_LT(0, fill_cache(&self->ours));
	memset(self->ours.first, CANARY, SZ_4K);
	munmap(self->ours.first, SZ_2M);
	munmap(self->ours.last, SZ_2M);
	holder = open(self->ours.node, O_RDWR | O_EXCL | O_CLOEXEC);
	ASSERT_LE(0, holder);
	ASSERT_EQ(SZ_4K, pread(self->ours.fds[PLAIN], self->copy, SZ_4K, 0));
	EXPECT_EQ(CANARY, self->copy[0]);
	EXPECT_EQ(CANARY, self->copy[SZ_4K - 1]);
	close(holder);
}

/* Each whence, everywhere. */
TEST_F(calls, lseek)
{
	static const int whences[] = { SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE, 5, -1 };
	off_t size = self->ours.size, i, j;
	const off_t offsets[] = {
		0, 1, 4096, -1, -4096, size - 1, size, size + 1, -size, -size - 1, LLONG_MAX,
		LLONG_MIN,
	};

	for (i = 0; i < ARRAY_SIZE(whences); i++) {
		for (j = 0; j < ARRAY_SIZE(offsets); j++) {
			lseek(self->ours.fds[PLAIN], 100, SEEK_SET);
			lseek(self->peer.fds[PLAIN], 100, SEEK_SET);
			EXPECT_EQ(value_or_error(lseek(self->peer.fds[PLAIN], offsets[j],
						       whences[i])),
				  value_or_error(lseek(self->ours.fds[PLAIN], offsets[j],
						       whences[i])));
			EXPECT_EQ(lseek(self->peer.fds[PLAIN], 0, SEEK_CUR),
				  lseek(self->ours.fds[PLAIN], 0, SEEK_CUR));
		}
	}
}

/* The system call of 32-bit programs, whose pointers are those of the first 4 GiB. */
static long ioctl32(int fd, unsigned int command, void *argument)
{
	long result;

	asm volatile("int $0x80" : "=a" (result)
		     : "a" (54), "b" ((long)fd), "c" ((long)command), "d" (argument)
		     : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

/* A call of ioctl(2). The argument is what the pointer points to, or is in its place. */
struct request {
	const char *name;
	unsigned long command;
	uint64_t argument[2];
	/* It is for what is mapped or held to refuse, when it is ours that is mapped. */
	bool value, excludes, compat, differs;
};

#define REQUEST(number, ...)	{ .name = #number, .command = number, __VA_ARGS__ }
#define RANGE(from, bytes)	.argument = { from, bytes }

static const struct request requests[] = {
	REQUEST(BLKGETSIZE), REQUEST(BLKGETSIZE64), REQUEST(BLKSSZGET), REQUEST(BLKPBSZGET),
	REQUEST(BLKIOMIN), REQUEST(BLKIOOPT), REQUEST(BLKALIGNOFF), REQUEST(BLKBSZGET),
	REQUEST(BLKRAGET), REQUEST(BLKFRAGET), REQUEST(BLKSECTGET), REQUEST(BLKROTATIONAL),
	REQUEST(BLKROGET), REQUEST(BLKDISCARDZEROES), REQUEST(BLKGETZONESZ),
	REQUEST(BLKGETNRZONES), REQUEST(BLKREPORTZONE), REQUEST(BLKRESETZONE, RANGE(0, 4096)),
	REQUEST(BLKGETDISKSEQ, .differs = true),
	REQUEST(BLKRASET, .value = true, .argument = { 512 }), REQUEST(BLKRAGET),
	REQUEST(BLKRASET, .value = true, .argument = { 256 }),
	REQUEST(BLKFLSBUF, .value = true),
	REQUEST(BLKRRPART, .value = true, .excludes = true),
	REQUEST(BLKBSZSET, .argument = { 4096 }, .excludes = true),
	REQUEST(BLKBSZSET, .argument = { 1000 }, .excludes = true),
	REQUEST(BLKBSZSET, .value = true),
	REQUEST(BLKROSET, .argument = { 1 }, .excludes = true),
	REQUEST(BLKROGET, .excludes = true),
	REQUEST(BLKROSET, .argument = { 0 }),
	REQUEST(BLKROSET, .value = true),
	REQUEST(BLKZEROOUT, RANGE(4096, 8192)), REQUEST(BLKZEROOUT, RANGE(512, 512)),
	REQUEST(BLKZEROOUT, RANGE(513, 512)), REQUEST(BLKZEROOUT, RANGE(512, 511)),
	REQUEST(BLKZEROOUT, RANGE(0, 0)), REQUEST(BLKZEROOUT, RANGE(1UL << 40, 512)),
	REQUEST(BLKZEROOUT, RANGE(0, 1UL << 40)), REQUEST(BLKZEROOUT, RANGE(-512UL, 1024)),
	REQUEST(BLKZEROOUT, .value = true),
	REQUEST(BLKDISCARD, RANGE(4096, 8192)), REQUEST(BLKDISCARD, RANGE(513, 512)),
	REQUEST(BLKDISCARD, RANGE(1UL << 40, 512)),
	REQUEST(BLKSECDISCARD, RANGE(4096, 8192)), REQUEST(BLKSECDISCARD, RANGE(513, 512)),
	REQUEST(BLKPG, .argument = { 99 }), REQUEST(BLKPG, .value = true),
	REQUEST(BLKTRACETEARDOWN, .value = true), REQUEST(BLKTRACESTART, .value = true),
	REQUEST(HDIO_GETGEO), REQUEST(IOC_PR_CLEAR, .argument = { 1 }),
	REQUEST(IOC_PR_REGISTER, .argument = { 0, 1 }), REQUEST(FIBMAP), REQUEST(FIGETBSZ),
	REQUEST(FIONREAD), REQUEST(FIFREEZE, .value = true), REQUEST(FITHAW, .value = true),
	REQUEST(FITRIM, RANGE(0, 4096)), REQUEST(FS_IOC_GETFLAGS), REQUEST(FICLONE, .value = true),
	REQUEST(FIDEDUPERANGE), REQUEST(TCGETS), REQUEST(0xdeadUL),
	REQUEST(BLKGETSIZE, .compat = true), REQUEST(BLKRAGET, .compat = true),
	REQUEST(BLKROGET, .compat = true), REQUEST(BLKSSZGET, .compat = true),
	REQUEST(BLKPG, .argument = { 99 }, .compat = true),
	REQUEST(BLKFLSBUF, .value = true, .compat = true),
	REQUEST(_IOR(0x12, 112, int), .compat = true),
	REQUEST(_IOR(0x12, 114, int), .compat = true),
	REQUEST(BLKGETSIZE64, .compat = true),
	REQUEST(BLKZEROOUT, RANGE(8192, 4096), .compat = true),
	REQUEST(0xdeadUL, .compat = true),
};

static long request(int fd, const struct request *request, uint64_t *argument)
{
	void *pointer = request->value ? (void *)request->argument[0] : argument;

	memset(argument, 0, SZ_4K);
	memcpy(argument, request->argument, sizeof(request->argument));
	if (request->compat)
		return ioctl32(fd, request->command, pointer);
	return value_or_error(ioctl(fd, request->command, pointer));
}

/* What is asked of the device: of ours, mapped, that others exclude is EBUSY. */
TEST_F(calls, requests)
{
	const struct request *it;
	uint64_t *ours, *peer;
	long got, wanted;

	ours = mmap(NULL, 2 * SZ_4K, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, ours);
	peer = ours + SZ_4K / 8;
	for_each(it, requests) {
		/* It stays so for those that come after. */
		if (variant->readonly && it->command == BLKROSET)
			continue;
		got = request(self->ours.fds[PLAIN], it, ours);
		wanted = request(self->peer.fds[PLAIN], it, peer);
		if (variant->mapped && it->excludes &&
		    !(it->command == BLKRRPART && variant->sectors))
			wanted = it->command == BLKROGET ? 0 : -EBUSY;
		EXPECT_EQ(wanted, got) {
			TH_LOG("%s%s, %d", it->name, it->compat ? " of 32 bits" : "",
			       (int)(it - requests));
		}
		if (!it->differs && !(variant->mapped && it->excludes))
			EXPECT_EQ(0, memcmp(ours, peer, SZ_4K)) {
				TH_LOG("answer of %s: %ld, not %ld", it->name, ours[0], peer[0]);
			}
		EXPECT_TRUE(same_media(&self->ours, &self->peer, 0, 4 * SZ_4K, self->copy)) {
			TH_LOG("media after %s", it->name);
		}
	}
}

/* What space is asked for, or is to be zero. */
TEST_F(calls, fallocate)
{
	static const int modes[] = {
		0, FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE, FALLOC_FL_UNSHARE_RANGE, 0x80, 0x8000,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	};
	static const size_t lengths[] = { 0, 1, 512, 4096, 12288 };
	const struct place *place;
	const size_t *length;
	const int *mode;

	for_each(place, all_places) {
		for_each(mode, modes) {
			for_each(length, lengths) {
				off_t offset = at(&self->ours, place);
				long got = value_or_error(fallocate(self->ours.fds[PLAIN], *mode,
								    offset, *length));

				EXPECT_EQ(value_or_error(fallocate(self->peer.fds[PLAIN], *mode,
								   offset, *length)), got) {
					TH_LOG("fallocate(0x%x, 0x%lx, %zu)", *mode, offset,
					       *length);
				}
				if (got)
					continue;
				EXPECT_TRUE(same_media(&self->ours, &self->peer, offset, *length,
						       self->copy)) {
					TH_LOG("media after fallocate(0x%x, 0x%lx, %zu)", *mode,
					       offset, *length);
				}
				/* So that the next one has something to zero. */
				memset(self->copy, CANARY, *length);
				EXPECT_TRUE(change(&self->ours, offset, *length, self->copy));
				EXPECT_TRUE(change(&self->peer, offset, *length, self->copy));
				/* Of dirty pages the page cache would drop more than is zeroed. */
				fsync(self->ours.fds[PLAIN]);
				fsync(self->peer.fds[PLAIN]);
			}
		}
	}
}

/* A ring whose requests are polled for is one for other devices. */
TEST_F(calls, polled)
{
	static const struct {
		int op;
		bool writes;
	} ops[] = {
		{ IORING_OP_READ, false }, { IORING_OP_WRITE, true },
	};
	struct row row = { .offset = 3 * SZ_4K, .length = SZ_4K };
	struct io_uring ours, peer;
	enum mode mode;
	long got;
	int i;

	ASSERT_EQ(0, io_uring_queue_init(4, &ours, IORING_SETUP_IOPOLL));
	ASSERT_EQ(0, io_uring_queue_init(4, &peer, IORING_SETUP_IOPOLL));
	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		/* Which is refused in any case: who looks first is of no interest. */
		if (ops[i].writes && variant->readonly)
			continue;
		for (mode = PLAIN; mode <= DIRECT; mode++) {
			got = uring(&ours, ops[i].op, self->ours.fds[mode],
				    self->ours.memory[ALIGNED], &row);
			EXPECT_EQ(-EOPNOTSUPP, got);
			EXPECT_EQ(got, uring(&peer, ops[i].op, self->peer.fds[mode],
					     self->peer.memory[ALIGNED], &row));
		}
	}
	EXPECT_TRUE(same_media(&self->ours, &self->peer, row.offset, row.length, self->copy));
	io_uring_queue_exit(&ours);
	io_uring_queue_exit(&peer);
}

static long uring_command(struct side *side, unsigned int command, uint64_t start, uint64_t length)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&side->ring);
	struct io_uring_cqe *cqe;
	long value;

	io_uring_prep_cmd_discard(sqe, side->fds[PLAIN], start, length);
	sqe->cmd_op = command;
	value = io_uring_submit_and_wait(&side->ring, 1);
	if (value != 1 || io_uring_wait_cqe(&side->ring, &cqe))
		return -EPIPE;
	value = cqe->res;
	io_uring_cqe_seen(&side->ring, cqe);
	return value;
}

/* Discards and the like that are asked for through a ring. */
TEST_F(calls, commands)
{
	/* Those of linux/blkdev.h, a newer one, and one that there is not. */
	static const unsigned int commands[] = {
		BLOCK_URING_CMD_DISCARD, _IO(0x12, 1), _IO(0x12, 99),
	};
	static const uint64_t ranges[][2] = {
		{ 0, 0 }, { SZ_4K, SZ_4K }, { 1, 511 }, { 1UL << 40, SZ_4K },
	};
	const unsigned int *command;
	int i;

	for_each(command, commands) {
		for (i = 0; i < ARRAY_SIZE(ranges); i++) {
			long got = uring_command(&self->ours, *command, ranges[i][0],
						 ranges[i][1]);

			EXPECT_EQ(uring_command(&self->peer, *command, ranges[i][0],
						ranges[i][1]), got) {
				TH_LOG("command 0x%x, range %d", *command, i);
			}
			if (*command == BLOCK_URING_CMD_DISCARD)
				EXPECT_EQ(-EOPNOTSUPP, got);
		}
	}
	EXPECT_TRUE(same_media(&self->ours, &self->peer, 0, 4 * SZ_4K, self->copy));
}

/* What else takes a file. */
TEST_F(calls, others)
{
	struct statx ours_x = {}, peer_x = {};
	int ours = self->ours.fds[PLAIN], peer = self->peer.fds[PLAIN], i;
	struct pollfd polled[] = { { ours, POLLIN | POLLOUT, 0 }, { peer, POLLIN | POLLOUT, 0 } };
	uint64_t hint = 2;

	for (i = 0; i < 10; i++) {
		off_t sizes[] = { 0, self->ours.size, -1, self->ours.size + 1 };

		if (i < ARRAY_SIZE(sizes))
			EXPECT_EQ(value_or_error(ftruncate(peer, sizes[i])),
				  value_or_error(ftruncate(ours, sizes[i])));
		EXPECT_EQ(posix_fadvise(peer, 0, SZ_4K, i), posix_fadvise(ours, 0, SZ_4K, i));
		EXPECT_EQ(value_or_error(sync_file_range(peer, 0, SZ_4K, i)),
			  value_or_error(sync_file_range(ours, 0, SZ_4K, i)));
	}
	EXPECT_EQ(value_or_error(sync_file_range(peer, -1, SZ_4K, 0)),
		  value_or_error(sync_file_range(ours, -1, SZ_4K, 0)));
	EXPECT_EQ(value_or_error(fsync(peer)), value_or_error(fsync(ours)));
	EXPECT_EQ(value_or_error(fdatasync(peer)), value_or_error(fdatasync(ours)));
	EXPECT_EQ(value_or_error(syncfs(peer)), value_or_error(syncfs(ours)));
	EXPECT_EQ(value_or_error(flock(peer, LOCK_EX | LOCK_NB)),
		  value_or_error(flock(ours, LOCK_EX | LOCK_NB)));
	EXPECT_EQ(value_or_error(syscall(__NR_getdents64, peer, self->copy, 100)),
		  value_or_error(syscall(__NR_getdents64, ours, self->copy, 100)));
	for (i = O_APPEND; i; i = i == O_APPEND ? O_NONBLOCK : i == O_NONBLOCK ? O_DIRECT : 0) {
		EXPECT_EQ(value_or_error(fcntl(peer, F_SETFL, i)),
			  value_or_error(fcntl(ours, F_SETFL, i)));
		EXPECT_EQ(fcntl(peer, F_GETFL), fcntl(ours, F_GETFL));
	}
	EXPECT_EQ(value_or_error(fcntl(peer, F_SET_RW_HINT, &hint)),
		  value_or_error(fcntl(ours, F_SET_RW_HINT, &hint)));
	EXPECT_EQ(2, poll(polled, 2, 0));
	EXPECT_EQ(polled[1].revents, polled[0].revents);

	EXPECT_EQ(statx(peer, "", AT_EMPTY_PATH, STATX_ALL | 0x2000 | 0x10000, &peer_x),
		  statx(ours, "", AT_EMPTY_PATH, STATX_ALL | 0x2000 | 0x10000, &ours_x));
	EXPECT_EQ(peer_x.stx_mask, ours_x.stx_mask);
	EXPECT_EQ(peer_x.stx_attributes, ours_x.stx_attributes);
	EXPECT_EQ(peer_x.stx_attributes_mask, ours_x.stx_attributes_mask);
	EXPECT_EQ(peer_x.stx_mode, ours_x.stx_mode);
	EXPECT_EQ(peer_x.stx_size, ours_x.stx_size);
	EXPECT_EQ(peer_x.stx_blksize, ours_x.stx_blksize);
	/* Of direct I/O, and of atomic writes. */
	EXPECT_EQ(0, memcmp((char *)&peer_x + 0x98, (char *)&ours_x + 0x98,
			    sizeof(ours_x) - 0x98));
}

/* Nobody but the kernel writes what it swaps to. */
FIXTURE(swap) {
	struct side ours, peer;
};

FIXTURE_SETUP(swap)
{
	struct side *side;

	strcpy(self->ours.disk, node);
	ASSERT_TRUE(as_peer(self->peer.disk, sizeof(self->peer.disk)));
	for (side = &self->ours; side <= &self->peer; side++) {
		ASSERT_TRUE(open_side(side, 0));
		ASSERT_EQ(0, shell("mkswap -q -U clear %s", side->disk));
		ASSERT_EQ(0, swapon(side->disk, 0));
	}
}

FIXTURE_TEARDOWN(swap)
{
	struct side *side;

	for (side = &self->ours; side <= &self->peer; side++) {
		swapoff(side->disk);
		pwrite(side->media, self->ours.memory[READONLY], SZ_4K, 0);
		close_side(side, false);
	}
}

TEST_F(swap, calls)
{
	const struct call *call;
	int mode;

	for_each(call, calls) {
		for (mode = PLAIN; mode <= DIRECT; mode++) {
			struct row row = { .call = call, .length = SZ_4K, .mode = mode };
			struct result got = make(&self->ours, &row, 1);
			struct result wanted = make(&self->peer, &row, 1);

			EXPECT_EQ(wanted.value, got.value) {
				TH_LOG("%s", call->name);
			}
			EXPECT_EQ(wanted.position, got.position);
			if (call->writes)
				EXPECT_EQ(-ETXTBSY, got.value);
			EXPECT_EQ(0, memcmp(self->ours.memory[ALIGNED], self->peer.memory[ALIGNED],
					    SZ_4K));
		}
	}
}

/* What the kernel counts of a disk or a partition. */
enum {
	READS, READ_TICKS = 3, WRITES, WRITE_TICKS = 7, INFLIGHT, FIELDS
};

static bool statistics(const char *name, long fields[FIELDS])
{
	char path[128], line[256], *field;
	int i;

	snprintf(path, sizeof(path), "/sys/class/block/%s/stat", name);
	if (!read_line(path, line, sizeof(line)))
		return false;
	for (i = 0, field = line; i < FIELDS; i++)
		fields[i] = strtol(field, &field, 10);
	return true;
}

/* The same numbers in /proc/diskstats, behind the name. */
static bool same_in_proc(const char *name, const long fields[FIELDS])
{
	char command[128], line[256], *field = line;
	int i;

	snprintf(command, sizeof(command), "grep \" %s \" /proc/diskstats", name);
	if (shell_line(line, sizeof(line), command))
		return false;
	field = strstr(line, name) + strlen(name);
	for (i = 0; i < FIELDS; i++)
		if (strtol(field, &field, 10) != fields[i])
			return false;
	return true;
}

FIXTURE(counted) {
	struct side ours, peer;
};

FIXTURE_VARIANT(counted) {
	unsigned long sectors;
};

FIXTURE_VARIANT_ADD(counted, disk) {
	.sectors = 0,
};

FIXTURE_VARIANT_ADD(counted, partition) {
	.sectors = 128 * SZ_1M / SECTOR,
};

static void count_io(const struct side *side, const char *how)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/block/%s/queue/iostats", side->disk + 5);
	write_line(path, how);
}

FIXTURE_SETUP(counted)
{
	strcpy(self->ours.disk, node);
	ASSERT_TRUE(as_peer(self->peer.disk, sizeof(self->peer.disk)));
	ASSERT_TRUE(open_side(&self->ours, variant->sectors));
	ASSERT_TRUE(open_side(&self->peer, variant->sectors));
	count_io(&self->ours, "1");
	count_io(&self->peer, "1");
}

FIXTURE_TEARDOWN(counted)
{
	count_io(&self->ours, "0");
	count_io(&self->peer, "0");
	close_side(&self->ours, variant->sectors);
	close_side(&self->peer, variant->sectors);
}

/* Each direct call, on the node and on the disk that it is a part of. */
TEST_F(counted, calls)
{
	static const size_t lengths[] = { 0, 512, 4096, 65536, 3 * 512 };
	static const struct place places[] = { START(0), START(512), END(-512), END(0) };
	const char *ours[] = { self->ours.node + 5, self->ours.disk + 5 };
	const char *peer[] = { self->peer.node + 5, self->peer.disk + 5 };
	long before[2][2][FIELDS], after[2][2][FIELDS];
	const struct place *place;
	const struct call *call;
	const size_t *length;
	enum memory memory;
	int i, j;

	for_each(call, calls) {
		for (memory = ALIGNED; memory <= UNMAPPED; memory += UNMAPPED - ALIGNED) {
			if (!call->memory || call->vectors)
				continue;
			for (i = 0; i < 2; i++) {
				ASSERT_TRUE(statistics(ours[i], before[0][i]));
				ASSERT_TRUE(statistics(peer[i], before[1][i]));
			}
			for_each(place, places) {
				for_each(length, lengths) {
					struct row row = {
						.call = call, .offset = at(&self->ours, place),
						.length = *length, .mode = DIRECT,
						.memory = memory,
					};

					make(&self->ours, &row, 0);
					make(&self->peer, &row, 0);
				}
			}
			for (i = 0; i < 2; i++) {
				ASSERT_TRUE(statistics(ours[i], after[0][i]));
				ASSERT_TRUE(statistics(peer[i], after[1][i]));
				for (j = 0; j < FIELDS; j++) {
					/* Time passes, and there no call that fails starts. */
					if (j == READ_TICKS || j == WRITE_TICKS ||
					    (memory == UNMAPPED && (j == READS || j == WRITES)))
						continue;
					EXPECT_EQ(after[1][i][j] - before[1][i][j],
						  after[0][i][j] - before[0][i][j]) {
						TH_LOG("%s, memory %d, field %d of %s", call->name,
						       memory, j, ours[i]);
					}
				}
				EXPECT_EQ(0, after[0][i][INFLIGHT]);
			}
		}
	}
	EXPECT_TRUE(same_in_proc(ours[0], after[0][0]));
	EXPECT_TRUE(same_in_proc(ours[1], after[0][1]));
}

/* process_io() - what /proc/self/io has behind @key, a whole word */
static long process_io(const char *key)
{
	FILE *file = fopen("/proc/self/io", "re");
	long value, result = -1;
	char word[32];

	while (file && fscanf(file, "%31[^:]: %ld\n", word, &value) == 2)
		if (!strcmp(word, key))
			result = value;
	if (file)
		fclose(file);
	return result;
}

/* Without a bio it is no I/O of the process. */
TEST_F(counted, by_process)
{
	struct side *sides[] = { &self->peer, &self->ours };
	long wanted[] = { 65536, 0 };
	int i;

	for (i = 0; i < 2; i++) {
		char *memory = sides[i]->memory[ALIGNED];
		int fd = sides[i]->fds[DIRECT];
		long read_bytes = process_io("read_bytes"), written = process_io("write_bytes");

		ASSERT_LE(0, read_bytes);
		ASSERT_LE(0, written);
		ASSERT_EQ(65536, pread(fd, memory, 65536, 0));
		ASSERT_EQ(65536, pwrite(fd, memory, 65536, 0));
		EXPECT_EQ(wanted[i], process_io("read_bytes") - read_bytes);
		EXPECT_EQ(wanted[i], process_io("write_bytes") - written);
	}
}

struct reader {
	struct side *side;
	char *memory;
	bool stop;
};

static void *read_much(void *data)
{
	struct reader *reader = data;

	while (!__atomic_load_n(&reader->stop, __ATOMIC_SEQ_CST))
		if (pread(reader->side->fds[DIRECT], reader->memory, 16 * SZ_1M, 0) != 16 * SZ_1M)
			return "the read";
	return NULL;
}

/* And the time that they take, and that they are under way. */
TEST_F(counted, while_it_lasts)
{
	struct reader reader = { .side = &self->ours };
	long before[FIELDS], now[FIELDS];
	struct timespec start, end;
	pthread_t thread;
	long elapsed;
	void *result;
	int i;

	reader.memory = mmap(NULL, 16 * SZ_1M, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	ASSERT_NE(MAP_FAILED, reader.memory);
	ASSERT_TRUE(statistics(self->ours.node + 5, before));
	clock_gettime(CLOCK_MONOTONIC, &start);
	ASSERT_EQ(0, pthread_create(&thread, NULL, read_much, &reader));
	for (i = 0; i < 10000; i++) {
		ASSERT_TRUE(statistics(self->ours.node + 5, now));
		if (now[INFLIGHT] == 1 && now[READ_TICKS] > before[READ_TICKS])
			break;
		usleep(1000);
	}
	EXPECT_LT(i, 10000);
	__atomic_store_n(&reader.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, &result);
	EXPECT_EQ(NULL, result);
	clock_gettime(CLOCK_MONOTONIC, &end);
	elapsed = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
	ASSERT_TRUE(statistics(self->ours.node + 5, now));
	EXPECT_EQ(0, now[INFLIGHT]);
	/* It is counted in ticks of the kernel's clock, of 10 ms at most. */
	EXPECT_GE(elapsed + 10, now[READ_TICKS] - before[READ_TICKS]);
	EXPECT_EQ(before[WRITE_TICKS], now[WRITE_TICKS]);
}

PMEM_DAX_MAIN("namespace0.0 " PEER)
