// SPDX-License-Identifier: GPL-2.0
/*
 * What the guest of guest-memory does: store to each page of a disk, or make 4 KiB
 * durable again and again. Tells the microseconds that it took: of all, or of one.
 *
 * Usage: guest_io touch DISK BYTES
 *        guest_io sync DISK COUNT
 */
#define _GNU_SOURCE

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

/* 512 bytes of each page, past the guest's page cache. */
static void touch(int fd, void *buffer, unsigned long bytes)
{
	unsigned long offset;

	for (offset = 0; offset < bytes; offset += PAGE)
		if (pwrite(fd, buffer, 512, offset) != 512)
			err(1, "write");
}

static void make_durable(int fd, void *buffer, unsigned long count)
{
	unsigned long i;

	for (i = 0; i < count; i++)
		if (pwrite(fd, buffer, PAGE, i % 64 * PAGE) != PAGE || fsync(fd))
			err(1, "write and flush");
}

int main(int argc, char **argv)
{
	unsigned long count = 0;
	void *buffer;
	double start;
	int fd;

	if (argc != 4)
		errx(1, "usage: guest_io touch|sync DISK NUMBER");
	fd = open(argv[2], O_RDWR | O_DIRECT);
	if (fd < 0)
		err(1, "%s", argv[2]);
	count = strtoul(argv[3], NULL, 0);
	buffer = aligned_alloc(PAGE, PAGE);
	if (!buffer)
		err(1, "memory");
	memset(buffer, 0x5a, PAGE);
	start = now();
	if (!strcmp(argv[1], "touch")) {
		touch(fd, buffer, count);
		printf("%.0f\n", now() - start);
	} else {
		make_durable(fd, buffer, count);
		printf("%.2f\n", (now() - start) / count);
	}
	return 0;
}
