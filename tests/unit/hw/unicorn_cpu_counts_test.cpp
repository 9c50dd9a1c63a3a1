// What the Mmu and the Clock are told of a run: exact counts, and the same counts however the run is cut.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "unit/hw/guest_fixture.h"
#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

using R = UserRegisters;
constexpr uint64_t kW = Pte::kWritable, kNx = Pte::kNoExecute;

// More of them for a long run by hand.
uint64_t runs(uint64_t usual) {
  const char* more = std::getenv("VITRO_FUZZ_RUNS");
  return more ? std::strtoull(more, nullptr, 10) : usual;
}

StopKind run_kind(Guest& g) { return g.cpu->run().kind; }

TEST(ExactCounts, EveryAccessAndEveryBlockIsCounted) {
  Guest g(MmuMode::Exact);
  // 1: mov rax,[rdi]; mov [rdi+0x1000],rax; inc qword [rdi]; dec ecx; jnz 1b; syscall
  g.code({0x48, 0x8b, 0x07, 0x48, 0x89, 0x87, 0, 0x10, 0, 0, 0x48, 0xff, 0x07, 0xff, 0xc9, 0x75, 0xef, 0x0f, 0x05});
  g.map_new(Guest::kData, kW);
  g.map_new(Guest::kData + 0x1000, kW);
  g.set(&R::rdi, Guest::kData);
  g.set(&R::rcx, 100);
  EXPECT_EQ(run_kind(g), StopKind::Syscall);
  const MmuCounters& c = g.mmu.counters();
  EXPECT_EQ(c.l1d.accesses, 400u);
  EXPECT_EQ(c.l1d.hits + c.l1d.misses, 400u);
  EXPECT_EQ(c.l1i.accesses, 101u);
  EXPECT_EQ(c.l1i.misses, 1u);
  // The code page, and two data pages: one is read before it is written, so its Dirty bit costs one more walk.
  EXPECT_EQ(c.walks, 4u);
}

TEST(ExactCounts, AStraddlingAccessCountsOncePerPage) {
  for (const bool store : {false, true}) {
    SCOPED_TRACE(store);
    Guest g(MmuMode::Exact);
    g.code({0x48, store ? 0x89 : 0x8b, 0x07, 0x48, 0x8b, 0x9f, 0xfc, 0xff, 0xff, 0xff, 0x0f, 0x05});  // [rdi]; then mov rbx,[rdi-4]
    g.map_new(Guest::kData, kW);
    g.map_new(Guest::kData + 0x1000, kW);
    g.set(&R::rdi, Guest::kData + 0xffc);
    EXPECT_EQ(run_kind(g), StopKind::Syscall);
    EXPECT_EQ(g.mmu.counters().l1d.accesses, 3u);
    EXPECT_EQ(g.mmu.counters().l1d.misses, 2u);
  }
}

TEST(ExactCounts, ABlockThatCrossesAPageFetchesFromBoth) {
  Guest g(MmuMode::Exact);
  g.code({0x90, 0x90, 0x90, 0x90, 0x90}, 0xffb);
  g.poke(g.map_new(Guest::kCode + 0x1000, 0), 0, {0x0f, 0x05});
  EXPECT_EQ(run_kind(g), StopKind::Syscall);
  EXPECT_EQ(g.mmu.counters().l1i.accesses, 2u);
  EXPECT_EQ(g.mmu.counters().l1i.misses, 2u);
}

// One frame at many pages: every access must be counted at the page it was made at. The pages of even and odd numbers are walked apart.
void count_pages_of_one_frame(Guest& g, Pfn frame, unsigned pages, uint64_t flags, bool zero) {
  if (zero) g.cpu->set_zero_frame(frame);
  // 1: mov eax,[rdi]; add rdi,4096; dec ecx; jnz 1b; syscall
  g.code({0x8b, 0x07, 0x48, 0x81, 0xc7, 0, 0x10, 0, 0, 0xff, 0xc9, 0x75, 0xf3, 0x0f, 0x05});
  for (unsigned i = 0; i < pages; ++i) g.map(Guest::kData + i * kPageSize, frame, flags);
  for (int round = 0; round < 2; ++round) {
    g.cpu->set_registers({.rcx = pages, .rdi = Guest::kData, .rip = Guest::kCode});
    EXPECT_EQ(run_kind(g), StopKind::Syscall);
  }
  const MmuCounters& c = g.mmu.counters();
  EXPECT_EQ(c.l1d.accesses, 2u * pages);
  // Each page is walked for once, however often the soft TLB was flushed to tell them apart.
  EXPECT_EQ(c.walks, pages + 1u);
}

