#include "vitro/base/check.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace vitro {
namespace {
CrashReporter g_reporter = nullptr;
void* g_context = nullptr;
}  // namespace

void set_crash_reporter(CrashReporter reporter, void* context) { g_reporter = reporter, g_context = context; }

void check_failed(const char* file, int line, const char* expression, std::string_view message) {
  std::fprintf(stderr, "vitro: this is a bug in vitro, please report it: %s:%d: CHECK(%s) failed%s%.*s\n", file, line, expression,
               message.empty() ? "" : ": ", static_cast<int>(message.size()), message.data());
  static bool reporting = false;
  if (g_reporter && !reporting) {
    reporting = true;
    g_reporter(g_context);
  }
  std::fflush(nullptr);
  // With VITRO_ABORT set the process aborts, for a debugger or a core file.
  if (std::getenv("VITRO_ABORT")) std::abort();
  _exit(kBugExitStatus);
}

}  // namespace vitro
