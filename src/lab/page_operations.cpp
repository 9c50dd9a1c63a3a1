// alloc_pages and its relatives.
#include <algorithm>

#include "lab/reports.h"
#include "lab/session.h"

namespace vitro::lab {
namespace {

using mm::Gfp;

std::string result_name(const Call& call) { return call.name.empty() ? "result" : call.name; }

Outcome allocate(Session& s, const Call& call, int64_t wanted, Gfp flags) {
  const bool by_address = call.statement.operation->result == VariableKind::Pointer;
  if (by_address) flags = mm::without(flags, Gfp::HighMem);  // __get_free_pages: what it returns needs an address
  if (wanted < 0 || wanted > mm::kMaxOrder.value()) {
    s.note("{}: NULL: orders go from 0 to {}", result_name(call), mm::kMaxOrder.value());
    return Value{};
  }
  const Order order{static_cast<uint8_t>(wanted)};
  const auto block = s.machine->pages().allocate(flags, order);
  if (!block) {
    s.note("{}: NULL", result_name(call));
    note_failure(s, flags, order);
    return Value{};
  }
  s.machine->pages().set_state(*block, order, mm::FrameState::Kernel);
  const VirtAddr address = s.in_high_memory(*block) ? VirtAddr{0} : mm::direct_map(block->address());
  s.note("{}: pfn {:#x}{}, order {}, zone {}, {}", result_name(call), block->value(),
         order.value() ? fmt::format("..{:#x}", block->value() + order.pages().value() - 1) : "", order.value(), s.zone_name_of(*block),
         address.value() ? fmt::format("at {:#x}", address.value()) : "no address: kmap gives one");
  return s.booked({.kind = Allocation::Kind::Pages, .address = address, .first = *block, .order = order, .size = order.pages().bytes()}, call);
}

Outcome free(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  const std::string_view operation = call.statement.operation->name;
  VirtAddr address = v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address;
  if (v.is_null() || (v.kind == Value::Kind::Number && v.number == 0)) {
    if (operation == "__free_pages") s.report(oops_report(s, VirtAddr{0x34}, true));  // the reference count of a struct page at 0
    else s.note("{} of NULL: nothing to do", operation);
    return Value{};
  }
  const Allocation* own = v.allocation ? &s.ledger.at(v.allocation) : nullptr;
  const bool other_kind = own && own->live() && own->kind != Allocation::Kind::Pages;
  const bool pages = v.kind == Value::Kind::Pages;
  if (own && (own->kind != Allocation::Kind::Pages || (!pages && own->address != address))) own = nullptr;
  const bool mapped = pages || s.in_direct_map(address);
  const Allocation* now = pages ? s.ledger.of_frame(v.frame) : mapped && !other_kind ? s.ledger.of_frame(mm::direct_map_physical(address).pfn()) : nullptr;
  if (const Allocation* old = own && !own->live() ? own : now && !now->live() ? now : nullptr) {
    std::string what = fmt::format("double free: pfn {:#x}, allocated as {} at line {}, was freed at line {}", old->first.value(), old->name, old->line, old->freed_line);
    if (now && now->live()) what += fmt::format("; it belongs to {} (line {}) now", now->name, now->line);
    else what += ": page_ref_count(page) == 0";
    s.report(free_report(s, old->address, std::move(what), old));
    return Value{};
  }
  const Allocation* a = own ? own : now;
  if (!a || (!pages && a->address != address)) {
    std::string what = fmt::format("invalid free: {} of {:#x}, ", operation, address.value());
    const Allocation* around = s.ledger.containing(address);
    if (around && around->address != address) what += fmt::format("{} bytes into {} (line {})", (address - around->address).value(), around->name, around->line);
    else if (around) what += fmt::format("which is {}, no pages: use {}", around->name, around->kind == Allocation::Kind::Vmalloc ? "vfree" : "kfree");
    else what += "which nobody was given";
    s.report(free_report(s, address, std::move(what), around));
    return Value{};
  }
  if (call.operands.size() > 1 && call.operands[1].number != a->order.value()) {
    s.report(free_report(s, a->address,
                         fmt::format("wrong order: {} of {} with order {}, which was allocated with order {} at line {}", operation, a->name, call.operands[1].number,
                                     a->order.value(), a->line), a));
    return Value{};
  }
  if (a->mapped_by) {
    const Allocation& user = s.ledger.at(a->mapped_by);
    s.report(free_report(s, a->address, fmt::format("use after free: pages of {} are freed while {} (line {}) maps them", a->name, user.name, user.line), a));
    return Value{};
  }
  s.machine->pages().free(a->first, a->order);
  s.ledger.free(a->id, call.line());
  return Value{};
}

Outcome virt(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  VirtAddr address = v.address;
  if (v.kind == Value::Kind::Number) {
    const PhysAddr physical{static_cast<uint64_t>(v.number)};
    if (!s.machine->ram().contains(physical)) {
      s.note("physical address {:#x} is beyond RAM", physical.value());
      return Value{};
    }
    address = mm::direct_map(physical);
  }
  if (address.value() == 0) s.note("NULL: no address in the direct map");
  else s.note("phys_to_virt({:#x}) = {:#x} + {:#x} = {:#x}", mm::direct_map_physical(address).value(), mm::kDirectMapBase.value(), mm::direct_map_physical(address).value(), address.value());
  return Value{};
}

}  // namespace

Outcome run_page_operation(Session& s, const Call& call) {
  const Statement& st = call.statement;
  switch (st.operation->id) {
    case OperationId::AllocPages: return allocate(s, call, call.operands[0].number, st.gfp);
    case OperationId::GetFreePages: return allocate(s, call, call.operands.empty() ? 0 : call.operands[0].number, st.gfp);
    case OperationId::GetZeroedPage: return allocate(s, call, 0, st.gfp | Gfp::Zero);
    case OperationId::FreePages: return free(s, call);
    case OperationId::Virt: return virt(s, call);
    default: s.machine->physical().drain_per_cpu_lists(); return Value{};
  }
}

}  // namespace vitro::lab