TEST(ExactCounts, AFrameMappedAtTwoPages) {
  Guest g(MmuMode::Exact);
  count_pages_of_one_frame(g, g.new_frame(), 2, kW | kNx, false);
}

TEST(ExactCounts, AFrameMappedAtMorePagesThanThereAreAliases) {
  Guest g(MmuMode::Exact);
  count_pages_of_one_frame(g, g.new_frame(), 40, kW | kNx, false);
}

TEST(ExactCounts, TheZeroFrameAtManyPages) {
  Guest g(MmuMode::Exact);
  count_pages_of_one_frame(g, g.new_frame(), 1000, kNx, true);
}

TEST(ExactCounts, AnExecutedFrameMappedAtSeveralPagesAsData) {
  Guest g(MmuMode::Exact);
  g.code({0xf4});
  count_pages_of_one_frame(g, *g.code_frame, 3, kNx, false);
}

TEST(ExactCounts, AStoreThroughAnAliasIsSeenByCodeOnTheSameFrame) {
  Guest g(MmuMode::Exact);
  // Frame at kCode, and twice as data, which gives it an alias before it is executed.
  const Pfn frame = g.new_frame();
  g.poke(frame, 0, {0xb8, 1, 0, 0, 0, 0xc3});
  g.map(0x900000, frame, 0);
  g.map(Guest::kData, frame, kW | kNx);
  g.map(Guest::kData + 0x1000, frame, kW | kNx);
  g.map_new(Guest::kStack - 0x1000, kW);
  // mov al,[rdi]; mov [rdi+0x1001],bl (writes 2); call rsi; mov [rdi+0x1001],cl (writes 3); call rsi; syscall
  g.code({0x8a, 0x07, 0x88, 0x9f, 1, 0x10, 0, 0, 0xff, 0xd6, 0x88, 0x8f, 1, 0x10, 0, 0, 0xff, 0xd6, 0x0f, 0x05});
  g.cpu->set_registers({.rbx = 2, .rcx = 3, .rsi = 0x900000, .rdi = Guest::kData, .rsp = Guest::kStack, .rip = Guest::kCode});
  EXPECT_EQ(run_kind(g), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 3u);
}

TEST(ExactCounts, WorksWithFramesBeyondTheFirst4GiBAndTheirAliases) {
  Guest g(MmuMode::Exact, gib(64));
  count_pages_of_one_frame(g, Pfn{gib(64).value() / kPageSize - 1}, 12, kW | kNx, false);
}

// --- The same program in all modes and settings

