// SPDX-License-Identifier: GPL-2.0
/*
 * Programs that may open no device are handed files of it, as a monitor's and a back end's are:
 * in a cgroup that forbids the device those are used like others.
 */
#include <sys/mount.h>
#include <sys/socket.h>

#include <linux/bpf.h>

#include "pmem_dax.h"

FIXTURE(cgroup) {
	char root[32], group[64];
	int fd, link;
	pid_t pid;
};

FIXTURE_VARIANT(cgroup) {
	const char *driver;
	/* Whether the device is forbidden to all the machine, after the file was opened. */
	bool all;
	int mmap_error;
};

FIXTURE_VARIANT_ADD(cgroup, one) {
	.driver = "pmem_dax",
};

/* That is how files are. */
FIXTURE_VARIANT_ADD(cgroup, one_nd_pmem) {
	.driver = "nd_pmem",
};

FIXTURE_VARIANT_ADD(cgroup, all) {
	.driver = "pmem_dax",
	.all = true,
	.mmap_error = EPERM,
};

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

/* forbid() - a major in a cgroup, until the file is closed that is returned; -1 and errno */
static int forbid(const char *group, unsigned int number)
{
	const struct bpf_insn program[] = {
		{ BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1 },
		{ BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1,
		  offsetof(struct bpf_cgroup_dev_ctx, major), 0 },
		{ BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 1, number },
		{ BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0 },
		{ BPF_JMP | BPF_EXIT, 0, 0, 0, 0 },
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)program,
		.insn_cnt = ARRAY_SIZE(program),
		.license = (uintptr_t)"GPL",
	};
	union bpf_attr attach = { .link_create.attach_type = BPF_CGROUP_DEVICE };
	int link;

	attach.link_create.prog_fd = bpf(BPF_PROG_LOAD, &load);
	attach.link_create.target_fd = open(group, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	link = bpf(BPF_LINK_CREATE, &attach);
	close(attach.link_create.target_fd);
	close(attach.link_create.prog_fd);
	return link;
}

struct message {
	struct msghdr header;
	struct iovec data;
	char byte;
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
};

static struct msghdr *message(struct message *message)
{
	message->data = (struct iovec){ &message->byte, 1 };
	message->header = (struct msghdr){
		.msg_iov = &message->data,
		.msg_iovlen = 1,
		.msg_control = &message->control,
		.msg_controllen = sizeof(message->control),
	};
	return &message->header;
}

static int send_file(int socket, int fd)
{
	struct message to_send = {
		.control.header = {
			.cmsg_len = CMSG_LEN(sizeof(fd)),
			.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
		},
	};

	memcpy(CMSG_DATA(&to_send.control.header), &fd, sizeof(fd));
	return sendmsg(socket, message(&to_send), 0) == 1 ? 0 : -1;
}

static int receive_file(int socket)
{
	struct message received;
	int fd;

	if (recvmsg(socket, message(&received), 0) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&received.control.header), sizeof(fd));
	return fd;
}

/* The errors of what a program does. */
struct errors {
	int enter, open, read, write, shared, private, stored;
};

static void use_in_cgroup(const char *group, int socket)
{
	struct errors errors = {};
	char byte, procs[96];
	char *map;
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", group);
	errors.enter = write_line(procs, "0") ? errno : 0;
	errors.open = open_node() < 0 ? errno : 0;
	fd = receive_file(socket);
	errors.write = pwrite(fd, "w", 1, SZ_4K) == 1 ? 0 : errno;
	errors.read = pread(fd, &byte, 1, SZ_4K) == 1 ? 0 : errno;
	errors.private = map_errno(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
	map = map_shared(fd, SZ_4K, SZ_4K);
	errors.shared = map == MAP_FAILED ? errno : 0;
	if (map != MAP_FAILED) {
		store_byte(map, 's');
		errors.stored = pread(fd, &byte, 1, SZ_4K) == 1 && byte == 's' ? 0 : EIO;
	}
	if (write(socket, &errors, sizeof(errors)) != sizeof(errors))
		perror("socket");
}

FIXTURE_SETUP(cgroup)
{
	self->link = -1;
	ASSERT_EQ(0, shell("hand_over namespace0.0 %s", variant->driver));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	strcpy(self->root, "/tmp/cgroup-XXXXXX");
	ASSERT_NE(NULL, mkdtemp(self->root));
	ASSERT_EQ(0, mount("none", self->root, "cgroup2", 0, NULL));
	snprintf(self->group, sizeof(self->group), "%s/closed", self->root);
	ASSERT_EQ(0, mkdir(self->group, 0700));
}

FIXTURE_TEARDOWN(cgroup)
{
	close(self->link);
	close(self->fd);
	rmdir(self->group);
	umount(self->root);
	rmdir(self->root);
	shell("hand_over namespace0.0 pmem_dax");
}

TEST_F(cgroup, file_from_outside)
{
	struct errors errors;
	int sockets[2];
	struct stat stat;
	int status;

	ASSERT_EQ(0, fstat(self->fd, &stat));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets));
	self->link = forbid(variant->all ? self->root : self->group, major(stat.st_rdev));
	ASSERT_LE(0, self->link)
		TH_LOG("%s", strerror(errno));
	self->pid = fork();
	ASSERT_LE(0, self->pid);
	if (self->pid == 0) {
		close(self->fd);
		use_in_cgroup(self->group, sockets[1]);
		_exit(0);
	}
	ASSERT_EQ(0, send_file(sockets[0], self->fd));
	ASSERT_EQ(sizeof(errors), read(sockets[0], &errors, sizeof(errors)));
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, 0));
	EXPECT_EQ(0, errors.enter);
	EXPECT_EQ(EPERM, errors.open);
	EXPECT_EQ(0, errors.read);
	EXPECT_EQ(0, errors.write);
	EXPECT_EQ(variant->mmap_error, errors.private);
	EXPECT_EQ(variant->mmap_error, errors.shared);
	EXPECT_EQ(0, errors.stored);
	if (variant->all)
		EXPECT_TRUE(is_refused(self->fd, EPERM, "a device cgroup forbids it"));
	close(sockets[0]);
	close(sockets[1]);
}

PMEM_DAX_MAIN("namespace0.0")
