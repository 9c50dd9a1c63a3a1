// /proc/sys: what has state behind it. What belongs to others comes as Tunables.
#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "fs/proc_physical.h"
#include "fs/proc_settings.h"
#include "fs/proc_tree.h"
#include "vitro/mm/oom.h"
#include "vitro/mm/reclaim.h"
#include "vitro/mm/swap.h"
#include "vitro/base/rng.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/writeback.h"

namespace vitro::fs {
namespace {

constexpr int64_t kPidMax = 32768;
constexpr uint64_t kThreadSize = 16384;  // THREAD_SIZE of x86-64

// RFC 4122, version 4 (lib/uuid.c).
std::string uuid(Rng& rng) {
  const uint64_t high = (rng.next() & ~uint64_t{0xf000}) | 0x4000, low = (rng.next() & ~(uint64_t{3} << 62)) | uint64_t{1} << 63;
  return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}\n", high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48,
                     low & 0xffff'ffff'ffff);
}

bool reader_is_root(ProcessTable& processes) {
  const auto who = processes.view(processes.current());
  return who && who->credentials.privileged();
}

}  // namespace

Result<int64_t> parse_tunable(std::string_view text, int64_t low, int64_t high) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return fail(Errno::Invalid);
  text = text.substr(first, text.find_last_not_of(std::string_view(" \t\n\v\f\r\0", 7)) - first + 1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < low || value > high) return fail(Errno::Invalid);
  return value;
}

Tunable integer_tunable(std::string path, std::function<int64_t()> get, std::function<void(int64_t)> set, int64_t low, int64_t high) {
  Tunable t{std::move(path), [get = std::move(get)] { return fmt::format("{}\n", get()); }, nullptr};
  if (set) {
    t.write = [set = std::move(set), low, high](std::string_view text) -> Status {
      set(TRY(parse_tunable(text, low, high)));
      return {};
    };
  }
  return t;
}

void add_tunables(PseudoDirectory& directory, std::vector<Tunable> tunables) {
  for (Tunable& t : tunables) {
    const size_t slash = t.path.rfind('/');
    PseudoDirectory& parent = slash == std::string::npos ? directory : directory.directory(t.path.substr(0, slash));
    TextReader read;
    if (t.read) read = [text = std::move(t.read)] { return Result<std::string>(text()); };
    parent.file(t.path.substr(slash == std::string::npos ? 0 : slash + 1), std::move(read), std::move(t.write));
  }
}

