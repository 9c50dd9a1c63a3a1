// regs: what the task has in the CPU.
#include <fmt/format.h>

#include <cstring>
#include <iterator>

#include "report/monitor_view.h"

namespace vitro::report {

std::string rflags_text(uint64_t rflags) {
  struct Bit {
    unsigned bit;
    const char* name;
  };
  constexpr Bit kBits[] = {{0, "CF"}, {2, "PF"}, {4, "AF"}, {6, "ZF"}, {7, "SF"}, {8, "TF"}, {9, "IF"}, {10, "DF"}, {11, "OF"}, {14, "NT"}, {16, "RF"}, {18, "AC"}, {21, "ID"}};
  std::string text;
  for (const Bit& b : kBits)
    if (rflags >> b.bit & 1) (text += text.empty() ? "" : " ") += b.name;
  return text;
}

std::string MonitorView::registers(bool all) {
  const auto [r, fpu] = machine_.kernel().user_state(task_);
  std::string out;
  auto to = std::back_inserter(out);
  const auto row = [&](const char* a, uint64_t va, const char* b, uint64_t vb, const char* c, uint64_t vc, const char* d, uint64_t vd) {
    fmt::format_to(to, "{:<3} {:016x}  {:<3} {:016x}  {:<3} {:016x}  {:<3} {:016x}\n", a, va, b, vb, c, vc, d, vd);
  };
  row("rax", r.rax, "rbx", r.rbx, "rcx", r.rcx, "rdx", r.rdx);
  row("rsi", r.rsi, "rdi", r.rdi, "rbp", r.rbp, "rsp", r.rsp);
  row("r8", r.r8, "r9", r.r9, "r10", r.r10, "r11", r.r11);
  row("r12", r.r12, "r13", r.r13, "r14", r.r14, "r15", r.r15);
  fmt::format_to(to, "rip {}\nrflags {:#x} [{}]\n", where(), r.rflags, rflags_text(r.rflags));
  fmt::format_to(to, "cs 0x33  ss 0x2b  fs_base {:#x}  gs_base {:#x}\n", r.fs_base, r.gs_base);
  if (!all) return out;
  // FXSAVE: SDM volume 1, table 10-2.
  const auto word = [&](size_t at, size_t n) {
    uint64_t v = 0;
    std::memcpy(&v, fpu.fxsave.data() + at, n);
    return v;
  };
  for (size_t i = 0; i < 16; ++i)
    fmt::format_to(to, "xmm{:<2} {:016x} {:016x}{}", i, word(160 + 16 * i + 8, 8), word(160 + 16 * i, 8), i % 2 ? "\n" : "  ");
  fmt::format_to(to, "mxcsr {:#x}  fcw {:#x}  fsw {:#x}\n", word(24, 4), word(0, 2), word(2, 2));
  return out;
}

}  // namespace vitro::report
