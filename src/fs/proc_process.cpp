// /proc/PID and /proc/PID/task/TID: which files there are, who may read them, and where their text comes from.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "fs/proc_maps.h"
#include "fs/proc_status.h"
#include "fs/proc_system.h"
#include "fs/proc_tree.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {

constexpr uint64_t kMaxArguments = 6u << 20;  // exec takes no more than three quarters of the 8 MiB stack
constexpr uint64_t kPagemapFrameBits = (uint64_t{1} << 55) - 1;

using Text = Result<std::string>;
using View = const ProcessView&;

std::optional<int> parse_number(std::string_view name) {
  int n = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), n);
  if (error != std::errc{} || end != name.data() + name.size() || n < 0 || (name.size() > 1 && name[0] == '0')) return std::nullopt;
  return n;
}

// kernel/ptrace.c: __ptrace_may_access: root, oneself, or whose every identity is the reader's.
bool may_inspect(const ProcContext& c, View p) {
  if (p.tgid == c.processes.current()) return true;
  const auto reader = c.processes.view(c.processes.current());
  if (!reader) return true;  // the machine itself
  const Credentials &a = reader->credentials, &b = p.credentials;
  return a.privileged() ||
         (a.fsuid == b.uid && a.fsuid == b.euid && a.fsuid == b.suid && a.fsgid == b.gid && a.fsgid == b.egid && a.fsgid == b.sgid);
}

bool reader_is_root(const ProcContext& c) {
  const auto reader = c.processes.view(c.processes.current());
  return !reader || reader->credentials.privileged();
}

DentryRef reader_root(const ProcContext& c) {
  const auto reader = c.processes.view(c.processes.current());
  return reader && reader->root ? reader->root : c.vfs.root();
}

// [from, to) of the process's memory, up to the first page that cannot be read.
std::string read_memory(mm::AddressSpace& space, VirtAddr from, VirtAddr to) {
  if (to <= from) return {};
  std::string bytes(std::min((to - from).value(), kMaxArguments), '\0');
  bytes.resize(space.read_remote(from, std::as_writable_bytes(std::span(bytes.data(), bytes.size()))));
  return bytes;
}

// fs/proc/base.c: get_mm_cmdline. A program that has overwritten the last zero of its arguments (setproctitle) shows the text up to the
// first zero.
std::string command_line(mm::AddressSpace& space) {
  const auto& l = space.layout;
  if (l.arg_start >= l.arg_end) return {};
  std::string text = read_memory(space, l.arg_start, l.arg_end);
  if (text.size() < (l.arg_end - l.arg_start).value() || text.back() == '\0') return text;
  const VirtAddr limit =
      std::min(l.env_start == l.arg_end && l.env_end > l.env_start ? l.env_end : l.arg_end, l.arg_start + Bytes{kPageSize});
  text = read_memory(space, l.arg_start, limit);
  const size_t zero = text.find('\0');
  if (zero != std::string::npos) text.resize(zero + 1);
  return text;
}

std::string auxiliary_vector(const mm::AddressSpace& space) {
  std::string bytes;
  const auto put = [&](uint64_t key, uint64_t value) {
    const uint64_t words[2] = {key, value};
    bytes.append(reinterpret_cast<const char*>(words), sizeof words);
  };
  bool ended = false;
  for (const auto& [key, value] : space.saved_auxv) put(key, value), ended |= key == 0;
  if (!ended) put(0, 0);
  return bytes;
}

std::string file_path(const ProcContext& c, File& file) {
  return file.dentry() ? c.vfs.path_of(file.dentry(), reader_root(c)) : file.mapped_path();
}

// Builds one PID's or TID's directory.
class TaskDirectory {
 public:
  TaskDirectory(const ProcContext& c, View p, bool whole)
      : c_(c), id_(p.pid), whole_(whole), directory_(std::make_shared<PseudoDirectory>()) {
    directory_->uid = p.credentials.euid;
    directory_->gid = p.credentials.egid;
  }
  std::shared_ptr<PseudoDirectory> build();

