// SPDX-License-Identifier: GPL-2.0
/*
 * Whatever name the device is opened by, the mapping is that of the media.
 */
#include <sched.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
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

/*
 * is_dax() - whether a mapping of @fd shows the bytes of the device without page cache
 *
 * Closes @fd. Another process may do the same with another word.
 */
static bool is_dax(int fd)
{
	uint64_t seed = new_seed(), offset = getpid() * 8 % SZ_1M;
	uint64_t word = pattern(seed, offset);
	bool result;
	char *map;

	if (fd < 0)
		return false;
	map = map_shared(fd, SZ_2M, 0);
	if (map == MAP_FAILED)
		return false;
	__atomic_store_n((uint64_t *)(map + offset), word, __ATOMIC_SEQ_CST);
	result = pread(fd, &word, sizeof(word), offset) == sizeof(word) &&
		 differs(&word, sizeof(word), seed, offset) < 0 &&
		 huge_bytes(map, SZ_2M) == SZ_2M && cached_pages(fd) == 0;
	munmap(map, SZ_2M);
	close(fd);
	return result;
}

/* is_media() - whether its bytes are those of the media at @start besides; closes it */
static bool is_media(int fd, uint64_t start)
{
	bool result = false;
	char *map;

	if (fd < 0)
		return false;
	map = map_shared(fd, SZ_2M, 0);
	if (map != MAP_FAILED) {
		touch(map + SZ_4K);
		result = physical(map + SZ_4K) == start + SZ_4K;
		munmap(map, SZ_2M);
	}
	return is_dax(fd) && result;
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
	EXPECT_TRUE(is_dax(open(self->path, O_RDWR)));
}

/* enter_container() - a root, a /dev and a /proc of its own, as container managers make them */
static bool enter_container(const char *root, dev_t dev)
{
	return chdir(root) == 0 && mkdir("dev", 0755) == 0 && mkdir("proc", 0755) == 0 &&
	       mount("none", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755") == 0 &&
	       mknod("dev/pmem0", S_IFBLK | 0600, dev) == 0 &&
	       mount("none", "proc", "proc", 0, NULL) == 0 &&
	       syscall(__NR_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 &&
	       chdir("/") == 0;
}

TEST_F(hook_nodes, container)
{
	int status;
	pid_t pid;

	ASSERT_EQ(0, unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
			     CLONE_NEWCGROUP));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		if (!enter_container(self->dir, self->dev))
			_exit(1);
		if (access(node, F_OK) != 0 && errno != ENOENT)
			_exit(2);
		_exit(is_media(open("/dev/pmem0", O_RDWR), self->start) ? 0 : 3);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
}

/* Without privilege, root of the container cannot make a node: it gets one by a bind mount. */
TEST_F(hook_nodes, container_of_a_user)
{
	char target[64];

	snprintf(target, sizeof(target), "%s/target", self->dir);
	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	ASSERT_EQ(0, chown(self->path, 12345, 12345));
	ASSERT_EQ(0, chown(self->dir, 12345, 12345));
	ASSERT_EQ(0, setresgid(12345, 12345, 12345));
	ASSERT_EQ(0, setresuid(12345, 12345, 12345));
	ASSERT_EQ(0, prctl(PR_SET_DUMPABLE, 1));
	ASSERT_EQ(0, unshare(CLONE_NEWUSER | CLONE_NEWNS));
	ASSERT_EQ(0, write_line("/proc/self/uid_map", "0 12345 1"));
	ASSERT_EQ(0, getuid());
	EXPECT_EQ(-1, mknod(target, S_IFBLK | 0600, self->dev));
	EXPECT_EQ(EPERM, errno);
	ASSERT_LE(0, close(open(target, O_WRONLY | O_CREAT, 0600)));
	ASSERT_EQ(0, mount(self->path, target, NULL, MS_BIND, NULL));
	EXPECT_TRUE(is_dax(open(target, O_RDWR)));
}

/* The inode is one of overlayfs, which shows that of another file system. */
TEST_F(hook_nodes, overlay)
{
	char options[160], path[80];

	if (shell("grep -qw overlay /proc/filesystems || modprobe overlay"))
		SKIP(return, "the kernel has no overlayfs");
	ASSERT_EQ(0, shell("cd %s && mkdir lower upper work merged", self->dir));
	snprintf(path, sizeof(path), "%s/lower/node", self->dir);
	ASSERT_EQ(0, mknod(path, S_IFBLK | 0600, self->dev));
	snprintf(options, sizeof(options), "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work",
		 self->dir, self->dir, self->dir);
	snprintf(path, sizeof(path), "%s/merged", self->dir);
	ASSERT_EQ(0, mount("none", path, "overlay", 0, options));
	snprintf(path, sizeof(path), "%s/merged/node", self->dir);
	EXPECT_TRUE(is_media(open(path, O_RDWR), self->start));
	/* Another mode makes a copy of it in the upper one. */
	ASSERT_EQ(0, chmod(path, 0640));
	EXPECT_TRUE(is_media(open(path, O_RDWR), self->start));
	snprintf(path, sizeof(path), "%s/merged/new", self->dir);
	ASSERT_EQ(0, mknod(path, S_IFBLK | 0600, self->dev));
	EXPECT_TRUE(is_media(open(path, O_RDWR), self->start));
}

TEST_F(hook_nodes, file_system_without_nodes)
{
	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	ASSERT_EQ(0, mount("none", self->dir, NULL, MS_REMOUNT | MS_NODEV, NULL));
	EXPECT_EQ(-1, open(self->path, O_RDWR));
	EXPECT_EQ(EACCES, errno);
}

TEST_F(hook_nodes, handle)
{
	struct {
		struct file_handle handle;
		unsigned char bytes[MAX_HANDLE_SZ];
	} name = { .handle.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, dir;

	ASSERT_EQ(0, mknod(self->path, S_IFBLK | 0600, self->dev));
	ASSERT_EQ(0, name_to_handle_at(AT_FDCWD, self->path, &name.handle, &mount_id, 0));
	dir = open(self->dir, O_RDONLY | O_DIRECTORY);
	ASSERT_LE(0, dir);
	EXPECT_TRUE(is_media(open_by_handle_at(dir, &name.handle, O_RDWR), self->start));
	close(dir);
}

/* A process that has it open, and never maps it itself, gives it to others. */
TEST_F(hook_nodes, file_of_another_process)
{
	int ready[2], end[2], pidfd, status;
	pid_t pid;
	char c;

	ASSERT_EQ(0, pipe(ready));
	ASSERT_EQ(0, pipe(end));
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		close(end[1]);
		if (dup2(open(node, O_RDWR), 100) == 100 && write(ready[1], "x", 1) == 1)
			_exit(read(end[0], &c, 1));
		_exit(1);
	}
	close(ready[1]);
	ASSERT_EQ(1, read(ready[0], &c, 1));
	pidfd = pidfd_open(pid, 0);
	ASSERT_LE(0, pidfd);
	EXPECT_TRUE(is_media(pidfd_getfd(pidfd, 100, 0), self->start));
	snprintf(self->path, sizeof(self->path), "/proc/%d/fd/100", pid);
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	snprintf(self->path, sizeof(self->path), "/proc/%d/root%s", pid, node);
	EXPECT_TRUE(is_media(open(self->path, O_RDWR), self->start));
	close(end[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
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
