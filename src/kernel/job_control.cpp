// What terminals ask of processes: who calls, whose group is in the background, and whom to signal (drivers/tty/tty_jobctrl.c).
#include "kernel/job_control.h"

#include "kernel/signal_sets.h"
#include "kernel/state.h"

namespace vitro::kernel {

std::optional<fs::JobControl::Caller> ProcessJobControl::caller() const {
  const Task* t = state_.scheduler.current();
  if (!t) return std::nullopt;
  const Process& p = *t->process;
  return Caller{p.pid, p.group, p.session, p.terminal, p.credentials.euid == 0};
}

bool ProcessJobControl::caller_heeds(int signal) const {
  const Task* t = state_.scheduler.current();
  if (!t || !t->process->handlers) return false;
  return !in(t->blocked, signal) && t->process->handlers->actions[static_cast<size_t>(signal)].handler != kIgnore;
}

bool ProcessJobControl::orphaned(Pid group) const { return state_.orphaned_group(group, nullptr); }

std::optional<Pid> ProcessJobControl::session_of(Pid group) const {
  for (const Process* p : state_.group(group)) return p->session;
  return std::nullopt;
}

void ProcessJobControl::signal_group(Pid group, int signal) {
  if (state_.ending) return;
  for (Process* p : state_.group(group)) send(*p, signal);
}

void ProcessJobControl::signal_process(Pid process, int signal) {
  if (state_.ending) return;
  if (Process* p = state_.find_process(process)) send(*p, signal);
}

void ProcessJobControl::send(Process& p, int signal) {
  if (p.zombie) return;
  SignalInfo info;
  info.signal = signal;
  info.code = kSiKernel;
  (void)state_.send(p, nullptr, info, false);
}

void ProcessJobControl::set_terminal(std::shared_ptr<fs::Tty> terminal) {
  if (Task* t = state_.scheduler.current()) t->process->terminal = std::move(terminal);
}

void ProcessJobControl::drop_terminal(Pid session) {
  for (auto& [pid, p] : state_.processes)
    if (p->session == session) p->terminal.reset();
}

}  // namespace vitro::kernel