// Maps what is missing, inside the access or, where the fault stops the CPU, after it.
class Pager : public FaultService {
 public:
  explicit Pager(Guest& g) : g_(g) {}
  // A read may be the first half of a read-modify-write, to be resolved as a write once the CPU stopped.
  bool resolve_without_waiting(const Fault& fault, Access access) override { return access != Access::Read && resolve(fault, access); }
  bool resolve(const Fault& fault, Access access) {
    const uint64_t page = fault.address.page_floor().value();
    if (page < 0x100000 || page >= 0x8000'0000) return false;
    Pte& e = g_.entry(page);
    if (!e.present()) {
      e = make_pte(frame_of(page), Pte::kPresent | Pte::kUser | (access == Access::Write ? kW : 0));
    } else if (access == Access::Write && !e.writable()) {
      e = e.with(kW);
      g_.mmu.invalidate_page(VirtAddr{page}, Pcid{1}, FlushReason::LocalMmShootdown);
    } else {
      return false;
    }
    g_.clock.advance(Nanoseconds{53});
    ++faults;
    return true;
  }
  uint64_t faults = 0;

 private:
  // Frames by page, so that the order of faults does not matter for their contents.
  Pfn frame_of(uint64_t page) { return Pfn{4096 + (page >> 12) % 4096}; }
  Guest& g_;
};

struct Outcome {
  std::vector<std::string> stops;
  MmuCounters counters;
};

// Random programs: loops of arithmetic, loads, stores, read-modify-writes, string instructions, calls and RDTSC on a few pages.
Outcome run_random_program(uint64_t seed, MmuMode mode, bool precise, const TlbConfig& tlbs = {},
                           CountBy by = CountBy::TranslatedCode) {
  Guest g(mode, mib(64), 1000, tlbs, by);
  Pager pager(g);
  g.cpu->set_fault_service(&pager);
  g.cpu->set_precise_faults(precise);
  Rng rng(seed);

  std::vector<int> code;
  const auto emit = [&](std::initializer_list<int> bytes) { code.insert(code.end(), bytes); };
  const auto displacement = [&] {
    const uint64_t d = rng.below(6 * kPageSize);
    emit({static_cast<int>(d & 0xff), static_cast<int>(d >> 8 & 0xff), static_cast<int>(d >> 16 & 0xff), 0});
  };
  const size_t loop = code.size();
  for (int i = 0; i < 60; ++i) {
    switch (rng.below(13)) {
      case 0:
        emit({0x48, 0x8b, 0x87}), displacement();
        break;  // mov rax,[rdi+d]
      case 1:
        emit({0x48, 0x89, 0x9f}), displacement();
        break;  // mov [rdi+d],rbx
      case 2:
        emit({0x48, 0x01, 0x87}), displacement();
        break;  // add [rdi+d],rax
      case 3:
        emit({0xf0, 0x48, 0x0f, 0xc1, 0x9f}), displacement();
        break;  // lock xadd [rdi+d],rbx
      case 4:
        emit({0xff, 0xb7}), displacement(), emit({0x5a});
        break;  // push [rdi+d]; pop rdx
      case 5:
        emit({0x48, 0x85, 0xc0, 0x78, 0x03, 0x48, 0xff, 0xc3});
        break;  // test rax,rax; js +3; inc rbx
      case 6:   // push rdi; push rcx; lea rsi,[rdi+d]; mov ecx,20; rep movsb into [rdi]; pop
        emit({0x57, 0x51, 0x48, 0x8d, 0xb7}), displacement();
        emit({0x48, 0x81, 0xc7}), displacement();
        emit({0xb9, 20, 0, 0, 0, 0xf3, 0xa4, 0x59, 0x5f});
        break;
      case 7:
        emit({0xe8, 0, 0, 0, 0, 0x5a});
        break;  // call next; pop rdx
      case 8:
        emit({0x0f, 0x31, 0x48, 0x01, 0xc3});
        break;  // rdtsc; add rbx,rax
      case 9:
        emit({0x48, 0x31, 0xc3, 0x48, 0xc1, 0xc3, 7});
        break;  // xor rbx,rax; rol rbx,7
      case 10:
        emit({0xf3, 0x0f, 0x6f, 0x87}), displacement();
        break;  // movdqu xmm0,[rdi+d]
      case 11:
        emit({0xf3, 0x0f, 0x7f, 0x87}), displacement();
        break;  // movdqu [rdi+d],xmm0
      case 12:
        for (uint64_t n = rng.below(40); n > 0; --n) emit({0x90});
        break;
    }
  }
  emit({0xff, 0xcd});  // dec ebp
  const int32_t back = static_cast<int32_t>(loop) - static_cast<int32_t>(code.size()) - 6;
  emit({0x0f, 0x85, back & 0xff, back >> 8 & 0xff, back >> 16 & 0xff, back >> 24 & 0xff, 0x0f, 0x05});
  // Across the end of a page, on frames that the pager maps.
  const uint64_t start = 0x500000 + 0x1000 - rng.below(code.size());
  for (size_t i = 0; i < code.size(); ++i) g.poke(Pfn{4096 + ((start + i) >> 12) % 4096}, (start + i) & 0xfff, {code[i]});
  g.cpu->set_registers({.rdi = 0x600000 + rng.below(4096), .rbp = 30, .rsp = 0x700000 + 64 * 8, .rip = start});

  Outcome out;
  uint64_t slice = 0;
  for (int stops = 0; stops < 100'000; ++stops) {
    g.clock.set_slice_end(Nanoseconds{slice});
    const CpuStop stop = g.cpu->run();
    if (stop.kind == StopKind::Fault) {
      if (pager.resolve(stop.fault, stop.access)) continue;
    }
    const UserRegisters r = g.cpu->registers();
    out.stops.push_back(fmt::format("{} v{} rip {:#x} rax {:#x} rbx {:#x} rcx {:#x} now {} n {} faults {} address {:#x}",
                                    static_cast<int>(stop.kind), stop.vector, r.rip, r.rax, r.rbx, r.rcx, g.clock.now().value(),
                                    g.clock.instructions(), pager.faults, stop.fault.address.value()));
    if (stop.kind != StopKind::Limit) break;
    slice = g.clock.now().value() + 150;
  }
  out.counters = g.mmu.counters();
  g.mmu.verify();
  return out;
}

TEST(SameInEveryMode, StopPointsTimesAndCountsDoNotDependOnModeOrPreciseFaults) {
  for (uint64_t seed = 1; seed <= runs(15); ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const Outcome reference = run_random_program(seed, MmuMode::Exact, false);
    ASSERT_GT(reference.stops.size(), 20u);
    for (const MmuMode mode : {MmuMode::Exact, MmuMode::Trap, MmuMode::Fast})
      for (const bool precise : {false, true}) {
        SCOPED_TRACE(fmt::format("mode {} precise {}", static_cast<int>(mode), precise));
        const Outcome other = run_random_program(seed, mode, precise);
        for (size_t i = 0; i < std::min(other.stops.size(), reference.stops.size()); ++i)
          ASSERT_EQ(other.stops[i], reference.stops[i]) << "stop " << i;
        ASSERT_EQ(other.stops.size(), reference.stops.size());
        if (mode == MmuMode::Exact) {
          EXPECT_EQ(other.counters.l1d.accesses, reference.counters.l1d.accesses);
          EXPECT_EQ(other.counters.l1i.accesses, reference.counters.l1i.accesses);
          EXPECT_EQ(other.counters.walks, reference.counters.walks);
        }
        EXPECT_EQ(other.counters.faulting_walks, reference.counters.faulting_walks);
      }
  }
}

TEST(SameInEveryMode, TrapCountsTheMissesThatExactCountsWhereTheFirstLevelIgnoresHits) {
  TlbConfig tlbs;
  tlbs.l1d_4k.entries = 4;
  tlbs.l1d_4k.ways = 2;
  std::vector<uint64_t> seeds{66, 181, 191};  // a page that faulted in its write is lost and read again in the same block
  for (uint64_t seed = 1; seed <= runs(10); ++seed) seeds.push_back(seed);
  for (const uint64_t seed : seeds) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    for (TlbGeometry* g : {&tlbs.l1d_4k, &tlbs.l1d_2m, &tlbs.l1d_1g}) g->policy = seed % 4 == 0 ? Replacement::Random : Replacement::Fifo;
    const MmuCounters exact = run_random_program(seed, MmuMode::Exact, false, tlbs).counters;
    EXPECT_GT(exact.l1d.misses, 50u);
    for (const auto& [precise, by] : {std::pair{false, CountBy::TranslatedCode}, {true, CountBy::TranslatedCode}, {false, CountBy::Hooks}, {true, CountBy::Hooks}}) {
      SCOPED_TRACE(fmt::format("precise {} {}", precise, by == CountBy::Hooks ? "hooks" : "translated code"));
      const MmuCounters trap = run_random_program(seed, MmuMode::Trap, precise, tlbs, by).counters;
      EXPECT_EQ(trap.l1d.misses, exact.l1d.misses);
      EXPECT_EQ(trap.l1i.accesses, exact.l1i.accesses);
      EXPECT_EQ(trap.l1i.misses, exact.l1i.misses);
      EXPECT_EQ(trap.l2.accesses, exact.l2.accesses);
      EXPECT_EQ(trap.walks, exact.walks);
    }
  }
}

