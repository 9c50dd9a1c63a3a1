// The limits that system calls enforce, as files of /proc/sys.
#include <fmt/format.h>

#include "syscalls/message_queues.h"
#include "syscalls/semaphore_sets.h"
#include "syscalls/shared_segments.h"
#include "syscalls/unix_socket.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

std::vector<fs::Tunable> settings() {
  std::vector<fs::Tunable> all;
  const auto add = [&all](std::string path, std::string text) { all.push_back({std::move(path), [text = std::move(text) + "\n"] { return text; }, nullptr}); };
  using M = MessageQueues;
  add("kernel/msgmax", fmt::format("{}", M::kLongest));
  add("kernel/msgmnb", fmt::format("{}", M::kMostBytes));
  add("kernel/msgmni", fmt::format("{}", M::kMostQueues));
  using S = SemaphoreSets;
  add("kernel/sem", fmt::format("{}\t{}\t{}\t{}", S::kMostOfSet, S::kMostInAll, S::kMostOperations, S::kMostSets));
  add("kernel/shmall", fmt::format("{}", SharedSegments::kMostBytes));
  add("kernel/shmmax", fmt::format("{}", SharedSegments::kMostBytes));
  add("kernel/shmmni", fmt::format("{}", SharedSegments::kMostSegments));
  for (const char* name : {"rmem_default", "rmem_max", "wmem_default", "wmem_max"}) add(fmt::format("net/core/{}", name), fmt::format("{}", UnixSocket::kBuffer));
  return all;
}

}  // namespace vitro::syscalls
