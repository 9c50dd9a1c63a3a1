#include <gtest/gtest.h>

#include <thread>

#include "unit/hw/guest_fixture.h"
#include "vitro/base/rng.h"
#include "vitro/hw/cpu.h"

namespace vitro::hw {
namespace {

using R = UserRegisters;
constexpr uint64_t kW = Pte::kWritable, kNx = Pte::kNoExecute, kDirty = Pte::kDirty;

class UnicornCpu : public testing::TestWithParam<MmuMode> {
 protected:
  Guest g{GetParam()};
  bool exact() const { return GetParam() == MmuMode::Exact; }
};
INSTANTIATE_TEST_SUITE_P(Modes, UnicornCpu, testing::Values(MmuMode::Exact, MmuMode::Trap, MmuMode::Fast), [](const auto& info) {
  return info.param == MmuMode::Exact ? "Exact" : info.param == MmuMode::Trap ? "Trap" : "Fast";
});

#define EXPECT_STOP(stop, expected) EXPECT_EQ(static_cast<int>((stop).kind), static_cast<int>(expected))

TEST_P(UnicornCpu, SyscallStopsBehindItWithRcxAndR11Set) {
  g.code({0xb8, 39, 0, 0, 0, 0xbf, 7, 0, 0, 0, 0x0f, 0x05, 0x90});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 12);
  EXPECT_EQ(g.get(&R::rcx), Guest::kCode + 12);
  EXPECT_EQ(g.get(&R::r11), 0x202u);
  EXPECT_EQ(g.cpu->syscall_arguments().number, 39u);
  EXPECT_EQ(g.cpu->syscall_arguments().arguments[0], 7u);
  EXPECT_EQ(g.clock.instructions(), 3u);
  g.cpu->set_syscall_result(1234);
  EXPECT_EQ(g.get(&R::rax), 1234u);
}

TEST_P(UnicornCpu, LoadFromAnUnmappedPageFaultsPreciselyAndCanBeResumed) {
  g.code({0xbb, 1, 0, 0, 0, 0x48, 0x8b, 0x07, 0xbb, 2, 0, 0, 0, 0x0f, 0x05});
  g.set(&R::rdi, Guest::kData + 0x123);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.access, Access::Read);
  EXPECT_EQ(stop.fault.address.value(), Guest::kData + 0x123);
  EXPECT_EQ(stop.fault.error_code, FaultCode::kUser);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 5);
  EXPECT_EQ(g.get(&R::rbx), 1u);
  EXPECT_EQ(g.clock.instructions(), 1u);
  const Pfn frame = g.map_new(Guest::kData, 0);
  g.poke(frame, 0x123, {0xef, 0xbe, 0xad, 0xde});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 0xdeadbeefu);
  EXPECT_EQ(g.clock.instructions(), 4u);
  EXPECT_TRUE(g.entry(Guest::kData).accessed());
  EXPECT_FALSE(g.entry(Guest::kData).dirty());
}

TEST_P(UnicornCpu, FirstStoreSetsDirtyAfterAReadFilledThePage) {
  g.code({0x48, 0x8b, 0x07, 0x48, 0x89, 0x1f, 0x0f, 0x05});  // mov rax,[rdi]; mov [rdi],rbx; syscall
  const Pfn frame = g.map_new(Guest::kData, kW | kNx);
  g.set(&R::rdi, Guest::kData + 8);
  g.set(&R::rbx, 77);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_TRUE(g.entry(Guest::kData).dirty());
  EXPECT_EQ(g.peek(frame, 8), 77u);
}

TEST_P(UnicornCpu, StoreToAReadOnlyPageFaultsWithTheErrorCodeOfAProtectedWrite) {
  g.code({0x48, 0x8b, 0x07, 0x48, 0x89, 0x1f, 0x0f, 0x05});
  g.map_new(Guest::kData, kNx);
  g.set(&R::rdi, Guest::kData + 8);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.access, Access::Write);
  EXPECT_EQ(stop.fault.error_code, FaultCode::kUser | FaultCode::kWrite | FaultCode::kProtection);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 3);
  EXPECT_EQ(g.clock.instructions(), 1u);
}

