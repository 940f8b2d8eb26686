// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever many processes do with the disk and its partitions at once, at random,
 * the bytes are those that a plain array of memory would have.
 *
 * Each byte of the disk belongs to one of the processes, which alone writes it, in stripes of
 * odd sizes, so that neighbours share pages and blocks. What it must be is in a model that all
 * share; a counter for each stripe tells whether it was changed while somebody else compared
 * it. So all bytes are compared exactly, whosever they are.
 *
 * It goes in rounds. In each there are other partitions, and either the disk is mapped, or the
 * partitions are, or both, briefly, where who comes second is refused. Between rounds nobody
 * uses the disk, and one process tries what needs that: to have it alone, bad memory, a partition
 * that becomes smaller while it is read or written, whether the kernel writes back what was stored,
 * and to take the device away.
 *
 * Environment:
 *
 *   PMEM_DAX_SEED	what to do; it is printed, and the same seed does the same again
 *   PMEM_DAX_SECONDS	for how long (60); it ends after a round
 *   PMEM_DAX_ROUNDS	how many rounds, however long they take
 *   PMEM_DAX_TRACE	if set, print each call
 */
#include <linux/blkpg.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#include "flush_watch.h"
#include "pmem_dax.h"

#define NAMESPACE	"namespace2.0"

#define PROCESSES	8
#define STEPS		80		/* in a round */
#define PARTITIONS	6		/* at most */
#define STRIPES		65536		/* at most */
#define ARENA		8192		/* pages of address space for mappings, of each process */
#define LONGEST		1536		/* pages of a mapping */
#define BUFFER		(LONGEST * SZ_4K)
#define SMALL		0x10000UL	/* what goes through a pipe */
#define SCRATCH		(2 * SZ_1M)	/* of the other disk, for each process */
#define CALLS		6		/* remembered of each process */
#define STUCK		120		/* seconds without any progress */

/* How a node is opened. */
static const int ways[] = { O_RDWR, O_RDWR | O_DIRECT, O_RDWR | O_SYNC, O_RDONLY };

#define READ_ONLY	3

enum kind { DISK, PARTS, MIXED };

/* The disk, and its partitions behind it. */
struct device {
	off_t start, size;
	bool pages;
	int fds[ARRAY_SIZE(ways)];
};

struct stripe {
	uint32_t start;
	uint8_t owner;
};

/* A page of the arena. */
struct page {
	int32_t disk;		/* the page of the disk, or -1 */
	uint32_t vma;		/* pages of one number surely have one VMA */
	uint8_t device;
	uint8_t prot;
	bool private, past, dontfork, rdonly;
	uint8_t *copy;		/* what is in it, if it was copied on write */
};

/* What all processes see. */
static struct {
	pthread_barrier_t barrier;
	bool last, under_way;
	struct {
		unsigned int round, step, calls;
		char call[CALLS][160];
	} progress[PROCESSES];
	unsigned long loads, stores, reads, writes, maps, refused, forks, unstable, bytes;
	uint32_t changes[STRIPES];
} *shared;

static struct stripe stripes[STRIPES + 1];
static struct device devices[PARTITIONS + 1];
static struct page pages[ARENA];
static uint32_t before[STRIPES];
static uint64_t seed, state;
static uint8_t *model, *buffer, *data;
static char *arena;
static off_t size;
static size_t count;
static int nr_devices, me, disk_fd, memory_fd, pipes[2], depth;
static uint32_t last_vma;
static enum kind kind;
static bool trace, alone;

/*
 * Random numbers. Each step starts with its own, so that it does the same whatever the steps
 * before came to.
 */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9UL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebUL;
	return x ^ x >> 31;
}

static uint64_t next(void)
{
	return mix(state += 0x9e3779b97f4a7c15UL);
}

static uint64_t below(uint64_t limit)
{
	return next() % limit;
}

static bool chance(int one_in)
{
	return below(one_in) == 0;
}

static void start_random(uint64_t a, uint64_t b, uint64_t c)
{
	state = mix(mix(mix(mix(seed) ^ a) ^ b) ^ c);
}

/* Small ones more often than large ones. */
static size_t some(size_t most)
{
	static const size_t limits[] = { 1, 8, 64, 512, SZ_4K, 9 * SZ_4K, 100000, BUFFER };
	size_t limit = limits[below(ARRAY_SIZE(limits))];

	return 1 + below(limit < most ? limit : most);
}

/*
 * Telling
 */

static __attribute__((format(printf, 1, 2))) void call(const char *format, ...)
{
	char *text = shared->progress[me].call[shared->progress[me].calls % CALLS];
	va_list args;
	int length;

	length = snprintf(text, sizeof(shared->progress[me].call[0]), "%u.%u%s ",
			  shared->progress[me].round, shared->progress[me].step,
			  depth ? " child" : "");
	va_start(args, format);
	vsnprintf(text + length, sizeof(shared->progress[me].call[0]) - length, format, args);
	va_end(args);
	__atomic_fetch_add(&shared->progress[me].calls, 1, __ATOMIC_SEQ_CST);
	if (trace)
		dprintf(STDOUT_FILENO, "# process %d: %s\n", me, text);
}

static void tell_calls(int process)
{
	unsigned int calls = shared->progress[process].calls;
	unsigned int i;

	for (i = calls > CALLS ? calls - CALLS : 0; i < calls; i++)
		dprintf(STDOUT_FILENO, "# process %d: %s\n", process,
			shared->progress[process].call[i % CALLS]);
}

static __attribute__((format(printf, 1, 2), noreturn)) void fail(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	dprintf(STDOUT_FILENO, "# FAILED: seed %" PRIu64 ", process %d, round %u, step %u: %s\n",
		seed, me, shared->progress[me].round, shared->progress[me].step, text);
	_exit(1);
}

#define must(condition, ...)						\
	do {								\
		if (!(condition))					\
			fail(__VA_ARGS__);				\
	} while (0)

static void on_unexpected(int signal, siginfo_t *info, void *context)
{
	long index = ((char *)info->si_addr - arena) / (long)SZ_4K;

	if (index < 0 || index >= ARENA)
		fail("signal %d, code %d at %p", signal, info->si_code, info->si_addr);
	fail("signal %d, code %d at arena page %ld, disk page %d, prot %x%s%s", signal,
	     info->si_code, index, pages[index].disk, pages[index].prot,
	     pages[index].private ? ", private" : "", pages[index].copy ? ", copied" : "");
}

/*
 * The model
 */

