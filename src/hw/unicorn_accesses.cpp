// The accesses of translated code that the soft TLB did not answer.
#include <algorithm>
#include <cstring>

#include "hw/unicorn_cpu.h"

namespace vitro::hw {
namespace {

// 1, 2, 4 or 8 bytes: with the size known each is one instruction.
void copy(void* to, const void* from, unsigned size) {
  switch (size) {
    case 1: std::memcpy(to, from, 1); break;
    case 2: std::memcpy(to, from, 2); break;
    case 4: std::memcpy(to, from, 4); break;
    default: std::memcpy(to, from, 8); break;
  }
}

}  // namespace

// What the page tables say, after the kernel resolved a fault if there was one. Nullopt: refused; the run ends.
std::optional<Translation> UnicornCpu::translate_for(uint64_t page, Access access) {
  Result<Translation, Fault> t = mmu_.resolve(VirtAddr{page}, access, Privilege::User);
  if (t) [[likely]]
    return *t;
  if (!precise_faults_ && service_ && !t.error().general_protection && service_->resolve_without_waiting(t.error(), access)) {
    ++resolved_faults_;
    arm();
    t = mmu_.resolve(VirtAddr{page}, access, Privilege::User);
    if (t) return *t;
  }
  fault_ = t.error();
  ending_ = Ending::Refused;
  refused_access_ = access;
  return std::nullopt;
}

// The byte at `address`, for an access of its page; and the soft TLB may answer the next one where the Mmu says so. Null: Unicorn is to
// make the access, or, if it is refused, to find out that it is.
std::byte* UnicornCpu::reach(uint64_t address, Access access) {
  const uint64_t page = address & ~kPageOffsetMask;
  catch_up();
  if (mode_ != MmuMode::Fast && !recorder_.repeating()) [[likely]] {
    if (const auto cached = mmu_.find_cached(VirtAddr{address}, access)) {
      const Pfn frame = cached->data.frame();
      std::byte* const host = ram_.host_base() + frame.address().value();
      std::byte* const byte = host + (address & kPageOffsetMask);
      __builtin_prefetch(byte);  // comes while the TLBs are asked
      const bool code = has_code(frame);
      if (!code || access != Access::Write) {
        const Mmu::FillRights rights = mmu_.count_cached(VirtAddr{address}, access, *cached);
        grant(page, frame, host, rights.writable && !code);
        return byte;
      }
    }
  }
  const std::optional<Translation> t = translate_for(page, access);
  if (!t) {
    refused_already_ = true;
    return nullptr;
  }
  const Pfn frame = t->address.pfn();
  if (!ram_.contains(t->address)) return nullptr;
  // Unicorn notices stores to translated code: see fill_data().
  const bool code = has_code(frame);
  if (code && access == Access::Write) return nullptr;
  std::byte* const host = ram_.host_base() + t->address.value();
  std::byte* const byte = host + (address & kPageOffsetMask);
  __builtin_prefetch(byte);
  if (recorder_.made_before(page >> kPageShift, access)) [[unlikely]]
    return byte;
  // Writable only once Dirty is set: the first write comes back here.
  bool writable = t->writable && t->leaf.dirty() && !code;
  if (mode_ != MmuMode::Fast) {
    const Mmu::FillRights rights = mmu_.count_fill(VirtAddr{address}, access);
    if (!rights.readable) return byte;
    writable = writable && rights.writable;
  }
  grant(page, frame, host, writable);
  return byte;
}

// The soft TLB may answer further accesses of the page.
void UnicornCpu::grant(uint64_t page, Pfn frame, std::byte* host, bool writable) {
  if (writable) blocks_.note_writable(frame, aliases_.epoch());
  granted_ = true;
  if (!table_.put(page, frame.address().value(), host, writable) && ++conflicts_ > 4 * table_.entries() &&
      table_.entries() < SoftTable::kMaximumEntries) {
    table_.before_flush(true);
    flush();
  }
}

// For an access that crosses a page: the first byte of it in each.
bool UnicornCpu::reach_both(uint64_t address, unsigned size, Access access, std::byte*& first, std::byte*& second) {
  const bool write = access == Access::Write;
  const uint64_t next = (address | kPageOffsetMask) + 1;
  first = table_.look_up(address, write);
  if (!first) first = reach(address, access);
  if (!first) return false;
  const uint64_t faults = resolved_faults_;
  second = table_.look_up(next, write);
  // Made and counted before the instruction faulted: whether the soft TLB has the page by now or not, it does not count twice.
  const bool again = recorder_.made_before(next >> kPageShift, access);
  if (!second) second = reach(next, access);
  if (!second) return false;
  if (faults != resolved_faults_) {
    // The kernel may have moved the first page meanwhile.
    const WalkResult w = mmu_.inspect(VirtAddr{address});
    if (!w.ok || !w.user || (write && (!w.writable || !w.leaf.dirty() || blocks_.has_code(w.address.pfn())))) return false;
    first = ram_.host_base() + w.address.value();
  }
  if (!again) ++helper_accesses_;
  return true;
}

bool UnicornCpu::load(uint64_t address, void* to, unsigned size, uintptr_t where) {
  access_where_ = where;
  const uint64_t here = kPageSize - (address & kPageOffsetMask);
  if (size <= here) [[likely]] {
    const std::byte* from = table_.look_up(address, false);
    if (!from) from = reach(address, Access::Read);
    if (!from) return false;
    copy(to, from, size);
    return true;
  }
  std::byte *first, *second;
  if (!reach_both(address, size, Access::Read, first, second)) return false;
  std::memcpy(to, first, here);
  std::memcpy(static_cast<std::byte*>(to) + here, second, size - here);
  return true;
}

bool UnicornCpu::store(uint64_t address, const void* from, unsigned size, uintptr_t where) {
  access_where_ = where;
  const uint64_t here = kPageSize - (address & kPageOffsetMask);
  if (size <= here) [[likely]] {
    std::byte* to = table_.look_up(address, true);
    if (!to) to = reach(address, Access::Write);
    if (!to) return false;
    copy(to, from, size);
    return true;
  }
  std::byte *first, *second;
  if (!reach_both(address, size, Access::Write, first, second)) return false;
  std::memcpy(first, from, here);
  std::memcpy(second, static_cast<const std::byte*>(from) + here, size - here);
  return true;
}

void UnicornCpu::count_helper_access(uint64_t where) {
  if (!counts_accesses()) return;
  // Time passes between two instructions, whether it is known to the clock yet or not.
  const uint64_t time = clock_.instructions() + static_cast<uint64_t>(armed_ - pulse_.budget());
  helper_row_ = time == helper_time_ && where == helper_where_ ? helper_row_ + 1 : 1;
  helper_time_ = time;
  helper_where_ = where;
  in_helper_ = true;
  ++helper_accesses_;
}

// The instruction faulted, and will be made again: nothing of it has been counted, and what its accesses changed is not to change twice.
void UnicornCpu::fault_in(std::span<const std::byte> code, const UserRegisters& r, Access access) {
  if (mode_ == MmuMode::Fast) return;
  const auto accesses = disassembler_.accesses(code, r);
  if (!direct()) return recorder_.fault(accesses, fault_.address.value(), access);
  recorder_.fault_unseen(accesses, fault_.address.value(), access);
  if (!counts_accesses()) return;
  if (running_block_ && running_block_->is_last(static_cast<uint32_t>(r.rip - running_block_->address)))
    mmu_.count_data_accesses(-uint64_t{running_block_->tail_accesses});
  if (in_helper_) mmu_.count_data_accesses(-helper_row_);
}

}  // namespace vitro::hw
