/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Whatever goes on beside it, a sync writes back what was stored before it: threads store
 * to pages of their own and sync, and say in the trace of the kernel when they begin and
 * end. Between the two the CPU caches of that page must have been written back, by
 * whomever.
 */
#ifndef SYNC_RACES_H
#define SYNC_RACES_H

#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>

#include "flush_watch.h"

#define CHUNK		SZ_2M
#define THREADS		4

static struct {
	/* Set by main(): what each thread maps, and from where on the device. */
	const char *namespace;
	size_t length;
	off_t from;
	/* How often each of them stores: what is said in a round fits the trace. */
	int turns;
	/* How long there are rounds. */
	int seconds;

	int fd, marker;
	atomic_bool stop;
	/* Whether only pages of 4K fit. */
	bool small;
	/* What each thread makes durable by msync(). */
	bool msync;
} race;

struct thread {
	pthread_t thread;
	int index;
	char *map;
	long failed;
};

static void say(char what, const struct thread *thread, uint64_t place)
{
	char line[64];
	int length = snprintf(line, sizeof(line), "%c t=%d place=0x%" PRIx64 "\n", what,
			      thread->index, race.from + place);

	if (write(race.marker, line, length) != length)
		race.stop = true;
}

static char *map_race(int prot)
{
	return map_skewed(race.fd, race.length, race.from, race.small ? SZ_4K : 0, prot,
			  MAP_SHARED);
}

/* A page in each turn, some of them those of the last turns, next to those of the others. */
static off_t place_in(const struct thread *thread, int turn)
{
	return CHUNK - 8 * SZ_4K * THREADS + (turn % 16) * THREADS * SZ_4K +
	       thread->index * SZ_4K;
}

static int sync_turn(const struct thread *thread, int turn)
{
	if (!race.msync)
		return turn % 2 ? fdatasync(race.fd) : fsync(race.fd);
	return msync(thread->map, race.length, MS_SYNC);
}

static void *store_and_sync(void *data)
{
	struct thread *thread = data;
	int turn;

	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);

		say('b', thread, place);
		touch(thread->map + place);
		if (sync_turn(thread, turn))
			thread->failed++;
		say('e', thread, place);
	}
	return NULL;
}

/* As one that may be only read at first, and then is made one for stores. */
static void *protect_and_store(void *data)
{
	struct thread *thread = data;
	int turn;

	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);

		thread->failed += !!mprotect(thread->map, race.length, PROT_READ);
		load_byte(thread->map + place);
		thread->failed += !!mprotect(thread->map, race.length, PROT_READ | PROT_WRITE |
						(turn % 2 ? PROT_EXEC : 0));
		say('b', thread, place);
		touch(thread->map + place);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
		/* Made read-only by that sync, and writable by this call. */
		thread->failed += !!mprotect(thread->map, race.length, PROT_READ | PROT_WRITE |
						(turn % 2 ? 0 : PROT_EXEC));
		say('b', thread, place);
		touch(thread->map + place);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
	}
	return NULL;
}

/* missed() - how many pages were not written back in time, of a round that the trace has */
static int missed(void)
{
	struct {
		uint64_t place;
		bool waits, found;
	} stores[THREADS] = {};
	int begun = 0, count = 0, i;
	char line[512];
	FILE *trace = fopen(WATCH "trace", "re");

	while (trace && fgets(line, sizeof(line), trace)) {
		const char *mark = strstr(line, "tracing_mark_write: ");
		uint64_t start, size;

		if (line[0] == '#')
			continue;
		if (mark) {
			mark += strlen("tracing_mark_write: ");
			i = field(mark, " t=");
			if (i >= THREADS)
				continue;
			if (*mark == 'b') {
				stores[i].place = field(mark, " place=");
				stores[i].waits = true;
				stores[i].found = false;
				begun++;
			} else if (stores[i].waits) {
				stores[i].waits = false;
				count += !stores[i].found;
			}
			continue;
		}
		if (!strstr(line, " back: "))
			continue;
		start = place_of(line);
		size = field(line, " size=");
		for (i = 0; i < THREADS; i++)
			if (start <= stores[i].place && stores[i].place + SZ_4K <= start + size)
				stores[i].found = true;
	}
	if (trace)
		fclose(trace);
	/* All that was said is there. */
	return begun >= THREADS ? count : -1;
}

FIXTURE(sync_races) {
	struct thread threads[THREADS];
};

FIXTURE_VARIANT(sync_races) {
	bool small, msync;
};

