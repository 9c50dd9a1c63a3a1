// A file that stands for a process, and goes on doing so when the number means another.
#pragma once

#include "syscalls/anonymous_file.h"
#include "vitro/kernel/task.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

class PidFile final : public AnonymousFile {
 public:
  PidFile(std::shared_ptr<fs::Inode> inode, unsigned flags, std::shared_ptr<kernel::PidReference> reference)
      : AnonymousFile(std::move(inode), flags), reference_(std::move(reference)) {}
  unsigned poll(fs::PollTable* table) override {
    if (table) table->wait_on(reference_->ending);
    return reference_->ended ? fs::kPollIn | fs::kPollRdNorm : 0;
  }
  const kernel::PidReference& reference() const { return *reference_; }

 private:
  std::shared_ptr<kernel::PidReference> reference_;
};

// A new, adopted one; flags: kOpenNonBlock.
Result<std::shared_ptr<PidFile>> make_pidfd(Context& c, std::shared_ptr<kernel::PidReference> reference, unsigned flags);

}  // namespace vitro::syscalls