TEST_P(UnicornCpu, FetchFromAPageWithoutExecutePermissionFaults) {
  g.code({0xff, 0xe7});  // jmp rdi
  g.map_new(Guest::kData, kNx);
  g.set(&R::rdi, Guest::kData + 0x10);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.access, Access::Fetch);
  EXPECT_EQ(stop.fault.address.value(), Guest::kData + 0x10);
  EXPECT_EQ(stop.fault.error_code, FaultCode::kUser | FaultCode::kFetch | FaultCode::kProtection);
  EXPECT_EQ(g.get(&R::rip), Guest::kData + 0x10);
  EXPECT_EQ(g.clock.instructions(), 1u);
}

TEST_P(UnicornCpu, KernelAndNonCanonicalAddressesAreRefused) {
  g.code({0x48, 0x8b, 0x07, 0x0f, 0x05});
  g.set(&R::rdi, 0xffff'8000'0040'0000);
  CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), 0xffff'8000'0040'0000u);
  EXPECT_FALSE(stop.fault.general_protection);
  g.set(&R::rdi, 0x4000'0000'0000'0008);
  stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_TRUE(stop.fault.general_protection);
  g.code({0xff, 0xe7}, 0x100);
  g.set(&R::rdi, 0xffff'8000'0000'0000 + g.code_frame->address().value());
  stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.access, Access::Fetch);
}

TEST_P(UnicornCpu, StraddlingStoreReportsTheFirstByteOfTheMissingPageAndChangesNothing) {
  g.code({0x48, 0x89, 0x1f, 0x0f, 0x05});
  const Pfn first = g.map_new(Guest::kData, kW);
  g.set(&R::rdi, Guest::kData + 0xffc);
  g.set(&R::rbx, ~0ull);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), Guest::kData + 0x1000);
  EXPECT_EQ(g.peek(first, 0xff8), 0u);
  const Pfn second = g.map_new(Guest::kData + 0x1000, kW);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.peek(first, 0xff8), 0xffffffff'00000000u);
  EXPECT_EQ(g.peek(second, 0), 0xffffffffu);
}

TEST_P(UnicornCpu, RepMovsIsResumedWhereItFaulted) {
  g.code({0xf3, 0xa4, 0xbb, 2, 0, 0, 0, 0x0f, 0x05});
  const Pfn from = g.map_new(Guest::kData, kW);
  for (int i = 0; i < 4096; ++i) g.poke(from, i, {i & 0xff});
  g.map_new(Guest::kData + 0x10000, kW);
  g.set(&R::rsi, Guest::kData);
  g.set(&R::rdi, Guest::kData + 0x10f00);
  g.set(&R::rcx, 1000);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), Guest::kData + 0x11000);
  EXPECT_EQ(g.get(&R::rcx), 744u);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode);
  const Pfn to = g.map_new(Guest::kData + 0x11000, kW);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rdi), Guest::kData + 0x10f00 + 1000);
  EXPECT_EQ(g.peek<uint8_t>(to, 743), static_cast<uint8_t>(0x100 + 743));
  // 1000 iterations, one more that finds rcx zero, mov, syscall.
  EXPECT_EQ(g.clock.instructions(), 1003u);
}

TEST_P(UnicornCpu, PushAndCallFaultBelowTheStackWithoutMovingIt) {
  g.code({0x50, 0x0f, 0x05});
  g.set(&R::rsp, Guest::kStack);
  CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), Guest::kStack - 8);
  EXPECT_EQ(g.get(&R::rsp), Guest::kStack);
  g.code({0xe8, 0, 0, 0, 0, 0x0f, 0x05}, 0x40);
  stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), Guest::kStack - 8);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 0x40);
}