static size_t stripe_of(off_t offset)
{
	size_t low = 0, high = count;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (stripes[middle].start <= offset)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static void make_stripes(void)
{
	off_t offset = 0;

	start_random(1, 0, 0);
	for (count = 0; offset < size && count < STRIPES; count++) {
		stripes[count].start = offset;
		stripes[count].owner = below(PROCESSES);
		switch (below(10)) {
		case 0:
			offset += 1 + below(64);
			break;
		case 1:
			offset += 512 * (1 + below(16));
			break;
		case 2:
			offset = (offset + SZ_4K) & -SZ_4K;
			break;
		case 3:
			if (chance(10))
				offset += below(800000);
			offset += below(40000);
			break;
		default:
			offset += 100 + below(5000);
		}
	}
	stripes[count].start = size;
}

/* before_looking() - remember which stripes of the range are being changed */
static void before_looking(off_t offset, size_t length)
{
	size_t i;

	for (i = stripe_of(offset); i < count && stripes[i].start < offset + length; i++)
		before[i] = __atomic_load_n(&shared->changes[i], __ATOMIC_SEQ_CST);
}

/*
 * compare() - what was found since before_looking(), with the model
 *
 * Returns whether nobody changed what it looked at, so that all was compared.
 */
static bool compare(const uint8_t *found, off_t offset, size_t length, const char *where)
{
	bool stable = true;
	size_t i, j;

	__atomic_fetch_add(&shared->bytes, length, __ATOMIC_RELAXED);
	if (!memcmp(found, model + offset, length))
		return true;
	for (i = stripe_of(offset); i < count && stripes[i].start < offset + length; i++) {
		off_t from = stripes[i].start > offset ? stripes[i].start : offset;
		off_t to = stripes[i + 1].start;
		off_t wrong = -1;
		size_t many = 0;
		uint8_t is, expected;

		if (to > offset + length)
			to = offset + length;
		for (j = from; j < to; j++) {
			if (found[j - offset] == model[j])
				continue;
			if (many++)
				continue;
			wrong = j;
			is = found[j - offset];
			expected = model[j];
		}
		if (!many)
			continue;
		if ((before[i] & 1) ||
		    __atomic_load_n(&shared->changes[i], __ATOMIC_SEQ_CST) != before[i]) {
			stable = false;
			continue;
		}
		fail("%s: byte %#lx of the disk is %#x, expected %#x; %zu of %ld of process %d are wrong",
		     where, wrong, is, expected, many, to - from, stripes[i].owner);
	}
	return stable;
}

static void begin_change(size_t stripe)
{
	__atomic_fetch_add(&shared->changes[stripe], 1, __ATOMIC_SEQ_CST);
}

/* end_change() - the bytes of a stripe are on the media now */
static void end_change(size_t stripe, off_t offset, const void *bytes, size_t length)
{
	memmove(model + offset, bytes, length);
	__atomic_fetch_add(&shared->changes[stripe], 1, __ATOMIC_SEQ_CST);
}

/* own() - a part of a stripe of ours, or of any while alone, in a range; its number, or -1 */
static long own(off_t from, off_t to, size_t most, off_t *offset, size_t *length)
{
	off_t at = from + below(to - from);
	size_t n = some(most), i, tries;
	uint64_t skip = next();

	i = stripe_of(at);
	for (tries = 0; tries < 200; tries++, i++) {
		off_t end;

		if (i >= count || stripes[i].start >= to)
			i = stripe_of(from);
		if (stripes[i].owner != me && !alone)
			continue;
		*offset = stripes[i].start > from ? stripes[i].start : from;
		end = stripes[i + 1].start < to ? stripes[i + 1].start : to;
		if (end <= *offset)
			continue;
		/* From its start as often as from anywhere. */
		if (skip & 1)
			*offset += (skip >> 1) % (end - *offset);
		*length = end - *offset < n ? end - *offset : n;
		return i;
	}
	return -1;
}

static void new_data(size_t length)
{
	uint64_t *word = (uint64_t *)data;
	uint64_t x = next();
	size_t i;

	for (i = 0; i < (length + 7) / 8; i++)
		word[i] = (x += 0x9e3779b97f4a7c15UL) * 0xbf58476d1ce4e5b9UL;
}

/*
 * The arena
 */

static char *address_of(size_t page)
{
	return arena + page * SZ_4K;
}

static void reserve(size_t page, size_t n)
{
	char *start = mmap(address_of(page), n * SZ_4K, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	must(start == address_of(page), "the arena: errno %d", errno);
}

static void forget_copy(struct page *page)
{
	free(page->copy);
	page->copy = NULL;
}

static void forget(size_t page, size_t n)
{
	for (; n; page++, n--) {
		forget_copy(&pages[page]);
		pages[page] = (struct page){ .disk = -1 };
	}
}

/* A VMA is split before the page. If two are merged, nobody needs to know. */
static void split(size_t page)
{
	uint32_t vma;

	if (page == 0 || page >= ARENA || pages[page].disk < 0 ||
	    pages[page - 1].vma != pages[page].vma)
		return;
	vma = pages[page].vma;
	last_vma++;
	for (; page < ARENA && pages[page].vma == vma; page++)
		pages[page].vma = last_vma;
}

/* What a page must be to be chosen. */
enum {
	READABLE = 1,
	WRITABLE = 2,
	SHARED = 4,
	PRIVATE = 8,
	PAST = 16,		/* behind the end of the device; otherwise before it */
	ANY_PAST = 32,		/* either */
	ONE_VMA = 64,
};

static bool suits(const struct page *page, int wanted)
{
	if (page->disk < 0)
		return false;
	if (!(wanted & ANY_PAST) && page->past != !!(wanted & PAST))
		return false;
	if ((wanted & READABLE) && !(page->prot & PROT_READ))
		return false;
	if ((wanted & WRITABLE) && !(page->prot & PROT_WRITE))
		return false;
	if ((wanted & SHARED) && page->private)
		return false;
	return !(wanted & PRIVATE) || page->private;
}

/* pick() - a run of pages that suit, behind one another on the disk too; how many */
static size_t pick(int wanted, size_t most, size_t *first)
{
	size_t start = below(ARENA), n = 1 + below(chance(3) ? most : 16), i, length, skip;
	uint64_t random = next();

	for (i = 0; i < ARENA; i++)
		if (suits(&pages[(start + i) % ARENA], wanted))
			break;
	if (i == ARENA)
		return 0;
	*first = (start + i) % ARENA;
	for (length = 1; *first + length < ARENA; length++) {
		struct page *page = &pages[*first + length];

		if (!suits(page, wanted) || page->disk != page[-1].disk + 1)
			break;
		if (page->private != page[-1].private)
			break;
		if ((wanted & ONE_VMA) && page->vma != page[-1].vma)
			break;
	}
	skip = random % 3 ? 0 : (random >> 8) % length;
	*first += skip;
	length -= skip;
	if (n > most)
		n = most;
	return length < n ? length : n;
}

/*
 * learn() - a private page was copied just now, and what was stored to a part of it is in data
 *
 * From here on all of it is known, also what is of others.
 */
static void learn(size_t page, size_t from, size_t to, const uint8_t *stored)
{
	off_t disk = (off_t)pages[page].disk * SZ_4K;
	uint8_t *copy = malloc(SZ_4K);

	must(copy, "no memory");
	memcpy(copy, address_of(page), SZ_4K);
	if (from > 0)
		compare(copy, disk, from, "copied page");
	if (to < SZ_4K)
		compare(copy + to, disk + to, SZ_4K - to, "copied page");
	must(!memcmp(copy + from, stored, to - from),
	     "what was stored to arena page %zu, which is private, is not there", page);
	pages[page].copy = copy;
}

/*
 * populated() - pages that can be stored to and are private may have been copied
 *
 * It was since before_looking().
 */
static void populated(size_t page, size_t n)
{
	for (; n; page++, n--) {
		if (!suits(&pages[page], PRIVATE | WRITABLE | READABLE) || pages[page].copy)
			continue;
		touch(address_of(page));
		learn(page, 0, 0, NULL);
	}
}

/* get() - load from the arena, one way or another */
static void get(char *from, size_t length, int way)
{
	struct iovec local = { buffer, length }, remote = { from, length };
	off_t scratch = depth ? SCRATCH / 2 : 0;
	size_t done;

	scratch += me * SCRATCH;
	switch (way) {
	case 0:
		must(process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == length,
		     "process_vm_readv: errno %d", errno);
		return;
	case 1:
		must(pwrite(memory_fd, from, length, 0) == length, "write from it: errno %d",
		     errno);
		must(pread(memory_fd, buffer, length, 0) == length, "errno %d", errno);
		return;
	case 2:
		if (length > SMALL - SZ_4K)
			break;
		must(vmsplice(pipes[1], &remote, 1, 0) == length, "vmsplice: errno %d", errno);
		for (done = 0; done < length; ) {
			ssize_t n = read(pipes[0], buffer + done, length - done);

			must(n > 0, "pipe: errno %d", errno);
			done += n;
		}
		return;
	case 3:
		if (disk_fd < 0 || ((uintptr_t)from | length) % 512 || length > SCRATCH / 2)
			break;
		must(pwrite(disk_fd, from, length, scratch) == length,
		     "direct write from it to another disk: errno %d", errno);
		must(pread(disk_fd, buffer, length, scratch) == length, "errno %d", errno);
		return;
	}
	memcpy(buffer, from, length);
}

/* put() - store data to the arena, one way or another */
static void put(char *to, size_t length, int way)
{
	struct iovec local = { data, length }, remote = { to, length };
	off_t scratch = depth ? SCRATCH / 2 : 0;
	size_t i;

	scratch += me * SCRATCH;
	switch (way) {
	case 0:
		must(process_vm_writev(getpid(), &local, 1, &remote, 1, 0) == length,
		     "process_vm_writev: errno %d", errno);
		return;
	case 1:
		must(pwrite(memory_fd, data, length, 0) == length, "errno %d", errno);
		must(pread(memory_fd, to, length, 0) == length, "read into it: errno %d", errno);
		return;
	case 2:
		for (i = 0; i < length; i++)
			store_byte(to + i, data[i]);
		return;
	case 3:
		if (disk_fd < 0 || ((uintptr_t)to | length) % 512 || length > SCRATCH / 2)
			break;
		must(pwrite(disk_fd, data, length, scratch) == length, "errno %d", errno);
		must(pread(disk_fd, to, length, scratch) == length,
		     "direct read into it from another disk: errno %d", errno);
		return;
	}
	memcpy(to, data, length);
}

/* look() - at a part of a run */
static void look(size_t page, size_t from, size_t length, int way)
{
	off_t disk = (off_t)pages[page].disk * SZ_4K;
	int tries;

	__atomic_fetch_add(&shared->loads, 1, __ATOMIC_RELAXED);
	for (tries = 0; tries < 30; tries++) {
		bool stable = true;
		size_t at, n;

		before_looking(disk + from, length);
		get(address_of(page) + from, length, way);
		for (at = 0; at < length; at += n) {
			struct page *this = &pages[page + (from + at) / SZ_4K];
			size_t in = (from + at) % SZ_4K;

			n = SZ_4K - in < length - at ? SZ_4K - in : length - at;
			if (!this->copy)
				stable &= compare(buffer + at, disk + from + at, n, "loaded");
			else if (memcmp(buffer + at, this->copy + in, n))
				fail("loaded: arena page %zu, a private copy, is not what it was",
				     page + (from + at) / SZ_4K);
		}
		if (stable)
			return;
		sched_yield();
	}
	__atomic_fetch_add(&shared->unstable, 1, __ATOMIC_RELAXED);
}

/*
 * Nodes
 */

static void make_layout(unsigned int round)
{
	off_t at = 1 + below(20), end = size / SZ_4K;
	int i;

	start_random(2, round, 0);
	nr_devices = 1 + 2 + below(PARTITIONS - 1);
	for (i = 1; i < nr_devices; i++) {
		off_t rest, length;

		if (chance(3))
			at = (at + 511) & -512L;
		rest = (end - at) / (nr_devices - i);
		length = rest - below(rest / 2);
		if (i == nr_devices - 1 && chance(2))
			length = end - at;
		devices[i].start = at * SZ_4K;
		devices[i].size = length * SZ_4K;
		devices[i].pages = true;
		at += length + (chance(2) ? 0 : below(300));
	}
	/* One is not of pages. There is always another. */
	i = 1 + below(2 * nr_devices);
	if (i < nr_devices) {
		devices[i].pages = false;
		devices[i].start += 512;
		devices[i].size -= 512 * (1 + below(7));
	}
}

static int blkpg(int fd, int op, int number)
{
	struct blkpg_partition part = { .pno = number };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };

	if (op != BLKPG_DEL_PARTITION) {
		part.start = devices[number].start;
		part.length = devices[number].size;
	}
	return ioctl(fd, BLKPG, &arg);
}

static void make_partitions(void)
{
	int fd = open_node(), i;

	must(fd >= 0, "open: errno %d", errno);
	for (i = 1; i <= PARTITIONS; i++)
		if (blkpg(fd, BLKPG_DEL_PARTITION, i))
			must(errno == ENXIO, "deleting partition %d: errno %d", i, errno);
	for (i = 1; i < nr_devices; i++)
		must(!blkpg(fd, BLKPG_ADD_PARTITION, i), "adding partition %d: errno %d", i, errno);
	close(fd);
}

static int open_device(int device, int flags)
{
	char path[80];

	if (device)
		snprintf(path, sizeof(path), "%sp%d", node, device);
	else
		snprintf(path, sizeof(path), "%s", node);
	return open(path, flags | O_CLOEXEC);
}

static int fd_of(int device, int way)
{
	int *fd = &devices[device].fds[way];

	if (*fd < 0)
		*fd = open_device(device, ways[way]);
	must(*fd >= 0, "open of device %d: errno %d", device, errno);
	return *fd;
}

static void close_all(void)
{
	int i, way;

	for (i = 0; i <= PARTITIONS; i++) {
		for (way = 0; way < ARRAY_SIZE(ways); way++) {
			if (devices[i].fds[way] >= 0)
				close(devices[i].fds[way]);
			devices[i].fds[way] = -1;
		}
	}
}

/* some_device() - one that may be mapped in this round, or any */
static int some_device(bool to_map)
{
	int i, n = below(nr_devices - 1);

	if (to_map && (kind == DISK || (kind == MIXED && chance(2))))
		return 0;
	if (!to_map && chance(3))
		return 0;
	for (i = 1 + n; to_map && !devices[i].pages; )
		i = i % (nr_devices - 1) + 1;
	return i;
}

/*
 * Steps
 */

static const int prots[] = {
	PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE,
	PROT_READ | PROT_WRITE, PROT_READ, PROT_READ, PROT_NONE,
};

/* set_pages() - that is what the arena has there now */
static void set_pages(size_t page, size_t n, const struct page *first)
{
	struct page this = *first;
	off_t end = devices[this.device].start + devices[this.device].size;

	forget(page, n);
	for (; n; page++, n--, this.disk++) {
		this.past = ((off_t)this.disk + 1) * SZ_4K > end;
		pages[page] = this;
	}
}

static void step_map(void)
{
	int device = some_device(true), way = below(3), flags, fd;
	size_t device_pages = devices[device].size / SZ_4K;
	size_t device_page = devices[device].start / SZ_4K;
	struct page first = { .device = device };
	size_t n, offset, page;
	bool populate, free_address;
	char *map, *hint = NULL;

	n = 1 + below(chance(2) ? 64 : chance(2) ? 700 : LONGEST);
	first.private = chance(3);
	first.prot = prots[below(ARRAY_SIZE(prots))];
	if (first.private && !chance(8) && n > 128)
		n = 128;
	switch (below(4)) {
	case 0:
		offset = device_pages - 1 - below(n < device_pages ? n : device_pages);
		break;
	case 1:
		offset = (-device_page & 511) + 512 * below(device_pages / 512 + 1);
		break;
	default:
		offset = below(device_pages);
	}
	if (offset >= device_pages)
		offset = device_pages - 1;
	first.disk = device_page + offset;

	page = below(ARENA);
	if (!chance(3))
		page = (page & ~511) + first.disk % 512;
	if (page + n > ARENA)
		n = ARENA - page;
	flags = first.private ? MAP_PRIVATE : chance(4) ? MAP_SHARED_VALIDATE : MAP_SHARED;
	if (flags == MAP_SHARED_VALIDATE && chance(2))
		flags |= MAP_SYNC;
	populate = chance(6);
	if (populate)
		flags |= chance(3) ? MAP_LOCKED : MAP_POPULATE;
	if (chance(10))
		flags |= MAP_NORESERVE;
	first.rdonly = chance(8) && (first.private || !(first.prot & PROT_WRITE));
	fd = fd_of(device, first.rdonly ? READ_ONLY : way);
	if (first.private)
		first.rdonly = false;
	free_address = chance(3);
	if (free_address && chance(2))
		hint = (char *)(0x100000000UL + below(1 << 20) * SZ_4K);
	first.vma = ++last_vma;

	call("map of device %d, page %zu, disk page %d, %zu pages, prot %x, flags %x, at %s %zu",
	     device, offset, first.disk, n, first.prot, flags,
	     hint ? "a hint, then" : free_address ? "any, then" : "arena page", page);
	__atomic_fetch_add(&shared->maps, 1, __ATOMIC_RELAXED);
	before_looking((off_t)first.disk * SZ_4K, n * SZ_4K);
	map = mmap(free_address ? hint : address_of(page), n * SZ_4K, first.prot,
		   flags | (free_address ? 0 : MAP_FIXED), fd, offset * SZ_4K);
	if (map == MAP_FAILED) {
		must(kind == MIXED && errno == EBUSY, "mmap: errno %d", errno);
		__atomic_fetch_add(&shared->refused, 1, __ATOMIC_RELAXED);
		return;
	}
	if (free_address) {
		size_t skipped = -first.disk & 511;
		size_t i;

		must(hint || n < skipped + 512 ||
		     ((uintptr_t)map / SZ_4K - first.disk) % 512 == 0,
		     "no large page fits at %p", map);
		/* Have some entries of either size. */
		if (first.prot & PROT_READ)
			for (i = below(512); i < n; i += 200)
				if (first.disk + i < device_page + device_pages)
					load_byte(map + i * SZ_4K);
		must(mremap(map, n * SZ_4K, n * SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED,
			    address_of(page)) == address_of(page), "mremap: errno %d", errno);
	}
	split(page);
	split(page + n);
	set_pages(page, n, &first);
	if (populate)
		populated(page, n);
}

static void step_unmap(void)
{
	size_t page = below(ARENA), n = 1 + below(chance(3) ? 1024 : 64);

	if (page + n > ARENA)
		n = ARENA - page;
	call("munmap of arena pages %zu, %zu", page, n);
	split(page);
	split(page + n);
	if (!chance(4))
		must(!munmap(address_of(page), n * SZ_4K), "munmap: errno %d", errno);
	reserve(page, n);
	forget(page, n);
}

static void step_protect(void)
{
	int prot = prots[below(ARRAY_SIZE(prots))];
	size_t page, n = pick(ONE_VMA | ANY_PAST, 800, &page), i;

	if (!n)
		return;
	call("mprotect of arena pages %zu, %zu to %x", page, n, prot);
	if ((prot & PROT_WRITE) && pages[page].rdonly) {
		must(mprotect(address_of(page), n * SZ_4K, prot) && errno == EACCES,
		     "not refused: errno %d", errno);
		return;
	}
	must(!mprotect(address_of(page), n * SZ_4K, prot), "mprotect: errno %d", errno);
	split(page);
	split(page + n);
	for (i = page; i < page + n; i++)
		pages[i].prot = prot;
}

static void step_move(void)
{
	size_t page, n = pick(ONE_VMA | ANY_PAST, 800, &page), to = below(ARENA), i;
	struct page *moved;

	if (!n)
		return;
	if (chance(2))
		to = (to & ~511) + pages[page].disk % 512;
	if (to + n > ARENA)
		to = ARENA - n;
	if (to < page + n && page < to + n)
		return;
	call("mremap of arena pages %zu, %zu to %zu", page, n, to);
	must(mremap(address_of(page), n * SZ_4K, n * SZ_4K, MREMAP_MAYMOVE | MREMAP_FIXED,
		    address_of(to)) == address_of(to), "mremap: errno %d", errno);
	reserve(page, n);
	split(page);
	split(page + n);
	split(to);
	split(to + n);
	forget(to, n);
	moved = &pages[to];
	last_vma++;
	for (i = 0; i < n; i++) {
		moved[i] = pages[page + i];
		moved[i].vma = last_vma;
		pages[page + i].copy = NULL;
	}
	forget(page, n);
}

/* grow() - a mapping, by what there is room for behind it */
static void grow(size_t page, size_t n)
{
	struct page next = pages[page + n - 1];
	size_t more = 0, most = 1 + below(600);

	while (more < most && page + n + more < ARENA && pages[page + n + more].disk < 0)
		more++;
	call("mremap of arena pages %zu, %zu to %zu more", page, n, more);
	if (!more)
		return;
	next.disk++;
	next.copy = NULL;
	must(!munmap(address_of(page + n), more * SZ_4K), "munmap: errno %d", errno);
	must(mremap(address_of(page), n * SZ_4K, (n + more) * SZ_4K, 0) == address_of(page),
	     "mremap: errno %d", errno);
	set_pages(page + n, more, &next);
}

static void step_resize(void)
{
	size_t page, n = pick(ONE_VMA | ANY_PAST, 800, &page), left;

	if (!n)
		return;
	left = 1 + below(n);
	if (left == n || chance(3)) {
		grow(page, n);
		return;
	}
	call("mremap of arena pages %zu, %zu to %zu", page, n, left);
	must(mremap(address_of(page), n * SZ_4K, left * SZ_4K, 0) == address_of(page),
	     "mremap: errno %d", errno);
	reserve(page + left, n - left);
	split(page);
	split(page + left);
	split(page + n);
	forget(page + left, n - left);
}

static void step_advise(void)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_POPULATE_READ, MADV_POPULATE_WRITE,
		MADV_COLD, MADV_PAGEOUT, MADV_DONTFORK, MADV_NOHUGEPAGE, MADV_HUGEPAGE,
		MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_COLLAPSE, MADV_FREE,
	};
	int advice = advices[below(ARRAY_SIZE(advices))], wanted = ONE_VMA, result;
	size_t page, n, i;

	if (advice == MADV_POPULATE_READ)
		wanted |= READABLE;
	else if (advice == MADV_POPULATE_WRITE)
		wanted |= READABLE | WRITABLE;
	else
		wanted |= ANY_PAST;
	n = pick(wanted, 800, &page);
	if (!n)
		return;
	call("madvise %d of arena pages %zu, %zu", advice, page, n);
	before_looking((off_t)pages[page].disk * SZ_4K, n * SZ_4K);
	result = madvise(address_of(page), n * SZ_4K, advice);
	switch (advice) {
	case MADV_FREE:
		must(result, "MADV_FREE of a file");
		break;
	case MADV_HUGEPAGE:
	case MADV_COLLAPSE:
		break;
	default:
		must(!result, "madvise: errno %d", errno);
	}
	split(page);
	split(page + n);
	if (advice == MADV_POPULATE_WRITE)
		populated(page, n);
	for (i = page; i < page + n; i++) {
		if (advice == MADV_DONTNEED)
			forget_copy(&pages[i]);
		if (advice == MADV_DONTFORK)
			pages[i].dontfork = true;
	}
}