 private:
  template <class Render>
  void text(std::string_view name, Render render, uint32_t mode = 0444, std::function<Status(View, std::string_view)> write = nullptr) {
    PseudoEntry e = owned(mode);
    if (mode & 0444)
      e.read = [c = c_, id = id_, render]() -> Text {
        const auto p = c.processes.view(id);
        if (!p) return fail(Errno::NoProcess);
        return render(*p);
      };
    if (write)
      e.write = [c = c_, id = id_, write = std::move(write)](std::string_view bytes) -> Status {
        const auto p = c.processes.view(id);
        if (!p) return fail(Errno::NoProcess);
        return write(*p, bytes);
      };
    directory_->add(name, std::move(e));
  }
  // For what shows addresses or contents: only whoever may trace the process. Kernel threads and zombies have no memory: empty.
  template <class Render>
  void memory_text(std::string_view name, Render render, uint32_t mode = 0444) {
    text(
        name,
        [c = c_, render](View p) -> Text {
          if (!may_inspect(c, p)) return fail(Errno::Access);
          return p.space ? render(*p.space) : std::string();
        },
        mode);
  }
  void link(std::string_view name, std::function<Text(View)> target) {
    PseudoEntry e = owned(0777);
    e.link = [c = c_, id = id_, target = std::move(target)]() -> Text {
      const auto p = c.processes.view(id);
      if (!p) return fail(Errno::NoProcess);
      if (!may_inspect(c, *p)) return fail(Errno::Access);
      return target(*p);
    };
    directory_->add(name, std::move(e));
  }
  PseudoEntry owned(uint32_t mode) const {
    PseudoEntry e;
    e.mode = mode, e.uid = directory_->uid, e.gid = directory_->gid;
    return e;
  }
  void add_memory_files();
  void add_identity_files();
  void add_oom_files();
  void add_binary_files();
  void add_links();
  void add_descriptors();
  void add_threads();

  ProcContext c_;
  Pid id_;
  bool whole_;
  std::shared_ptr<PseudoDirectory> directory_;
};

void TaskDirectory::add_memory_files() {
  memory_text("maps", [](mm::AddressSpace& s) { return render_maps(s); });
  memory_text("numa_maps", [](mm::AddressSpace& s) { return render_numa_maps(s); });
  memory_text("smaps", [](mm::AddressSpace& s) { return render_smaps(s); });
  if (whole_) memory_text("smaps_rollup", [](mm::AddressSpace& s) { return render_smaps_rollup(s); });
  memory_text(
      "environ", [](mm::AddressSpace& s) { return read_memory(s, s.layout.env_start, s.layout.env_end); }, 0400);
  memory_text(
      "auxv", [](mm::AddressSpace& s) { return auxiliary_vector(s); }, 0400);
  text("cmdline", [](View p) -> Text { return p.space ? command_line(*p.space) : std::string(); });
  text(
      "clear_refs", [](View) -> Text { return std::string(); }, 0200,
      [](View p, std::string_view bytes) -> Status {
        const int64_t what = TRY(parse_tunable(bytes, 1, 5));  // enum clear_refs_types
        if (!p.space) return {};
        using References = mm::AddressSpace::References;
        switch (what) {
          case 1: p.space->clear_references(References::All); break;
          case 2: p.space->clear_references(References::Anonymous); break;
          case 3: p.space->clear_references(References::Mapped); break;
          case 4: p.space->clear_soft_dirty(); break;
          default: p.space->reset_hiwater();
        }
        return {};
      });
}

