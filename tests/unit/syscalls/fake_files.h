// Small stand-ins for what files and sockets need.
#pragma once

#include <memory>

#include "vitro/base/wait_queue.h"
#include "vitro/fs/file.h"
#include "vitro/fs/inode.h"
#include "vitro/mm/kernel_object.h"

namespace vitro::syscalls {

class FakeFileSystem final : public fs::FileSystem {
 public:
  std::string_view type_name() const override { return "fake"; }
  std::shared_ptr<fs::Inode> root() override { return nullptr; }
  fs::FileSystemStatistics statistics() override { return {}; }
  uint64_t device() const override { return 1; }
};

class FakeInode final : public fs::Inode {
 public:
  explicit FakeInode(uint32_t mode = 0600) : mode_(mode) {}
  fs::FileSystem& file_system() override {
    static FakeFileSystem fake;
    return fake;
  }
  fs::Attributes attributes() override {
    fs::Attributes a;
    a.mode = mode_;
    return a;
  }
  Status set_attributes(const fs::AttributeChange&) override { return {}; }

 private:
  uint32_t mode_;
};

// Ready for what `events` says; raise() adds to it and wakes.
class FakeFile final : public fs::File {
 public:
  explicit FakeFile(uint32_t mode = fs::kFifo | 0600) : fs::File(std::make_shared<FakeInode>(mode), fs::kOpenReadWrite) {}
  unsigned poll(fs::PollTable* table) override {
    if (table) table->wait_on(queue);
    return events;
  }
  void raise(unsigned e) {
    events |= e;
    queue.wake_all();
  }
  unsigned events = 0;
  WaitQueue queue;
};

// A task that would wait for ever.
class NeverWaits final : public Blocking {
 public:
  Status wait(WaitQueue&, Interruptible, std::optional<Nanoseconds>) override {
    ++waits;
    return fail(Errno::RestartSys);
  }
  bool may_wait() const override { return true; }
  int waits = 0;
};

class FreeCaches final : public mm::KernelCaches {
 public:
  Result<mm::SlabObject> allocate(mm::KernelCache, mm::Gfp) override { return mm::SlabObject{}; }
  Result<mm::SlabObject> allocate_bytes(Bytes, mm::Gfp) override {
    if (fails) return fail(Errno::NoMemory);
    return mm::SlabObject{};
  }
  bool fails = false;
};

}  // namespace vitro::syscalls
