// vmalloc, vmap and kmap: addresses that page tables give to frames from anywhere.
#include "lab/reports.h"
#include "lab/session.h"
#include "vitro/mm/kmap.h"
#include "vitro/mm/vmalloc.h"

namespace vitro::lab {
namespace {

using mm::Gfp;

Outcome vmalloc(Session& s, const Call& call, Gfp flags) {
  const int64_t wanted = call.operands[0].number;
  if (wanted < 0) {
    s.note("{}: NULL: more than there is", call.name);
    return Value{};
  }
  const Bytes size{static_cast<uint64_t>(wanted)};
  const auto start = s.machine->vm().vmalloc().allocate(size, {.flags = flags});
  if (!start) {
    s.note("{}: NULL", call.name);
    if (!mm::has(flags, Gfp::NoWarn)) s.note("vmalloc error: size {}, failed to allocate pages, mode:{:#x}({})", size.value(), static_cast<uint32_t>(flags), mm::gfp_text(flags));
    return Value{};
  }
  s.note("{}: {:#x}, {} pages and a guard page; the first frame is pfn {:#x}", call.name, start->value(), size.pages_up().value(), s.frame_behind(*start)->value());
  return s.booked({.kind = Allocation::Kind::Vmalloc, .address = *start, .size = size}, call);
}

// The frames of a block, or of elements 0 to COUNT - 1 of an array; their owners by number.
Result<std::vector<uint32_t>, ScriptError> blocks_of(Session& s, const Call& call) {
  const Expression& e = call.statement.operands[0];
  const int64_t count = call.operands.size() > 1 ? call.operands[1].number : 1;
  if (count < 1) return fail(ScriptError{e.at, fmt::format("{} blocks: vmap needs at least one", count)});
  std::vector<uint32_t> owners;
  if (call.operands.size() < 2) {
    if (!call.operands[0].is_null()) owners.push_back(call.operands[0].allocation);
    return owners;
  }
  const auto& elements = s.variables[e.text];
  for (int64_t i = 0; i < count; ++i) {
    const auto element = elements.find(i);
    if (element == elements.end()) return fail(ScriptError{e.at, fmt::format("{}[{}] has no value: nothing was assigned to it", e.text, i)});
    if (element->second.is_null()) return std::vector<uint32_t>{};
    owners.push_back(element->second.allocation);
  }
  return owners;
}

Outcome vmap(Session& s, const Call& call) {
  const std::vector<uint32_t> owners = TRY(blocks_of(s, call));
  if (owners.empty()) {
    s.report(oops_report(s, VirtAddr{0}, false));
    return Value{};
  }
  std::vector<Pfn> frames;
  for (const uint32_t id : owners) {
    const Allocation& a = s.ledger.at(id);
    if (!a.live()) {
      s.report({fmt::format("use after free: vmap of pages of {} (line {}), freed at line {}", a.name, a.line, a.freed_line), ""});
      return Value{};
    }
    if (a.mapped_by) {
      s.report({fmt::format("vmap of pages of {} (line {}), which {} maps already: the lab keeps one mapping at a time", a.name, a.line, s.ledger.at(a.mapped_by).name), ""});
      return Value{};
    }
    for (Pages i{0}; i < a.order.pages(); ++i) frames.push_back(a.first + i);
  }
  const auto start = s.machine->vm().vmalloc().map(frames);
  if (!start) {
    s.note("{}: NULL: no memory for the page tables", call.name);
    return Value{};
  }
  s.note("{}: {:#x}, {} pages in a row of virtual addresses", call.name, start->value(), frames.size());
  const Value v = s.booked({.kind = Allocation::Kind::Vmap, .address = *start, .size = Pages{frames.size()}.bytes()}, call);
  for (const uint32_t id : owners) s.ledger.at(id).mapped_by = v.allocation;
  return v;
}

void forget_mapping(Session& s, uint32_t id) {
  for (const Allocation& a : s.ledger.all())
    if (a.mapped_by == id) s.ledger.at(a.id).mapped_by = 0;
}

// vfree and vunmap.
Outcome release(Session& s, const Call& call, Allocation::Kind kind) {
  const Value& v = call.operands[0];
  const std::string_view operation = call.statement.operation->name;
  const VirtAddr address = v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address;
  if (v.is_null() || address.value() == 0) {
    s.note("{} of NULL: nothing to do", operation);
    return Value{};
  }
  const Allocation* own = v.allocation && s.ledger.at(v.allocation).address == address ? &s.ledger.at(v.allocation) : s.ledger.find(address);
  if (own && !own->live()) {
    std::string what = fmt::format("double free: {} of {:#x}, allocated as {} at line {}, was freed at line {}", operation, address.value(), own->name, own->line, own->freed_line);
    s.report(free_report(s, address, std::move(what), own));
    return Value{};
  }
  if (!own || own->kind != kind) {
    std::string what = fmt::format("invalid free: Trying to {}() bad address ({:#x})", operation, address.value());
    if (own) what += fmt::format(": {} (line {}) is {}", own->name, own->line,
                                 own->kind == Allocation::Kind::Vmalloc ? "vmalloc memory: use vfree"
                                 : own->kind == Allocation::Kind::Vmap  ? "a vmap: use vunmap"
                                 : own->kind == Allocation::Kind::Kmap  ? "a kmap: use kunmap"
                                 : own->kind == Allocation::Kind::Pages ? "pages: use free_pages"
                                                                        : "kmalloc memory: use kfree");
    s.report(free_report(s, address, std::move(what), own));
    return Value{};
  }
  mm::Vmalloc& areas = s.machine->vm().vmalloc();
  const auto done = kind == Allocation::Kind::Vmalloc ? areas.try_free(address) : areas.try_unmap(address);
  if (!done) {
    s.report(free_report(s, address, fmt::format("{} of {:#x}: {}", operation, address.value(), mm::vmalloc_error_text(done.error())), own));
    return Value{};
  }
  s.ledger.free(own->id, call.line());
  if (kind == Allocation::Kind::Vmap) forget_mapping(s, own->id);
  return Value{};
}

// The frame that kmap is asked for; nullopt after a report.
std::optional<Pfn> page_of(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  if (v.is_null()) {
    s.report(oops_report(s, VirtAddr{0}, false));
    return std::nullopt;
  }
  const Allocation& a = s.ledger.at(v.allocation);
  if (a.live()) return v.frame;
  s.report({fmt::format("use after free: {} of pages of {} (line {}), freed at line {}", call.statement.operation->name, a.name, a.line, a.freed_line), ""});
  return std::nullopt;
}

Outcome kmap(Session& s, const Call& call, bool atomic) {
  const auto frame = page_of(s, call);
  if (!frame) return Value{};
  mm::Kmap& kmap = s.machine->vm().kmap();
  const auto address = atomic ? kmap.map_atomic(*frame) : kmap.map(*frame);
  if (!address) {
    s.note("{}: NULL: {}", call.name, mm::kmap_error_text(address.error()));
    return Value{};
  }
  const uint32_t pages = call.operands[0].allocation;
  if (!s.in_high_memory(*frame)) {
    s.note("{}: {:#x}: low memory has a place in the direct map already, nothing is mapped", call.name, address->value());
    return Value::of_address(*address, pages);
  }
  s.note("{}: {:#x}, slot {} -> pfn {:#x}", call.name, address->value(), (*address - mm::kPkmapBase).pages_down().value(), frame->value());
  const Value v = s.booked({.kind = Allocation::Kind::Kmap, .address = *address, .first = *frame, .size = Bytes{kPageSize}}, call);
  s.ledger.at(pages).mapped_by = v.allocation;
  return v;
}

Outcome kunmap(Session& s, const Call& call) {
  const auto frame = page_of(s, call);
  if (!frame || !s.in_high_memory(*frame)) return Value{};
  const auto done = s.machine->vm().kmap().unmap(*frame);
  if (!done) {
    s.report({fmt::format("BUG: kunmap of pfn {:#x}: {}", frame->value(), mm::kmap_error_text(done.error())), ""});
    return Value{};
  }
  // The latest mapping of the page goes; the one before it, if there is one, is the page's again.
  Allocation& pages = s.ledger.at(call.operands[0].allocation);
  const uint32_t gone = pages.mapped_by;
  pages.mapped_by = 0;
  for (const Allocation& a : s.ledger.all())
    if (a.live() && a.kind == Allocation::Kind::Kmap && a.first == *frame && a.id != gone) pages.mapped_by = a.id;
  if (gone) s.ledger.free(gone, call.line());
  return Value{};
}

Outcome kunmap_atomic(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  const Allocation* a = v.allocation ? &s.ledger.at(v.allocation) : nullptr;
  if (a && a->kind == Allocation::Kind::Pages && s.in_direct_map(v.address)) return Value{};  // low memory
  const VirtAddr address = v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address;
  const auto done = s.machine->vm().kmap().unmap_atomic(address);
  if (!done) {
    s.report({fmt::format("BUG: {} of {:#x}: {}", call.statement.operation->name, address.value(), mm::kmap_error_text(done.error())), ""});
    return Value{};
  }
  if (!a) a = s.ledger.find(address);
  if (!a || !a->live()) return Value{};
  s.ledger.free(a->id, call.line());
  forget_mapping(s, a->id);
  return Value{};
}

}  // namespace

Outcome run_vmalloc_operation(Session& s, const Call& call) {
  switch (call.statement.operation->id) {
    case OperationId::Vmalloc: return vmalloc(s, call, call.statement.gfp);
    case OperationId::Vzalloc: return vmalloc(s, call, call.statement.gfp | Gfp::Zero);
    case OperationId::Vfree: return release(s, call, Allocation::Kind::Vmalloc);
    case OperationId::Vmap: return vmap(s, call);
    case OperationId::Vunmap: return release(s, call, Allocation::Kind::Vmap);
    case OperationId::Kmap: return kmap(s, call, false);
    case OperationId::KmapAtomic: return kmap(s, call, true);
    case OperationId::Kunmap: return kunmap(s, call);
    default: return kunmap_atomic(s, call);
  }
}

}  // namespace vitro::lab
