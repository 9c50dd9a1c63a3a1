// A small machine for file-system tests: 32 MiB of guest memory, a disk, an overlay root over a directory of host files that the test makes.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "vitro/fs/vfs.h"
#include "vitro/hw/disk.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::fs::test {

// The only task of the machine: waiting lets virtual time pass until the queue is woken. A wait that nothing will end is interrupted.
class SoloTask final : public Blocking {
 public:
  explicit SoloTask(hw::Clock& clock) : clock_(clock) {}
  Status wait(WaitQueue& queue, Interruptible, std::optional<Nanoseconds>) override {
    struct Self final : Waiter {
      void wake() override { woken = true; }
      bool woken = false;
    } self;
    queue.add(self);
    ++waits;
    if (while_waiting) std::exchange(while_waiting, nullptr)();
    while (!self.woken && clock_.next_event()) {
      clock_.idle_until(*clock_.next_event());
      clock_.run_due_events();
    }
    queue.remove(self);
    return self.woken ? Status{} : fail(Errno::RestartSys);
  }
  bool may_wait() const override { return true; }
  unsigned waits = 0;
  std::function<void()> while_waiting;  // what "another task" does during the next wait

 private:
  hw::Clock& clock_;
};

template <class T>
Errno error_of(const Result<T>& r) {
  return r ? Errno{} : r.error();
}

class FsRig : public ::testing::Test {
 protected:
  explicit FsRig(Bytes disk_size = mib(4)) {
    host_ = std::filesystem::path(::testing::TempDir()) / ("vitro-fs-" + std::to_string(::getpid()) + "-" +
                                                         ::testing::UnitTest::GetInstance()->current_test_info()->name());
    std::filesystem::remove_all(host_);
    std::filesystem::create_directories(host_);
    ram_ = std::move(*hw::Ram::create(mib(32)));
    physical_ = mm::PhysicalMemory::create(*ram_, mm::PhysicalMemoryConfig{}, tracer_);
    mmu_ = std::make_unique<hw::Mmu>(*ram_, hw::TlbConfig{}, timing_, tracer_);
    vm_ = std::make_unique<mm::VirtualMemory>(*physical_, *mmu_, timing_, tracer_);
    vm_->set_blocking(&task_);
    disk_ = hw::make_memory_disk("vda", disk_size, clock_, timing_);
    store_ = make_block_store(*disk_, task_);
    vfs_ = std::make_unique<Vfs>(Vfs::Services{vm_.get(), hw::Clock::read, &clock_});
    context_.blocking = &task_;
    context_.credentials = &who_;
  }
  ~FsRig() override {
    vm_->verify(mm::Verify::Full);
    context_ = {};
    vfs_.reset();
    store_.reset();
    vm_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(host_, ignored);
  }

  // The overlay with the test's directory at `guest`; call after the host files are made.
  void mount_overlay(const std::string& guest = "/host") {
    OverlayConfig config;
    config.offers.push_back({host_.string(), guest});
    mount_overlay(config);
  }
  void mount_overlay(const OverlayConfig& config) {
    auto fs = make_overlay(*vfs_, config, *store_);
    ASSERT_TRUE(fs.has_value()) << fs.error().what;
    ASSERT_TRUE(vfs_->mount("/", *fs, "overlay"));
  }
  void host_file(const std::string& name, const std::string& text, unsigned mode = 0644) {
    std::filesystem::create_directories((host_ / name).parent_path());
    std::ofstream(host_ / name, std::ios::binary) << text;
    std::filesystem::permissions(host_ / name, static_cast<std::filesystem::perms>(mode));
  }

