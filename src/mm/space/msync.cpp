// msync(2) and mincore(2) (mm/msync.c, mm/mincore.c).
#include <algorithm>

#include "mm/space/address_space_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/mm/page_cache.h"

namespace vitro::mm {

Status AddressSpace::msync(VirtAddr start, Bytes length, unsigned flags) {
  constexpr unsigned kAsync = 1, kInvalidate = 2, kSync = 4;
  State& s = *state_;
  if (flags & ~(kAsync | kInvalidate | kSync)) return fail(Errno::Invalid);
  if (!start.page_aligned()) return fail(Errno::Invalid);
  if ((flags & kAsync) && (flags & kSync)) return fail(Errno::Invalid);
  const VirtAddr end = start + Bytes{(length.value() + kPageOffsetMask) & ~kPageOffsetMask};
  if (end < start) return fail(Errno::NoMemory);
  bool hole = false;
  for (VirtAddr at = start; at < end;) {
    std::shared_ptr<MappedFile> file;
    PageIndex first;
    Bytes n;
    {
      MmapLock lock(s);
      const Vma* v = s.vmas.find_ending_after(at);
      if (!v) return fail(Errno::NoMemory);
      if (v->start > at) {
        hole = true;
        at = v->start;
        if (at >= end) break;
      }
      if ((flags & kInvalidate) && has(v->flags, VmFlag::Locked)) return fail(Errno::Busy);
      first = v->index_of(at);
      n = std::min(end, v->end) - at;
      if ((flags & kSync) && v->file && v->shared()) file = v->file;
      at = v->end;
    }
    // Writing waits, so without the lock.
    if (file) TRY(file->sync_mapped(first.offset(), first.offset() + n));
  }
  if (hole) return fail(Errno::NoMemory);
  return {};
}

Status AddressSpace::mincore(VirtAddr start, Bytes length, std::vector<uint8_t>& out) {
  State& s = *state_;
  out.clear();
  if (!start.page_aligned()) return fail(Errno::Invalid);
  if (start > kUserEnd || length > kUserEnd - start) return fail(Errno::NoMemory);
  const VirtAddr end = (start + length).page_ceil();
  MmapLock lock(s);
  for (VirtAddr at = start; at < end;) {
    const Vma* v = s.vmas.find(at);
    if (!v) return fail(Errno::NoMemory);
    for (const VirtAddr stop = std::min(end, v->end); at < stop; at += Bytes{kPageSize}) {
      const Pte pte = s.tables.get(at);
      bool resident = holds_frame(pte);
      if (is_swap(pte)) {
        const auto f = s.vm.swap().state().find(slot_of(pte));
        out.push_back(f && s.frames()[*f].has(FrameFlag::Uptodate) ? 1 : 0);
        continue;
      }
      if (!resident && v->file) resident = v->file->page_cache().find(v->index_of(at)).has_value();
      out.push_back(resident ? 1 : 0);
    }
  }
  return {};
}

}  // namespace vitro::mm
