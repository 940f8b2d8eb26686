/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What races with a sync by a pin for long, which memory that file systems may map cannot have.
 */
#ifndef SYNC_RACES_PINS_H
#define SYNC_RACES_PINS_H

#include "sync_races.h"

/* By the kernel, to a page that is pinned for each turn or for all of them. */
static void *store_pinned(void *data)
{
	struct thread *thread = data;
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC), turn;
	off_t place = place_in(thread, 0);
	struct iovec vec = { thread->map + place, SZ_4K };
	struct io_uring_cqe *cqe;
	struct io_uring ring;

	if (io_uring_queue_init(1, &ring, 0)) {
		thread->failed++;
		return NULL;
	}
	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		bool pin = turn % 8 == 0;

		if (pin)
			thread->failed += !!io_uring_register_buffers(&ring, &vec, 1);
		say('b', thread, place);
		io_uring_prep_read_fixed(io_uring_get_sqe(&ring), zero, vec.iov_base, SZ_4K, 0, 0);
		if (io_uring_submit(&ring) != 1 || io_uring_wait_cqe(&ring, &cqe)) {
			thread->failed++;
			break;
		}
		thread->failed += cqe->res != SZ_4K;
		io_uring_cqe_seen(&ring, cqe);
		/* At once, so that it goes while a sync of another is under way. */
		if (turn % 8 == 7)
			io_uring_unregister_buffers(&ring);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
	}
	io_uring_queue_exit(&ring);
	close(zero);
	return NULL;
}

TEST_F(sync_races, pins)
{
	rounds(_metadata, self, store_pinned, store_and_sync);
}

#endif
