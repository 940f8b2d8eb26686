/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions of the kernel that write CPU caches back and flush regions, watched at work.
 */
#ifndef FLUSH_WATCH_H
#define FLUSH_WATCH_H

#include "pmem_dax.h"

#define TRACING	"/sys/kernel/tracing/"
#define WATCH	TRACING "instances/pmem_dax_flushes/"
#define GROUP	"pmem_dax_flushes"

/* Addresses are in the kernel's map of all memory, which starts at a random one. */
#define PLACE(size)	" at=$arg1:x64 size=" size ":x64 base=@page_offset_base:x64"
#define REGION		" region=$arg1:x64"

static const struct {
	char type;
	const char *name, *what;
} probes[] = {
	{ 'p', "back", "arch_wb_cache_pmem" PLACE("$arg2") },
	{ 'p', "user", "copy_user_flushcache" PLACE("$arg3") },
	{ 'p', "bio", "__memcpy_flushcache" PLACE("$arg3") },
	{ 'p', "flush", "nvdimm_flush bio=$arg2:x64" REGION },
	{ 'r', "flushed", "nvdimm_flush result=$retval:s32" },
	{ 'p', "host", "virtio_pmem_flush" REGION },
	{ 'r', "hosted", "virtio_pmem_flush result=$retval:s32" },
};

/* watch_enable() - from now on, or no more; -1 and errno */
static inline int watch_enable(bool on)
{
	return write_line(WATCH "events/" GROUP "/enable", on ? "1" : "0");
}

/* watch_setup() - for watch_enable(); -1 and errno */
static inline int watch_setup(void)
{
	char line[256];
	int i;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(line, sizeof(line), "%c:" GROUP "/%s %s\n", probes[i].type,
			 probes[i].name, probes[i].what);
		if (write_line(TRACING "kprobe_events", line))
			return -1;
	}
	return mkdir(WATCH, 0700) ?: write_line(WATCH "trace_clock", "counter");
}

static inline void watch_teardown(void)
{
	char line[64];
	int i;

	watch_enable(false);
	rmdir(WATCH);
	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		snprintf(line, sizeof(line), "-:" GROUP "/%s\n", probes[i].name);
		write_line(TRACING "kprobe_events", line);
	}
}

/* The device that is watched. */
static struct {
	uint64_t start, size, region;
	bool host;
} watched;

/* watch() - forget what was seen */
static inline void watch(void)
{
	close(open(WATCH "trace", O_WRONLY | O_TRUNC | O_CLOEXEC));
}

static inline uint64_t field(const char *line, const char *name)
{
	const char *at = strstr(line, name);

	return at ? strtoull(at + strlen(name), NULL, 0) : 0;
}

/* place_of() - where on the device that was, which a line of the trace tells of */
static inline uint64_t place_of(const char *line)
{
	return field(line, " at=") - field(line, " base=") - watched.start;
}

#endif /* FLUSH_WATCH_H */
