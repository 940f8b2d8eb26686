// SPDX-License-Identifier: GPL-2.0
/*
 * While this module is loaded, fail_function may make the functions of functions.h fail. The
 * kernel has few such functions by itself; but it takes lists from modules too.
 */
#include <linux/backing-file.h>
#include <linux/badblocks.h>
#include <linux/blkdev.h>
#include <linux/dax.h>
#include <linux/error-injection.h>
#include <linux/file.h>
#include <linux/ftrace.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/set_memory.h>
#include <linux/uio.h>

#include "nd.h"

/* As ALLOW_ERROR_INJECTION() has them. */
#define FUNCTION(name, type)	{ (unsigned long)name, EI_ETYPE_##type }
static struct error_injection_entry functions[]
__used __section("_error_injection_whitelist") = {
#include "functions.h"
	/* One byte is left. */
	FUNCTION(copy_mc_to_kernel, TRUE),
	/* It is called for bad memory only. */
	FUNCTION(clear_mce_nospec, ERRNO),
};

MODULE_DESCRIPTION("Lets fail_function have functions that pmem_dax calls");
MODULE_LICENSE("GPL");
