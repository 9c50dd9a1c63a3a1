// Page tables for tests: a bump allocator over RAM and the four levels, nothing shared with the code under test but the bit layout.
#pragma once

#include <gtest/gtest.h>

#include "vitro/hw/pte.h"
#include "vitro/hw/ram.h"

namespace vitro::hw::test {

inline std::unique_ptr<Ram> make_ram(Bytes size) {
  auto ram = Ram::create(size);
  EXPECT_TRUE(ram.has_value());
  return std::move(*ram);
}

class Tables {
 public:
  static constexpr uint64_t kAll = Pte::kPresent | Pte::kWritable | Pte::kUser;

  // Tables are taken from `next_frame` on.
  explicit Tables(Ram& ram, Pfn next_frame = Pfn{16}) : ram_(ram), next_(next_frame) { root_ = new_table(); }
  PhysAddr root() const { return root_; }

  PhysAddr new_table() {
    const PhysAddr table = next_.address();
    ++next_;
    return table;
  }
  // The entry of `level` on the way to `address`; tables above it are made where they are missing.
  uint64_t& entry(VirtAddr address, Level level = 1) {
    PhysAddr table = root_;
    for (Level at = 4; at > level; --at) {
      uint64_t& raw = ram_.at<uint64_t>(table + Bytes{8 * table_index(address, at)});
      if ((raw & Pte::kPresent) == 0) raw = make_pte(new_table().pfn(), kAll).raw;
      table = Pte{raw}.pfn().address();
    }
    return ram_.at<uint64_t>(table + Bytes{8 * table_index(address, level)});
  }
  void map(VirtAddr address, PhysAddr to, uint64_t flags = kAll, PageSize size = PageSize::k4K) {
    entry(address, 1 + static_cast<Level>(size)) = make_pte(to.pfn(), flags | (size == PageSize::k4K ? 0 : Pte::kLarge)).raw;
  }
  void unmap(VirtAddr address, PageSize size = PageSize::k4K) { entry(address, 1 + static_cast<Level>(size)) = 0; }

 private:
  Ram& ram_;
  Pfn next_;
  PhysAddr root_;
};

}  // namespace vitro::hw::test
