// RunStatistics for programs. The keys and their order are part of the interface: docs and scripts rely on them.
#include <nlohmann/json.hpp>

#include "vitro/report/statistics.h"

namespace vitro::report {
namespace {

using Json = nlohmann::ordered_json;
using mm::FaultKind;

Json level(const RunStatistics::TlbLevel& l) { return {{"accesses", l.accesses}, {"hits", l.hits}, {"misses", l.misses}}; }

}  // namespace

std::string to_json(const RunStatistics& s) {
  Json kinds;
  for (const FaultKind k :
       {FaultKind::Anon, FaultKind::Zero, FaultKind::File, FaultKind::Cow, FaultKind::Swap, FaultKind::Stack, FaultKind::Bad})
    kinds[mm::fault_kind_name(k)] = s.faults_by_kind[static_cast<size_t>(k)];
  Json j;
  j["faults"] = {{"minor", s.minor_faults}, {"major", s.major_faults}, {"by_kind", std::move(kinds)}};
  if (s.translation) {
    const auto& t = *s.translation;
    j["tlb"] = {{"l1d", level(t.l1d)}, {"l1i", level(t.l1i)}, {"l2", level(t.l2)}};
    j["walks"] = {{"count", t.walks}, {"references", t.walk_references}};
    j["cycles"] = {{"l2_tlb_hits", t.l2_hit_cycles}, {"walks", t.walk_cycles}};
  } else {
    j["tlb"] = nullptr;
    j["tlb_note"] = "not counted in fast mode, which models no TLB: use --mmu exact";
    j["walks"] = nullptr;
    j["cycles"] = nullptr;
  }
  if (s.isolation_switches) j["isolation"] = {{"cr3_switches", *s.isolation_switches}};
  if (s.kmaps)
    j["kmap"] = {{"maps", s.kmaps->maps}, {"reused", s.kmaps->reused}, {"flushes", s.kmaps->flushes}, {"atomic_maps", s.kmaps->atomic_maps}, {"ns", s.kmaps->cost.value()}};
  j["instructions"] = s.instructions;
  j["virtual_ns"] = s.virtual_time.value();
  j["vmstat"] = Json::object();
  for (const auto& [name, value] : s.vmstat) j["vmstat"][name] = value;
  j["frames"] = Json::object();
  for (const auto& [state, count] : s.frames) j["frames"][state] = count;
  j["exit"] = {{"status", s.exit_status}, {"signal", s.exit_signal}};
  return j.dump(2) + "\n";
}

}  // namespace vitro::report