void TaskDirectory::add_identity_files() {
  const auto sizes = [](View p) { return p.space ? std::optional(memory_sizes(p.space->usage(), p.space->layout)) : std::nullopt; };
  text("stat", [c = c_, sizes, whole = whole_](View p) -> Text {
    const auto s = sizes(p);
    return render_process_stat(p, s ? &*s : nullptr, p.space ? &p.space->layout : nullptr,
                               {c.processes.system().cpus, whole, may_inspect(c, p)});
  });
  text("statm", [sizes](View p) -> Text {
    const auto s = sizes(p);
    return render_statm(s ? &*s : nullptr);
  });
  text("status", [c = c_, sizes, whole = whole_](View p) -> Text {
    const auto s = sizes(p);
    return render_status(p, s ? &*s : nullptr, {c.processes.system().cpus, whole, true});
  });
  text(
      "comm", [](View p) -> Text { return p.comm + "\n"; }, 0644,
      [c = c_](View p, std::string_view bytes) -> Status {
        if (p.tgid != c.processes.current()) return fail(Errno::Invalid);
        return c.processes.set_comm(p.pid, bytes.substr(0, std::min<size_t>(bytes.find_first_of(std::string_view("\n\0", 2)), 15)));
      });
  text("limits", [](View p) -> Text { return render_limits(p); });
  text(
      "io",
      [c = c_](View p) -> Text {
        if (!may_inspect(c, p)) return fail(Errno::Access);
        return render_io(p.io);
      },
      0400);
  text("wchan", [c = c_](View p) -> Text { return p.wait_channel.empty() || !may_inspect(c, p) ? std::string("0") : p.wait_channel; });
  text(
      "personality", [](View p) -> Text { return fmt::format("{:08x}\n", p.personality); }, 0400);
  text("cgroup", [](View) -> Text { return std::string(); });  // no hierarchy is mounted (proc_cgroup_show)
  text("loginuid", [](View) -> Text { return std::string("4294967295"); });
  text("sessionid", [](View) -> Text { return std::string("4294967295"); });
  for (const std::string_view map : {"uid_map", "gid_map"})
    text(map, [](View) -> Text { return fmt::format("{:>10} {:>10} {:>10}\n", 0, 0, UINT32_MAX); });
  text("setgroups", [](View) -> Text { return std::string("allow\n"); });
  text("mounts", [c = c_](View) -> Text { return render_mounts(c.vfs.mounts()); });
  text("mountinfo", [c = c_](View) -> Text { return render_mountinfo(c.vfs.mounts()); });
}

void TaskDirectory::add_oom_files() {
  text("oom_score", [c = c_](View p) -> Text {
    const uint64_t total = c.vm.physical().allocator().managed_frames().value() + c.vm.swap_total.value();
    if (!p.space || p.tgid == Pid{1}) return std::string("0\n");  // init is not to be killed
    const MemorySizes s = memory_sizes(p.space->usage(), p.space->layout);
    return fmt::format("{}\n", oom_score(&s, p.oom_score_adj, total));
  });
  // Lowering one's score needs CAP_SYS_RESOURCE.
  const auto set = [c = c_](View p, int adj) -> Status {
    if (adj < p.oom_score_adj && !reader_is_root(c)) return fail(Errno::Access);
    return c.processes.set_oom_score_adj(p.tgid, adj);
  };
  text(
      "oom_score_adj", [](View p) -> Text { return fmt::format("{}\n", p.oom_score_adj); }, 0644,
      [set](View p, std::string_view bytes) -> Status { return set(p, static_cast<int>(TRY(parse_tunable(bytes, -1000, 1000)))); });
  text(
      "oom_adj", [](View p) -> Text { return fmt::format("{}\n", oom_adj_from_score_adj(p.oom_score_adj)); }, 0644,
      [set](View p, std::string_view bytes) -> Status {
        return set(p, score_adj_from_oom_adj(static_cast<int>(TRY(parse_tunable(bytes, -17, 15)))));
      });
}

