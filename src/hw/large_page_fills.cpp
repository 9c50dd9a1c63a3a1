#include "large_page_fills.h"

namespace vitro::hw {

void LargePageFills::add(VirtAddr address, PageSize size) {
  if (size == PageSize::k1G)
    gigabytes_.insert(address.value() >> 30);
  else
    regions_[address.value() >> 21].set(address.value() >> kPageShift & 511);
}

bool LargePageFills::evict(VirtAddr address, SoftTlb& soft) {
  const auto found = regions_.find(address.value() >> 21);
  const bool of_1g = !gigabytes_.empty() && gigabytes_.contains(address.value() >> 30);
  if (found == regions_.end() && !of_1g) return false;
  if (of_1g || found->second.count() > kMostEvictions) {
    soft.flush();
    clear();
    return true;
  }
  const uint64_t first = address.value() >> 21 << 21;
  for (size_t i = 0; i < found->second.size(); ++i)
    if (found->second.test(i)) soft.evict(VirtAddr{first + i * kPageSize});
  regions_.erase(found);
  return true;
}

void LargePageFills::evict_data(VirtAddr address, SoftTlb& soft) {
  if (!gigabytes_.empty() && gigabytes_.contains(address.value() >> 30)) {
    soft.flush();
    return clear();
  }
  const auto found = regions_.find(address.value() >> 21);
  if (found == regions_.end()) return;
  const uint64_t first = address.value() >> 21 << 21;
  for (size_t i = 0; i < found->second.size(); ++i)
    if (found->second.test(i)) soft.evict_data(VirtAddr{first + i * kPageSize});
}

}  // namespace vitro::hw
