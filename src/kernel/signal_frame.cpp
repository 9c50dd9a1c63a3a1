#include "kernel/signal_frame.h"

#include <cstring>

#include "kernel/signal_sets.h"
#include "kernel/state.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kRedZone = 128;
// arch/x86/kernel/signal.c: FIX_EFLAGS: AC OF DF TF SF ZF AF PF CF RF.
constexpr uint64_t kRestoredFlags = 0x40000 | 0x800 | 0x400 | 0x100 | 0x80 | 0x40 | 0x10 | 0x4 | 0x1 | 0x10000;
constexpr uint64_t kDirection = 0x400, kTrap = 0x100, kResume = 0x10000;
constexpr uint32_t kMxcsrMask = 0xffff;

}  // namespace

std::optional<FramePlace> place_frame(uint64_t rsp, const AlternateStack& alternate, bool wants_alternate) {
  const bool nested = on_alternate_stack(alternate, rsp);
  bool entering = false;
  uint64_t sp = rsp - kRedZone;
  if (wants_alternate && alternate.size != 0 && !on_alternate_stack(alternate, sp)) {
    sp = alternate.base + alternate.size;
    entering = true;
  }
  FramePlace place;
  place.fpstate = sp = (sp - kFxsaveSize) & ~63ull;
  place.frame = ((sp - sizeof(SignalFrame)) & ~15ull) - 8;
  if ((nested || entering) && !(place.frame > alternate.base && place.frame - alternate.base <= alternate.size)) return std::nullopt;
  return place;
}

SignalContext context_from(const hw::UserRegisters& r) {
  SignalContext c{};
  c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11, c.r12 = r.r12, c.r13 = r.r13, c.r14 = r.r14, c.r15 = r.r15;
  c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx, c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp, c.rip = r.rip;
  c.rflags = r.rflags;
  c.cs = kUserCs, c.ss = kUserSs;
  return c;
}

bool registers_from(const SignalContext& c, hw::UserRegisters& r) {
  if ((c.cs | 3) != kUserCs || (c.ss | 3) != kUserSs || c.rip >= mm::kUserEnd.value()) return false;
  r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11, r.r12 = c.r12, r.r13 = c.r13, r.r14 = c.r14, r.r15 = c.r15;
  r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx, r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp, r.rip = c.rip;
  r.rflags = (r.rflags & ~kRestoredFlags) | (c.rflags & kRestoredFlags) | 0x202;
  return true;
}

// arch/x86/kernel/signal.c: __setup_rt_frame. Nothing of the task changes where it fails.
Status Kernel::State::push_frame(Task& t, const SignalInfo& info, const SignalAction& action) {
  if (!(action.flags & kSaRestorer)) return fail(Errno::Fault);  // x86-64 has no other way back
  hw::UserRegisters r = cpu.registers();
  const auto place = place_frame(r.rsp, t.alternate_stack, action.flags & kSaOnStack);
  if (!place) return fail(Errno::Fault);

  SignalFrame frame{};
  frame.return_address = action.restorer;
  frame.user.flags = kUcSigcontextSs | kUcStrictRestoreSs;
  frame.user.stack_base = t.alternate_stack.base;
  frame.user.stack_size = t.alternate_stack.size;
  frame.user.stack_flags = t.alternate_stack.flags;
  frame.user.context = context_from(r);
  const SignalSet mask = t.saved_mask ? *t.saved_mask : t.blocked;
  frame.user.context.old_mask = mask;
  frame.user.context.error = t.fault_error_code;
  frame.user.context.trap = t.fault_vector;
  frame.user.context.cr2 = t.fault_address;
  frame.user.context.fpstate = place->fpstate;
  frame.user.mask = mask;
  if (action.flags & kSaSigInfo) frame.info = encode_signal_info(info);
  const hw::FpuState fpu = cpu.fpu_state();

  mm::UserAccess user = t.user();
  TRY(user.copy_out(VirtAddr{place->fpstate}, fpu.fxsave));
  TRY(user.put(VirtAddr{place->frame}, frame));

  t.saved_mask.reset();
  if (t.alternate_stack.flags & kSsAutoDisarm) t.alternate_stack = {};
  r.rdi = static_cast<uint64_t>(info.signal);
  r.rsi = place->frame + offsetof(SignalFrame, info);
  r.rdx = place->frame + offsetof(SignalFrame, user);
  r.rax = 0;  // a variadic handler: no vector registers
  r.rip = action.handler;
  r.rsp = place->frame;
  r.rflags &= ~(kDirection | kTrap | kResume);
  cpu.set_registers(r);
  return {};
}

Result<long> Kernel::sigreturn(Task& t) {
  State& s = *state_;
  t.registers_replaced = true;
  auto bad_frame = [&]() -> Result<long> {
    s.force_default(t, kSigSegv);
    return 0;
  };
  hw::UserRegisters r = s.cpu.registers();
  mm::UserAccess user = t.user();
  const auto context =
      user.get<UserContext>(VirtAddr{r.rsp - 8 + offsetof(SignalFrame, user)});  // the restorer's RET took the return address
  if (!context) return bad_frame();
  set_blocked(t, context->mask);
  if (!registers_from(context->context, r)) return bad_frame();
  hw::FpuState fpu = hw::initial_fpu_state();
  if (context->context.fpstate) {
    if (!user.copy_in(VirtAddr{context->context.fpstate}, fpu.fxsave)) return bad_frame();
    uint32_t mxcsr;
    std::memcpy(&mxcsr, fpu.fxsave.data() + 24, sizeof mxcsr);
    if (mxcsr & ~kMxcsrMask) return bad_frame();  // FXRSTOR would fault
  }
  s.cpu.set_fpu_state(fpu);
  s.cpu.set_registers(r);
  // restore_altstack: errors do not matter; while the stack is in use it cannot change.
  if (!on_alternate_stack(t.alternate_stack, r.rsp)) {
    const uint32_t mode = context->stack_flags & ~kSsAutoDisarm;
    if (mode == kSsDisable)
      t.alternate_stack = {0, 0, context->stack_flags};
    else if ((mode == 0 || mode == kSsOnStack) && context->stack_size >= 2048)
      t.alternate_stack = {context->stack_base, context->stack_size, context->stack_flags};
  }
  return static_cast<long>(r.rax);
}

}  // namespace vitro::kernel
