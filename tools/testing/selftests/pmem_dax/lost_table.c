// SPDX-License-Identifier: GPL-2.0
/*
 * A page table may go (MADV_DONTNEED frees those that are empty) while a fault is about to use it.
 * That is no lack of memory: whoever touches the page has it.
 */
#include <pthread.h>
#include <sys/uio.h>

#include "pmem_dax.h"

FIXTURE(table) {
	char *map;
	bool stop;
	int fd;
};

FIXTURE_VARIANT(table) {
	const char *settings;
};

FIXTURE_VARIANT_ADD(table, generic) {
	.settings = "namespace0.0",
};

FIXTURE_VARIANT_ADD(table, fsdax) {
	.settings = "namespace0.0:mode=fsdax",
};

/* How often the table is taken away: a tenth of that was seen to be enough for a failure. */
#ifdef PMEM_DAX_TIMEOUT
#define TIMES	4000
#else
#define TIMES	40000
#endif

FIXTURE_SETUP(table)
{
	char command[64];

	snprintf(command, sizeof(command), "take %s", variant->settings);
	ASSERT_EQ(0, shell_line(node, sizeof(node), command));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_shared(self->fd, SZ_2M, SZ_2M);
	ASSERT_NE(MAP_FAILED, self->map);
	ASSERT_EQ(0, madvise(self->map, SZ_2M, MADV_NOHUGEPAGE));
}

FIXTURE_TEARDOWN(table)
{
	munmap(self->map, SZ_2M);
	close(self->fd);
}

static void *load_it(void *data)
{
	FIXTURE_DATA(table) *self = data;

	while (!__atomic_load_n(&self->stop, __ATOMIC_SEQ_CST))
		load_byte(self->map + 7 * SZ_4K);
	return NULL;
}

/* Returns the number of times that it failed. */
static void *read_it(void *data)
{
	FIXTURE_DATA(table) *self = data;
	long failed = 0;
	char byte;
	struct iovec local = { &byte, 1 }, remote = { self->map + 9 * SZ_4K, 1 };

	while (!__atomic_load_n(&self->stop, __ATOMIC_SEQ_CST))
		failed += process_vm_readv(getpid(), &local, 1, &remote, 1, 0) != 1;
	return (void *)failed;
}

TEST_F_TIMEOUT(table, goes_at_any_time, 200)
{
	void *(*const run[])(void *) = { load_it, read_it, read_it };
	pthread_t threads[ARRAY_SIZE(run)];
	void *failed;
	int i;

	shell("dmesg -C");
	for (i = 0; i < ARRAY_SIZE(run); i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run[i], self));
	for (i = 0; i < TIMES; i++)
		ASSERT_EQ(0, madvise(self->map, SZ_2M, MADV_DONTNEED));
	__atomic_store_n(&self->stop, true, __ATOMIC_SEQ_CST);
	for (i = 0; i < ARRAY_SIZE(run); i++) {
		pthread_join(threads[i], &failed);
		EXPECT_EQ(0, (long)failed);
	}
	EXPECT_NE(0, shell("dmesg | grep VM_FAULT_OOM"));
}

PMEM_DAX_MAIN("namespace0.0")
