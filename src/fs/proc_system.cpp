#include "fs/proc_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "fs/proc_text.h"

namespace vitro::fs {
namespace {

// Numbered interrupt lines of a machine with one I/O APIC (nr_irqs). None is wired here: timer and disk use the local APIC.
constexpr unsigned kInterruptLines = 256;
// Mount identities start where a booted system's do; their order is the order of mounting.
constexpr unsigned kFirstMountId = 21;

void cpu_line(std::string& out, std::string_view name, const CpuTimes& t) {
  fmt::format_to(std::back_inserter(out), "{} {} {} {} {} {} {} {} 0 0 0\n", name, clock_ticks(t.user), clock_ticks(t.nice),
                 clock_ticks(t.system), clock_ticks(t.idle), clock_ticks(t.iowait), clock_ticks(t.irq), clock_ticks(t.softirq));
}

// "12.34": seconds and hundredths, cut off.
std::string hundredths(Nanoseconds t) { return fmt::format("{}.{:02}", t.value() / 1'000'000'000, t.value() / 10'000'000 % 100); }

uint64_t milliseconds_of(Nanoseconds t) { return t.value() / 1'000'000; }

}  // namespace

std::string render_stat(const SystemView& s) {
  std::string out;
  auto to = std::back_inserter(out);
  const CpuTimes total{s.user, Nanoseconds{0}, s.system, s.idle_cpu, s.iowait, Nanoseconds{0}, Nanoseconds{0}};
  cpu_line(out, "cpu ", total);
  for (unsigned cpu = 0; cpu < s.cpus; ++cpu)
    cpu_line(out, fmt::format("cpu{}", cpu), cpu < s.cpu_times.size() ? s.cpu_times[cpu] : s.cpus == 1 ? total : CpuTimes{});
  fmt::format_to(to, "intr {}", s.interrupts);
  for (unsigned i = 0; i < kInterruptLines; ++i) out += " 0";
  fmt::format_to(to, "\nctxt {}\nbtime {}\nprocesses {}\nprocs_running {}\nprocs_blocked {}\nsoftirq 0 0 0 0 0 0 0 0 0 0 0\n",
                 s.context_switches, s.boot_time, s.processes_forked, s.running, s.blocked);
  return out;
}

std::string render_uptime(const SystemView& s) { return fmt::format("{} {}\n", hundredths(s.uptime), hundredths(s.idle)); }

std::string render_loadavg(const SystemView& s) {
  return fmt::format("{:.2f} {:.2f} {:.2f} {}/{} {}\n", s.load[0], s.load[1], s.load[2], s.running, s.tasks, s.last_pid.value());
}

std::string render_softirqs(const SystemView& s) {
  std::string out = "                    ";
  auto to = std::back_inserter(out);
  for (unsigned cpu = 0; cpu < s.cpus; ++cpu) fmt::format_to(to, "CPU{:<8}", cpu);
  out += '\n';
  // What is due runs at once, on behalf of the timer interrupt; nothing else is put off.
  for (std::string_view name : {"HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU"}) {
    fmt::format_to(to, "{:>12}:", name);
    for (unsigned cpu = 0; cpu < s.cpus; ++cpu) fmt::format_to(to, " {:>10}", cpu == 0 && name == "TIMER" ? s.timer_interrupts : 0);
    out += '\n';
  }
  return out;
}

std::string render_interrupts(const SystemView& s, uint64_t shootdowns) {
  std::string out = "           ";
  auto to = std::back_inserter(out);
  for (unsigned cpu = 0; cpu < s.cpus; ++cpu) fmt::format_to(to, "CPU{:<8}", cpu);
  out += '\n';
  // The counts are kept for the machine: they stand in the first CPU's column.
  const auto line = [&](std::string_view name, uint64_t count, std::string_view what) {
    fmt::format_to(to, "{}: {:>10} ", name, count);
    for (unsigned cpu = 1; cpu < s.cpus; ++cpu) fmt::format_to(to, "{:>10} ", 0);
    fmt::format_to(to, "  {}\n", what);
  };
  line("LOC", s.timer_interrupts, "Local timer interrupts");
  line("TLB", shootdowns, "TLB shootdowns");
  fmt::format_to(to, "ERR: {:>10}\nMIS: {:>10}\n", 0, 0);
  return out;
}

std::string render_version() {
  return fmt::format("{} version {} (vitro@vitro) (gcc-12 (Debian 12.2.0-14) 12.2.0, GNU ld (GNU Binutils for Debian) 2.40) {}\n",
                     kKernelType, kKernelRelease, kKernelVersion);
}

std::string render_filesystems() { return "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\nnodev\tpipefs\nnodev\toverlay\n"; }

std::string render_devices(std::span<const BlockDeviceView> disks) {
  std::string out = "Character devices:\n  1 mem\n  5 /dev/tty\n  5 /dev/console\n\nBlock devices:\n";
  std::set<uint64_t> majors;
  for (const BlockDeviceView& d : disks) majors.insert(d.major);
  for (const uint64_t m : majors) fmt::format_to(std::back_inserter(out), "{:>3} virtblk\n", m);
  return out;
}

std::string render_partitions(std::span<const BlockDeviceView> disks) {
  if (disks.empty()) return {};
  std::string out = "major minor  #blocks  name\n\n";
  for (const BlockDeviceView& d : disks)
    fmt::format_to(std::back_inserter(out), "{:4}  {:7} {:10} {}\n", d.major, d.minor, d.sectors / 2, d.name);
  return out;
}

std::string render_diskstats(std::span<const BlockDeviceView> disks) {
  std::string out;
  for (const BlockDeviceView& d : disks) {
    fmt::format_to(std::back_inserter(out), "{:4} {:7} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {} {}\n", d.major, d.minor, d.name,
                   d.reads.requests, d.reads.merged, d.reads.sectors, milliseconds_of(d.reads.time), d.writes.requests, d.writes.merged,
                   d.writes.sectors, milliseconds_of(d.writes.time), d.in_flight, milliseconds_of(d.busy), milliseconds_of(d.weighted),
                   d.discards.requests, d.discards.merged, d.discards.sectors, milliseconds_of(d.discards.time), d.flushes.requests,
                   milliseconds_of(d.flushes.time));
  }
  return out;
}

std::string render_disk_stat(const BlockDeviceView& d) {
  return fmt::format("{:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8} {:8}\n", d.reads.requests,
                     d.reads.merged, d.reads.sectors, milliseconds_of(d.reads.time), d.writes.requests, d.writes.merged, d.writes.sectors,
                     milliseconds_of(d.writes.time), d.in_flight, milliseconds_of(d.busy), milliseconds_of(d.weighted), d.discards.requests,
                     d.discards.merged, d.discards.sectors, milliseconds_of(d.discards.time), d.flushes.requests,
                     milliseconds_of(d.flushes.time));
}

std::string render_mounts(std::span<const Vfs::MountInfo> mounts) {
  constexpr std::string_view kUnsafe = " \t\n\\#";
  std::string out;
  for (const Vfs::MountInfo& m : mounts)
    fmt::format_to(std::back_inserter(out), "{} {} {} {} 0 0\n", escape(m.source, kUnsafe), escape(m.target, kUnsafe), m.type, m.options);
  return out;
}

std::string render_mountinfo(std::span<const Vfs::MountInfo> mounts) {
  constexpr std::string_view kUnsafe = " \t\n\\#";
  std::string out;
  for (size_t i = 0; i < mounts.size(); ++i) {
    const Vfs::MountInfo& m = mounts[i];
    // The parent is the mount on the longest path above this one.
    size_t parent = mounts.size(), longest = 0;
    for (size_t j = 0; j < i; ++j) {
      const std::string& above = mounts[j].target;
      const bool contains = above == "/" || m.target == above || (m.target.starts_with(above) && m.target[above.size()] == '/');
      if (contains && above.size() >= longest) parent = j, longest = above.size();
    }
    const bool read_only = m.options.starts_with("ro");
    fmt::format_to(std::back_inserter(out), "{} {} {}:{} / {} {} - {} {} {}\n", kFirstMountId + i,
                   parent == mounts.size() ? 1 : kFirstMountId + parent, device_major(m.device), device_minor(m.device),
                   escape(m.target, kUnsafe), m.options, m.type, escape(m.source, kUnsafe), read_only ? "ro" : "rw");
  }
  return out;
}

unsigned mount_id(std::span<const Vfs::MountInfo> mounts, uint64_t device) {
  for (size_t i = 0; i < mounts.size(); ++i)
    if (mounts[i].device == device) return kFirstMountId + static_cast<unsigned>(i);
  return 0;
}

}  // namespace vitro::fs
