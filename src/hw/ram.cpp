#include "vitro/hw/ram.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "hw/host_pages.h"

namespace vitro::hw {
namespace {

// Pages of zero that cost host memory only once they are written. Null where the host refuses.
void* map_lazily(size_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

// The same from a multiple of 2 MiB on, so that huge pages of the host fit.
void* map_aligned(size_t bytes) {
  constexpr uint64_t kHuge = mib(2).value();
  void* at = map_lazily(bytes + kHuge);
  if (!at) return nullptr;
  const auto from = reinterpret_cast<uintptr_t>(at);
  const uint64_t before = (kHuge - from % kHuge) % kHuge;
  if (before) ::munmap(at, before);
  std::byte* const base = static_cast<std::byte*>(at) + before;
  ::munmap(base + bytes, kHuge - before);
  return base;
}

std::string readable(Bytes size) {
  const uint64_t n = size.value();
  if (n != 0 && n % gib(1).value() == 0) return fmt::format("{} GiB", n >> 30);
  if (n != 0 && n % mib(1).value() == 0) return fmt::format("{} MiB", n >> 20);
  if (n != 0 && n % kib(1).value() == 0) return fmt::format("{} KiB", n >> 10);
  return fmt::format("{} bytes", n);
}

}  // namespace

Result<std::unique_ptr<Ram>, UserError> Ram::create(Bytes size) {
  if (size < kMinimum)
    return fail(
        UserError{fmt::format("{} of RAM is too little", readable(size)), fmt::format("give the machine at least {}", readable(kMinimum))});
  if (size > kMaximum)
    return fail(UserError{fmt::format("{} of RAM is too much", readable(size)),
                          fmt::format("the machine has {} bits of physical address: at most {}", kPhysicalBits, readable(kMaximum))});
  if (!size.page_aligned())
    return fail(UserError{fmt::format("{} of RAM is no whole number of pages", readable(size)), "give a multiple of 4 KiB"});
  void* base = map_aligned(size.value());
  void* executed = base ? map_lazily(size.pages_down().value()) : nullptr;
  if (!executed) {
    const int error = errno;
    if (base) ::munmap(base, size.value());
    return fail(UserError{fmt::format("the host cannot map {} of RAM: {}", readable(size), std::strerror(error)),
                          "ask for less RAM, or raise the host's limits (ulimit -v, vm.overcommit_memory)"});
  }
  return std::unique_ptr<Ram>(new Ram(static_cast<std::byte*>(base), size, static_cast<uint8_t*>(executed)));
}

Ram::Ram(std::byte* base, Bytes size, uint8_t* executed) : base_(base), size_(size), executed_(executed), host_pages_(std::make_unique<HostPages>(base, size)) {}

Ram::~Ram() {
  host_pages_.reset();
  ::munmap(base_, size_.value());
  ::munmap(executed_, frames().value());
}

void Ram::bring_in(Pfn f) { host_pages_->bring_in(f); }

void Ram::forget_code(Pfn f) {
  // Cleared first: the CPU marks the frame again when it fetches from it again.
  executed_[f.value()] = 0;
  if (invalidator_) invalidator_->invalidate_code(f);
}

}  // namespace vitro::hw
