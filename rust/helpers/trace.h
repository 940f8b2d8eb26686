/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The trace events of a DAX disk. rust/kernel_ext/trace.rs calls them.
 */

#undef TRACE_SYSTEM
#define TRACE_SYSTEM pmem_dax

#ifndef PMEM_FAULT_REFUSALS
/* Why a fault does not map what it is for: the number, and what is shown. */
#define PMEM_FAULT_REFUSALS					\
	EM(PMEM_REFUSED_OUTSIDE,	"outside")		\
	EM(PMEM_REFUSED_PRIVATE,	"private")		\
	EM(PMEM_REFUSED_ORDER,		"order")		\
	EM(PMEM_REFUSED_REMOVED,	"removed")		\
	EM(PMEM_REFUSED_END,		"end")			\
	EM(PMEM_REFUSED_READ_ONLY,	"read_only")		\
	EM(PMEM_REFUSED_UNALIGNED,	"unaligned")		\
	EM(PMEM_REFUSED_SPARSE,		"sparse")		\
	EM(PMEM_REFUSED_WATCHED,	"watched")		\
	EM(PMEM_REFUSED_POISON,		"poison")		\
	EMe(PMEM_REFUSED_ENTRIES,	"entries")

#define EM(a, b)	a,
#define EMe(a, b)	a
enum pmem_fault_refusal { PMEM_FAULT_REFUSALS };
#undef EM
#undef EMe
#endif

#if !defined(_PMEM_DAX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _PMEM_DAX_TRACE_H

#include <linux/mm.h>
#include <linux/tracepoint.h>

/* For those who read the ring buffers by themselves: trace-cmd and perf. */
#define EM(a, b)	TRACE_DEFINE_ENUM(a);
#define EMe(a, b)	TRACE_DEFINE_ENUM(a);
PMEM_FAULT_REFUSALS
#undef EM
#undef EMe
TRACE_DEFINE_ENUM(VM_FAULT_OOM);
TRACE_DEFINE_ENUM(VM_FAULT_SIGBUS);
TRACE_DEFINE_ENUM(VM_FAULT_MAJOR);
TRACE_DEFINE_ENUM(VM_FAULT_HWPOISON);
TRACE_DEFINE_ENUM(VM_FAULT_NOPAGE);
TRACE_DEFINE_ENUM(VM_FAULT_RETRY);
TRACE_DEFINE_ENUM(VM_FAULT_FALLBACK);

#define EM(a, b)	{ a, b },
#define EMe(a, b)	{ a, b }

/* What both events of a fault have, but for their last field. */
#define PMEM_FAULT_FIELDS					\
		__string(disk, disk)				\
		__field(u64, page)				\
		__field(unsigned long, address)			\
		__field(unsigned int, order)			\
		__field(unsigned int, write)
#define PMEM_FAULT_ASSIGN					\
		__assign_str(disk);				\
		__entry->page = vmf->pgoff;			\
		__entry->address = vmf->address;		\
		__entry->order = order;				\
		__entry->write = !!(vmf->flags & FAULT_FLAG_WRITE);
#define PMEM_FAULT_FORMAT	"disk=%s page=0x%llx address=0x%lx order=%u write=%u"
#define PMEM_FAULT_VALUES	__get_str(disk), __entry->page, __entry->address, \
				__entry->order, __entry->write

TRACE_EVENT(pmem_fault,
	TP_PROTO(const char *disk, const struct vm_fault *vmf, unsigned int order,
		 vm_fault_t result),
	TP_ARGS(disk, vmf, order, result),
	TP_STRUCT__entry(
		PMEM_FAULT_FIELDS
		__field(unsigned int, result)
	),
	TP_fast_assign(
		PMEM_FAULT_ASSIGN
		__entry->result = (__force unsigned int)result;
	),
	TP_printk(PMEM_FAULT_FORMAT " result=%s", PMEM_FAULT_VALUES,
		  __print_flags(__entry->result, "|", VM_FAULT_RESULT_TRACE))
);

TRACE_EVENT(pmem_fault_refused,
	TP_PROTO(const char *disk, const struct vm_fault *vmf, unsigned int order,
		 unsigned int reason),
	TP_ARGS(disk, vmf, order, reason),
	TP_STRUCT__entry(
		PMEM_FAULT_FIELDS
		__field(unsigned int, reason)
	),
	TP_fast_assign(
		PMEM_FAULT_ASSIGN
		__entry->reason = reason;
	),
	TP_printk(PMEM_FAULT_FORMAT " reason=%s", PMEM_FAULT_VALUES,
		  __print_symbolic(__entry->reason, PMEM_FAULT_REFUSALS))
);

#undef EM
#undef EMe

DECLARE_EVENT_CLASS(pmem_range,
	TP_PROTO(const char *disk, u64 start, u64 bytes),
	TP_ARGS(disk, start, bytes),
	TP_STRUCT__entry(
		__string(disk, disk)
		__field(u64, start)
		__field(u64, bytes)
	),
	TP_fast_assign(
		__assign_str(disk);
		__entry->start = start;
		__entry->bytes = bytes;
	),
	TP_printk("disk=%s start=0x%llx bytes=0x%llx",
		  __get_str(disk), __entry->start, __entry->bytes)
);

DEFINE_EVENT(pmem_range, pmem_write_back,
	TP_PROTO(const char *disk, u64 start, u64 bytes),
	TP_ARGS(disk, start, bytes)
);

DEFINE_EVENT(pmem_range, pmem_poison_set,
	TP_PROTO(const char *disk, u64 start, u64 bytes),
	TP_ARGS(disk, start, bytes)
);

DEFINE_EVENT(pmem_range, pmem_poison_clear,
	TP_PROTO(const char *disk, u64 start, u64 bytes),
	TP_ARGS(disk, start, bytes)
);

TRACE_EVENT(pmem_flush,
	TP_PROTO(const char *disk, int result),
	TP_ARGS(disk, result),
	TP_STRUCT__entry(
		__string(disk, disk)
		__field(int, result)
	),
	TP_fast_assign(
		__assign_str(disk);
		__entry->result = result;
	),
	TP_printk("disk=%s result=%d", __get_str(disk), __entry->result)
);

#endif /* _PMEM_DAX_TRACE_H */

/* What follows reads this file again, so it is outside of the guard. */
#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
