// SPDX-License-Identifier: GPL-2.0
/*
 * An open that began before the disk was there, or the module, and waits for it, gets
 * DAX, too. So does a service that polls a node which a container manager made.
 */
#include <sched.h>
#include <sys/mount.h>

#include "pmem_dax.h"

#define NAMESPACE	"namespace0.0"
#define OPENERS		6
#define MODPROBE	"/proc/sys/kernel/modprobe"

/* What an opener got; it is its exit status. */
enum { DAX, PAGE_CACHE, NOTHING };

FIXTURE(early_opens) {
	/* How often the openers were refused. */
	int *refused;
	char dir[32], path[64];
	dev_t dev;
};

FIXTURE_VARIANT(early_opens) {
	/* Shell commands: the disk goes, and comes back. */
	const char *go, *come;
};

FIXTURE_VARIANT_ADD(early_opens, module) {
	.go = "rmmod pmem_dax",
	.come = "load claim=" NAMESPACE,
};

FIXTURE_VARIANT_ADD(early_opens, disk) {
	.go = "echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind",
	.come = "echo " NAMESPACE " >$DRIVERS/pmem_dax/bind",
};

FIXTURE_SETUP(early_opens)
{
	struct stat stat_buf;

	ASSERT_EQ(0, stat(node, &stat_buf));
	self->dev = stat_buf.st_rdev;
	self->refused = mmap(NULL, SZ_4K, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	ASSERT_NE(MAP_FAILED, self->refused);
	/* What is mounted here, and the nodes, go with the process. */
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(self->dir, sizeof(self->dir), "/tmp/early_opens.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, mount("none", self->dir, "tmpfs", 0, NULL));
	snprintf(self->path, sizeof(self->path), "%s/node", self->dir);
}

FIXTURE_TEARDOWN(early_opens)
{
	umount2(self->dir, MNT_DETACH);
	rmdir(self->dir);
	munmap(self->refused, SZ_4K);
}

/* kind_of() - what @fd maps. The page cache is never mapped with MAP_SYNC. */
static int kind_of(int fd)
{
	char *map = mmap(NULL, SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED_VALIDATE | MAP_SYNC,
			 fd, 0);

	if (map != MAP_FAILED)
		return DAX;
	if (errno != EOPNOTSUPP)
		return NOTHING;
	map = map_shared(fd, SZ_2M, 0);
	return map != MAP_FAILED ? PAGE_CACHE : NOTHING;
}

/* poll_node() - open @path until it is there; never returns */
static void poll_node(const char *path, int *refused)
{
	int fd;

	for (;;) {
		fd = open(path, O_RDWR);
		if (fd >= 0)
			_exit(kind_of(fd));
		if (errno != ENXIO)
			_exit(NOTHING);
		__atomic_fetch_add(refused, 1, __ATOMIC_SEQ_CST);
		usleep(1000);
	}
}

/* Before the disk is there each open takes two modprobes, which take long on a busy machine. */
TEST_F_TIMEOUT(early_opens, wait, 240)
{
	int i, status, got[NOTHING + 1] = {};
	pid_t openers[OPENERS];
	struct stat stat_buf;

	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	ASSERT_EQ(0, shell("%s", variant->go));
	for (i = 0; i < OPENERS; i++) {
		openers[i] = fork();
		ASSERT_LE(0, openers[i]);
		if (openers[i] == 0)
			poll_node(self->path, self->refused);
	}
	/* As each waits for modprobe, once one was refused the others are on their way. */
	while (__atomic_load_n(self->refused, __ATOMIC_SEQ_CST) == 0)
		usleep(1000);
	ASSERT_EQ(0, shell("%s", variant->come));
	/* If it has another number now, the openers would wait for ever. */
	ASSERT_EQ(0, stat(node, &stat_buf));
	EXPECT_EQ(self->dev, stat_buf.st_rdev);
	for (i = 0; i < OPENERS; i++) {
		if (stat_buf.st_rdev != self->dev)
			kill(openers[i], SIGKILL);
		ASSERT_EQ(openers[i], waitpid(openers[i], &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_GE(NOTHING, WEXITSTATUS(status));
		got[WEXITSTATUS(status)]++;
	}
	EXPECT_EQ(OPENERS, got[DAX]);
	EXPECT_EQ(0, got[PAGE_CACHE]);
	EXPECT_EQ(0, got[NOTHING]);
}

/* A number of ours that no disk has is nobody else's: no module is looked for. */
TEST(no_module_wanted)
{
	char modprobe[64], script[64], called[80], free[64];
	struct stat stat_buf;
	FILE *file;

	ASSERT_EQ(0, stat(node, &stat_buf));
	ASSERT_TRUE(read_line(MODPROBE, modprobe, sizeof(modprobe)));
	snprintf(script, sizeof(script), "/tmp/early_opens.%d", getpid());
	snprintf(called, sizeof(called), "%s.called", script);
	snprintf(free, sizeof(free), "%s.node", script);
	file = fopen(script, "w");
	ASSERT_NE(NULL, file);
	fprintf(file, "#!/bin/sh\necho \"$@\" >>%s\n", called);
	ASSERT_EQ(0, fchmod(fileno(file), 0700));
	ASSERT_EQ(0, fclose(file));
	ASSERT_EQ(0, mknod(free, S_IFBLK | 0600, makedev(major(stat_buf.st_rdev), 4095 << 8)));
	ASSERT_EQ(0, write_line(MODPROBE, script));
	EXPECT_EQ(-1, open(free, O_RDONLY));
	EXPECT_EQ(ENXIO, errno);
	EXPECT_EQ(0, write_line(MODPROBE, modprobe));
	EXPECT_EQ(-1, access(called, F_OK));
	unlink(called);
	unlink(free);
	unlink(script);
}

PMEM_DAX_MAIN(NAMESPACE)
