// SPDX-License-Identifier: GPL-2.0
/*
 * What is on the media may be anything: an info block, labels or a partition table that
 * somebody made to do harm, or half of one. The driver takes the namespace, or refuses it and
 * says why. What it took can be used from the first byte to the last, and is nothing but the
 * namespace. (The frame of all tests sees that the kernel has nothing to complain of.)
 *
 * Valid ones are changed in a few places, and the checksum is made good again, mostly. Which,
 * is chosen by a seed that is told; PMEM_DAX_SEED replays it.
 */
#include <glob.h>
#include <stddef.h>

#include "seeded.h"

#define NAMESPACE	"namespace2.0"
#define DEVICE		"/sys/bus/nd/devices/" NAMESPACE
#define REGIONS		"/sys/bus/nd/drivers/nd_region/"

#ifdef PMEM_DAX_TIMEOUT
#define INFO_BLOCKS	40
#define TABLES		100
#define LABELS		6
#else
#define INFO_BLOCKS	100
#define TABLES		400
#define LABELS		15
#endif

/* A number that somebody who means no good would write. */
static uint64_t some_number(uint64_t now)
{
	static const uint64_t sizes[] = {
		0, 512, SZ_4K, 2 * SZ_4K, SZ_1M, SZ_2M, 64 * SZ_1M, 128 * SZ_1M, 1UL << 30,
	};

	switch (below(6)) {
	case 0:
		return sizes[below(ARRAY_SIZE(sizes))];
	case 1:
		return sizes[below(ARRAY_SIZE(sizes))] - 1;
	case 2:
		return 1UL << below(64);
	case 3:
		return -(1UL << below(64));
	case 4:
		return now + (below(9) - 4) * (1UL << below(24));
	default:
		return below(UINT64_MAX) >> below(64);
	}
}

/* A number of @bytes bytes somewhere in a structure. */
struct field {
	size_t offset, bytes;
};

static void change(void *block, const struct field *field)
{
	uint64_t value = 0;

	memcpy(&value, (char *)block + field->offset, field->bytes);
	value = some_number(value);
	memcpy((char *)block + field->offset, &value, field->bytes);
}

/* change_some() - fields, and now and then any byte */
static void change_some(void *block, size_t size, const struct field *fields, int count)
{
	int changes = 1 + below(3);

	while (changes--) {
		if (below(8))
			change(block, &fields[below(count)]);
		else
			((char *)block)[below(size)] ^= 1 << below(8);
	}
}

/* As drivers/nvdimm/core.c: nd_fletcher64. */
static uint64_t fletcher64(const void *block, size_t size)
{
	uint32_t low = 0, word;
	uint64_t high = 0;
	size_t i;

	for (i = 0; i < size; i += 4) {
		memcpy(&word, (const char *)block + i, 4);
		low += word;
		high += low;
	}
	return high << 32 | low;
}

/* As drivers/nvdimm/pfn.h: struct nd_pfn_sb. */
struct info_block {
	char signature[16];
	uint8_t uuid[16], parent_uuid[16];
	uint32_t flags;
	uint16_t version_major, version_minor;
	uint64_t dataoff, npfns;
	uint32_t mode, start_pad, end_trunc, align, page_size;
	uint16_t page_struct_size;
	uint8_t padding[3994];
	uint64_t checksum;
} __attribute__((packed));

#define FIELD(type, member) { offsetof(type, member), sizeof(((type *)0)->member) }

static const struct field info_fields[] = {
	FIELD(struct info_block, flags), FIELD(struct info_block, version_major),
	FIELD(struct info_block, version_minor), FIELD(struct info_block, dataoff),
	FIELD(struct info_block, dataoff), FIELD(struct info_block, npfns),
	FIELD(struct info_block, mode), FIELD(struct info_block, start_pad),
	FIELD(struct info_block, end_trunc), FIELD(struct info_block, align),
	FIELD(struct info_block, page_size), FIELD(struct info_block, page_struct_size),
};