struct Exceptional {
  const char* name;
  std::vector<int> code;
  StopKind kind;
  int vector;
  int rip;
};

TEST_P(UnicornCpu, ExceptionsAndInterruptsHaveTheirVectorAndPlace) {
  const Exceptional cases[] = {
      {"div by zero", {0x31, 0xc9, 0xf7, 0xf1}, StopKind::Exception, 0, 2},
      {"ud2", {0x90, 0x0f, 0x0b}, StopKind::Exception, 6, 1},
      {"int3", {0x90, 0xcc}, StopKind::Exception, 3, 2},
      {"int 3", {0xcd, 0x03}, StopKind::Exception, 3, 2},
      {"int1", {0x90, 0xf1}, StopKind::Exception, 1, 2},
      {"int 0x80", {0x90, 0xcd, 0x80}, StopKind::Interrupt, 0x80, 3},
      {"int 13", {0x90, 0xcd, 0x0d}, StopKind::Interrupt, 13, 3},
      {"int 14", {0x90, 0xcd, 0x0e}, StopKind::Interrupt, 14, 3},
      {"into", {0xce}, StopKind::Exception, 6, 0},
      {"vex", {0xc5, 0xfc, 0x57, 0xc0}, StopKind::Exception, 6, 0},
      {"rdrand", {0x0f, 0xc7, 0xf0}, StopKind::Exception, 6, 0},
      {"x87 division",
       {0xd9, 0x3c, 0x24, 0x66, 0xc7, 0x04, 0x24, 0x3b, 0x03, 0xd9, 0x2c, 0x24, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b},
       StopKind::Exception,
       16,
       18},
  };
  g.map_new(Guest::kStack - 0x1000, kW | kNx);
  uint64_t at = 0;
  for (const Exceptional& c : cases) {
    SCOPED_TRACE(c.name);
    g.cpu->set_registers({.rsp = Guest::kStack - 64});
    g.cpu->set_fpu_state(initial_fpu_state());
    g.code(c.code, at);
    const CpuStop stop = g.cpu->run();
    EXPECT_STOP(stop, c.kind);
    EXPECT_EQ(stop.vector, c.vector);
    EXPECT_EQ(g.get(&R::rip), Guest::kCode + at + c.rip);
    at += 0x40;
  }
}

TEST_P(UnicornCpu, PrivilegedInstructionsNeverTakeEffect) {
  const std::vector<std::vector<int>> cases = {
      {0xf4},              // hlt
      {0x0f, 0x20, 0xd8},  // mov rax, cr3
      {0x0f, 0x22, 0xd8},  // mov cr3, rax
      {0x0f, 0x21, 0xf8},  // mov rax, dr7
      {0xfa},
      {0xfb},  // cli, sti
      {0xec},
      {0xee},
      {0xe4, 1},
      {0xe7, 1},
      {0x6c},
      {0x6f},
      {0xf3, 0x6e},  // in, out, ins, outs
      {0x0f, 0x30},
      {0x0f, 0x32},
      {0x0f, 0x33},  // wrmsr, rdmsr, rdpmc
      {0x0f, 0x01, 0x17},
      {0x0f, 0x01, 0x1f},
      {0x0f, 0x01, 0x3f},
      {0x0f, 0x01, 0xf8},  // lgdt, lidt, invlpg, swapgs
      {0x0f, 0x00, 0xd0},
      {0x0f, 0x00, 0xd8},
      {0x0f, 0x01, 0xf0},  // lldt, ltr, lmsw
      {0x48, 0x0f, 0x07},
      {0x0f, 0x34},
      {0x0f, 0x35},  // sysret, sysenter, sysexit
      {0x48, 0xcf},
      {0x48, 0xcb},  // iretq, lretq
      {0x0f, 0x06},
      {0x0f, 0x08},
      {0x0f, 0x09},  // clts, invd, wbinvd
      {0x8e, 0xd0},
      {0x8e, 0xd8},  // mov ss, eax; mov ds, eax (0x10)
  };
  g.map_new(Guest::kStack - 0x1000, kW | kNx);
  g.map_new(Guest::kData, kW | kNx);
  uint64_t at = 0;
  for (const std::vector<int>& c : cases) {
    SCOPED_TRACE(fmt::format("{:02x} {:02x}", c[0], c.size() > 1 ? c[1] : 0));
    std::vector<int> bytes = {0xbb, 5, 0, 0, 0};
    bytes.insert(bytes.end(), c.begin(), c.end());
    bytes.insert(bytes.end(), {0xbb, 6, 0, 0, 0, 0x0f, 0x0b});
    g.cpu->set_registers({.rax = 0x10, .rdi = Guest::kData, .rsp = Guest::kStack - 64});
    g.code(bytes, at);
    const uint64_t before = g.clock.instructions();
    const CpuStop stop = g.cpu->run();
    EXPECT_STOP(stop, StopKind::Exception);
    EXPECT_EQ(stop.vector, 13);
    EXPECT_EQ(g.get(&R::rip), Guest::kCode + at + 5);
    EXPECT_EQ(g.get(&R::rbx), 5u);
    EXPECT_EQ(g.get(&R::rax), 0x10u);
    EXPECT_EQ(g.clock.instructions() - before, 1u);
    at += 0x40;
  }
}

