// From a number to its handler, and everything that happens around a call: trace events, --strace, the log of missing calls.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <ranges>
#include <string>

#include "syscalls/runtime.h"
#include "syscalls/message_queues.h"
#include "syscalls/semaphore_sets.h"
#include "syscalls/shared_segments.h"
#include "syscalls/socket_inode.h"
#include "syscalls/socket_names.h"
#include "syscalls/strace.h"
#include "syscalls/timers.h"
#include "syscalls/unix_socket.h"
#include "vitro/base/trace.h"
#include "vitro/syscalls/table.h"

namespace vitro::syscalls {

Runtime::Runtime()
    : timers(std::make_unique<PosixTimers>()), segments(std::make_unique<SharedSegments>()),
      semaphores(std::make_unique<SemaphoreSets>()), queues(std::make_unique<MessageQueues>()), sockets(std::make_unique<SocketNames>()) {
  sockets->file_system = make_socket_file_system();
  sockets->garbage = std::make_shared<SocketGarbage>();
}
Runtime::~Runtime() = default;

namespace {

std::string hex_arguments(const std::array<uint64_t, 6>& a) { return fmt::format("{:x}, {:x}, {:x}, {:x}, {:x}, {:x}", a[0], a[1], a[2], a[3], a[4], a[5]); }

class Table final : public kernel::SyscallTable {
 public:
  explicit Table(const TableOptions& options) : options_(options) {}

  Result<long> dispatch(kernel::Kernel& kernel, kernel::Task& task, uint64_t number, const std::array<uint64_t, 6>& arguments) override {
    const Entry* entry = find(number);
    const char* name = entry ? entry->name : "unknown";
    TRACE(kernel.tracer(), Event::SysEnter, number, name, hex_arguments(arguments));
    StraceLine line;
    if (options_.strace) [[unlikely]] line = strace_enter(task, entry, number, arguments);

    Result<long> result = fail(Errno::NoSyscall);
    if (entry && entry->handler) {
      Context context{kernel, task, arguments, task.user(), runtime_};
      result = entry->handler(context);
    } else {
      warn_once(task, number, name, arguments);
    }

    if (options_.strace) [[unlikely]] {
      strace_exit(line, task, entry, arguments, result);
      // One write a line, so that lines of the host program's own never fall into it.
      std::fwrite(line.text.data(), 1, line.text.size(), stderr);
    }
    TRACE(kernel.tracer(), Event::SysExit, number, name, result ? *result : -static_cast<long>(result.error()));
    return result;
  }

  void descriptors_closed() override {
    runtime_.record_locks.owners_may_be_gone();
    runtime_.whole_locks.owners_may_be_gone();
    runtime_.sockets->garbage->collect();
  }
  void process_ended(kernel::Process& process) override { runtime_.semaphores->process_ended(process.pid); }
  std::string_view name_of(uint64_t number) const override {
    const Entry* entry = find(number);
    return entry ? entry->name : "an unknown system call";
  }

 private:
  void warn_once(const kernel::Task& task, uint64_t number, const char* name, const std::array<uint64_t, 6>& arguments) {
    // All numbers that no table has count as one.
    const size_t slot = std::min<uint64_t>(number, runtime_.warned.size() - 1);
    if (runtime_.warned.test(slot)) return;
    runtime_.warned.set(slot);
    spdlog::warn("{}[{}]: system call {} ({}) is not implemented: ENOSYS; arguments {}", task.comm, task.tid.value(), number, name, hex_arguments(arguments));
  }

  TableOptions options_;
  Runtime runtime_;
};

}  // namespace

std::unique_ptr<kernel::SyscallTable> make_table(const TableOptions& options) { return std::make_unique<Table>(options); }

}  // namespace vitro::syscalls
