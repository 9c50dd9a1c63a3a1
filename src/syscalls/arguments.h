// What most handlers begin with: paths, descriptors and times out of a call's arguments, and what they end with.
#pragma once

#include <optional>
#include <string>

#include "syscalls/layouts.h"
#include "vitro/kernel/kernel.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

inline constexpr int kAtCwd = -100;
inline constexpr unsigned kAtNoFollow = 0x100, kAtRemoveDirectory = 0x200, kAtEaccess = 0x200, kAtFollow = 0x400, kAtNoAutomount = 0x800, kAtEmptyPath = 0x1000,
                          kAtStatxSync = 0x6000;
inline constexpr uint64_t kMaxRwCount = 0x7ffff000;
inline constexpr size_t kPathMax = 4096;

inline int int_argument(const Context& c, size_t i) { return static_cast<int>(c[i]); }
inline unsigned unsigned_argument(const Context& c, size_t i) { return static_cast<unsigned>(c[i]); }
inline VirtAddr address_argument(const Context& c, size_t i) { return VirtAddr{c[i]}; }

// [address, address + length) lies in the user half (access_ok).
bool in_user_range(uint64_t address, uint64_t length);

// A path: Fault, NameTooLong. Empty where the guest's is.
Result<std::string> path_argument(Context& c, size_t i);
// The directory that a relative path starts at: null for AT_FDCWD or an absolute path. BadFile.
Result<fs::DentryRef> start_directory(Context& c, int directory_fd, std::string_view path);

// An open file: BadFile where it is not open. The first also refuses O_PATH descriptors, as most calls do.
Result<std::shared_ptr<fs::File>> file_argument(Context& c, size_t i);
Result<std::shared_ptr<fs::File>> any_file_argument(Context& c, size_t i);
kernel::FdTable& descriptors(Context& c);
uint64_t descriptor_limit(Context& c);
// Gives the file the lowest free number.
Result<long> install(Context& c, std::shared_ptr<fs::File> file, bool close_on_exec);

uint32_t type_of(fs::File& file);  // S_IFMT bits of its inode

// A timespec as a duration. Invalid where it is negative or has too many nanoseconds; beyond 292 years: the largest.
Result<Nanoseconds> duration_of(const UserTimespec& t);
Result<Nanoseconds> duration_of(const UserTimeval& t);
UserTimespec timespec_of(Nanoseconds t);
UserTimeval timeval_of(Nanoseconds t);
inline constexpr Nanoseconds kForever{INT64_MAX};
Nanoseconds add_saturating(Nanoseconds a, Nanoseconds b);
// A point of the guest's realtime clock as monotonic time (0 if it is past the start).
Nanoseconds monotonic_of_realtime(Context& c, Nanoseconds realtime);

UserRusage rusage_of(const kernel::ResourceUsage& usage);

// Charges the time of a kernel copy of n bytes to or from user memory.
void charge_copy(Context& c, uint64_t n);

// The caller has root's rights (any capability).
bool privileged(const Context& c);

// "1 or 0" helper for statuses: a call that returns nothing but success.
inline Result<long> done(Status s) {
  if (!s) return fail(s.error());
  return 0;
}

// Installs `mask` (of 8 bytes at `address`, 0: none) for the duration of a call that waits (ppoll, pselect, epoll_pwait).
Status begin_temporary_mask(Context& c, uint64_t address, uint64_t size);
// Puts the old mask back unless the call was interrupted: then the signal's delivery does.
void end_temporary_mask(Context& c, bool interrupted);

}  // namespace vitro::syscalls
