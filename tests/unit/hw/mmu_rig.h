// A machine's memory side for tests: RAM, tables, an MMU, and a soft TLB that holds exactly what it was given and not told to drop.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "test_tables.h"
#include "vitro/base/rng.h"
#include "vitro/hw/mmu.h"

namespace vitro::hw::test {

class FakeSoftTlb final : public SoftTlb {
 public:
  void evict(VirtAddr page) override {
    ++evictions;
    pages.erase(page.vpn().value());
  }
  void flush() override {
    ++flushes;
    pages.clear();
  }
  void fill(VirtAddr address, bool writable) { pages[address.vpn().value()] = writable; }
  // Whether an access is answered here, without anybody knowing of it.
  bool answers(VirtAddr address, Access access) const {
    const auto found = pages.find(address.vpn().value());
    return found != pages.end() && (access != Access::Write || found->second);
  }
  std::map<uint64_t, bool> pages;  // page number -> writable
  size_t evictions = 0, flushes = 0;
};

// Traces kept as text.
class TextSink final : public TraceSink {
 public:
  explicit TextSink(std::vector<std::string>& lines) : lines_(lines) {}
  void write(const TraceRecord& record) override {
    std::string line;
    append_trace_line(line, record);
    const size_t name = line.find(": ");
    lines_.push_back(line.substr(name + 2, line.size() - name - 3));
  }
  Result<void, UserError> flush() override { return {}; }
  bool failed() const override { return false; }

 private:
  std::vector<std::string>& lines_;
};

struct MmuRig {
  explicit MmuRig(const TlbConfig& config = {}, Bytes ram_size = mib(64))
      : ram(make_ram(ram_size)), tables(*ram), mmu(*ram, config, timing, tracer) {
    mmu.set_soft_tlb(&soft);
    mmu.load_cr3(tables.root(), Pcid{1}, Mmu::KeepPcid::No);
  }
  std::vector<std::string>& trace(const char* events) {
    EXPECT_TRUE(tracer.enable(events).has_value());
    tracer.set_sink(std::make_unique<TextSink>(lines));
    return lines;
  }
  bool touch(VirtAddr a, Access access = Access::Read) { return mmu.translate(a, access, Privilege::User).has_value(); }

  std::vector<std::string> lines;
  std::unique_ptr<Ram> ram;
  Tables tables;
  TimingModel timing;
  Tracer tracer;
  FakeSoftTlb soft;
  Mmu mmu;
};

}  // namespace vitro::hw::test
