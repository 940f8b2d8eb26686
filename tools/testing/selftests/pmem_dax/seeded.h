/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What is chosen at random, by a seed that can be given again: PMEM_DAX_SEED.
 */
#ifndef SEEDED_H
#define SEEDED_H

#include "pmem_dax.h"

static uint64_t random_state;

/* below() - a number that is less than @limit */
static inline uint64_t below(uint64_t limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % limit;
}

/* start_seeded() - returns the seed, which is to be told */
static inline uint64_t start_seeded(void)
{
	const char *given = getenv("PMEM_DAX_SEED");

	random_state = given ? strtoull(given, NULL, 0) : new_seed() | 1;
	return random_state;
}

#endif /* SEEDED_H */
