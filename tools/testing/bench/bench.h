/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of bench share: the clock, the device, and how a figure is told. */
#ifndef PMEM_DAX_BENCH_H
#define PMEM_DAX_BENCH_H

#include <stddef.h>
#include <stdint.h>

#define SZ_4K	4096UL
#define SZ_64K	(64UL << 10)
#define SZ_1M	(1024UL << 10)
#define SZ_64M	(64UL << 20)
#define SZ_128M	(128UL << 20)
#define SZ_256M	(256UL << 20)
#define SZ_1G	(1024UL << 20)
#define SZ_4G	(4096UL << 20)

/*
 * Of several rounds the cheapest counts: the others met a timer tick more, or an
 * empty list of free pages. Those that take no time are done more often.
 */
#define ROUNDS	2
#define MORE_ROUNDS	16
#define SHORT	1000000
#define CALLS	2048

extern const char *device;

uint64_t now(void);
uint64_t since(uint64_t start);
uint64_t min(uint64_t a, uint64_t b);
int rounds(uint64_t cost);
void report(const char *name, uint64_t total, unsigned long units);
int open_node(const char *node, int flags);
int open_device(int flags);
void *buffer(size_t size);
unsigned int *shuffled(unsigned int count);

/* bench_map.c */
void bench_calls(void);
void bench_foreign(void);
void bench_2m(void);
void bench_4k(void);
void bench_1g(void);
void bench_sparse(void);
void bench_populate(void);
void bench_populate_4k(void);
void bench_page_cache(void);
void bench_pin(void);
void bench_direct(void);

/* bench_io.c */
void bench_io(int cached);
void bench_random_io(void);
void bench_sync(void);
void bench_stored(void);
void bench_stored_all(void);
void bench_durable(void);
void bench_file(void);

#endif