TEST_P(UnicornCpu, RdtscIsVirtualTime) {
  g.code({0x90, 0x90, 0x90, 0x0f, 0x31, 0x90, 0x0f, 0x05});
  g.clock.advance(seconds(2));
  g.set(&R::rdx, 99);
  g.set(&R::rbx, 0x1234);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.clock.instructions(), 6u);
  // 2 s and 4 instructions of 1 ns at 2.5 GHz.
  EXPECT_EQ(g.get(&R::rdx) << 32 | g.get(&R::rax), 5'000'000'010u);
  EXPECT_EQ(g.get(&R::rbx), 0x1234u);
}

TEST_P(UnicornCpu, StopsForTheLimitBehindABranchOnly) {
  // 1: dec rcx; nop; jnz 1b; syscall
  g.code({0x48, 0xff, 0xc9, 0x90, 0x75, 0xfa, 0x0f, 0x05});
  g.set(&R::rcx, 100);
  g.clock.set_slice_end(Nanoseconds{10});
  EXPECT_STOP(g.cpu->run(), StopKind::Limit);
  EXPECT_EQ(g.clock.instructions(), 12u);
  EXPECT_EQ(g.get(&R::rcx), 96u);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode);
  // The limit is still reached: one block makes progress.
  EXPECT_STOP(g.cpu->run(), StopKind::Limit);
  EXPECT_EQ(g.get(&R::rcx), 95u);
  g.clock.set_slice_end(std::nullopt);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.clock.instructions(), 301u);
}

TEST_P(UnicornCpu, RequestStopEndsARun) {
  g.code({0xeb, 0xfe});
  g.cpu->request_stop();
  EXPECT_STOP(g.cpu->run(), StopKind::Requested);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode);
  EXPECT_EQ(g.clock.instructions(), 0u);
}

TEST_P(UnicornCpu, RequestStopFromAnotherThreadEndsAnEndlessLoop) {
  g.code({0xeb, 0xfe});
  std::thread other([&] { g.cpu->request_stop(); });
  EXPECT_STOP(g.cpu->run(), StopKind::Requested);
  other.join();
}

