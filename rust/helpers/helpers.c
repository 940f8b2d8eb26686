// SPDX-License-Identifier: GPL-2.0

#include <linux/interval_tree_generic.h>
#include <linux/pgalloc.h>
#include <linux/set_memory.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "helpers.h"
#include "nd.h"
#include "../../mm/internal.h"

#ifndef CONFIG_SPARSEMEM_VMEMMAP
#error "The struct pages of a device are taken for an array (kernel_ext/mm/memremap.rs)."
#endif

bool pmem_helper_cc_platform_has(enum cc_attr attr)
{
	return cc_platform_has(attr);
}

int pmem_helper_dev_to_node(struct device *dev)
{
	return dev_to_node(dev);
}

void pmem_helper_file_accessed(struct file *file)
{
	file_accessed(file);
}

ssize_t pmem_helper_generic_write_sync(struct kiocb *iocb, ssize_t count)
{
	return generic_write_sync(iocb, count);
}

unsigned long pmem_helper_ftrace_regs_get_argument_0(struct ftrace_regs *fregs)
{
	return ftrace_regs_get_argument(fregs, 0);
}

unsigned long pmem_helper_ftrace_regs_get_argument_2(struct ftrace_regs *fregs)
{
	return ftrace_regs_get_argument(fregs, 2);
}

unsigned long pmem_helper_ftrace_regs_get_argument_4(struct ftrace_regs *fregs)
{
	return ftrace_regs_get_argument(fregs, 4);
}

void pmem_helper___SetPageHead(struct page *page)
{
	__SetPageHead(page);
}

void pmem_helper_prep_compound_head(struct page *page, unsigned int order)
{
	prep_compound_head(page, order);
}

void pmem_helper_prep_compound_tail(struct page *tail, const struct page *head,
				    unsigned int order)
{
	prep_compound_tail(tail, head, order);
}

struct page *pmem_helper_pfn_to_page(unsigned long pfn)
{
	return pfn_to_page(pfn);
}

void *pmem_helper_page_address(struct page *page)
{
	return page_address(page);
}

struct folio *pmem_helper_pfn_folio(unsigned long pfn)
{
	return pfn_folio(pfn);
}

void pmem_helper_get_page(struct page *page)
{
	get_page(page);
}

int pmem_helper_folio_ref_count(const struct folio *folio)
{
	return folio_ref_count(folio);
}

int pmem_helper_folio_mapcount(const struct folio *folio)
{
	return folio_mapcount(folio);
}

bool pmem_helper_folio_maybe_dma_pinned(struct folio *folio)
{
	return folio_maybe_dma_pinned(folio);
}

bool pmem_helper_folio_test_large(const struct folio *folio)
{
	return folio_test_large(folio);
}

bool pmem_helper_folio_trylock(struct folio *folio)
{
	return folio_trylock(folio);
}

void pmem_helper_SetPageHWPoison(struct page *page)
{
	SetPageHWPoison(page);
}

void pmem_helper_ClearPageHWPoison(struct page *page)
{
	ClearPageHWPoison(page);
}

bool pmem_helper_pmd_trans_huge(pmd_t pmd)
{
	return pmd_trans_huge(pmd);
}

bool pmem_helper_pud_none(pud_t pud)
{
	return pud_none(pud);
}

bool pmem_helper_pud_trans_huge(pud_t pud)
{
	return pud_trans_huge(pud);
}

pte_t *pmem_helper_pte_offset_kernel(pmd_t *pmd, unsigned long address)
{
	return pte_offset_kernel(pmd, address);
}

spinlock_t *pmem_helper_pte_lockptr(struct mm_struct *mm, pmd_t *pmd)
{
	return pte_lockptr(mm, pmd);
}

void pmem_helper_pte_clear(struct mm_struct *mm, unsigned long address, pte_t *pte)
{
	pte_clear(mm, address, pte);
}

