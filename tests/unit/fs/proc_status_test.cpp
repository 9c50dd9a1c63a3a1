// What a real Linux 6.1 printed for a `cat` of its own files, from the same values.
#include "fs/proc_status.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vitro::fs {
namespace {

using testing::HasSubstr;

constexpr uint64_t kUnlimited = ~uint64_t{0};
constexpr std::string_view kStat =
    R"(133 (cat) R 1 0 0 0 -1 0 72 0 0 0 0 0 0 0 20 0 1 0 1237 2695168 60 18446744073709551615 93824992239616 93824992259497 140737488350608 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 93824992275504 93824992277120 93824992280576 140737488351086 140737488351115 140737488351115 140737488351211 0
)";
// But for Speculation_Store_Bypass: this processor model is affected, the one of the reference is not.
constexpr std::string_view kStatus = R"(Name:	cat
Umask:	0022
State:	R (running)
Tgid:	131
Ngid:	0
Pid:	131
PPid:	1
TracerPid:	0
Uid:	0	0	0	0
Gid:	0	0	0	0
FDSize:	64
Groups:	 
NStgid:	131
NSpid:	131
NSpgid:	0
NSsid:	0
VmPeak:	    2632 kB
VmSize:	    2632 kB
VmLck:	       0 kB
VmPin:	       0 kB
VmHWM:	     240 kB
VmRSS:	     240 kB
RssAnon:	      40 kB
RssFile:	     200 kB
RssShmem:	       0 kB
VmData:	     360 kB
VmStk:	     132 kB
VmExe:	      20 kB
VmLib:	    1528 kB
VmPTE:	      32 kB
VmSwap:	       0 kB
HugetlbPages:	       0 kB
CoreDumping:	0
THP_enabled:	1
Threads:	1
SigQ:	0/781
SigPnd:	0000000000000000
ShdPnd:	0000000000000000
SigBlk:	0000000000000000
SigIgn:	0000000000000000
SigCgt:	0000000000000000
CapInh:	0000000000000000
CapPrm:	000001ffffffffff
CapEff:	000001ffffffffff
CapBnd:	000001ffffffffff
CapAmb:	0000000000000000
NoNewPrivs:	0
Seccomp:	0
Seccomp_filters:	0
Speculation_Store_Bypass:	vulnerable
SpeculationIndirectBranch:	always enabled
Cpus_allowed:	1
Cpus_allowed_list:	0
Mems_allowed:	00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000000,00000001
Mems_allowed_list:	0
voluntary_ctxt_switches:	0
nonvoluntary_ctxt_switches:	1
)";
constexpr std::string_view kLimits = R"(Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max file size             unlimited            unlimited            bytes     
Max data size             unlimited            unlimited            bytes     
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max resident set          unlimited            unlimited            bytes     
Max processes             781                  781                  processes 
Max open files            1024                 4096                 files     
Max locked memory         8388608              8388608              bytes     
Max address space         unlimited            unlimited            bytes     
Max file locks            unlimited            unlimited            locks     
Max pending signals       781                  781                  signals   
Max msgqueue size         819200               819200               bytes     
Max nice priority         0                    0                    
Max realtime priority     0                    0                    
Max realtime timeout      unlimited            unlimited            us        
)";

ProcessView reference_process() {
  ProcessView p;
  p.pid = p.tgid = Pid{133}, p.ppid = Pid{1};
  p.comm = "cat";
  p.min_flt = 72;
  p.start_time = milliseconds(12370);
  p.limits.fill({kUnlimited, kUnlimited});
  p.signal_queue_limit = 781;
  p.involuntary_switches = 1;
  return p;
}

mm::AddressSpace::Layout reference_layout() {
  mm::AddressSpace::Layout l{};
  l.start_code = VirtAddr{93824992239616}, l.end_code = VirtAddr{93824992259497}, l.start_stack = VirtAddr{140737488350608};
  l.start_data = VirtAddr{93824992275504}, l.end_data = VirtAddr{93824992277120}, l.start_brk = VirtAddr{93824992280576};
  l.arg_start = VirtAddr{140737488351086}, l.arg_end = l.env_start = VirtAddr{140737488351115}, l.env_end = VirtAddr{140737488351211};
  return l;
}

mm::AddressSpace::Usage reference_usage() {
  mm::AddressSpace::Usage u;
  u.total_vm = 658, u.data_vm = 90, u.stack_vm = 33, u.exec_vm = 387, u.rss_anon = 10, u.rss_file = 50, u.page_tables = 8;
  return u;
}

TEST(ProcStatus, StatIsLinuxsToTheByte) {
  const auto layout = reference_layout();
  const MemorySizes sizes = memory_sizes(reference_usage(), layout);
  EXPECT_EQ(render_process_stat(reference_process(), &sizes, &layout, {}), kStat);
}

TEST(ProcStatus, StatHidesAddressesFromOthers) {
  const auto layout = reference_layout();
  const MemorySizes sizes = memory_sizes(reference_usage(), layout);
  const std::string text = render_process_stat(reference_process(), &sizes, &layout, {.permitted = false});
  EXPECT_THAT(text, HasSubstr(" 18446744073709551615 1 1 0 0 0 "));
  EXPECT_THAT(text, testing::EndsWith(" 0 0 0 0 0 0 0 0\n"));
}

