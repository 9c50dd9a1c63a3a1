#include "report/monitor_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace vitro::report {
namespace {

constexpr uint64_t kDefaultDisassembly = 10;

using enum MonitorVerb;
constexpr MonitorVerbInfo kVerbs[] = {
    {Walk, "walk", "", "walk [PID] ADDR", "walks the page tables: each level's table, index, entry and flags, and where it ends"},
    {Maps, "maps", "", "maps [PID]", "the areas of an address space, as /proc/PID/maps has them"},
    {Frame, "frame", "", "frame PFN", "one frame of RAM: state, owner, counts, flags, list, and every page that maps it"},
    {Tlb, "tlb", "", "tlb [ARRAY]", "what the TLBs and the paging-structure caches hold, set by set (l1d-4k, l2, psc-pde, ...)"},
    {Examine, "x", "", "x[/NFU] ADDR", "memory: N units, form F (x d u o t a c s i f), size U (b h w g)"},
    {Registers, "regs", "", "regs [all]", "general registers, flags and segment bases; all: SSE registers too"},
    {Disassemble, "disas", "", "disas [ADDR [COUNT]]", "instructions from ADDR ($rip) on"},
    {Counters, "counters", "", "counters [NAME]", "counters of /proc/vmstat, of the TLBs and of the run; NAME: those that hold it, or match it with * and ?"},
    {Tasks, "ps", "", "ps", "tasks: state, memory, faults, CPU time; * marks the one that other commands mean without a PID"},
    {Step, "step", "s", "step [N]", "runs N instructions of this task (1) and says where it is then"},
    {Continue, "continue", "c", "continue", "lets the program run on to the next stop"},
    {Quit, "quit", "q", "quit", "lets the program run on to its end, without further stops"},
    {Help, "help", "h", "help [COMMAND]", "this list, or how a command is written"},
};

std::string_view trim(std::string_view s) {
  constexpr std::string_view kSpace = " \t\r\n\v\f";
  const size_t first = s.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(kSpace) - first + 1);
}

template <class T>
std::optional<T> to_number(std::string_view text) {
  T n{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return n;
}

class CommandParser {
 public:
  CommandParser(const MonitorVerbInfo& info, std::string_view argument) : info_(info), argument_(argument) { command_.verb = info.verb; }

  Result<MonitorCommand, UserError> parse() {
    switch (info_.verb) {
      case Walk: TRY(pid_and_address()); break;
      case Maps:
        if (!argument_.empty()) command_.pid = TRY(pid(argument_));
        break;
      case Frame:
      case Examine: {
        const std::string_view rest = TRY(address(argument_));
        if (!rest.empty()) return refuse(fmt::format("'{}' is too much", rest));
        break;
      }
      case Disassemble: TRY(address_and_count()); break;
      case Registers:
        if (!argument_.empty() && argument_ != "all") return refuse(fmt::format("'{}' is not 'all'", argument_));
        command_.word = argument_;
        break;
      case Tlb:
      case Counters:
      case Help:
        if (argument_.find_first_of(" \t") != std::string_view::npos) return refuse("one word at most");
        if (info_.verb == Help && !argument_.empty() && !find_monitor_verb(argument_)) return refuse(fmt::format("there is no command '{}'", argument_));
        command_.word = argument_;
        break;
      case Step:
        command_.count = 1;
        if (!argument_.empty()) {
          const auto n = to_number<uint64_t>(argument_);
          if (!n || *n == 0) return refuse(fmt::format("'{}' is no number of instructions", argument_));
          command_.count = *n;
        }
        break;
      case Tasks:
      case Continue:
      case Quit:
        if (!argument_.empty()) return refuse(fmt::format("'{}' is too much", argument_));
        break;
    }
    return std::move(command_);
  }

 private:
  tl::unexpected<UserError> refuse(std::string what) const {
    return fail(UserError{fmt::format("{}: {}", info_.name, what), fmt::format("write {}", info_.usage)});
  }
  Result<int32_t, UserError> pid(std::string_view text) const {
    const auto n = to_number<int32_t>(text);
    if (!n || *n <= 0) return refuse(fmt::format("'{}' is no process number", text));
    return *n;
  }
  // Returns what stands behind it.
  Result<std::string_view, UserError> address(std::string_view text) {
    size_t used = 0;
    auto e = parse_expression(text, used);
    if (!e) return refuse(e.error().what);
    command_.address = std::move(*e);
    return trim(text.substr(used));
  }
  Result<void, UserError> pid_and_address() {
    const std::string_view rest = TRY(address(argument_));
    if (rest.empty()) return {};
    command_.pid = TRY(pid(trim(argument_.substr(0, argument_.size() - rest.size()))));
    const std::string_view more = TRY(address(rest));
    if (!more.empty()) return refuse(fmt::format("'{}' is too much", more));
    return {};
  }
  Result<void, UserError> address_and_count() {
    command_.count = kDefaultDisassembly;
    if (argument_.empty()) return {};
    const std::string_view rest = TRY(address(argument_));
    if (rest.empty()) return {};
    const auto n = to_number<uint64_t>(rest);
    if (!n || *n == 0 || *n > kMaximumExamined) return refuse(fmt::format("'{}' is no number of instructions", rest));
    command_.count = *n;
    return {};
  }

  const MonitorVerbInfo& info_;
  std::string_view argument_;
  MonitorCommand command_;
};

}  // namespace

