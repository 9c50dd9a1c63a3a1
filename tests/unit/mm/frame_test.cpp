#include "vitro/mm/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <string>

#include "vitro/mm/gfp.h"

namespace vitro::mm {
namespace {

TEST(FrameTable, ReadsAsReservedBeforeAnybodyTouchedIt) {
  FrameTable frames(gib(64).pages_down());
  EXPECT_EQ(frames.size(), Pages{16777216});
  for (uint64_t pfn : {uint64_t{0}, uint64_t{12345}, uint64_t{16777215}, uint64_t{16777216}}) {
    EXPECT_EQ(frames[Pfn{pfn}].state, FrameState::Reserved);
    EXPECT_EQ(frames[Pfn{pfn}].refcount, 0u);
  }
}

TEST(FrameTable, KnowsTheNumberOfADescriptor) {
  FrameTable frames(Pages{4096});
  EXPECT_EQ(frames.pfn_of(frames[Pfn{77}]), Pfn{77});
}

TEST(FrameTable, FindsTheHeadOfACompoundBlock) {
  FrameTable frames(Pages{64});
  frames[Pfn{9}].compound_head = 8;
  EXPECT_EQ(frames.head_of(Pfn{9}), Pfn{8});
  EXPECT_EQ(frames.head_of(Pfn{8}), Pfn{8});
}

TEST(Frame, FlagsAreIndependent) {
  Frame f;
  f.set(FrameFlag::Dirty);
  f.set(FrameFlag::Head);
  EXPECT_TRUE(f.has(FrameFlag::Dirty));
  f.clear(FrameFlag::Dirty);
  EXPECT_FALSE(f.has(FrameFlag::Dirty));
  EXPECT_TRUE(f.has(FrameFlag::Head));
  EXPECT_FALSE(f.has(FrameFlag::Locked));
}

TEST(Frame, StateNamesAreDistinct) {
  std::set<std::string> names;
  for (unsigned s = 0; s < static_cast<unsigned>(FrameState::Count); ++s) names.emplace(frame_state_name(static_cast<FrameState>(s)));
  EXPECT_EQ(names.size(), static_cast<size_t>(FrameState::Count));
  EXPECT_EQ(frame_state_name(FrameState::PageTable), "page_table");
  EXPECT_EQ(frame_state_name(FrameState::Anonymous), "anonymous");
  EXPECT_EQ(frame_state_name(FrameState::Kernel), "kernel");
}

TEST(Gfp, ReadsAsFtracePrintsIt) {
  EXPECT_EQ(gfp_text(Gfp::Kernel), "GFP_KERNEL");
  EXPECT_EQ(gfp_text(Gfp::Kernel | Gfp::Zero), "GFP_KERNEL|__GFP_ZERO");
  EXPECT_EQ(gfp_text(Gfp::KernelAccount), "GFP_KERNEL_ACCOUNT");
  EXPECT_EQ(gfp_text(Gfp::HighUserMovable | Gfp::Zero), "GFP_HIGHUSER_MOVABLE|__GFP_ZERO");
  EXPECT_EQ(gfp_text(Gfp::Atomic), "GFP_ATOMIC");
  EXPECT_EQ(gfp_text(Gfp::NoWait | Gfp::NoWarn), "GFP_NOWAIT|__GFP_NOWARN");
  EXPECT_EQ(gfp_text(Gfp::TransHugeLight), "GFP_TRANSHUGE_LIGHT");
  EXPECT_EQ(gfp_text(Gfp::TransHuge), "GFP_TRANSHUGE");
  EXPECT_EQ(gfp_text(Gfp::None), "none");
  EXPECT_EQ(gfp_text(static_cast<Gfp>(0x10000000)), "0x10000000");
}

}  // namespace
}  // namespace vitro::mm
