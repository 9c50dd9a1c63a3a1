// CHECK: our own bugs. Prints the values, what the machine was doing, and aborts; in release builds too. DCHECK only in debug builds.
//
//   CHECK(frame.refcount > 0, "pfn {} freed twice", pfn.value());
#pragma once

#include <fmt/core.h>

#include <string_view>

namespace vitro {

// Exit status of a run that a CHECK ended.
inline constexpr int kBugExitStatus = 70;

// Called by a failing CHECK to say what the machine was doing (seed, instruction count, last events). Prints to stderr; must not allocate
// from simulated memory. One per process; null removes it.
using CrashReporter = void (*)(void* context);
void set_crash_reporter(CrashReporter reporter, void* context);

[[noreturn]] void check_failed(const char* file, int line, const char* expression, std::string_view message);

}  // namespace vitro

#define CHECK(condition, ...)                                                                     \
  do {                                                                                            \
    if (!(condition)) [[unlikely]]                                                                \
      ::vitro::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__));       \
  } while (false)

#ifdef NDEBUG
#define DCHECK(condition, ...) \
  do {                         \
  } while (false && (condition))
#else
#define DCHECK(condition, ...) CHECK(condition, __VA_ARGS__)
#endif
