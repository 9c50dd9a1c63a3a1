#include "vitro/mm/kmap.h"

#include "mm/kernel_memory/kernel_page_table.h"
#include "vitro/base/check.h"

namespace vitro::mm {

const char* kmap_error_text(KmapError e) {
  switch (e) {
    case KmapError::NotMapped:
      return "not mapped";
    case KmapError::WrongOrder:
      return "not the last one mapped: atomic mappings are given back in reverse order";
    case KmapError::NoSlot:
      return "no free slot";
  }
  return "";
}

Kmap::Kmap(PhysicalMemory& physical, KernelPageTable& tables, hw::Mmu& mmu, const hw::TimingModel& timing)
    : physical_(physical), tables_(tables), mmu_(mmu), timing_(timing), atomic_(physical.cpus()) {}

Kmap::~Kmap() = default;

void Kmap::pay(Nanoseconds n) {
  counters_.cost += n;
  if (charge_) charge_(n);
}

// kmap_high.
Result<VirtAddr, KmapError> Kmap::map(Pfn frame, Blocking* blocking) {
  if (!high(frame)) return direct_map(frame.address());
  ++counters_.maps;
  const auto use = [&](unsigned slot) {
    ++slots_[slot].count;
    return slot_address(slot);
  };
  if (const auto known = by_frame_.find(frame.value()); known != by_frame_.end()) {
    ++counters_.reused;
    return use(known->second);
  }
  // map_new_virtual.
  for (unsigned left = kSlots;;) {
    last_ = (last_ + 1) % kSlots;
    if (last_ == 0) flush_unused(), left = kSlots;
    if (slots_[last_].count == 0) break;
    if (--left != 0) continue;
    ++counters_.waits;
    if (!blocking || !blocking->may_wait()) return fail(KmapError::NoSlot);
    if (!blocking->wait(free_slot_, Interruptible::No)) return fail(KmapError::NoSlot);
    if (const auto known = by_frame_.find(frame.value()); known != by_frame_.end()) return use(known->second);
    left = kSlots;
  }
  if (!tables_.map(slot_address(last_), frame)) return fail(KmapError::NoSlot);
  slots_[last_] = {1, frame};
  by_frame_[frame.value()] = last_;
  pay(timing_.kmap);
  return use(last_);
}

void Kmap::flush_unused() {
  bool any = false;
  for (unsigned i = 0; i < kSlots; ++i) {
    Slot& slot = slots_[i];
    if (slot.count != 1) continue;
    tables_.unmap(slot_address(i));
    by_frame_.erase(slot.frame.value());
    slot = {};
    any = true;
  }
  if (!any) return;
  ++counters_.flushes;
  mmu_.flush_all(hw::FlushReason::LocalShootdown);
  pay(timing_.kmap_flush);
}

Result<void, KmapError> Kmap::unmap(Pfn frame) {
  if (!high(frame)) return {};
  const auto known = by_frame_.find(frame.value());
  if (known == by_frame_.end() || slots_[known->second].count < 2) return fail(KmapError::NotMapped);
  if (--slots_[known->second].count == 1) free_slot_.wake_one();
  return {};
}

Result<VirtAddr, KmapError> Kmap::map_atomic(Pfn frame) {
  if (!high(frame)) return direct_map(frame.address());
  const unsigned cpu = physical_.current_cpu();
  std::vector<Pfn>& mine = atomic_[cpu];
  if (mine.size() == kAtomicSlots) return fail(KmapError::NoSlot);
  const VirtAddr a = atomic_address(cpu, static_cast<unsigned>(mine.size()));
  if (!tables_.map(a, frame)) return fail(KmapError::NoSlot);
  mine.push_back(frame);
  ++counters_.atomic_maps;
  pay(timing_.kmap_atomic);
  return a;
}

Result<void, KmapError> Kmap::unmap_atomic(VirtAddr a) {
  a = a.page_floor();
  if (a >= kDirectMapBase && a < direct_map(physical_.high_start().address())) return {};
  const unsigned cpu = physical_.current_cpu();
  std::vector<Pfn>& mine = atomic_[cpu];
  if (mine.empty() || a < atomic_address(cpu, 0) || a > atomic_address(cpu, static_cast<unsigned>(mine.size()) - 1)) return fail(KmapError::NotMapped);
  if (a != atomic_address(cpu, static_cast<unsigned>(mine.size()) - 1)) return fail(KmapError::WrongOrder);
  tables_.unmap(a);
  mine.pop_back();
  // Not global with isolation: any PCID may hold it.
  if (tables_.isolated()) mmu_.flush_all(hw::FlushReason::LocalShootdown);
  else mmu_.invalidate_page(a, mmu_.pcid(), hw::FlushReason::LocalShootdown);
  return {};
}

void Kmap::touch_high() {
  ++counters_.atomic_maps;
  pay(timing_.kmap_atomic);
}

std::optional<VirtAddr> Kmap::address_of(Pfn frame) const {
  const auto known = by_frame_.find(frame.value());
  if (known == by_frame_.end()) return std::nullopt;
  return slot_address(known->second);
}

void Kmap::verify() const {
  size_t mapped = 0;
  for (unsigned i = 0; i < kSlots; ++i) {
    const auto frame = tables_.frame_at(slot_address(i));
    CHECK(frame.has_value() == (slots_[i].count != 0) && (!frame || *frame == slots_[i].frame), "kmap slot {}: count {}", i, slots_[i].count);
    if (!frame) continue;
    ++mapped;
    CHECK(high(*frame) && address_of(*frame) == slot_address(i), "kmap slot {}: pfn {}", i, frame->value());
  }
  CHECK(mapped == by_frame_.size(), "{} kmap slots are mapped, {} frames have one", mapped, by_frame_.size());
  for (unsigned cpu = 0; cpu < atomic_.size(); ++cpu)
    for (unsigned i = 0; i < kAtomicSlots; ++i)
      CHECK(tables_.frame_at(atomic_address(cpu, i)) == (i < atomic_[cpu].size() ? std::optional<Pfn>(atomic_[cpu][i]) : std::nullopt),
            "atomic slot {} of CPU {}", i, cpu);
}

}  // namespace vitro::mm
