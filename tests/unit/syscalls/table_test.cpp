// The table: complete, in order, each entry well formed.
#include "vitro/syscalls/table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

namespace vitro::syscalls {
namespace {

TEST(SyscallTable, HasEveryNumberOfLinux61OnceInOrder) {
  const auto all = entries();
  ASSERT_EQ(all.size(), 362u);  // 0..334 and 424..450
  uint64_t expected = 0;
  for (const Entry& e : all) {
    EXPECT_EQ(e.number, expected) << e.name;
    expected = expected == 334 ? 424 : expected + 1;
  }
  EXPECT_EQ(expected, 451u);
}

TEST(SyscallTable, NamesAreUniqueAndRight) {
  std::set<std::string> names;
  for (const Entry& e : entries()) EXPECT_TRUE(names.insert(e.name).second) << e.name;
  EXPECT_STREQ(find(0)->name, "read");
  EXPECT_STREQ(find(59)->name, "execve");
  EXPECT_STREQ(find(202)->name, "futex");
  EXPECT_STREQ(find(257)->name, "openat");
  EXPECT_STREQ(find(334)->name, "rseq");
  EXPECT_STREQ(find(435)->name, "clone3");
  EXPECT_STREQ(find(450)->name, "set_mempolicy_home_node");
}

TEST(SyscallTable, FindsNothingInGapsAndBeyond) {
  EXPECT_EQ(find(335), nullptr);
  EXPECT_EQ(find(423), nullptr);
  EXPECT_EQ(find(451), nullptr);
  EXPECT_EQ(find(~uint64_t{0}), nullptr);
}

TEST(SyscallTable, SupportAgreesWithTheHandlerAndPartialSaysWhy) {
  for (const Entry& e : entries()) {
    EXPECT_EQ(e.handler == nullptr, e.support == Support::Missing) << e.name;
    EXPECT_TRUE(e.support != Support::Partial || e.note[0] != '\0') << e.name;
  }
}

TEST(SyscallTable, SignaturesHaveAtMostSixKnownLetters) {
  for (const Entry& e : entries()) {
    EXPECT_LE(std::strlen(e.signature), 6u) << e.name;
    for (const char* c = e.signature; *c; ++c) EXPECT_NE(std::strchr("duxpfmsvebBCRoPMSwaAhcOikrtTWV", *c), nullptr) << e.name << " " << *c;
  }
}

TEST(SyscallTable, MarkdownHasARowForEach) {
  const std::string text = markdown();
  size_t rows = 0;
  for (size_t at = text.find("\n| "); at != std::string::npos; at = text.find("\n| ", at + 1)) ++rows;
  EXPECT_EQ(rows, entries().size() + 1);  // and the heading
  EXPECT_NE(text.find("| 0 | read | full |"), std::string::npos);
}

}  // namespace
}  // namespace vitro::syscalls