static void step_lock(void)
{
	size_t page, n = pick(READABLE | ONE_VMA, 300, &page);
	unsigned char resident[300];

	if (!n)
		return;
	if (chance(2)) {
		call("mlock of arena pages %zu, %zu", page, n);
		before_looking((off_t)pages[page].disk * SZ_4K, n * SZ_4K);
		must(!mlock(address_of(page), n * SZ_4K), "mlock: errno %d", errno);
		populated(page, n);
		if (chance(2))
			must(!munlock(address_of(page), n * SZ_4K), "munlock: errno %d", errno);
	} else {
		call("mincore of arena pages %zu, %zu", page, n);
		must(!mincore(address_of(page), n * SZ_4K, resident), "mincore: errno %d", errno);
	}
	split(page);
	split(page + n);
}

static void step_load(void)
{
	int way = below(7);
	size_t page, n = pick(READABLE, chance(8) ? 1024 : 40, &page), from, length;

	if (!n)
		return;
	from = below(n * SZ_4K);
	length = chance(3) ? n * SZ_4K - from : some(n * SZ_4K - from);
	if (way == 3) {
		from &= -512L;
		length = (length + 511) & -512L;
	}
	if (from + length > n * SZ_4K)
		length = n * SZ_4K - from;
	call("load (%d) from arena page %zu + %#zx, %zu bytes, disk page %d", way, page, from,
	     length, pages[page].disk);
	look(page, from, length, way);
}

