// /proc and /sys as a whole, over a small machine's real memory and made-up processes, read through the VFS as a guest would.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "vitro/fs/process_view.h"
#include "vitro/fs/vfs.h"
#include "vitro/hw/mmu.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class NeverWaits final : public Blocking {
 public:
  Status wait(WaitQueue&, Interruptible, std::optional<Nanoseconds>) override { return fail(Errno::Again); }
  bool may_wait() const override { return false; }
};

class FakeProcesses final : public ProcessTable {
 public:
  std::vector<Pid> processes() const override {
    std::vector<Pid> out;
    for (const auto& [pid, view] : views)
      if (view.tgid == pid) out.push_back(pid);
    return out;
  }
  std::vector<Pid> threads(Pid process) const override {
    std::vector<Pid> out;
    for (const auto& [pid, view] : views)
      if (view.tgid == process) out.push_back(pid);
    return out;
  }
  std::optional<ProcessView> view(Pid task) const override {
    const auto found = views.find(task);
    return found == views.end() ? std::nullopt : std::optional(found->second);
  }
  Pid current() const override { return reader; }
  Pid current_thread() const override { return reader; }
  SystemView system() const override { return system_view; }
  Status set_comm(Pid task, std::string_view comm) override {
    views.at(task).comm = comm;
    return {};
  }
  Status set_oom_score_adj(Pid process, int adj) override {
    views.at(process).oom_score_adj = adj;
    return {};
  }
  std::string kernel_log() const override { return {}; }
  Result<std::unique_ptr<PressureTrigger>> add_pressure_trigger(PressureResource, std::string_view, bool) override { return fail(Errno::Invalid); }
  std::string hostname() const override { return host; }
  Status set_hostname(std::string_view name) override {
    host = name;
    return {};
  }
  std::map<Pid, ProcessView> views;
  Pid reader{1};
  SystemView system_view;
  std::string host = "vitro";
};

class ProcTree : public testing::Test {
 protected:
  ProcTree()
      : ram_(std::move(*hw::Ram::create(mib(16)))),
        physical_(mm::PhysicalMemory::create(*ram_, {}, tracer_)),
        mmu_(*ram_, hw::TlbConfig{}, timing_, tracer_),
        vm_(*physical_, mmu_, timing_, tracer_),
        vfs_({&vm_, [](const void*) { return seconds(1000); }, nullptr}) {
    add(1, 1).kernel_thread = true;
    ProcessView& user = add(20, 20);
    user.credentials.uid = user.credentials.euid = user.credentials.suid = user.credentials.fsuid = 1000;
    user.credentials.gid = user.credentials.egid = user.credentials.sgid = user.credentials.fsgid = 1000;
    add(21, 20).comm = "thread";
    processes_.system_view.block_devices = {{.name = "vda", .sectors = 2048}};
  }
  ~ProcTree() override {
    processes_.views.clear();
    space_.reset();
  }
  ProcessView& add(int pid, int tgid) {
    ProcessView& p = processes_.views[Pid{pid}];
    p.pid = Pid{pid}, p.tgid = Pid{tgid}, p.comm = "task";
    return p;
  }
  void mount_proc(std::vector<Tunable> tunables = {}) {
    EXPECT_TRUE(vfs_.mount("/", make_procfs(vfs_, vm_, processes_, std::move(tunables)), "proc"));
  }
  void mount_sys() { EXPECT_TRUE(vfs_.mount("/", make_sysfs(vfs_, vm_, processes_), "sysfs")); }

  // Gives process 20 two pages at 0x10000, of which the second is written, with arguments and environment in it.
  void give_memory() {
    space_ = std::move(*mm::AddressSpace::create(vm_));
    mm::MmapRequest r;
    r.hint = VirtAddr{0x10000}, r.length = Bytes{8192}, r.fixed = true, r.protection = mm::VmFlag::Read | mm::VmFlag::Write;
    ASSERT_TRUE(space_->mmap(r));
    const std::string_view strings("cmd\0arg\0A=1\0", 12);
    ASSERT_EQ(space_->write_remote(VirtAddr{0x11000}, std::as_bytes(std::span(strings))), 12u);
    auto& l = space_->layout;
    l.arg_start = VirtAddr{0x11000}, l.arg_end = l.env_start = VirtAddr{0x11008}, l.env_end = VirtAddr{0x1100c};
    space_->saved_auxv = {{6, 4096}};
    processes_.views[Pid{20}].space = space_.get();
  }

