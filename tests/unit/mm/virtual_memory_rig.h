// A small machine's memory for tests of the virtual side: RAM, real physical memory, an MMU, and a file that lies in host memory.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mm/space/virtual_memory_state.h"
#include "vitro/hw/mmu.h"
#include "vitro/hw/ram.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::mm::test {

// A file without a disk: reads and writes are counted, and can be made to fail.
class FakeFile final : public MappedFile, public FileBacking {
 public:
  FakeFile(VirtualMemory& vm, Bytes size, FrameState state = FrameState::FileCache) : bytes(size.value()), cache_(vm, *this, state, 77) {
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(pattern(i));
  }
  static uint8_t pattern(uint64_t offset) { return static_cast<uint8_t>(1 + (offset >> kPageShift) * 7 + (offset & 0x3f)); }

  PageCache& page_cache() override { return cache_; }
  uint64_t device_number() const override { return 8; }
  uint64_t inode_number() const override { return 77; }
  std::string mapped_path() const override { return "/file"; }
  bool opened_for_write() const override { return writable; }
  bool opened_for_read() const override { return readable; }
  void read_pages(PageIndex first, Into pages, Done done) override { done(read_now(first, pages)); }
  Status read_now(PageIndex first, Into pages) {
    ++reads;
    pages_read += pages.size();
    if (while_reading) std::exchange(while_reading, nullptr)();
    if (fail_reads) return fail(Errno::IoError);
    for (size_t i = 0; i < pages.size(); ++i) {
      const uint64_t at = (first.value() + i) << kPageShift;
      std::memset(pages[i].data(), 0, kPageSize);
      if (at < bytes.size()) std::memcpy(pages[i].data(), bytes.data() + at, std::min<uint64_t>(kPageSize, bytes.size() - at));
    }
    return {};
  }
  void write_pages(PageIndex first, From pages, Done done) override {
    Status result;
    for (size_t i = 0; i < pages.size(); ++i)
      if (Status s = write_page(first + Pages{i}, pages[i]); !s && result) result = s;
    done(result);
  }
  Status write_page(PageIndex index, std::span<const std::byte> page) {
    ++writes;
    if (while_writing) std::exchange(while_writing, nullptr)();
    if (fail_writes) return fail(Errno::NoSpace);
    const uint64_t at = index.value() << kPageShift;
    if (at < bytes.size()) std::memcpy(bytes.data() + at, page.data(), std::min<uint64_t>(kPageSize, bytes.size() - at));
    return {};
  }
  Bytes size() const override { return Bytes{bytes.size()}; }

  std::vector<std::byte> bytes;
  bool writable = true, readable = true, fail_reads = false, fail_writes = false;
  unsigned reads = 0, pages_read = 0, writes = 0;
  std::function<void()> while_reading, while_writing;  // what other tasks do while this one waits for storage, once

 private:
  PageCache cache_;
};

struct Recorder final : FaultObserver {
  void fault_handled(const FaultReport& r) override { reports.push_back(r); }
  std::vector<FaultReport> reports;
};

class VirtualMemoryRig : public ::testing::Test {
 protected:
  explicit VirtualMemoryRig(Bytes size = mib(16), const PhysicalMemoryConfig& config = {}, Isolation isolation = Isolation::Off) {
    ram_ = std::move(*hw::Ram::create(size));
    physical_ = PhysicalMemory::create(*ram_, config, tracer_);
    mmu_ = std::make_unique<hw::Mmu>(*ram_, hw::TlbConfig{}, timing_, tracer_);
    vm_ = std::make_unique<VirtualMemory>(*physical_, *mmu_, timing_, tracer_, isolation);
    vm_->set_fault_observer(&recorder_);
    free_at_start_ = used();
  }
  ~VirtualMemoryRig() override {
    verify();
    file_.reset();
  }

