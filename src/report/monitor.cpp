// When the monitor opens, and what it does then: commands one after the other until one lets the program run on.
#include "vitro/report/monitor.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <deque>
#include <optional>

#include "report/monitor_command.h"
#include "report/monitor_input.h"
#include "report/monitor_view.h"
#include "vitro/base/print.h"
#include "vitro/syscalls/table.h"

namespace vitro::report {
namespace {

using Kind = MonitorStop::Kind;

const syscalls::Entry* find_syscall(std::string_view name) {
  for (const syscalls::Entry& e : syscalls::entries())
    if (e.name == name) return &e;
  return nullptr;
}

std::string help_text(std::string_view command) {
  if (const MonitorVerbInfo* v = command.empty() ? nullptr : find_monitor_verb(command)) return fmt::format("{}: {}\n", v->usage, v->help);
  std::string out;
  for (const MonitorVerbInfo& v : monitor_verbs())
    fmt::format_to(std::back_inserter(out), "{:<22}{}{}\n", v.usage, v.help, v.alias.empty() ? "" : fmt::format(" (or {})", v.alias));
  return out + "ADDR and PFN are sums of numbers (0x1f, 42), registers ($rsp) and symbols (main).\n";
}

void say_error(const UserError& e) { print(stderr, "{}{}{}\n", e.what, e.hint.empty() ? "" : ": ", e.hint); }

}  // namespace

Result<MonitorStop, UserError> parse_monitor_stop(std::string_view text) {
  const auto refuse = [&](std::string_view why) {
    return fail(UserError{fmt::format("--monitor-at '{}' {}", text, why), "write exit, start, fault=N, time=SECONDS or syscall=NAME"});
  };
  const size_t equals = text.find('=');
  const std::string_view what = text.substr(0, equals), value = equals == std::string_view::npos ? std::string_view{} : text.substr(equals + 1);
  const auto parse_whole = [&](auto& number) {
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    return !value.empty() && error == std::errc{} && end == value.data() + value.size();
  };
  MonitorStop stop;
  if (text == "exit") return stop;
  if (text == "start") return MonitorStop{Kind::Start};
  if (what == "fault") {
    stop.kind = Kind::Fault;
    if (!parse_whole(stop.number) || stop.number == 0) return refuse("names no page fault: they count from 1");
    return stop;
  }
  if (what == "time") {
    stop.kind = Kind::Time;
    double s = 0;
    if (!parse_whole(s) || !(s >= 0) || s > 1e9) return refuse("names no time in seconds");
    stop.time = Nanoseconds{static_cast<uint64_t>(std::llround(s * 1e9))};
    return stop;
  }
  if (what == "syscall") {
    stop.kind = Kind::Syscall;
    const syscalls::Entry* e = find_syscall(value);
    if (!e) return refuse("names no system call");
    stop.number = e->number;
    return stop;
  }
  return refuse("is no place to stop");
}

struct Monitor::State final : kernel::Watcher {
  ~State() override {
    if (!machine) return;
    machine->kernel().set_watcher(nullptr);
    machine->set_interrupt_handler(nullptr);
    for (const hw::Clock::EventId id : watches) machine->clock().unwatch(id);
  }

  // ---- the kernel tells
  bool entering_user(kernel::Task& t) override {
    task = t.tid;
    if (!started) {
      started = true;
      for (const MonitorStop& s : stops)
        if (s.kind == Kind::Start) open("start");
    }
    while (stepping && stepping->task == t.tid && stepping->done == stepping->wanted) {
      MonitorView view(*machine, t);
      end_step(fmt::format("{} at {}", view.who(), view.where()));
      run_commands();
    }
    return stepping && stepping->task == t.tid;
  }
  void instruction_done(kernel::Task& t) override {
    if (stepping && stepping->task == t.tid) ++stepping->done;
  }
  void before_syscall(kernel::Task& t, uint64_t number) override {
    for (Stop& s : stops)
      if (s.kind == Kind::Syscall && s.number == number && !std::exchange(s.over, true)) open(fmt::format("before system call {}", syscalls::find(number)->name));
  }
  void fault_handled(const mm::FaultReport& report) override {
    if (report.privilege != hw::Privilege::User) return;
    ++faults;
    for (const MonitorStop& s : stops)
      if (s.kind == Kind::Fault && s.number == faults)
        open(fmt::format("page fault {}: {} at {:#x}, {}{}", faults, report.access == hw::Access::Write ? "write" : report.access == hw::Access::Fetch ? "fetch" : "read",
                         report.address.value(), mm::fault_kind_name(report.kind), report.kind == mm::FaultKind::Bad ? "" : fmt::format(", frame {:#x}", report.pfn.value())));
  }

  // ---- stops
  // The task that commands are about: the one that runs, or ran last.
  kernel::Task* subject() {
    kernel::Kernel& k = machine->kernel();
    if (kernel::Task* t = k.running_task(); t && !t->kernel_thread()) return t;
    if (kernel::Task* t = k.find_task(task); t && !t->zombie()) return t;
    for (kernel::Process* p : k.all_processes())
      if (p->space && !p->threads.empty()) return p->threads.front();
    return nullptr;
  }
  void open(const std::string& why) {
    if (quit) return;
    if (stepping) end_step("another stop");
    kernel::Task* t = subject();
    if (!t) return;
    MonitorView view(*machine, *t);
    print(stderr, "vitro: {}: {} at {}, {:.9f} s\n", why, view.who(), view.where(), static_cast<double>(machine->clock().now().value()) / 1e9);
    queue.assign(commands.begin(), commands.end());
    run_commands();
  }
  void end_step(const std::string& where) {
    print(stderr, "{} of {} instructions, then {}\n", stepping->done, stepping->wanted, where);
    stepping.reset();
  }

