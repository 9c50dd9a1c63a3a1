#include "kernel/signal_frame.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <ucontext.h>

#include <cstring>

namespace vitro::kernel {
namespace {

// The host is x86-64 Linux: its headers are the oracle.
TEST(SignalFrame, LayoutIsTheOneOfTheHeaders) {
  static_assert(sizeof(UserContext) == offsetof(ucontext_t, uc_sigmask) + 8);
  EXPECT_EQ(offsetof(UserContext, context), offsetof(ucontext_t, uc_mcontext));
  EXPECT_EQ(offsetof(UserContext, mask), offsetof(ucontext_t, uc_sigmask));
  EXPECT_EQ(offsetof(SignalContext, rip), offsetof(mcontext_t, gregs) + REG_RIP * 8);
  EXPECT_EQ(offsetof(SignalContext, rsp), offsetof(mcontext_t, gregs) + REG_RSP * 8);
  EXPECT_EQ(offsetof(SignalContext, rax), offsetof(mcontext_t, gregs) + REG_RAX * 8);
  EXPECT_EQ(offsetof(SignalContext, cr2), offsetof(mcontext_t, gregs) + REG_CR2 * 8);
  EXPECT_EQ(offsetof(SignalContext, fpstate), offsetof(mcontext_t, fpregs));
}

TEST(SignalFrame, SkipsTheRedZoneAndAlignsLikeACall) {
  for (uint64_t sp = 0x7fffffffe000; sp < 0x7fffffffe080; ++sp) {
    const auto place = place_frame(sp, {}, false);
    ASSERT_TRUE(place);
    EXPECT_EQ(place->frame % 16, 8u);
    EXPECT_EQ(place->fpstate % 64, 0u);
    EXPECT_LE(place->fpstate + kFxsaveSize, sp - 128);
    EXPECT_LE(place->frame + sizeof(SignalFrame), place->fpstate);
  }
}

TEST(SignalFrame, GoesToTheAlternateStackWhereAsked) {
  const AlternateStack alternate{0x10000, 0x2000, 0};
  EXPECT_GT(place_frame(0x7fffffffe000, alternate, false)->frame, 0x12000u);
  const auto place = place_frame(0x7fffffffe000, alternate, true);
  ASSERT_TRUE(place);
  EXPECT_GT(place->frame, 0x10000u);
  EXPECT_LE(place->fpstate + kFxsaveSize, 0x12000u);
  // Already on it: further down, and not beyond its end.
  const auto nested = place_frame(place->frame, alternate, true);
  ASSERT_TRUE(nested);
  EXPECT_LT(nested->frame, place->frame);
  EXPECT_FALSE(place_frame(0x10100, alternate, true));
  // Disabled: as if it were not there.
  EXPECT_GT(place_frame(0x7fffffffe000, {0, 0, kSsDisable}, true)->frame, 0x7fff00000000u);
  // Auto-disarming: always from the top.
  const AlternateStack disarming{0x10000, 0x2000, kSsAutoDisarm};
  EXPECT_EQ(place_frame(0x11000, disarming, true)->frame, place->frame);
}

TEST(SignalFrame, RegistersSurviveTheRoundTrip) {
  hw::UserRegisters r;
  uint64_t* words = &r.rax;
  for (int i = 0; i < 16; ++i) words[i] = 0x1111 * static_cast<uint64_t>(i + 1);
  r.rip = 0x401000, r.rflags = 0x246, r.fs_base = 0x7000, r.gs_base = 0x8000;
  hw::UserRegisters back;
  back.fs_base = 0x7000, back.gs_base = 0x8000;
  ASSERT_TRUE(registers_from(context_from(r), back));
  EXPECT_EQ(std::memcmp(&r, &back, sizeof r), 0);
}

TEST(SignalFrame, RefusesWhatCannotBeReturnedTo) {
  hw::UserRegisters r, out;
  r.rip = 0x401000;
  SignalContext good = context_from(r);
  EXPECT_TRUE(registers_from(good, out));
  SignalContext bad = good;
  bad.cs = 0x10;
  EXPECT_FALSE(registers_from(bad, out));
  bad = good;
  bad.ss = 0;
  EXPECT_FALSE(registers_from(bad, out));
  bad = good;
  bad.rip = 0xffff800000000000;
  EXPECT_FALSE(registers_from(bad, out));
}

TEST(SignalFrame, SystemFlagsCannotBeChanged) {
  hw::UserRegisters r;
  r.rip = 0x401000;
  SignalContext c = context_from(r);
  c.rflags = ~0ull;
  ASSERT_TRUE(registers_from(c, r));
  EXPECT_EQ(r.rflags & 0x3000, 0u) << "IOPL";
  EXPECT_EQ(r.rflags & 0x20000, 0u) << "VM";
  EXPECT_TRUE(r.rflags & 0x200) << "IF";
  c.rflags = 0;
  ASSERT_TRUE(registers_from(c, r));
  EXPECT_TRUE(r.rflags & 0x200) << "IF stays on";
}

TEST(SignalInfo, LaysOutWhatTheHeadersSay) {
  auto host = [](const SignalInfo& info) {
    siginfo_t s;
    const auto bytes = encode_signal_info(info);
    static_assert(sizeof s == kSigInfoSize);
    std::memcpy(&s, bytes.data(), sizeof s);
    return s;
  };
  SignalInfo fault{.signal = SIGSEGV, .code = SEGV_MAPERR, .address = 0x1234567890};
  EXPECT_EQ(reinterpret_cast<uint64_t>(host(fault).si_addr), 0x1234567890u);
  SignalInfo child{.signal = SIGCHLD,
                   .code = CLD_KILLED,
                   .sender = Pid{77},
                   .sender_uid = 5,
                   .status = 9,
                   .user_time = 30'000'000,
                   .system_time = 20'000'000};
  EXPECT_EQ(host(child).si_pid, 77);
  EXPECT_EQ(host(child).si_uid, 5u);
  EXPECT_EQ(host(child).si_status, 9);
  EXPECT_EQ(host(child).si_utime, 3);
  EXPECT_EQ(host(child).si_stime, 2);
  SignalInfo queued{.signal = SIGUSR1, .code = SI_QUEUE, .sender = Pid{8}, .sender_uid = 9, .value = 0xdeadbeefcafe};
  EXPECT_EQ(host(queued).si_pid, 8);
  EXPECT_EQ(reinterpret_cast<uint64_t>(host(queued).si_value.sival_ptr), 0xdeadbeefcafeu);
  SignalInfo timer{.signal = SIGALRM, .code = SI_TIMER, .value = 42, .timer_id = 3, .overrun = 7};
  EXPECT_EQ(host(timer).si_timerid, 3);
  EXPECT_EQ(host(timer).si_overrun, 7);
  EXPECT_EQ(host(timer).si_value.sival_int, 42);
  for (const SignalInfo& info : {fault, child, queued, timer})
    EXPECT_EQ(encode_signal_info(decode_signal_info(encode_signal_info(info))), encode_signal_info(info));
}

}  // namespace
}  // namespace vitro::kernel