void pmem_helper_vma_start_write(struct vm_area_struct *vma)
{
	vma_start_write(vma);
}

bool pmem_helper_pmd_none(pmd_t pmd)
{
	return pmd_none(pmd);
}

spinlock_t *pmem_helper_pmd_lock(struct mm_struct *mm, pmd_t *pmd)
{
	return pmd_lock(mm, pmd);
}

void pmem_helper_pmd_populate(struct mm_struct *mm, pmd_t *pmd, pgtable_t pte)
{
	pmd_populate(mm, pmd, pte);
}

void pmem_helper_mm_inc_nr_ptes(struct mm_struct *mm)
{
	mm_inc_nr_ptes(mm);
}

void pmem_helper_folio_lock_large_mapcount(struct folio *folio)
{
	folio_lock_large_mapcount(folio);
}

void pmem_helper_folio_unlock_large_mapcount(struct folio *folio)
{
	folio_unlock_large_mapcount(folio);
}

int pmem_helper_nd_region_ro(const struct nd_region *region)
{
	return READ_ONCE(region->ro);
}

unsigned long pmem_helper_nd_region_align(const struct nd_region *region)
{
	return READ_ONCE(region->align);
}

resource_size_t pmem_helper_nd_info_block_reserve(void)
{
	return nd_info_block_reserve();
}

int pmem_helper_nvdimm_read_bytes(struct nd_namespace_common *ndns,
				  resource_size_t offset, void *buf, size_t size,
				  unsigned long flags)
{
	return nvdimm_read_bytes(ndns, offset, buf, size, flags);
}

void pmem_helper_dev_pm_domain_set(struct device *dev, struct dev_pm_domain *pd)
{
	dev_pm_domain_set(dev, pd);
}

void pmem_helper_ratelimit_default_init(struct ratelimit_state *rs)
{
	ratelimit_default_init(rs);
}

/* What only looks at the tree is used, and the rest not even compiled. */
INTERVAL_TREE_DEFINE(struct vm_area_struct, shared.rb, pgoff_t, shared.rb_subtree_last,
		     vma_start_pgoff, vma_last_pgoff, static __maybe_unused, vma_tree)

struct vm_area_struct *pmem_helper_vma_tree_iter_first(struct rb_root_cached *root,
						       pgoff_t start, pgoff_t last)
{
	return vma_tree_iter_first(root, start, last);
}

struct vm_area_struct *pmem_helper_vma_tree_iter_next(struct vm_area_struct *vma,
						      pgoff_t start, pgoff_t last)
{
	return vma_tree_iter_next(vma, start, last);
}

struct task_struct *pmem_helper_next_task(struct task_struct *p)
{
	return next_task(p);
}

struct task_struct *pmem_helper___next_thread(struct task_struct *p)
{
	return __next_thread(p);
}

void pmem_helper_synchronize_rcu_tasks(void)
{
	synchronize_rcu_tasks();
}

int pmem_helper_clear_mce_nospec(unsigned long pfn)
{
	return clear_mce_nospec(pfn);
}

void pmem_helper_memcpy_flushcache(void *dst, const void *src, size_t cnt)
{
	memcpy_flushcache(dst, src, cnt);
}

void pmem_helper_pagefault_disable(void)
{
	pagefault_disable();
}

void pmem_helper_pagefault_enable(void)
{
	pagefault_enable();
}

void pmem_helper_xas_init(struct xa_state *xas, struct xarray *xa, unsigned long index,
			  unsigned int order)
{
	XA_STATE_ORDER(state, xa, index, order);

	*xas = state;
}

void pmem_helper_xas_lock_irq(struct xa_state *xas)
{
	xas_lock_irq(xas);
}

void pmem_helper_xas_unlock_irq(struct xa_state *xas)
{
	xas_unlock_irq(xas);
}

int pmem_helper_xas_error(const struct xa_state *xas)
{
	return xas_error(xas);
}
