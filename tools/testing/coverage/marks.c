// SPDX-License-Identifier: GPL-2.0
/*
 * What a module that is built for coverage has beside: its code calls this wherever it goes (LLVM's
 * SanitizerCoverage), and read_marks finds in the marks where that was.
 */
#include <linux/instruction_pointer.h>
#include <linux/module.h>

#define REACH	0x40000

struct pmem_dax_marks {
	unsigned long start;
	unsigned char reached[REACH];
};

struct pmem_dax_marks pmem_dax_marks[2];

void __sanitizer_cov_trace_pc(void);
notrace void __sanitizer_cov_trace_pc(void)
{
	static const enum mod_mem_type kinds[] = { MOD_TEXT, MOD_INIT_TEXT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		unsigned long start = (unsigned long)THIS_MODULE->mem[kinds[i]].base;

		if (_RET_IP_ - start < REACH) {
			pmem_dax_marks[i].start = start;
			pmem_dax_marks[i].reached[_RET_IP_ - start] = 1;
		}
	}
}