// The two ways of counting have little in common below the Mmu: one sees every access, the other only those that change something.
TEST(SameInEveryMode, TranslatedCodeCountsWhatHooksCount) {
  std::vector<uint64_t> seeds{463, 649};  // a read across the end of a page, and the write of the same instruction faults
  for (uint64_t seed = 1; seed <= runs(4); ++seed) seeds.push_back(seed);
  for (const uint64_t seed : seeds) {
    const Replacement policies[] = {Replacement::Lru, Replacement::TreePlru, Replacement::Fifo, Replacement::Random};
    TlbConfig tlbs;
    tlbs.seed = seed;
    const unsigned entries[] = {64, 16, 8, 4};
    tlbs.l1d_4k = {entries[seed / 4 % 4], seed % 2 ? 4u : 2u, policies[seed % 4]};
    if (seed % 3 == 0) tlbs.l1i = {4, 2, policies[seed / 3 % 2]};
    if (seed % 5 == 0) tlbs.l2 = {16, 4, Replacement::Lru};
    for (const bool precise : {false, true}) {
      SCOPED_TRACE(fmt::format("seed {} precise {}", seed, precise));
      const Outcome hooks = run_random_program(seed, MmuMode::Exact, precise, tlbs, CountBy::Hooks);
      const Outcome code = run_random_program(seed, MmuMode::Exact, precise, tlbs, CountBy::TranslatedCode);
      ASSERT_EQ(code.stops, hooks.stops);
      for (const auto level : {&MmuCounters::l1d, &MmuCounters::l1i, &MmuCounters::l2}) {
        EXPECT_EQ((code.counters.*level).accesses, (hooks.counters.*level).accesses);
        EXPECT_EQ((code.counters.*level).hits, (hooks.counters.*level).hits);
        EXPECT_EQ((code.counters.*level).misses_by_access, (hooks.counters.*level).misses_by_access);
      }
      EXPECT_EQ(code.counters.walks, hooks.counters.walks);
      EXPECT_EQ(code.counters.walk_references, hooks.counters.walk_references);
      EXPECT_EQ(code.counters.dirty_walks, hooks.counters.dirty_walks);
    }
  }
}

}  // namespace
}  // namespace vitro::hw
