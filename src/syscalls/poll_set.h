// Sleeping until one of several files is ready: what poll and select share.
#pragma once

#include <optional>
#include <vector>

#include "vitro/fs/file.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

// Collects the queues to sleep on.
class QueueCollector final : public fs::PollTable {
 public:
  void wait_on(WaitQueue& queue) override { queues.push_back(&queue); }
  std::vector<WaitQueue*> queues;
};

// Calls `scan(table)`, which returns how many are ready, until some are, the deadline comes (absolute; absent: never) or a signal does (RestartSys).
template <class Scan>
Result<long> wait_until_ready(Context& c, std::optional<Nanoseconds> deadline, Scan scan) {
  WaitQueue nobody;
  for (;;) {
    const bool expired = deadline && c.kernel.now() >= *deadline;
    QueueCollector collector;
    const long ready = TRY(scan(expired ? nullptr : &collector));
    if (ready != 0 || expired) return ready;
    if (collector.queues.empty()) collector.queues.push_back(&nobody);
    const Status s = c.kernel.wait_any(collector.queues, deadline);
    if (!s && s.error() != Errno::TimedOut) return fail(s.error());
  }
}

}  // namespace vitro::syscalls
