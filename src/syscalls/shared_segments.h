// System V shared memory (ipc/shm.c): segments with keys, which live until they are removed and nobody has them attached.
#pragma once

#include <map>
#include <memory>
#include <optional>

#include "syscalls/ipc_ownership.h"
#include "vitro/fs/types.h"
#include "vitro/mm/ports.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

struct SharedSegment : IpcOwnership {     // `mode`: also SHM_DEST (01000)
  uint64_t size = 0;
  Pid creator{0}, last{0};
  int64_t attached_time = 0, detached_time = 0, changed_time = 0;
  // What attachments map. Each of their VMAs holds one reference, forked ones included. A removed segment keeps none of its own, so that the last
  // detach frees the memory.
  std::shared_ptr<mm::MappedFile> kept;
  std::weak_ptr<mm::MappedFile> mapped;
  uint64_t attachments() const { return static_cast<uint64_t>(mapped.use_count()) - (kept ? 1 : 0); }
  bool doomed() const { return mode & 01000; }
};

class SharedSegments : public IpcTable<SharedSegment> {
 public:
  static constexpr uint64_t kMostSegments = 4096, kMostBytes = ~uint64_t{0} - (1u << 24);  // SHMMNI, SHMMAX

  // Forgets what was removed by its owner and is no longer attached. To be called before anything is looked for.
  void sweep();
};

}  // namespace vitro::syscalls