FIXTURE_VARIANT_ADD(sync_races, huge) {};
FIXTURE_VARIANT_ADD(sync_races, huge_msync) { .msync = true };
FIXTURE_VARIANT_ADD(sync_races, small) { .small = true };
FIXTURE_VARIANT_ADD(sync_races, small_msync) { .small = true, .msync = true };

FIXTURE_SETUP(sync_races)
{
	watched.start = namespace_start(race.namespace);
	ASSERT_NE(0, watched.start);
	race.fd = open_node();
	ASSERT_LE(0, race.fd);
	watched.size = size_of(race.fd);
	/* Where the largest pages fit. */
	race.from = -watched.start & (race.length - 1);
	race.marker = open(WATCH "trace_marker", O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, race.marker);
	race.small = variant->small;
	race.msync = variant->msync;
	race.stop = false;
}

FIXTURE_TEARDOWN(sync_races)
{
	close(race.marker);
	close(race.fd);
}

/* Rounds, in which the first threads do one thing and the last ones another. */
static void rounds(struct __test_metadata *_metadata, FIXTURE_DATA(sync_races) *self,
		   void *(*first)(void *), void *(*last)(void *))
{
	time_t end = time(NULL) + race.seconds;
	int i;

	do {
		watch();
		for (i = 0; i < THREADS; i++) {
			struct thread *thread = &self->threads[i];

			*thread = (struct thread){ .index = i };
			/* Of its own, so that each has entries of its own. */
			thread->map = map_race(PROT_READ | PROT_WRITE);
			ASSERT_NE(MAP_FAILED, thread->map);
			ASSERT_EQ(0, pthread_create(&thread->thread, NULL,
						    i < THREADS / 2 ? first : last, thread));
		}
		for (i = 0; i < THREADS; i++) {
			pthread_join(self->threads[i].thread, NULL);
			EXPECT_EQ(0, self->threads[i].failed);
			munmap(self->threads[i].map, race.length);
		}
		EXPECT_EQ(0, missed());
	} while (time(NULL) < end && __test_passed(_metadata));
}

TEST_F(sync_races, stores)
{
	rounds(_metadata, self, store_and_sync, store_and_sync);
}

TEST_F(sync_races, mprotect)
{
	rounds(_metadata, self, protect_and_store, store_and_sync);
}

/* Who has the soft-dirty bits cleared write-protects entries, and that is taken back in place. */
static void *forget_dirty(void *data)
{
	struct thread *thread = data;
	int turn;

	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);

		thread->failed += !!write_line("/proc/self/clear_refs", "4");
		say('b', thread, place);
		touch(thread->map + place);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
	}
	return NULL;
}

TEST_F(sync_races, clear_refs)
{
	rounds(_metadata, self, forget_dirty, store_and_sync);
}

/* Entries that go are still in TLBs for a moment. */
static void *unmap_and_store(void *data)
{
	struct thread *thread = data;
	int turn;

	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);

		madvise(thread->map, race.length, MADV_DONTNEED);
		say('b', thread, place);
		touch(thread->map + place);
		madvise(thread->map, race.length, MADV_DONTNEED);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
	}
	return NULL;
}

TEST_F(sync_races, unmap)
{
	rounds(_metadata, self, unmap_and_store, store_and_sync);
}

/* Entries move, while a sync takes them away. */
static void *move_and_store(void *data)
{
	struct thread *thread = data;
	int turn;

	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);
		/* Not where it was: another thread may have got that. */
		char *to = map_race(PROT_READ), *map;

		say('b', thread, place);
		touch(thread->map + place);
		map = mremap(thread->map, race.length, race.length,
			     MREMAP_MAYMOVE | MREMAP_FIXED, to);
		if (map == MAP_FAILED) {
			thread->failed++;
			break;
		}
		thread->map = map;
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
	}
	return NULL;
}

TEST_F(sync_races, mremap)
{
	rounds(_metadata, self, move_and_store, store_and_sync);
}

/* sync_races_main() - run them; @region as for pmem_dax_main_with(), or NULL */
static inline int sync_races_main(int argc, char **argv, const char *region,
				  const char *namespaces)
{
	int status;

	if (!getuid() && (watch_setup() || watch_enable(true) ||
			  write_line(WATCH "buffer_size_kb", "4096"))) {
		perror("sync_races: kprobe_events");
		watch_teardown();
		return 1;
	}
	if (region)
		status = pmem_dax_main_with(argc, argv, region, namespaces);
	else
		status = pmem_dax_main(argc, argv, namespaces);
	watch_teardown();
	return status;
}

#endif