  PathContext context() {
    const auto found = processes_.views.find(processes_.reader);
    credentials_ = found == processes_.views.end() ? Credentials{} : found->second.credentials;
    return {.root = vfs_.root(),
            .cwd = vfs_.root(),
            .credentials = &credentials_,
            .pid = processes_.reader,
            .tid = processes_.reader,
            .blocking = &never_waits_};
  }
  // The whole file, or "error N".
  std::string read(std::string_view path) {
    const auto file = vfs_.open(context(), nullptr, path, kOpenRead, 0);
    if (!file) return "error " + std::to_string(static_cast<int>(file.error()));
    std::string out;
    std::vector<std::byte> chunk(4096);
    for (;;) {
      BufferSink sink(chunk);
      const auto n = (*file)->read(chunk.size(), sink, never_waits_);
      if (!n) return "error " + std::to_string(static_cast<int>(n.error()));
      if (*n == 0) return out;
      out.append(reinterpret_cast<const char*>(chunk.data()), *n);
    }
  }
  Status write(std::string_view path, std::string_view text) {
    const auto file = TRY(vfs_.open(context(), nullptr, path, kOpenWrite, 0));
    BufferSource source(std::as_bytes(std::span(text)));
    TRY(file->write(text.size(), source, never_waits_));
    return {};
  }
  std::vector<std::string> list(std::string_view path) {
    std::vector<std::string> names;
    const auto file = vfs_.open(context(), nullptr, path, kOpenRead | kOpenDirectory, 0);
    if (!file) return {"error " + std::to_string(static_cast<int>(file.error()))};
    EXPECT_TRUE((*file)->list([&](const DirectoryEntry& e) {
      if (e.name != "." && e.name != "..") names.emplace_back(e.name);
      return true;
    }));
    return names;
  }

  Tracer tracer_;
  hw::TimingModel timing_;
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<mm::PhysicalMemory> physical_;
  hw::Mmu mmu_;
  mm::VirtualMemory vm_;
  std::unique_ptr<mm::AddressSpace> space_;
  FakeProcesses processes_;
  NeverWaits never_waits_;
  Credentials credentials_;
  Vfs vfs_;
};

TEST_F(ProcTree, SystemFilesCanBeRead) {
  mount_proc();
  for (const std::string_view name :
       {"buddyinfo", "cmdline", "cpuinfo", "devices", "diskstats", "filesystems", "interrupts", "loadavg", "meminfo", "pagetypeinfo",
        "partitions", "slabinfo", "stat", "swaps", "uptime", "version", "vmstat", "zoneinfo"}) {
    const std::string text = read("/" + std::string(name));
    EXPECT_THAT(text, testing::EndsWith("\n")) << name;
  }
  EXPECT_THAT(read("/meminfo"), StartsWith("MemTotal:  "));
  EXPECT_THAT(read("/meminfo"), HasSubstr("DirectMap2M:       16384 kB\n"));
}

TEST_F(ProcTree, ProcessesAreListedAndThreadsAreFoundByName) {
  mount_proc();
  const auto names = list("/");
  EXPECT_THAT(names, testing::IsSupersetOf({"1", "20", "self", "meminfo"}));
  EXPECT_THAT(names, testing::Not(testing::Contains("21")));
  EXPECT_THAT(list("/20/task"), ElementsAre("20", "21"));
  EXPECT_EQ(read("/20/task/21/comm"), "thread\n");
  EXPECT_EQ(read("/21/comm"), "thread\n") << "not listed, but there";
  for (const std::string_view bad : {"/0", "/007", "/99", "/-1", "/20x", "/99999999999", "/20/task/1"})
    EXPECT_EQ(read(std::string(bad) + "/comm"), "error 2") << bad;
}

TEST_F(ProcTree, SelfIsTheReader) {
  processes_.reader = Pid{20};
  mount_proc();
  EXPECT_THAT(read("/self/stat"), StartsWith("20 (task) R "));
  EXPECT_EQ(*vfs_.read_link(context(), nullptr, "/thread-self"), "20/task/20");
  EXPECT_EQ(read("/mounts"), "proc / proc rw,relatime 0 0\n");
}

