#include "fs/proc_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fs/proc_cpuinfo.h"

namespace vitro::fs {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(ProcSystem, UptimeIsInHundredths) {
  SystemView s;
  s.uptime = milliseconds(12329), s.idle = milliseconds(8970);
  EXPECT_EQ(render_uptime(s), "12.32 8.97\n");
  s.uptime = seconds(3) + milliseconds(50), s.idle = Nanoseconds{0};
  EXPECT_EQ(render_uptime(s), "3.05 0.00\n");
}

TEST(ProcSystem, Loadavg) {
  SystemView s;
  s.load = {0.126, 1.5, 10}, s.tasks = 49, s.last_pid = Pid{123};
  EXPECT_EQ(render_loadavg(s), "0.13 1.50 10.00 1/49 123\n");
}

TEST(ProcSystem, StatOfOneCpu) {
  SystemView s;
  s.user = milliseconds(100), s.system = milliseconds(2640), s.idle_cpu = milliseconds(8975), s.iowait = milliseconds(10);
  s.interrupts = 995, s.context_switches = 1604, s.boot_time = 1795241384, s.processes_forked = 122, s.running = 3;
  const std::string text = render_stat(s);
  EXPECT_THAT(text, StartsWith("cpu  10 0 264 897 1 0 0 0 0 0\ncpu0 10 0 264 897 1 0 0 0 0 0\nintr 995 0 0 "));
  EXPECT_THAT(
      text, HasSubstr(" 0\nctxt 1604\nbtime 1795241384\nprocesses 122\nprocs_running 3\nprocs_blocked 0\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n"));
}

TEST(ProcSystem, StatHasALineForEachCpu) {
  SystemView s;
  s.cpus = 3, s.user = milliseconds(600);
  s.cpu_times = {{.user = milliseconds(100)}, {.user = milliseconds(200)}, {.user = milliseconds(300)}};
  EXPECT_THAT(
      render_stat(s),
      StartsWith("cpu  60 0 0 0 0 0 0 0 0 0\ncpu0 10 0 0 0 0 0 0 0 0 0\ncpu1 20 0 0 0 0 0 0 0 0 0\ncpu2 30 0 0 0 0 0 0 0 0 0\nintr"));
}

TEST(ProcSystem, DisksAreShownAsLinuxDoes) {
  BlockDeviceView d;
  d.name = "vda", d.major = 254, d.minor = 0, d.sectors = 131072;
  d.reads = {74, 103, 7272, milliseconds(64)};
  d.busy = milliseconds(60), d.weighted = milliseconds(64);
  const BlockDeviceView disks[] = {d};
  EXPECT_EQ(render_diskstats(disks), " 254       0 vda 74 103 7272 64 0 0 0 0 0 60 64 0 0 0 0 0 0\n");
  EXPECT_EQ(render_partitions(disks), "major minor  #blocks  name\n\n 254        0      65536 vda\n");
  EXPECT_THAT(render_devices(disks), HasSubstr("\nBlock devices:\n254 virtblk\n"));
  EXPECT_EQ(render_diskstats({}), "");
}

TEST(ProcSystem, MountsEscapeBlanks) {
  const Vfs::MountInfo mounts[] = {{"overlay", "/", "overlay", "rw,relatime", 26},
                                   {"proc", "/proc", "proc", "rw", 27},
                                   {"t", "/mnt/a b", "tmpfs", "ro,noatime", 28},
                                   {"u", "/mnt/a b/c", "tmpfs", "rw", 29},
                                   {"v", "/procs", "tmpfs", "rw", 30}};
  EXPECT_THAT(render_mounts(mounts), HasSubstr("t /mnt/a\\040b tmpfs ro,noatime 0 0\n"));
  EXPECT_EQ(render_mountinfo(mounts),
            "21 1 0:26 / / rw,relatime - overlay overlay rw\n22 21 0:27 / /proc rw - proc proc rw\n23 21 0:28 / /mnt/a\\040b ro,noatime - "
            "tmpfs t ro\n"
            "24 23 0:29 / /mnt/a\\040b/c rw - tmpfs u rw\n25 21 0:30 / /procs rw - tmpfs v rw\n");
  EXPECT_EQ(mount_id(mounts, 28), 23u);
  EXPECT_EQ(mount_id(mounts, 99), 0u);
}

TEST(ProcSystem, VersionIsWhatUnameSays) {
  EXPECT_THAT(render_version(), StartsWith("Linux version 6.1.0-vitro "));
  EXPECT_THAT(render_version(), testing::EndsWith(" #1 SMP PREEMPT_DYNAMIC vitro\n"));
}

TEST(ProcCpuinfo, HasOneBlockForEachCpu) {
  const std::string one = render_cpuinfo(1), four = render_cpuinfo(4);
  EXPECT_THAT(one, StartsWith("processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 26\n"
                              "model name\t: Intel Core i7 9xx (Nehalem Class Core i7)\nstepping\t: 3\n"));
  EXPECT_THAT(one, HasSubstr(" sse4_2 "));
  EXPECT_THAT(one, testing::Not(HasSubstr("avx")));
  EXPECT_THAT(one, HasSubstr("cpu MHz\t\t: 2500.000\ncache size\t: 4096 KB\n"));
  EXPECT_THAT(one, HasSubstr("bogomips\t: 5000.00\n"));
  EXPECT_THAT(four, HasSubstr("processor\t: 3\n"));
  EXPECT_THAT(four, HasSubstr("siblings\t: 4\n"));
}

}  // namespace
}  // namespace vitro::fs
