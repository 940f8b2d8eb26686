/* SPDX-License-Identifier: GPL-2.0 */
/*
 * FUNCTION(name, type), of a list: the kernel's functions that pmem_dax calls and that may
 * fail, and how they do so; the types are those of ALLOW_ERROR_INJECTION(). TRUE is 1, which is
 * VM_FAULT_OOM. NULL is 0: nothing was copied, nothing is there.
 *
 * Not here: what cannot fail; what fails as another one here does, which it calls; what is called
 * for a namespace with an info block only; bios (fail_make_request); and copy_mc_to_kernel(), as
 * what it cannot read is bad memory from then on, that of a process too which is copied on write
 * (see the selftests "machine_checks" and "machine_check").
 */

/* module */
FUNCTION(__nd_driver_register, ERRNO),
FUNCTION(__register_blkdev, ERRNO),
FUNCTION(ftrace_set_filter, ERRNO),
FUNCTION(ftrace_set_filter_ip, ERRNO),
FUNCTION(kern_mount, ERRNO),
FUNCTION(register_ftrace_function, ERRNO),

/* bind */
FUNCTION(__blk_alloc_disk, ERRNO),
FUNCTION(__devm_request_region, NULL),
FUNCTION(alloc_anon_inode, ERRNO),
FUNCTION(alloc_dax, ERRNO),
FUNCTION(badblocks_init, ERRNO),
FUNCTION(dax_add_host, ERRNO),
FUNCTION(device_add_disk, ERRNO),
FUNCTION(devm_namespace_enable, ERRNO),
FUNCTION(memremap_pages, ERRNO),
FUNCTION(nvdimm_namespace_common_probe, ERRNO),

/* open, mmap */
FUNCTION(alloc_file_pseudo, ERRNO),
FUNCTION(backing_file_open, ERRNO),
FUNCTION(bd_prepare_to_claim, ERRNO),
FUNCTION(file_write_and_wait_range, ERRNO),
FUNCTION(filemap_write_and_wait_range, ERRNO),
FUNCTION(invalidate_inode_pages2, ERRNO),
FUNCTION(mm_get_unmapped_area, ERRNO),

/* page faults */
FUNCTION(filemap_map_pages, NULL),
FUNCTION(vmf_insert_folio_pmd, TRUE),
FUNCTION(vmf_insert_page_mkwrite, TRUE),

/* read, write, fsync */
FUNCTION(_copy_from_iter_flushcache, NULL),
FUNCTION(_copy_mc_to_iter, NULL),
FUNCTION(nvdimm_flush, ERRNO),
