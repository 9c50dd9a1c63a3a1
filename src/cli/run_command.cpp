// vitro run: one program on one machine.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "commands.h"
#include "size_option.h"
#include "tlb_options.h"
#include "vitro/machine/machine.h"
#include "vitro/report/monitor.h"
#include "vitro/report/progress.h"
#include "vitro/report/sampler.h"
#include "vitro/report/statistics.h"

namespace vitro::cli {
namespace {

struct RunOptions {
  std::string ram = "1G", disk = "16G", reserved = "0", highmem, pti = "off";
  TlbOptions tlb;
  std::string mmu = "exact", verify = "off", log_level = "warn";
  std::string trace, trace_out = "-";
  bool stats = false, strace = false;
  std::string stats_json;
  std::string root;
  std::vector<std::string> binds, environment;
  uint64_t seed = 1;
  std::optional<std::string> monitor;
  std::vector<std::string> monitor_at;
  std::optional<std::string> sample, report;
  std::string report_out = "-";
  std::vector<std::string> command;
};

const std::map<std::string, hw::MmuMode> kModes{{"exact", hw::MmuMode::Exact}, {"trap", hw::MmuMode::Trap}, {"fast", hw::MmuMode::Fast}};
const std::map<std::string, mm::Verify> kVerify{{"off", mm::Verify::Off}, {"cheap", mm::Verify::Cheap}, {"full", mm::Verify::Full}};

template <class T>
std::vector<std::string> keys(const std::map<std::string, T>& m) {
  std::vector<std::string> result;
  for (const auto& [key, value] : m) result.push_back(key);
  return result;
}

Result<machine::Bind, UserError> parse_bind(const std::string& text) {
  const size_t colon = text.find(':');
  machine::Bind bind{text.substr(0, colon), colon == std::string::npos ? text : text.substr(colon + 1)};
  if (bind.host.empty() || bind.guest.empty()) return fail(UserError{fmt::format("--bind '{}' names no directory", text), "write HOST or HOST:GUEST"});
  std::unique_ptr<char, decltype(&std::free)> real{::realpath(bind.host.c_str(), nullptr), &std::free};
  if (!real) return fail(UserError{fmt::format("--bind {}: {}", bind.host, std::strerror(errno)), "name a file or directory that exists"});
  if (colon == std::string::npos) bind.guest = real.get();
  bind.host = real.get();
  if (bind.guest[0] != '/') return fail(UserError{fmt::format("--bind '{}': the guest's path must start with /", text), "write HOST:/GUEST"});
  return bind;
}

Result<machine::MachineOptions, UserError> machine_options(const RunOptions& o) {
  machine::MachineOptions m;
  m.ram = TRY(parse_size("--ram", o.ram));
  m.disk = TRY(parse_size("--disk", o.disk));
  m.reserved = TRY(parse_size("--reserved", o.reserved));
  if (!o.highmem.empty()) {
    m.highmem = TRY(parse_size("--highmem", o.highmem));
    if (m.highmem >= m.ram) return fail(UserError{fmt::format("--highmem {} is not inside the RAM of {}", o.highmem, o.ram), "name an address below --ram"});
  }
  m.isolation = o.pti == "on";
  m.mmu = kModes.at(o.mmu);
  m.tlb = TRY(tlb_config(o.tlb, m.mmu));
  m.verify = kVerify.at(o.verify);
  m.seed = o.seed;
  m.trace = o.trace;
  m.trace_out = o.trace_out;
  m.strace = o.strace;
  if (!o.root.empty()) {
    std::unique_ptr<char, decltype(&std::free)> real{::realpath(o.root.c_str(), nullptr), &std::free};
    if (!real) return fail(UserError{fmt::format("--root {}: {}", o.root, std::strerror(errno)), "name a directory that exists"});
    m.root = real.get();
  }
  for (const std::string& b : o.binds) m.binds.push_back(TRY(parse_bind(b)));
  for (const std::string& e : o.environment) {
    if (e.find('=') == std::string::npos || e[0] == '=') return fail(UserError{fmt::format("--env '{}' sets nothing", e), "write NAME=VALUE"});
    m.environment.push_back(e);
  }
  return m;
}

// Null: no monitor was asked for.
Result<std::unique_ptr<report::Monitor>, UserError> make_monitor(const RunOptions& o) {
  if (!o.monitor) {
    if (!o.monitor_at.empty()) return fail(UserError{fmt::format("--monitor-at {} without --monitor", o.monitor_at.front()), "say what to do there with --monitor 'COMMANDS' or --monitor -"});
    return nullptr;
  }
  report::MonitorOptions m{*o.monitor, {}};
  for (const std::string& stop : o.monitor_at) m.stops.push_back(TRY(report::parse_monitor_stop(stop)));
  return TRY(report::Monitor::create(m));
}

// Nothing: no sampling was asked for.
Result<std::optional<report::SampleOptions>, UserError> sample_options(const RunOptions& o) {
  if (!o.sample) {
    const char* given = o.report ? "--report" : o.report_out != "-" ? "--report-out" : nullptr;
    if (given) return fail(UserError{fmt::format("{} without --sample", given), "say how often with --sample 1s"});
    return std::nullopt;
  }
  return report::SampleOptions{TRY(report::parse_interval(*o.sample)), o.report.value_or("free"), o.report_out};
}

// The progress line has the terminal to itself and the guest: nothing else may be on its way there.
bool progress_is_welcome(const RunOptions& o) { return !o.monitor && !o.strace && !(o.sample && o.report_out == "-") && (o.trace.empty() || o.trace_out != "-"); }

Result<void, UserError> write_file(const std::string& path, const std::string& text) {
  FILE* f = path == "-" ? stderr : std::fopen(path.c_str(), "we");
  const bool written = f && std::fwrite(text.data(), 1, text.size(), f) == text.size() && std::fflush(f) == 0;
  const int error = errno;
  if (f && f != stderr) std::fclose(f);
  if (!written) return fail(UserError{fmt::format("cannot write the statistics to {}: {}", path, std::strerror(error)), "name a file you may write to"});
  return {};
}

Result<int, UserError> run(const RunOptions& o) {
  spdlog::set_level(spdlog::level::from_str(o.log_level));
  const machine::MachineOptions options = TRY(machine_options(o));
  std::unique_ptr<report::Monitor> checked = TRY(make_monitor(o));  // before the guest starts
  const std::optional<report::SampleOptions> sampling = TRY(sample_options(o));
  if (!o.stats_json.empty()) TRY(write_file(o.stats_json, ""));
  const std::unique_ptr<machine::Machine> m = TRY(machine::Machine::create(options));
  std::unique_ptr<report::Monitor> monitor = std::move(checked);  // gone before the machine is
  if (monitor) monitor->attach(*m);
  const std::unique_ptr<report::Sampler> sampler = sampling ? TRY(report::Sampler::create(*sampling, *m)) : nullptr;
  std::unique_ptr<report::Progress> progress = progress_is_welcome(o) ? report::Progress::create(*m) : nullptr;
  const machine::Program program{o.command.front(), {o.command.begin() + 1, o.command.end()}};
  std::optional<report::RunStatistics> statistics;
  const kernel::Exit exit = TRY(m->run(program, [&] {
    if (options.verify != mm::Verify::Off) m->verify(options.verify);
    statistics = report::capture(m->vm(), m->mmu(), m->clock(), options.mmu);
    if (sampler) sampler->at_exit();
    if (monitor) monitor->at_exit();
  }));
  monitor.reset();
  progress.reset();
  if (sampler) TRY(sampler->finish());
  if (options.verify != mm::Verify::Off) m->verify(options.verify);
  if (statistics) {
    statistics->exit_status = exit.status;
    statistics->exit_signal = exit.signal;
    if (!o.stats_json.empty()) TRY(write_file(o.stats_json, report::to_json(*statistics)));
    if (o.stats) fmt::print(stderr, "{}", report::to_text(*statistics));
  }
  return exit.shell_status();
}

}  // namespace

SetCommand add_run_command(CLI::App& app, Action& chosen) {
  auto o = std::make_shared<RunOptions>();
  CLI::App* run_command = app.add_subcommand("run", "Run a program on a simulated machine");
  run_command->add_option("--ram", o->ram, "Size of the machine's RAM, 16M to 1T (default 1G)")->type_name("SIZE");
  run_command->add_option("--mmu", o->mmu, "What the MMU sees: exact (every access; the default), trap (first-level TLB misses) or fast (page tables and faults only)")
      ->check(CLI::IsMember(keys(kModes)));
  add_tlb_options(*run_command, o->tlb);
  run_command->add_option("--trace", o->trace, "Events to trace: page-fault, tlb-miss, syscall, signal, task, alloc, ... or event names; * and ? match")->type_name("LIST");
  run_command->add_option("--trace-out", o->trace_out, "Where the trace goes (default: stderr)")->type_name("FILE");
  run_command->add_flag("--stats", o->stats, "Print the counters to stderr when the program has ended");
  run_command->add_option("--stats-json", o->stats_json, "Write the counters as JSON")->type_name("FILE");
  run_command->add_option("--monitor", o->monitor, "Look at the machine where --monitor-at says: commands separated by ';', or - to type them (docs/monitor.md)")
      ->type_name("COMMANDS");
  run_command->add_option("--monitor-at", o->monitor_at, "Where: exit (default), start, fault=N, time=SECONDS or syscall=NAME; may be repeated")
      ->type_name("WHERE")->take_all()->allow_extra_args(false);
  run_command->add_option("--sample", o->sample, "Print a row of memory counters at this interval of virtual time: 1s, 500ms (docs/reports.md)")->type_name("INTERVAL");
  run_command->add_option("--report", o->report, "What a row shows: free (default), sar-r, sar-B, sar-S, sar-W, vmstat, or fields of /proc/meminfo and /proc/vmstat")
      ->type_name("NAME|FIELD,...");
  run_command->add_option("--report-out", o->report_out, "Where the rows go (default: stderr); FILE.csv and FILE.json have that form")->type_name("FILE");
  run_command->add_flag("--strace", o->strace, "Print each system call to stderr, as strace does");
  run_command->add_option("--root", o->root, "Use this directory tree as the guest's / (read-only)")->type_name("DIR");
  run_command->add_option("--bind", o->binds, "Show a host file or directory to the guest (read-only)")->type_name("HOST[:GUEST]")->take_all()->allow_extra_args(false);
  run_command->add_option("--env", o->environment, "Set a variable in the program's environment")->type_name("NAME=VALUE")->take_all()->allow_extra_args(false);
  run_command->add_option("--disk", o->disk, "Size of the simulated disk that takes what the guest writes (default 16G)")->type_name("SIZE");
  run_command->add_option("--reserved", o->reserved, "Memory that boot reserves beyond the default")->type_name("SIZE");
  run_command->add_option("--highmem", o->highmem, "RAM from this address on is high memory, outside the kernel's direct map (default: none)")->type_name("START");
  run_command->add_option("--pti", o->pti, "Page-table isolation: user mode runs on tables without the kernel; on or off (default off)")->check(CLI::IsMember({"on", "off"}));
  run_command->add_option("--seed", o->seed, "Seed of everything random (default 1)")->type_name("N");
  run_command->add_option("--verify", o->verify, "Check the machine's invariants: off, cheap or full (default off)")->check(CLI::IsMember(keys(kVerify)));
  run_command->add_option("--log-level", o->log_level, "vitro's own diagnostics on stderr: trace, debug, info, warn, err, off")
      ->check(CLI::IsMember({"trace", "debug", "info", "warn", "err", "off"}));
  run_command->footer("[--] PROGRAM [ARGUMENTS...] follow the options.");
  run_command->callback([o, run_command, &chosen] {
    if (o->command.empty()) throw CLI::RequiredError("PROGRAM");
    chosen = [o] { return run(*o); };
  });
  return [o](std::vector<std::string> command) { o->command = std::move(command); };
}

size_t program_position(const CLI::App& run_command, const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--" || word.size() < 2 || word[0] != '-') return i;
    const CLI::Option* option = run_command.get_option_no_throw(word);
    if (option && option->get_expected_max() > 0 && option->get_type_size_max() > 0) ++i;  // its value
  }
  return words.size();
}

}  // namespace vitro::cli