/* make_info_block() - the @nth one; the first one's data end below address 0, so far above */
static void make_info_block(struct info_block *block, int nth)
{
	static const char *const signatures[] = {
		"NVDIMM_PFN_INFO", "NVDIMM_PFN_INFO", "NVDIMM_PFN_INFO", "NVDIMM_PFN_INFO",
		"NVDIMM_DAX_INFO", "BTT_ARENA_INFO\0",
	};

	memset(block, 0, sizeof(*block));
	memcpy(block->signature, signatures[nth ? below(ARRAY_SIZE(signatures)) : 0], 16);
	block->uuid[below(16)] = 1;
	block->version_major = 1;
	block->version_minor = 4;
	/* In RAM, or on the media: struct pages. */
	block->mode = 1 + below(2);
	block->dataoff = SZ_2M * (1 + below(2));
	block->npfns = (64 * SZ_1M - block->dataoff) / SZ_4K;
	block->align = SZ_2M;
	block->page_size = SZ_4K;
	block->page_struct_size = 64;
	if (!nth)
		block->end_trunc = 0xf0000000;
	else if (below(8))
		change_some(block, sizeof(*block), info_fields, ARRAY_SIZE(info_fields));
	/* A shift by -1 in drivers/nvdimm/pfn_devs.c: nd_pfn_validate, before we are asked. */
	if (!block->dataoff && (!block->align || block->version_minor < 2)) {
		block->align = 4;
		block->version_minor = 4;
	}
	block->checksum = 0;
	block->checksum = fletcher64(block, sizeof(*block));
	if (nth && below(16) == 0)
		block->checksum ^= 1UL << below(64);
}

/* settle() - what the bus has still to do */
static void settle(void)
{
	char line[16];
	glob_t buses;
	size_t i;

	if (glob("/sys/class/nd/ndctl*/device/wait_probe", 0, NULL, &buses))
		return;
	for (i = 0; i < buses.gl_pathc; i++)
		read_line(buses.gl_pathv[i], line, sizeof(line));
	globfree(&buses);
}

/* use() - a node from end to end; false if it is not all of @size bytes from @start on */
static bool use(int fd, uint64_t start, uint64_t size)
{
	char buffer[SZ_4K], *map;
	off_t end = size_of(fd);
	uint64_t first, last;

	/* GPT may have one that ends before it starts: block/partitions/efi.c: is_pte_valid. */
	if (end < 0)
		return pread(fd, buffer, 512, 0) <= 0 && pwrite(fd, buffer, 512, 0) < 0 &&
		       map_errno(fd, PROT_READ, MAP_SHARED, 0);
	/* It may be bad. */
	if (pread(fd, buffer, 512, 0) != 512 && errno != EIO) {
		perror("the first sector");
		return false;
	}
	if (pread(fd, buffer, 512, end - 512) != 512 || pwrite(fd, buffer, 512, end - 512) != 512) {
		perror("the last sector");
		return false;
	}
	map = map_shared(fd, end, 0);
	/* Not a partition whose ends are not those of pages. */
	if (map == MAP_FAILED)
		return errno == EINVAL;
	bus_code(map, true);
	bus_code(map + (end - 1) / SZ_4K * SZ_4K, true);
	/* If the kernel keeps something there, it will see. */
	fill(map, end < SZ_1M ? end / 8 * 8 : SZ_1M, new_seed(), 0);
	first = physical(map);
	last = physical(map + (end - 1) / SZ_4K * SZ_4K);
	munmap(map, end);
	if (end > size || first < start || last + SZ_4K > start + size) {
		fprintf(stderr, "%ld bytes, %#lx to %#lx\n", end, first, last);
		return false;
	}
	return true;
}

/*
 * use_all() - each disk of the driver's that matches @pattern, and its partitions, from end to end
 *
 * Returns how many there are; -1 if one of them is more than @size bytes from @start on.
 */
static int use_all(const char *pattern, uint64_t start, uint64_t size)
{
	glob_t nodes;
	int fd, used = 0;
	size_t i;

	if (glob(pattern, 0, NULL, &nodes))
		return 0;
	for (i = 0; i < nodes.gl_pathc; i++) {
		fd = open(nodes.gl_pathv[i], O_RDWR);
		if (fd < 0)
			continue;
		used++;
		if (!use(fd, start, size)) {
			fprintf(stderr, "%s\n", nodes.gl_pathv[i]);
			used = -1;
			i = nodes.gl_pathc;
		}
		close(fd);
	}
	globfree(&nodes);
	return used;
}

/* put() - write to a file of the kernel that may refuse it */
static bool put(const char *path, const char *line)
{
	return !write_line(path, line);
}

/* renew() - the namespace, without whatever was made of it, and with no driver */
static bool renew(void)
{
	bool done;

	put(DRIVER "claim", "-" NAMESPACE);
	put(REGIONS "unbind", "region2");
	done = put(REGIONS "bind", "region2");
	settle();
	return done && !access(DEVICE, F_OK);
}

