// Choosing and killing (mm/oom_kill.c: out_of_memory, select_bad_process, oom_kill_process, oom_reaper).
#include "vitro/mm/oom.h"

#include <fmt/format.h>

#include <algorithm>

#include "mm/reclaim/reclaim_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

constexpr Nanoseconds kReaperDelay = seconds(2);   // OOM_REAPER_DELAY
constexpr unsigned kReaperTries = 10;              // MAX_OOM_REAP_RETRIES
constexpr int kNeverKill = -1000;                  // OOM_SCORE_ADJ_MIN

uint64_t resident(const AddressSpace::Usage& u) { return u.rss_anon + u.rss_file + u.rss_shmem; }
bool skipped(const OomTask& t) { return t.space->state().oom_skip; }

}  // namespace

std::optional<int64_t> oom_badness(const OomTask& t, uint64_t total_pages) {
  if (t.unkillable || !t.space || t.score_adj == kNeverKill || t.in_vfork || skipped(t)) return std::nullopt;
  const AddressSpace::Usage& u = t.space->usage();
  return static_cast<int64_t>(resident(u) + u.swapents + u.page_tables) + t.score_adj * static_cast<int64_t>(total_pages / 1000);
}

bool OomKiller::out_of_memory(Gfp gfp, Order order) {
  if (!tasks_) return false;
  const auto current = tasks_->oom_current();
  if (current && (current->exiting || current->victim) && current->space && !skipped(*current)) {
    tasks_->oom_kill(current->pid);  // it is dying already: with the reserves it gets there
    return true;
  }
  // Reclaim that may not enter file systems has not tried everything.
  if (!has(gfp, Gfp::Fs)) {
    give_time();
    return true;
  }
  const uint64_t total = vm_.physical().allocator().managed_frames().value() + vm_.swap().total().value();
  if (panic_on_oom) {
    report(gfp, order);
    tasks_->oom_panic(fmt::format("Out of memory: {} panic_on_oom is enabled", panic_on_oom == 2 ? "compulsory" : "system-wide"));
    return true;
  }
  if (kill_allocating_task && current && current->space && !current->unkillable && current->score_adj != kNeverKill) {
    kill(*current, gfp, order, "Out of memory (oom_kill_allocating_task)");
    give_time();
    return true;
  }
  std::optional<OomTask> chosen;
  int64_t most = INT64_MIN;
  bool dying = false;
  for (const OomTask& t : tasks_->oom_tasks()) {
    if (t.victim && (t.space || t.freeing) && !t.unkillable) {
      if (t.space && skipped(t)) continue;
      dying = true;
      break;
    }
    if (t.unkillable) continue;
    const auto points = t.origin ? std::optional<int64_t>{INT64_MAX} : oom_badness(t, total);
    if (!points || *points < most) continue;
    chosen = t;  // of equals the youngest
    most = *points;
  }
  if (dying) {
    chosen.reset();  // nobody's memory may be ours to free while others run
    give_time();     // what the victim frees comes first
    return true;
  }
  if (!chosen) {
    report(gfp, order);
    tasks_->oom_log("Out of memory and no killable processes...");
    tasks_->oom_panic("System is deadlocked on memory");
    return true;
  }
  kill(*chosen, gfp, order, "Out of memory");
  chosen.reset();  // nobody's memory may be ours to free while others run
  give_time();
  return true;
}

void OomKiller::kill(const OomTask& victim, Gfp gfp, Order order, const char* why) {
  if (victim.exiting) {
    tasks_->oom_kill(victim.pid);
    return;
  }
  // Ten reports in five seconds at most.
  const Nanoseconds now = vm_.reclaimer().state().now();
  std::erase_if(reports_, [now](Nanoseconds t) { return t + seconds(5) < now; });
  if (reports_.size() < 10) {
    reports_.push_back(now);
    report(gfp, order);
    tasks_->oom_log(fmt::format("oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/,task={},pid={},uid={}",
                                victim.comm, victim.pid.value(), victim.uid));
  }
  const AddressSpace::Usage u = victim.space->usage();
  const auto kib = [](uint64_t pages) { return pages << (kPageShift - 10); };
  vm_.physical().stat().add(VmItem::oom_kill);
  TRACE(vm_.tracer(), Event::OomMarkVictim, victim.pid.value(), victim.comm, kib(u.total_vm), kib(u.rss_anon), kib(u.rss_file), kib(u.rss_shmem), victim.uid,
        kib(u.page_tables), victim.score_adj);
  tasks_->oom_kill(victim.pid);
  tasks_->oom_log(fmt::format("{}: Killed process {} ({}) total-vm:{}kB, anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB, UID:{} pgtables:{}kB oom_score_adj:{}",
                              why, victim.pid.value(), victim.comm, kib(u.total_vm), kib(u.rss_anon), kib(u.rss_file), kib(u.rss_shmem), victim.uid,
                              kib(u.page_tables), victim.score_adj));
  to_reap_.push_back({victim.pid, victim.space->state().number});
  reaper_wait_.wake_all();
}

// The victim must run to die, and there may be one CPU only: it was woken and is the more urgent. Who asked for memory goes on trying.
void OomKiller::give_time() { vm_.reclaimer().state().checkpoint(true); }

void OomKiller::run_reaper(const std::function<bool()>& should_stop) {
  Reclaimer::State& r = vm_.reclaimer().state();
  while (!should_stop()) {
    if (to_reap_.empty()) {
      (void)vm_.blocking()->wait(reaper_wait_, Interruptible::Yes);
      continue;
    }
    const Doomed next = to_reap_.front();
    to_reap_.erase(to_reap_.begin());
    const auto find = [&]() -> std::optional<OomTask> {
      for (const OomTask& t : tasks_->oom_tasks())
        if (t.space && t.space->state().number == next.space) return t;
      return std::nullopt;
    };
    const Nanoseconds from = r.now() + kReaperDelay;
    while (!should_stop() && find() && r.now() < from) (void)vm_.blocking()->wait(reaper_wait_, Interruptible::Yes, from);
    if (find()) TRACE(vm_.tracer(), Event::OomWakeReaper, next.pid.value());
    for (unsigned tries = 0; tries < kReaperTries && !should_stop(); ++tries) {
      const auto t = find();
      if (!t || reap(*t->space, *t)) break;
      (void)vm_.blocking()->wait(reaper_wait_, Interruptible::Yes, r.now() + kTick * 25);
    }
    // Whatever came of it: it is no reason to wait any longer.
    if (const auto t = find()) t->space->state().oom_skip = true;
  }
}

bool OomKiller::reap(AddressSpace& space, const OomTask& t) {
  AddressSpace::State& s = space.state();
  if (s.locked) {
    TRACE(vm_.tracer(), Event::OomSkipTaskReaping, t.pid.value());
    return false;
  }
  TRACE(vm_.tracer(), Event::OomStartTaskReaping, t.pid.value());
  for (Vma* v = s.vmas.first(); v; v = v->tree.next) {
    if (has(v->flags, VmFlag::Locked) || (v->file && v->shared())) continue;
    TlbGather tlb = s.gather();
    s.zap(*v, v->start, v->end, tlb);
  }
  const AddressSpace::Usage& u = space.usage();
  tasks_->oom_log(fmt::format("oom_reaper: reaped process {} ({}), now anon-rss:{}kB, file-rss:{}kB, shmem-rss:{}kB", t.pid.value(), t.comm, u.rss_anon * 4,
                              u.rss_file * 4, u.rss_shmem * 4));
  TRACE(vm_.tracer(), Event::OomFinishTaskReaping, t.pid.value());
  return true;
}

}  // namespace vitro::mm
