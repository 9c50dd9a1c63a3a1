#include "vitro/report/statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace vitro::report {
namespace {

using testing::HasSubstr;

RunStatistics sample() {
  RunStatistics s;
  s.minor_faults = 2048, s.major_faults = 3;
  s.faults_by_kind[static_cast<size_t>(mm::FaultKind::Anon)] = 2000;
  s.faults_by_kind[static_cast<size_t>(mm::FaultKind::Cow)] = 7;
  s.faults_by_kind[static_cast<size_t>(mm::FaultKind::Spurious)] = 1;
  s.translation = RunStatistics::Translation{{1000, 900, 100, {90, 10, 0}, {60, 40, 0}}, {50, 50, 0}, {100, 60, 40}, 40, 90, 5, 12, 420, 1800, 30, 4, {7, 0, 0, 2, 0}};
  s.instructions = 1234567, s.virtual_time = Nanoseconds{1500000};
  s.vmstat = {{"nr_free_pages", 100}, {"pgfault", -1}};
  s.frames = {{"reserved", 16}, {"free", 4080}};
  s.exit_status = 3;
  return s;
}

TEST(StatisticsJson, HasExactlyTheseKeysInThisOrder) {
  const auto j = nlohmann::ordered_json::parse(to_json(sample()));
  const auto keys = [](const nlohmann::ordered_json& o) {
    std::string out;
    for (const auto& [key, value] : o.items()) out += key + " ";
    return out;
  };
  EXPECT_EQ(keys(j), "faults tlb walks cycles tlb_flushes instructions virtual_ns vmstat frames exit ");
  EXPECT_EQ(keys(j["faults"]), "minor major by_kind ");
  EXPECT_EQ(keys(j["faults"]["by_kind"]), "anon zero file cow swap stack bad ");
  EXPECT_EQ(keys(j["tlb"]), "l1d l1i l2 ");
  EXPECT_EQ(keys(j["tlb"]["l2"]), "accesses hits misses misses_by_size misses_by_access ");
  EXPECT_EQ(keys(j["walks"]), "count references first_use set_dirty faulting faulting_references ");
  EXPECT_EQ(keys(j["exit"]), "status signal ");
}

TEST(StatisticsJson, CarriesEveryValue) {
  const auto j = nlohmann::json::parse(to_json(sample()));
  EXPECT_EQ(j["faults"]["minor"], 2048);
  EXPECT_EQ(j["faults"]["by_kind"]["cow"], 7);
  EXPECT_EQ(j["tlb"]["l1d"]["misses"], 100);
  EXPECT_EQ(j["tlb"]["l1d"]["misses_by_size"]["2M"], 10);
  EXPECT_EQ(j["tlb"]["l1d"]["misses_by_access"]["store"], 40);
  EXPECT_EQ(j["walks"]["references"], 90);
  EXPECT_EQ(j["walks"]["first_use"], 30);
  EXPECT_EQ(j["walks"]["set_dirty"], 4);
  EXPECT_EQ(j["tlb_flushes"]["task_switch"], 7);
  EXPECT_EQ(j["tlb_flushes"]["local_mm_shootdown"], 2);
  EXPECT_EQ(j["virtual_ns"], 1500000);
  EXPECT_EQ(j["vmstat"]["pgfault"], -1);
  EXPECT_EQ(j["frames"]["free"], 4080);
  EXPECT_EQ(j["exit"]["status"], 3);
}

TEST(StatisticsJson, SaysWhyFastModeHasNoTlbCounts) {
  RunStatistics s = sample();
  s.translation.reset();
  const auto j = nlohmann::json::parse(to_json(s));
  EXPECT_TRUE(j["tlb"].is_null());
  EXPECT_TRUE(j["walks"].is_null());
  EXPECT_THAT(j["tlb_note"].get<std::string>(), HasSubstr("fast mode"));
}

TEST(StatisticsText, FitsOneScreen) {
  const std::string text = to_text(sample());
  EXPECT_THAT(text, HasSubstr("exit status 3, 1,234,567 instructions, 0.001500 s of virtual time\n"));
  EXPECT_THAT(text, HasSubstr("  L1 data               1,000             900             100   10.00 %\n"));
  EXPECT_THAT(text, HasSubstr("  free                  4,080     15.9 MiB   99.61 %\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("swap"))) << "kinds that did not happen take no line";
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 24);
}

TEST(StatisticsText, NamesTheSignal) {
  RunStatistics s;
  s.exit_signal = 11;
  EXPECT_THAT(to_text(s), testing::StartsWith("killed by signal 11, 0 instructions"));
}

}  // namespace
}  // namespace vitro::report