static void step_store(void)
{
	int way = below(7);
	size_t page, n = pick(READABLE | WRITABLE, 600, &page), from, length, i;
	off_t disk, offset;
	long stripe = -1;

	if (!n)
		return;
	disk = (off_t)pages[page].disk * SZ_4K;
	if (pages[page].private) {
		if (n > 40)
			n = 40;
		offset = disk + below(n * SZ_4K);
		length = some(disk + n * SZ_4K - offset);
	} else {
		stripe = own(disk, disk + n * SZ_4K, BUFFER, &offset, &length);
		if (stripe < 0)
			return;
	}
	if (way == 3 && ((offset + length) & -512L) > ((offset + 511) & -512L)) {
		off_t end = (offset + length) & -512L;

		offset = (offset + 511) & -512L;
		length = end - offset;
	}
	from = offset - disk;
	new_data(length);
	call("store (%d) to arena page %zu + %#zx, %zu bytes, disk page %d%s", way, page, from,
	     length, pages[page].disk, pages[page].private ? ", private" : "");
	__atomic_fetch_add(&shared->stores, 1, __ATOMIC_RELAXED);
	if (stripe >= 0) {
		begin_change(stripe);
		put(address_of(page) + from, length, way);
		end_change(stripe, offset, data, length);
		return;
	}
	before_looking(disk, n * SZ_4K);
	put(address_of(page) + from, length, way);
	for (i = from / SZ_4K; i <= (from + length - 1) / SZ_4K; i++) {
		size_t start = i * SZ_4K > from ? i * SZ_4K : from;
		size_t end = (i + 1) * SZ_4K < from + length ? (i + 1) * SZ_4K : from + length;

		if (pages[page + i].copy)
			memcpy(pages[page + i].copy + start - i * SZ_4K, data + start - from,
			       end - start);
		else
			learn(page + i, start - i * SZ_4K, end - i * SZ_4K, data + start - from);
	}
}

