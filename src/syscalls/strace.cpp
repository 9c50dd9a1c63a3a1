// Arguments and results as text. A call's signature has one letter an argument:
//   d int   u unsigned   x hex   p pointer   f descriptor   m mode (octal)   s string   v string array   e environment
//   b buffer whose length is the next argument   B the same, filled in by the call   C string filled in   R buffer filled in, result long
//   o open flags   P mmap protection   M mmap flags   S signal   w whence   a access mode   A AT_ flags   h how (sigprocmask)
//   c fcntl command   O futex operation   i ioctl command   k clock   r resource limit   t timespec   T timespec filled in   W wait status filled in   V advice
#include "syscalls/strace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "syscalls/arguments.h"
#include "syscalls/strace_names.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {

size_t peek(kernel::Task& task, VirtAddr from, std::span<std::byte> to) {
  constexpr uint64_t kPresent = uint64_t{1} << 63, kFrameMask = (uint64_t{1} << 55) - 1;
  mm::AddressSpace* space = task.space();
  size_t done = 0;
  while (space && done < to.size() && in_user_range(from.value() + done, 1)) {
    const VirtAddr at = from + Bytes{done};
    const size_t n = std::min<uint64_t>(to.size() - done, kPageSize - at.page_offset().value());
    const uint64_t entry = space->pagemap_entry(at.vpn());
    if (!(entry & kPresent)) break;
    const PhysAddr physical = Pfn{entry & kFrameMask}.address() + at.page_offset();
    const hw::Ram& ram = space->vm().physical().ram();
    if (!ram.contains(physical, Bytes{n})) break;
    std::memcpy(to.data() + done, ram.read(physical, Bytes{n}).data(), n);
    done += n;
  }
  return done;
}

