// Which instruction a miss is blamed on: instructions of every kind, in straight code, each with a page of its own.
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "hw/instruction_scan.h"
#include "unit/hw/guest_fixture.h"
#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

constexpr uint64_t kW = Pte::kWritable;

struct Kind {
  const char* name;
  std::vector<int> before;  // up to the 32-bit displacement from RDI
  std::vector<int> after = {};
  unsigned crosses = 0;     // added to the displacement, so that the access reaches into the next page
};

const std::vector<Kind> kKinds = {
    {"mov eax,m", {0x8b, 0x87}},
    {"mov m,eax", {0x89, 0x87}},
    {"add m,eax", {0x01, 0x87}},
    {"not m", {0xf7, 0x97}},
    {"cmp m,imm", {0x83, 0xbf}, {1}},
    {"push m", {0xff, 0xb7}},
    {"pop m", {0x8f, 0x87}},
    {"xchg m,eax", {0x87, 0x87}},
    {"lock add m,eax", {0xf0, 0x01, 0x87}},
    {"cmpxchg m,eax", {0x0f, 0xb1, 0x87}},
    {"lock cmpxchg m,eax", {0xf0, 0x0f, 0xb1, 0x87}},
    {"lock cmpxchg16b m", {0xf0, 0x48, 0x0f, 0xc7, 0x8f}},
    {"xadd m,eax", {0x0f, 0xc1, 0x87}},
    {"lock xadd m,eax", {0xf0, 0x0f, 0xc1, 0x87}},
    {"movzx eax,m", {0x0f, 0xb6, 0x87}},
    {"movsxd rax,m", {0x48, 0x63, 0x87}},
    {"imul eax,m", {0x0f, 0xaf, 0x87}},
    {"cmove eax,m", {0x0f, 0x44, 0x87}},
    {"sete m", {0x0f, 0x94, 0x87}},
    {"bts m,imm", {0x0f, 0xba, 0xaf}, {1}},
    {"shld m,eax,1", {0x0f, 0xa4, 0x87}, {1}},
    {"popcnt eax,m", {0xf3, 0x0f, 0xb8, 0x87}},
    {"bsf eax,m", {0x0f, 0xbc, 0x87}},
    {"crc32 eax,m", {0xf2, 0x0f, 0x38, 0xf1, 0x87}},
    {"movnti m,eax", {0x0f, 0xc3, 0x87}},
    {"movsd xmm0,m", {0xf2, 0x0f, 0x10, 0x87}},
    {"movss m,xmm0", {0xf3, 0x0f, 0x11, 0x87}},
    {"movaps xmm0,m", {0x0f, 0x28, 0x87}},
    {"movups m,xmm0", {0x0f, 0x11, 0x87}},
    {"movdqa xmm0,m", {0x66, 0x0f, 0x6f, 0x87}},
    {"movntdq m,xmm0", {0x66, 0x0f, 0xe7, 0x87}},
    {"movq xmm0,m", {0xf3, 0x0f, 0x7e, 0x87}},
    {"movhps xmm0,m", {0x0f, 0x16, 0x87}},
    {"paddd xmm0,m", {0x66, 0x0f, 0xfe, 0x87}},
    {"pshufb xmm0,m", {0x66, 0x0f, 0x38, 0x00, 0x87}},
    {"palignr xmm0,m", {0x66, 0x0f, 0x3a, 0x0f, 0x87}, {3}},
    {"pextrd m,xmm0", {0x66, 0x0f, 0x3a, 0x16, 0x87}, {1}},
    {"cvtsi2sd xmm0,m", {0xf2, 0x0f, 0x2a, 0x87}},
    {"fld qword m; fstp st0", {0xdd, 0x87}, {0xdd, 0xd8}},
    {"fild dword m; fstp st0", {0xdb, 0x87}, {0xdd, 0xd8}},
    {"fld tbyte m; fstp st0", {0xdb, 0xaf}, {0xdd, 0xd8}},
    {"fnstcw m", {0xd9, 0xbf}},
    {"fxsave m", {0x0f, 0xae, 0x87}},
    {"stmxcsr m", {0x0f, 0xae, 0x9f}},
    {"mov rax,m across pages", {0x48, 0x8b, 0x87}, {}, 0xffc},
    {"mov m,rax across pages", {0x48, 0x89, 0x87}, {}, 0xffd},
    {"movups xmm0,m across pages", {0x0f, 0x10, 0x87}, {}, 0xff8},
};

struct Blame final : MmuObserver {
  const Cpu* cpu = nullptr;
  std::map<uint64_t, std::set<uint64_t>> by_page;  // of data
  std::set<uint64_t> fetches;
  void tlb_missed(const TlbMiss& miss) override {
    const auto ip = cpu->accessing_instruction(miss.address, miss.access);
    ASSERT_TRUE(ip.has_value());
    if (miss.access == Access::Fetch)
      fetches.insert(ip->value());
    else
      by_page[miss.address.page_floor().value()].insert(ip->value());
  }
};

struct Way {
  MmuMode mode;
  CountBy by;
};
class Attribution : public testing::TestWithParam<Way> {};

