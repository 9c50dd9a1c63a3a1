// kmalloc and kmem_cache_*: a call to the slab allocator, and the book-keeping that lets a mistake be named.
#include <algorithm>
#include <bit>

#include "lab/reports.h"
#include "lab/session.h"

namespace vitro::lab {
namespace {

using mm::Gfp;

constexpr Bytes kLargestObject{8192};
constexpr uint64_t kZeroSizePointer = 16;  // include/linux/slab.h: ZERO_SIZE_PTR, what kmalloc(0) returns

Order order_for(Bytes size) {
  const uint64_t pages = size.pages_up().value();
  return Order{static_cast<uint8_t>(pages <= 1 ? 0 : std::min<unsigned>(static_cast<unsigned>(std::bit_width(pages - 1)), 63))};
}

// kmalloc_fix_flags: slab memory must have an address in the direct map.
Gfp fixed(Session& s, Gfp flags) {
  const Gfp bad = flags & (Gfp::HighMem | Gfp::Dma32);
  if (bad == Gfp::None) return flags;
  const Gfp good = mm::without(flags, bad);
  s.note("Unexpected gfp: {:#x} ({}). Fixing up to gfp: {:#x} ({}). Fix your code!", static_cast<uint32_t>(bad), mm::gfp_text(bad),
         static_cast<uint32_t>(good), mm::gfp_text(good));
  return good;
}

void warn_handed_out_twice(Session& s, const Call& call, VirtAddr object) {
  const Allocation* before = s.ledger.find(object);
  if (!before || !before->live()) return;
  s.corrupted = true;
  s.report(free_report(s, object,
                       fmt::format("free list corrupted: {} was given {:#x}, which still belongs to {} (line {})", call.name, object.value(), before->name,
                                   before->line),
                       before));
}

Value book_object(Session& s, const Call& call, VirtAddr object, Bytes size) {
  warn_handed_out_twice(s, call, object);
  mm::SlabCache* cache = s.machine->slabs().cache_of(object);
  Allocation a{.kind = cache ? Allocation::Kind::Object : Allocation::Kind::LargeKmalloc, .address = object, .size = size, .cache = cache};
  if (cache) {
    a.cache_name = cache->name();
    s.note("{}: {:#x}, {}", call.name.empty() ? "result" : call.name, object.value(), describe_object(s, object));
  } else {
    const Pfn pfn = mm::direct_map_physical(object).pfn();
    s.note("{}: {:#x}, {} pages from the buddy allocator at pfn {:#x} (zone {})", call.name.empty() ? "result" : call.name, object.value(),
           Order{s.frames()[pfn].order}.pages().value(), pfn.value(), s.zone_name_of(pfn));
  }
  return s.booked(std::move(a), call);
}

Outcome kmalloc(Session& s, const Call& call, int64_t wanted, Gfp flags) {
  if (wanted == 0) {
    s.note("{}: ZERO_SIZE_PTR ({:#x}): nothing was asked for, and it may be freed like a pointer", call.name, kZeroSizePointer);
    return Value::of_address(VirtAddr{kZeroSizePointer}, 0);
  }
  const Bytes size{static_cast<uint64_t>(wanted)};
  flags = fixed(s, flags);
  const auto object = s.machine->slabs().kmalloc(size, flags);
  if (object) return book_object(s, call, *object, size);
  s.note("{}: NULL", call.name);
  if (size > mm::kMaxOrder.pages().bytes()) s.note("kmalloc gives at most {} KiB at once", mm::kMaxOrder.pages().bytes().value() >> 10);
  else if (size > kLargestObject) note_failure(s, flags, order_for(size));
  else note_failure(s, flags, Order{0});
  return Value{};
}

// What kfree and kmem_cache_free have in common once it is clear that the address is an object of a cache, or large kmalloc memory.
void give_back(Session& s, const Call& call, const Allocation& a) {
  if (a.kind == Allocation::Kind::LargeKmalloc) {
    const auto freed = s.machine->slabs().try_kfree(a.address);
    if (freed) s.ledger.free(a.id, call.line());
    else s.report(free_report(s, a.address, fmt::format("kfree of {}: {}", a.name, mm::slab_error_text(freed.error())), &a));
    return;
  }
  mm::SlabCache* cache = s.machine->slabs().cache_of(a.address);
  const auto freed = cache && cache == a.cache ? cache->try_free(a.address) : fail(mm::SlabError::NotAnObject);
  if (freed) {
    s.ledger.free(a.id, call.line());
    return;
  }
  switch (freed.error()) {
    case mm::SlabError::DoubleFree:
      s.report(free_report(s, a.address, fmt::format("double free: {:#x} of {} is on the free list already, though nobody freed it: the list is corrupted",
                                                     a.address.value(), a.name), &a));
      break;
    case mm::SlabError::Overwritten: {
      const auto damage = cache->find_damage(a.address, true);
      KernelError e = slab_damage_report(s, *damage);
      const VirtAddr last = damage->first + damage->length - Bytes{1};
      fmt::format_to(std::back_inserter(e.text), "FIX {}: Restoring {:#x}-{:#x}={:#x}\nFIX {}: Object at {:#x} not freed\n", cache->name(),
                     damage->first.value(), last.value(), static_cast<unsigned>(damage->expected), cache->name(), a.address.value());
      std::ranges::fill(s.machine->ram().write(mm::direct_map_physical(damage->first), damage->length), damage->expected);
      s.report(std::move(e));
      break;
    }
    default:
      s.report(free_report(s, a.address, fmt::format("free of {}: {:#x} is no object any more: the free list was corrupted", a.name, a.address.value()), &a));
  }
}

// The live allocation behind a pointer that is to be freed; null after a report of what is wrong with it.
const Allocation* freeable(Session& s, const Call& call, const Value& v) {
  const std::string_view operation = call.statement.operation->name;
  const Allocation* own = v.allocation ? &s.ledger.at(v.allocation) : nullptr;
  if (own && own->address != v.address) own = nullptr;
  const Allocation* now = s.ledger.find(v.address);
  if (own && own->live()) now = own;  // handed out twice: each owner frees its own
  if (const Allocation* old = own && !own->live() ? own : now && !now->live() ? now : nullptr) {
    std::string what = fmt::format("double free: {:#x}{}, allocated as {} at line {}, was freed at line {}", v.address.value(),
                                   old->cache_name.empty() ? "" : " of " + old->cache_name, old->name, old->line, old->freed_line);
    if (now && now->live()) what += fmt::format("; it belongs to {} (line {}) now", now->name, now->line);
    else if (s.machine->slabs().cache_of(v.address)) what += ": Object already free";
    s.report(free_report(s, v.address, std::move(what), old));
    return nullptr;
  }
  if (!now) {
    const Allocation* around = s.ledger.containing(v.address);
    std::string what = fmt::format("invalid free: {} of {:#x}", operation, v.address.value());
    if (around) what += fmt::format(", {} bytes into {} (line {})", (v.address - around->address).value(), around->name, around->line);
    else what += ", which nobody was given";
    s.report(free_report(s, v.address, std::move(what), around));
    return nullptr;
  }
  if (now->kind != Allocation::Kind::Object && now->kind != Allocation::Kind::LargeKmalloc) {
    const bool pages = now->kind == Allocation::Kind::Pages;
    s.report(free_report(s, v.address,
                         fmt::format("invalid free: {} of {:#x}, which is {} of {} (line {}): use {}", operation, v.address.value(),
                                     pages ? "pages" : "vmalloc memory", now->name, now->line, pages ? "free_pages" : "vfree"),
                         now));
    return nullptr;
  }
  return now;
}

Outcome kfree(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  const VirtAddr address = v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address;
  if (v.is_null() || address.value() <= kZeroSizePointer) {
    s.note("kfree of {}: nothing to do", v.is_null() || address.value() == 0 ? "NULL" : "ZERO_SIZE_PTR");
    return Value{};
  }
  if (const Allocation* a = freeable(s, call, Value::of_address(address, v.allocation))) give_back(s, call, *a);
  return Value{};
}

Outcome krealloc(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  const int64_t wanted = call.operands[1].number;
  if (v.is_null() || (v.kind == Value::Kind::Address && v.address.value() == kZeroSizePointer)) return kmalloc(s, call, wanted, call.statement.gfp);
  if (v.kind != Value::Kind::Address) return fail(ScriptError{call.statement.at, "krealloc needs a pointer from kmalloc"});
  const Allocation* old = freeable(s, call, v);
  if (!old) return v;
  const uint32_t id = old->id;
  const VirtAddr from = old->address;
  if (wanted == 0) {
    give_back(s, call, *old);
    return Value::of_address(VirtAddr{kZeroSizePointer}, 0);
  }
  const Bytes have = s.machine->slabs().usable_size(from), size{static_cast<uint64_t>(wanted)};
  if (size <= have) {
    s.ledger.at(id).size = size;
    s.note("{}: {:#x} stays where it is: {} usable bytes are enough", call.name, from.value(), have.value());
    return v;
  }
  const Value fresh = TRY(kmalloc(s, call, wanted, call.statement.gfp));
  if (fresh.is_null()) return fresh;  // the old memory stays allocated: the classic leak
  const auto source = s.machine->ram().read(mm::direct_map_physical(from), have);
  std::ranges::copy(source, s.machine->ram().write(mm::direct_map_physical(fresh.address), have).begin());
  s.note("{} bytes copied from {:#x}, which is freed", have.value(), from.value());
  give_back(s, call, s.ledger.at(id));
  return fresh;
}

// The cache behind an operand; null after a report.
LabCache* usable_cache(Session& s, const Call& call, const Value& v) {
  if (v.is_null()) {
    s.report({fmt::format("BUG: kernel NULL pointer dereference: {} of a cache that is NULL", call.statement.operation->name), ""});
    return nullptr;
  }
  LabCache& c = s.caches[v.allocation - 1];
  if (c.cache) return &c;
  s.report({fmt::format("use after free: {} of cache {}, made at line {} and destroyed at line {}", call.statement.operation->name, c.name, c.line, c.destroyed_line), ""});
  return nullptr;
}

Outcome create(Session& s, const Call& call) {
  const Statement& st = call.statement;
  const int64_t size = call.operands[0].number;
  const int64_t align = st.align ? call.operands[1].number : 0;
  const int64_t byte = st.constructor ? call.operands.back().number : 0;
  if (byte < 0 || byte > 255) return fail(ScriptError{st.at, fmt::format("ctor={}: the constructor fills objects with a byte, 0 to 255", byte)});
  mm::SlabCacheSpec spec{.name = st.name, .object_size = Bytes{static_cast<uint64_t>(std::max<int64_t>(size, 0))},
                         .align = Bytes{static_cast<uint64_t>(std::max<int64_t>(align, 0))}, .flags = st.slab_flags};
  if (st.constructor) spec.constructor = [value = std::byte(byte)](std::span<std::byte> object) { std::ranges::fill(object, value); };
  const auto cache = align < 0 ? fail(Errno::Invalid) : s.machine->slabs().create(std::move(spec));
  if (!cache) {
    s.note("{}: NULL: {}", call.name, cache.error() == Errno::Invalid ? "the size must be 1 byte to 2 MiB, the alignment a power of two up to 4K" : "no memory");
    return Value{};
  }
  const mm::SlabCache& c = **cache;
  s.note("{}: cache {}, {} bytes asked for and {} used by an object, {} objects in a slab of {} page{}", call.name, c.name(), c.object_size().value(),
         c.size().value(), c.objects_per_slab(), c.pages_per_slab().value(), c.pages_per_slab().value() == 1 ? "" : "s");
  s.caches.push_back({*cache, c.name(), call.line(), 0});
  Value v;
  v.kind = Value::Kind::Cache;
  v.allocation = static_cast<uint32_t>(s.caches.size());
  return v;
}

Outcome cache_alloc(Session& s, const Call& call, bool zero) {
  LabCache* c = usable_cache(s, call, call.operands[0]);
  if (!c) return Value{};
  const Gfp flags = fixed(s, call.statement.gfp) | (zero ? Gfp::Zero : Gfp::None);
  const auto object = c->cache->allocate(flags);
  if (object) return book_object(s, call, *object, c->cache->object_size());
  s.note("{}: NULL", call.name);
  if (!mm::has(flags, Gfp::NoWarn)) s.note("SLUB: Unable to allocate memory, gfp={:#x}({}), cache: {}", static_cast<uint32_t>(flags), mm::gfp_text(flags), c->name);
  return Value{};
}

Outcome cache_free(Session& s, const Call& call) {
  LabCache* c = usable_cache(s, call, call.operands[0]);
  if (!c) return Value{};
  const Value& v = call.operands[1];
  const VirtAddr address = v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address;
  if (v.is_null() || address.value() < kPageSize) {
    s.report(oops_report(s, address, true));
    return Value{};
  }
  const Allocation* a = freeable(s, call, Value::of_address(address, v.allocation));
  if (!a) return Value{};
  if (s.machine->slabs().cache_of(a->address) != c->cache) {
    // cache_from_obj: says so, and gives the object to the cache that it came from.
    s.report(free_report(s, a->address, fmt::format("cache_from_obj: Wrong slab cache. {} but object is from {}", c->name, a->cache_name.empty() ? "kmalloc" : a->cache_name), a));
  }
  give_back(s, call, *a);
  return Value{};
}

Outcome cache_destroy(Session& s, const Call& call) {
  if (call.operands[0].is_null()) {
    s.note("kmem_cache_destroy of NULL: nothing to do");
    return Value{};
  }
  LabCache* c = usable_cache(s, call, call.operands[0]);
  if (!c) return Value{};
  const uint64_t out = c->cache->allocated();
  if (s.machine->slabs().destroy(*c->cache)) {
    c->cache = nullptr;
    c->destroyed_line = call.line();
    return Value{};
  }
  KernelError e{fmt::format("BUG {}: Objects remaining in {} on __kmem_cache_shutdown(): {}", c->name, c->name,
                            out ? fmt::format("{} object{} not freed", out, out == 1 ? "" : "s") : "its free lists were corrupted"),
                ""};
  for (const Allocation& a : s.ledger.all())
    if (a.live() && a.cache == c->cache) fmt::format_to(std::back_inserter(e.text), "Object {:#x} of {}, allocated at {}\n", a.address.value(), a.name, Session::origin(a));
  fmt::format_to(std::back_inserter(e.text), "kmem_cache_destroy {}: Slab cache still has objects\n", c->name);
  s.report(std::move(e));
  return Value{};
}

}  // namespace

Outcome run_slab_operation(Session& s, const Call& call) {
  switch (call.statement.operation->id) {
    case OperationId::Kmalloc: return kmalloc(s, call, call.operands[0].number, call.statement.gfp);
    case OperationId::Kzalloc: return kmalloc(s, call, call.operands[0].number, call.statement.gfp | Gfp::Zero);
    case OperationId::Krealloc: return krealloc(s, call);
    case OperationId::Kfree: return kfree(s, call);
    case OperationId::CacheCreate: return create(s, call);
    case OperationId::CacheAlloc: return cache_alloc(s, call, false);
    case OperationId::CacheZalloc: return cache_alloc(s, call, true);
    case OperationId::CacheFree: return cache_free(s, call);
    case OperationId::CacheDestroy: return cache_destroy(s, call);
    case OperationId::CacheShrink:
      if (LabCache* c = usable_cache(s, call, call.operands[0])) s.note("{} frames given back", c->cache->shrink().value());
      return Value{};
    default:
      s.note("{} frames given back", s.machine->slabs().shrink_all().value());
      return Value{};
  }
}

}  // namespace vitro::lab
