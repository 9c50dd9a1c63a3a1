// A machine without a kernel for tests of the CPU: RAM, page tables built by hand, an Mmu, a Clock and a CPU.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <memory>
#include <vector>

#include "vitro/hw/cpu.h"

namespace vitro::hw {

class Guest {
 public:
  static constexpr uint64_t kCode = 0x400000, kData = 0x600000, kStack = 0x7ffff000;

  explicit Guest(MmuMode mode, Bytes ram_size = mib(64), uint64_t instruction_ps = 1000, const TlbConfig& tlbs = {},
                 CountBy by = CountBy::TranslatedCode)
      : ram(Ram::create(ram_size).value()), mmu(*ram, tlbs, timing, tracer), clock(instruction_ps) {
    root_ = new_frame().address();
    auto made = make_unicorn_cpu(*ram, mmu, clock, mode, by);
    EXPECT_TRUE(made.has_value()) << made.error().what;
    cpu = std::move(*made);
    mmu.load_cr3(root_, Pcid{1}, Mmu::KeepPcid::No);
  }

  Pfn new_frame() { return Pfn{next_frame_++}; }

  // Writes the leaf entry of a page. No flush: that is the test's business where it changes an entry.
  void map(uint64_t page, Pfn frame, uint64_t flags) { entry(page) = make_pte(frame, flags | Pte::kPresent | Pte::kUser); }
  Pfn map_new(uint64_t page, uint64_t flags) {
    const Pfn f = new_frame();
    map(page, f, flags);
    return f;
  }
  void unmap(uint64_t page) {
    entry(page) = Pte{};
    mmu.invalidate_page(VirtAddr{page}, Pcid{1}, FlushReason::LocalMmShootdown);
  }
  Pte& entry(uint64_t page) {
    PhysAddr table = root_;
    for (Level level = 4; level > 1; --level) {
      Pte& e = ram->at<Pte>(table + Bytes{8 * table_index(VirtAddr{page}, level)});
      if (!e.present()) e = make_pte(new_frame(), Pte::kPresent | Pte::kWritable | Pte::kUser);
      table = e.pfn().address();
    }
    return ram->at<Pte>(table + Bytes{8 * table_index(VirtAddr{page}, 1)});
  }
  void poke(Pfn frame, uint64_t offset, const std::vector<int>& bytes) {
    std::span<std::byte> to = ram->write(frame.address() + Bytes{offset}, Bytes{bytes.size()});
    for (size_t i = 0; i < bytes.size(); ++i) to[i] = static_cast<std::byte>(bytes[i]);
  }
  // Code at kCode + offset, on a page that is made at first use; rip points to it.
  void code(const std::vector<int>& bytes, uint64_t offset = 0) {
    if (!code_frame) code_frame = map_new(kCode, 0);
    poke(*code_frame, offset, bytes);
    set(&UserRegisters::rip, kCode + offset);
  }
  std::optional<Pfn> code_frame;
  void set(uint64_t UserRegisters::*r, uint64_t value) {
    UserRegisters all = cpu->registers();
    all.*r = value;
    cpu->set_registers(all);
  }
  uint64_t get(uint64_t UserRegisters::*r) const { return cpu->registers().*r; }
  template <class T = uint64_t>
  T peek(Pfn frame, uint64_t offset) const {
    T v;
    std::memcpy(&v, ram->read(frame.address() + Bytes{offset}, Bytes{sizeof(T)}).data(), sizeof(T));
    return v;
  }

  TimingModel timing;
  Tracer tracer;
  std::unique_ptr<Ram> ram;
  Mmu mmu;
  Clock clock;
  std::unique_ptr<Cpu> cpu;

 private:
  PhysAddr root_{0};
  uint64_t next_frame_ = 16;
};

}  // namespace vitro::hw