TEST_P(UnicornCpu, ContextsKeepAllRegistersApart) {
  g.code({0x48, 0xff, 0xc0, 0xf3, 0x48, 0x0f, 0x2a, 0xc0, 0xd9, 0xe8, 0x0f, 0x05});  // inc rax; cvtsi2ss xmm0,rax; fld1; syscall
  auto a = g.cpu->make_context(), b = g.cpu->make_context();
  g.set(&R::rax, 10);
  g.set(&R::fs_base, 0x1234000);
  g.cpu->save(*a);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  const FpuState after = g.cpu->fpu_state();
  g.cpu->save(*b);
  g.cpu->restore(*a);
  EXPECT_EQ(g.get(&R::rax), 10u);
  EXPECT_EQ(g.get(&R::fs_base), 0x1234000u);
  EXPECT_EQ(g.cpu->fpu_state().fxsave, initial_fpu_state().fxsave);
  g.cpu->restore(*b);
  EXPECT_EQ(g.get(&R::rax), 11u);
  EXPECT_EQ(g.cpu->fpu_state().fxsave, after.fxsave);
}

TEST_P(UnicornCpu, FpuStateIsWhatFxsaveStores) {
  // fldpi; fld1; fxch; then XMM and MXCSR; fxsave [rdi]
  g.code({0xd9, 0xeb, 0xd9, 0xe8, 0xd9, 0xc9, 0x66, 0x48, 0x0f, 0x6e, 0xf8, 0x0f, 0xae, 0x07, 0x0f, 0x05});
  const Pfn frame = g.map_new(Guest::kData, kW);
  g.set(&R::rdi, Guest::kData);
  g.set(&R::rax, 0x0123456789abcdef);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  const FpuState s = g.cpu->fpu_state();
  // Apart from the last instruction and operand pointers (bytes 6 to 23) and what is reserved.
  const auto image = g.ram->read(frame.address(), Bytes{416});
  for (size_t i = 0; i < 416; ++i) {
    if (i == 5 || (i >= 6 && i < 24) || (i >= 32 && i < 160 && i % 16 >= 10)) continue;
    EXPECT_EQ(static_cast<int>(image[i]), static_cast<int>(s.fxsave[i])) << "byte " << i;
  }
  EXPECT_EQ(static_cast<int>(s.fxsave[4]), 0xc0);
  // And it comes back.
  g.cpu->set_fpu_state(initial_fpu_state());
  g.cpu->set_fpu_state(s);
  EXPECT_EQ(g.cpu->fpu_state().fxsave, s.fxsave);
}

// --- Code that changes

TEST_P(UnicornCpu, CodeThatTheHostRewritesRunsAnewAtEveryPageItIsMappedAt) {
  g.code({0xb8, 1, 0, 0, 0, 0x0f, 0x05});
  g.map(0x900000, *g.code_frame, 0);
  g.code({0xb8, 1, 0, 0, 0, 0x0f, 0x05});
  for (const uint64_t at : {Guest::kCode, uint64_t{0x900000}}) {
    g.set(&R::rip, at);
    EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
    EXPECT_EQ(g.get(&R::rax), 1u);
  }
  g.code({0x90, 0xb8, 2, 0, 0, 0, 0x0f, 0x05});
  const uint64_t before = g.clock.instructions();
  for (const uint64_t at : {Guest::kCode, uint64_t{0x900000}}) {
    g.set(&R::rip, at);
    EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
    EXPECT_EQ(g.get(&R::rax), 2u);
  }
  EXPECT_EQ(g.clock.instructions() - before, 6u);
}

TEST_P(UnicornCpu, CodeThatTheGuestRewritesThroughAnotherPageRunsAnew) {
  g.code({0xb8, 1, 0, 0, 0, 0xc3});                                               // at +0: mov eax,1; ret
  g.code({0xff, 0xd3, 0x90, 0xc6, 0x47, 0x01, 2, 0xff, 0xd3, 0x0f, 0x05}, 0x40);  // call rbx; nop; mov byte [rdi+1],2; call rbx; syscall
  g.map(Guest::kData, *g.code_frame, kW);
  g.map_new(Guest::kStack - 0x1000, kW);
  g.set(&R::rsp, Guest::kStack);
  g.set(&R::rbx, Guest::kCode);
  g.set(&R::rdi, Guest::kData);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 2u);
  EXPECT_EQ(g.clock.instructions(), 9u);
}

