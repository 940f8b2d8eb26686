/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C that Rust cannot call: inline functions and macros, wrapped one to one. No
 * branch and no logic is to be found here. Sorted by header.
 */

#ifndef _PMEM_DAX_HELPERS_H
#define _PMEM_DAX_HELPERS_H

#include <linux/cc_platform.h>
#include <linux/dax.h>
#include <linux/ftrace.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/nd.h>
#include <linux/pm_domain.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/uio.h>
#include <linux/xarray.h>

/* linux/cc_platform.h */
bool pmem_helper_cc_platform_has(enum cc_attr attr);

/* linux/device.h */
int pmem_helper_dev_to_node(struct device *dev);

/* linux/fs.h */
void pmem_helper_file_accessed(struct file *file);
ssize_t pmem_helper_generic_write_sync(struct kiocb *iocb, ssize_t count);

/* linux/ftrace.h: with a number that the compiler knows it is one load */
unsigned long pmem_helper_ftrace_regs_get_argument_0(struct ftrace_regs *fregs);
unsigned long pmem_helper_ftrace_regs_get_argument_2(struct ftrace_regs *fregs);
unsigned long pmem_helper_ftrace_regs_get_argument_4(struct ftrace_regs *fregs);

/* linux/mm.h */
struct page *pmem_helper_pfn_to_page(unsigned long pfn);
void *pmem_helper_page_address(struct page *page);
struct folio *pmem_helper_pfn_folio(unsigned long pfn);
void pmem_helper_get_page(struct page *page);
int pmem_helper_folio_ref_count(const struct folio *folio);
int pmem_helper_folio_mapcount(const struct folio *folio);
bool pmem_helper_folio_maybe_dma_pinned(struct folio *folio);
bool pmem_helper_folio_test_large(const struct folio *folio);
bool pmem_helper_folio_trylock(struct folio *folio);
void pmem_helper_SetPageHWPoison(struct page *page);
void pmem_helper_ClearPageHWPoison(struct page *page);
bool pmem_helper_pmd_trans_huge(pmd_t pmd);
bool pmem_helper_pmd_none(pmd_t pmd);
spinlock_t *pmem_helper_pmd_lock(struct mm_struct *mm, pmd_t *pmd);
void pmem_helper_pmd_populate(struct mm_struct *mm, pmd_t *pmd, pgtable_t pte);
void pmem_helper_mm_inc_nr_ptes(struct mm_struct *mm);
bool pmem_helper_pud_none(pud_t pud);
bool pmem_helper_pud_trans_huge(pud_t pud);
pte_t *pmem_helper_pte_offset_kernel(pmd_t *pmd, unsigned long address);
spinlock_t *pmem_helper_pte_lockptr(struct mm_struct *mm, pmd_t *pmd);
void pmem_helper_pte_clear(struct mm_struct *mm, unsigned long address, pte_t *pte);
void pmem_helper_vma_start_write(struct vm_area_struct *vma);

/* linux/page-flags.h, mm/internal.h */
void pmem_helper___SetPageHead(struct page *page);
void pmem_helper_prep_compound_head(struct page *page, unsigned int order);
void pmem_helper_prep_compound_tail(struct page *tail, const struct page *head,
				    unsigned int order);

/* linux/nd.h, drivers/nvdimm/nd.h */
int pmem_helper_nd_region_ro(const struct nd_region *region);
unsigned long pmem_helper_nd_region_align(const struct nd_region *region);
resource_size_t pmem_helper_nd_info_block_reserve(void);
int pmem_helper_nvdimm_read_bytes(struct nd_namespace_common *ndns,
				  resource_size_t offset, void *buf, size_t size,
				  unsigned long flags);

/* linux/pm_domain.h: inline in a kernel that never sleeps */
void pmem_helper_dev_pm_domain_set(struct device *dev, struct dev_pm_domain *pd);

/* linux/ratelimit.h */
void pmem_helper_ratelimit_default_init(struct ratelimit_state *rs);

/* linux/rcupdate.h: a macro if no task is ever preempted */
void pmem_helper_synchronize_rcu_tasks(void);

/* linux/rmap.h */
void pmem_helper_folio_lock_large_mapcount(struct folio *folio);
void pmem_helper_folio_unlock_large_mapcount(struct folio *folio);

/* linux/interval_tree_generic.h, for struct address_space: as mm/interval_tree.c */
struct vm_area_struct *pmem_helper_vma_tree_iter_first(struct rb_root_cached *root,
						       pgoff_t start, pgoff_t last);
struct vm_area_struct *pmem_helper_vma_tree_iter_next(struct vm_area_struct *vma,
						      pgoff_t start, pgoff_t last);

/* linux/sched/signal.h */
struct task_struct *pmem_helper_next_task(struct task_struct *p);
struct task_struct *pmem_helper___next_thread(struct task_struct *p);

/* linux/set_memory.h */
int pmem_helper_clear_mce_nospec(unsigned long pfn);

/* linux/string.h */
void pmem_helper_memcpy_flushcache(void *dst, const void *src, size_t cnt);

/* linux/uaccess.h */
void pmem_helper_pagefault_disable(void);
void pmem_helper_pagefault_enable(void);

/* linux/xarray.h */
void pmem_helper_xas_init(struct xa_state *xas, struct xarray *xa, unsigned long index,
			  unsigned int order);
void pmem_helper_xas_lock_irq(struct xa_state *xas);
void pmem_helper_xas_unlock_irq(struct xa_state *xas);
int pmem_helper_xas_error(const struct xa_state *xas);

#endif /* _PMEM_DAX_HELPERS_H */
