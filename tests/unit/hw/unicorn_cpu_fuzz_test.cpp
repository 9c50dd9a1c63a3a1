// Random bytes as code: every run ends in a defined stop, and in the same one in every mode.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "unit/hw/guest_fixture.h"
#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

constexpr uint64_t kPage = 0x400000;
constexpr unsigned kPages = 4;

// Random bytes, with pieces that random bytes rarely make: prefixes before string, stack, port and system instructions.
void fill_with_code(Guest& g, Rng& rng, Pfn frame) {
  std::vector<int> bytes;
  const int pieces[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x4c, 0x0f, 0x0f, 0x0f, 0xa4, 0xaa, 0x6c, 0x6e, 0xec, 0xee, 0x8e, 0x9d, 0xcd,
                        0xff, 0xc7, 0xae, 0x01, 0x00, 0xd9, 0xdd, 0xcb, 0xcf, 0x8f, 0xc8, 0xe8, 0x75, 0x31, 0xa2, 0x05, 0x34, 0x90};
  while (bytes.size() < kPageSize) {
    if (rng.below(3) == 0)
      bytes.push_back(pieces[rng.below(std::size(pieces))]);
    else
      bytes.push_back(static_cast<int>(rng.below(256)));
    if (rng.below(64) == 0) bytes.resize(bytes.size() + rng.below(100), rng.below(2) ? 0x90 : 0x50);
  }
  bytes.resize(kPageSize);
  g.poke(frame, 0, bytes);
}

std::vector<std::string> run_random_bytes(uint64_t seed, MmuMode mode) {
  Guest g(mode, mib(16));
  Rng rng(seed);
  std::vector<Pfn> frames;
  for (unsigned i = 0; i < kPages; ++i) {
    frames.push_back(g.map_new(kPage + i * kPageSize, Pte::kWritable));
    fill_with_code(g, rng, frames.back());
  }
  // The first code page once more, as writable data; and a page that must not be run.
  g.map(0x800000, frames[0], Pte::kWritable);
  g.map_new(0x801000, Pte::kWritable | Pte::kNoExecute);
  std::vector<std::string> stops;
  for (int start = 0; start < 6; ++start) {
    UserRegisters r;
    uint64_t UserRegisters::*const registers[] = {&UserRegisters::rax, &UserRegisters::rbx, &UserRegisters::rcx, &UserRegisters::rdx,
                                                  &UserRegisters::rsi, &UserRegisters::rdi, &UserRegisters::rbp, &UserRegisters::rsp,
                                                  &UserRegisters::r8,  &UserRegisters::r9,  &UserRegisters::r10, &UserRegisters::r15};
    for (const auto member : registers) {
      switch (rng.below(4)) {
        case 0:
          r.*member = rng.next();
          break;
        case 1:
          r.*member = rng.below(300);
          break;
        case 2:
          r.*member = kPage + rng.below(kPages * kPageSize);
          break;
        case 3:
          r.*member = 0x800000 + rng.below(2 * kPageSize);
          break;
      }
    }
    r.rip = kPage + rng.below(kPages * kPageSize);
    if (rng.below(8) == 0) r.rflags |= 0x100;
    if (rng.below(8) == 0) r.rflags |= 0x40000 | 0x400;
    g.cpu->set_registers(r);
    for (int stop_number = 0; stop_number < 12; ++stop_number) {
      g.clock.set_slice_end(g.clock.now() + Nanoseconds{1000});
      const uint64_t before = g.clock.instructions();
      const CpuStop stop = g.cpu->run();
      const UserRegisters after = g.cpu->registers();
      EXPECT_LE(g.clock.instructions() - before, 10'000u);
      stops.push_back(
          fmt::format("kind {} vector {} access {} address {:#x} code {:#x} rip {:#x} rax {:#x} rcx {:#x} rsp {:#x} flags {:#x} n {}",
                      static_cast<int>(stop.kind), stop.vector, static_cast<int>(stop.access), stop.fault.address.value(),
                      stop.fault.error_code, after.rip, after.rax, after.rcx, after.rsp, after.rflags, g.clock.instructions()));
      if (stop.kind == StopKind::Fault) break;
      if (stop.kind == StopKind::Exception && stop.vector != 1 && stop.vector != 3) break;
    }
  }
  if (mode != MmuMode::Fast) g.mmu.verify();
  return stops;
}

TEST(UnicornCpuFuzz, RandomBytesEndInTheSameDefinedStopsInEveryMode) {
  const char* more = std::getenv("VITRO_FUZZ_RUNS");
  const uint64_t runs = more ? std::strtoull(more, nullptr, 10) : 50;
  for (uint64_t seed = 1; seed <= runs; ++seed) {
    SCOPED_TRACE(fmt::format("seed {}", seed));
    const std::vector<std::string> exact = run_random_bytes(seed, MmuMode::Exact);
    for (const MmuMode mode : {MmuMode::Fast, MmuMode::Trap}) {
      const std::vector<std::string> other = run_random_bytes(seed, mode);
      ASSERT_EQ(exact.size(), other.size());
      for (size_t i = 0; i < exact.size(); ++i) ASSERT_EQ(exact[i], other[i]) << "stop " << i << " mode " << static_cast<int>(mode);
    }
  }
}

}  // namespace
}  // namespace vitro::hw