  Result<std::shared_ptr<File>> open(const std::string& path, unsigned flags = kOpenRead, uint32_t mode = 0644) {
    return vfs_->open(context_, nullptr, path, flags, mode);
  }
  Errno open_error(const std::string& path, unsigned flags = kOpenRead) { return error_of(open(path, flags)); }
  std::string read(File& f, size_t count = 1 << 20) {
    std::string text(count, '\0');
    BufferSink sink(std::as_writable_bytes(std::span(text)));
    const auto n = f.read(count, sink, task_);
    EXPECT_TRUE(n.has_value()) << (n ? "" : std::string(errno_name(n.error())));
    text.resize(n.value_or(0));
    return text;
  }
  std::string read(const std::string& path) {
    auto f = open(path);
    EXPECT_TRUE(f.has_value()) << path << ": " << (f ? "" : std::string(errno_name(f.error())));
    if (!f) return {};
    std::string all, part;
    while (!(part = read(**f)).empty()) all += part;
    return all;
  }
  Result<size_t> write(File& f, std::string_view text) {
    BufferSource source(std::as_bytes(std::span(text)));
    return f.write(text.size(), source, task_);
  }
  void write(const std::string& path, std::string_view text, unsigned flags = kOpenWrite | kOpenCreate | kOpenTruncate) {
    auto f = open(path, flags);
    ASSERT_TRUE(f.has_value()) << path << ": " << errno_name(f.error());
    const auto n = write(**f, text);
    ASSERT_TRUE(n.has_value()) << path << ": " << errno_name(n.error());
    EXPECT_EQ(*n, text.size());
  }
  Attributes stat(const std::string& path, Follow follow = Follow::No) {
    const auto a = vfs_->stat(context_, nullptr, path, follow);
    EXPECT_TRUE(a.has_value()) << path << ": " << (a ? "" : std::string(errno_name(a.error())));
    return a.value_or(Attributes{});
  }
  Errno stat_error(const std::string& path, Follow follow = Follow::Yes) { return error_of(vfs_->stat(context_, nullptr, path, follow)); }
  std::vector<std::string> names(const std::string& path) {
    auto f = open(path, kOpenDirectory);
    EXPECT_TRUE(f.has_value()) << path << ": " << (f ? "" : std::string(errno_name(f.error())));
    std::vector<std::string> all;
    if (f) {
      EXPECT_TRUE((*f)->list([&](const DirectoryEntry& e) { return all.emplace_back(e.name), true; }));
    }
    std::erase_if(all, [](const std::string& n) { return n == "." || n == ".."; });
    return all;
  }
  Status mkdir(const std::string& path, uint32_t mode = 0755) { return vfs_->make_directory(context_, nullptr, path, mode); }
  Status rmdir(const std::string& path) { return vfs_->remove_directory(context_, nullptr, path); }
  Status unlink(const std::string& path) { return vfs_->unlink(context_, nullptr, path); }
  Status symlink(const std::string& target, const std::string& path) { return vfs_->symlink(context_, target, nullptr, path); }
  Status link(const std::string& from, const std::string& to) { return vfs_->link(context_, nullptr, from, nullptr, to, Follow::No); }
  Status rename(const std::string& from, const std::string& to, unsigned flags = 0) { return vfs_->rename(context_, nullptr, from, nullptr, to, flags); }
  void become(uint32_t uid) {
    who_ = {};
    who_.uid = who_.euid = who_.suid = who_.fsuid = uid;
    who_.gid = who_.egid = who_.sgid = who_.fsgid = uid;
  }
  // Throws the page cache of a file away after writing it back, so that the next read comes from storage.
  void evict(const std::string& path) {
    auto f = open(path, kOpenRead);
    ASSERT_TRUE(f.has_value());
    ASSERT_TRUE((*f)->inode().sync());
    (*f)->inode().page_cache()->drop_range(PageIndex{0}, Pages{UINT64_MAX});
  }
  uint64_t frames(mm::FrameState s) const { return physical_->frames_by_state()[static_cast<size_t>(s)]; }

  std::filesystem::path host_;
  Tracer tracer_;
  hw::TimingModel timing_;
  hw::Clock clock_{400};
  SoloTask task_{clock_};
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<mm::PhysicalMemory> physical_;
  std::unique_ptr<hw::Mmu> mmu_;
  std::unique_ptr<mm::VirtualMemory> vm_;
  std::unique_ptr<hw::Disk> disk_;
  std::unique_ptr<BlockStore> store_;
  std::unique_ptr<Vfs> vfs_;
  Credentials who_;
  PathContext context_;
};

}  // namespace vitro::fs::test
