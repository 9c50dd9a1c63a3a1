// Single steps: one instruction at a time, with the same time and the same counts as without.
#include <gtest/gtest.h>

#include "unit/hw/guest_fixture.h"
#include "vitro/hw/cpu.h"

namespace vitro::hw {
namespace {

using R = UserRegisters;

class SingleStep : public testing::TestWithParam<MmuMode> {
 protected:
  Guest g{GetParam()};
  // Steps until another stop; the instruction pointers behind each step.
  std::vector<uint64_t> steps(StopKind end) {
    std::vector<uint64_t> seen;
    for (;;) {
      const CpuStop stop = g.cpu->run();
      if (stop.kind != StopKind::Stepped) {
        EXPECT_EQ(static_cast<int>(stop.kind), static_cast<int>(end));
        return seen;
      }
      seen.push_back(g.get(&R::rip) - Guest::kCode);
      if (seen.size() > 1000) {
        ADD_FAILURE() << "it never ends";
        return seen;
      }
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Modes, SingleStep, testing::Values(MmuMode::Exact, MmuMode::Trap, MmuMode::Fast), [](const auto& info) {
  return info.param == MmuMode::Exact ? "Exact" : info.param == MmuMode::Trap ? "Trap" : "Fast";
});

TEST_P(SingleStep, StopsBehindEachInstruction) {
  g.code({0xb8, 1, 0, 0, 0, 0x90, 0x48, 0xff, 0xc0, 0x0f, 0x05});  // mov eax, 1; nop; inc rax; syscall
  g.cpu->set_single_step(true);
  EXPECT_EQ(steps(StopKind::Syscall), (std::vector<uint64_t>{5, 6, 9}));
  EXPECT_EQ(g.get(&R::rax), 2u);
  EXPECT_EQ(g.clock.instructions(), 4u);
}

TEST_P(SingleStep, FollowsBranchesAlsoToThemselves) {
  g.code({0xb9, 3, 0, 0, 0, 0xe2, 0xfe, 0xeb, 0x01, 0x90, 0x0f, 0x05});  // mov ecx, 3; loop .; jmp +1; nop; syscall
  g.cpu->set_single_step(true);
  EXPECT_EQ(steps(StopKind::Syscall), (std::vector<uint64_t>{5, 5, 5, 7, 10}));
  EXPECT_EQ(g.clock.instructions(), 6u);
}

TEST_P(SingleStep, EndlessLoopOfOneInstructionStepsToo) {
  g.code({0xeb, 0xfe});  // jmp .
  g.cpu->set_single_step(true);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(static_cast<int>(g.cpu->run().kind), static_cast<int>(StopKind::Stepped));
  EXPECT_EQ(g.get(&R::rip), Guest::kCode);
  EXPECT_EQ(g.clock.instructions(), 5u);
}

TEST_P(SingleStep, RepeatedStringInstructionsStepByIterations) {
  g.map_new(Guest::kData, Pte::kWritable | Pte::kNoExecute);
  g.set(&R::rdi, Guest::kData);
  g.code({0xb9, 3, 0, 0, 0, 0xf3, 0xaa, 0x0f, 0x05});  // mov ecx, 3; rep stosb; syscall
  g.cpu->set_single_step(true);
  const auto seen = steps(StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rdi), Guest::kData + 3);
  const uint64_t stepped = g.clock.instructions();
  EXPECT_GE(seen.size(), 4u);
  g.set(&R::rip, Guest::kCode);
  g.set(&R::rdi, Guest::kData);
  g.cpu->set_single_step(false);
  EXPECT_EQ(static_cast<int>(g.cpu->run().kind), static_cast<int>(StopKind::Syscall));
  EXPECT_EQ(g.clock.instructions() - stepped, stepped);
}

TEST_P(SingleStep, AFaultIsNoStepAndTheInstructionComesAgain) {
  g.code({0xc6, 0x07, 0x01, 0x0f, 0x05});  // mov byte [rdi], 1; syscall
  g.set(&R::rdi, Guest::kData);
  g.cpu->set_single_step(true);
  EXPECT_EQ(static_cast<int>(g.cpu->run().kind), static_cast<int>(StopKind::Fault));
  EXPECT_EQ(g.clock.instructions(), 0u);
  g.map_new(Guest::kData, Pte::kWritable | Pte::kNoExecute);
  EXPECT_EQ(steps(StopKind::Syscall), (std::vector<uint64_t>{3}));
  EXPECT_EQ(g.clock.instructions(), 2u);
}

TEST_P(SingleStep, SomeStepsInTheMiddleChangeNeitherTimeNorCounts) {
  // mov ecx, 50; l: inc byte [rdi]; add rdi, 64; dec ecx; jnz l; syscall
  const std::vector<int> code{0xb9, 50, 0, 0, 0, 0xfe, 0x07, 0x48, 0x83, 0xc7, 0x40, 0xff, 0xc9, 0x75, 0xf6, 0x0f, 0x05};
  struct Counted {
    uint64_t instructions, data, fetches, misses;
    bool operator==(const Counted&) const = default;
  };
  const auto run = [&](unsigned from, unsigned to) {
    Guest fresh{GetParam()};
    fresh.code(code);
    fresh.map_new(Guest::kData, Pte::kWritable | Pte::kNoExecute | Pte::kDirty | Pte::kAccessed);
    fresh.set(&R::rdi, Guest::kData);
    for (unsigned n = 0;; ++n) {
      fresh.cpu->set_single_step(n >= from && n < to);
      const CpuStop stop = fresh.cpu->run();
      if (stop.kind == StopKind::Stepped) continue;
      EXPECT_EQ(static_cast<int>(stop.kind), static_cast<int>(StopKind::Syscall));
      const MmuCounters& c = fresh.mmu.counters();
      return Counted{fresh.clock.instructions(), c.l1d_hits_known ? c.l1d.accesses : 0, c.l1i.accesses, c.l1d.misses + c.l1i.misses};
    }
  };
  const Counted plain = run(0, 0);
  EXPECT_EQ(run(0, 1), plain);
  EXPECT_EQ(run(0, 7), plain);
  EXPECT_EQ(run(0, 150), plain);
  EXPECT_EQ(run(0, 1000), plain);
}

}  // namespace
}  // namespace vitro::hw
