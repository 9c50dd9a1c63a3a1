// Decoding of what most calls share.
#include "syscalls/arguments.h"

#include "vitro/hw/timing_model.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

bool in_user_range(uint64_t address, uint64_t length) {
  constexpr uint64_t kEnd = mm::kUserEnd.value();
  return length <= kEnd && address <= kEnd - length;
}

Result<std::string> path_argument(Context& c, size_t i) { return c.user.string_in(VirtAddr{c[i]}, kPathMax - 1); }

Result<fs::DentryRef> start_directory(Context& c, int directory_fd, std::string_view path) {
  if (directory_fd == kAtCwd || (!path.empty() && path.front() == '/')) return fs::DentryRef{};
  auto file = TRY(descriptors(c).get(directory_fd));
  if (!file->dentry()) return fail(Errno::NotDirectory);
  return file->dentry();
}

kernel::FdTable& descriptors(Context& c) { return *c.task.process->files; }

Result<std::shared_ptr<fs::File>> any_file_argument(Context& c, size_t i) { return descriptors(c).get(int_argument(c, i)); }

Result<std::shared_ptr<fs::File>> file_argument(Context& c, size_t i) {
  auto file = TRY(any_file_argument(c, i));
  if (file->flags() & fs::kOpenPath) return fail(Errno::BadFile);
  return file;
}

uint64_t descriptor_limit(Context& c) { return c.task.process->limits[kernel::kLimitNofile].soft; }

Result<long> install(Context& c, std::shared_ptr<fs::File> file, bool close_on_exec) {
  return TRY(descriptors(c).install(std::move(file), close_on_exec, descriptor_limit(c)));
}

uint32_t type_of(fs::File& file) { return file.inode().attributes().mode & fs::kTypeMask; }

Result<Nanoseconds> duration_of(const UserTimespec& t) {
  if (t.seconds < 0 || t.nanoseconds < 0 || t.nanoseconds >= 1'000'000'000) return fail(Errno::Invalid);
  if (t.seconds >= INT64_MAX / 1'000'000'000) return kForever;
  return Nanoseconds{static_cast<uint64_t>(t.seconds) * 1'000'000'000 + static_cast<uint64_t>(t.nanoseconds)};
}

Result<Nanoseconds> duration_of(const UserTimeval& t) {
  if (t.seconds < 0 || t.microseconds < 0 || t.microseconds >= 1'000'000) return fail(Errno::Invalid);
  return duration_of(UserTimespec{t.seconds, t.microseconds * 1000});
}

UserTimespec timespec_of(Nanoseconds t) {
  return {static_cast<int64_t>(t.value() / 1'000'000'000), static_cast<int64_t>(t.value() % 1'000'000'000)};
}

UserTimeval timeval_of(Nanoseconds t) {
  const UserTimespec s = timespec_of(t);
  return {s.seconds, s.nanoseconds / 1000};
}

Nanoseconds add_saturating(Nanoseconds a, Nanoseconds b) {
  if (b >= kForever || a >= kForever || a.value() > kForever.value() - b.value()) return kForever;
  return a + b;
}

Nanoseconds monotonic_of_realtime(Context& c, Nanoseconds realtime) {
  const Nanoseconds boot = c.kernel.realtime() - c.kernel.now();
  if (realtime >= kForever) return kForever;
  return realtime > boot ? realtime - boot : Nanoseconds{0};
}

UserRusage rusage_of(const kernel::ResourceUsage& u) {
  UserRusage out{};
  out.user = timeval_of(u.user);
  out.system = timeval_of(u.system);
  out.max_rss = static_cast<int64_t>(u.max_rss_kb);
  out.min_flt = static_cast<int64_t>(u.min_flt);
  out.maj_flt = static_cast<int64_t>(u.maj_flt);
  out.in_blocks = static_cast<int64_t>(u.in_blocks);
  out.out_blocks = static_cast<int64_t>(u.out_blocks);
  out.voluntary = static_cast<int64_t>(u.voluntary_switches);
  out.involuntary = static_cast<int64_t>(u.involuntary_switches);
  return out;
}

void charge_copy(Context& c, uint64_t n) { c.kernel.clock().advance(Nanoseconds{c.kernel.timing().copy_per_kib.value() * n / 1024}); }

bool privileged(const Context& c) { return c.task.process->credentials.euid == 0; }

Status begin_temporary_mask(Context& c, uint64_t address, uint64_t size) {
  if (address == 0) return {};
  if (size != sizeof(kernel::SignalSet)) return fail(Errno::Invalid);
  const auto mask = TRY(c.user.get<kernel::SignalSet>(VirtAddr{address}));
  c.task.saved_mask = c.task.blocked;
  c.kernel.set_blocked(c.task, mask & ~(kernel::signal_bit(kernel::kSigKill) | kernel::signal_bit(kernel::kSigStop)));
  return {};
}

void end_temporary_mask(Context& c, bool interrupted) {
  if (interrupted || !c.task.saved_mask) return;
  const kernel::SignalSet old = *c.task.saved_mask;
  c.task.saved_mask.reset();
  c.kernel.set_blocked(c.task, old);
}

}  // namespace vitro::syscalls
