/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The headers that pmem_bindings is made from. Those of the nd bus and of ftrace are
 * private: they come from the kernel's source, nothing of them is copied.
 */

#include <linux/badblocks.h>
#include <linux/backing-file.h>
#include <linux/buffer_head.h>
#include <linux/dax.h>
#include <linux/iomap.h>
#include <linux/kallsyms.h>
#include <linux/libnvdimm.h>
#include <linux/mman.h>
#include <linux/nd.h>
#include <linux/pm_domain.h>
#include <linux/pseudo_fs.h>
#include "btt.h"
#include "dax-private.h"
#include "nd.h"
#include "pfn.h"
#include "../../kernel/trace/trace.h"

#include "../helpers/compat.h"
#include "../helpers/helpers.h"
#include "../helpers/trace.h"

/* Macros with casts, and members of enums without a name, are not seen otherwise. */
const blk_features_t PMEM_CONST_BLK_FEAT_WRITE_CACHE = BLK_FEAT_WRITE_CACHE;
const blk_features_t PMEM_CONST_BLK_FEAT_FUA = BLK_FEAT_FUA;
const blk_features_t PMEM_CONST_BLK_FEAT_IO_STAT = BLK_FEAT_IO_STAT;
const blk_features_t PMEM_CONST_BLK_FEAT_SYNCHRONOUS = BLK_FEAT_SYNCHRONOUS;
const blk_features_t PMEM_CONST_BLK_FEAT_DAX = BLK_FEAT_DAX;
const blk_features_t PMEM_CONST_BLK_FEAT_NOWAIT = BLK_FEAT_NOWAIT;
const blk_mode_t PMEM_CONST_BLK_OPEN_READ = BLK_OPEN_READ;
const blk_mode_t PMEM_CONST_BLK_OPEN_EXCL = BLK_OPEN_EXCL;
const blk_mode_t PMEM_CONST_BLK_OPEN_NDELAY = BLK_OPEN_NDELAY;
const fop_flags_t PMEM_CONST_FOP_BUFFER_RASYNC = FOP_BUFFER_RASYNC;
const fop_flags_t PMEM_CONST_FOP_MMAP_SYNC = FOP_MMAP_SYNC;
const unsigned long PMEM_CONST_ND_DRIVER_NAMESPACE_IO = ND_DRIVER_NAMESPACE_IO;
const unsigned long PMEM_CONST_ND_DRIVER_NAMESPACE_PMEM = ND_DRIVER_NAMESPACE_PMEM;
const unsigned int PMEM_CONST_IOCB_DONTCACHE = IOCB_DONTCACHE;
const unsigned int PMEM_CONST_IOCB_NOWAIT = IOCB_NOWAIT;
const unsigned int PMEM_CONST_KSYM_SYMBOL_LEN = KSYM_SYMBOL_LEN;
const unsigned int PMEM_CONST_NSLABEL_NAME_LEN = NSLABEL_NAME_LEN;
