// SPDX-License-Identifier: GPL-2.0
/*
 * The memory of a virtual machine can be a mapping: its guest sees the media, what
 * is bad gets who runs the guest a SIGBUS that names the address in the mapping, and
 * the guest is stopped when the device goes.
 */
#include <linux/kvm.h>

#include "pmem_dax.h"

#define NAMESPACE "namespace2.0"
#define LENGTH	(2 * SZ_2M)

/* Where the guest's things are, in its memory. */
#define CODE	0x1000
#define INPUT	0x5000
#define OUTPUT	0x6000

static const uint8_t code[] = {
	0xa0, INPUT & 0xff, INPUT >> 8,		/* mov al, [INPUT] */
	0x04, 0x01,				/* add al, 1 */
	0xa2, OUTPUT & 0xff, OUTPUT >> 8,	/* mov [OUTPUT], al */
	0xe6, 0x80,				/* out 0x80, al */
};

FIXTURE(kvm) {
	struct kvm_run *run;
	int fd, vm, cpu;
	char *map;
};

static int set_memory(FIXTURE_DATA(kvm) *self)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = LENGTH,
		.userspace_addr = (uintptr_t)self->map,
	};

	return ioctl(self->vm, KVM_SET_USER_MEMORY_REGION, &region);
}

FIXTURE_SETUP(kvm)
{
	struct kvm_sregs sregs;
	int kvm, size;

	ASSERT_EQ(0, shell("[ -e /dev/kvm ] || modprobe kvm_amd || modprobe kvm_intel"));
	/* It may come from a test that unbound it. */
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_shared(self->fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, self->map);
	memcpy(self->map + CODE, code, sizeof(code));

	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, kvm);
	self->vm = ioctl(kvm, KVM_CREATE_VM, 0);
	ASSERT_LE(0, self->vm);
	ASSERT_EQ(0, set_memory(self));
	/* With it and interrupts enabled KVM may let the guest wait for a page. */
	ASSERT_EQ(0, ioctl(self->vm, KVM_CREATE_IRQCHIP, 0));
	self->cpu = ioctl(self->vm, KVM_CREATE_VCPU, 0);
	ASSERT_LE(0, self->cpu);
	size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	self->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, self->cpu, 0);
	ASSERT_NE(MAP_FAILED, self->run);
	ASSERT_EQ(0, ioctl(self->cpu, KVM_GET_SREGS, &sregs));
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	ASSERT_EQ(0, ioctl(self->cpu, KVM_SET_SREGS, &sregs));
	close(kvm);
}

FIXTURE_TEARDOWN(kvm)
{
	munmap(self->map, LENGTH);
	close(self->cpu);
	close(self->vm);
	close(self->fd);
}

static siginfo_t told;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
	told = *info;
}

/* run() - the guest's program, from its start; 0 if it came to its end, or the error */
static int run(FIXTURE_DATA(kvm) *self)
{
	struct sigaction action = { .sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO }, old;
	struct kvm_regs regs = { .rip = CODE, .rflags = 0x202 };
	int result;

	memset(&told, 0, sizeof(told));
	sigaction(SIGBUS, &action, &old);
	result = ioctl(self->cpu, KVM_SET_REGS, &regs) ?: ioctl(self->cpu, KVM_RUN, 0);
	if (result)
		result = errno;
	else if (self->run->exit_reason != KVM_EXIT_IO)
		result = -1;
	sigaction(SIGBUS, &old, NULL);
	return result;
}

TEST_F(kvm, media)
{
	char byte = 41;

	ASSERT_EQ(1, pwrite(self->fd, &byte, 1, INPUT));
	ASSERT_EQ(0, run(self));
	ASSERT_EQ(1, pread(self->fd, &byte, 1, OUTPUT));
	EXPECT_EQ(42, byte);
	/* Without a fault of its own: what is mapped there is the same memory. */
	store_byte(self->map + INPUT, 7);
	ASSERT_EQ(0, run(self));
	EXPECT_EQ(8, load_byte(self->map + OUTPUT));
}

static void break_and_heal(struct __test_metadata *_metadata, FIXTURE_DATA(kvm) *self, off_t bad)
{
	char page[SZ_4K] = { 99 };

	store_byte(self->map + INPUT, 1);
	ASSERT_EQ(0, run(self));
	ASSERT_EQ(0, go_bad(self->map + bad));
	EXPECT_EQ(EINTR, run(self));
	EXPECT_EQ(SIGBUS, told.si_signo);
	EXPECT_EQ(BUS_MCEERR_AR, told.si_code);
	EXPECT_EQ((void *)(self->map + bad), told.si_addr);
	EXPECT_EQ(12, told.si_addr_lsb);
	/* Again, until it is good. */
	EXPECT_EQ(EINTR, run(self));
	ASSERT_EQ(SZ_4K, pwrite(self->fd, page, SZ_4K, bad));
	EXPECT_EQ(0, run(self));
	EXPECT_EQ(0, told.si_signo);
	EXPECT_EQ((bad == INPUT ? 99 : 1) + 1, load_byte(self->map + OUTPUT));
}

TEST_F(kvm, bad_memory_loaded)
{
	break_and_heal(_metadata, self, INPUT);
}

TEST_F(kvm, bad_memory_stored)
{
	break_and_heal(_metadata, self, OUTPUT);
}

TEST_F(kvm, unbind)
{
	char *map;
	int fd;

	store_byte(self->map + INPUT, 1);
	ASSERT_EQ(0, run(self));
	ASSERT_EQ(0, shell("echo " NAMESPACE " >$DRIVERS/pmem_dax/unbind"));
	/* Not the error of other faults, for which KVM lets the guest wait for ever. */
	EXPECT_EQ(EINTR, run(self));
	EXPECT_EQ(SIGBUS, told.si_signo);
	EXPECT_EQ(BUS_MCEERR_AR, told.si_code);
	/* The program's own access has the signal that others get. */
	EXPECT_EQ(BUS_ADRERR, bus_code(self->map + INPUT, false));
	/* What the guest had stored is there. */
	ASSERT_EQ(0, shell("hand_over " NAMESPACE " pmem_dax"));
	EXPECT_EQ(EINTR, run(self));
	EXPECT_EQ(BUS_MCEERR_AR, told.si_code);
	fd = open_node();
	ASSERT_LE(0, fd);
	map = map_shared(fd, LENGTH, 0);
	ASSERT_NE(MAP_FAILED, map);
	EXPECT_EQ(2, load_byte(map + OUTPUT));
	munmap(map, LENGTH);
	close(fd);
}

PMEM_DAX_MAIN(NAMESPACE)