  // ---- commands
  // Until one of them lets the program run on, or there are no more.
  void run_commands() {
    bool stay = true;
    while (stay && !quit) {
      if (!interactive) {
        if (queue.empty()) return;
        const MonitorCommand c = std::move(queue.front());
        queue.pop_front();
        stay = run(c);
        continue;
      }
      std::string line;
      machine->borrow_terminal();
      const MonitorInput::Outcome outcome = input.read_line(line);
      machine->return_terminal();
      switch (outcome) {
        case MonitorInput::Outcome::Interrupted: interrupts_seen = true; continue;
        case MonitorInput::Outcome::End: quit = true; return;
        case MonitorInput::Outcome::Line: break;
      }
      for (const std::string& text : split_monitor_commands(line)) {
        const auto c = parse_monitor_command(text);
        if (!c) {
          say_error(c.error());
          break;
        }
        if (!(stay = run(*c))) break;
      }
    }
  }
  // False: the program runs on.
  bool run(const MonitorCommand& c) {
    switch (c.verb) {
      case MonitorVerb::Continue: queue.clear(); return false;
      case MonitorVerb::Quit: quit = true; return false;
      case MonitorVerb::Help: print(stderr, "{}", help_text(c.word)); return true;
      case MonitorVerb::Step: return step(c.count);
      default: break;
    }
    kernel::Task* t = subject();
    CHECK(t, "the monitor is open and no task is left");
    const MonitorText text = MonitorView(*machine, *t).show(c);
    if (text)
      print(stderr, "{}", *text);
    else
      say_error(text.error());
    return true;
  }
  bool step(uint64_t n) {
    if (ended) {
      say_error({"step: the program has ended", {}});
      return true;
    }
    stepping = Stepping{subject()->tid, n};
    return false;
  }

  std::vector<MonitorCommand> commands;
  bool interactive = false;
  struct Stop : MonitorStop {
    bool over = false;
  };
  std::vector<Stop> stops;

  machine::Machine* machine = nullptr;
  std::vector<hw::Clock::EventId> watches;
  MonitorInput input;
  Pid task{0};       // the one that was in user mode last
  uint64_t faults = 0;
  bool started = false, ended = false, quit = false;
  bool interrupts_seen = false;  // Ctrl-C at the prompt: not for the guest
  struct Stepping {
    Pid task;
    uint64_t wanted = 0, done = 0;
  };
  std::optional<Stepping> stepping;
  std::deque<MonitorCommand> queue;  // what is left to do here
};

Monitor::Monitor(std::unique_ptr<State> state) : state_(std::move(state)) {}
Monitor::~Monitor() = default;

Result<std::unique_ptr<Monitor>, UserError> Monitor::create(const MonitorOptions& options) {
  auto state = std::make_unique<State>();
  state->interactive = options.commands == "-";
  if (!state->interactive)
    for (const std::string& text : split_monitor_commands(options.commands)) {
      auto c = parse_monitor_command(text);
      if (!c) return fail(UserError{fmt::format("--monitor: {}", c.error().what), c.error().hint});
      state->commands.push_back(std::move(*c));
    }
  if (!state->interactive && state->commands.empty()) return fail(UserError{"--monitor holds no command", "write for instance --monitor 'ps; maps', or --monitor - to type them"});
  for (const MonitorStop& stop : options.stops) state->stops.push_back({stop});
  if (options.stops.empty() && state->interactive) state->stops.push_back({{Kind::Start}});
  if (options.stops.empty() || state->interactive) state->stops.push_back({{Kind::Exit}});
  return std::unique_ptr<Monitor>(new Monitor(std::move(state)));
}

void Monitor::attach(machine::Machine& machine) {
  State& s = *state_;
  s.machine = &machine;
  machine.kernel().set_watcher(&s);
  for (const MonitorStop& stop : s.stops) {
    // Registers are exact only where the CPU has stopped for a fault.
    if (stop.kind == Kind::Fault) machine.cpu().set_precise_faults(true);
    if (stop.kind == Kind::Time) s.watches.push_back(machine.clock().watch(stop.time, [&s] { s.open("time"); }));
  }
  if (s.interactive)
    machine.set_interrupt_handler([&s] {
      if (s.quit) return false;
      if (!std::exchange(s.interrupts_seen, false)) s.open("interrupted");
      return true;
    });
}

void Monitor::at_exit() {
  State& s = *state_;
  if (!s.machine) return;
  s.ended = true;
  const bool stops_here = std::ranges::any_of(s.stops, [](const State::Stop& stop) { return stop.kind == Kind::Exit; });
  if (s.stepping) {
    s.end_step("the program has ended");
    if (!stops_here) s.run_commands();
  }
  if (stops_here) s.open("exit");
  s.quit = true;
}

}  // namespace vitro::report