void TaskDirectory::add_binary_files() {
  PseudoEntry pagemap = owned(0400);
  pagemap.read_binary = [c = c_, id = id_](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    if (offset % 8 != 0 || out.size() % 8 != 0) return fail(Errno::Invalid);
    const auto p = c.processes.view(id);
    if (!p) return fail(Errno::NoProcess);
    if (!may_inspect(c, *p)) return fail(Errno::Access);
    const uint64_t first = offset / 8, end = mm::kUserEnd.vpn().value();
    if (!p->space || first >= end) return 0;
    const bool show_frames = reader_is_root(c);
    const uint64_t n = std::min<uint64_t>(out.size() / 8, end - first);
    for (uint64_t i = 0; i < n; ++i) {
      uint64_t word = p->space->pagemap_entry(Vpn{first + i});
      if (!show_frames) word &= ~kPagemapFrameBits;
      std::memcpy(out.data() + i * 8, &word, 8);
    }
    return n * 8;
  };
  directory_->add("pagemap", std::move(pagemap));

  PseudoEntry memory = owned(0600);
  memory.read_binary = [c = c_, id = id_](uint64_t offset, std::span<std::byte> out) -> Result<size_t> {
    const auto p = c.processes.view(id);
    if (!p) return fail(Errno::NoProcess);
    if (!may_inspect(c, *p)) return fail(Errno::Access);
    if (!p->space || out.empty()) return 0;
    const size_t n = offset < mm::kUserEnd.value() ? p->space->read_remote(VirtAddr{offset}, out) : 0;
    if (n == 0) return fail(Errno::IoError);
    return n;
  };
  directory_->add("mem", std::move(memory));
}

void TaskDirectory::add_links() {
  link("cwd", [c = c_](View p) -> Text { return p.cwd ? Text(c.vfs.path_of(p.cwd, reader_root(c))) : fail(Errno::NoEntry); });
  link("root", [c = c_](View p) -> Text { return p.root ? Text(c.vfs.path_of(p.root, reader_root(c))) : fail(Errno::NoEntry); });
  PseudoEntry exe = owned(0777);
  exe.link = [c = c_, id = id_]() -> Text {
    const auto p = c.processes.view(id);
    if (!p || !p->executable) return fail(Errno::NoEntry);
    if (!may_inspect(c, *p)) return fail(Errno::Access);
    const auto file = std::dynamic_pointer_cast<File>(p->executable);
    return file ? file_path(c, *file) : p->executable->mapped_path();
  };
  exe.magic = [c = c_, id = id_]() -> std::shared_ptr<File> {
    const auto p = c.processes.view(id);
    return p && may_inspect(c, *p) ? std::dynamic_pointer_cast<File>(p->executable) : nullptr;
  };
  directory_->add("exe", std::move(exe));
}