TEST_F(ProcTree, MemoryOfAProcess) {
  give_memory();
  mount_proc();
  EXPECT_EQ(read("/20/maps"), "00010000-00012000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(read("/20/cmdline"), std::string("cmd\0arg\0", 8));
  EXPECT_EQ(read("/20/environ"), std::string("A=1\0", 4));
  EXPECT_THAT(read("/20/smaps"), HasSubstr("Rss:                   4 kB\nPss:                   4 kB\n"));
  EXPECT_THAT(read("/20/smaps_rollup"), HasSubstr("[rollup]\nRss:                   4 kB\nPss:                   4 kB\nPss_Dirty:          "
                                                  "   4 kB\nPss_Anon:              4 kB\n"));
  EXPECT_THAT(read("/20/status"), HasSubstr("VmSize:\t       8 kB\n"));
  EXPECT_THAT(read("/20/statm"), StartsWith("2 1 0 "));
  EXPECT_EQ(read("/20/auxv"), std::string("\6\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32));
  // A program that has overwritten its arguments shows its new text up to the zero.
  const std::string_view title("cmd: idle in\0", 13);
  ASSERT_EQ(space_->write_remote(VirtAddr{0x11000}, std::as_bytes(std::span(title))), 13u);
  space_->layout.env_end = VirtAddr{0x11100};
  EXPECT_EQ(read("/20/cmdline"), std::string("cmd: idle in\0", 13));
}

TEST_F(ProcTree, ArgumentsOutsideOfMemoryAreEmpty) {
  give_memory();
  mount_proc();
  auto& l = space_->layout;
  l.arg_start = VirtAddr{0x7f0000000000}, l.arg_end = VirtAddr{0x7fffffffe000};  // prctl(PR_SET_MM) takes anything
  EXPECT_EQ(read("/20/cmdline"), "");
  l.arg_start = VirtAddr{0x12000}, l.arg_end = VirtAddr{0x10000};
  EXPECT_EQ(read("/20/cmdline"), "");
}

TEST_F(ProcTree, KernelThreadsHaveEmptyFiles) {
  mount_proc();
  for (const std::string_view name : {"maps", "smaps", "smaps_rollup", "cmdline", "environ", "auxv", "pagemap"})
    EXPECT_EQ(read("/1/" + std::string(name)), "") << name;
  EXPECT_EQ(read("/1/statm"), "0 0 0 0 0 0 0\n");
  EXPECT_EQ(read("/1/oom_score"), "0\n");
  EXPECT_EQ(vfs_.read_link(context(), nullptr, "/1/exe").error(), Errno::NoEntry);
}

TEST_F(ProcTree, PagemapNeedsWholeWordsAndHidesFramesFromUsers) {
  give_memory();
  mount_proc();
  const auto word = [&](uint64_t address) {
    const auto file = vfs_.open(context(), nullptr, "/20/pagemap", kOpenRead, 0);
    uint64_t value = 0;
    BufferSink sink(std::as_writable_bytes(std::span(&value, 1)));
    EXPECT_TRUE(file && (*file)->read_at(address / 4096 * 8, 8, sink, never_waits_));
    return value;
  };
  EXPECT_EQ(word(0x10000) >> 61, 0u) << "never touched: neither present nor swapped";
  const uint64_t there = word(0x11000);
  EXPECT_TRUE(there >> 63);
  EXPECT_EQ(physical_->state_of(Pfn{there & ((uint64_t{1} << 55) - 1)}), mm::FrameState::Anonymous);
  processes_.reader = Pid{20};
  EXPECT_TRUE(word(0x11000) >> 63);
  EXPECT_EQ(word(0x11000) & ((uint64_t{1} << 55) - 1), 0u);
  const auto file = vfs_.open(context(), nullptr, "/20/pagemap", kOpenRead, 0);
  std::byte odd[7];
  BufferSink sink(odd);
  EXPECT_EQ((*file)->read_at(0, 7, sink, never_waits_).error(), Errno::Invalid);
}

TEST_F(ProcTree, OthersMayNotLook) {
  give_memory();
  ProcessView& other = add(30, 30);
  other.credentials.uid = other.credentials.euid = other.credentials.suid = other.credentials.fsuid = 2000;
  processes_.reader = Pid{30};
  mount_proc();
  EXPECT_EQ(read("/20/maps"), "error 13");
  EXPECT_EQ(read("/20/environ"), "error 13");
  EXPECT_EQ(read("/20/mem"), "error 13");
  EXPECT_EQ(read("/slabinfo"), "error 13");
  EXPECT_THAT(read("/20/cmdline"), StartsWith("cmd")) << "what everybody may see";
  EXPECT_THAT(read("/20/stat"), HasSubstr(" 1 1 0 "));
  EXPECT_EQ(write("/20/oom_score_adj", "5").error(), Errno::Access);
}

TEST_F(ProcTree, OomScoreAdjIsChecked) {
  give_memory();
  mount_proc();
  EXPECT_TRUE(write("/20/oom_score_adj", "500\n"));
  EXPECT_EQ(read("/20/oom_score_adj"), "500\n");
  EXPECT_EQ(read("/20/oom_adj"), "8\n");
  EXPECT_EQ(write("/20/oom_score_adj", "1001").error(), Errno::Invalid);
  EXPECT_EQ(write("/20/oom_score_adj", "many").error(), Errno::Invalid);
  processes_.reader = Pid{20};
  EXPECT_TRUE(write("/20/oom_score_adj", "600")) << "oneself may raise it";
  EXPECT_EQ(write("/20/oom_score_adj", "599").error(), Errno::Access) << "and not lower it";
}

TEST_F(ProcTree, SysctlReadsAndWrites) {
  int64_t swappiness = 60;
  mount_proc({integer_tunable(
      "vm/swappiness", [&] { return swappiness; }, [&](int64_t v) { swappiness = v; }, 0, 200)});
  EXPECT_TRUE(write("/sys/vm/overcommit_memory", "2\n"));
  EXPECT_EQ(vm_.overcommit_memory, 2);
  EXPECT_EQ(write("/sys/vm/overcommit_memory", "3\n").error(), Errno::Invalid);
  EXPECT_TRUE(write("/sys/vm/swappiness", "0"));
  EXPECT_EQ(swappiness, 0);
  EXPECT_TRUE(write("/sys/kernel/hostname", "lab\n"));
  EXPECT_EQ(read("/sys/kernel/hostname"), "lab\n");
  EXPECT_EQ(read("/sys/kernel/osrelease"), "6.1.0-vitro\n");
  EXPECT_EQ(read("/sys/kernel/pid_max"), "32768\n");
  const std::string id = read("/sys/kernel/random/boot_id"), a = read("/sys/kernel/random/uuid"), b = read("/sys/kernel/random/uuid");
  EXPECT_EQ(id, read("/sys/kernel/random/boot_id"));
  EXPECT_NE(a, b);
  EXPECT_THAT(id, testing::MatchesRegex("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\n"));
  processes_.reader = Pid{20};
  EXPECT_EQ(write("/sys/vm/overcommit_memory", "0").error(), Errno::Access);
}

TEST_F(ProcTree, FramesAreDescribed) {
  mount_proc();
  EXPECT_EQ(read("/kpageflags").size(), mib(16) / Bytes{4096} * 8);
  const std::string flags = read("/kpageflags");
  uint64_t zero_page = 0;
  std::memcpy(&zero_page, flags.data() + physical_->zero_frame().value() * 8, 8);
  EXPECT_TRUE(zero_page >> 24 & 1);
}

TEST_F(ProcTree, SysfsDescribesCpusAndTheNode) {
  processes_.system_view.cpus = 2;
  mount_sys();
  EXPECT_EQ(read("/devices/system/cpu/online"), "0-1\n");
  EXPECT_EQ(read("/devices/system/cpu/cpu1/topology/core_id"), "1\n");
  EXPECT_EQ(read("/devices/system/cpu/cpu1/topology/thread_siblings"), "2\n");
  EXPECT_EQ(read("/devices/system/cpu/cpu1/topology/core_siblings_list"), "0-1\n");
  EXPECT_EQ(read("/devices/system/cpu/cpu0/cache/index2/size"), "4096K\n");
  EXPECT_EQ(read("/devices/system/cpu/cpu2/topology/core_id"), "error 2");
  EXPECT_EQ(read("/devices/system/node/online"), "0\n");
  EXPECT_THAT(read("/devices/system/node/node0/meminfo"), StartsWith("Node 0 MemTotal: "));
  EXPECT_EQ(read("/devices/system/node/node0/cpumap"), "3\n");
  EXPECT_EQ(read("/devices/system/memory/block_size_bytes"), "8000000\n");
  EXPECT_EQ(read("/devices/system/memory/memory0/state"), "online\n");
  EXPECT_EQ(read("/devices/system/memory/memory1/state"), "error 2");
  EXPECT_EQ(read("/block/vda/size"), "2048\n");
  EXPECT_EQ(read("/block/vda/dev"), "254:0\n");
  EXPECT_THAT(list("/block"), ElementsAre("vda"));
  EXPECT_EQ(read("/dev/block/254:0/size"), "2048\n");
  EXPECT_EQ(read("/block/vda/queue/read_ahead_kb"), "128\n");
  EXPECT_TRUE(write("/block/vda/queue/read_ahead_kb", "512"));
  EXPECT_EQ(vm_.readahead_pages, 128u);
}

}  // namespace
}  // namespace vitro::fs
