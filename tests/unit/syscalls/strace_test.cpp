// Pieces of strace lines.
#include "syscalls/strace.h"

#include <gtest/gtest.h>

#include "syscalls/strace_names.h"

namespace vitro::syscalls {
namespace {

TEST(Strace, QuotesLikeC) {
  EXPECT_EQ(quoted("hello\n", false), R"("hello\n")");
  EXPECT_EQ(quoted("a\"b\\c\t", false), R"("a\"b\\c\t")");
  EXPECT_EQ(quoted(std::string_view{"\0\x7f", 2}, false), R"("\0\177")");
  EXPECT_EQ(quoted(std::string_view{"\0" "1", 2}, false), R"("\0001")") << "a digit after an escape needs all three";
  EXPECT_EQ(quoted("abc", true), R"("abc"...)");
}

TEST(Strace, PrintsOpenFlags) {
  EXPECT_EQ(open_flags_text(0), "O_RDONLY");
  EXPECT_EQ(open_flags_text(02000000), "O_RDONLY|O_CLOEXEC");
  EXPECT_EQ(open_flags_text(01 | 0100 | 01000), "O_WRONLY|O_CREAT|O_TRUNC");
  EXPECT_EQ(open_flags_text(02 | 04010000), "O_RDWR|O_SYNC");
  EXPECT_EQ(open_flags_text(02 | 020200000), "O_RDWR|O_TMPFILE");
  EXPECT_EQ(open_flags_text(0x40000000), "O_RDONLY|0x40000000");
}

TEST(Strace, PrintsMmapArguments) {
  EXPECT_EQ(flags_text(kProtectionNames, 3, "PROT_NONE"), "PROT_READ|PROT_WRITE");
  EXPECT_EQ(flags_text(kProtectionNames, 0, "PROT_NONE"), "PROT_NONE");
  EXPECT_EQ(mmap_flags_text(0x22), "MAP_PRIVATE|MAP_ANONYMOUS");
  EXPECT_EQ(mmap_flags_text(0x1), "MAP_SHARED");
}

TEST(Strace, PrintsFutexOperations) {
  EXPECT_EQ(futex_operation_text(128), "FUTEX_WAIT_PRIVATE");
  EXPECT_EQ(futex_operation_text(9 | 128 | 256), "FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME");
}

TEST(Strace, PrintsResults) {
  EXPECT_EQ(result_text("openat", 3), "3");
  EXPECT_EQ(result_text("brk", 0x555555554000), "0x555555554000");
  EXPECT_EQ(result_text("openat", fail(Errno::NoEntry)), "-1 ENOENT (No such file or directory)");
  EXPECT_EQ(result_text("exit_group", 0), "?");
  EXPECT_EQ(result_text("read", fail(Errno::RestartSys)), "? ERESTARTSYS (To be restarted if SA_RESTART is set)");
}

TEST(Strace, KnowsSignals) {
  EXPECT_EQ(signal_name(9), "SIGKILL");
  EXPECT_EQ(signal_name(17), "SIGCHLD");
  EXPECT_EQ(signal_name(31), "SIGSYS");
  EXPECT_TRUE(signal_name(0).empty());
  EXPECT_TRUE(signal_name(64).empty());
}

}  // namespace
}  // namespace vitro::syscalls
