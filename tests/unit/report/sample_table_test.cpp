#include "report/sample_table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "vitro/report/progress.h"
#include "vitro/report/sampler.h"

namespace vitro::report {
namespace {

Sample sample(uint64_t second, int64_t used) {
  Sample s;
  s.time = seconds(second);
  s.system.boot_time = 1'798'761'600;
  s.meminfo = {{"MemTotal", 1000}, {"MemFree", 1000 - used}, {"MemAvailable", 900 - used}, {"Buffers", 10}, {"Cached", 20}, {"SwapCached", 5}, {"Active", 7}, {"Inactive", 8},
               {"SwapTotal", 100}, {"SwapFree", 60}, {"Dirty", 3}, {"Shmem", 2}, {"Slab", 30}, {"SReclaimable", 4}, {"Committed_AS", 550}};
  s.vmstat = {{"pgpgin", 10 * used}, {"pgfault", 100 * used}, {"pgsteal_kswapd", used}, {"pgsteal_direct", 0}, {"pgsteal_anon", used}, {"pgsteal_file", 0}, {"pgscan_kswapd", 2 * used},
              {"pgscan_direct", 0}, {"pgscan_direct_throttle", 0}, {"pgscan_anon", 2 * used}, {"pswpin", 0}, {"pswpout", used}};
  s.system.user = seconds(second) / 4, s.system.idle_cpu = seconds(second) / 4 * 3;
  s.system.context_switches = 3 * second;
  return s;
}
const Sample kFirst = sample(60, 100), kSecond = sample(62, 300);
const SampleInterval kInterval{kFirst, kSecond};

std::string row(std::string_view report) { return SampleTable::make(report, kFirst, false).value().row(kInterval); }
std::string heading(std::string_view report) { return SampleTable::make(report, kFirst, false).value().heading(kFirst); }

TEST(SampleTable, SarRCountsAsUsedWhatIsNeitherFreeNorCacheNorSlab) {
  EXPECT_EQ(heading("sar-r"), "00:01:00    kbmemfree   kbavail kbmemused  %memused kbbuffers  kbcached  kbcommit   %commit  kbactive   kbinact   kbdirty\n");
  EXPECT_EQ(row("sar-r"), "00:01:02          700       600       240     24.00        10        20       550     50.00         7         8         3\n");
}

TEST(SampleTable, SarBGivesRatesAndAddsUpAllThatWasStolen) {
  EXPECT_EQ(heading("sar-B"), "00:01:00     pgpgin/s pgpgout/s   fault/s  majflt/s  pgfree/s pgscank/s pgscand/s pgsteal/s    %vmeff\n");
  EXPECT_EQ(row("sar-B"), "00:01:02      1000.00      0.00  10000.00      0.00      0.00    200.00      0.00    200.00    100.00\n");
}

TEST(SampleTable, SarSAndWShowTheSwap) {
  EXPECT_EQ(heading("sar-S"), "00:01:00    kbswpfree kbswpused  %swpused  kbswpcad   %swpcad\n");
  EXPECT_EQ(row("sar-S"), "00:01:02           60        40     40.00         5     12.50\n");
  EXPECT_EQ(row("sar-W"), "00:01:02         0.00    100.00\n");
}

TEST(SampleTable, WithoutSwapItsSharesAreZero) {
  Sample none = kSecond;
  none.meminfo = {{"MemTotal", 1000}};
  EXPECT_EQ(SampleTable::make("sar-S", none, false)->row({kFirst, none}), "00:01:02            0         0      0.00         0      0.00\n");
}

TEST(SampleTable, FreeHasTheTimeWhereFreeHasBlanks) {
  EXPECT_EQ(row("free"),
            "00:01:02       total        used        free      shared  buff/cache   available\n"
            "Mem:            1000         400         700           2          34         600\n"
            "Swap:            100          40          60\n\n");
}

TEST(SampleTable, VmstatRoundsRatesAndShares) {
  EXPECT_EQ(row("vmstat"), " 1  0     40    700     10     24    0  400  1000     0    0    3 25  0 75  0  0 2027-01-01 00:01:02\n");
}

TEST(SampleTable, FieldsAreFoundInEitherFile) {
  EXPECT_EQ(row("MemFree,pgfault"), "00:01:02          700     30000\n");
  EXPECT_EQ(SampleTable::make("MemFree,pgfault", kFirst, true)->row(kInterval), "00:01:02.000       700     30000\n");
}

TEST(SampleTable, UnknownNamesAreRefusedWithTheNearest) {
  const auto refused = [](std::string_view report) { return SampleTable::make(report, kFirst, false).error(); };
  EXPECT_NE(refused("MemFre").hint.find("MemFree"), std::string::npos);
  EXPECT_NE(refused("pgfault,memfree").hint.find("MemFree"), std::string::npos);
  EXPECT_NE(refused("sar-x").hint.find("sar-r"), std::string::npos);
  EXPECT_NE(refused("steal").hint.find("pgsteal_kswapd"), std::string::npos);
  EXPECT_NE(refused("zzzzzzzzzz").hint.find("vmstat"), std::string::npos);
  EXPECT_NE(refused("").what.find("''"), std::string::npos);
  EXPECT_NE(refused("MemFree,").what.find("''"), std::string::npos);
}

TEST(SampleInterval, TimesCarryUnits) {
  EXPECT_EQ(parse_interval("1s").value(), seconds(1));
  EXPECT_EQ(parse_interval("2").value(), seconds(2));
  EXPECT_EQ(parse_interval("500ms").value(), milliseconds(500));
  EXPECT_EQ(parse_interval("0.25s").value(), milliseconds(250));
  EXPECT_EQ(parse_interval("2m").value(), seconds(120));
  for (const char* bad : {"", "s", "1x", "-1s", "0", "0s", "0.5us", "nan", "inf", "1e30h", "1 s"}) EXPECT_FALSE(parse_interval(bad)) << bad;
}

TEST(Sample, FieldsAreReadFromProcText) {
  const Sample::Fields f = parse_fields("MemTotal:         123 kB\nActive(anon):  7 kB\nHugePages_Total:   0\nnonsense\n");
  ASSERT_EQ(f.size(), 3u);
  EXPECT_EQ(f[1], (std::pair<std::string, int64_t>{"Active(anon)", 7}));
  EXPECT_EQ(parse_fields("pgfault 5\n")[0].second, 5);
}

TEST(Progress, FitsTheTerminal) {
  EXPECT_EQ(progress_text(milliseconds(16020), Pages{256}, Pages{512}, 25, 5, 100), "vitro: 16.0 s of virtual time, 1.0 of 2.0 MiB free, 25 faults (5 major)");
  EXPECT_EQ(progress_text(milliseconds(16020), Pages{256}, Pages{512}, 25, 5, 12), "vitro: 16.0 ");
}

}  // namespace
}  // namespace vitro::report