void TaskDirectory::add_descriptors() {
  const auto names = [c = c_, id = id_] {
    std::vector<std::string> out;
    if (const auto p = c.processes.view(id); p && may_inspect(c, *p))
      for (const auto& [fd, file] : p->descriptors) out.push_back(fmt::format("{}", fd));
    return out;
  };
  const auto find = [c = c_, id = id_](std::string_view name) -> std::shared_ptr<File> {
    const auto fd = parse_number(name);
    const auto p = c.processes.view(id);
    if (!fd || !p || !may_inspect(c, *p)) return nullptr;
    const auto found = p->descriptors.find(*fd);
    return found == p->descriptors.end() ? nullptr : found->second;
  };

  PseudoEntry fd = owned(0500);
  fd.directory = std::make_shared<PseudoDirectory>();
  fd.directory->mode = 0500, fd.directory->uid = fd.uid, fd.directory->gid = fd.gid;
  fd.directory->list_dynamic = names;
  fd.directory->find_dynamic = [c = c_, find, owner = owned(0)](std::string_view name) -> std::optional<PseudoEntry> {
    const auto file = find(name);
    if (!file) return std::nullopt;
    PseudoEntry e = owner;
    // The link's rights tell how the file is open (fs/proc/fd.c: tid_fd_update_inode).
    e.mode = kSymlink | 0100u | (file->readable() ? 0400u : 0u) | (file->writable() ? 0200u : 0u);
    // By name again: the descriptor may have been closed or another one be there by then.
    e.link = [c, find, n = std::string(name)]() -> Text {
      const auto f = find(n);
      return f ? Text(file_path(c, *f)) : fail(Errno::NoEntry);
    };
    e.magic = [find, n = std::string(name)] { return find(n); };
    return e;
  };
  directory_->add("fd", std::move(fd));

  PseudoEntry info = owned(0555);
  info.directory = std::make_shared<PseudoDirectory>();
  info.directory->uid = info.uid, info.directory->gid = info.gid;
  info.directory->list_dynamic = names;
  info.directory->find_dynamic = [c = c_, id = id_, find, owner = owned(0400)](std::string_view name) -> std::optional<PseudoEntry> {
    if (!find(name)) return std::nullopt;
    PseudoEntry e = owner;
    e.read = [c, id, find, n = std::string(name)]() -> Text {
      const auto f = find(n);
      const auto p = c.processes.view(id);
      const auto number = parse_number(n);
      if (!f || !p || !number) return fail(Errno::NoEntry);
      const auto close = p->close_on_exec.find(*number);
      const Attributes a = f->inode().attributes();
      const unsigned flags = (f->flags() & ~kOpenCloseOnExec) | (close != p->close_on_exec.end() && close->second ? kOpenCloseOnExec : 0);
      return fmt::format("pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{}\nino:\t{}\n", f->position, flags, mount_id(c.vfs.mounts(), a.device),
                         a.inode);
    };
    return e;
  };
  directory_->add("fdinfo", std::move(info));
}

void TaskDirectory::add_threads() {
  PseudoEntry task = owned(0555);
  task.directory = std::make_shared<PseudoDirectory>();
  task.directory->uid = task.uid, task.directory->gid = task.gid;
  task.directory->list_dynamic = [c = c_, id = id_] {
    std::vector<std::string> out;
    for (const Pid t : c.processes.threads(id)) out.push_back(fmt::format("{}", t.value()));
    return out;
  };
  task.directory->find_dynamic = [c = c_, id = id_](std::string_view name) -> std::optional<PseudoEntry> {
    const auto n = parse_number(name);
    if (!n) return std::nullopt;
    const auto threads = c.processes.threads(id);
    if (std::find(threads.begin(), threads.end(), Pid{*n}) == threads.end()) return std::nullopt;
    const auto p = c.processes.view(Pid{*n});
    if (!p) return std::nullopt;
    PseudoEntry e;
    e.directory = TaskDirectory(c, *p, false).build();
    return e;
  };
  directory_->add("task", std::move(task));
}

std::shared_ptr<PseudoDirectory> TaskDirectory::build() {
  if (whole_) add_threads();
  add_descriptors();
  add_links();
  add_identity_files();
  add_memory_files();
  add_oom_files();
  add_binary_files();
  return directory_;
}

}  // namespace

void add_process_directories(PseudoDirectory& root, const ProcContext& c) {
  root.link("self", [c]() -> Text { return fmt::format("{}", c.processes.current().value()); });
  root.link("thread-self",
            [c]() -> Text { return fmt::format("{}/task/{}", c.processes.current().value(), c.processes.current_thread().value()); });
  root.list_dynamic = [c] {
    std::vector<std::string> out;
    for (const Pid p : c.processes.processes()) out.push_back(fmt::format("{}", p.value()));
    return out;
  };
  root.find_dynamic = [c](std::string_view name) -> std::optional<PseudoEntry> {
    const auto n = parse_number(name);
    if (!n || *n == 0) return std::nullopt;
    const auto p = c.processes.view(Pid{*n});
    if (!p) return std::nullopt;
    PseudoEntry e;
    e.directory = TaskDirectory(c, *p, true).build();
    return e;
  };
}

}  // namespace vitro::fs
