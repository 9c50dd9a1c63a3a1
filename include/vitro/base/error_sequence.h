// Errors of writing back, told once to everybody who had the file open (lib/errseq.c).
//
//   ErrorSequence errors;                    // the file's
//   auto since = errors.sample();            // at open
//   errors.set(Errno::IoError);              // a write failed
//   errors.check_and_advance(since);         // fsync: IoError, and success from then on
#pragma once

#include <cstdint>

#include "vitro/base/result.h"

namespace vitro {

class ErrorSequence {
 public:
  // What somebody has seen of a sequence.
  struct Mark {
    uint64_t value = 0;
  };

  // Where a new observer begins: an error that nobody has seen yet is still ahead of it.
  Mark sample() const { return {seen_}; }
  // Where everything up to now is behind.
  Mark now() const { return {count_}; }
  void set(Errno error) {
    ++count_;
    error_ = error;
  }
  // Success when nothing was set since; otherwise the last error.
  Status check(const Mark& since) const {
    if (since.value == count_) return {};
    return fail(error_);
  }
  Status check_and_advance(Mark& since) {
    const Status result = check(since);
    if (!result) since.value = seen_ = count_;
    return result;
  }

 private:
  uint64_t count_ = 0, seen_ = 0;
  Errno error_ = Errno::IoError;
};

}  // namespace vitro
