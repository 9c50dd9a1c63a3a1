// /proc/sys, the part that nobody can change here: what Linux lets an administrator set and this machine has one way of doing. Each value is what the
// code does: a limit it enforces, or the setting that describes it (randomize_va_space is 0 because nothing is randomised).
#include "fs/proc_settings.h"

#include <fmt/format.h>

#include "vitro/fs/vfs.h"

namespace vitro::fs {
namespace {

struct Constant {
  std::string_view path, text;
};

constexpr Constant kConstants[] = {
    {"debug/exception-trace", "1"},            // unhandled faults are logged
    {"fs/dir-notify-enable", "0"},             // F_NOTIFY is refused
    {"fs/inotify/max_queued_events", "16384"},
    {"fs/leases-enable", "0"},                 // so is F_SETLEASE
    {"fs/nr_open", "1048576"},
    {"fs/overflowgid", "65534"},
    {"fs/overflowuid", "65534"},
    {"fs/pipe-user-pages-hard", "0"},
    {"fs/protected_fifos", "0"},
    {"fs/protected_hardlinks", "0"},
    {"fs/protected_regular", "0"},
    {"fs/protected_symlinks", "0"},
    {"fs/suid_dumpable", "0"},
    {"kernel/auto_msgmni", "0"},
    {"kernel/cad_pid", "1"},
    {"kernel/core_pattern", ""},               // no core is ever written
    {"kernel/core_pipe_limit", "0"},
    {"kernel/core_uses_pid", "0"},
    {"kernel/ctrl-alt-del", "0"},
    {"kernel/dmesg_restrict", "0"},
    {"kernel/domainname", "(none)"},
    {"kernel/kptr_restrict", "0"},
    {"kernel/modules_disabled", "1"},
    {"kernel/msg_next_id", "-1"},
    {"kernel/nmi_watchdog", "0"},
    {"kernel/panic", "0"},
    {"kernel/print-fatal-signals", "0"},
    {"kernel/pty/max", "4096"},
    {"kernel/pty/reserve", "1024"},
    {"kernel/random/entropy_avail", "256"},    // the pool is full once it is seeded, as in Linux since 5.18
    {"kernel/random/poolsize", "256"},
    {"kernel/randomize_va_space", "0"},
    {"kernel/sem_next_id", "-1"},
    {"kernel/shm_next_id", "-1"},
    {"kernel/shm_rmid_forced", "0"},
    {"kernel/soft_watchdog", "0"},
    {"kernel/sysctl_writes_strict", "1"},
    {"kernel/sysrq", "0"},
    {"kernel/tainted", "0"},
    {"kernel/watchdog", "0"},
    {"kernel/yama/ptrace_scope", "3"},         // nobody may trace
    {"net/core/optmem_max", "20480"},
    {"net/core/somaxconn", "4096"},
    {"net/ipv4/ip_local_port_range", "32768\t60999"},
    {"net/ipv4/ip_forward", "0"},
};

}  // namespace

std::vector<Tunable> fixed_settings(Vfs& vfs, ProcessTable& processes) {
  std::vector<Tunable> all;
  for (const Constant& k : kConstants) all.push_back({std::string(k.path), [text = k.text] { return std::string(text) + "\n"; }, nullptr});
  const auto state = [&](std::string path, auto render) { all.push_back({std::move(path), [render] { return render() + "\n"; }, nullptr}); };
  // fs/dcache.c: struct dentry_stat_t: all, unused, age limit, wanted, negative, dummy.
  state("fs/dentry-state", [&vfs] {
    const Vfs::DentryCounts n = vfs.dentry_counts();
    return fmt::format("{}\t{}\t45\t0\t{}\t0", n.cached, n.unused, n.negative);
  });
  state("fs/inode-nr", [&vfs] {
    const Vfs::InodeCounts n = vfs.inode_counts();
    return fmt::format("{}\t{}", n.cached, n.unused);
  });
  state("fs/inode-state", [&vfs] {
    const Vfs::InodeCounts n = vfs.inode_counts();
    return fmt::format("{}\t{}\t0\t0\t0\t0\t0", n.cached, n.unused);
  });
  state("kernel/ns_last_pid", [&processes] { return fmt::format("{}", processes.system().last_pid.value()); });
  return all;
}

}  // namespace vitro::fs
