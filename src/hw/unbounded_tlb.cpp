#include "unbounded_tlb.h"

namespace vitro::hw {
namespace {

constexpr unsigned shift_of(PageSize size) { return kPageShift + 9 * static_cast<unsigned>(size); }
constexpr size_t bit_of(VirtAddr address, PageSize size) { return address.value() >> shift_of(size) & 511; }

}  // namespace

// 13 bits of address space, 2 of size, and of the address at most 48 - 21 bits.
uint64_t UnboundedTlb::key(VirtAddr address, PageSize size, size_t space) {
  return ((address.value() & ((uint64_t{1} << 48) - 1)) >> (shift_of(size) + 9)) << 15 | static_cast<uint64_t>(size) << 13 | space;
}

bool UnboundedTlb::insert(VirtAddr address, PageSize size, Pcid pcid, bool global) {
  sizes_[static_cast<size_t>(size)] = true;
  global_ |= global;
  const size_t space = global ? kGlobalSpace : pcid.value() & TlbKey::kPcidMask;
  Block& block = this->block(key(address, size, space));
  if (block.generation != generations_[space]) {
    block.generation = generations_[space];
    block.pages.reset();
  }
  const size_t bit = bit_of(address, size);
  const bool present = block.pages.test(bit);
  block.pages.set(bit);
  return present;
}

void UnboundedTlb::invalidate_page(VirtAddr address, Pcid pcid) {
  const auto forget = [this, address](PageSize size, size_t space) {
    if (const auto found = blocks_.find(key(address, size, space)); found != blocks_.end())
      found->second.pages.reset(bit_of(address, size));
  };
  for (PageSize size : {PageSize::k4K, PageSize::k2M, PageSize::k1G}) {
    if (!sizes_[static_cast<size_t>(size)]) continue;
    forget(size, pcid.value() & TlbKey::kPcidMask);
    if (global_) forget(size, kGlobalSpace);
  }
}

void UnboundedTlb::flush_pcid(Pcid pcid) {
  ++generations_[pcid.value() & TlbKey::kPcidMask];
  // Dead blocks are dropped now and then, so that memory follows what is mapped and not how often it was flushed.
  if (++flushes_ >= 256 && blocks_.size() >= 4096) drop_dead_blocks();
}

void UnboundedTlb::drop_dead_blocks() {
  flushes_ = 0;
  recent_ = {};
  std::erase_if(blocks_, [this](const auto& entry) { return entry.second.generation != generations_[entry.first & 0x1fff]; });
}

void UnboundedTlb::flush_non_global() {
  recent_ = {};
  std::erase_if(blocks_, [](const auto& entry) { return (entry.first & 0x1fff) != kGlobalSpace; });
}

void UnboundedTlb::flush_all() {
  recent_ = {};
  blocks_.clear();
}

}  // namespace vitro::hw
