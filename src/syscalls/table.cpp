// The table as one, and looking things up in it.
#include "vitro/syscalls/table.h"

#include <algorithm>
#include <vector>

#include "syscalls/table_rows.h"

namespace vitro::syscalls {

std::span<const Entry> entries() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> v(kClassicEntries, kClassicEntries + kClassicCount);
    v.insert(v.end(), kModernEntries, kModernEntries + kModernCount);
    return v;
  }();
  return all;
}

const Entry* find(uint64_t number) {
  // Dense from 0 to 334, then a gap.
  const std::span<const Entry> all = entries();
  if (number < all.size() && all[number].number == number) return &all[number];
  const auto it = std::lower_bound(all.begin(), all.end(), number, [](const Entry& e, uint64_t n) { return e.number < n; });
  return it != all.end() && it->number == number ? &*it : nullptr;
}

}  // namespace vitro::syscalls
