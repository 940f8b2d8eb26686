// SPDX-License-Identifier: GPL-2.0
/*
 * Store records one after the other, and acknowledge each when it is durable; or see,
 * after the power was cut, that all that was acknowledged is there.
 *
 * Usage: records store METHOD FILE OFFSET SIZE ACK SEED
 *        records check METHOD FILE OFFSET SIZE ACK SEED
 *        records hold FILE
 *
 *   mapsync  MAP_SYNC, and the CPU's own instructions
 *   msync    a mapping, and msync(2)
 *   fsync    pwrite(2) and fsync(2)
 *   dsync    pwrite(2) with O_DSYNC
 *   held     as fsync, but through the page cache, as the device is held
 *   lazy     as fsync, but without fsync(2): this must be found to lose records
 *
 * The SIZE bytes of FILE from OFFSET on are a ring of slots. A record is smaller than a
 * slot, says what it is, and all of its bytes follow from SEED, METHOD and its number.
 * ACK is a file that has the number of the last record that is durable. Both may be of
 * any alignment; slots lie across pages. "hold" stores to a mapping, keeps it, and pins it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <liburing.h>

#define MAGIC	0x64726f6365722121UL
#define SLOT	10304UL
#define PAGE	4096UL
#define LINE	64UL

struct record {
	uint64_t magic, seed, number, sum;
	uint32_t method, length;
};

enum { MAPSYNC, MSYNC, FSYNC, DSYNC, HELD, LAZY, METHODS };

static const char *const methods[] = { "mapsync", "msync", "fsync", "dsync", "held", "lazy" };

static uint32_t method;
static uint64_t offset, slots, seed;

static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static uint64_t sum_of(const struct record *record)
{
	const uint64_t *word = (const uint64_t *)(record + 1);
	uint64_t sum = record->magic ^ record->seed ^ record->number ^ record->method;
	size_t i;

	for (i = 0; i < (record->length - sizeof(*record)) / 8; i++)
		sum = (sum ^ word[i]) * 0x100000001b3UL;
	return sum;
}

/* make() - the record of that number, in @slot */
static void make(struct record *record, uint64_t number)
{
	uint64_t state = (seed * METHODS + method + 1) * 0x9e3779b97f4a7c15UL ^ number << 20;
	uint64_t *word = (uint64_t *)(record + 1);
	size_t i, words;

	next(&state);
	words = next(&state) % ((SLOT - sizeof(*record)) / 8) + 1;
	record->magic = MAGIC;
	record->seed = seed;
	record->number = number;
	record->method = method;
	record->length = sizeof(*record) + words * 8;
	for (i = 0; i < words; i++)
		word[i] = next(&state);
	record->sum = sum_of(record);
}

static bool is_whole(const struct record *record)
{
	return record->magic == MAGIC && record->seed == seed && record->method == method &&
	       record->length >= sizeof(*record) && record->length <= SLOT &&
	       record->sum == sum_of(record);
}

static off_t place(uint64_t number)
{
	return offset + number % slots * SLOT;
}

/* store_mapped() - around no cache and with no call, as libpmem does it */
static void store_mapped(char *to, const struct record *record)
{
	char *line;

	memcpy(to, record, record->length);
	for (line = (char *)((uintptr_t)to & ~(LINE - 1)); line < to + record->length; line += LINE)
		asm volatile("clwb %0" : "+m"(*line));
	asm volatile("sfence" : : : "memory");
}

