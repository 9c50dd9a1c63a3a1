// What lies on the user stack while a signal handler runs: struct rt_sigframe for x86-64 (arch/x86/include/asm/sigframe.h,
// uapi/asm/sigcontext.h).
//
//   high   ... interrupted stack
//          128 bytes of red zone, skipped
//          FXSAVE image, 512 bytes, 64-byte aligned      <- uc.context.fpstate
//          siginfo, 128 bytes
//          ucontext, 304 bytes
//   rsp -> return address = the restorer                 (rsp is 8 below a multiple of 16, as after a call)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "vitro/hw/cpu.h"
#include "vitro/kernel/signal.h"

namespace vitro::kernel {

struct SignalContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error, trap, old_mask, cr2, fpstate;
  uint64_t reserved[8];
};
static_assert(sizeof(SignalContext) == 256);

struct UserContext {
  uint64_t flags, link;
  uint64_t stack_base;
  uint32_t stack_flags, stack_padding;
  uint64_t stack_size;
  SignalContext context;
  uint64_t mask;
};
static_assert(offsetof(UserContext, context) == 40 && sizeof(UserContext) == 304);

struct SignalFrame {
  uint64_t return_address;
  UserContext user;
  std::array<std::byte, kSigInfoSize> info;
};
static_assert(offsetof(SignalFrame, info) == 312 && sizeof(SignalFrame) == 440);

inline constexpr uint16_t kUserCs = 0x33, kUserSs = 0x2b;
inline constexpr uint64_t kUcSigcontextSs = 2, kUcStrictRestoreSs = 4;
inline constexpr size_t kFxsaveSize = 512;
inline constexpr uint32_t kSsOnStack = 1, kSsDisable = 2, kSsAutoDisarm = 1u << 31;
// sysconf(_SC_MINSIGSTKSZ), AT_MINSIGSTKSZ: frame, FXSAVE image and both alignments (arch/x86/kernel/signal.c: init_sigframe_size).
inline constexpr uint64_t kMinimumSignalStack = (sizeof(SignalFrame) + 15 + kFxsaveSize + 63 + 15) & ~15ull;

// True while `sp` lies in the alternate stack (on_sig_stack); always false for SS_AUTODISARM, which takes the stack away while it is in
// use.
constexpr bool on_alternate_stack(const AlternateStack& s, uint64_t sp) {
  return !(s.flags & kSsAutoDisarm) && sp > s.base && sp - s.base <= s.size;
}

struct FramePlace {
  uint64_t frame = 0;  // of the SignalFrame: the handler's rsp
  uint64_t fpstate = 0;
};
// get_sigframe: nullopt where the alternate stack is too small.
std::optional<FramePlace> place_frame(uint64_t rsp, const AlternateStack& alternate, bool wants_alternate);

SignalContext context_from(const hw::UserRegisters& r);
// The registers a frame restores. `rflags` keeps its system bits; fs_base and gs_base are not in the frame. False: what is there cannot be
// returned to (other segments, an instruction pointer outside of user space).
bool registers_from(const SignalContext& c, hw::UserRegisters& r);

}  // namespace vitro::kernel
