// CLONE_* (include/uapi/linux/sched.h), and which combinations clone(2) refuses.
#pragma once

#include <cstdint>

#include "vitro/base/result.h"

namespace vitro::kernel {

inline constexpr uint64_t kCloneVm = 0x100, kCloneFs = 0x200, kCloneFiles = 0x400, kCloneSighand = 0x800, kClonePidfd = 0x1000,
                          kClonePtrace = 0x2000, kCloneVfork = 0x4000, kCloneParent = 0x8000, kCloneThread = 0x10000, kCloneNewNs = 0x20000,
                          kCloneSysvsem = 0x40000, kCloneSetTls = 0x80000, kCloneParentSetTid = 0x100000, kCloneChildClearTid = 0x200000,
                          kCloneDetached = 0x400000, kCloneUntraced = 0x800000, kCloneChildSetTid = 0x1000000, kCloneNewCgroup = 0x2000000,
                          kCloneNewUts = 0x4000000, kCloneNewIpc = 0x8000000, kCloneNewUser = 0x10000000, kCloneNewPid = 0x20000000,
                          kCloneNewNet = 0x40000000, kCloneIo = 0x80000000, kCloneNewTime = 0x80, kCloneClearSighand = 0x100000000,
                          kCloneIntoCgroup = 0x200000000;
inline constexpr uint64_t kCloneNamespaces =
    kCloneNewNs | kCloneNewCgroup | kCloneNewUts | kCloneNewIpc | kCloneNewUser | kCloneNewPid | kCloneNewNet | kCloneNewTime;

// kernel/fork.c: copy_process. Namespaces do not exist here: Invalid, as in a kernel that was built without them; likewise cgroups.
inline Status check_clone_flags(uint64_t flags) {
  auto all = [&](uint64_t bits) { return (flags & bits) == bits; };
  if (flags & (kCloneNamespaces | kCloneIntoCgroup)) return fail(Errno::Invalid);
  if (all(kCloneThread) && !all(kCloneSighand)) return fail(Errno::Invalid);
  if (all(kCloneSighand) && !all(kCloneVm)) return fail(Errno::Invalid);
  if (all(kCloneSighand | kCloneClearSighand)) return fail(Errno::Invalid);
  if (all(kClonePidfd) && (flags & (kCloneDetached | kCloneThread))) return fail(Errno::Invalid);
  // A process's threads share its descriptors and its directories here; Linux lets them differ, which no thread library uses.
  if (all(kCloneThread) && !all(kCloneFs | kCloneFiles)) return fail(Errno::Invalid);
  return {};
}

}  // namespace vitro::kernel
