// A profile as tables for people.
#include <fmt/format.h>

#include <iterator>

#include "profile_tables.h"

namespace vitro::report {
namespace {

using kernel::ProfileCounts;
using kernel::ProfileRanking;
using kernel::ProfileRow;
using kernel::ProfileTable;

// The beginning of a long path says less than its end.
std::string shortened(const std::string& s, size_t most) { return s.size() <= most ? s : "..." + s.substr(s.size() - (most - 3)); }

std::string label(ProfileTable table, const ProfileRow& r) {
  const std::string whose = r.pid.value() == 0 ? std::string() : fmt::format(" ({}-{})", r.comm, r.pid.value());
  const char* size = r.size == hw::PageSize::k4K ? "4K" : r.size == hw::PageSize::k2M ? "2M" : "1G";
  switch (table) {
    case ProfileTable::Task:
      return r.pid.value() == 0 && r.comm.empty() ? "before the first task" : fmt::format("{}-{}", r.comm, r.pid.value());
    case ProfileTable::Area:
      if (r.end.value() == 0) return r.name;
      return fmt::format("{:x}-{:x} {} {}{}", r.address.value(), r.end.value(), r.text, shortened(r.name, 40), whose);
    case ProfileTable::Page:
      return fmt::format("{:x} {} {}{}", r.address.value(), size, shortened(r.name, 40), whose);
    case ProfileTable::Symbol:
      return r.object.empty() || r.name.starts_with('[') ? r.name : fmt::format("{} ({})", r.name, r.object);
    default:
      return fmt::format("{:<24} {}", r.name, r.text);
  }
}

constexpr const char* kTitles[] = {"task", "VMA", "page", "symbol", "instruction"};

void misses_line(std::string& out, const ProfileCounts& c, const MissCost& cost, const std::string& label) {
  fmt::format_to(std::back_inserter(out), "  {:>12} {:>12} {:>9} {:>9} {:>12} {:>9} {:>14}  {}\n", grouped(c.all_misses()),
                 grouped(c.all_misses() - c.walks()), grouped(c.cold), grouped(c.flushed), grouped(c.evicted), grouped(c.dirty),
                 grouped(cost.cycles(c)), label);
}

void faults_line(std::string& out, const ProfileCounts& c, const std::string& label) {
  fmt::format_to(std::back_inserter(out), "  {:>12} {:>12} {:>9}  {}\n", grouped(c.faults()), grouped(c.minor_faults), grouped(c.major_faults),
                 label);
}

template <class Line>
void table(std::string& out, const ProfileRanking& ranking, ProfileTable which, Line line) {
  for (const ProfileRow& r : ranking.rows) line(r.counts, label(which, r));
  if (ranking.distinct > ranking.rows.size()) line(ranking.rest, fmt::format("{} more", grouped(ranking.distinct - ranking.rows.size())));
}

}  // namespace

std::string profile_text(const kernel::ProfileReport& r, const MissCost& cost) {
  std::string out;
  const auto each = [&](auto show) {
    for (size_t i = 0; i < kernel::kProfileTables; ++i) {
      const auto which = static_cast<ProfileTable>(i);
      if (r.instructions || (which != ProfileTable::Symbol && which != ProfileTable::Instruction)) show(which, kTitles[i]);
    }
  };
  if (r.tlb)
    each([&](ProfileTable which, const char* title) {
      const ProfileRanking& ranking = r.misses[static_cast<size_t>(which)];
      if (ranking.rows.empty()) return;
      fmt::format_to(std::back_inserter(out), "\n  {:>12} {:>12} {:>9} {:>9} {:>12} {:>9} {:>14}  by {}\n", "TLB misses", "hit in L2", "cold",
                     "flushed", "evicted", "to dirty", "cycles", title);
      table(out, ranking, which, [&](const ProfileCounts& c, const std::string& l) { misses_line(out, c, cost, l); });
    });
  each([&](ProfileTable which, const char* title) {
    const ProfileRanking& ranking = r.faults[static_cast<size_t>(which)];
    if (ranking.rows.empty()) return;
    fmt::format_to(std::back_inserter(out), "\n  {:>12} {:>12} {:>9}  by {}\n", "page faults", "minor", "major", title);
    table(out, ranking, which, [&](const ProfileCounts& c, const std::string& l) { faults_line(out, c, l); });
  });
  if (!r.instructions) out += "\n  This build's emulator does not say which instruction makes an access: no tables by symbol and instruction.\n";
  return out;
}

}  // namespace vitro::report
