#include "lab/ledger.h"

#include <utility>

namespace vitro::lab {

uint32_t Ledger::add(Allocation a) {
  a.id = static_cast<uint32_t>(all_.size() + 1);
  if (a.address.value() != 0) by_address_[a.address.value()] = a.id;
  if (a.kind == Allocation::Kind::Pages) by_frame_[a.first.value()] = a.id;
  all_.push_back(std::move(a));
  return all_.back().id;
}

void Ledger::free(uint32_t id, unsigned line) { at(id).freed_line = line; }

const Allocation* Ledger::find(VirtAddr a) const {
  const auto it = by_address_.find(a.value());
  return it == by_address_.end() ? nullptr : &at(it->second);
}

const Allocation* Ledger::containing(VirtAddr a) const {
  const auto it = by_address_.upper_bound(a.value());
  if (it == by_address_.begin()) return nullptr;
  const Allocation& found = at(std::prev(it)->second);
  return found.live() && a - found.address < found.size ? &found : nullptr;
}

const Allocation* Ledger::of_frame(Pfn f) const {
  const auto it = by_frame_.upper_bound(f.value());
  if (it == by_frame_.begin()) return nullptr;
  const Allocation& found = at(std::prev(it)->second);
  return f - found.first < found.order.pages() ? &found : nullptr;
}

}  // namespace vitro::lab
