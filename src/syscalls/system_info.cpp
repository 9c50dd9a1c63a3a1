// The machine and the kernel as a whole.
#include <algorithm>
#include <cstring>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

Result<long> sys_uname(Context& c) {
  UserUtsname u{};
  const auto set = [](std::array<char, 65>& field, std::string_view text) { text.copy(field.data(), 64); };
  set(u.system, fs::kKernelType);
  set(u.node, c.kernel.hostname());
  set(u.release, fs::kKernelRelease);
  set(u.version, fs::kKernelVersion);
  set(u.machine, fs::kKernelMachine);
  set(u.domain, "(none)");
  return done(c.user.put(address_argument(c, 0), u));
}

Result<long> sys_sysinfo(Context& c) {
  const fs::SystemView view = c.kernel.system();
  mm::PhysicalMemory& memory = c.kernel.vm().physical();
  UserSysinfo s{};
  s.uptime = static_cast<int64_t>((view.uptime.value() + 999'999'999) / 1'000'000'000);
  for (size_t i = 0; i < 3; ++i) s.loads[i] = static_cast<uint64_t>(view.load[i] * 65536);
  s.unit = 1;
  s.total_ram = memory.allocator().managed_frames().bytes().value();
  s.free_ram = static_cast<uint64_t>(std::max<int64_t>(memory.stat().get(mm::VmItem::nr_free_pages), 0)) * kPageSize;
  s.shared_ram = static_cast<uint64_t>(std::max<int64_t>(memory.stat().get(mm::VmItem::nr_shmem), 0)) * kPageSize;
  s.processes = static_cast<uint16_t>(std::min(view.tasks, 65535u));
  return done(c.user.put(address_argument(c, 0), s));
}

Result<long> sys_sethostname(Context& c) {
  if (!privileged(c)) return fail(Errno::NotPermitted);
  const int length = int_argument(c, 1);
  if (length < 0 || length > 64) return fail(Errno::Invalid);
  std::string name(static_cast<size_t>(length), '\0');
  if (length) TRY(c.user.copy_in(address_argument(c, 0), std::as_writable_bytes(std::span{name})));
  return done(c.kernel.set_hostname(std::string_view{name}.substr(0, name.find('\0'))));
}

// The domain name is "(none)" and stays so.
Result<long> sys_setdomainname(Context& c) { return fail(int_argument(c, 1) < 0 || int_argument(c, 1) > 64 ? Errno::Invalid : Errno::NotPermitted); }

// kernel/printk/printk.c: do_syslog. The log is only read: nothing is cleared, and no console shows it.
Result<long> sys_syslog(Context& c) {
  constexpr int kClose = 0, kOpen = 1, kRead = 2, kReadAll = 3, kReadClear = 4, kSizeUnread = 9, kSizeBuffer = 10, kLogBuffer = 1 << 18;
  const int type = int_argument(c, 0), length = int_argument(c, 2);
  if (type < 0 || type > kSizeBuffer) return fail(Errno::Invalid);
  if (!privileged(c) && type != kReadAll && type != kSizeBuffer) return fail(Errno::NotPermitted);
  switch (type) {
    case kClose:
    case kOpen: return 0;
    case kRead:
    case kReadAll:
    case kReadClear: {
      if (c[1] == 0 || length < 0) return fail(Errno::Invalid);
      if (type != kReadAll) return fail(Errno::NotPermitted);
      const std::string log = c.kernel.kernel_log();
      // The newest whole lines that fit.
      std::string_view text{log};
      if (text.size() > static_cast<size_t>(length)) {
        text = text.substr(text.size() - static_cast<size_t>(length));
        const size_t line = text.find('\n');
        text = line == std::string_view::npos ? std::string_view{} : text.substr(line + 1);
      }
      TRY(c.user.copy_out(address_argument(c, 1), std::as_bytes(std::span{text})));
      return static_cast<long>(text.size());
    }
    case kSizeUnread: return static_cast<long>(c.kernel.kernel_log().size());
    case kSizeBuffer: return kLogBuffer;
    default: return fail(Errno::NotPermitted);
  }
}

Result<long> sys_getrandom(Context& c) {
  constexpr unsigned kNonBlock = 1, kRandom = 2, kInsecure = 4;
  const unsigned flags = unsigned_argument(c, 2);
  if ((flags & ~(kNonBlock | kRandom | kInsecure)) || (flags & (kInsecure | kRandom)) == (kInsecure | kRandom)) return fail(Errno::Invalid);
  const uint64_t count = std::min<uint64_t>(c[1], INT32_MAX);
  std::array<std::byte, 256> chunk{};
  uint64_t given = 0;
  while (given < count) {
    const size_t n = std::min<uint64_t>(chunk.size(), count - given);
    for (size_t i = 0; i < n; i += 8) {
      const uint64_t word = c.kernel.rng().next();
      std::memcpy(chunk.data() + i, &word, 8);
    }
    const size_t copied = c.user.copy_out_partial(VirtAddr{c[0] + given}, std::span{chunk}.first(n));
    given += copied;
    if (copied < n) break;
    // A long request ends early for a signal, after at least 256 bytes (drivers/char/random.c: get_random_bytes_user).
    if (given % kPageSize == 0 && c.kernel.signal_deliverable(c.task)) break;
  }
  if (given == 0 && count != 0) return fail(Errno::Fault);
  charge_copy(c, given);
  return static_cast<long>(given);
}

// What changes the machine from inside (mounts, modules, reboot, swap, ...) is not offered, even to root.
Result<long> sys_refused(Context&) { return fail(Errno::NotPermitted); }

}  // namespace vitro::syscalls
