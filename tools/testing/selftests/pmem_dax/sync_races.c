// SPDX-License-Identifier: GPL-2.0
/*
 * What races with a sync where the memory is mapped by 2 MiB or 4 KiB.
 */
#include <sys/syscall.h>
#include <linux/userfaultfd.h>

#include "sync_races_pins.h"

/* A mapping in which userfaultfd(2) notes stores has single pages, and protects them in place. */
static void *watch_and_store(void *data)
{
	struct thread *thread = data;
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_WP_ASYNC };
	struct uffdio_range range = { (uintptr_t)thread->map, race.length };
	struct uffdio_register watch = { .range = range, .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect protect = { range, UFFDIO_WRITEPROTECT_MODE_WP };
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC), turn;

	thread->failed += fd < 0 || ioctl(fd, UFFDIO_API, &api);
	for (turn = 0; turn < race.turns && !race.stop; turn++) {
		off_t place = place_in(thread, turn);

		if (turn % 8 == 0)
			thread->failed += !!ioctl(fd, UFFDIO_REGISTER, &watch);
		thread->failed += !!ioctl(fd, UFFDIO_WRITEPROTECT, &protect);
		if (turn % 3 == 0)
			load_byte(thread->map + place);
		say('b', thread, place);
		touch(thread->map + place);
		thread->failed += !!sync_turn(thread, turn);
		say('e', thread, place);
		/* Made writable by the end of that, if anything is. */
		if (turn % 8 == 7)
			thread->failed += !!ioctl(fd, UFFDIO_UNREGISTER, &range);
	}
	close(fd);
	return NULL;
}

TEST_F(sync_races, watched)
{
	rounds(_metadata, self, watch_and_store, store_and_sync);
}

int main(int argc, char **argv)
{
	race.namespace = "namespace0.0";
	race.length = 2 * SZ_2M;
	race.turns = 64;
	race.seconds = 2;
	return sync_races_main(argc, argv, NULL, "namespace0.0");
}