  std::unique_ptr<AddressSpace> make_space() {
    auto s = std::move(*AddressSpace::create(*vm_));
    s->set_pcid(hw::Pcid{++next_pcid_});
    return s;
  }
  void load(AddressSpace& s) { mmu_->load_cr3(s.page_table_root(), s.pcid(), hw::Mmu::KeepPcid::Yes); }
  FakeFile& make_file(Bytes size) {
    file_ = std::make_shared<FakeFile>(*vm_, size);
    return *file_;
  }
  void verify() {
    vm_->verify(Verify::Full);
    mmu_->verify();
  }
  // Frames in the states that the virtual side owns.
  uint64_t used() const {
    const auto by = physical_->frames_by_state();
    uint64_t n = 0;
    for (const FrameState s : {FrameState::PageTable, FrameState::Anonymous, FrameState::FileCache, FrameState::Shmem, FrameState::BlockCache, FrameState::Allocated})
      n += by[static_cast<size_t>(s)];
    return n;
  }
  int64_t stat(VmItem i) const { return physical_->stat().get(i); }
  Frame& frame(Pfn f) { return physical_->frames()[f]; }
  static Pte entry(AddressSpace& s, VirtAddr a) { return s.state().tables.get(a); }

  // One access by the guest, as the CPU's fill hook makes it: through the MMU, faulting until it works.
  FaultOutcome access(AddressSpace& s, VirtAddr a, hw::Access how, MayWait may_wait = MayWait::Yes) {
    FaultOutcome last{FaultOutcome::Result::Resolved, FaultKind::Spurious, false};
    for (int i = 0; i < 10; ++i) {
      if (mmu_->translate(a, how, hw::Privilege::User)) return last;
      last = s.handle_fault(a, how, hw::Privilege::User, may_wait);
      if (last.result != FaultOutcome::Result::Resolved) return last;
    }
    ADD_FAILURE() << "the access to " << std::hex << a.value() << " never succeeds";
    return last;
  }
  FaultOutcome touch(AddressSpace& s, VirtAddr a) { return access(s, a, hw::Access::Write); }
  FaultOutcome look(AddressSpace& s, VirtAddr a) { return access(s, a, hw::Access::Read); }
  static uint8_t peek(AddressSpace& s, VirtAddr a) {
    std::byte b{0xee};
    EXPECT_EQ(s.read_remote(a, {&b, 1}), 1u);
    return static_cast<uint8_t>(b);
  }
  static void poke(AddressSpace& s, VirtAddr a, uint8_t value) {
    const auto b = static_cast<std::byte>(value);
    EXPECT_EQ(s.write_remote(a, {&b, 1}), 1u);
  }
  static MmapRequest anonymous(Bytes length, VirtAddr at = VirtAddr{0}) {
    MmapRequest r;
    r.length = length;
    r.protection = VmFlag::Read | VmFlag::Write;
    if (at.value() != 0) r.hint = at, r.fixed = true;
    return r;
  }
  MmapRequest file_mapping(Bytes length, bool shared, VmFlag protection = VmFlag::Read | VmFlag::Write) {
    MmapRequest r;
    r.length = length;
    r.protection = protection;
    r.shared = shared;
    r.file = file_;
    return r;
  }
  static VirtAddr must(const Result<VirtAddr>& r) {
    EXPECT_TRUE(r.has_value()) << (r ? "" : std::string(errno_name(r.error())));
    return r.value_or(VirtAddr{0});
  }

  Tracer tracer_;
  hw::TimingModel timing_;
  Recorder recorder_;
  std::unique_ptr<hw::Ram> ram_;
  std::unique_ptr<PhysicalMemory> physical_;
  std::unique_ptr<hw::Mmu> mmu_;
  std::unique_ptr<VirtualMemory> vm_;
  std::shared_ptr<FakeFile> file_;
  uint64_t free_at_start_ = 0;
  uint16_t next_pcid_ = 0;
};

template <class T>
Errno error_of(const Result<T>& r) {
  return r ? Errno{} : r.error();
}

}  // namespace vitro::mm::test
