#include <gtest/gtest.h>

#include "vitro/fs/process_view.h"

namespace vitro::fs {
namespace {

TEST(ParseTunable, TakesOneInteger) {
  EXPECT_EQ(parse_tunable("60", 0, 200).value(), 60);
  EXPECT_EQ(parse_tunable("  60\n", 0, 200).value(), 60);
  EXPECT_EQ(parse_tunable("-5\n", -17, 15).value(), -5);
  EXPECT_EQ(parse_tunable(std::string_view("7\0", 2), 0, 9).value(), 7);
}

TEST(ParseTunable, RefusesEverythingElse) {
  for (const std::string_view bad : {"", " ", "\n", "x", "6x", "6 7", "201", "-1", "99999999999999999999", "0x10", "--1", "1\n2"})
    EXPECT_EQ(parse_tunable(bad, 0, 200).error(), Errno::Invalid) << bad;
}

TEST(Tunable, ReadsAndWritesThroughItsOwner) {
  int64_t value = 60;
  const Tunable t = integer_tunable(
      "vm/swappiness", [&] { return value; }, [&](int64_t v) { value = v; }, 0, 200);
  EXPECT_EQ(t.read(), "60\n");
  EXPECT_TRUE(t.write("100\n"));
  EXPECT_EQ(value, 100);
  EXPECT_FALSE(t.write("201"));
  EXPECT_EQ(value, 100);
  EXPECT_FALSE(integer_tunable(
                   "vm/x", [] { return 1; }, nullptr, 0, 1)
                   .write)
      << "without a setter it is read-only";
}

}  // namespace
}  // namespace vitro::fs
