// SPDX-License-Identifier: GPL-2.0

#include "compat.h"

#if KERNEL_VERSION(7, 3, 0) > LINUX_VERSION_CODE

/* All of them are of one class of locks. */
int pmem_helper_init_srcu(struct srcu_struct *ssp)
{
	return init_srcu_struct(ssp);
}

int pmem_helper_srcu_read_lock(struct srcu_struct *ssp)
{
	return srcu_read_lock(ssp);
}

void pmem_helper_srcu_read_unlock(struct srcu_struct *ssp, int idx)
{
	srcu_read_unlock(ssp, idx);
}

#endif
