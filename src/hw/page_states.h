// What the soft TLB has been told about each page since its last flush: an open-addressing hash map that is emptied in constant time.
#pragma once

#include <cstdint>
#include <vector>

#include "vitro/base/types.h"

namespace vitro::hw {

class PageStates {
 public:
  enum Flag : uint8_t {
    kData = 1,     // may have an entry that answers data accesses
    kFetched = 2,  // may have an entry that answers fetches, and translated code may be running there
    kEvicted = 4,  // has an entry that answers no data access, and fetches from a dummy frame
  };

  PageStates() : entries_(1024) {}

  void clear() {
    ++epoch_;
    used_ = 0;
  }
  bool empty() const { return used_ == 0; }
  uint8_t get(Vpn page) const {
    const Entry& e = entries_[find(page)];
    return e.epoch == epoch_ ? e.flags : 0;
  }
  // The flags of a page, to be changed in place; valid until the next call.
  uint8_t& at(Vpn page) {
    if (used_ * 2 >= entries_.size()) grow();
    Entry& e = entries_[find(page)];
    if (e.epoch != epoch_) {
      e = {page.value(), epoch_, 0};
      ++used_;
    }
    return e.flags;
  }

 private:
  struct Entry {
    uint64_t page = 0;
    uint64_t epoch = 0;
    uint8_t flags = 0;
  };
  // The entry of the page, or the free one where it belongs. The table is never more than half full.
  size_t find(Vpn page) const {
    const size_t mask = entries_.size() - 1;
    for (size_t i = (page.value() * 0x9e3779b97f4a7c15) >> 32 & mask;; i = (i + 1) & mask)
      if (entries_[i].epoch != epoch_ || entries_[i].page == page.value()) return i;
  }
  void grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    for (const Entry& e : old)
      if (e.epoch == epoch_) entries_[find(Vpn{e.page})] = e;
  }
  std::vector<Entry> entries_;
  size_t used_ = 0;
  uint64_t epoch_ = 1;
};

}  // namespace vitro::hw
