// A machine's physical memory for tests: RAM, a tracer that can be listened to, and PhysicalMemory over them.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vitro/mm/physical_memory.h"
#include "vitro/mm/slab_allocator.h"

namespace vitro::mm {

class RecordingSink final : public TraceSink {
 public:
  explicit RecordingSink(std::vector<std::string>& lines) : lines_(lines) {}
  void write(const TraceRecord& record) override {
    std::string line;
    append_trace_line(line, record);
    lines_.push_back(line.substr(line.find(": ") + 2));  // without task, CPU and time
    lines_.back().pop_back();
  }
  Result<void, UserError> flush() override { return {}; }
  bool failed() const override { return false; }

 private:
  std::vector<std::string>& lines_;
};

struct MemoryRig {
  explicit MemoryRig(Bytes size = mib(16), PhysicalMemoryConfig config = {})
      : ram(std::move(*hw::Ram::create(size))), memory(PhysicalMemory::create(*ram, config, tracer)), pages(memory->allocator()), slabs(memory->slabs()) {
    // Fragmentation raises watermarks for a while; tests that are not about that want fixed ones.
    memory->watermarks().set_watermark_boost_factor(0);
  }
  void record(std::string_view events) {
    tracer.set_sink(std::make_unique<RecordingSink>(trace));
    (void)tracer.enable(events);
  }
  int64_t stat(VmItem item) const { return memory->stat().get(item); }
  Frame& frame(Pfn f) const { return memory->frames()[f]; }

  Tracer tracer;
  std::vector<std::string> trace;
  std::unique_ptr<hw::Ram> ram;
  std::unique_ptr<PhysicalMemory> memory;
  PageAllocator& pages;
  SlabAllocator& slabs;
};

}  // namespace vitro::mm
