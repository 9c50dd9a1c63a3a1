#include "vitro/base/trace_file.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "vitro/base/rng.h"

namespace vitro {
namespace {

class TraceFile : public testing::Test {
 protected:
  void SetUp() override { directory_ = std::filesystem::path(testing::TempDir()) / ("vitro_trace_" + std::to_string(::getpid())); std::filesystem::create_directories(directory_); }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string path(const char* name) const { return directory_ / name; }

  // The same random events into a sink, through a tracer as the machine does it.
  static void fill(std::unique_ptr<TraceSink> sink, uint64_t seed, int events) {
    Rng rng{seed};
    static uint64_t now;
    now = 0;
    Tracer tracer;
    ASSERT_TRUE(tracer.enable("*"));
    tracer.set_sink(std::move(sink));
    tracer.set_clock([](const void*) { return Nanoseconds{now}; }, nullptr);
    for (int i = 0; i < events; ++i) {
      now += rng.below(100000);
      if (rng.below(50) == 0) tracer.set_task(Pid{static_cast<int32_t>(rng.below(5))}, "task" + std::to_string(rng.below(3)));
      switch (rng.below(3)) {
        case 0: tracer.emit(Event::TlbMiss, {"l2", rng.next(), "4K", rng.below(5)}); break;
        case 1: tracer.emit(Event::SysExit, {static_cast<int64_t>(rng.below(300)), "openat", -static_cast<int64_t>(rng.below(40))}); break;
        default:
          tracer.emit(Event::PageFaultUser, {rng.next(), rng.next() >> 20, 6, "anon", 0x77, 750, "mov eax, " + std::to_string(rng.below(100)), "main+0x1"});
      }
    }
    ASSERT_TRUE(tracer.sink()->flush());
  }
  static std::string slurp(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    return out.str();
  }
  std::filesystem::path directory_;
};

TEST_F(TraceFile, PrintsWhatTheTextTracePrints) {
  fill(*open_trace(path("a.txt")), 7, 20000);
  fill(*open_trace(path("a.vtrace")), 7, 20000);
  auto reader = TraceReader::open(path("a.vtrace"));
  ASSERT_TRUE(reader);
  std::string text;
  EXPECT_TRUE((*reader)->for_each([&](const TraceReader::EventType& type, const TraceRecord& record) {
    append_trace_line(text, record, type.spec);
    return true;
  }));
  EXPECT_EQ(text, slurp(path("a.txt")));
  EXPECT_LT(std::filesystem::file_size(path("a.vtrace")) * 4, text.size()) << "the binary form is to be compact";
}

TEST_F(TraceFile, IsGoodUpToWhereItIsCut) {
  fill(*open_trace(path("a.vtrace")), 3, 2000);
  const std::string whole = slurp(path("a.vtrace"));
  uint64_t before = 0;
  for (size_t size = 8; size < whole.size(); size += 997) {
    std::ofstream(path("cut.vtrace"), std::ios::binary) << whole.substr(0, size);
    auto reader = TraceReader::open(path("cut.vtrace"));
    if (!reader) continue;  // cut inside the header
    EXPECT_FALSE((*reader)->for_each([](const auto&, const auto&) { return true; })) << size;
    EXPECT_GE((*reader)->records_read(), before) << size;
    before = (*reader)->records_read();
  }
  EXPECT_GT(before, 1000u);
}

TEST_F(TraceFile, DamageNeverDoesMoreThanEndTheReading) {
  fill(*open_trace(path("a.vtrace")), 5, 500);
  const std::string whole = slurp(path("a.vtrace"));
  Rng rng{11};
  for (int i = 0; i < 300; ++i) {
    std::string damaged = whole;
    for (int k = 0; k < 5; ++k) damaged[rng.below(damaged.size())] = static_cast<char>(rng.next());
    std::ofstream(path("bad.vtrace"), std::ios::binary) << damaged;
    auto reader = TraceReader::open(path("bad.vtrace"));
    std::string text;
    if (reader) (*reader)->for_each([&](const auto& type, const auto& record) { append_trace_line(text, record, type.spec); return true; });
  }
}

TEST_F(TraceFile, RefusesWhatIsNoTrace) {
  std::ofstream(path("junk.vtrace")) << "junk junk junk";
  EXPECT_FALSE(TraceReader::open(path("junk.vtrace")));
  EXPECT_FALSE(TraceReader::open(path("absent.vtrace")));
}

}  // namespace
}  // namespace vitro
