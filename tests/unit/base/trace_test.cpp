#include "vitro/base/trace.h"

#include <gtest/gtest.h>

#include <memory>

namespace vitro {
namespace {

class StringSink final : public TraceSink {
 public:
  explicit StringSink(std::string& out) : out_(out) {}
  void write(const TraceRecord& record) override { append_trace_line(out_, record); }
  Result<void, UserError> flush() override { return {}; }
  bool failed() const override { return false; }

 private:
  std::string& out_;
};

Nanoseconds fixed_time(const void*) { return Nanoseconds{1'234'567'890}; }

TEST(Trace, PrintsFtraceText) {
  std::string out;
  Tracer tracer;
  ASSERT_TRUE(tracer.enable("page-fault"));
  tracer.set_sink(std::make_unique<StringSink>(out));
  tracer.set_clock(&fixed_time, nullptr);
  tracer.set_task(Pid{42}, "touch");
  TRACE(tracer, Event::PageFaultUser, 0x7000, 0x401000, 6, "anon", 0x123, 750, "mov byte ptr [rax], 1", "main+0x1c");
  TRACE(tracer, Event::TlbMiss, "l1d", 0x7000, "4K", 4);  // not asked for
  EXPECT_EQ(out,
            "           touch-42      [000] .....     1.234567: page_fault_user: address=0x7000 ip=0x401000 error_code=0x6 kind=anon pfn=0x123 "
            "cost_ns=750 insn=\"mov byte ptr [rax], 1\" sym=main+0x1c\n");
}

TEST(Trace, MatchesGroupsNamesAndGlobs) {
  Tracer tracer;
  EXPECT_TRUE(tracer.enable("sched_*,tlb-miss"));
  EXPECT_TRUE(tracer.enabled(Event::SchedSwitch));
  EXPECT_TRUE(tracer.enabled(Event::SchedProcessFork));
  EXPECT_TRUE(tracer.enabled(Event::TlbMiss));
  EXPECT_FALSE(tracer.enabled(Event::PageFaultUser));
  const auto refused = tracer.enable("task,nonsense");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().what.find("'nonsense'"), std::string::npos);
  EXPECT_NE(refused.error().hint.find("page-fault"), std::string::npos);
}

TEST(Trace, GlobMatch) {
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("a*c", "abbbc"));
  EXPECT_TRUE(glob_match("*b*c", "abcbc"));
  EXPECT_FALSE(glob_match("a*c", "abbb"));
  EXPECT_TRUE(glob_match("a?c", "abc"));
  EXPECT_FALSE(glob_match("a?c", "ac"));
}

TEST(Trace, EveryEventHasItsDescription) {
  for (size_t i = 0; i < kEventCount; ++i) {
    const TraceEventSpec& spec = trace_event_spec(static_cast<Event>(i));
    EXPECT_FALSE(std::string_view(spec.name).empty());
    EXPECT_FALSE(std::string_view(spec.group).empty());
    EXPECT_FALSE(spec.fields.empty()) << spec.name;
  }
}

TEST(Trace, AFullDiskIsReportedOnceAndKept) {
  auto sink = open_text_trace("/dev/full");
  ASSERT_TRUE(sink);
  const TraceValue values[] = {1};
  (*sink)->write({Event::OomMarkVictim, Nanoseconds{0}, Pid{1}, 0, "x", values});
  const auto flushed = (*sink)->flush();
  ASSERT_FALSE(flushed);
  EXPECT_NE(flushed.error().what.find("/dev/full"), std::string::npos);
  EXPECT_TRUE((*sink)->failed());
}

TEST(Trace, AnUnopenableFileIsAUserError) { EXPECT_FALSE(open_text_trace("/no/such/dir/trace")); }

}  // namespace
}  // namespace vitro
