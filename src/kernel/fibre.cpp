#include "kernel/fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <boost/context/detail/fcontext.hpp>
#include <utility>

#include "vitro/base/check.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace vitro::kernel {
namespace {

namespace context = boost::context::detail;

size_t guard_size() { return static_cast<size_t>(::sysconf(_SC_PAGESIZE)); }

// Tell AddressSanitizer that the stack is about to change, and that it has. Nothing in other builds.
void start_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* bottom, [[maybe_unused]] size_t size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_start_switch_fiber(save, bottom, size);
#endif
}
void finish_switch([[maybe_unused]] void* saved, [[maybe_unused]] const void** old_bottom, [[maybe_unused]] size_t* old_size) {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(saved, old_bottom, old_size);
#endif
}

}  // namespace

Fibre* Fibre::running_ = nullptr;

FibreStacks::~FibreStacks() {
  for (void* stack : free_) ::munmap(static_cast<std::byte*>(stack) - guard_size(), kStackSize + guard_size());
}

void* FibreStacks::take() {
  if (!free_.empty()) {
    void* stack = free_.back();
    free_.pop_back();
    return stack;
  }
  void* base = ::mmap(nullptr, kStackSize + guard_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(base != MAP_FAILED, "no host memory for a fibre's stack");
  void* stack = static_cast<std::byte*>(base) + guard_size();
  CHECK(::mprotect(stack, kStackSize, PROT_READ | PROT_WRITE) == 0, "no host memory for a fibre's stack");
  return stack;
}

void FibreStacks::give_back(void* stack) {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(stack, kStackSize);  // the last frames' red zones
#endif
  free_.push_back(stack);
}

// The first frame of every fibre.
struct FibreEntry {
  static void enter(context::transfer_t from) {
    auto* self = static_cast<Fibre*>(from.data);
    Fibre::body_entry(from.fctx, self);
  }
};

Fibre::Fibre(FibreStacks& stacks, std::function<void()> body) : stacks_(stacks), body_(std::move(body)), stack_(stacks.take()) {
  context_ = context::make_fcontext(static_cast<std::byte*>(stack_) + FibreStacks::kStackSize, FibreStacks::kStackSize, &FibreEntry::enter);
}

Fibre::~Fibre() {
  CHECK(ended_, "a fibre was destroyed before its body ended");
  stacks_.give_back(stack_);
}

void Fibre::body_entry(void* from, Fibre* self) {
  finish_switch(nullptr, &self->resumer_stack_, &self->resumer_stack_size_);
  self->resumer_ = from;
  self->body_();
  self->body_ = nullptr;  // what it captured dies on its own stack
  self->ended_ = true;
  running_ = nullptr;
  start_switch(nullptr, self->resumer_stack_, self->resumer_stack_size_);
  context::jump_fcontext(self->resumer_, nullptr);
  CHECK(false, "an ended fibre was resumed");
}

void Fibre::resume() {
  CHECK(!running_ && !ended_, "resume() inside a fibre or of an ended one");
  running_ = this;
  void* fake_stack = nullptr;
  start_switch(&fake_stack, stack_, FibreStacks::kStackSize);
  const context::transfer_t back = context::jump_fcontext(context_, this);
  finish_switch(fake_stack, nullptr, nullptr);
  context_ = back.fctx;
  running_ = nullptr;
}

void Fibre::suspend() {
  Fibre* self = running_;
  CHECK(self, "suspend() outside of a fibre");
  start_switch(&self->own_fake_stack_, self->resumer_stack_, self->resumer_stack_size_);
  const context::transfer_t from = context::jump_fcontext(self->resumer_, nullptr);
  finish_switch(self->own_fake_stack_, &self->resumer_stack_, &self->resumer_stack_size_);
  self->resumer_ = from.fctx;
}

}  // namespace vitro::kernel
