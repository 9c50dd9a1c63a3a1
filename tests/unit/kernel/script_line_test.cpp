#include "kernel/script_line.h"

#include <gtest/gtest.h>

namespace vitro::kernel {
namespace {

TEST(ScriptLine, SplitsInterpreterAndOneArgument) {
  EXPECT_EQ(parse_script_line("#!/bin/sh\necho"), (ScriptLine{"/bin/sh", std::nullopt}));
  EXPECT_EQ(parse_script_line("#! \t/bin/sh  \n"), (ScriptLine{"/bin/sh", std::nullopt}));
  EXPECT_EQ(parse_script_line("#!/usr/bin/env python3 -u\n"), (ScriptLine{"/usr/bin/env", "python3 -u"}));
  EXPECT_EQ(parse_script_line("#!/bin/sh -e  \t\n"), (ScriptLine{"/bin/sh", "-e"}));
}

TEST(ScriptLine, ShortFileNeedsNoNewline) { EXPECT_EQ(parse_script_line("#!/bin/sh"), (ScriptLine{"/bin/sh", std::nullopt})); }

TEST(ScriptLine, RefusesWhatIsNoScript) {
  EXPECT_FALSE(parse_script_line(""));
  EXPECT_FALSE(parse_script_line("#"));
  EXPECT_FALSE(parse_script_line("echo\n"));
  EXPECT_FALSE(parse_script_line("#!\n"));
  EXPECT_FALSE(parse_script_line("#!   \n/bin/sh"));
  EXPECT_FALSE(parse_script_line("#!" + std::string(300, ' ')));
}

// A path that does not end within the first 255 bytes may have been cut off; a long argument is only cut.
TEST(ScriptLine, RefusesATruncatedInterpreterOnly) {
  EXPECT_FALSE(parse_script_line("#!/" + std::string(400, 'a') + "\n"));
  const auto cut = parse_script_line("#!/bin/sh " + std::string(400, 'b') + "\n");
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->interpreter, "/bin/sh");
  EXPECT_EQ(cut->argument, std::string(245, 'b'));
}

}  // namespace
}  // namespace vitro::kernel