/* Behind the end of the device. */
static void step_past(void)
{
	int wanted = PAST | (chance(2) ? READABLE : READABLE | WRITABLE);
	size_t page, n = pick(wanted, 600, &page);
	int code;

	if (!n)
		return;
	call("touch of arena page %zu, disk page %d, past the end", page, pages[page].disk);
	code = bus_code(address_of(page) + below(SZ_4K), wanted & WRITABLE);
	must(code == BUS_ADRERR, "past the end: code %d", code);
}

/* read_node() - read from a node, and compare */
static void read_node(int device, int fd, off_t offset, size_t length, bool vector)
{
	off_t disk = devices[device].start + offset;
	size_t expected = length;
	int tries;

	if (offset + length > devices[device].size)
		expected = devices[device].size - offset;
	__atomic_fetch_add(&shared->reads, 1, __ATOMIC_RELAXED);
	for (tries = 0; tries < 30; tries++) {
		struct iovec vectors[] = {
			{ buffer, length / 3 }, { buffer + length / 3, length - length / 3 },
		};
		ssize_t n;

		before_looking(disk, expected);
		if (vector)
			n = preadv(fd, vectors, 2, offset);
		else
			n = pread(fd, buffer, length, offset);
		must(n == expected, "pread: %zd, errno %d", n, errno);
		if (compare(buffer, disk, expected, "read"))
			return;
		sched_yield();
	}
	__atomic_fetch_add(&shared->unstable, 1, __ATOMIC_RELAXED);
}

static void step_read(void)
{
	int device = some_device(false), way = below(ARRAY_SIZE(ways));
	off_t offset = below(devices[device].size);
	size_t length = chance(20) ? BUFFER / 4 : some(100000);

	call("read of device %d, way %d, at %#lx, %zu bytes", device, way, offset, length);
	read_node(device, fd_of(device, way), offset, length, chance(4));
}

static void step_write(void)
{
	int device = some_device(false), way = below(READ_ONLY), fd = fd_of(device, way);
	off_t start = devices[device].start, disk, offset;
	bool vector = chance(4);
	struct iovec vectors[2];
	size_t length;
	long stripe;
	ssize_t n;

	stripe = own(start, start + devices[device].size, BUFFER, &disk, &length);
	if (stripe < 0)
		return;
	offset = disk - start;
	new_data(length);
	call("write of device %d, way %d, at %#lx, %zu bytes, disk %#lx", device, way, offset,
	     length, disk);
	__atomic_fetch_add(&shared->writes, 1, __ATOMIC_RELAXED);
	begin_change(stripe);
	if (vector) {
		vectors[0] = (struct iovec){ data, length / 5 };
		vectors[1] = (struct iovec){ data + length / 5, length - length / 5 };
		n = pwritev2(fd, vectors, 2, offset, chance(2) ? RWF_DSYNC : 0);
	} else {
		n = pwrite(fd, data, length, offset);
	}
	must(n == length, "pwrite: %zd, errno %d", n, errno);
	end_change(stripe, disk, data, length);
}

/* From a mapping to the disk, or from the disk into a mapping: both ends are ours. */
static void step_copy(void)
{
	bool into = chance(2);
	int device = some_device(false), way = below(READ_ONLY), fd = fd_of(device, way);
	size_t page, n = pick(into ? READABLE | WRITABLE | SHARED : READABLE | SHARED, 600, &page);
	off_t start = devices[device].start, disk, here, there;
	long our, other;
	size_t length, most;
	char *address;

	if (!n)
		return;
	disk = (off_t)pages[page].disk * SZ_4K;
	our = own(disk, disk + n * SZ_4K, 100000, &here, &length);
	if (our < 0)
		return;
	most = length;
	other = own(start, start + devices[device].size, most, &there, &length);
	if (other < 0 || other == our)
		return;
	address = address_of(page) + (here - disk);
	call("copy of %zu bytes %s device %d, way %d, at %#lx, %s arena page %zu, disk %#lx",
	     length, into ? "from" : "to", device, way, there - start, into ? "to" : "from", page,
	     here);
	if (into) {
		begin_change(our);
		must(pread(fd, address, length, there - start) == length, "pread: errno %d", errno);
		end_change(our, here, model + there, length);
	} else {
		begin_change(other);
		must(pwrite(fd, address, length, there - start) == length, "pwrite: errno %d",
		     errno);
		end_change(other, there, model + here, length);
	}
}

static void step_sync(void)
{
	int device = some_device(false), way = below(ARRAY_SIZE(ways)), fd = fd_of(device, way);
	int what = below(8);
	size_t page, n;

	if (what < 4) {
		n = pick(ANY_PAST | ONE_VMA, 600, &page);
		if (!n)
			return;
		call("msync of arena pages %zu, %zu", page, n);
		must(!msync(address_of(page), n * SZ_4K, what ? MS_SYNC : MS_ASYNC),
		     "msync: errno %d", errno);
	} else if (what == 4) {
		call("BLKFLSBUF of device %d", device);
		must(!ioctl(fd, BLKFLSBUF), "BLKFLSBUF: errno %d", errno);
	} else if (what == 5) {
		call("fdatasync of device %d, way %d", device, way);
		must(!fdatasync(fd), "fdatasync: errno %d", errno);
	} else {
		call("fsync of device %d, way %d", device, way);
		must(!fsync(fd), "fsync: errno %d", errno);
	}
}

static void step_close(void)
{
	int device = below(nr_devices), way = below(ARRAY_SIZE(ways));

	if (devices[device].fds[way] < 0)
		return;
	call("close of device %d, way %d", device, way);
	close(devices[device].fds[way]);
	devices[device].fds[way] = -1;
}

/* While we have a mapping, nobody can have the device alone, nor map it another way. */
static void step_refused(void)
{
	int device = some_device(false), fd, result;
	size_t page, n;

	n = pick(ANY_PAST, 1, &page);
	if (chance(4)) {
		off_t behind = (devices[device].size + SZ_4K - 1) & -SZ_4K;

		call("map of device %d behind its end", device);
		result = map_errno(fd_of(device, 0), PROT_READ, MAP_SHARED, behind);
		must(result == (devices[device].pages ? ENXIO : EINVAL), "errno %d", result);
		return;
	}
	if (!devices[device].pages) {
		call("map of device %d, which is not of pages", device);
		result = map_errno(fd_of(device, 0), PROT_READ, MAP_PRIVATE, 0);
		must(result == EINVAL, "errno %d", result);
		return;
	}
	if (!n)
		return;
	if (kind == PARTS)
		device = chance(2) ? 0 : pages[page].device;
	if (chance(2)) {
		call("open of device %d with O_EXCL, while we have %d mapped", device,
		     pages[page].device);
		fd = open_device(device, O_RDWR | O_EXCL);
		must(fd < 0 && errno == EBUSY, "not refused: errno %d", errno);
		return;
	}
	if (!device == !pages[page].device)
		return;
	call("map of device %d, while we have %d mapped", device, pages[page].device);
	result = map_errno(fd_of(device, 0), PROT_READ, MAP_SHARED, 0);
	must(result == EBUSY, "not refused: errno %d", result);
}

