// The soft TLB: what it is given, what is taken from it, and how translated code keeps in step with memory.
#include <algorithm>

#include "hw/unicorn_cpu.h"

namespace vitro::hw {

void UnicornCpu::flush() {
  if (pages_.empty() && !granted_) return;
  if (direct()) table_.before_flush(false);
  granted_ = false;
  conflicts_ = 0;
  uc_ctl_flush_tlb(uc_);
  pages_.clear();
  aliases_.start_epoch();
  blocks_.start_generation();
  last_code_vpn_ = UINT64_MAX;
  // Blocks of one page jump to each other without asking the soft TLB: leave them before the next one.
  if (!running_) return;
  attention_.fetch_or(kAttentionRestart, std::memory_order_relaxed);
  catch_up();
  arm();
}

void UnicornCpu::evict(VirtAddr page) {
  const uint8_t state = pages_.get(page.vpn());
  if (state & PageStates::kFetched) return flush();
  if (direct()) return table_.take_data(page.page_floor().value());
  if (!(state & PageStates::kData)) return;
  // There is no call for this. But the address range of removed translations is looked up as a fetch, and what fill() answers takes the
  // place of the entry: one that is executable only, and of no consequence as long as nobody jumps there (see Ending::UnknownPage).
  evicting_ = {page.page_floor().value(), true};
  uc_ctl_remove_cache(uc_, page.page_floor().value(), page.page_floor().value() + 1);
  evicting_.on = false;
  pages_.at(page.vpn()) = PageStates::kEvicted;
}

void UnicornCpu::evict_data(VirtAddr page) {
  if (direct()) return table_.take_data(page.page_floor().value());
  evict(page);
}

void UnicornCpu::drop_translations(PhysAddr first, uint64_t size) {
  naming_code_ = true;
  uc_ctl_remove_cache(uc_, kWindow + first.value(), kWindow + first.value() + size);
  naming_code_ = false;
  pages_.at(VirtAddr{kWindow + first.value()}.vpn()) |= PageStates::kFetched;
}

void UnicornCpu::invalidate_code(Pfn frame) {
  drop_translations(frame.address(), kPageSize);
  blocks_.invalidate(frame);
  // The frame is no longer marked as executed, so fetching from it must ask again.
  if (blocks_.fetched(frame, aliases_.epoch())) flush();
}

void UnicornCpu::drop_rewritten() {
  for (const Pfn frame : rewritten_) {
    drop_translations(frame.address(), kPageSize);
    blocks_.invalidate(frame);
  }
  rewritten_.clear();
  flush();
}

void UnicornCpu::map_alias(unsigned k) {
  if (mapped_aliases_ <= k) forget_regions();
  for (; mapped_aliases_ <= k; ++mapped_aliases_) {
    const uc_err e =
        uc_mem_map_ptr(uc_, aliases_.alias_base(mapped_aliases_), ram_.size().value(), UC_PROT_READ | UC_PROT_WRITE, ram_.host_base());
    CHECK(e == UC_ERR_OK, "alias {} of RAM: {}", mapped_aliases_, uc_strerror(e));
  }
}

bool UnicornCpu::fill(uint64_t va, uc_mem_type type, uc_tlb_entry* result) {
  const Access access = type == UC_MEM_FETCH ? Access::Fetch : type == UC_MEM_WRITE ? Access::Write : Access::Read;
  if (direct()) table_.make_room(va);
  if (evicting_.on || naming_code_ || setting_up_) [[unlikely]] {
    result->perms = UC_PROT_EXEC;
    if (evicting_.on)
      result->paddr = kHostPages;
    else if (naming_code_)
      result->paddr = (va - kWindow) & ~kPageOffsetMask;
    else {
      result->paddr = kHostPages + (va & (kHostPagesSize - 1) & ~kPageOffsetMask);
      result->perms = UC_PROT_ALL;
    }
    return true;
  }

  if (std::exchange(refused_already_, false)) return false;
  access_where_ = 0;  // recovered already
  catch_up();
  // At a fetch the instruction pointer is that of the block. Its second page is asked for when it is translated: too early for a fault, as
  // the instructions on the first page have not run.
  if (access == Access::Fetch && (read(UC_X86_REG_RIP) & ~kPageOffsetMask) != va) [[unlikely]] {
    const WalkResult w = mmu_.inspect(VirtAddr{va});
    if (!w.ok || !w.user || !w.executable) {
      fault_.address = VirtAddr{va};
      ending_ = Ending::EarlyFetch;
      return false;
    }
  }
  const std::optional<Translation> t = translate_for(va, access);
  if (!t) return false;
  return access == Access::Fetch ? fill_fetch(va, *t, result) : fill_data(va, access, *t, result);
}

bool UnicornCpu::fill_fetch(uint64_t va, const Translation& t, uc_tlb_entry* result) {
  const Vpn page = VirtAddr{va}.vpn();
  const Pfn frame = t.address.pfn();
  // Never writable: see fill_data().
  if (blocks_.writable(frame, aliases_.epoch())) flush();
  bool readable = true;
  if (direct()) {
    readable = false;
  } else if (mode_ == MmuMode::Trap) {
    readable = mmu_.count_fill(VirtAddr{va}, Access::Fetch).readable;
  } else if (exact()) {
    // Code runs at the frame's own address, where the emulator notices stores to it; so no alias may exist beside it.
    if (aliases_.aliased(frame)) flush();
    // Data of this page can be told from another's only if it is the one that has the frame's own address.
    readable = aliases_.place(frame, page, 0, 0, [&](Vpn other) { return pages_.get(other) == PageStates::kEvicted; }).has_value();
  }
  ram_.mark_executed(frame);
  blocks_.note_fetched(frame, aliases_.epoch());
  uint8_t& state = pages_.at(page);
  state = static_cast<uint8_t>((state & ~PageStates::kEvicted) | PageStates::kFetched | (readable ? PageStates::kData : 0));
  code_pages_[page.value() % code_pages_.size()] = {page.value(), aliases_.epoch(), frame};
  result->paddr = frame.address().value();
  result->perms = static_cast<uc_prot>(UC_PROT_EXEC | (readable ? UC_PROT_READ : 0));
  return true;
}

bool UnicornCpu::fill_data(uint64_t va, Access access, const Translation& t, uc_tlb_entry* result) {
  const Vpn page = VirtAddr{va}.vpn();
  const Pfn frame = t.address.pfn();
  // Writable only once Dirty is set: the first write comes back here.
  bool readable = true, writable = t.writable && t.leaf.dirty();
  // Unicorn notices the first store through an entry to a frame with translations, and removes what it overwrites; later ones it may miss.
  // So such a frame is writable only until the block is over, and then its translations go, and this entry with them; and a store to the
  // frame that is running is made alone.
  if (writable && blocks_.has_code(frame)) [[unlikely]] {
    writable = access == Access::Write;
    if (writable) {
      if (!stepping_ && (frame == block_.start.pfn() || frame == block_.second_frame)) {
        fault_.address = VirtAddr{va};
        ending_ = Ending::StoreToRunningCode;
        return false;
      }
      if (std::find(rewritten_.begin(), rewritten_.end(), frame) == rewritten_.end()) rewritten_.push_back(frame);
      arm();
    }
  }
  uint64_t physical = frame.address().value();
  const uint64_t address = VirtAddr{last_filled_address()}.vpn() == page ? last_filled_address() : va;
  if (direct()) {
    if (mode_ != MmuMode::Fast) {
      if (recorder_.made_before(page.value(), access)) {
        writable = false;
      } else {
        const Mmu::FillRights rights = mmu_.count_fill(VirtAddr{address}, access);
        readable = rights.readable;
        writable = writable && rights.writable;
      }
    }
  } else if (mode_ == MmuMode::Trap) {
    if (recorder_.take_counted(page.value(), access)) [[unlikely]] {
      writable = false;  // counted before the write of the same instruction faulted; the write comes here next
    } else {
      const Mmu::FillRights rights = mmu_.count_fill(VirtAddr{address}, access);
      readable = rights.readable;
      writable = writable && rights.writable;
    }
  } else if (exact()) {
    if (zero_frame_ == frame && !t.writable) {
      std::optional<uint64_t> slot = aliases_.place_zero(page);
      if (!slot) {
        flush();
        slot = aliases_.place_zero(page);
      }
      physical = *slot;
    } else {
      const auto reusable = [&](Vpn other) { return pages_.get(other) == PageStates::kEvicted; };
      // What holds code is reached at its own address, where stores to it are noticed.
      const bool code = ram_.executed(frame);
      const unsigned lowest = code ? 0 : 1, highest = code ? 0 : AliasMap::kAliases - 1;
      std::optional<uint64_t> slot = aliases_.place(frame, page, lowest, highest, reusable);
      if (!slot) {
        flush();
        slot = aliases_.place(frame, page, lowest, highest, reusable);
      }
      physical = *slot;
      if (physical >= aliases_.alias_base(1)) map_alias(static_cast<unsigned>(physical / aliases_.alias_base(1)));
    }
  }
  if (writable) blocks_.note_writable(frame, aliases_.epoch());
  uint8_t& state = pages_.at(page);
  state = static_cast<uint8_t>((state & ~PageStates::kEvicted) | PageStates::kData);
  result->paddr = physical;
  result->perms = static_cast<uc_prot>((readable ? UC_PROT_READ : 0) | (writable ? UC_PROT_WRITE : 0));
  return true;
}

}  // namespace vitro::hw
