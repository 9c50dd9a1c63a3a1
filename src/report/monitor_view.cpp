// Which command shows what, and what the commands share: whose memory, what an expression means.
#include "report/monitor_view.h"

#include <fmt/format.h>

#include <algorithm>

#include "vitro/fs/process_view.h"
#include "vitro/hw/page_walker.h"

namespace vitro::report {
namespace {

std::optional<uint64_t> register_value(const hw::UserRegisters& r, std::string_view name) {
  struct Named {
    std::string_view name;
    uint64_t hw::UserRegisters::*member;
  };
  using R = hw::UserRegisters;
  static constexpr Named kNames[] = {{"rax", &R::rax}, {"rbx", &R::rbx}, {"rcx", &R::rcx}, {"rdx", &R::rdx}, {"rsi", &R::rsi}, {"rdi", &R::rdi},
                                     {"rbp", &R::rbp}, {"rsp", &R::rsp}, {"sp", &R::rsp},  {"r8", &R::r8},   {"r9", &R::r9},   {"r10", &R::r10},
                                     {"r11", &R::r11}, {"r12", &R::r12}, {"r13", &R::r13}, {"r14", &R::r14}, {"r15", &R::r15}, {"rip", &R::rip},
                                     {"pc", &R::rip},  {"rflags", &R::rflags}, {"eflags", &R::rflags}, {"fs_base", &R::fs_base}, {"gs_base", &R::gs_base}};
  for (const Named& n : kNames)
    if (n.name == name) return r.*n.member;
  return std::nullopt;
}

}  // namespace

MonitorText MonitorView::show(const MonitorCommand& c) {
  switch (c.verb) {
    case MonitorVerb::Walk: {
      mm::AddressSpace* space = TRY(space_of(c.pid));
      return walk(*space, TRY(evaluate(*c.address, space)));
    }
    case MonitorVerb::Maps: return fs::maps_text(*TRY(space_of(c.pid)));
    case MonitorVerb::Frame: return frame(TRY(evaluate(*c.address, task_.space())).value());
    case MonitorVerb::Examine: return examine(TRY(evaluate(*c.address, task_.space())), c.format);
    case MonitorVerb::Disassemble: {
      const hw::UserRegisters now = machine_.kernel().user_state(task_).registers;
      return disassemble(c.address ? TRY(evaluate(*c.address, task_.space())) : VirtAddr{now.rip}, c.count);
    }
    case MonitorVerb::Registers: return registers(c.word == "all");
    case MonitorVerb::Tlb: return tlb(c.word);
    case MonitorVerb::Counters: return counters(c.word);
    case MonitorVerb::Tasks: return tasks();
    case MonitorVerb::Step:
    case MonitorVerb::Continue:
    case MonitorVerb::Quit:
    case MonitorVerb::Help: break;
  }
  CHECK(false, "verb {} shows nothing", static_cast<int>(c.verb));
}

std::string MonitorView::where() {
  const VirtAddr rip{machine_.kernel().user_state(task_).registers.rip};
  std::string text = fmt::format("{:#x}{}", rip.value(), symbol_suffix(rip));
  if (!task_.space()) return text;
  std::array<std::byte, 15> code;
  const size_t n = peek(*task_.space(), rip, code);
  if (const auto i = hw::Disassembler().decode(std::span{code}.first(n), rip)) text += ": " + i->text;
  return text;
}

std::string MonitorView::who() const { return fmt::format("{} (pid {})", task_.comm, task_.tid.value()); }

Result<mm::AddressSpace*, UserError> MonitorView::space_of(std::optional<int32_t> pid) {
  mm::AddressSpace* space = task_.space();
  if (pid) {
    const kernel::Process* p = machine_.kernel().find_process(Pid{*pid});
    if (!p) return fail(UserError{fmt::format("there is no process {}", *pid), "ps lists them"});
    space = p->space.get();
  }
  if (!space) return fail(UserError{fmt::format("process {} has no memory of its own", pid ? *pid : task_.process->pid.value()), "ps says who has"});
  return space;
}

Result<VirtAddr, UserError> MonitorView::evaluate(const Expression& e, mm::AddressSpace* space) {
  std::optional<hw::UserRegisters> registers;
  Expression::Names names;
  names.of_register = [&](std::string_view name) {
    if (!registers) registers = machine_.kernel().user_state(task_).registers;
    return register_value(*registers, name);
  };
  names.of_symbol = [&](std::string_view name) -> std::optional<uint64_t> {
    if (!space) return std::nullopt;
    const auto found = machine_.kernel().find_symbol(*space, name);
    if (!found) return std::nullopt;
    return found->value();
  };
  return VirtAddr{TRY(e.evaluate(names))};
}

std::string MonitorView::symbol_suffix(VirtAddr a) {
  if (!task_.space()) return {};
  const std::string symbol = machine_.kernel().symbolize(*task_.space(), a);
  return symbol == "-" ? std::string{} : fmt::format(" <{}>", symbol);
}

size_t MonitorView::peek(const mm::AddressSpace& space, VirtAddr from, std::span<std::byte> to) {
  hw::Ram& ram = machine_.ram();
  size_t done = 0;
  while (done < to.size()) {
    const VirtAddr a = from + Bytes{done};
    const hw::WalkResult w = hw::walk(ram, space.page_table_root(), a, hw::Access::Read, hw::Privilege::Supervisor, hw::SetAccessedDirty::No);
    if (!w.ok) break;
    const size_t n = std::min<size_t>(to.size() - done, kPageSize - a.page_offset().value());
    std::ranges::copy(ram.read(w.address, Bytes{n}), to.begin() + static_cast<ptrdiff_t>(done));
    done += n;
  }
  return done;
}

std::string MonitorView::process_name(const mm::AddressSpace& space) {
  for (const kernel::Process* p : machine_.kernel().all_processes())
    if (p->space.get() == &space && !p->threads.empty()) return fmt::format("pid {} ({})", p->pid.value(), p->threads.front()->comm);
  return "a process that is ending";
}

}  // namespace vitro::report