static void steps(int n);

static void step_fork(void)
{
	int pid, status;
	size_t page, n, i;
	char *other;

	if (depth)
		return;
	call("fork");
	__atomic_fetch_add(&shared->forks, 1, __ATOMIC_RELAXED);
	pid = fork();
	must(pid >= 0, "fork: errno %d", errno);
	if (pid) {
		must(waitpid(pid, &status, 0) == pid, "waitpid: errno %d", errno);
		must(status == 0, "the child failed: status %#x", status);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	depth++;
	/* First of all, before anything else comes to be there. */
	for (i = 0; i < ARENA; i++)
		if (pages[i].dontfork)
			reserve(i, 1);
	/* What the parent has is what we have. It waits. */
	n = pick(READABLE, 40, &page);
	if (n) {
		struct iovec local, remote = { address_of(page), n * SZ_4K };

		other = malloc(n * SZ_4K);
		must(other, "no memory");
		local = (struct iovec){ other, n * SZ_4K };
		call("process_vm_readv of the parent's arena pages %zu, %zu", page, n);
		must(process_vm_readv(getppid(), &local, 1, &remote, 1, 0) == n * SZ_4K,
		     "process_vm_readv: errno %d", errno);
		for (i = 0; i < n; i++)
			must(!pages[page + i].copy ||
			     !memcmp(pages[page + i].copy, other + i * SZ_4K, SZ_4K),
			     "the parent's copy of arena page %zu is another one", page + i);
		free(other);
	}
	for (i = 0; i < ARENA; i++) {
		if (!pages[i].dontfork)
			continue;
		split(i);
		split(i + 1);
		forget(i, 1);
	}
	steps(1 + below(8));
	_exit(0);
}

/* Both the disk and partitions are mapped, but none for longer than this. */
static void step_briefly(void)
{
	int i;

	if (kind != MIXED)
		return;
	step_map();
	for (i = below(4); i > 0; i--) {
		step_load();
		step_store();
		step_past();
	}
	reserve(0, ARENA);
	forget(0, ARENA);
}

static const struct {
	void (*step)(void);
	int weight;
	bool mixed;
} table[] = {
	{ step_map, 12, false },
	{ step_unmap, 5, false },
	{ step_protect, 6, false },
	{ step_move, 5, false },
	{ step_resize, 3, false },
	{ step_advise, 8, false },
	{ step_lock, 2, false },
	{ step_load, 22, false },
	{ step_store, 24, false },
	{ step_past, 3, false },
	{ step_copy, 8, false },
	{ step_refused, 4, false },
	{ step_read, 14, true },
	{ step_write, 12, true },
	{ step_sync, 4, true },
	{ step_close, 4, true },
	{ step_fork, 3, true },
	{ step_briefly, 30, true },
};

static void steps(int n)
{
	int i, total, at;

	while (n--) {
		total = 0;
		for (i = 0; i < ARRAY_SIZE(table); i++)
			if (kind != MIXED || table[i].mixed)
				total += table[i].weight;
		at = below(total);
		for (i = 0; i < ARRAY_SIZE(table); i++) {
			if (kind == MIXED && !table[i].mixed)
				continue;
			at -= table[i].weight;
			if (at < 0)
				break;
		}
		table[i].step();
	}
}

/*
 * Between rounds
 */

/* check_range() - what the media has, read and mapped */
static void check_range(off_t from, off_t to)
{
	size_t piece = BUFFER / 2;
	int device = 0;

	for (; from < to; from += piece) {
		size_t length = to - from < piece ? to - from : piece, skew;
		char *map;

		call("check of the disk at %#lx", from);
		read_node(device, fd_of(device, 0), from, length, false);
		read_node(device, fd_of(device, 1), from, length, false);
		for (skew = 0; skew <= SZ_4K; skew += SZ_4K) {
			map = map_skewed(fd_of(device, 0), length, from, from % SZ_2M ^ skew,
					 PROT_READ, MAP_SHARED);
			must(map != MAP_FAILED, "mmap: errno %d", errno);
			before_looking(from, length);
			compare((uint8_t *)map, from, length, "mapped anew");
			munmap(map, length);
		}
	}
}

/* write_own() - through one file or a mapping of it, and see it through another */
static void write_own(int device, off_t offset, size_t room, int to, int from, bool mapped)
{
	off_t start = devices[device].start, disk, page;
	size_t length;
	long stripe = own(start + offset, start + offset + room, 50000, &disk, &length);
	char *map;

	if (stripe < 0)
		return;
	new_data(length);
	page = (disk - start) & -SZ_4K;
	call("%s of device %d at %#lx, %zu bytes, which is held", mapped ? "store" : "write",
	     device, disk - start, length);
	begin_change(stripe);
	if (mapped) {
		map = map_shared(to, disk - start - page + length, page);
		must(map != MAP_FAILED, "mmap: errno %d", errno);
		memcpy(map + (disk - start - page), data, length);
		munmap(map, disk - start - page + length);
	} else {
		must(pwrite(to, data, length, disk - start) == length, "errno %d", errno);
	}
	end_change(stripe, disk, data, length);
	read_node(device, from, disk - start, length, false);
}

/* open_alone() - nobody has it, nor a mapping of it */
static int open_alone(int device)
{
	int fd = open_device(device, O_RDWR | O_EXCL);

	must(fd >= 0, "something is still mapped: errno %d", errno);
	return fd;
}

/* Somebody has the device alone, so that there is a page cache, and then there is none. */
static void hold(int device)
{
	struct device *this = &devices[device];
	off_t offset = below(this->size / SZ_4K) * SZ_4K;
	size_t room = SZ_4K * (1 + below(8));
	int plain, exclusive, other, result, i;
	char *map;

	if (room > this->size - offset)
		room = this->size - offset;
	plain = open_device(device, O_RDWR);
	must(plain >= 0, "open: errno %d", errno);
	call("open of device %d with O_EXCL, after all was unmapped", device);
	exclusive = open_alone(device);
	must(!ioctl(plain, BLKFLSBUF), "BLKFLSBUF: errno %d", errno);
	if (this->pages) {
		result = map_errno(plain, PROT_READ, MAP_SHARED, 0);
		must(result == EBUSY, "not refused: errno %d", result);
	}
	for (i = below(8); i > 0; i--) {
		switch (below(5)) {
		case 0:
			write_own(device, offset, room, plain, plain, false);
			break;
		case 1:
			write_own(device, offset, room, plain, exclusive, false);
			break;
		case 2:
			write_own(device, offset, room, exclusive, plain, false);
			break;
		case 3:
			if (this->pages)
				write_own(device, offset, room, exclusive, plain, true);
			break;
		case 4:
			/* Fills the page cache. */
			read_node(device, plain, offset, room, false);
			break;
		}
	}
	close(exclusive);

	/* The page cache may be dirty now. A mapping of what has the same bytes has them all. */
	if (this->pages) {
		other = chance(2) ? 0 : device;
		call("map of device %d, disk at %#lx, after the holder of %d", other,
		     this->start + offset, device);
		map = map_shared(other == device ? plain : fd_of(0, 0), room,
				 this->start + offset - devices[other].start);
		must(map != MAP_FAILED, "mmap: errno %d", errno);
		before_looking(this->start + offset, room);
		compare((uint8_t *)map, this->start + offset, room, "after a holder");
		munmap(map, room);

		/* And what was in it before a store must not come back for a holder. */
		exclusive = open_alone(device);
		read_node(device, plain, offset, room, false);
		close(exclusive);
		write_own(device, offset, room, plain, plain, true);
		exclusive = open_alone(device);
		read_node(device, plain, offset, room, false);
		close(exclusive);
	}
	must(!ioctl(plain, BLKFLSBUF), "BLKFLSBUF: errno %d", errno);
	close(plain);
}

/* some_map() - a mapping, where memory is made, of some of the disk; its offset there */
static char *some_map(size_t length, off_t *offset)
{
	char *map;

	*offset = below((size - length) / SZ_4K) * SZ_4K;
	map = map_skewed(fd_of(0, 0), length, *offset, chance(2) ? *offset % SZ_2M : 0,
			 PROT_READ | PROT_WRITE, MAP_SHARED);
	must(map != MAP_FAILED, "mmap: errno %d", errno);
	return map;
}

/* is_written_back() - a byte of the disk, by somebody since watch() */
static bool is_written_back(off_t offset)
{
	FILE *trace = fopen(WATCH "trace", "re");
	bool found = false;
	char line[512];

	must(trace, "the trace: errno %d", errno);
	while (!found && fgets(line, sizeof(line), trace))
		found = strstr(line, ": back: ") && offset >= place_of(line) &&
			offset < place_of(line) + field(line, " size=");
	fclose(trace);
	return found;
}

/* What is stored through a mapping is written back by what makes it durable, and flushed. */
static void check_flush(void)
{
	static const size_t length = 3 * SZ_2M + SZ_4K;
	off_t offset, touched[4];
	int i, page, run, how = below(4), result = 0;
	char *map;

	/* What was stored to before counts until the last close. */
	close_all();
	map = some_map(length, &offset);
	for (i = 0; i < ARRAY_SIZE(touched); i++) {
		/* One page, or some in order, which may go from one chunk to the next. */
		run = chance(2) ? 1 : 1 + below(60);
		page = below(length / SZ_4K - run);
		if (chance(2))
			page = (page + offset / SZ_4K) / 512 * 512 + 512 - below(run) -
			       offset / SZ_4K;
		if (page < 0 || page > length / SZ_4K - run)
			page = 0;
		for (; run; run--, page++)
			touch(map + page * SZ_4K);
		touched[i] = offset + (page - 1) * SZ_4K;
	}
	call("flush (%d) of the disk, stored to at %#lx, %#lx, %#lx, %#lx", how, touched[0],
	     touched[1], touched[2], touched[3]);
	must(!watch_enable(true), "the trace: errno %d", errno);
	watch();
	switch (how) {
	case 0:
		result = fsync(fd_of(0, 1));
		break;
	case 1:
		result = msync(map, length, MS_SYNC);
		break;
	case 2:
		result = ioctl(fd_of(0, 1), BLKFLSBUF);
		break;
	case 3:
		/* The last one to close it. */
		munmap(map, length);
		close_all();
		break;
	}
	must(!result, "flush (%d): errno %d", how, errno);
	for (i = 0; i < ARRAY_SIZE(touched); i++)
		must(is_written_back(touched[i]), "flush (%d): %#lx was not written back", how,
		     touched[i]);
	must(!watch_enable(false), "the trace: errno %d", errno);
	if (how != 3)
		munmap(map, length);
}

/* must_be_bad() - a page of the disk, whichever way it is come by */
static void must_be_bad(char *map, off_t page, int sector)
{
	char *other, bytes[SZ_4K];
	ssize_t n;

	must(poisoned(map, chance(2)) == 12, "bad memory: code %d", access_error.code);
	other = map_skewed(fd_of(0, 0), SZ_4K, page, 0, PROT_READ, MAP_SHARED);
	must(other != MAP_FAILED, "mmap: errno %d", errno);
	must(poisoned(other, false) == 12, "bad memory, mapped anew: code %d", access_error.code);
	munmap(other, SZ_4K);
	n = pread(fd_of(0, below(2)), bytes, SZ_4K, page);
	must(sector ? n == sector * 512 : n < 0 && errno == EIO,
	     "bad sector %d of a page is read: %zd, errno %d", sector, n, errno);
}

/* Memory goes bad, and is written anew. */
static void check_poison(void)
{
	int sector = below(8), among;
	char path[128], line[32], *map;
	off_t offset, page;

	map = some_map(SZ_2M, &offset);
	among = below(SZ_2M / SZ_4K);
	page = offset + among * SZ_4K;
	call("sector %d of the page at %#lx goes bad", sector, page);
	snprintf(path, sizeof(path), "/sys/class/block/%s/badblocks", node + strlen("/dev/"));
	snprintf(line, sizeof(line), "%ld 1", page / 512 + sector);
	must(!write_line(path, line), "badblocks: errno %d", errno);
	must_be_bad(map + among * SZ_4K, page, sector);
	/* Its neighbours are not, which would have been mapped with it. */
	read_node(0, fd_of(0, 0), page + SZ_4K, SZ_4K, false);
	before_looking(offset, SZ_2M);
	if (among)
		compare((uint8_t *)map, offset, among * SZ_4K, "mapped, before bad memory");
	call("the page at %#lx is written", page);
	must(pwrite(fd_of(0, below(2)), model + page, SZ_4K, page) == SZ_4K, "pwrite: errno %d",
	     errno);
	before_looking(offset, SZ_2M);
	compare((uint8_t *)map, offset, SZ_2M, "mapped, of what was bad memory");
	munmap(map, SZ_2M);
}

/*
 * use_partition() - write zeroes to a part of it, or read that part, until killed
 *
 * Others have @theirs behind its @kept bytes; ends if that is read. To change the end takes a grace
 * period of RCU. So that a write takes longer, its memory is made while it is under way.
 */
static void use_partition(int fd, off_t offset, size_t length, size_t kept, const uint8_t *theirs)
{
	char *zeroes = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	ssize_t n, i;

	must(zeroes != MAP_FAILED, "mmap: errno %d", errno);
	madvise(zeroes, length, MADV_NOHUGEPAGE);
	for (;;) {
		__atomic_store_n(&shared->under_way, true, __ATOMIC_SEQ_CST);
		if (!theirs) {
			madvise(zeroes, length, MADV_DONTNEED);
			if (pwrite(fd, zeroes, length, offset) < 0)
				pause();
			continue;
		}
		n = pread(fd, data, length, offset);
		for (i = kept; i < n; i += SZ_4K)
			if (data[i] == theirs[i - kept])
				_exit(1);
	}
}

/* A partition becomes smaller while it is read or written: what is behind its end is of others. */
static void check_shrink(void)
{
	size_t length, kept, i;
	int number, fd, status;
	off_t start, whole;
	bool writes = chance(2);
	pid_t pid;

	for (number = 1 + below(nr_devices - 1); !devices[number].pages; )
		number = number % (nr_devices - 1) + 1;
	whole = devices[number].size;
	length = whole < BUFFER ? whole : BUFFER;
	kept = (1 + below(length / SZ_4K - 1)) * SZ_4K;
	start = devices[number].start + whole - length;
	fd = open_device(number, O_RDWR);
	must(fd >= 0, "open: errno %d", errno);
	/* Bytes that are in none of these places. */
	for (i = 0; i < length; i++)
		data[i] = ~model[start + i];
	memcpy(buffer, data + kept, length - kept);
	call("device %d loses its last %#zx bytes, disk at %#lx, while %#zx are %s", number,
	     length - kept, start + kept, length, writes ? "written" : "read");
	shared->under_way = false;
	pid = fork();
	must(pid >= 0, "fork: errno %d", errno);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		use_partition(fd, whole - length, length, kept, writes ? NULL : buffer);
	}
	while (!__atomic_load_n(&shared->under_way, __ATOMIC_SEQ_CST))
		sched_yield();
	poll(NULL, 0, below(8));
	devices[number].size -= length - kept;
	must(!blkpg(fd_of(0, 0), BLKPG_RESIZE_PARTITION, number), "resize: errno %d", errno);
	must(pwrite(fd_of(0, 0), writes ? model + start + kept : buffer, length - kept,
		    start + kept) == length - kept, "pwrite: errno %d", errno);
	poll(NULL, 0, 20);
	kill(pid, SIGKILL);
	must(waitpid(pid, &status, 0) == pid, "errno %d", errno);
	must(WIFSIGNALED(status), "a read went past the end that its partition had by then");
	if (writes) {
		before_looking(start + kept, length - kept);
		must(pread(fd_of(0, 0), buffer, length - kept, start + kept) == length - kept,
		     "pread: errno %d", errno);
		compare(buffer, start + kept, length - kept,
			"behind the end of a partition that was written");
	}
	must(pwrite(fd_of(0, 0), model + start, length, start) == length, "pwrite: errno %d",
	     errno);
	devices[number].size = whole;
	must(!blkpg(fd_of(0, 0), BLKPG_RESIZE_PARTITION, number), "resize: errno %d", errno);
	close(fd);
}

