// A call as strace prints it. Nothing is touched by looking: only memory that is mapped now is read, past the TLBs and without setting Accessed bits.
//
//   [pid   302] openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

// A line begins with what can be printed before the call: up to the first argument that the call fills in, or that lies in memory which is not there yet
// (the call itself will bring it in). strace_exit adds the rest and ends the line.
struct StraceLine {
  std::string text;
  size_t printed = 0;  // arguments
};
StraceLine strace_enter(kernel::Task& task, const Entry* entry, uint64_t number, const std::array<uint64_t, 6>& arguments);
void strace_exit(StraceLine& line, kernel::Task& task, const Entry* entry, const std::array<uint64_t, 6>& arguments, const Result<long>& result);

// Pieces, for tests.
std::string quoted(std::string_view bytes, bool cut_short);  // "text\n"...
std::string open_flags_text(uint64_t flags);                 // O_RDWR|O_CREAT
std::string result_text(std::string_view name, const Result<long>& result);
std::string_view errno_text(Errno e);                        // "No such file or directory"
std::string_view signal_name(int signal);                    // "SIGCHLD"; empty where there is none

// Copies bytes of the task's memory that are in RAM now; returns how many before the first that is not.
size_t peek(kernel::Task& task, VirtAddr from, std::span<std::byte> to);

}  // namespace vitro::syscalls
