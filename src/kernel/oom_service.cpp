#include "kernel/oom_service.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "kernel/state.h"

namespace vitro::kernel {

mm::OomTask OomService::describe(const Process& p) const {
  mm::OomTask t;
  t.pid = p.pid;
  t.uid = p.credentials.uid;
  t.comm = p.threads.empty() ? std::string() : p.threads.front()->comm;
  t.space = p.zombie ? nullptr : p.space;
  t.freeing = p.freeing_memory;
  t.score_adj = p.oom_score_adj;
  t.unkillable = p.unkillable;
  t.in_vfork = p.vfork != nullptr && p.parent && p.parent->space == p.space;
  t.victim = std::ranges::any_of(p.threads, [](const Task* task) { return task->reclaim.oom_victim && !task->zombie(); });
  t.origin = std::ranges::any_of(p.threads, [](const Task* task) { return task->reclaim.oom_origin; });
  t.exiting = p.group_exiting || std::ranges::all_of(p.threads, [](const Task* task) { return task->exiting; });
  return t;
}

std::vector<mm::OomTask> OomService::oom_tasks() const {
  std::vector<mm::OomTask> all;
  for (const auto& [pid, p] : state_.processes) all.push_back(describe(*p));
  return all;
}

std::optional<mm::OomTask> OomService::oom_current() const {
  const Task* t = state_.scheduler.current();
  if (!t || !t->process) return std::nullopt;
  mm::OomTask described = describe(*t->process);
  described.comm = t->comm;
  return described;
}

// __oom_kill_process.
void OomService::oom_kill(Pid process) {
  Process* victim = state_.find_process(process);
  if (!victim) return;
  const auto space = victim->space;
  for (auto& [pid, p] : state_.processes) {
    if (p.get() != victim && (!space || p->space != space || p->unkillable)) continue;
    for (Task* t : p->threads) t->reclaim.oom_victim = true;
    if (!p->group_exiting) (void)state_.send(*p, nullptr, {.signal = kSigKill, .code = kSiKernel}, true);
  }
}

void OomService::oom_log(const std::string& line) {
  state_.log.append(state_.clock.now(), line);
  // The last line of a report is for everybody who watches the run, the rest for those who ask.
  if (state_.tracer.enabled(Event::OomMarkVictim) || line.starts_with("Out of memory")) spdlog::warn("{}", line);
}

void OomService::oom_panic(const std::string& why) {
  oom_log("Kernel panic - not syncing: " + why);
  spdlog::error("Kernel panic - not syncing: {}", why);
  // The machine stops; what runs on it ends as if killed.
  for (auto& [pid, p] : state_.processes) {
    if (p->unkillable) continue;
    for (Task* t : p->threads) t->reclaim.oom_victim = true;
    state_.start_group_exit(*p, kSigKill);
  }
}

}  // namespace vitro::kernel