std::span<const MonitorVerbInfo> monitor_verbs() { return kVerbs; }

const MonitorVerbInfo* find_monitor_verb(std::string_view name) {
  const auto it = std::ranges::find_if(kVerbs, [&](const MonitorVerbInfo& v) { return v.name == name || (!v.alias.empty() && v.alias == name); });
  return it == std::end(kVerbs) ? nullptr : it;
}

Result<ExamineFormat, UserError> parse_examine_format(std::string_view text) {
  const auto refuse = [&](std::string what) { return fail(UserError{fmt::format("x/{}: {}", text, what), "write x/NFU ADDR, such as x/8gx $rsp"}); };
  ExamineFormat f;
  std::string_view digits;
  for (size_t i = 0; i < text.size();) {
    if (text[i] >= '0' && text[i] <= '9') {
      const size_t end = std::min(text.find_first_not_of("0123456789", i), text.size());
      if (!digits.empty()) return refuse("two counts");
      digits = text.substr(i, end - i);
      i = end;
      continue;
    }
    ++i;
  }
  if (!digits.empty()) {
    const auto n = to_number<uint64_t>(digits);
    if (!n || *n == 0 || *n > kMaximumExamined) return refuse(fmt::format("a count is from 1 to {}", kMaximumExamined));
    f.count = *n;
  }
  bool form = false;
  unsigned size = 0;
  for (const char c : text) {
    if (c >= '0' && c <= '9') continue;
    const size_t unit = std::string_view("bhwg").find(c);
    if (unit != std::string_view::npos) {
      if (size) return refuse("two sizes");
      size = 1u << unit;
    } else if (std::string_view("xduotacsif").find(c) != std::string_view::npos) {
      if (form) return refuse("two forms");
      form = true;
      f.form = c;
    } else {
      return refuse(fmt::format("'{}' is neither a form (x d u o t a c s i f) nor a size (b h w g)", c));
    }
  }
  f.size = size ? size : f.form == 'a' || f.form == 'f' ? 8 : f.form == 'c' ? 1 : 4;
  if (f.form == 'a' && f.size != 8) return refuse("addresses have 8 bytes (g)");
  if (f.form == 'f' && f.size < 4) return refuse("floating-point numbers have 4 (w) or 8 (g) bytes");
  return f;
}

Result<MonitorCommand, UserError> parse_monitor_command(std::string_view line) {
  line = trim(line);
  size_t end = std::min(line.find_first_of(" \t/"), line.size());
  const std::string_view name = line.substr(0, end);
  const MonitorVerbInfo* info = find_monitor_verb(name);
  if (!info) return fail(UserError{fmt::format("unknown monitor command '{}'", name), "help lists the commands"});
  ExamineFormat format;
  if (end < line.size() && line[end] == '/') {
    if (info->verb != Examine) return fail(UserError{fmt::format("{} takes no '/'", name), fmt::format("write {}", info->usage)});
    const size_t from = end + 1;
    end = std::min(line.find_first_of(" \t", from), line.size());
    format = TRY(parse_examine_format(line.substr(from, end - from)));
  }
  CommandParser parser(*info, trim(line.substr(end)));
  auto command = TRY(parser.parse());
  command.format = format;
  return command;
}

std::vector<std::string> split_monitor_commands(std::string_view text) {
  std::vector<std::string> commands;
  for (size_t from = 0; from <= text.size();) {
    const size_t end = std::min(text.find_first_of(";\n", from), text.size());
    if (const std::string_view one = trim(text.substr(from, end - from)); !one.empty()) commands.emplace_back(one);
    from = end + 1;
  }
  return commands;
}

}  // namespace vitro::report
