// execve(2): opening the file, trying the formats, and leaving the old program behind (fs/exec.c).
#include <algorithm>

#include "kernel/program_start.h"
#include "kernel/signal_sets.h"
#include "kernel/user_exit.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::kernel {
namespace {

constexpr int kMostInterpreters = 5;  // exec_binprm
constexpr unsigned kAtSymlinkNoFollow = 0x100, kAtEmptyPath = 0x1000;

constexpr BinaryFormat kFormats[] = {
    {"script", load_script},
    {"elf", load_elf},
};

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

std::span<const BinaryFormat> binary_formats() { return kFormats; }

Result<std::shared_ptr<fs::File>> open_executable(Kernel::State& s, Task& t, const fs::DentryRef& at, const std::string& path,
                                                  unsigned flags, std::string& why) {
  auto refuse = [&](Errno e, const char* what) {
    why = what;
    return fail(e);
  };
  const fs::PathContext context = s.kernel.path_context(t);
  fs::DentryRef dentry = at;
  if (!(path.empty() && (flags & kAtEmptyPath) && at)) {
    auto found = s.vfs.resolve(context, at, path, flags & kAtSymlinkNoFollow ? fs::Follow::No : fs::Follow::Yes);
    if (!found) {
      switch (found.error()) {
        case Errno::NoEntry:
          return refuse(found.error(), "no such file");
        case Errno::Access:
          return refuse(found.error(), "permission denied");
        case Errno::NotDirectory:
          return refuse(found.error(), "a part of the path is not a directory");
        default:
          return refuse(found.error(), "the path cannot be followed");
      }
    }
    dentry = *found;
  }
  fs::Inode& inode = s.vfs.inode_of(dentry);
  const fs::Attributes attributes = inode.attributes();
  if ((attributes.mode & fs::kTypeMask) == fs::kSymlink) return refuse(Errno::SymlinkLoop, "it is a symbolic link");
  if ((attributes.mode & fs::kTypeMask) != fs::kRegular) return refuse(Errno::Access, "it is not a regular file");
  if (!fs::permitted(attributes, t.process->credentials, fs::kMayExec))
    return refuse(Errno::Access, "it is not executable (no x permission)");
  auto file = inode.open(fs::kOpenRead | fs::kOpenLargeFile, s.kernel.open_context(t));
  if (!file) return refuse(file.error(), "it cannot be opened");
  if (auto denied = (*file)->deny_writes(); !denied) return refuse(denied.error(), "it is open for writing");
  auto memory = s.vm.physical().caches().allocate(mm::KernelCache::Filp, mm::Gfp::KernelAccount);
  if (!memory) return refuse(Errno::NoMemory, "not enough memory");
  if (!(*file)->memory) (*file)->memory = std::move(*memory);
  (*file)->set_dentry(dentry);
  return file;
}

Status read_exactly(Kernel::State& s, fs::File& file, uint64_t offset, std::span<std::byte> to) {
  BufferSink sink(to);
  size_t done = 0;
  while (done < to.size()) {
    const size_t n = TRY(file.read_at(offset + done, to.size() - done, sink, s.kernel));
    if (n == 0) return fail(Errno::ExecFormat);
    done += n;
  }
  return {};
}

Status set_file(Kernel::State& s, ProgramStart& program, std::shared_ptr<fs::File> file, std::string name) {
  program.file = std::move(file);
  program.interpreted = std::move(name);
  program.file_size = program.file->inode().attributes().size;
  program.head = {};
  program.head_size = std::min<uint64_t>(program.file_size, program.head.size());
  return read_exactly(s, *program.file, 0, std::span{program.head}.first(program.head_size));
}

Result<LoadOutcome> load_script(Kernel::State& s, Task& t, ProgramStart& program) {
  const auto head = program.head_bytes();
  const auto line = parse_script_line({reinterpret_cast<const char*>(head.data()), head.size()});
  if (!line) return LoadOutcome::NotThisFormat;
  // argv[0] is replaced by: interpreter, its argument if any, the script's path.
  std::vector<std::string> front{line->interpreter};
  if (line->argument) front.push_back(*line->argument);
  front.push_back(program.interpreted);
  if (!program.arguments.empty()) program.arguments.erase(program.arguments.begin());
  program.arguments.insert(program.arguments.begin(), front.begin(), front.end());
  std::string reason;
  auto file = open_executable(s, t, nullptr, line->interpreter, 0, reason);
  if (!file) {
    program.why = "its interpreter " + line->interpreter + " cannot be used: " + reason;
    return fail(file.error());
  }
  TRY(set_file(s, program, std::move(*file), line->interpreter));
  return LoadOutcome::Again;
}

Status Kernel::State::load_program(Task& t, const fs::DentryRef& at, const std::string& path, std::vector<std::string> arguments,
                                   std::vector<std::string> environment, unsigned flags, std::string* why) {
  const Process& p = *t.process;
  if (p.credentials.uid != 0 && tasks_of_user(p.credentials.uid) > p.limits[kLimitNproc].soft) return fail(Errno::Again);
  ProgramStart program;
  auto failed = [&](Errno e) {
    if (why) *why = program.why;
    return fail(e);
  };
  program.path = path.empty() && at ? vfs.path_of(at, p.fs->root) : path;
  program.arguments = std::move(arguments);
  program.environment = std::move(environment);
  if (program.arguments.empty()) program.arguments.emplace_back();  // argc is never 0
  auto file = open_executable(*this, t, at, path, flags, program.why);
  if (!file) return failed(file.error());
  if (auto s = set_file(*this, program, std::move(*file), program.path); !s) return failed(s.error());
  for (int depth = 0;; ++depth) {
    if (depth > kMostInterpreters) {
      program.why = "its interpreters are scripts of scripts of scripts";
      return failed(Errno::SymlinkLoop);
    }
    if (auto s = check_argument_size(program, p.limits[kLimitStack].soft); !s) {
      program.why = "its arguments and environment are too long";
      return failed(s.error());
    }
    LoadOutcome outcome = LoadOutcome::NotThisFormat;
    for (const BinaryFormat& format : binary_formats()) {
      const auto loaded = format.load(*this, t, program);
      if (!loaded) return failed(loaded.error());
      if ((outcome = *loaded) != LoadOutcome::NotThisFormat) break;
    }
    if (outcome == LoadOutcome::Loaded) return {};
    if (outcome == LoadOutcome::NotThisFormat) {
      program.why = "it is neither an ELF program nor a script that starts with #!";
      return failed(Errno::ExecFormat);
    }
  }
}

Status Kernel::exec(Task& t, const fs::DentryRef& at, const std::string& path, std::vector<std::string> arguments,
                    std::vector<std::string> environment, unsigned flags) {
  return state_->load_program(t, at, path, std::move(arguments), std::move(environment), flags, nullptr);
}

// de_thread: the others die; the caller becomes the leader, whose number it takes over.
Status Kernel::State::kill_other_threads(Task& t) {
  Process& p = *t.process;
  if (p.group_exiting || p.exec_task) return fail(Errno::Again);
  if (p.threads.size() == 1) return {};
  p.exec_task = &t;
  p.group_stop_pending = false;
  for (Task* other : p.threads)
    if (other != &t && !other->zombie()) {
      other->pending.set |= signal_bit(kSigKill);
      scheduler.wake_for_signal(*other, true);
    }
  // Until only we and perhaps the dead leader are left.
  auto alone = [&] {
    return std::ranges::all_of(p.threads, [&](const Task* other) { return other == &t || (other->zombie() && !other->fibre); });
  };
  while (!alone()) {
    WaitQueue* queue = &p.thread_events;
    if (auto s = scheduler.sleep(std::span{&queue, 1}, Sleep::Killable, std::nullopt); !s) {
      p.exec_task = nullptr;
      return fail(Errno::Again);  // we die ourselves
    }
  }
  p.exec_task = nullptr;
  Task* leader = p.threads.front();
  if (leader != &t) {
    const Pid old = t.tid;
    t.start_time = leader->start_time;
    release_task(*leader);
    auto node = tasks.extract(old.value());
    node.key() = p.pid.value();
    t.tid = p.pid;
    tasks.insert(std::move(node));
    if (&t == scheduler.current()) tracer.set_task(t.tid, t.comm);
  }
  return {};
}

Status switch_program(Kernel::State& s, Task& t, const ProgramStart& program, std::unique_ptr<mm::AddressSpace> space) {
  Process& p = *t.process;
  const Pid old_tid = t.tid;
  mm::KernelCaches& caches = s.vm.physical().caches();
  // What can fail comes first.
  std::shared_ptr<SignalHandlers> handlers;
  if (p.handlers.use_count() > 1) {
    auto memory = TRY(caches.allocate(mm::KernelCache::SighandCache));
    handlers = std::make_shared<SignalHandlers>();
    handlers->actions = p.handlers->actions;
    handlers->memory = std::move(memory);
  }
  std::shared_ptr<FdTable> files;
  if (p.files.use_count() > 1) files = TRY(p.files->copy(caches));
  TRY(s.kill_other_threads(t));

  if (p.space) {
    release_user_claims(s.kernel, t);
    const auto& usage = p.space->usage();
    p.dead_threads.max_rss_kb =
        std::max(p.dead_threads.max_rss_kb, std::max(usage.hiwater_rss, usage.rss_anon + usage.rss_file + usage.rss_shmem) * 4);
  }
  // exec_mmap: the new space is current before the old one goes.
  auto old = std::exchange(p.space, s.share(std::move(space)));
  s.scheduler.asids().activate(*p.space);
  old.reset();
  s.complete_vfork(p);

  if (handlers) p.handlers = std::move(handlers);
  if (files) p.files = std::move(files);
  for (SignalAction& a : p.handlers->actions) {  // flush_signal_handlers: ignored stays ignored
    const uint64_t handler = a.handler == kIgnore ? kIgnore : kDefault;
    a = {};
    a.handler = handler;
  }
  p.files->close_on_exec();
  if (s.syscalls) s.syscalls->descriptors_closed();
  t.comm = base_name(program.path).substr(0, 15);
  s.tracer.set_task(t.tid, t.comm);
  t.alternate_stack = {};
  t.robust_list = t.robust_list_size = 0;
  t.rseq_area = 0, t.rseq_length = t.rseq_signature = 0, t.rseq_event = false;
  t.restart_block = nullptr;
  t.dumpable = true;
  t.fault_address = t.fault_error_code = t.fault_vector = 0;
  p.exit_signal = kSigChld;
  p.has_executed = true;
  p.executable_path = s.vfs.path_of(program.file->dentry(), p.fs->root);
  TRACE(s.tracer, Event::SchedProcessExec, program.path, t.tid.value(), old_tid.value());
  return {};
}

}  // namespace vitro::kernel
