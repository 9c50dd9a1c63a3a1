// The fields of expressions: zone(p), free(DMA, 3), slabs(c) ... Each is read from the allocators' state when it is asked for.
#include <algorithm>

#include "lab/evaluate.h"

namespace vitro::lab {
namespace {

using Kind = Value::Kind;

constexpr int64_t kNothing = -1;  // a number that is not there: zone(NULL) is none, pfn(NULL) is -1

Value number(uint64_t n) { return Value::of_number(static_cast<int64_t>(n)); }

// What a pointer or pages stand for.
struct Thing {
  VirtAddr address{0};
  std::optional<Pfn> frame;
  const Allocation* owner = nullptr;  // live or not
};

Thing thing_of(Session& s, const Value& v, uint64_t offset = 0) {
  Thing t;
  if (v.is_null()) return t;
  if (v.allocation) t.owner = &s.ledger.at(v.allocation);
  if (v.kind == Kind::Pages) {
    t.address = v.address.value() ? v.address + Bytes{offset} : v.address;
    const Pfn frame = v.frame + Bytes{offset}.pages_down();
    if (frame.value() < s.frames().size().value()) t.frame = frame;
    return t;
  }
  t.address = VirtAddr{(v.kind == Kind::Number ? static_cast<uint64_t>(v.number) : v.address.value()) + offset};
  if (!t.owner) t.owner = s.ledger.containing(t.address);
  t.frame = s.frame_behind(t.address);
  return t;
}

Bytes size_of(Session& s, const Thing& t) {
  if (!t.owner) return Bytes{0};
  if (t.owner->live() && (t.owner->kind == Allocation::Kind::Object || t.owner->kind == Allocation::Kind::LargeKmalloc)) return s.machine->slabs().usable_size(t.owner->address);
  return t.owner->size;
}

// yes, no, or none where not everything is mapped.
std::string_view contiguous(Session& s, const Value& v, const Thing& t) {
  if (!t.owner || !t.frame) return "none";
  if (v.kind == Kind::Pages) return "yes";
  const VirtAddr first = t.owner->address.page_floor();
  const auto start = s.frame_behind(first);
  if (!start) return "none";
  for (Pages i{1}; first + i < t.owner->address + t.owner->size; ++i) {
    const auto next = s.frame_behind(first + i);
    if (!next) return "none";
    if (*next != *start + i) return "no";
  }
  return "yes";
}

std::string_view migrate_type(Session& s, Pfn f) { return mm::migrate_type_name(s.zone_of(f).buddy().pageblock_type(f)); }

Outcome of_thing(Session& s, const Expression& e, const std::vector<Value>& args) {
  const Value& v = args[0];
  const uint64_t offset = args.size() > 1 && args[1].kind == Kind::Number ? static_cast<uint64_t>(args[1].number) : 0;
  const FieldId id = e.field->id;
  const Thing t = thing_of(s, v, id == FieldId::Pfn || id == FieldId::Phys || id == FieldId::Byte ? offset : 0);
  const mm::SlabCache* cache = v.kind == Kind::Pages ? nullptr : s.machine->slabs().cache_of(t.address);
  const Pfn head = t.frame ? s.frames().head_of(*t.frame) : Pfn{0};
  switch (id) {
    case FieldId::Zone: return Value::of_text(t.frame ? s.zone_name_of(*t.frame) : "none");
    case FieldId::Pfn: return t.frame ? number(t.frame->value()) : Value::of_number(kNothing);
    case FieldId::Phys: return t.frame ? number((t.frame->address() + t.address.page_offset()).value()) : Value::of_number(kNothing);
    case FieldId::Virt: return number(t.address.value());
    case FieldId::Order:
      if (t.owner && t.owner->kind == Allocation::Kind::Pages) return number(t.owner->order.value());
      return t.frame ? number(s.frames()[head].order) : Value::of_number(kNothing);
    case FieldId::Size: return number(size_of(s, t).value());
    case FieldId::Pages: return number(t.owner ? Bytes{t.owner->address.page_offset() + t.owner->size}.pages_up().value() : 0);
    case FieldId::Cache:
      if (cache) return Value::of_text(cache->name());
      return Value::of_text(t.owner && t.owner->kind == Allocation::Kind::LargeKmalloc ? "kmalloc-large" : "none");
    case FieldId::Slab: return cache ? number(head.value()) : Value::of_number(kNothing);
    case FieldId::Object:
      if (!cache) return Value::of_number(kNothing);
      return number((t.address - mm::direct_map(head.address())).value() / cache->size().value());
    case FieldId::State: return Value::of_text(t.frame ? mm::frame_state_name(s.machine->physical().state_of(*t.frame)) : "none");
    case FieldId::RefCount: return t.frame ? number(s.frames()[head].refcount) : Value::of_number(kNothing);
    case FieldId::MigrateType: return Value::of_text(t.frame ? migrate_type(s, *t.frame) : "none");
    case FieldId::Contiguous: return Value::of_text(contiguous(s, v, t));
    default: break;
  }
  // Byte.
  const auto frame = v.kind == Kind::Pages && t.address.value() == 0 ? std::nullopt : s.frame_behind(t.address);
  if (!frame) return Value::of_number(kNothing);
  return number(static_cast<uint64_t>(s.machine->ram().read(frame->address() + t.address.page_offset(), Bytes{1})[0]));
}

// The zones that a field means: all of them where none is named. Errors: a word that is no zone.
Result<std::vector<const mm::Zone*>, ScriptError> zones_of(Session& s, const Expression& e, const std::vector<Value>& args) {
  std::vector<const mm::Zone*> chosen;
  for (const mm::Zone& z : s.machine->physical().zones())
    if (z.populated() && (args.empty() || z.name() == args[0].text)) chosen.push_back(&z);
  if (!args.empty() && args[0].kind != Kind::Text) return fail(ScriptError{e.at, fmt::format("{} needs a zone: {}", e.text, e.field->usage)});
  return chosen;
}

std::optional<mm::MigrateType> find_migrate_type(std::string_view name) {
  for (unsigned i = 0; i < mm::kMigrateTypes; ++i)
    if (mm::migrate_type_name(static_cast<mm::MigrateType>(i)) == name) return static_cast<mm::MigrateType>(i);
  return std::nullopt;
}

Outcome free_frames(const Expression& e, const std::vector<const mm::Zone*>& zones, const std::vector<Value>& args) {
  uint64_t sum = 0;
  if (args.size() < 2) {
    for (const mm::Zone* z : zones) sum += z->free_frames().value();
    return number(sum);
  }
  const int64_t order = args[1].number;
  if (args[1].kind != Kind::Number || order < 0 || order > mm::kMaxOrder.value())
    return fail(ScriptError{e.at, fmt::format("an order is a number from 0 to {}", mm::kMaxOrder.value())});
  const auto type = args.size() > 2 ? find_migrate_type(args[2].text) : std::nullopt;
  if (args.size() > 2 && !type) return fail(ScriptError{e.at, fmt::format("'{}' is no migrate type", args[2].text)});
  const Order o{static_cast<uint8_t>(order)};
  for (const mm::Zone* z : zones) sum += type ? z->buddy().free_blocks(o, *type) : z->buddy().free_blocks(o);
  return number(sum);
}

int64_t largest_order(const std::vector<const mm::Zone*>& zones) {
  for (int order = mm::kMaxOrder.value(); order >= 0; --order)
    for (const mm::Zone* z : zones)
      if (z->buddy().free_blocks(Order{static_cast<uint8_t>(order)})) return order;
  return kNothing;
}

unsigned zone_type(std::string_view name) {
  unsigned i = 0;
  while (i + 1 < mm::kZoneTypes && mm::zone_name(i) != name) ++i;
  return i;
}

Outcome of_zones(Session& s, const Expression& e, const std::vector<Value>& args) {
  const std::vector<const mm::Zone*> zones = TRY(zones_of(s, e, args));
  const auto sum = [&](auto&& part) {
    uint64_t n = 0;
    for (const mm::Zone* z : zones) n += part(*z);
    return number(n);
  };
  using mm::Watermark;
  switch (e.field->id) {
    case FieldId::Free: return free_frames(e, zones, args);
    case FieldId::PerCpu: return sum([](const mm::Zone& z) { return z.per_cpu_frames().value(); });
    case FieldId::Min: return sum([](const mm::Zone& z) { return z.watermark(Watermark::Min).value(); });
    case FieldId::Low: return sum([](const mm::Zone& z) { return z.watermark(Watermark::Low).value(); });
    case FieldId::High: return sum([](const mm::Zone& z) { return z.watermark(Watermark::High).value(); });
    case FieldId::Managed: return sum([](const mm::Zone& z) { return z.managed().value(); });
    case FieldId::Present: return sum([](const mm::Zone& z) { return z.present().value(); });
    case FieldId::Reserve: return sum([&](const mm::Zone& z) { return z.lowmem_reserve(zone_type(args[1].text)).value(); });
    case FieldId::Pageblocks: {
      const auto type = find_migrate_type(args[1].text);
      if (!type) return fail(ScriptError{e.at, fmt::format("'{}' is no migrate type", args[1].text)});
      return sum([&](const mm::Zone& z) { return z.buddy().pageblocks(*type); });
    }
    default: return Value::of_number(largest_order(zones));
  }
}

Outcome of_cache(Session& s, const Expression& e, const std::vector<Value>& args) {
  const mm::SlabCache* cache = s.cache_of(args[0]);
  if (!cache) {
    if (args[0].kind == Kind::Text) return fail(ScriptError{e.at, fmt::format("there is no cache '{}': show slabinfo lists them", args[0].text)});
    return Value::of_number(kNothing);
  }
  const mm::SlabCache::Counts c = cache->counts();
  switch (e.field->id) {
    case FieldId::Slabs: return number(c.slabs);
    case FieldId::Objects: return number(c.objects);
    case FieldId::InUse: return number(c.allocated);
    case FieldId::Full: return number(c.full_slabs);
    case FieldId::Partial: return number(c.partial_slabs);
    case FieldId::Empty: return number(c.empty_slabs);
    case FieldId::CpuSlabs: return number(c.cpu_slabs);
    case FieldId::PerSlab: return number(cache->objects_per_slab());
    case FieldId::ObjectSize: return number(cache->size().value());
    default: return number(cache->order().value());
  }
}

Outcome resident(Session& s, const Value& v) {
  if (v.kind != Kind::Memory) return Value::of_number(kNothing);
  const Allocation& area = s.ledger.at(v.allocation);
  uint64_t n = 0;
  for (Pages i{0}; i < area.size.pages_up(); ++i) n += s.machine->process()->pagemap_entry((area.address + i).vpn()) >> 63;
  return number(n);
}

}  // namespace

Outcome evaluate_field(Session& s, const Expression& e) {
  std::vector<Value> args;
  for (const Expression& a : e.operands) args.push_back(TRY(evaluate(s, a)));
  const char first = e.field->arguments.empty() ? 0 : e.field->arguments[0];
  if (first == 'x') return of_thing(s, e, args);
  if (first == 'c') return of_cache(s, e, args);
  if (first == 'l') return Value::of_text(args[0].allocation && s.ledger.at(args[0].allocation).live() ? "yes" : "no");
  if (first == 'm') return resident(s, args[0]);
  return of_zones(s, e, args);
}

}  // namespace vitro::lab
