// SPDX-License-Identifier: GPL-2.0
/*
 * How the first touch fares when 1, 2, 4 and 8 threads share the work, each in a part
 * of its own, on one device and beside it on a peer.
 *
 * Usage: scaling 2m|4k|2m_apart|4k_apart ROUNDS DEVICE PEER
 *
 * All parts are one mapping, or, with _apart, each is a mapping by itself.
 *
 * The two take turns for ROUNDS rounds, and the best time on DEVICE is divided by
 * the best one on PEER: in the others the host had something else to do. Prints
 * that for each number of threads as "scale_UNIT_THREADS"; and how often a thread
 * slept to wait for another one, per thousand faults, with "_waits" on DEVICE and
 * with "_peer_waits" on PEER. "_growth" is the best time on DEVICE divided by that of
 * one thread there: where the clock counts the work of all CPUs, what it is to share it.
 *
 * 4 KiB pages are touched backwards, so that each is a fault.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "map.h"

#define SZ_4K	4096UL
#define SZ_16M	(16UL << 20)
#define SZ_1G	(1024UL << 20)

#define MAX_THREADS	8

struct worker {
	pthread_t thread;
	char *start;
	long waits;
};

static size_t size, unit, part, skew;
static int apart;
static struct worker workers[MAX_THREADS];
static pthread_barrier_t begin, end;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static long waits(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* The thread's part, round for round, until there is none. */
static void *work(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		pthread_barrier_wait(&begin);
		if (!worker->start)
			return NULL;
		worker->waits = -waits();
		for (size_t left = part; left; left -= unit)
			*(volatile char *)(worker->start + left - unit) = 1;
		worker->waits += waits();
		pthread_barrier_wait(&end);
	}
}

/* Touch all of @fd with @threads that wait at the barrier; add up their waits. */
static double touch(int fd, int threads, long *sum)
{
	char *addr = apart ? NULL : map_at(fd, 0, size, skew);
	double start;

	part = size / threads;
	for (int i = 0; i < threads; i++)
		workers[i].start = apart ? map_at(fd, i * part, part, skew) : addr + i * part;
	start = now();
	pthread_barrier_wait(&begin);
	pthread_barrier_wait(&end);
	start = now() - start;
	for (int i = 0; i < threads; i++)
		*sum += workers[i].waits;
	for (int i = 0; i < threads; i++)
		munmap(workers[i].start, part);
	return start;
}

static double min(double a, double b)
{
	return a < b ? a : b;
}

/* Returns the best time on @device; @alone is that of one thread, if it is known. */
static double measure(const char *name, int threads, int rounds, int device, int peer,
		      double alone)
{
	double faults = (double)(size / unit) * rounds / 1000;
	double best = 1e9, peer_best = 1e9;
	long device_waits = 0, peer_waits = 0;

	pthread_barrier_init(&begin, NULL, threads + 1);
	pthread_barrier_init(&end, NULL, threads + 1);
	for (int i = 0; i < threads; i++) {
		errno = pthread_create(&workers[i].thread, NULL, work, &workers[i]);
		if (errno)
			err(1, "pthread_create");
	}
	for (int i = 0; i < rounds; i++) {
		best = min(best, touch(device, threads, &device_waits));
		peer_best = min(peer_best, touch(peer, threads, &peer_waits));
	}
	for (int i = 0; i < threads; i++)
		workers[i].start = NULL;
	pthread_barrier_wait(&begin);
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);

	printf("scale_%s_%d %.3f\n", name, threads, best / peer_best);
	if (alone)
		printf("scale_%s_%d_growth %.3f\n", name, threads, best / alone);
	printf("scale_%s_%d_waits %.2f\n", name, threads, device_waits / faults);
	printf("scale_%s_%d_peer_waits %.2f\n", name, threads, peer_waits / faults);
	return best;
}

static int open_device(const char *path)
{
	int fd = open(path, O_RDWR);

	if (fd < 0)
		err(1, "open %s", path);
	return fd;
}

int main(int argc, char **argv)
{
	int rounds, device, peer;
	double alone = 0;

	if (argc != 5)
		errx(1, "usage: scaling 2m|4k|2m_apart|4k_apart ROUNDS DEVICE PEER");
	apart = !!strstr(argv[1], "_apart");
	if (!strncmp(argv[1], "2m", 2)) {
		size = SZ_1G;
		unit = SZ_2M;
	} else {
		size = SZ_16M;
		unit = SZ_4K;
		skew = SZ_4K;
	}
	rounds = atoi(argv[2]);
	device = open_device(argv[3]);
	peer = open_device(argv[4]);
	for (int threads = 1; threads <= MAX_THREADS; threads *= 2) {
		double best = measure(argv[1], threads, rounds, device, peer, alone);

		if (!alone)
			alone = best;
	}
	return 0;
}