namespace {

constexpr size_t kShown = 32;

std::string pointer(uint64_t a) { return a == 0 ? "NULL" : fmt::format("{:#x}", a); }

std::string buffer(kernel::Task& task, uint64_t address, uint64_t length) {
  std::array<char, kShown> bytes{};
  const size_t want = std::min<uint64_t>(length, kShown);
  if (address == 0 || (want != 0 && peek(task, VirtAddr{address}, std::as_writable_bytes(std::span{bytes}.first(want))) != want)) return pointer(address);
  return quoted({bytes.data(), want}, length > kShown);
}

// A path or name: shown whole, as strace does with paths, up to a page.
std::string string_at(kernel::Task& task, uint64_t address, size_t limit) {
  if (address == 0) return "NULL";
  std::string text;
  while (text.size() <= limit) {
    std::array<char, 64> piece{};
    const size_t n = peek(task, VirtAddr{address + text.size()}, std::as_writable_bytes(std::span{piece}));
    const char* end = std::find(piece.data(), piece.data() + n, '\0');
    text.append(piece.data(), static_cast<size_t>(end - piece.data()));
    if (end != piece.data() + n) return text.size() > limit ? quoted(std::string_view{text}.substr(0, limit), true) : quoted(text, false);
    if (n < piece.size()) return pointer(address);
  }
  return quoted(std::string_view{text}.substr(0, limit), true);
}

std::string strings_at(kernel::Task& task, uint64_t array, bool count_only) {
  if (array == 0) return "NULL";
  std::string out = "[";
  size_t n = 0;
  for (;; ++n, array += 8) {
    uint64_t at = 0;
    if (peek(task, VirtAddr{array}, std::as_writable_bytes(std::span{&at, 1})) != 8) return pointer(array);
    if (at == 0 || n == 4096) break;
    if (count_only || n > kShown) continue;
    if (n != 0) out += ", ";
    out += n == kShown ? "..." : string_at(task, at, kShown);
  }
  if (count_only) return fmt::format("{:#x} /* {} vars */", array - n * 8, n);
  return out + "]";
}

std::string timespec_at(kernel::Task& task, uint64_t address) {
  UserTimespec t{};
  if (address == 0 || peek(task, VirtAddr{address}, std::as_writable_bytes(std::span{&t, 1})) != sizeof t) return pointer(address);
  return fmt::format("{{tv_sec={}, tv_nsec={}}}", t.seconds, t.nanoseconds);
}

std::string wait_status_at(kernel::Task& task, uint64_t address) {
  int32_t status = 0;
  if (address == 0 || peek(task, VirtAddr{address}, std::as_writable_bytes(std::span{&status, 1})) != sizeof status) return pointer(address);
  const int signal = status & 0x7f;
  if (signal == 0) return fmt::format("[{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}]", status >> 8 & 0xff);
  if (signal == 0x7f) return fmt::format("[{{WIFSTOPPED(s) && WSTOPSIG(s) == {}}}]", signal_name(status >> 8 & 0xff));
  return fmt::format("[{{WIFSIGNALED(s) && WTERMSIG(s) == {}}}]", signal_name(signal));
}

bool filled_in(char letter) { return letter == 'B' || letter == 'C' || letter == 'R' || letter == 'T' || letter == 'W'; }

std::string signal_text(uint64_t v) {
  const std::string_view name = signal_name(static_cast<int>(v));
  return name.empty() ? fmt::format("{}", static_cast<int>(v)) : std::string(name);
}

// Filled-in arguments need the result: how much of the buffer counts.
std::string argument(kernel::Task& task, char letter, const std::array<uint64_t, 6>& a, size_t i, const Result<long>* result) {
  const uint64_t v = a[i], next = i + 1 < a.size() ? a[i + 1] : 0;
  const bool good = result && *result;
  switch (letter) {
    case 'd': return fmt::format("{}", static_cast<int>(v));
    case 'u': return fmt::format("{}", v);
    case 'x': return v == 0 ? "0" : fmt::format("{:#x}", v);
    case 'm': return v == 0 ? "000" : fmt::format("{:#05o}", v & 0xffff);
    case 'f': return static_cast<int>(v) == kAtCwd ? "AT_FDCWD" : fmt::format("{}", static_cast<int>(v));
    case 's': return string_at(task, v, 4096);
    case 'b': return buffer(task, v, next);
    case 'v': return strings_at(task, v, false);
    case 'e': return strings_at(task, v, true);
    case 'o': return open_flags_text(static_cast<uint32_t>(v));
    case 'S': return signal_text(v);
    case 't': return timespec_at(task, v);
    case 'B':
    case 'R': return good ? buffer(task, v, static_cast<uint64_t>(std::max(0L, **result))) : pointer(v);
    case 'C': return good ? string_at(task, v, 4096) : pointer(v);
    case 'T': return good ? timespec_at(task, v) : pointer(v);
    case 'W': return good && **result > 0 ? wait_status_at(task, v) : pointer(v);
    case 'P': return flags_text(kProtectionNames, v, "PROT_NONE");
    case 'M': return mmap_flags_text(v);
    case 'A': return flags_text(kAtNames, static_cast<uint32_t>(v), "0");
    case 'a': return flags_text(kAccessNames, static_cast<uint32_t>(v), "F_OK");
    case 'w': return name_of(kWhenceNames, v);
    case 'h': return name_of(kHowNames, v);
    case 'c': return name_of(kFcntlNames, static_cast<uint32_t>(v));
    case 'k': return name_of(kClockNames, static_cast<uint32_t>(v));
    case 'r': return name_of(kLimitNames, static_cast<uint32_t>(v));
    case 'V': return name_of(kAdviceNames, static_cast<uint32_t>(v));
    case 'i': return name_of(kIoctlNames, static_cast<uint32_t>(v));
    case 'O': return futex_operation_text(static_cast<uint32_t>(v));
    default: return pointer(v);
  }
}

// Whether an argument can be printed before the call. What execve is given must be: afterwards its memory is gone.
bool known_before(kernel::Task& task, const Entry& entry, char letter, uint64_t value) {
  constexpr uint16_t kExecve = 59, kExecveat = 322;
  if (filled_in(letter)) return false;
  if ((letter != 's' && letter != 'b' && letter != 't') || value == 0 || entry.number == kExecve || entry.number == kExecveat) return true;
  std::byte first{};
  return peek(task, VirtAddr{value}, {&first, 1}) == 1;
}

// open's mode is only there where a file may be created.
std::string_view signature_of(const Entry& e, const std::array<uint64_t, 6>& a) {
  std::string_view s = e.signature;
  const size_t flags = s.find("om");
  if (flags != std::string_view::npos && !(a[flags] & (fs::kOpenCreate | (fs::kOpenTmpFile & ~fs::kOpenDirectory)))) s = s.substr(0, flags + 1);
  return s;
}

}  // namespace

