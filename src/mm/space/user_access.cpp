// The kernel's accesses to user memory: a page at a time, with the task's rights, faulting pages in as the task itself would.
#include <algorithm>
#include <cstring>

#include "mm/space/address_space_state.h"
#include "mm/space/virtual_memory_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// Another thread may take a page away between a fault and the access, but not for ever.
constexpr unsigned kMostFaults = 10000;

// Where `address` of the loaded address space lies, for one access through the MMU. The rest of its page may be used too.
Result<PhysAddr> translate(AddressSpace& space, VirtAddr address, hw::Access access) {
  hw::Mmu& mmu = space.vm().mmu();
  DCHECK(mmu.root() == space.page_table_root(), "user access to an address space that is not loaded");
  for (unsigned faults = 0; faults < kMostFaults; ++faults) {
    if (address >= kUserEnd) return fail(Errno::Fault);
    const auto translation =
        mmu.tlb_modelled() ? mmu.translate(address, access, hw::Privilege::Supervisor) : mmu.resolve(address, access, hw::Privilege::Supervisor);
    if (translation) return translation->address;
    const FaultOutcome outcome = space.handle_fault(address, access, hw::Privilege::Supervisor, MayWait::Yes);
    if (outcome.result != FaultOutcome::Result::Resolved) return fail(Errno::Fault);
  }
  CHECK(false, "a fault at {:#x} is handled again and again", address.value());
  return fail(Errno::Fault);
}

// The same for any address space, straight from its tables.
Result<PhysAddr> translate_remote(AddressSpace& space, VirtAddr address, hw::Access access) {
  AddressSpace::State& s = space.state();
  for (unsigned faults = 0; faults < kMostFaults; ++faults) {
    if (address >= kUserEnd) return fail(Errno::Fault);
    const auto entry = s.tables.find_entry(address);
    const Pte pte = entry ? s.tables.at(*entry) : Pte{};
    if (pte.present() && (access != hw::Access::Write || pte.writable())) {
      s.tables.mark(*entry, access == hw::Access::Write ? Pte::kAccessed | Pte::kDirty : Pte::kAccessed);
      return pte.pfn().address() + address.page_offset();
    }
    const FaultOutcome outcome = space.handle_fault(address, access, hw::Privilege::Supervisor, MayWait::Yes);
    if (outcome.result != FaultOutcome::Result::Resolved) return fail(Errno::Fault);
  }
  CHECK(false, "a fault at {:#x} is handled again and again", address.value());
  return fail(Errno::Fault);
}

using Translate = Result<PhysAddr> (*)(AddressSpace&, VirtAddr, hw::Access);

// Splits [at, at + n) into pages: step(PhysAddr, done, chunk). Returns how many bytes were done before the first bad address.
template <class Step>
size_t by_page(AddressSpace& space, Translate where, VirtAddr at, size_t n, hw::Access access, Step&& step) {
  size_t done = 0;
  while (done < n) {
    const VirtAddr a{at.value() + done};
    if (a < at) break;  // wrapped around
    const size_t chunk = std::min<uint64_t>(n - done, kPageSize - a.page_offset().value());
    const auto physical = where(space, a, access);
    if (!physical) break;
    step(*physical, done, chunk);
    done += chunk;
  }
  return done;
}

size_t read_pages(AddressSpace& space, Translate where, VirtAddr from, std::span<std::byte> to) {
  hw::Ram& ram = space.vm().physical().ram();
  return by_page(space, where, from, to.size(), hw::Access::Read,
                 [&](PhysAddr p, size_t done, size_t n) { std::memcpy(to.data() + done, ram.read(p, Bytes{n}).data(), n); });
}

size_t write_pages(AddressSpace& space, Translate where, VirtAddr to, std::span<const std::byte> from) {
  hw::Ram& ram = space.vm().physical().ram();
  return by_page(space, where, to, from.size(), hw::Access::Write,
                 [&](PhysAddr p, size_t done, size_t n) { std::memcpy(ram.write(p, Bytes{n}).data(), from.data() + done, n); });
}

// The loaded space goes through the MMU; another one (a kernel thread, exec's new image) through its tables.
Translate way_to(AddressSpace& space) { return space.vm().mmu().root() == space.page_table_root() ? &translate : &translate_remote; }

}  // namespace

Status UserAccess::copy_in(VirtAddr from, std::span<std::byte> to) {
  if (copy_in_partial(from, to) < to.size()) return fail(Errno::Fault);
  return {};
}

Status UserAccess::copy_out(VirtAddr to, std::span<const std::byte> from) {
  if (copy_out_partial(to, from) < from.size()) return fail(Errno::Fault);
  return {};
}

size_t UserAccess::copy_in_partial(VirtAddr from, std::span<std::byte> to) { return read_pages(space_, way_to(space_), from, to); }
size_t UserAccess::copy_out_partial(VirtAddr to, std::span<const std::byte> from) { return write_pages(space_, way_to(space_), to, from); }

Status UserAccess::clear(VirtAddr to, size_t n) {
  hw::Ram& ram = space_.vm().physical().ram();
  const size_t done = by_page(space_, way_to(space_), to, n, hw::Access::Write,
                              [&](PhysAddr p, size_t, size_t chunk) { std::memset(ram.write(p, Bytes{chunk}).data(), 0, chunk); });
  if (done < n) return fail(Errno::Fault);
  return {};
}

Result<std::string> UserAccess::string_in(VirtAddr from, size_t limit) {
  hw::Ram& ram = space_.vm().physical().ram();
  std::string text;
  VirtAddr at = from;
  while (text.size() <= limit) {
    const PhysAddr p = TRY(way_to(space_)(space_, at, hw::Access::Read));
    const auto bytes = ram.read(p, Bytes{std::min<uint64_t>(kPageSize - at.page_offset().value(), limit + 1 - text.size())});
    const auto* begin = reinterpret_cast<const char*>(bytes.data());
    if (const void* zero = std::memchr(begin, 0, bytes.size())) {
      text.append(begin, static_cast<const char*>(zero));
      return text;
    }
    text.append(begin, bytes.size());
    at += Bytes{bytes.size()};
  }
  return fail(Errno::NameTooLong);
}

Result<uint32_t> UserAccess::compare_exchange(VirtAddr at, uint32_t expected, uint32_t desired) {
  if (at.value() % sizeof(uint32_t) != 0) return fail(Errno::Invalid);
  const PhysAddr p = TRY(way_to(space_)(space_, at, hw::Access::Write));
  // Nothing of the guest runs between the two.
  uint32_t old;
  std::memcpy(&old, space_.vm().physical().ram().read(p, Bytes{sizeof old}).data(), sizeof old);
  if (old == expected) std::memcpy(space_.vm().physical().ram().write(p, Bytes{sizeof desired}).data(), &desired, sizeof desired);
  return old;
}

size_t AddressSpace::read_remote(VirtAddr from, std::span<std::byte> to) { return read_pages(*this, &translate_remote, from, to); }
size_t AddressSpace::write_remote(VirtAddr to, std::span<const std::byte> from) { return write_pages(*this, &translate_remote, to, from); }

}  // namespace vitro::mm