TEST_P(UnicornCpu, CodeMayRewriteItsOwnBlock) {
  // mov byte [rip+3],77 (to the immediate of the next); nop;nop; mov al,11; syscall
  g.code({0xc6, 0x05, 0x03, 0, 0, 0, 77, 0x90, 0x90, 0xb0, 11, 0x0f, 0x05});
  g.entry(Guest::kCode).raw |= kW;
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 77u);
  EXPECT_EQ(g.clock.instructions(), 5u);
}

TEST_P(UnicornCpu, ALoopMayWriteDataOnItsOwnPage) {
  // 1: inc dword [rip+0xf0]; mov eax,[rip+...]; dec ecx; jnz 1b; syscall
  g.code({0xff, 0x05, 0xfa, 0, 0, 0, 0x8b, 0x05, 0xf4, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf0, 0x0f, 0x05});
  g.entry(Guest::kCode).raw |= kW;
  g.set(&R::rcx, 500);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 500u);
  EXPECT_EQ(g.clock.instructions(), 2001u);
  if (exact()) {
    EXPECT_EQ(g.mmu.counters().l1d.accesses, 1500u);
    EXPECT_EQ(g.mmu.counters().l1i.accesses, 501u);
  }
}

TEST_P(UnicornCpu, APageThatWasDataAndIsRunLaterRunsItsOwnCode) {
  // mov eax,[rdi]; syscall; jmp rdi
  g.code({0x8b, 0x07, 0x0f, 0x05, 0xff, 0xe7});
  g.map_new(Guest::kData, kW | kNx);
  g.set(&R::rdi, Guest::kData);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  g.entry(Guest::kData).raw &= ~kNx;
  g.mmu.invalidate_page(VirtAddr{Guest::kData}, Pcid{1}, FlushReason::LocalMmShootdown);
  g.poke(g.entry(Guest::kData).pfn(), 0, {0xb8, 9, 0, 0, 0, 0x0f, 0x05});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 9u);
}

// --- The soft TLB

TEST_P(UnicornCpu, AnInvalidatedPageIsAskedForAgain) {
  g.code({0x48, 0x8b, 0x07, 0x0f, 0x05, 0x48, 0x8b, 0x07, 0x0f, 0x05});
  g.map_new(Guest::kData, kW);
  g.set(&R::rdi, Guest::kData);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  g.unmap(Guest::kData);
  EXPECT_STOP(g.cpu->run(), StopKind::Fault);
  const Pfn other = g.map_new(Guest::kData, kW);
  g.poke(other, 0, {5});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 5u);
}

// Resolves every fault on kData.. by mapping a fresh frame, and for a write to a read-only page copies it, as COW does.
class Pager : public FaultService {
 public:
  explicit Pager(Guest& g) : g_(g) {}
  bool resolve_without_waiting(const Fault& fault, Access access) override {
    ++faults;
    const uint64_t page = fault.address.page_floor().value();
    if (page >= limit) return false;
    Pte& e = g_.entry(page);
    if (!e.present()) {
      e = make_pte(g_.new_frame(), Pte::kPresent | Pte::kUser | (access == Access::Write ? kW : 0));
    } else {
      const Pfn to = g_.new_frame();
      g_.ram->copy_frame(to, e.pfn());
      e = make_pte(to, Pte::kPresent | Pte::kUser | kW);
      g_.mmu.invalidate_page(VirtAddr{page}, Pcid{1}, FlushReason::LocalMmShootdown);
    }
    g_.clock.advance(Nanoseconds{37});
    return true;
  }
  int faults = 0;
  uint64_t limit = UINT64_MAX;

 private:
  Guest& g_;
};

TEST_P(UnicornCpu, FaultsThatNeedNotWaitAreResolvedInsideTheAccess) {
  // mov rax,[rdi]; inc qword [rdi]; mov rbx,[rdi]; syscall
  g.code({0x48, 0x8b, 0x07, 0x48, 0xff, 0x07, 0x48, 0x8b, 0x1f, 0x0f, 0x05});
  Pager pager(g);
  g.cpu->set_fault_service(&pager);
  g.set(&R::rdi, Guest::kData + 0x10);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(pager.faults, 2);
  EXPECT_EQ(g.get(&R::rbx), 1u);
  EXPECT_EQ(g.clock.instructions(), 4u);
}

