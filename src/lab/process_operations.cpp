// The lab's one process: anonymous memory that is taken page by page, in movable frames, as compaction and reclaim need it.
#include <algorithm>

#include "lab/session.h"

namespace vitro::lab {
namespace {

// The part of an area that an operation names, in whole pages. Errors: outside of it.
Result<std::pair<VirtAddr, Pages>, ScriptError> part_of(const Allocation& area, const Call& call) {
  const int64_t offset = call.operands.size() > 1 ? call.operands[1].number : 0;
  const int64_t most = static_cast<int64_t>(area.size.value());
  const int64_t length = call.operands.size() > 2 ? call.operands[2].number : most - offset;
  if (offset < 0 || length < 0 || offset > most || length > most - offset)
    return fail(ScriptError{call.statement.at, fmt::format("{} has {} bytes: offset {} and length {} do not fit", area.name, most, offset, length)});
  const Bytes from{static_cast<uint64_t>(offset)}, to{static_cast<uint64_t>(offset + length)};
  const VirtAddr first = area.address + from.pages_down().bytes();
  return std::pair{first, to.pages_up() - from.pages_down()};
}

Outcome map(Session& s, const Call& call) {
  const int64_t wanted = call.operands[0].number;
  mm::AddressSpace* process = s.machine->process();
  mm::MmapRequest request;
  request.length = Bytes{static_cast<uint64_t>(std::max<int64_t>(wanted, 0))};
  request.protection = mm::VmFlag::Read | mm::VmFlag::Write;
  const Result<VirtAddr> start = process ? process->mmap(request) : fail(Errno::NoMemory);
  if (!start) {
    s.note("{}: MAP_FAILED ({})", call.name, errno_name(start.error()));
    return Value{};
  }
  s.note("{}: user address {:#x}, {} pages, no frames yet", call.name, start->value(), request.length.pages_up().value());
  return s.booked({.kind = Allocation::Kind::UserMemory, .address = *start, .size = request.length.pages_up().bytes()}, call);
}

Outcome touch(Session& s, const Call& call, const Allocation& area) {
  const auto [first, pages] = TRY(part_of(area, call));
  mm::AddressSpace& process = *s.machine->process();
  uint64_t faults = 0;
  for (Pages i{0}; i < pages; ++i) {
    const VirtAddr a = first + i;
    if (process.pagemap_entry(a.vpn()) >> 63) continue;  // present
    const mm::FaultOutcome outcome = process.handle_fault(a, hw::Access::Write, hw::Privilege::User, mm::MayWait::Yes);
    if (outcome.result == mm::FaultOutcome::Result::OutOfMemory) {
      s.note("out of memory after {} faults: a kernel would kill the process", faults);
      return Value{};
    }
    if (outcome.result != mm::FaultOutcome::Result::Resolved) {
      s.report({fmt::format("segmentation fault at {:#x}: {} was unmapped there", a.value(), area.name), ""});
      return Value{};
    }
    ++faults;
  }
  s.note("{} page faults", faults);
  return Value{};
}

Outcome unmap(Session& s, const Call& call, const Allocation& area) {
  const auto [first, pages] = TRY(part_of(area, call));
  if (pages.value() == 0) return Value{};
  const Status done = s.machine->process()->munmap(first, pages.bytes());
  if (!done) {
    s.note("munmap fails: {}", errno_name(done.error()));
    return Value{};
  }
  // Whoever takes everything away in one call is done with it.
  if (pages.bytes() == area.size) s.ledger.free(area.id, call.line());
  return Value{};
}

}  // namespace

Outcome run_process_operation(Session& s, const Call& call) {
  if (call.statement.operation->id == OperationId::Mmap) return map(s, call);
  const Value& v = call.operands[0];
  if (v.kind != Value::Kind::Memory) return fail(ScriptError{call.statement.at, "there is no user memory here: mmap failed"});
  const Allocation& area = s.ledger.at(v.allocation);
  if (!area.live()) {
    s.report({fmt::format("segmentation fault: {} was unmapped at line {}", area.name, area.freed_line), ""});
    return Value{};
  }
  return call.statement.operation->id == OperationId::Touch ? touch(s, call, area) : unmap(s, call, area);
}

}  // namespace vitro::lab