TEST(ProcStatus, StatOfAThreadHasItsOwnFaults) {
  ProcessView p = reference_process();
  p.children_min_flt = 5, p.children_user_time = milliseconds(50);
  EXPECT_THAT(render_process_stat(p, nullptr, nullptr, {}), HasSubstr(" 72 5 0 0 0 0 5 0 "));
  EXPECT_THAT(render_process_stat(p, nullptr, nullptr, {.whole_process = false}), HasSubstr(" 72 0 0 0 0 0 0 0 "));
}

TEST(ProcStatus, EveryStatLineHas52Fields) {
  ProcessView p = reference_process();
  p.comm = "a";
  for (const char state : std::string("RSDTZ")) {
    p.state = state;
    const std::string text = render_process_stat(p, nullptr, nullptr, {});
    EXPECT_EQ(std::count(text.begin(), text.end(), ' '), 51) << text;
  }
}

TEST(ProcStatus, StatusIsLinuxsToTheByte) {
  ProcessView p = reference_process();
  p.pid = p.tgid = Pid{131};
  const MemorySizes sizes = memory_sizes(reference_usage(), reference_layout());
  EXPECT_EQ(render_status(p, &sizes, {}), kStatus);
}

TEST(ProcStatus, KernelThreadsHaveNoMemoryLines) {
  ProcessView p = reference_process();
  p.kernel_thread = true, p.comm = "kswapd0", p.state = 'S';
  const std::string text = render_status(p, nullptr, {.cpus = 4});
  EXPECT_THAT(text, testing::Not(HasSubstr("Vm")));
  EXPECT_THAT(text, HasSubstr("State:\tS (sleeping)\n"));
  EXPECT_THAT(text, HasSubstr("NSsid:\t0\nThreads:\t1\n"));
  EXPECT_THAT(text, HasSubstr("Cpus_allowed:\tf\nCpus_allowed_list:\t0-3\n"));
}

TEST(ProcStatus, UsersHaveNoCapabilities) {
  ProcessView p = reference_process();
  p.credentials.uid = p.credentials.euid = p.credentials.suid = p.credentials.fsuid = 1000;
  p.credentials.groups = {4, 27};
  const std::string text = render_status(p, nullptr, {});
  EXPECT_THAT(text, HasSubstr("Uid:\t1000\t1000\t1000\t1000\n"));
  EXPECT_THAT(text, HasSubstr("Groups:\t4 27 \n"));
  EXPECT_THAT(text, HasSubstr("CapEff:\t0000000000000000\n"));
}

TEST(ProcStatus, Statm) {
  const MemorySizes sizes = memory_sizes(reference_usage(), reference_layout());
  EXPECT_EQ(render_statm(&sizes), "658 60 50 5 0 123 0\n");
  EXPECT_EQ(render_statm(nullptr), "0 0 0 0 0 0 0\n");
}

TEST(ProcStatus, PeaksAreNeverBelowTheCurrentSizes) {
  auto usage = reference_usage();
  usage.hiwater_rss = 100, usage.hiwater_vm = 10;
  const MemorySizes sizes = memory_sizes(usage, reference_layout());
  EXPECT_EQ(sizes.rss_peak, 100u);
  EXPECT_EQ(sizes.vm_peak, 658u);
}

TEST(ProcStatus, LimitsAreLinuxsToTheByte) {
  ProcessView p = reference_process();
  p.limits[3] = {8388608, kUnlimited}, p.limits[4] = {0, kUnlimited}, p.limits[6] = {781, 781}, p.limits[7] = {1024, 4096},
  p.limits[8] = {8388608, 8388608};
  p.limits[11] = {781, 781}, p.limits[12] = {819200, 819200}, p.limits[13] = {0, 0}, p.limits[14] = {0, 0};
  EXPECT_EQ(render_limits(p), kLimits);
}

TEST(ProcStatus, OomScoreIsAShareOfMemory) {
  const uint64_t total = 100'000;
  MemorySizes s;
  EXPECT_EQ(oom_score(&s, 0, total), 666u) << "what a tiny process has";
  s.anon = 50'000;
  EXPECT_EQ(oom_score(&s, 0, total), 1000u);
  EXPECT_EQ(oom_score(&s, 1000, total), 1666u);
  EXPECT_EQ(oom_score(&s, -500, total), 666u);
  EXPECT_EQ(oom_score(&s, -1000, total), 0u) << "exempt";
  EXPECT_EQ(oom_score(nullptr, 0, total), 0u) << "no memory, nothing to gain";
  s = {};
  EXPECT_EQ(oom_score(&s, -999, total), 0u) << "never negative";
}

TEST(ProcStatus, OldOomScale) {
  EXPECT_EQ(oom_adj_from_score_adj(1000), 15);
  EXPECT_EQ(oom_adj_from_score_adj(-1000), -17);
  EXPECT_EQ(score_adj_from_oom_adj(15), 1000);
  EXPECT_EQ(score_adj_from_oom_adj(-17), -1000);
  EXPECT_EQ(score_adj_from_oom_adj(8), 470);
}

}  // namespace
}  // namespace vitro::fs