TEST_P(Attribution, EachMissIsBlamedOnTheInstructionThatMadeIt) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Rng rng(seed);
    TlbConfig tlbs;
    tlbs.l1d_4k = {64, 4, Replacement::Fifo};
    Guest g(GetParam().mode, mib(64), 1000, tlbs, GetParam().by);
    Blame blame;
    blame.cpu = g.cpu.get();
    g.cpu->set_attribution(true);
    g.mmu.set_observer(&blame);
    std::vector<const Kind*> order;
    for (const Kind& k : kKinds) order.push_back(&k);
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[rng.below(i)]);

    std::vector<int> code;
    std::map<uint64_t, std::pair<const Kind*, uint64_t>> expected;  // by page
    // Every other page stays unused, for those that cross.
    for (size_t i = 0; i < order.size(); ++i) {
      const Kind& k = *order[i];
      const uint64_t ip = Guest::kCode + code.size();
      const auto displacement = static_cast<uint32_t>(2 * i * kPageSize + k.crosses);
      for (const uint64_t page : {2 * i, 2 * i + 1}) g.map_new(Guest::kData + page * kPageSize, kW);
      expected[Guest::kData + 2 * i * kPageSize] = {&k, ip};
      if (k.crosses) expected[Guest::kData + (2 * i + 1) * kPageSize] = {&k, ip};
      code.insert(code.end(), k.before.begin(), k.before.end());
      for (unsigned byte = 0; byte < 4; ++byte) code.push_back(displacement >> (8 * byte) & 0xff);
      code.insert(code.end(), k.after.begin(), k.after.end());
    }
    code.insert(code.end(), {0x0f, 0x05});
    ASSERT_LT(code.size(), kPageSize);
    g.code(code);
    g.map_new(Guest::kStack - kPageSize, kW);
    g.map_new(Guest::kStack, kW);
    g.set(&UserRegisters::rdi, Guest::kData);
    g.set(&UserRegisters::rsp, Guest::kStack);
    ASSERT_EQ(g.cpu->run().kind, StopKind::Syscall);
    for (const auto& [page, kind] : expected) {
      const std::set<uint64_t>& blamed = blame.by_page[page];
      EXPECT_EQ(blamed, std::set<uint64_t>{kind.second}) << kind.first->name << " at " << std::hex << kind.second;
    }
    if (GetParam().mode == MmuMode::Exact) {
      EXPECT_EQ(blame.fetches, std::set<uint64_t>{Guest::kCode});
    }
    g.mmu.set_observer(nullptr);
  }
}

TEST_P(Attribution, AFetchIsBlamedOnTheFirstInstructionThatNeedsThePage) {
  // nop x 3, then a 5-byte instruction that reaches one byte into the next page, then more there.
  Guest g(GetParam().mode, mib(64), 1000, TlbConfig{}, GetParam().by);
  Blame blame;
  blame.cpu = g.cpu.get();
  g.cpu->set_attribution(true);
  g.mmu.set_observer(&blame);
  g.code({0x90, 0x90, 0x90, 0xb8, 1, 0, 0}, kPageSize - 7);
  g.poke(g.map_new(Guest::kCode + kPageSize, 0), 0, {0, 0x90, 0x0f, 0x05});
  ASSERT_EQ(g.cpu->run().kind, StopKind::Syscall);
  EXPECT_EQ(blame.fetches, (std::set<uint64_t>{Guest::kCode + kPageSize - 7, Guest::kCode + kPageSize - 4}));
  g.mmu.set_observer(nullptr);
}

TEST_P(Attribution, ChangesNoCount) {
  MmuCounters counters[2];
  uint64_t instructions[2];
  for (const bool on : {false, true}) {
    TlbConfig tlbs;
    tlbs.l1d_4k = {16, 4, Replacement::Fifo};
    Guest g(GetParam().mode, mib(64), 1000, tlbs, GetParam().by);
    g.cpu->set_attribution(on);
    // 1: movups xmm0,[rdi]; add [rdi+8],eax; lock inc dword [rdi+0x1000]; add rdi,0x1000; dec ecx; jnz 1b; syscall
    g.code({0x0f, 0x10, 0x07, 0x01, 0x47, 0x08, 0xf0, 0xff, 0x87, 0, 0x10, 0, 0, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xe8, 0x0f, 0x05});
    for (uint64_t i = 0; i < 60; ++i) g.map_new(Guest::kData + i * kPageSize, kW);
    for (int round = 0; round < 3; ++round) {
      g.cpu->set_registers({.rcx = 50, .rdi = Guest::kData, .rip = Guest::kCode});
      ASSERT_EQ(g.cpu->run().kind, StopKind::Syscall);
    }
    counters[on] = g.mmu.counters();
    instructions[on] = g.clock.instructions();
  }
  EXPECT_EQ(instructions[0], instructions[1]);
  EXPECT_EQ(counters[0].l1d.misses, counters[1].l1d.misses);
  EXPECT_EQ(counters[0].l1d.accesses, counters[1].l1d.accesses);
  EXPECT_EQ(counters[0].l1i.accesses, counters[1].l1i.accesses);
  EXPECT_EQ(counters[0].walks, counters[1].walks);
  EXPECT_EQ(counters[0].walk_references, counters[1].walk_references);
}

INSTANTIATE_TEST_SUITE_P(Modes, Attribution,
                         testing::Values(Way{MmuMode::Exact, CountBy::TranslatedCode}, Way{MmuMode::Exact, CountBy::Hooks},
                                         Way{MmuMode::Trap, CountBy::TranslatedCode}, Way{MmuMode::Trap, CountBy::Hooks}),
                         [](const testing::TestParamInfo<Way>& info) {
                           return std::string(info.param.mode == MmuMode::Exact ? "Exact" : "Trap") +
                                  (info.param.by == CountBy::Hooks ? "ByHooks" : "");
                         });

}  // namespace
}  // namespace vitro::hw
