// Restartable sequences (kernel/rseq.c): user code between two addresses that must not be interleaved with other tasks of its CPU. A task that left
// the CPU, or gets a signal, inside one goes on at its abort handler.
#include <cstddef>

#include "kernel/state.h"

namespace vitro::kernel {
namespace {

constexpr unsigned kUnregister = 1;
constexpr uint32_t kUninitialised = ~0u;  // RSEQ_CPU_ID_UNINITIALIZED

// include/uapi/linux/rseq.h
struct UserRseq {
  uint32_t cpu_id_start, cpu_id;
  uint64_t sequence;
  uint32_t flags, padding[3];
};
static_assert(sizeof(UserRseq) == 32);
struct UserSequence {
  uint32_t version, flags;
  uint64_t start, length, abort;
};
static_assert(sizeof(UserSequence) == 32);

struct UserCpuIds {
  uint32_t start, id;
};

// rseq_ip_fixup: where the task goes on, if not where it was.
Result<std::optional<uint64_t>> abort_address(Task& t, uint64_t ip, bool event) {
  mm::UserAccess user = t.user();
  const VirtAddr sequence_field{t.rseq_area + offsetof(UserRseq, sequence)};
  const uint64_t at = TRY(user.get<uint64_t>(sequence_field));
  if (at == 0) return std::nullopt;
  const uint64_t limit = mm::kUserEnd.value();
  if (at >= limit) return fail(Errno::Invalid);
  const auto s = TRY(user.get<UserSequence>(VirtAddr{at}));
  if (s.start >= limit || s.start + s.length >= limit || s.abort >= limit || s.version > 0) return fail(Errno::Invalid);
  if (s.start + s.length < s.start) return fail(Errno::Invalid);
  if (s.abort - s.start < s.length) return fail(Errno::Invalid);  // the handler must not lie in the sequence
  if (TRY(user.get<uint32_t>(VirtAddr{s.abort - sizeof(uint32_t)})) != t.rseq_signature) return fail(Errno::Invalid);
  if (ip - s.start >= s.length) {
    TRY(user.put(sequence_field, uint64_t{0}));  // it was left without our doing
    return std::nullopt;
  }
  if (s.flags != 0 || TRY(user.get<uint32_t>(VirtAddr{t.rseq_area + offsetof(UserRseq, flags)})) != 0) return fail(Errno::Invalid);
  if (!event) return std::nullopt;
  TRY(user.put(sequence_field, uint64_t{0}));
  return s.abort;
}

}  // namespace

// __rseq_handle_notify_resume. Reading the area may wait, and so set the event again: the caller looks once more.
void Kernel::State::settle_rseq(Task& t) {
  if (!std::exchange(t.rseq_event, false) || t.rseq_area == 0 || t.exiting) return;
  const auto target = abort_address(t, cpu.instruction_pointer(), true);
  if (target && *target) {
    hw::UserRegisters r = cpu.registers();
    r.rip = **target;
    cpu.set_registers(r);
  }
  const UserCpuIds ids{0, 0};  // there is one CPU
  if (target && t.user().put(VirtAddr{t.rseq_area}, ids)) return;
  SignalInfo info;
  info.signal = kSigSegv;
  info.code = kSiKernel;
  kernel.force_signal(t, info);
}

Result<long> Kernel::rseq(Task& t, uint64_t area, uint32_t length, unsigned flags, uint32_t signature) {
  if (flags & kUnregister) {
    if (flags & ~kUnregister) return fail(Errno::Invalid);
    if (t.rseq_area == 0 || t.rseq_area != area || length != sizeof(UserRseq)) return fail(Errno::Invalid);
    if (t.rseq_signature != signature) return fail(Errno::NotPermitted);
    TRY(t.user().put(VirtAddr{area}, UserCpuIds{0, kUninitialised}));
    t.rseq_area = 0, t.rseq_length = t.rseq_signature = 0, t.rseq_event = false;
    return 0;
  }
  if (flags != 0) return fail(Errno::Invalid);
  if (t.rseq_area != 0) {
    if (t.rseq_area != area || length != sizeof(UserRseq)) return fail(Errno::Invalid);
    return fail(t.rseq_signature != signature ? Errno::NotPermitted : Errno::Busy);
  }
  if (area == 0 || area % sizeof(UserRseq) != 0 || length != sizeof(UserRseq)) return fail(Errno::Invalid);
  if (area > mm::kUserEnd.value() - sizeof(UserRseq)) return fail(Errno::Fault);
  t.rseq_area = area, t.rseq_length = length, t.rseq_signature = signature;
  t.rseq_event = true;  // so that the CPU's number is there when the call returns
  return 0;
}

}  // namespace vitro::kernel