/* write_raw() - to the start of the namespace, whatever is there; leaves it without a driver */
static bool write_raw(const void *data, size_t size, off_t offset)
{
	char path[80];
	int fd;
	bool done;

	if (!renew() || !put(DEVICE "/force_raw", "1") || !put(DRIVER "claim", NAMESPACE) ||
	    !put(DRIVER "bind", NAMESPACE) ||
	    shell_line(path, sizeof(path), "node_of " NAMESPACE))
		return false;
	fd = open(path, O_RDWR);
	done = pwrite(fd, data, size, offset) == size && !fsync(fd);
	close(fd);
	return put(DRIVER "unbind", NAMESPACE) && put(DEVICE "/force_raw", "0") && done;
}

FIXTURE(hostile_media) {
	uint64_t start;
	int taken;
};

FIXTURE_SETUP(hostile_media)
{
	self->start = namespace_start(NAMESPACE);
	ASSERT_NE(0, self->start);
	TH_LOG("seed %" PRIu64, start_seeded());
}

FIXTURE_TEARDOWN(hostile_media)
{
	static const char nothing[2 * SZ_4K];

	EXPECT_TRUE(write_raw(nothing, sizeof(nothing), 0));
	renew();
	put(DRIVER "claim", NAMESPACE);
	put(DRIVER "bind", NAMESPACE);
}

TEST_F_TIMEOUT(hostile_media, info_blocks, 600)
{
	struct info_block block;
	uint64_t head;
	int i, disks;

	for (i = 0; i < INFO_BLOCKS; i++) {
		make_info_block(&block, i);
		ASSERT_TRUE(write_raw(&block, sizeof(block), SZ_4K));
		/* The result is that of the namespace; what is made of it comes after. */
		put(DRIVER "bind", NAMESPACE);
		settle();
		/* What is before the data is not the disk's. */
		head = access("/sys/bus/nd/devices/pfn2.1/block", F_OK) ? 0 : block.dataoff;
		disks = use_all("/dev/pmem2*", self->start + head, 64 * SZ_1M - head);
		ASSERT_LE(0, disks) TH_LOG("the %dth", i);
		self->taken += disks;
	}
	/* Some of them are good. */
	TH_LOG("%d of %d were taken", self->taken, i);
	EXPECT_LT(0, self->taken);
	EXPECT_GT(i, self->taken);
}

/* An entry of an MBR, in which addresses need not be aligned. */
struct mbr_entry {
	uint8_t boot, first[3], type, last[3];
	uint32_t start, sectors;
} __attribute__((packed));

struct gpt_header {
	char signature[8];
	uint32_t revision, size, crc, reserved;
	uint64_t here, backup, first, last;
	uint8_t guid[16];
	uint64_t entries;
	uint32_t count, entry_size, entries_crc;
} __attribute__((packed));

struct gpt_entry {
	uint8_t type[16], guid[16];
	uint64_t first, last, attributes;
	uint16_t name[36];
} __attribute__((packed));

struct tables {
	uint8_t boot[446];
	struct mbr_entry mbr[4];
	uint8_t magic[2];
	union {
		struct gpt_header gpt;
		uint8_t sector[512];
	};
	struct gpt_entry entries[128];
	/* Where logical partitions are told of. */
	uint8_t rest[8 * 512];
} __attribute__((packed));

static const struct field mbr_fields[] = {
	FIELD(struct mbr_entry, boot), FIELD(struct mbr_entry, type),
	FIELD(struct mbr_entry, start), FIELD(struct mbr_entry, sectors),
	FIELD(struct mbr_entry, start), FIELD(struct mbr_entry, sectors),
};

static const struct field gpt_fields[] = {
	FIELD(struct gpt_header, size), FIELD(struct gpt_header, here),
	FIELD(struct gpt_header, first), FIELD(struct gpt_header, last),
	FIELD(struct gpt_header, entries), FIELD(struct gpt_header, count),
	FIELD(struct gpt_header, entry_size),
};

static const struct field gpt_entry_fields[] = {
	FIELD(struct gpt_entry, first), FIELD(struct gpt_entry, last),
	FIELD(struct gpt_entry, attributes),
};

