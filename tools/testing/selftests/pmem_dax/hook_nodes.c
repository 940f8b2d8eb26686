// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever name the device is opened by, the mapping is that of the media.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace0.0"

FIXTURE(hook_nodes) {
	char dir[32], path[64];
	uint64_t start;
	dev_t dev;
};

FIXTURE_SETUP(hook_nodes)
{
	struct stat stat_buf;

	self->start = namespace_start(NAMESPACE);
	ASSERT_NE(0, self->start);
	ASSERT_EQ(0, stat(node, &stat_buf));
	ASSERT_TRUE(S_ISBLK(stat_buf.st_mode));
	self->dev = stat_buf.st_rdev;
	/* What is mounted here, and the nodes, go with the process. */
	ASSERT_EQ(0, unshare(CLONE_NEWNS));
	ASSERT_EQ(0, mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	snprintf(self->dir, sizeof(self->dir), "/tmp/hook_nodes.XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->dir));
	ASSERT_EQ(0, mount("none", self->dir, "tmpfs", 0, NULL));
	snprintf(self->path, sizeof(self->path), "%s/node", self->dir);
}

FIXTURE_TEARDOWN(hook_nodes)
{
	umount2(self->dir, MNT_DETACH);
	rmdir(self->dir);
}

/* is_media() - whether a mapping of @fd is that of the media at @start; closes it */
static bool is_media(int fd, uint64_t start)
{
	bool result;
	char *map;

	if (fd < 0)
		return false;
	map = map_shared(fd, SZ_2M, 0);
	if (map == MAP_FAILED)
		return false;
	touch(map + SZ_4K);
	result = physical(map + SZ_4K) == start + SZ_4K &&
		 huge_bytes(map, SZ_2M) == SZ_2M && cached_pages(fd) == 0;
	munmap(map, SZ_2M);
	close(fd);
	return result;
}

TEST_F(hook_nodes, its_own)
{
	EXPECT_TRUE(is_media(open(node, O_RDWR), self->start));
}

TEST_F(hook_nodes, mknod)
{
	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
}

TEST_F(hook_nodes, mknod_beside_it)
{
	snprintf(self->path, sizeof(self->path), "/dev/hook_nodes.%d", getpid());
	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	unlink(self->path);
}

TEST_F(hook_nodes, symbolic_link)
{
	ASSERT_EQ(0, symlink(node, self->path));
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
}

TEST_F(hook_nodes, bind_mount)
{
	ASSERT_LE(0, close(open(self->path, O_WRONLY | O_CREAT, 0600)));
	ASSERT_EQ(0, mount(node, self->path, NULL, MS_BIND, NULL));
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	umount(self->path);
}

TEST_F(hook_nodes, reopened)
{
	int fd = open(node, O_RDONLY);

	ASSERT_LE(0, fd);
	snprintf(self->path, sizeof(self->path), "/proc/self/fd/%d", fd);
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	close(fd);
}

TEST_F(hook_nodes, reopened_path)
{
	int fd = open(node, O_PATH);

	ASSERT_LE(0, fd);
	snprintf(self->path, sizeof(self->path), "/proc/self/fd/%d", fd);
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	close(fd);
}

/* One process opens it, another one maps it. */
TEST_F(hook_nodes, passed_over_a_socket)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, c = 0;
	struct iovec data = { &c, 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header;
	int sockets[2], status, fd;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		fd = open_node();
		header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		_exit(fd < 0 || sendmsg(sockets[1], &message, 0) != 1);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_EQ(1, recvmsg(sockets[0], &message, 0));
	header = CMSG_FIRSTHDR(&message);
	ASSERT_NE(NULL, header);
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	EXPECT_TRUE(is_media(fd, self->start));
}

TEST_F(hook_nodes, with_any_flags)
{
	EXPECT_TRUE(is_media(open(node, O_RDWR | O_DIRECT), self->start));
	EXPECT_TRUE(is_media(open(node, O_RDWR | O_SYNC), self->start));
	EXPECT_TRUE(is_media(open(node, O_RDWR | O_NONBLOCK), self->start));
	EXPECT_TRUE(is_media(open(node, O_RDWR | O_EXCL), self->start));
	EXPECT_TRUE(is_media(open(node, O_RDWR | O_APPEND), self->start));
}

/* Another user without any privilege: the permission of the node is all that counts. */
TEST_F(hook_nodes, not_root)
{
	char *map;

	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	ASSERT_EQ(0, chown(self->path, 12345, 12345));
	ASSERT_EQ(0, chmod(self->dir, 0755));
	ASSERT_EQ(0, setresgid(12345, 12345, 12345));
	ASSERT_EQ(0, setresuid(12345, 12345, 12345));
	/* Else /proc/self is root's. */
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
	EXPECT_EQ(-1, open(node, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	/* No physical addresses are told to this user. */
	map = map_shared(open(self->path, O_RDWR), SZ_2M, 0);
	ASSERT_NE(MAP_FAILED, map);
	touch(map);
	EXPECT_EQ(SZ_2M, huge_bytes(map, SZ_2M));
}

TEST_F(hook_nodes, many_opens_at_once)
{
	int children = 4, status, i;

	for (i = 0; i < children; i++) {
		if (fork() == 0) {
			for (i = 0; i < 30; i++)
				if (!is_media(open(node, O_RDWR), self->start))
					_exit(1);
			_exit(0);
		}
	}
	for (i = 0; i < children; i++) {
		ASSERT_LT(0, wait(&status));
		EXPECT_EQ(0, status);
	}
}

PMEM_DAX_MAIN(NAMESPACE)