std::string quoted(std::string_view bytes, bool cut_short) {
  std::string out = "\"";
  for (size_t i = 0; i < bytes.size(); ++i) {
    const auto c = static_cast<unsigned char>(bytes[i]);
    switch (c) {
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      case '\v': out += "\\v"; break;
      case '\f': out += "\\f"; break;
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      default:
        if (c >= 0x20 && c < 0x7f) {
          out += static_cast<char>(c);
        } else {
          // Three digits where the next character is one, or it would be read as part of the number.
          const bool digit_follows = i + 1 < bytes.size() && bytes[i + 1] >= '0' && bytes[i + 1] <= '7';
          out += digit_follows ? fmt::format("\\{:03o}", c) : fmt::format("\\{:o}", c);
        }
    }
  }
  return out + (cut_short ? "\"..." : "\"");
}

std::string result_text(std::string_view name, const Result<long>& result) {
  if (name == "exit" || name == "exit_group") return "?";
  if (!result) {
    const Errno e = result.error();
    switch (e) {
      case Errno::RestartSys: return "? ERESTARTSYS (To be restarted if SA_RESTART is set)";
      case Errno::RestartNoIntr: return "? ERESTARTNOINTR (To be restarted)";
      case Errno::RestartNoHand: return "? ERESTARTNOHAND (To be restarted if no handler)";
      case Errno::RestartRestartBlock: return "? ERESTART_RESTARTBLOCK (Interrupted by signal)";
      default: return fmt::format("-1 {} ({})", errno_name(e), errno_text(e));
    }
  }
  if (name == "mmap" || name == "brk" || name == "mremap" || name == "shmat") return fmt::format("{:#x}", static_cast<uint64_t>(*result));
  return fmt::format("{}", *result);
}

StraceLine strace_enter(kernel::Task& task, const Entry* entry, uint64_t number, const std::array<uint64_t, 6>& a) {
  StraceLine line{fmt::format("[pid {:>5}] ", task.tid.value())};
  if (!entry) {
    line.text += fmt::format("syscall_{:#x}({:#x}, {:#x}, {:#x}, {:#x}, {:#x}, {:#x}", number, a[0], a[1], a[2], a[3], a[4], a[5]);
    return line;
  }
  line.text += entry->name;
  line.text += '(';
  const std::string_view signature = signature_of(*entry, a);
  for (size_t& i = line.printed; i < signature.size() && known_before(task, *entry, signature[i], a[i]); ++i) {
    if (i != 0) line.text += ", ";
    line.text += argument(task, signature[i], a, i, nullptr);
  }
  return line;
}

void strace_exit(StraceLine& line, kernel::Task& task, const Entry* entry, const std::array<uint64_t, 6>& a, const Result<long>& result) {
  if (entry) {
    const std::string_view signature = signature_of(*entry, a);
    for (size_t& i = line.printed; i < signature.size(); ++i) {
      if (i != 0) line.text += ", ";
      line.text += argument(task, signature[i], a, i, &result);
    }
  }
  line.text += ") = ";
  line.text += result_text(entry ? entry->name : "", result);
  line.text += '\n';
}

}  // namespace vitro::syscalls
