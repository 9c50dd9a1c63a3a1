#include "report/sample_table.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <ctime>
#include <iterator>

namespace vitro::report {
namespace {

constexpr std::string_view kReports[] = {"free", "sar-r", "sar-B", "sar-S", "sar-W", "vmstat"};
constexpr unsigned kSarColumn = 9;

using Interval = SampleInterval;

double percent(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

SampleColumn level(std::string name, int64_t (*get)(const Sample&)) {
  return {std::move(name), false, [get](const Interval& i) { return static_cast<double>(get(i.now)); }};
}
SampleColumn share(std::string name, double (*get)(const Sample&)) {
  return {std::move(name), true, [get](const Interval& i) { return get(i.now); }};
}
SampleColumn rate(std::string name, int64_t (*get)(const Sample&)) {
  return {std::move(name), true, [get](const Interval& i) { return static_cast<double>(get(i.now) - get(i.before)) / i.seconds(); }};
}

// sysstat's pr_stats.c: stub_print_ram_memory_stats. What is used is what remains without free memory, buffers, cache and slabs.
int64_t sar_used(const Sample& s) {
  const int64_t total = s.memory("MemTotal");
  return total - std::min(total, s.memory("MemFree") + s.memory("Buffers") + s.memory("Cached") + s.memory("Slab"));
}

std::vector<SampleColumn> sar_r() {
  return {level("kbmemfree", [](const Sample& s) { return s.memory("MemFree"); }),
          level("kbavail", [](const Sample& s) { return s.memory("MemAvailable"); }),
          level("kbmemused", sar_used),
          share("%memused", [](const Sample& s) { return percent(static_cast<double>(sar_used(s)), static_cast<double>(s.memory("MemTotal"))); }),
          level("kbbuffers", [](const Sample& s) { return s.memory("Buffers"); }),
          level("kbcached", [](const Sample& s) { return s.memory("Cached"); }),
          level("kbcommit", [](const Sample& s) { return s.memory("Committed_AS"); }),
          share("%commit",
                [](const Sample& s) { return percent(static_cast<double>(s.memory("Committed_AS")), static_cast<double>(s.memory("MemTotal") + s.memory("SwapTotal"))); }),
          level("kbactive", [](const Sample& s) { return s.memory("Active"); }),
          level("kbinact", [](const Sample& s) { return s.memory("Inactive"); }),
          level("kbdirty", [](const Sample& s) { return s.memory("Dirty"); })};
}

int64_t swap_used(const Sample& s) { return s.memory("SwapTotal") - s.memory("SwapFree"); }

std::vector<SampleColumn> sar_s() {
  return {level("kbswpfree", [](const Sample& s) { return s.memory("SwapFree"); }), level("kbswpused", swap_used),
          share("%swpused", [](const Sample& s) { return percent(static_cast<double>(swap_used(s)), static_cast<double>(s.memory("SwapTotal"))); }),
          level("kbswpcad", [](const Sample& s) { return s.memory("SwapCached"); }),
          share("%swpcad", [](const Sample& s) { return percent(static_cast<double>(s.memory("SwapCached")), static_cast<double>(swap_used(s))); })};
}

std::vector<SampleColumn> sar_w() {
  return {rate("pswpin/s", [](const Sample& s) { return s.vm("pswpin"); }), rate("pswpout/s", [](const Sample& s) { return s.vm("pswpout"); })};
}

// sysstat's rd_stats.c: read_vmstat_paging adds up whatever begins with these names, pgsteal_anon and pgsteal_file on top of pgsteal_kswapd
// and pgsteal_direct included.
int64_t stolen(const Sample& s) { return s.vm_sum("pgsteal_"); }
int64_t scanned_kswapd(const Sample& s) { return s.vm_sum("pgscan_kswapd"); }
int64_t scanned_direct(const Sample& s) { return s.vm_sum("pgscan_direct"); }

std::vector<SampleColumn> sar_b() {
  return {rate("pgpgin/s", [](const Sample& s) { return s.vm("pgpgin"); }),
          rate("pgpgout/s", [](const Sample& s) { return s.vm("pgpgout"); }),
          rate("fault/s", [](const Sample& s) { return s.vm("pgfault"); }),
          rate("majflt/s", [](const Sample& s) { return s.vm("pgmajfault"); }),
          rate("pgfree/s", [](const Sample& s) { return s.vm("pgfree"); }),
          rate("pgscank/s", scanned_kswapd),
          rate("pgscand/s", scanned_direct),
          rate("pgsteal/s", stolen),
          {"%vmeff", true, [](const Interval& i) {
             const auto difference = [&](int64_t (*get)(const Sample&)) { return static_cast<double>(get(i.now) - get(i.before)); };
             return percent(difference(stolen), difference(scanned_kswapd) + difference(scanned_direct));
           }}};
}

// procps 4's free.
std::vector<SampleColumn> free_columns() {
  return {level("total", [](const Sample& s) { return s.memory("MemTotal"); }),
          level("used", [](const Sample& s) { return s.memory("MemTotal") - s.memory("MemAvailable"); }),
          level("free", [](const Sample& s) { return s.memory("MemFree"); }),
          level("shared", [](const Sample& s) { return s.memory("Shmem"); }),
          level("buff/cache", [](const Sample& s) { return s.memory("Buffers") + s.memory("Cached") + s.memory("SReclaimable"); }),
          level("available", [](const Sample& s) { return s.memory("MemAvailable"); }),
          level("swap_total", [](const Sample& s) { return s.memory("SwapTotal"); }),
          level("swap_used", swap_used),
          level("swap_free", [](const Sample& s) { return s.memory("SwapFree"); })};
}

// procps 4's vmstat: rates are whole numbers, and shares of CPU time whole per cents.
SampleColumn whole_rate(std::string name, int64_t (*get)(const Sample&)) {
  return {std::move(name), false, [get](const Interval& i) { return std::floor(static_cast<double>(get(i.now) - get(i.before)) / i.seconds() + 0.5); }};
}
SampleColumn cpu_share(std::string name, Nanoseconds fs::SystemView::*part) {
  return {std::move(name), false, [part](const Interval& i) {
            const auto passed = [&](Nanoseconds fs::SystemView::*p) { return static_cast<double>((i.now.system.*p).value()) - static_cast<double>((i.before.system.*p).value()); };
            const double all = passed(&fs::SystemView::user) + passed(&fs::SystemView::system) + passed(&fs::SystemView::idle_cpu) + passed(&fs::SystemView::iowait);
            return all > 0 ? std::floor(100 * std::max(passed(part), 0.0) / all + 0.5) : 0;
          }};
}

std::vector<SampleColumn> vmstat_columns() {
  constexpr int64_t kKibPerPage = kPageSize / 1024;
  return {level("r", [](const Sample& s) { return static_cast<int64_t>(s.system.running); }),
          level("b", [](const Sample& s) { return static_cast<int64_t>(s.system.blocked); }),
          level("swpd", swap_used),
          level("free", [](const Sample& s) { return s.memory("MemFree"); }),
          level("buff", [](const Sample& s) { return s.memory("Buffers"); }),
          level("cache", [](const Sample& s) { return s.memory("Cached") + s.memory("SReclaimable"); }),
          whole_rate("si", [](const Sample& s) { return s.vm("pswpin") * kKibPerPage; }),
          whole_rate("so", [](const Sample& s) { return s.vm("pswpout") * kKibPerPage; }),
          whole_rate("bi", [](const Sample& s) { return s.vm("pgpgin"); }),
          whole_rate("bo", [](const Sample& s) { return s.vm("pgpgout"); }),
          whole_rate("in", [](const Sample& s) { return static_cast<int64_t>(s.system.interrupts); }),
          whole_rate("cs", [](const Sample& s) { return static_cast<int64_t>(s.system.context_switches); }),
          cpu_share("us", &fs::SystemView::user),
          cpu_share("sy", &fs::SystemView::system),
          cpu_share("id", &fs::SystemView::idle_cpu),
          cpu_share("wa", &fs::SystemView::iowait),
          {"st", false, [](const Interval&) { return 0.0; }}};  // time that a hypervisor stole: there is none
}

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

std::tm utc(const Sample& s) {
  const auto t = static_cast<std::time_t>(s.system.boot_time + s.time.value() / 1'000'000'000);
  std::tm out{};
  ::gmtime_r(&t, &out);
  return out;
}

}  // namespace

double SampleInterval::seconds() const { return std::max<double>(static_cast<double>((now.time - before.time).value()), 1) / 1e9; }

std::vector<std::string> near_matches(std::string_view word, std::span<const std::string> names) {
  const std::string wanted = lower(word);
  std::vector<std::pair<size_t, std::string>> found;
  for (const std::string& name : names) {
    const std::string candidate = lower(name);
    size_t distance = edit_distance(wanted, candidate);
    if (wanted.size() >= 3 && candidate.find(wanted) != std::string::npos) distance = std::min<size_t>(distance, 2);
    if (distance <= std::max<size_t>(2, wanted.size() / 3)) found.emplace_back(distance, name);
  }
  std::ranges::stable_sort(found, {}, &std::pair<size_t, std::string>::first);
  std::vector<std::string> result;
  for (auto& [distance, name] : found)
    if (result.size() < 3 && std::ranges::find(result, name) == result.end()) result.push_back(std::move(name));
  return result;
}

Result<SampleTable, UserError> SampleTable::make(std::string_view report, const Sample& known, bool fractions) {
  SampleTable t;
  t.fractions_ = fractions;
  if (report == "free") t.layout_ = Layout::Free, t.columns_ = free_columns();
  if (report == "vmstat") t.layout_ = Layout::Vmstat, t.columns_ = vmstat_columns();
  if (report == "sar-r") t.columns_ = sar_r();
  if (report == "sar-B") t.columns_ = sar_b();
  if (report == "sar-S") t.columns_ = sar_s();
  if (report == "sar-W") t.columns_ = sar_w();
  if (!t.columns_.empty()) return t;

  for (size_t from = 0; from <= report.size();) {
    const size_t end = std::min(report.find(',', from), report.size());
    const std::string field(report.substr(from, end - from));
    from = end + 1;
    const auto is_field = [&](const auto& f) { return f.first == field; };
    const bool in_memory = std::ranges::any_of(known.meminfo, is_field), in_vmstat = std::ranges::any_of(known.vmstat, is_field);
    if (!in_memory && !in_vmstat) {
      std::vector<std::string> names(std::begin(kReports), std::end(kReports));
      for (const auto* fields : {&known.meminfo, &known.vmstat})
        for (const auto& f : *fields) names.push_back(f.first);
      const std::vector<std::string> near = near_matches(field, names);
      return fail(UserError{fmt::format("--report: there is no report and no counter '{}'", field),
                            near.empty() ? "name free, sar-r, sar-B, sar-S, sar-W, vmstat, or fields of /proc/meminfo and /proc/vmstat"
                                         : fmt::format("did you mean {}?", fmt::join(near, " or "))});
    }
    t.columns_.push_back({field, false, [field, in_memory](const Interval& i) { return static_cast<double>(in_memory ? i.now.memory(field) : i.now.vm(field)); }});
  }
  return t;
}

std::string SampleTable::time_of_day(const Sample& s) const {
  const std::string text = fmt::format("{:%H:%M:%S}", utc(s));
  return fractions_ ? fmt::format("{}.{:03}", text, s.time.value() / 1'000'000 % 1000) : text;
}

std::string SampleTable::heading(const Sample& first) const {
  switch (layout_) {
    case Layout::Sar: {
      std::string out = fmt::format("{:<11}", time_of_day(first));
      for (const SampleColumn& c : columns_) fmt::format_to(std::back_inserter(out), " {:>9}", c.name);
      return out + "\n";
    }
    case Layout::Free: return {};  // every table has its own
    case Layout::Vmstat:
      return "procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu----- -----timestamp-----\n"
             " r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st                 UTC\n";
  }
  return {};
}

std::string SampleTable::row(const SampleInterval& interval) const {
  switch (layout_) {
    case Layout::Sar: return sar_row(interval);
    case Layout::Free: return free_row(interval);
    case Layout::Vmstat: return vmstat_row(interval);
  }
  return {};
}

std::string SampleTable::sar_row(const SampleInterval& interval) const {
  std::string out = fmt::format("{:<11}", time_of_day(interval.now));
  for (const SampleColumn& c : columns_) {
    const size_t width = std::max<size_t>(kSarColumn, c.name.size());
    if (c.rate)
      fmt::format_to(std::back_inserter(out), " {:>{}.2f}", c.value(interval), width);
    else
      fmt::format_to(std::back_inserter(out), " {:>{}.0f}", c.value(interval), width);
  }
  return out + "\n";
}

// free's own form has 15 blanks where the time stands here.
std::string SampleTable::free_row(const SampleInterval& interval) const {
  std::string out = fmt::format("{:<15}{:>5}{:>12}{:>12}{:>12}{:>12}{:>12}\n", time_of_day(interval.now), "total", "used", "free", "shared", "buff/cache", "available");
  const auto line = [&](std::string_view label, size_t from, size_t to) {
    fmt::format_to(std::back_inserter(out), "{:<8}", label);
    for (size_t i = from; i < to; ++i) fmt::format_to(std::back_inserter(out), "{:>12.0f}", columns_[i].value(interval));
    out += '\n';
  };
  line("Mem:", 0, 6);
  line("Swap:", 6, 9);
  return out + "\n";
}

std::string SampleTable::vmstat_row(const SampleInterval& interval) const {
  constexpr unsigned kWidths[] = {2, 2, 6, 6, 6, 6, 4, 4, 5, 5, 4, 4, 2, 2, 2, 2, 2};
  std::string out;
  for (size_t i = 0; i < columns_.size(); ++i) fmt::format_to(std::back_inserter(out), "{}{:>{}.0f}", i ? " " : "", columns_[i].value(interval), kWidths[i]);
  return out + fmt::format(" {:%Y-%m-%d} {}\n", utc(interval.now), time_of_day(interval.now));
}

}  // namespace vitro::report
