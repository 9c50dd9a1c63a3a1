// The texts of errors, in the kernel's words where it has some, with the lab's lines where a kernel has stack traces.
#pragma once

#include "lab/session.h"

namespace vitro::lab {

// Red zone, poison or free pointer overwritten, in SLUB's form (mm/slub.c: slab_bug, print_trailer).
KernelError slab_damage_report(Session& s, const mm::SlabDamage& damage);
// Something else is wrong with an object that was given to kfree or kmem_cache_free.
KernelError free_report(Session& s, VirtAddr address, std::string headline, const Allocation* about);
// An access that a kernel's page tables do not allow (arch/x86/mm/fault.c: show_fault_oops).
KernelError oops_report(Session& s, VirtAddr address, bool write);
// Notes of what an allocation that failed leaves in a kernel's log (mm/page_alloc.c: warn_alloc).
void note_failure(Session& s, mm::Gfp flags, Order order);

// "kmalloc-128 object 3 of 32 in the slab at pfn 0x1234 (zone DMA32)".
std::string describe_object(Session& s, VirtAddr object);
// Lines of 16 bytes, as print_hex_dump prints them; `label` in front of each.
void append_hex_dump(std::string& out, std::string_view label, VirtAddr from, std::span<const std::byte> bytes);

}  // namespace vitro::lab
