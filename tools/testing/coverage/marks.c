// SPDX-License-Identifier: GPL-2.0
/*
 * What a module that is built for coverage has beside: its code calls this wherever it goes (LLVM's
 * SanitizerCoverage), and read_marks finds in the marks where that was.
 */
#include <linux/debugfs.h>
#include <linux/instruction_pointer.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define REACH	0x40000
#define MARKS	"pmem_dax_marks"

static struct pmem_dax_marks {
	unsigned long start;
	unsigned char reached[REACH];
} *pmem_dax_marks;

/* In a file that stays when the module goes: one that fails to load goes at once. */
static notrace struct pmem_dax_marks *find_marks(void)
{
	static const size_t size = 2 * sizeof(*pmem_dax_marks);
	struct dentry *file = debugfs_lookup(MARKS, NULL);
	struct debugfs_blob_wrapper *blob;

	if (file) {
		blob = d_inode(file)->i_private;
		dput(file);
		return blob->data;
	}
	blob = kzalloc(sizeof(*blob), GFP_KERNEL | __GFP_NOFAIL);
	blob->data = vzalloc(size);
	blob->size = blob->data ? size : 0;
	debugfs_create_blob(MARKS, 0400, NULL, blob);
	return blob->data;
}

void __sanitizer_cov_trace_pc(void);
notrace void __sanitizer_cov_trace_pc(void)
{
	static const enum mod_mem_type kinds[] = { MOD_TEXT, MOD_INIT_TEXT };
	unsigned int i;

	/* The first to come is the module's init function, or what reads its parameters. */
	if (!pmem_dax_marks)
		pmem_dax_marks = find_marks();
	for (i = 0; pmem_dax_marks && i < ARRAY_SIZE(kinds); i++) {
		const struct module_memory *memory = &THIS_MODULE->mem[kinds[i]];
		unsigned long offset = _RET_IP_ - (unsigned long)memory->base;

		if (offset < min(memory->size, REACH)) {
			pmem_dax_marks[i].start = (unsigned long)memory->base;
			pmem_dax_marks[i].reached[offset] = 1;
		}
	}
}
