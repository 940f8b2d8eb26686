// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest of guest-memory does: store to a disk, once in each 2 MiB, or make
 * 4 KiB durable again and again. Tells the microseconds that one time took: the median,
 * as others use the machine too.
 *
 * Usage: guest_io touch DISK BYTES
 *        guest_io sync DISK COUNT
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL
#define BLOCK (2UL << 20)

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double difference = *(const double *)a - *(const double *)b;

	return (difference > 0) - (difference < 0);
}

/* Past the guest's page cache. */
static void touch(int fd, void *buffer, unsigned long block)
{
	if (pwrite(fd, buffer, 512, block * BLOCK) != 512)
		err(1, "write");
}

static void make_durable(int fd, void *buffer, unsigned long i)
{
	if (pwrite(fd, buffer, PAGE, i % 64 * PAGE) != PAGE || fsync(fd))
		err(1, "write and flush");
}

int main(int argc, char **argv)
{
	unsigned long count, i;
	double *times, start;
	bool touches;
	void *buffer;
	int fd;

	if (argc != 4)
		errx(1, "usage: guest_io touch|sync DISK NUMBER");
	touches = !strcmp(argv[1], "touch");
	fd = open(argv[2], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[2]);
	count = strtoul(argv[3], NULL, 0);
	if (touches)
		count /= BLOCK;
	buffer = aligned_alloc(PAGE, PAGE);
	times = calloc(count, sizeof(*times));
	if (!count || !buffer || !times)
		errx(1, "nothing to do, or no memory");
	memset(buffer, 0x5a, PAGE);
	for (i = 0; i < count; i++) {
		start = now();
		if (touches)
			touch(fd, buffer, i);
		else
			make_durable(fd, buffer, i);
		times[i] = now() - start;
	}
	qsort(times, count, sizeof(*times), compare);
	printf("%.2f\n", times[count / 2]);
	return 0;
}