TEST_P(UnicornCpu, CopyOnWriteOfThePageThatRunsIsSeenAtOnce) {
  // A loop on one page that rewrites its own immediate after the page was copied: mov byte [rip+imm],2; jmp 1f; 1: mov al,1; dec ecx; jnz;
  // syscall
  g.code({0xb0, 1, 0xc6, 0x05, 0xf8, 0xff, 0xff, 0xff, 2, 0xff, 0xc9, 0x75, 0xf3, 0x0f, 0x05});
  Pager pager(g);
  g.cpu->set_fault_service(&pager);
  g.set(&R::rcx, 3);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 2u);
  EXPECT_EQ(pager.faults, 1);
  EXPECT_EQ(g.clock.instructions(), 13u);
}

TEST_P(UnicornCpu, WhatLiesBeforeAnUnmappedCodePageRunsFirst) {
  std::vector<int> bytes(14, 0x90);  // the block begins two bytes before them and walks over the end of the page
  bytes.insert(bytes.begin(), {0xb3, 7});
  g.code(bytes, 0xff0);
  const CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.access, Access::Fetch);
  EXPECT_EQ(stop.fault.address.value(), Guest::kCode + 0x1000);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 0x1000);
  EXPECT_EQ(g.get(&R::rbx), 7u);
  EXPECT_EQ(g.clock.instructions(), 15u);
  const Pfn second = g.map_new(Guest::kCode + 0x1000, 0);
  g.poke(second, 0, {0x0f, 0x05});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.clock.instructions(), 16u);
}

TEST_P(UnicornCpu, AnInstructionThatCrossesIntoAnUnmappedPageFaultsThere) {
  g.code({0x90, 0xb8, 1, 2}, 0xffc);
  CpuStop stop = g.cpu->run();
  EXPECT_STOP(stop, StopKind::Fault);
  EXPECT_EQ(stop.fault.address.value(), Guest::kCode + 0x1000);
  EXPECT_EQ(g.get(&R::rip), Guest::kCode + 0xffd);
  EXPECT_EQ(g.clock.instructions(), 1u);
  g.poke(g.map_new(Guest::kCode + 0x1000, 0), 0, {3, 4, 0x0f, 0x05});
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.get(&R::rax), 0x04030201u);
  EXPECT_EQ(g.clock.instructions(), 3u);
}

TEST_P(UnicornCpu, HundredsOfX87InstructionsInARowDoNotHurtTheHost) {
  if (!translated_blocks_are_bounded()) GTEST_SKIP() << "this Unicorn cannot be kept from making long blocks";
  std::vector<int> bytes;
  for (int i = 0; i < 1500; ++i) bytes.insert(bytes.end(), {0xd9, 0xc9});  // fxch
  bytes.insert(bytes.end(), {0x0f, 0x05});
  g.code(bytes);
  EXPECT_STOP(g.cpu->run(), StopKind::Syscall);
  EXPECT_EQ(g.clock.instructions(), 1501u);
}

TEST_P(UnicornCpu, SingleSteppingTrapsBehindEachInstruction) {
  g.code({0x90, 0x90, 0x0f, 0x05});
  g.set(&R::rflags, 0x302);
  for (int i = 1; i <= 2; ++i) {
    const CpuStop stop = g.cpu->run();
    EXPECT_STOP(stop, StopKind::Exception);
    EXPECT_EQ(stop.vector, 1);
    EXPECT_EQ(g.get(&R::rip), Guest::kCode + i);
    EXPECT_EQ(g.clock.instructions(), static_cast<uint64_t>(i));
  }
}

}  // namespace
}  // namespace vitro::hw
