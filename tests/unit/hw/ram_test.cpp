#include "vitro/hw/ram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace vitro::hw {
namespace {

std::string refusal(Bytes size) {
  auto ram = Ram::create(size);
  return ram ? "" : ram.error().what;
}

TEST(Ram, RefusesSizesThatAMachineCannotHave) {
  EXPECT_EQ(refusal(mib(8) - Bytes{kPageSize}), "8188 KiB of RAM is too little");
  EXPECT_EQ(refusal(Bytes{0}), "0 bytes of RAM is too little");
  EXPECT_EQ(refusal(gib(1024) + Bytes{kPageSize}), "1073741828 KiB of RAM is too much");
  EXPECT_EQ(refusal(Bytes{UINT64_MAX}), "18446744073709551615 bytes of RAM is too much");
  EXPECT_EQ(refusal(mib(8) + Bytes{512}), "8389120 bytes of RAM is no whole number of pages");
  EXPECT_EQ(refusal(mib(8)), "");
}

TEST(Ram, SixtyFourGibCostNothingUntilTouched) {
  auto ram = Ram::create(gib(64));
  ASSERT_TRUE(ram.has_value());
  EXPECT_EQ((*ram)->frames(), Pages{gib(64).value() / kPageSize});
  const PhysAddr last{gib(64).value() - kPageSize};
  (*ram)->at<uint64_t>(last) = 7;
  EXPECT_EQ((*ram)->at<uint64_t>(last), 7u);
  EXPECT_EQ((*ram)->at<uint64_t>(PhysAddr{gib(32).value()}), 0u);
}

TEST(Ram, ContainsKnowsItsEndAndDoesNotOverflow) {
  auto ram = *Ram::create(mib(16));
  EXPECT_TRUE(ram->contains(PhysAddr{0}, mib(16)));
  EXPECT_FALSE(ram->contains(PhysAddr{1}, mib(16)));
  EXPECT_FALSE(ram->contains(PhysAddr{mib(16).value()}));
  EXPECT_FALSE(ram->contains(PhysAddr{8}, Bytes{UINT64_MAX}));
  EXPECT_FALSE(ram->contains(PhysAddr{UINT64_MAX}, Bytes{8}));
}

TEST(Ram, CopiesAndZeroesFrames) {
  auto ram = *Ram::create(mib(16));
  auto page = ram->write(Pfn{3}.address(), Bytes{kPageSize});
  std::fill(page.begin(), page.end(), std::byte{0xab});
  ram->copy_frame(Pfn{4}, Pfn{3});
  ram->zero_frame(Pfn{3});
  const auto all = [&](Pfn f, std::byte b) {
    return std::ranges::all_of(ram->read(f.address(), Bytes{kPageSize}), [b](std::byte x) { return x == b; });
  };
  EXPECT_TRUE(all(Pfn{3}, std::byte{0}));
  EXPECT_TRUE(all(Pfn{4}, std::byte{0xab}));
  EXPECT_TRUE(all(Pfn{5}, std::byte{0}));
}

struct Recorder final : CodeInvalidator {
  std::vector<uint64_t> frames;
  void invalidate_code(Pfn frame) override { frames.push_back(frame.value()); }
};

// In whatever order frames come into use, alone or by the other thread of the host: they are zero and may be written, and what was written stays.
TEST(Ram, BringingInChangesNothing) {
  for (const bool downwards : {false, true}) {
    auto ram = std::move(*Ram::create(mib(97) + kib(12)));  // no whole number of portions
    const uint64_t frames = ram->frames().value();
    for (uint64_t i = 0; i < frames; ++i) {
      // Blocks of 4 MiB upwards or downwards, each from its lower end.
      const uint64_t block = i / 1024, last = (frames - 1) / 1024;
      const Pfn f{(downwards ? last - block : block) * 1024 + i % 1024};
      if (f.value() >= frames) continue;
      ram->bring_in(f);
      ASSERT_EQ(ram->at<uint64_t>(f.address() + Bytes{4088}), 0u) << f.value();
      ram->at<uint64_t>(f.address()) = f.value() + 1;
    }
    for (uint64_t i = 0; i < frames; ++i) {
      const uint64_t found = ram->at<uint64_t>(Pfn{i}.address());
      if (found != 0) { ASSERT_EQ(found, i + 1); }
    }
    ram->bring_in(Pfn{frames - 1});
  }
}

TEST(Ram, TellsTheCpuOfWritesToExecutedFramesOnce) {
  auto ram = *Ram::create(mib(16));
  Recorder recorder;
  ram->set_code_invalidator(&recorder);
  ram->mark_executed(Pfn{7});
  ram->mark_executed(Pfn{9});
  ram->write(Pfn{6}.address(), Bytes{kPageSize});
  EXPECT_TRUE(recorder.frames.empty());
  ram->write(Pfn{6}.address() + Bytes{4000}, Bytes{3 * kPageSize});  // ends in frame 9
  EXPECT_EQ(recorder.frames, (std::vector<uint64_t>{7, 9}));
  EXPECT_FALSE(ram->executed(Pfn{7}));
  ram->write(Pfn{7}.address(), Bytes{1});
  EXPECT_EQ(recorder.frames.size(), 2u);
}

}  // namespace
}  // namespace vitro::hw
