// x and disas: memory as numbers, text and instructions.
#include <fmt/format.h>

#include <cctype>
#include <cstring>
#include <iterator>

#include "report/monitor_view.h"

namespace vitro::report {
namespace {

constexpr size_t kLongestString = 4096;
constexpr size_t kLongestInstruction = 15;

template <class T>
T load(std::span<const std::byte> bytes) {
  T v{};
  std::memcpy(&v, bytes.data(), std::min(sizeof v, bytes.size()));
  return v;
}

int64_t signed_value(uint64_t v, size_t size) {
  const unsigned shift = 64 - 8 * static_cast<unsigned>(size);
  return static_cast<int64_t>(v << shift) >> shift;
}

std::string character(uint8_t c) {
  switch (c) {
    case 0: return "\\0";
    case '\n': return "\\n";
    case '\t': return "\\t";
    case '\r': return "\\r";
    case '\\': return "\\\\";
    case '\'': return "\\'";
    default: return c < 0x20 || c >= 0x7f ? fmt::format("\\{:03o}", c) : std::string(1, static_cast<char>(c));
  }
}

// How many units stand in a line, as gdb has them.
unsigned units_in_line(const ExamineFormat& f) {
  switch (f.form) {
    case 'a': return 2;
    case 't': return f.size == 1 ? 8 : f.size == 2 ? 8 : f.size == 4 ? 4 : 2;
    case 'c': return 8;
    default: return f.size == 8 ? 2 : f.size == 4 ? 4 : 8;
  }
}

UserError not_mapped(VirtAddr a) { return {fmt::format("{:#x} is not mapped to memory", a.value()), fmt::format("walk {:#x} says why", a.value())}; }

}  // namespace

std::string examined_unit(std::span<const std::byte> bytes, char form) {
  const uint64_t v = load<uint64_t>(bytes);
  const size_t size = bytes.size();
  switch (form) {
    case 'x': return fmt::format("0x{:0{}x}", v, 2 * size);
    case 'd': return fmt::format("{}", signed_value(v, size));
    case 'u': return fmt::format("{}", v);
    case 'o': return v ? fmt::format("0{:o}", v) : "0";
    case 't': return fmt::format("{:0{}b}", v, 8 * size);
    case 'a': return fmt::format("{:#x}", v);
    case 'c': return fmt::format("{} '{}'", signed_value(v & 0xff, 1), character(static_cast<uint8_t>(v)));
    case 'f': return size == 4 ? fmt::format("{}", load<float>(bytes)) : fmt::format("{}", load<double>(bytes));
  }
  CHECK(false, "form {}", form);
}

MonitorText MonitorView::examine(VirtAddr a, const ExamineFormat& f) {
  if (f.form == 'i') return disassemble(a, f.count);
  mm::AddressSpace& space = *TRY(space_of(std::nullopt));
  std::string out;
  auto to = std::back_inserter(out);
  if (f.form == 's') {
    for (uint64_t i = 0; i < f.count; ++i) {
      std::string text;
      std::byte c{};
      size_t n = 0;
      while (n < kLongestString && peek(space, a + Bytes{n}, {&c, 1}) == 1 && c != std::byte{0}) text += character(std::to_integer<uint8_t>(c)), ++n;
      if (n == 0 && peek(space, a, {&c, 1}) == 0) return out.empty() ? MonitorText(fail(not_mapped(a))) : MonitorText(out);
      fmt::format_to(to, "{:#x}{}: \"{}\"{}\n", a.value(), symbol_suffix(a), text, n == kLongestString ? "..." : "");
      a = a + Bytes{n + (n < kLongestString ? 1 : 0)};
    }
    return out;
  }
  const unsigned in_line = units_in_line(f);
  for (uint64_t i = 0; i < f.count; ++i, a = a + Bytes{f.size}) {
    std::array<std::byte, 8> bytes{};
    const std::span<std::byte> unit = std::span{bytes}.first(f.size);
    if (peek(space, a, unit) != f.size) {
      if (out.empty()) return fail(not_mapped(a));
      return out + (i % in_line ? "\n" : "") + fmt::format("{:#x}: not mapped to memory\n", a.value());
    }
    if (i % in_line == 0) fmt::format_to(to, "{:#x}{}:", a.value(), symbol_suffix(a));
    fmt::format_to(to, "  {}", examined_unit(unit, f.form));
    if (f.form == 'a') out += symbol_suffix(VirtAddr{load<uint64_t>(unit)});
    if (i % in_line == in_line - 1 || i == f.count - 1) out += '\n';
  }
  return out;
}

MonitorText MonitorView::disassemble(VirtAddr a, uint64_t count) {
  mm::AddressSpace& space = *TRY(space_of(std::nullopt));
  const hw::Disassembler disassembler;
  const uint64_t rip = machine_.kernel().user_state(task_).registers.rip;
  std::string out;
  for (uint64_t i = 0; i < count; ++i) {
    std::array<std::byte, kLongestInstruction> code;
    const size_t n = peek(space, a, code);
    if (n == 0) return out.empty() ? MonitorText(fail(not_mapped(a))) : MonitorText(out + fmt::format("   {:#x}: not mapped to memory\n", a.value()));
    const auto instruction = disassembler.decode(std::span{code}.first(n), a);
    fmt::format_to(std::back_inserter(out), "{} {:#x}{}: {}\n", a.value() == rip ? "=>" : "  ", a.value(), symbol_suffix(a), instruction ? instruction->text : "(bad)");
    a = a + Bytes{instruction ? instruction->length : 1};
  }
  return out;
}

}  // namespace vitro::report
