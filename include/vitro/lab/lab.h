// A lab: one script of kernel-memory operations, run against a machine's physical memory without a kernel around it. Each step says what changed.
//
//   auto lab = lab::Lab::create({.ram = mib(256)}, [](std::string_view text) { fmt::print("{}", text); });
//   lab::Ending ending = (*lab)->run(*lab::parse("p = kmalloc 100 GFP_KERNEL\nkfree p\n"));
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "vitro/base/result.h"
#include "vitro/base/types.h"
#include "vitro/lab/script.h"

namespace vitro::lab {

struct LabConfig {
  Bytes ram = mib(256);
  unsigned cpus = 1;
  bool echo = true;      // repeats each line in front of what it did
  bool verbose = false;  // says what each step inside a repeat changed, too
  bool verify = false;   // recounts all of the memory manager's state after each step and repeat, as long as the script has corrupted nothing itself
};

// How a script ended.
struct Ending {
  enum class Kind : uint8_t {
    Done,           // every line ran, every expectation held
    ExpectFailed,   // an expect, or an expect_error whose error did not come
    KernelError,    // what a kernel would call a BUG or an oops, and nobody expected
    ScriptMistake,  // something only seen while it runs: a division by zero, an element that was never assigned
  };
  Kind kind = Kind::Done;
  Position at;
  std::string what;  // one line
  int status() const { return kind == Kind::Done ? 0 : kind == Kind::ScriptMistake ? 2 : 1; }
};

class Lab {
 public:
  using Output = std::function<void(std::string_view)>;

  // Errors: RAM out of range.
  static Result<std::unique_ptr<Lab>, UserError> create(const LabConfig& config, Output output);
  virtual ~Lab() = default;

  // Runs one script after whatever ran before; variables and memory stay. The script may go away afterwards.
  virtual Ending run(const Script& script) = 0;
  // Prints what is allocated and was never freed. Returns how many allocations these are.
  virtual size_t report_leaks() = 0;
};

}  // namespace vitro::lab
