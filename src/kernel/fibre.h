// A kernel stack that can be left in the middle of a call and returned to: what a sleeping task is made of.
//
//   Fibre f(stacks, [&] { step_one(); Fibre::suspend(); step_two(); });
//   f.resume();   // runs step_one
//   f.resume();   // runs step_two; f.ended() is now true
//
// Over Boost.Context's fcontext, with guard-paged stacks. Only one fibre runs at a time, on one host thread, and a fibre is resumed from
// outside of all fibres. No exception may leave the body, and the body must have ended before the Fibre is destroyed, so that destructors
// run.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

namespace vitro::kernel {

// Stacks of host memory with an unmapped page below each, kept for reuse.
class FibreStacks {
 public:
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t kStackSize = 1 << 20;  // instrumented frames are several times as large
#else
  static constexpr size_t kStackSize = 256 << 10;
#endif
  FibreStacks() = default;
  FibreStacks(const FibreStacks&) = delete;
  FibreStacks& operator=(const FibreStacks&) = delete;
  ~FibreStacks();
  // Lowest usable byte of a stack of kStackSize bytes.
  void* take();
  void give_back(void* stack);

 private:
  std::vector<void*> free_;
};

class Fibre {
 public:
  Fibre(FibreStacks& stacks, std::function<void()> body);
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre();

  // Runs the body until it suspends or ends. From outside of all fibres.
  void resume();
  // Back to whoever resumed the fibre that runs.
  static void suspend();
  static bool inside() { return running_ != nullptr; }
  bool ended() const { return ended_; }
  // Gives up a body that has not ended: its destructors will not run. Only for a machine that is beyond saving.
  void abandon() { ended_ = true; }

 private:
  static void body_entry(void* from, Fibre* self);
  friend struct FibreEntry;

  FibreStacks& stacks_;
  std::function<void()> body_;
  void* stack_;
  void* context_ = nullptr;  // where the body goes on
  void* resumer_ = nullptr;  // where resume() goes on
  bool ended_ = false;
  // AddressSanitizer's view of both stacks.
  void* own_fake_stack_ = nullptr;
  const void* resumer_stack_ = nullptr;
  size_t resumer_stack_size_ = 0;

  static Fibre* running_;
};

}  // namespace vitro::kernel