/* The device is taken away while somebody has one of its pages, which stays until he is done. */
static void check_removal(void)
{
	size_t among = below(SZ_2M / SZ_4K);
	int status;
	off_t offset;
	char *map = some_map(SZ_2M, &offset);
	struct iovec page = { map + among * SZ_4K, SZ_4K };
	pid_t pid;

	call("unbind, with the page at %#lx of the disk in a pipe", offset + among * SZ_4K);
	must(vmsplice(pipes[1], &page, 1, 0) == SZ_4K, "vmsplice: errno %d", errno);
	munmap(map, SZ_2M);
	close_all();
	pid = fork();
	must(pid >= 0, "fork: errno %d", errno);
	if (!pid) {
		/* Who unbinds has no part in the pipe. */
		close(pipes[0]);
		close(pipes[1]);
		_exit(write_line(DRIVER "unbind", NAMESPACE) ? 1 : 0);
	}
	poll(NULL, 0, 100);
	must(waitpid(pid, &status, WNOHANG) == 0, "it did not wait");
	must(read(pipes[0], buffer, SZ_4K) == SZ_4K, "pipe: errno %d", errno);
	before_looking(offset + among * SZ_4K, SZ_4K);
	compare(buffer, offset + among * SZ_4K, SZ_4K, "a page that outlived its device");
	must(waitpid(pid, &status, 0) == pid && !status, "unbind: status %#x", status);
	must(!write_line(DRIVER "bind", NAMESPACE), "bind: errno %d", errno);
}

