// SPDX-License-Identifier: GPL-2.0
/*
 * The memory can be mapped for a device that user space drives: its DMA gets to the
 * media. The device is QEMU's "edu", behind an IOMMU.
 */
#include <dirent.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#include "pmem_dax.h"

#define LENGTH	(64 * SZ_1M)
#define PIECE	SZ_4K
#define IOVA	(16 * SZ_1M)
#define DEVICES	"/sys/bus/pci/devices"
#define MIDDLE	(33 * SZ_1M - SZ_4K / 2)

/* Of docs/specs/edu.rst in QEMU's source; the device addresses 28 bits. */
#define EDU_VENDOR	"0x1234"
#define EDU_DEVICE	"0x11e8"
#define EDU_IDENT	0x00
#define EDU_DMA_FROM	0x80
#define EDU_DMA_TO	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_COMMAND	0x98
#define EDU_DMA_RUN	1
#define EDU_DMA_TO_PCI	2
#define EDU_BUFFER	0x40000

FIXTURE(pins_vfio) {
	char name[17];
	volatile char *registers;
	char *map, *buffer;
	int fd, container;
};

FIXTURE_VARIANT(pins_vfio) {
	struct layout layout;
};

FIXTURE_VARIANT_ADD(pins_vfio, huge) {
	.layout = LAYOUT_HUGE,
};

FIXTURE_VARIANT_ADD(pins_vfio, small) {
	.layout = LAYOUT_SMALL,
};

FIXTURE_VARIANT_ADD(pins_vfio, mixed) {
	.layout = LAYOUT_MIXED,
};

/* write_attr(), attr_is() - an attribute of the PCI device @name */
static int write_attr(const char *name, const char *attr, const char *line)
{
	char path[128];

	snprintf(path, sizeof(path), DEVICES "/%s/%s", name, attr);
	return write_line(path, line);
}

static bool attr_is(const char *name, const char *attr, const char *line)
{
	char path[128], value[16] = "";
	int fd;

	snprintf(path, sizeof(path), DEVICES "/%s/%s", name, attr);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (read(fd, value, sizeof(value) - 1) < 0)
		value[0] = '\0';
	close(fd);
	return !strncmp(value, line, strlen(line));
}

/* find_edu() - the address of the device; false if there is none */
static bool find_edu(char *name, size_t size)
{
	DIR *devices = opendir(DEVICES);
	struct dirent *entry;
	bool found = false;

	while (devices && !found) {
		entry = readdir(devices);
		if (!entry)
			break;
		found = attr_is(entry->d_name, "vendor", EDU_VENDOR) &&
			attr_is(entry->d_name, "device", EDU_DEVICE);
		if (found)
			snprintf(name, size, "%.16s", entry->d_name);
	}
	if (devices)
		closedir(devices);
	return found;
}

/* open_group() - the device's IOMMU group; -1 if it has none */
static int open_group(const char *name)
{
	char path[128], link[128] = "";

	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", name);
	if (readlink(path, link, sizeof(link) - 1) < 0)
		return -1;
	snprintf(path, sizeof(path), "/dev/vfio/%s", basename(link));
	return open(path, O_RDWR | O_CLOEXEC);
}

/* enable() - let the device do DMA, and map its registers; MAP_FAILED if that fails */
static volatile char *enable(int device)
{
	struct vfio_region_info config = {
		.argsz = sizeof(config),
		.index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct vfio_region_info registers = {
		.argsz = sizeof(registers),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &registers) ||
	    pwrite(device, &command, sizeof(command), config.offset + PCI_COMMAND) !=
	    sizeof(command))
		return MAP_FAILED;
	return mmap(NULL, registers.size, PROT_READ | PROT_WRITE, MAP_SHARED, device,
		    registers.offset);
}

/* attach() - map all for the device; the step that failed, NULL if none did */
static const char *attach(FIXTURE_DATA(pins_vfio) *self)
{
	struct vfio_iommu_type1_dma_map dma = {
		.argsz = sizeof(dma),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)self->map,
		.iova = IOVA,
		.size = LENGTH,
	};
	int group, device;

	self->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (self->container < 0)
		return "container";
	group = open_group(self->name);
	if (group < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &self->container))
		return "group";
	if (ioctl(self->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return "IOMMU";
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, self->name);
	if (device < 0)
		return "device";
	self->registers = enable(device);
	if (self->registers == MAP_FAILED ||
	    (*(volatile uint32_t *)(self->registers + EDU_IDENT) & 0xff) != 0xed)
		return "registers";
	return ioctl(self->container, VFIO_IOMMU_MAP_DMA, &dma) ? "DMA" : NULL;
}