/* The CRC of EFI. */
static uint32_t crc32(const void *data, size_t size)
{
	const uint8_t *byte = data;
	uint32_t crc = ~0U;
	int bit;

	while (size--) {
		crc ^= *byte++;
		for (bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void make_tables(struct tables *tables, uint64_t sectors)
{
	static const uint8_t types[] = { 0x83, 0x83, 0x05, 0x0f, 0x82, 0xee };
	bool gpt = below(2);
	int i, count = 1 + below(4);

	memset(tables, 0, sizeof(*tables));
	tables->magic[0] = 0x55;
	tables->magic[1] = 0xaa;
	for (i = 0; i < count; i++) {
		tables->mbr[i].type = types[below(5)];
		tables->mbr[i].start = 8 + below(16) * 2048;
		tables->mbr[i].sectors = 1 + below(16384);
		if (below(2))
			change_some(&tables->mbr[i], sizeof(tables->mbr[i]), mbr_fields,
				    ARRAY_SIZE(mbr_fields));
	}
	/* An extended partition within what was written, that may lead to itself. */
	tables->rest[510] = 0x55;
	tables->rest[511] = 0xaa;
	memcpy(tables->rest + 446, tables->mbr, sizeof(tables->mbr));
	if (below(2))
		tables->mbr[below(4)].start = offsetof(struct tables, rest) / 512;
	if (!gpt)
		return;
	tables->mbr[0] = (struct mbr_entry){ .type = 0xee, .start = 1, .sectors = sectors - 1 };
	memcpy(tables->gpt.signature, "EFI PART", 8);
	tables->gpt.revision = 0x10000;
	tables->gpt.size = sizeof(tables->gpt);
	tables->gpt.here = 1;
	tables->gpt.backup = sectors - 1;
	tables->gpt.first = 34;
	tables->gpt.last = sectors - 34;
	tables->gpt.entries = 2;
	tables->gpt.count = 128;
	tables->gpt.entry_size = sizeof(tables->entries[0]);
	for (i = 0; i < 1 + below(8); i++) {
		memset(tables->entries[i].type, 0xaf, 16);
		tables->entries[i].guid[0] = i + 1;
		tables->entries[i].first = 64 + below(32) * 2048;
		tables->entries[i].last = tables->entries[i].first + below(65536);
		if (below(2))
			change(&tables->entries[i],
			       &gpt_entry_fields[below(ARRAY_SIZE(gpt_entry_fields))]);
	}
	if (below(2))
		change_some(&tables->gpt, sizeof(tables->gpt), gpt_fields, ARRAY_SIZE(gpt_fields));
	tables->gpt.entries_crc = crc32(tables->entries, sizeof(tables->entries));
	tables->gpt.crc = 0;
	tables->gpt.crc = crc32(&tables->gpt, sizeof(tables->gpt));
}

TEST_F_TIMEOUT(hostile_media, partition_tables, 600)
{
	struct tables *tables = malloc(sizeof(*tables));
	int i, fd, nodes;
	char path[80];

	ASSERT_NE(NULL, tables);
	ASSERT_EQ(0, shell_line(path, sizeof(path), "node_of " NAMESPACE));
	for (i = 0; i < TABLES; i++) {
		fd = open(path, O_RDWR);
		ASSERT_LE(0, fd);
		make_tables(tables, size_of(fd) / 512);
		ASSERT_EQ(sizeof(*tables), pwrite(fd, tables, sizeof(*tables), 0));
		/* As it would be read when the disk is added; it may be refused as a whole. */
		if (ioctl(fd, BLKRRPART))
			errno = 0;
		close(fd);
		nodes = use_all("/dev/pmem2*", self->start, 64 * SZ_1M);
		ASSERT_LT(0, nodes) TH_LOG("the %dth", i);
		self->taken += nodes - 1;
	}
	TH_LOG("%d partitions in %d tables", self->taken, i);
	EXPECT_LT(i / 4, self->taken);
	free(tables);
}

/* As drivers/nvdimm/label.h, of labels of version 1.2. */
struct label_index {
	char signature[16];
	uint8_t flags[3], label_size;
	uint32_t seq;
	uint64_t myoff, mysize, otheroff, labeloff;
	uint32_t slots;
	uint16_t major, minor;
	uint64_t checksum;
	uint8_t free[184];
} __attribute__((packed));

struct label {
	uint8_t uuid[16], name[64];
	uint32_t flags;
	uint16_t count, position;
	uint64_t cookie, lbasize, dpa, rawsize;
	uint32_t slot;
	uint8_t align, reserved[3], type[16], abstraction[16], reserved2[88];
	uint64_t checksum;
} __attribute__((packed));

static const struct field index_fields[] = {
	FIELD(struct label_index, label_size), FIELD(struct label_index, seq),
	FIELD(struct label_index, myoff), FIELD(struct label_index, mysize),
	FIELD(struct label_index, otheroff), FIELD(struct label_index, labeloff),
	FIELD(struct label_index, slots), FIELD(struct label_index, major),
	FIELD(struct label_index, minor),
};

static const struct field label_fields[] = {
	FIELD(struct label, flags), FIELD(struct label, count), FIELD(struct label, position),
	FIELD(struct label, cookie), FIELD(struct label, dpa),
	FIELD(struct label, rawsize), FIELD(struct label, slot), FIELD(struct label, align),
	FIELD(struct label, dpa), FIELD(struct label, rawsize),
};

/* spoil_labels() - one out of @odds of them; none with 0, but @lbasize in all */
static void spoil_labels(char *area, size_t size, int odds, uint64_t lbasize)
{
	struct label_index *index;
	struct label *label;
	size_t at;

	for (at = 0; at + 256 <= size; at += 256) {
		index = (struct label_index *)(area + at);
		label = (struct label *)(area + at);
		if (!memcmp(index->signature, "NAMESPACE_INDEX", 16)) {
			if (odds && below(2 * odds) == 0)
				change_some(index, 72, index_fields, ARRAY_SIZE(index_fields));
			index->checksum = 0;
			index->checksum = fletcher64(index, sizeof(*index));
		} else if (label->rawsize && label->checksum != UINT64_MAX) {
			if (odds && below(odds) == 0)
				change_some(label, sizeof(*label), label_fields,
					    ARRAY_SIZE(label_fields));
			label->lbasize = lbasize;
			if (odds && below(2 * odds) == 0)
				label->lbasize = some_number(SZ_4K);
			label->checksum = 0;
			label->checksum = fletcher64(label, sizeof(*label));
		}
	}
}

#define LABEL_FILE	"/tmp/hostile_labels"
#define DIMM		"echo nmem1 >/sys/bus/nd/drivers/nvdimm/"
#define REGION		"echo region1 >" REGIONS

TEST_F_TIMEOUT(hostile_media, labels, 600)
{
	static char valid[128 << 10], area[sizeof(valid)];
	int i, fd, nodes;
	uint64_t start = namespace_start("namespace1.0");

	ASSERT_NE(0, start);
	/* Two namespaces; whoever has them would keep the labels from being written. */
	ASSERT_EQ(0, shell("unload_all; " REGION "unbind; ndctl init-labels -f -V 1.2 nmem1"));
	ASSERT_EQ(0, shell(REGION "bind"));
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, shell("ndctl create-namespace -r region1 -s 32M -m raw"));
	ASSERT_EQ(0, shell("unload_all; " REGION "unbind"));
	ASSERT_EQ(0, shell("ndctl read-labels nmem1 -o " LABEL_FILE));
	ASSERT_EQ(0, shell("load claim=all"));
	fd = open(LABEL_FILE, O_RDONLY);
	ASSERT_EQ(sizeof(valid), read(fd, valid, sizeof(valid)));
	close(fd);
	for (i = 0; i < LABELS; i++) {
		memcpy(area, valid, sizeof(area));
		if (i)
			spoil_labels(area, sizeof(area), i > 2 ? 2 : 0, i == 2 ? 520 : SZ_4K);
		fd = open(LABEL_FILE, O_WRONLY | O_CREAT | O_TRUNC, 0600);
		ASSERT_EQ(sizeof(area), write(fd, area, sizeof(area)));
		close(fd);
		ASSERT_EQ(0, shell("ndctl write-labels -i " LABEL_FILE " nmem1"));
		/* Which may fail, if they are bad enough. */
		if (shell(DIMM "unbind; " DIMM "bind; " REGION "bind"))
			errno = 0;
		settle();
		nodes = use_all("/dev/pmem1*", start, 512 * SZ_1M);
		ASSERT_LE(0, nodes) TH_LOG("the %dth", i);
		/*
		 * Those that are good are found, with checksums of the kernel's and ours; but none
		 * whose sectors are of 520 bytes, of which pmem_sector_size() would warn.
		 */
		if (i < 3)
			EXPECT_EQ(i < 2 ? 2 : 0, nodes);
		self->taken += nodes;
		put(REGIONS "unbind", "region1");
	}
	TH_LOG("%d namespaces of %d label areas", self->taken, i);
	unlink(LABEL_FILE);
	EXPECT_EQ(0, shell("unload_all; ndctl zero-labels nmem1"));
	/* Which has no driver if the last were so bad. */
	if (shell(DIMM "unbind"))
		errno = 0;
	EXPECT_EQ(0, shell(DIMM "bind; " REGION "bind; load claim=" NAMESPACE));
}

PMEM_DAX_MAIN(NAMESPACE " namespace1.0")