static void between_rounds(unsigned int round)
{
	off_t from;

	start_random(3, round, 0);
	alone = true;
	hold(0);
	hold(1 + below(nr_devices - 1));
	alone = false;
	check_poison();
	check_shrink();
	if (chance(2))
		check_flush();
	if (chance(6))
		check_removal();
	from = below(size / BUFFER) * BUFFER;
	check_range(from, from + BUFFER < size ? from + BUFFER : size);
	close_all();
}

static void make_round(unsigned int round)
{
	start_random(2, round, 0);
	make_layout(round);
	kind = below(5);
	if (kind > MIXED)
		kind -= MIXED + 1;
}

/* worker() - one of the processes */
static void worker(uint64_t until, unsigned int rounds)
{
	struct sigaction action = { .sa_sigaction = on_unexpected, .sa_flags = SA_SIGINFO };
	unsigned int round, i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	memory_fd = memfd_create("exerciser", MFD_CLOEXEC);
	must(memory_fd >= 0 && !pipe(pipes), "errno %d", errno);
	arena = mmap(NULL, ARENA * SZ_4K + SZ_2M, PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	must(arena != MAP_FAILED, "errno %d", errno);
	arena = (char *)(((uintptr_t)arena + SZ_2M - 1) & -SZ_2M);
	reserve(0, ARENA);
	forget(0, ARENA);

	for (round = 0; ; round++) {
		make_round(round);
		shared->progress[me].round = round;
		shared->progress[me].step = 0;
		if (me == 0)
			make_partitions();
		pthread_barrier_wait(&shared->barrier);
		for (i = 1; i <= STEPS; i++) {
			shared->progress[me].step = i;
			start_random(4, (uint64_t)round << 32 | me, i);
			steps(1);
		}
		call("end of the round");
		if (chance(2)) {
			close_all();
			reserve(0, ARENA);
		} else {
			munmap(arena, ARENA / 2 * SZ_4K);
			reserve(0, ARENA);
			close_all();
		}
		forget(0, ARENA);
		pthread_barrier_wait(&shared->barrier);
		if (me == 0) {
			struct timespec now;

			between_rounds(round);
			clock_gettime(CLOCK_MONOTONIC, &now);
			shared->last = rounds ? round + 1 == rounds : now.tv_sec >= until;
			if (shared->last) {
				check_range(0, size);
				close_all();
			}
		}
		pthread_barrier_wait(&shared->barrier);
		if (shared->last)
			_exit(0);
	}
}

/* number() - of the environment */
static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

static void *shared_memory(size_t length)
{
	return mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

FIXTURE(exerciser) {
};

FIXTURE_SETUP(exerciser)
{
}

FIXTURE_TEARDOWN(exerciser)
{
}

/* For as long as it is told to: it has its own watchdog. */
TEST_F_TIMEOUT(exerciser, as_an_array_of_memory, 24 * 3600)
{
	uint64_t seconds = number("PMEM_DAX_SECONDS", 60);
	unsigned int rounds = number("PMEM_DAX_ROUNDS", 0), calls = 0;
	int running = PROCESSES, failed = 0, status, i, j, fd;
	pthread_barrierattr_t attr;
	struct timespec started, now, moved;
	pid_t pids[PROCESSES], pid;

	seed = number("PMEM_DAX_SEED", new_seed());
	trace = number("PMEM_DAX_TRACE", 0);
	TH_LOG("PMEM_DAX_SEED=%" PRIu64 ", %" PRIu64 " seconds", seed, seconds);
	fd = open_node();
	ASSERT_LE(0, fd);
	size = size_of(fd);
	shared = shared_memory(sizeof(*shared));
	model = shared_memory(size);
	buffer = aligned_alloc(SZ_4K, BUFFER);
	data = aligned_alloc(SZ_4K, BUFFER);
	ASSERT_NE(MAP_FAILED, (void *)shared);
	ASSERT_NE(MAP_FAILED, (void *)model);
	ASSERT_NE(NULL, buffer);
	ASSERT_NE(NULL, data);
	make_stripes();
	devices[0].size = size;
	devices[0].pages = true;
	for (i = 0; i <= PARTITIONS; i++)
		for (j = 0; j < ARRAY_SIZE(ways); j++)
			devices[i].fds[j] = -1;
	fill(model, size, seed, 0);
	ASSERT_EQ(size, pwrite(fd, model, size, 0));
	close(fd);
	disk_fd = open_disk(O_RDWR | O_DIRECT);
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &attr, PROCESSES);

	clock_gettime(CLOCK_MONOTONIC, &started);
	moved = started;
	for (i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		ASSERT_LE(0, pids[i]);
		if (!pids[i]) {
			me = i;
			worker(started.tv_sec + seconds, rounds);
		}
	}
	while (running && !failed) {
		unsigned int sum = 0;

		poll(NULL, 0, 50);
		clock_gettime(CLOCK_MONOTONIC, &now);
		for (i = 0; i < PROCESSES; i++)
			sum += shared->progress[i].calls;
		if (sum != calls)
			moved = now;
		calls = sum;
		if (now.tv_sec - moved.tv_sec > STUCK) {
			TH_LOG("stuck: no call was made for %d seconds", STUCK);
			failed = 1;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
			running--;
			if (status) {
				TH_LOG("a process ended with status %#x", status);
				failed = 1;
			}
		}
	}
	EXPECT_EQ(0, failed) {
		for (i = 0; i < PROCESSES; i++) {
			kill(pids[i], SIGKILL);
			tell_calls(i);
		}
		/* Unless they are where nothing can kill them. */
		for (i = 0; i < 100 && running; i++) {
			poll(NULL, 0, 50);
			while (waitpid(-1, &status, WNOHANG) > 0)
				running--;
		}
	}
	TH_LOG("seed %" PRIu64 ", %ld s: %u rounds, %u calls, %lu MiB compared", seed,
	       now.tv_sec - started.tv_sec, shared->progress[0].round + 1, calls,
	       shared->bytes >> 20);
	TH_LOG("%lu maps, %lu refused, %lu forks, %lu never stable", shared->maps,
	       shared->refused, shared->forks, shared->unstable);
	TH_LOG("%lu loads, %lu stores, %lu reads, %lu writes", shared->loads, shared->stores,
	       shared->reads, shared->writes);
}

int main(int argc, char **argv)
{
	int status;

	watched.start = namespace_start(NAMESPACE);
	if (!getuid() && watch_setup()) {
		perror("exerciser: kprobe_events");
		watch_teardown();
		return 1;
	}
	status = pmem_dax_main(argc, argv, NAMESPACE);
	watch_teardown();
	return status;
}
