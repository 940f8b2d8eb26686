// SPDX-License-Identifier: GPL-2.0
/*
 * How processes fare that store here and there and sync each time, on one device and
 * beside it on a peer.
 *
 * Usage: syncing PROCESSES ROUNDS PATH PEER
 *
 * Each has 1 GiB mapped, of which all was stored to once. The two take turns for ROUNDS
 * rounds, and the best time on PATH is divided by the best one on PEER: in the others the
 * host had something else to do. Prints that as "scale_syncs_PROCESSES".
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define SZ_4K	4096UL
#define SZ_1G	(1024UL << 20)

/* Of each process, in a round. */
#define SYNCS	100

static struct {
	pthread_barrier_t begin, end;
	int side;
} *shared;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void work(char *map, int fd)
{
	for (int i = 0; i < SYNCS; i++) {
		map[random() % (SZ_1G / SZ_4K) * SZ_4K] = i;
		if (fsync(fd))
			err(1, "fsync");
	}
}

/* A process, which does what it is told at each barrier, for ever. */
static void process(char **paths, int seed)
{
	char *maps[2];
	int fds[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	srandom(seed);
	for (int side = 0; side < 2; side++) {
		fds[side] = open(paths[side], O_RDWR);
		if (fds[side] < 0)
			err(1, "open %s", paths[side]);
		maps[side] = mmap(NULL, SZ_1G, PROT_READ | PROT_WRITE, MAP_SHARED, fds[side], 0);
		if (maps[side] == MAP_FAILED)
			err(1, "mmap %s", paths[side]);
		for (size_t at = 0; at < SZ_1G; at += SZ_4K)
			maps[side][at] = 1;
		if (fsync(fds[side]))
			err(1, "fsync");
	}
	for (;;) {
		pthread_barrier_wait(&shared->begin);
		work(maps[shared->side], fds[shared->side]);
		pthread_barrier_wait(&shared->end);
	}
}

int main(int argc, char **argv)
{
	pthread_barrierattr_t attr;
	double best[2] = { 1e9, 1e9 };
	int processes, rounds;

	if (argc != 5)
		errx(1, "usage: syncing PROCESSES ROUNDS PATH PEER");
	processes = atoi(argv[1]);
	rounds = atoi(argv[2]);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	if (shared == MAP_FAILED)
		err(1, "mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->begin, &attr, processes + 1);
	pthread_barrier_init(&shared->end, &attr, processes + 1);
	for (int i = 0; i < processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (!pid)
			process(argv + 3, i);
	}
	for (int i = 0; i < 2 * rounds; i++) {
		double start;

		shared->side = i % 2;
		start = now();
		pthread_barrier_wait(&shared->begin);
		pthread_barrier_wait(&shared->end);
		start = now() - start;
		/* In the first ones chunks come to be mapped by pages. */
		if (i >= 4 && start < best[i % 2])
			best[i % 2] = start;
	}
	/* The processes end with this one. */
	printf("scale_syncs_%d %.3f\n", processes, best[0] / best[1]);
	return 0;
}
