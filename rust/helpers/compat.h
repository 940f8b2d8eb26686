/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What of C differs between the kernel series that this builds for. What differs of Rust is in
 * rust/kernel_ext/compat.rs, which says how to go about it.
 */

#ifndef _PMEM_DAX_COMPAT_H
#define _PMEM_DAX_COMPAT_H

#include <linux/mm.h>
#include <linux/srcu.h>
#include <linux/version.h>

#if KERNEL_VERSION(7, 3, 0) > LINUX_VERSION_CODE

/* 7.2 has it in mm/interval_tree.c only. When 7.2 goes: delete it. */
static inline pgoff_t vma_start_pgoff(const struct vm_area_struct *vma)
{
	return vma->vm_pgoff;
}

/* The kernel crate of 7.2 has no SRCU. When 7.2 goes: delete these, and compat.c. */
int pmem_helper_init_srcu(struct srcu_struct *ssp);
int pmem_helper_srcu_read_lock(struct srcu_struct *ssp);
void pmem_helper_srcu_read_unlock(struct srcu_struct *ssp, int idx);

#endif

#endif