/* Nobody has touched the mapping. */
FIXTURE_SETUP(pins_vfio)
{
	char path[128];

	if (!find_edu(self->name, sizeof(self->name)))
		SKIP(return, "no device edu");
	snprintf(path, sizeof(path), DEVICES "/%s/iommu_group", self->name);
	if (access(path, F_OK))
		SKIP(return, "edu is not behind an IOMMU");
	if (access("/sys/bus/pci/drivers/vfio-pci", F_OK) &&
	    shell("modprobe -a vfio-pci vfio_iommu_type1"))
		SKIP(return, "no VFIO");
	self->fd = open_node();
	ASSERT_LE(0, self->fd);
	self->map = map_layout(self->fd, LENGTH, &variant->layout);
	ASSERT_NE(MAP_FAILED, self->map);
	self->buffer = aligned_alloc(SZ_4K, PIECE);
	ASSERT_NE(NULL, self->buffer);
	ASSERT_EQ(0, write_attr(self->name, "driver_override", "vfio-pci"));
	ASSERT_EQ(0, write_line("/sys/bus/pci/drivers_probe", self->name));
}

/* In the parent, which does not have the device open. */
FIXTURE_TEARDOWN_PARENT(pins_vfio)
{
	EXPECT_EQ(0, write_line("/sys/bus/pci/drivers/vfio-pci/unbind", self->name));
	EXPECT_EQ(0, write_attr(self->name, "driver_override", "\n"));
}

/* run_dma() - one transfer between the device's buffer and an offset of the mapping */
static bool run_dma(volatile char *registers, bool store, off_t offset)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	volatile uint64_t *command = (volatile uint64_t *)(registers + EDU_DMA_COMMAND);
	uint64_t address = IOVA + offset;
	int i;

	*(volatile uint64_t *)(registers + EDU_DMA_FROM) = store ? EDU_BUFFER : address;
	*(volatile uint64_t *)(registers + EDU_DMA_TO) = store ? address : EDU_BUFFER;
	*(volatile uint64_t *)(registers + EDU_DMA_COUNT) = PIECE;
	*command = EDU_DMA_RUN | (store ? EDU_DMA_TO_PCI : 0);
	/* It takes a tenth of a second, always. */
	for (i = 0; i < 10000 && *command & EDU_DMA_RUN; i++)
		nanosleep(&pause, NULL);
	return !(*command & EDU_DMA_RUN);
}

/* copies() - whether the device copies from one place of the mapping to another */
static bool copies(FIXTURE_DATA(pins_vfio) *self, off_t start, off_t from, off_t to)
{
	uint64_t seed = new_seed();

	fill(self->buffer, PIECE, seed, 0);
	if (pwrite(self->fd, self->buffer, PIECE, start + from) != PIECE ||
	    !run_dma(self->registers, false, from) || !run_dma(self->registers, true, to))
		return false;
	memset(self->buffer, 0, PIECE);
	return pread(self->fd, self->buffer, PIECE, start + to) == PIECE &&
	       differs(self->buffer, PIECE, seed, 0) == -1;
}

/* From where 4K pages end to where 2M pages meet and back to the end. */
TEST_F(pins_vfio, copied_by_device)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap),
		.iova = IOVA,
		.size = LENGTH,
	};
	off_t start = variant->layout.offset;

	ASSERT_EQ(NULL, attach(self)) {
		TH_LOG("%s", strerror(errno));
	}
	EXPECT_EQ(layout_huge(&variant->layout, LENGTH), huge_bytes(self->map, LENGTH));
	EXPECT_TRUE(copies(self, start, SZ_1M - SZ_4K / 2, 33 * SZ_1M - 8));
	EXPECT_TRUE(copies(self, start, 2 * SZ_2M - 512, LENGTH - PIECE));

	/* Without the mapping. */
	munmap(self->map, LENGTH);
	EXPECT_TRUE(copies(self, start, LENGTH - SZ_1M - 1024, 0));
	EXPECT_EQ(0, ioctl(self->container, VFIO_IOMMU_UNMAP_DMA, &unmap));
	EXPECT_EQ(LENGTH, unmap.size);
}

/* Parent and child and the device still have the same bytes. */
TEST_F(pins_vfio, fork)
{
	char *middle = self->map + MIDDLE;
	int status;
	pid_t pid;

	ASSERT_EQ(NULL, attach(self));
	memset(middle, 'p', PIECE);
	pid = fork();
	ASSERT_LE(0, pid);
	if (pid == 0) {
		status = load_byte(middle) != 'p';
		memset(middle, 'c', PIECE);
		_exit(status);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_TRUE(run_dma(self->registers, false, MIDDLE));
	ASSERT_TRUE(run_dma(self->registers, true, SZ_2M));
	ASSERT_EQ(PIECE, pread(self->fd, self->buffer, PIECE, variant->layout.offset + SZ_2M));
	EXPECT_EQ('c', self->buffer[0]);
	EXPECT_EQ('c', self->buffer[PIECE - 1]);
	EXPECT_EQ(0, memcmp(self->map + SZ_2M, self->buffer, PIECE));
}

PMEM_DAX_MAIN("namespace0.0")
