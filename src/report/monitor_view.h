// What the monitor's commands show: text from the state of a machine that stands still. Nothing here changes it: page tables are walked without
// setting bits, memory is read without faulting, counters are not touched.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "report/monitor_command.h"
#include "vitro/machine/machine.h"

namespace vitro::report {

using MonitorText = Result<std::string, UserError>;

class MonitorView {
 public:
  // `task`: whom commands mean that name no process. It must live as long as the view.
  MonitorView(machine::Machine& machine, kernel::Task& task) : machine_(machine), task_(task) {}

  // All verbs but Step, Continue, Quit and Help.
  MonitorText show(const MonitorCommand& command);
  // "0x4015f0 <main+0x90>: mov byte ptr [rbx], 1"
  std::string where();
  // "touch (pid 3)"
  std::string who() const;

 private:
  // monitor_walk.cpp
  MonitorText walk(mm::AddressSpace& space, VirtAddr address);
  // monitor_frame.cpp
  MonitorText frame(uint64_t number);
  // monitor_memory.cpp
  MonitorText examine(VirtAddr address, const ExamineFormat& format);
  MonitorText disassemble(VirtAddr address, uint64_t count);
  // monitor_registers.cpp
  std::string registers(bool all);
  // monitor_tables.cpp
  MonitorText tlb(std::string_view array) const;
  MonitorText counters(std::string_view name);
  std::string tasks();

  // The space of a process, or of the view's task. Errors: no such process; one that has no user memory.
  Result<mm::AddressSpace*, UserError> space_of(std::optional<int32_t> pid);
  Result<VirtAddr, UserError> evaluate(const Expression& e, mm::AddressSpace* space);
  // " <main+0x1c>", or nothing.
  std::string symbol_suffix(VirtAddr a);
  // Copies bytes until the first that is not mapped; returns how many.
  size_t peek(const mm::AddressSpace& space, VirtAddr from, std::span<std::byte> to);
  std::string process_name(const mm::AddressSpace& space);

  machine::Machine& machine_;
  kernel::Task& task_;
};

// "present rw user accessed dirty nx", in the order of the bits; "-" for none. `leaf`: whether the entry maps a page.
std::string pte_flags_text(hw::Pte entry, bool leaf, hw::Level level);
// "PF ZF IF" ...
std::string rflags_text(uint64_t rflags);
// One unit of memory in a form of x, except s and i.
std::string examined_unit(std::span<const std::byte> bytes, char form);

}  // namespace vitro::report
