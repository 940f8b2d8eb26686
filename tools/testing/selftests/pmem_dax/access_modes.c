// SPDX-License-Identifier: GPL-2.0
/*
 * What a mapping may do is what its file was opened for, now and after mprotect.
 */
#include "pmem_dax.h"

FIXTURE(access_modes) {
	int fd;
};

FIXTURE_VARIANT(access_modes) {
	int open_flags, prot, map_flags;
	int map_error;
	/* The errors of making it writable and readable, if there is a mapping. */
	int write_error, read_error;
};

FIXTURE_VARIANT_ADD(access_modes, rdwr_shared_write) {
	.open_flags = O_RDWR, .prot = PROT_READ | PROT_WRITE, .map_flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(access_modes, rdwr_shared_write_only) {
	.open_flags = O_RDWR, .prot = PROT_WRITE, .map_flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(access_modes, rdwr_shared_read) {
	.open_flags = O_RDWR, .prot = PROT_READ, .map_flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(access_modes, rdwr_shared_none) {
	.open_flags = O_RDWR, .prot = PROT_NONE, .map_flags = MAP_SHARED,
};

FIXTURE_VARIANT_ADD(access_modes, rdwr_private_write) {
	.open_flags = O_RDWR, .prot = PROT_READ | PROT_WRITE, .map_flags = MAP_PRIVATE,
};

FIXTURE_VARIANT_ADD(access_modes, rdonly_shared_write) {
	.open_flags = O_RDONLY, .prot = PROT_READ | PROT_WRITE, .map_flags = MAP_SHARED,
	.map_error = EACCES,
};

FIXTURE_VARIANT_ADD(access_modes, rdonly_shared_read) {
	.open_flags = O_RDONLY, .prot = PROT_READ, .map_flags = MAP_SHARED,
	.write_error = EACCES,
};

FIXTURE_VARIANT_ADD(access_modes, rdonly_private_write) {
	.open_flags = O_RDONLY, .prot = PROT_READ | PROT_WRITE, .map_flags = MAP_PRIVATE,
};

FIXTURE_VARIANT_ADD(access_modes, wronly_shared_write) {
	.open_flags = O_WRONLY, .prot = PROT_WRITE, .map_flags = MAP_SHARED,
	.map_error = EACCES,
};

FIXTURE_VARIANT_ADD(access_modes, wronly_shared_read) {
	.open_flags = O_WRONLY, .prot = PROT_READ, .map_flags = MAP_SHARED,
	.map_error = EACCES,
};

FIXTURE_VARIANT_ADD(access_modes, wronly_private_read) {
	.open_flags = O_WRONLY, .prot = PROT_READ, .map_flags = MAP_PRIVATE,
	.map_error = EACCES,
};

FIXTURE_SETUP(access_modes)
{
	self->fd = open(node, variant->open_flags | O_CLOEXEC);
	ASSERT_LE(0, self->fd);
}

FIXTURE_TEARDOWN(access_modes)
{
	close(self->fd);
}

static int mprotect_errno(char *map, int prot)
{
	return mprotect(map, SZ_2M, prot) ? errno : 0;
}

/* dies() - whether an access ends a process by SIGSEGV */
static bool dies(char *address, bool store)
{
	struct rlimit none = {};
	int status;
	pid_t pid;

	pid = fork();
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		if (store)
			touch(address);
		else
			load_byte(address);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

TEST_F(access_modes, table)
{
	char *map;

	errno = 0;
	map = mmap(NULL, SZ_2M, variant->prot, variant->map_flags, self->fd, 0);
	if (variant->map_error) {
		EXPECT_EQ(MAP_FAILED, map);
		EXPECT_EQ(variant->map_error, errno);
		return;
	}
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(!(variant->prot & PROT_WRITE), dies(map, true));
	EXPECT_EQ(!variant->prot, dies(map, false));
	/* With the page there, too. */
	if (variant->prot & PROT_READ)
		load_byte(map);
	EXPECT_EQ(!(variant->prot & PROT_WRITE), dies(map, true));

	EXPECT_EQ(variant->write_error, mprotect_errno(map, PROT_READ | PROT_WRITE));
	EXPECT_EQ(!!variant->write_error, dies(map, true));
	EXPECT_EQ(0, mprotect_errno(map, PROT_READ));
	EXPECT_TRUE(dies(map, true));
	EXPECT_FALSE(dies(map, false));
	EXPECT_EQ(0, mprotect_errno(map, PROT_NONE));
	EXPECT_TRUE(dies(map, false));
}

PMEM_DAX_MAIN("namespace0.0")
