#include "vitro/mm/kernel_stacks.h"

namespace vitro::mm {

Result<VirtAddr> KernelStacks::allocate() {
  for (auto& slot : cached_[physical_.current_cpu()]) {
    if (!slot) continue;
    const VirtAddr stack = *slot;
    slot.reset();
    for (Bytes at{0}; at < kKernelStackSize; at += Bytes{kPageSize}) physical_.ram().zero_frame(*vmalloc_.frame_of(stack + at));
    vmalloc_.set_state(stack, FrameState::KernelStack);
    return stack;
  }
  return vmalloc_.allocate(kKernelStackSize, {.flags = Gfp::Kernel | Gfp::Zero, .align = kKernelStackSize, .state = FrameState::KernelStack, .caller = "kernel_clone"});
}

void KernelStacks::free(VirtAddr stack) {
  for (auto& slot : cached_[physical_.current_cpu()]) {
    if (slot) continue;
    slot = stack;
    vmalloc_.set_state(stack, FrameState::Vmalloc);
    return;
  }
  vmalloc_.free(stack);
}

unsigned KernelStacks::cached() const {
  unsigned n = 0;
  for (const auto& cpu : cached_)
    for (const auto& slot : cpu) n += slot.has_value();
  return n;
}

void KernelStacks::drop_cached() {
  for (auto& cpu : cached_)
    for (auto& slot : cpu) {
      if (slot) vmalloc_.free(*slot);
      slot.reset();
    }
}

}  // namespace vitro::mm
