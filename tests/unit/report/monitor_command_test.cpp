#include "report/monitor_command.h"

#include <gtest/gtest.h>

#include "report/monitor_view.h"
#include "vitro/report/monitor.h"

namespace vitro::report {
namespace {

Expression::Names known() {
  return {[](std::string_view r) -> std::optional<uint64_t> { return r == "rsp" ? std::optional<uint64_t>(0x7000) : std::nullopt; },
          [](std::string_view s) -> std::optional<uint64_t> { return s == "main" ? std::optional<uint64_t>(0x401000) : std::nullopt; }};
}

uint64_t value(std::string_view text) {
  size_t used = 0;
  const auto e = parse_expression(text, used);
  EXPECT_TRUE(e) << text;
  EXPECT_EQ(used, text.size()) << text;
  const auto v = e->evaluate(known());
  EXPECT_TRUE(v) << text;
  return v.value_or(0);
}

TEST(MonitorExpression, AddsNumbersRegistersAndSymbols) {
  EXPECT_EQ(value("42"), 42u);
  EXPECT_EQ(value("0xffffffffffffffff"), ~0ull);
  EXPECT_EQ(value("$rsp+8"), 0x7008u);
  EXPECT_EQ(value("main - 0x10 + $rsp"), 0x401000u - 0x10 + 0x7000);
  EXPECT_EQ(value(" -1"), ~0ull);
  EXPECT_EQ(value("$rsp - main + main"), 0x7000u);
}

TEST(MonitorExpression, StopsAtWhatIsNoPartOfIt) {
  size_t used = 0;
  ASSERT_TRUE(parse_expression("3 0x1000", used));
  EXPECT_EQ(used, 2u);
}

TEST(MonitorExpression, RefusesWhatIsNoAddress) {
  size_t used = 0;
  for (const char* bad : {"", "0x", "0xg", "12ab", "$", "$rzz", "+", "1 +", "*p", "(1)", "0x10000000000000000", "99999999999999999999"})
    EXPECT_FALSE(parse_expression(bad, used)) << bad;
  ASSERT_TRUE(parse_expression("nothing", used));
  EXPECT_FALSE(parse_expression("nothing", used)->evaluate(known()));
}

TEST(MonitorCommand, WalkTakesAProcessWhereTwoThingsStand) {
  const auto one = parse_monitor_command("walk 0x10");
  ASSERT_TRUE(one);
  EXPECT_FALSE(one->pid);
  const auto two = parse_monitor_command("  walk 3   main + 4 ");
  ASSERT_TRUE(two);
  EXPECT_EQ(two->pid, 3);
  EXPECT_EQ(two->address->evaluate(known()).value_or(0), 0x401004u);
  const auto sum = parse_monitor_command("walk 3 + 4");
  ASSERT_TRUE(sum);
  EXPECT_FALSE(sum->pid);
}

TEST(MonitorCommand, DisasTakesACount) {
  EXPECT_EQ(parse_monitor_command("disas")->count, 10u);
  EXPECT_FALSE(parse_monitor_command("disas")->address);
  EXPECT_EQ(parse_monitor_command("disas $rip + 4 3")->count, 3u);
}

TEST(MonitorCommand, ExamineFormatsAreGdbs) {
  const auto format = [](std::string_view text) { return parse_examine_format(text).value(); };
  EXPECT_EQ(format("").form, 'x');
  EXPECT_EQ(format("").size, 4u);
  EXPECT_EQ(format("8gx").count, 8u);
  EXPECT_EQ(format("8gx").size, 8u);
  EXPECT_EQ(format("xb16").count, 16u);
  EXPECT_EQ(format("a").size, 8u);
  EXPECT_EQ(format("c").size, 1u);
  EXPECT_EQ(format("3s").form, 's');
  for (const char* bad : {"0x", "z", "xx", "bw", "1x2", "99999999999999999999", "65537x", "wa", "bf"}) EXPECT_FALSE(parse_examine_format(bad)) << bad;
}

TEST(MonitorCommand, RefusesWhatIsWronglyWrittenAndSaysHowItIs) {
  for (const char* bad : {"fly", "walk", "walk 1 2 3", "walk x 1", "maps x", "maps -1", "frame", "frame 1 2", "x", "x/", "x/z 1", "walk/x 1", "regs some", "step 0", "step x",
                          "continue 1", "ps 1", "help fly", "tlb a b", "counters a b", "disas 1 0", "disas 1 2 3", ""}) {
    const auto c = parse_monitor_command(bad);
    EXPECT_FALSE(c) << bad;
    if (!c) EXPECT_FALSE(c.error().hint.empty()) << bad;
  }
  EXPECT_NE(parse_monitor_command("frame").error().hint.find("frame PFN"), std::string::npos);
}

TEST(MonitorCommand, EveryVerbIsFoundAndHasHelp) {
  for (const MonitorVerbInfo& v : monitor_verbs()) {
    EXPECT_EQ(find_monitor_verb(v.name)->verb, v.verb);
    EXPECT_TRUE(v.usage.starts_with(v.name));
    EXPECT_FALSE(v.help.empty());
  }
}

TEST(MonitorCommand, TextIsCutAtSemicolonsAndLineEnds) {
  EXPECT_EQ(split_monitor_commands(" ps ;; walk 0x10\n\nhelp;"), (std::vector<std::string>{"ps", "walk 0x10", "help"}));
  EXPECT_TRUE(split_monitor_commands(" ; \n").empty());
}

TEST(MonitorStop, NamesPlacesToStop) {
  EXPECT_EQ(parse_monitor_stop("exit")->kind, MonitorStop::Kind::Exit);
  EXPECT_EQ(parse_monitor_stop("fault=7")->number, 7u);
  EXPECT_EQ(parse_monitor_stop("time=1.5")->time, milliseconds(1500));
  EXPECT_EQ(parse_monitor_stop("syscall=mmap")->number, 9u);
  for (const char* bad : {"", "noon", "fault", "fault=", "fault=0", "fault=x", "fault=1x", "time=-1", "time=", "time=nan", "time=inf", "time=1e300", "syscall=", "syscall=fly", "exit=1"})
    EXPECT_FALSE(parse_monitor_stop(bad)) << bad;
}

TEST(MonitorView, DecodesFlagsOfEntries) {
  using hw::Pte;
  EXPECT_EQ(pte_flags_text(Pte{0}, true, 1), "-");
  EXPECT_EQ(pte_flags_text(Pte{0x8000'0000'0000'0067}, true, 1), "present rw user accessed dirty nx");
  EXPECT_EQ(pte_flags_text(Pte{Pte::kPresent | Pte::kLarge}, true, 2), "present ps");
  EXPECT_EQ(pte_flags_text(Pte{Pte::kPresent | Pte::kLarge}, true, 1), "present pat");
  EXPECT_EQ(pte_flags_text(Pte{Pte::kPresent | uint64_t{5} << 59}, true, 1), "present pkey=5");
  EXPECT_EQ(pte_flags_text(Pte{Pte::kPresent | Pte::kWriteThrough | Pte::kCacheDisable | Pte::kGlobal}, false, 3), "present pwt pcd global");
}

TEST(MonitorView, WritesUnitsAsGdbDoes) {
  const auto unit = [](std::vector<uint8_t> bytes, char form) { return examined_unit(std::as_bytes(std::span{bytes}), form); };
  EXPECT_EQ(unit({0x34, 0x12}, 'x'), "0x1234");
  EXPECT_EQ(unit({1, 0, 0, 0}, 'x'), "0x00000001");
  EXPECT_EQ(unit({0xff}, 'd'), "-1");
  EXPECT_EQ(unit({0xff}, 'u'), "255");
  EXPECT_EQ(unit({0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 'd'), "-2");
  EXPECT_EQ(unit({8, 0}, 'o'), "010");
  EXPECT_EQ(unit({5}, 't'), "00000101");
  EXPECT_EQ(unit({'A'}, 'c'), "65 'A'");
  EXPECT_EQ(unit({0}, 'c'), "0 '\\0'");
  EXPECT_EQ(unit({0, 0, 0xc0, 0x3f}, 'f'), "1.5");
  EXPECT_EQ(unit({0, 0, 0, 0, 0, 0, 0xf0, 0xbf}, 'f'), "-1");
}

TEST(MonitorView, NamesTheFlagsThatAreSet) {
  EXPECT_EQ(rflags_text(0x246), "PF ZF IF");
  EXPECT_EQ(rflags_text(0x2), "");
}

}  // namespace
}  // namespace vitro::report