void add_sysctl(PseudoDirectory& root, const ProcContext& c, std::vector<Tunable> tunables) {
  const auto constant = [](std::string path, std::string text) {
    return Tunable{std::move(path), [text = std::move(text)] { return text + "\n"; }, nullptr};
  };
  mm::VirtualMemory& vm = c.vm;
  ProcessTable& processes = c.processes;
  std::vector<Tunable> all;
  all.push_back({"fs/file-max", [&processes] { return fmt::format("{}\n", processes.system().file_max); }, nullptr});
  all.push_back({"fs/file-nr",
                 [&processes] {
                   const SystemView s = processes.system();
                   return fmt::format("{}\t0\t{}\n", s.open_files, s.file_max);
                 },
                 nullptr});
  all.push_back(constant("fs/pipe-max-size", "1048576"));
  all.push_back(constant("kernel/cap_last_cap", "40"));
  all.push_back({"kernel/hostname", [&processes] { return processes.hostname() + "\n"; },
                 [&processes](std::string_view text) -> Status {
                   if (!reader_is_root(processes)) return fail(Errno::NotPermitted);
                   return processes.set_hostname(text.substr(0, text.find_first_of(std::string_view("\n\0", 2))));
                 }});
  all.push_back(constant("kernel/ngroups_max", "65536"));
  all.push_back(constant("kernel/osrelease", std::string(kKernelRelease)));
  all.push_back(constant("kernel/ostype", std::string(kKernelType)));
  all.push_back(constant("kernel/overflowgid", "65534"));
  all.push_back(constant("kernel/overflowuid", "65534"));
  all.push_back(constant("kernel/pid_max", fmt::format("{}", kPidMax)));
  all.push_back({"kernel/random/boot_id",
                 [&processes] {
                   Rng rng(processes.system().seed ^ 0x626f6f74);
                   return uuid(rng);
                 },
                 nullptr});
  auto stream = std::make_shared<std::optional<Rng>>();
  all.push_back({"kernel/random/uuid",
                 [&processes, stream] {
                   if (!*stream) stream->emplace(processes.system().seed ^ 0x75756964);
                   return uuid(**stream);
                 },
                 nullptr});
  // kernel/fork.c: set_max_threads: threads whose stacks take an eighth of memory.
  all.push_back({"kernel/threads-max",
                 [&vm] { return fmt::format("{}\n", vm.physical().allocator().managed_frames().bytes().value() / (kThreadSize * 8)); },
                 nullptr});
  all.push_back(constant("kernel/version", std::string(kKernelVersion)));
  using mm::WritebackTunables;
  const auto writeback = [&vm, &all](const char* name, auto get, auto set, int64_t low, int64_t high) {
    all.push_back(integer_tunable(
        std::string("vm/") + name, [&vm, get] { return static_cast<int64_t>(get(vm.writeback().tunables())); },
        [&vm, set](int64_t v) {
          WritebackTunables t = vm.writeback().tunables();
          set(t, v);
          vm.writeback().set_tunables(t);
        },
        low, high));
  };
  // A ratio and a number of bytes exclude each other: the one that is set makes the other 0 (dirty_ratio_handler and its like).
  writeback("dirty_background_bytes", [](const WritebackTunables& t) { return t.dirty_background_bytes.value(); },
            [](WritebackTunables& t, int64_t v) { t.dirty_background_bytes = Bytes{static_cast<uint64_t>(v)}, t.dirty_background_ratio = 0; }, 1, INT64_MAX);
  writeback("dirty_background_ratio", [](const WritebackTunables& t) { return t.dirty_background_ratio; },
            [](WritebackTunables& t, int64_t v) { t.dirty_background_ratio = static_cast<unsigned>(v), t.dirty_background_bytes = Bytes{0}; }, 0, 100);
  writeback("dirty_bytes", [](const WritebackTunables& t) { return t.dirty_bytes.value(); },
            [](WritebackTunables& t, int64_t v) { t.dirty_bytes = Bytes{static_cast<uint64_t>(v)}, t.dirty_ratio = 0; }, 2 * kPageSize, INT64_MAX);
  writeback("dirty_expire_centisecs", [](const WritebackTunables& t) { return t.dirty_expire_centisecs; },
            [](WritebackTunables& t, int64_t v) { t.dirty_expire_centisecs = static_cast<unsigned>(v); }, 0, INT32_MAX);
  writeback("dirty_ratio", [](const WritebackTunables& t) { return t.dirty_ratio; },
            [](WritebackTunables& t, int64_t v) { t.dirty_ratio = static_cast<unsigned>(v), t.dirty_bytes = Bytes{0}; }, 0, 100);
  writeback("dirty_writeback_centisecs", [](const WritebackTunables& t) { return t.dirty_writeback_centisecs; },
            [](WritebackTunables& t, int64_t v) { t.dirty_writeback_centisecs = static_cast<unsigned>(v); }, 0, INT32_MAX);
  all.push_back(integer_tunable(
      "vm/max_map_count", [&vm] { return vm.max_map_count; }, [&vm](int64_t v) { vm.max_map_count = static_cast<int>(v); }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/mmap_min_addr", [&vm] { return static_cast<int64_t>(vm.mmap_min_addr.value()); },
      [&vm](int64_t v) { vm.mmap_min_addr = VirtAddr{static_cast<uint64_t>(v)}; }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/overcommit_kbytes", [&vm] { return static_cast<int64_t>(vm.overcommit_kbytes); },
      [&vm](int64_t v) {
        vm.overcommit_kbytes = static_cast<uint64_t>(v);
        vm.overcommit_ratio = 0;  // mm/util.c: overcommit_kbytes_handler
      },
      0, INT64_MAX >> 11));
  all.push_back(integer_tunable(
      "vm/overcommit_memory", [&vm] { return vm.overcommit_memory; }, [&vm](int64_t v) { vm.overcommit_memory = static_cast<int>(v); }, 0,
      2));
  all.push_back(integer_tunable(
      "vm/overcommit_ratio", [&vm] { return vm.overcommit_ratio; },
      [&vm](int64_t v) {
        vm.overcommit_ratio = static_cast<int>(v);
        vm.overcommit_kbytes = 0;  // overcommit_ratio_handler
      },
      0, INT32_MAX));
  const auto setting = [&all](std::string name, auto& field, int64_t low, int64_t high) {
    using T = std::remove_reference_t<decltype(field)>;
    all.push_back(integer_tunable(
        "vm/" + name, [&field] { return static_cast<int64_t>(field); }, [&field](int64_t v) { field = static_cast<T>(v); }, low, high));
  };
  setting("page-cluster", vm.swap().page_cluster, 0, 31);
  setting("panic_on_oom", vm.oom().panic_on_oom, 0, 2);
  setting("oom_kill_allocating_task", vm.oom().kill_allocating_task, 0, INT32_MAX);
  setting("oom_dump_tasks", vm.oom().dump_tasks, 0, INT32_MAX);
  mm::Watermarks& marks = vm.physical().watermarks();
  all.push_back(integer_tunable(
      "vm/min_free_kbytes", [&marks] { return static_cast<int64_t>(marks.min_free_kbytes()); },
      [&marks](int64_t v) { marks.set_min_free_kbytes(static_cast<uint64_t>(v)); }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/watermark_scale_factor", [&marks] { return static_cast<int64_t>(marks.watermark_scale_factor()); },
      [&marks](int64_t v) { marks.set_watermark_scale_factor(static_cast<unsigned>(v)); }, 1, 3000));
  all.push_back(integer_tunable(
      "vm/watermark_boost_factor", [&marks] { return static_cast<int64_t>(marks.watermark_boost_factor()); },
      [&marks](int64_t v) { marks.set_watermark_boost_factor(static_cast<unsigned>(v)); }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/percpu_pagelist_high_fraction", [&marks] { return static_cast<int64_t>(marks.high_fraction()); },
      [&marks](int64_t v) { marks.set_high_fraction(static_cast<unsigned>(v)); }, 0, INT32_MAX));
  all.push_back(integer_tunable(
      "vm/swappiness", [&vm] { return vm.reclaimer().swappiness; }, [&vm](int64_t v) { vm.reclaimer().swappiness = static_cast<int>(v); }, 0, 200));
  all.push_back(integer_tunable(
      "vm/vfs_cache_pressure", [&vm] { return vm.reclaimer().vfs_cache_pressure; },
      [&vm](int64_t v) { vm.reclaimer().vfs_cache_pressure = static_cast<int>(v); }, 0, INT32_MAX));
  all.push_back({"vm/drop_caches", nullptr, [&vm](std::string_view text) -> Status {
                   vm.reclaimer().drop_caches(static_cast<unsigned>(TRY(parse_tunable(text, 1, 4))));
                   return {};
                 }});
  all.push_back(integer_tunable(
      "vm/user_reserve_kbytes", [&vm] { return static_cast<int64_t>(vm.user_reserve_kbytes); },
      [&vm](int64_t v) { vm.user_reserve_kbytes = static_cast<uint64_t>(v); }, 0, INT64_MAX >> 11));
  for (Tunable& t : fixed_settings(c.vfs, processes)) all.push_back(std::move(t));
  for (Tunable& t : physical_tunables(vm)) all.push_back(std::move(t));
  for (Tunable& t : tunables) all.push_back(std::move(t));
  add_tunables(root, std::move(all));
}

}  // namespace vitro::fs
