// /proc/pressure/{cpu,io,memory} (kernel/sched/psi.c): averages to read, and a trigger for each open file to wait for.
#include <fmt/format.h>

#include <iterator>

#include "fs/proc_tree.h"

namespace vitro::fs {
namespace {

constexpr size_t kLongestTrigger = 32;

// psi_show.
std::string render_pressure(const PressureView::Resource& r) {
  std::string out;
  const auto line = [&](std::string_view name, const PressureView::Line& l) {
    fmt::format_to(std::back_inserter(out), "{}", name);
    constexpr std::array kNames{"avg10", "avg60", "avg300"};
    for (size_t i = 0; i < kNames.size(); ++i)
      fmt::format_to(std::back_inserter(out), " {}={}.{:02}", kNames[i], l.averages[i] >> 11, (l.averages[i] & 2047) * 100 >> 11);
    fmt::format_to(std::back_inserter(out), " total={}\n", l.total_us);
  };
  line("some", r.some);
  line("full", r.full);
  return out;
}

class TriggerSession final : public OpenSession {
 public:
  TriggerSession(ProcessTable& processes, PressureResource resource, bool privileged)
      : processes_(processes), resource_(resource), privileged_(privileged) {}
  // psi_write: one trigger for each open file. The last byte is taken for the terminating zero that programs send along.
  Status write(std::string_view text) override {
    if (text.empty()) return fail(Errno::Invalid);
    text = text.substr(0, kLongestTrigger);
    text.remove_suffix(1);
    if (trigger_) return fail(Errno::Busy);
    trigger_ = TRY(processes_.add_pressure_trigger(resource_, text.substr(0, text.find('\0')), privileged_));
    return {};
  }
  // psi_trigger_poll.
  unsigned poll(PollTable* table) override {
    constexpr unsigned kAlways = kPollIn | kPollOut | kPollRdNorm | kPollWrNorm;
    if (!trigger_) return kAlways | kPollErr | kPollPri;
    if (table) table->wait_on(trigger_->happened());
    return kAlways | (trigger_->take_event() ? kPollPri : 0);
  }

 private:
  ProcessTable& processes_;
  PressureResource resource_;
  bool privileged_;
  std::unique_ptr<PressureTrigger> trigger_;
};

}  // namespace

void add_pressure_files(PseudoDirectory& directory, const ProcContext& c) {
  const auto add = [&](std::string_view name, PressureResource resource, PressureView::Resource PressureView::*view) {
    PseudoEntry entry;
    entry.mode = 0666;
    entry.read = [c, view]() -> Result<std::string> { return render_pressure(c.processes.system().pressure.*view); };
    entry.session = [c, resource](const Credentials& opener) {
      return std::make_unique<TriggerSession>(c.processes, resource, opener.euid == 0);  // CAP_SYS_RESOURCE
    };
    directory.add(name, std::move(entry));
  };
  add("io", PressureResource::Io, &PressureView::io);
  add("cpu", PressureResource::Cpu, &PressureView::cpu);
  add("memory", PressureResource::Memory, &PressureView::memory);
}

}  // namespace vitro::fs