static void store(const char *path, const char *ack)
{
	struct record *record = malloc(SLOT);
	int flags = MAP_SHARED_VALIDATE | (method == MAPSYNC ? MAP_SYNC : 0);
	size_t length = offset + slots * SLOT;
	uint64_t number;
	char *map = NULL;
	int fd, acks;

	/* Whoever holds it makes the others use the page cache. */
	if (method == HELD && open(path, O_RDONLY | O_EXCL) < 0)
		err(1, "%s", path);
	fd = open(path, O_RDWR | O_CREAT | (method == DSYNC ? O_DSYNC : 0), 0600);
	acks = open(ack, O_WRONLY | O_CREAT, 0600);
	if (!record || fd < 0 || acks < 0)
		err(1, "%s, %s", path, ack);
	if (method == MAPSYNC || method == MSYNC) {
		map = mmap(NULL, length, PROT_READ | PROT_WRITE, flags, fd, 0);
		if (map == MAP_FAILED)
			err(1, "mmap of %s", path);
	}
	for (number = 1; ; number++) {
		off_t at = place(number), page = at & ~(PAGE - 1);

		make(record, number);
		if (method == MAPSYNC)
			store_mapped(map + at, record);
		else if (map)
			memcpy(map + at, record, record->length);
		else if (pwrite(fd, record, record->length, at) != record->length)
			err(1, "pwrite to %s", path);
		if (method == MSYNC && msync(map + page, at + record->length - page, MS_SYNC))
			err(1, "msync of %s", path);
		if ((method == FSYNC || method == HELD) && fsync(fd))
			err(1, "fsync of %s", path);
		if (pwrite(acks, &number, sizeof(number), 0) != sizeof(number))
			err(1, "%s", ack);
	}
}

/* check() - returns how many records are lost */
static int check(const char *path, const char *ack)
{
	struct record *record = malloc(SLOT), *wanted = malloc(SLOT);
	uint64_t acked = 0, checked = 0, number;
	int fd = open(path, O_RDONLY), acks = open(ack, O_RDONLY), lost = 0;

	if (!record || !wanted || fd < 0 || acks < 0)
		err(2, "%s, %s", path, ack);
	if (pread(acks, &acked, sizeof(acked), 0) != sizeof(acked) || !acked)
		errx(2, "%s: nothing was acknowledged", ack);
	/* The slot of the record after the last one may have anything. */
	for (number = acked + 2 > slots ? acked + 2 - slots : 1; number <= acked; number++) {
		memset(record, 0, SLOT);
		if (pread(fd, record, SLOT, place(number)) < 0)
			err(2, "%s", path);
		make(wanted, number);
		checked++;
		if (!memcmp(record, wanted, wanted->length))
			continue;
		if (lost++)
			continue;
		if (is_whole(record))
			printf("%s: in place of record %" PRIu64 " of %" PRIu64
			       " is record %" PRIu64 "\n", methods[method], number, acked,
			       record->number);
		else
			printf("%s: record %" PRIu64 " of %" PRIu64 " is not whole\n",
			       methods[method], number, acked);
	}
	if (pread(fd, record, SLOT, place(acked + 1)) < 0)
		err(2, "%s", path);
	if (is_whole(record) && record->number > acked + 1)
		errx(2, "%s: record %" PRIu64 " is before its time", methods[method],
		     record->number);
	printf("%s: %" PRIu64 " acknowledged, %" PRIu64 " to be there, %d lost, the next is %s\n",
	       methods[method], acked, checked, lost, is_whole(record) ?
	       record->number == acked + 1 ? "whole" : "not begun" : "torn or not there");
	return lost;
}

static void hold(const char *path)
{
	int fd = open(path, O_RDWR);
	char *map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct iovec vector = { map, PAGE };
	struct io_uring ring;

	if (map == MAP_FAILED)
		err(1, "%s", path);
	if (io_uring_queue_init(1, &ring, 0) || io_uring_register_buffers(&ring, &vector, 1))
		errx(1, "io_uring");
	strcpy(map, "held");
	puts("held");
	fflush(stdout);
	pause();
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "hold")) {
		hold(argv[2]);
		return 1;
	}
	if (argc != 8)
		errx(2, "see the top of records.c");
	while (method < METHODS && strcmp(argv[2], methods[method]))
		method++;
	offset = strtoull(argv[4], NULL, 0);
	slots = strtoull(argv[5], NULL, 0) / SLOT;
	seed = strtoull(argv[7], NULL, 0);
	if (method == METHODS || slots < 3)
		errx(2, "see the top of records.c");
	if (!strcmp(argv[1], "check"))
		return check(argv[3], argv[6]) ? 1 : 0;
	store(argv[3], argv[6]);
	return 1;
}
