#include "lab/session.h"

namespace vitro::lab {

std::string Session::origin(const Allocation& a) { return fmt::format("line {}: {}", a.line, a.call); }

Value Session::booked(Allocation a, const Call& call) {
  a.name = call.name.empty() ? "(nobody)" : call.name;
  a.call = call.statement.source;
  a.line = call.line();
  Value v;
  v.kind = a.kind == Allocation::Kind::Pages && call.statement.operation->result == VariableKind::Pages ? Value::Kind::Pages
           : a.kind == Allocation::Kind::UserMemory                                                     ? Value::Kind::Memory
                                                                                                        : Value::Kind::Address;
  v.address = a.address;
  v.frame = a.first;
  v.allocation = ledger.add(std::move(a));
  return v;
}

mm::Zone& Session::zone_of(Pfn f) {
  const std::span<mm::Zone> zones = machine->physical().zones();
  for (mm::Zone& z : zones)
    if (z.populated() && z.contains(f)) return z;
  return zones[0];  // frame 0, which is nobody's
}

std::optional<Pfn> Session::frame_behind(VirtAddr a) {
  if (in_direct_map(a)) return mm::direct_map_physical(a).pfn();
  if (a < mm::kDirectMapBase || !hw::canonical(a)) return std::nullopt;
  const hw::WalkResult walk = machine->walk_kernel(a);
  if (!walk.ok || !machine->ram().contains(walk.address)) return std::nullopt;
  return walk.address.pfn();
}

std::optional<VirtAddr> Session::object_around(VirtAddr a) {
  const mm::SlabCache* cache = machine->slabs().cache_of(a);
  if (!cache) return std::nullopt;
  const Pfn slab = frames().head_of(mm::direct_map_physical(a).pfn());
  const uint64_t number = (a - mm::direct_map(slab.address())).value() / cache->size().value();
  if (number >= frames()[slab].slab_objects) return std::nullopt;
  return mm::direct_map(slab.address()) + cache->red_zone_left() + cache->size() * number;
}

mm::SlabCache* Session::cache_of(const Value& v) {
  if (v.kind == Value::Kind::Cache) return caches[v.allocation - 1].cache;
  return v.kind == Value::Kind::Text ? machine->slabs().find(v.text) : nullptr;
}

Outcome run_operation(Session& s, const Call& call) {
  using enum OperationId;
  switch (call.statement.operation->id) {
    case Kmalloc: case Kzalloc: case Krealloc: case Kfree: case CacheCreate: case CacheAlloc: case CacheZalloc: case CacheFree: case CacheShrink:
    case CacheDestroy: case Shrink:
      return run_slab_operation(s, call);
    case AllocPages: case FreePages: case GetFreePages: case GetZeroedPage: case Virt: case Drain: case Compact:
      return run_page_operation(s, call);
    case Vmalloc: case Vzalloc: case Vfree: case Vmap: case Vunmap: case Kmap: case KmapAtomic: case Kunmap: case KunmapAtomic:
      return run_vmalloc_operation(s, call);
    case Write: case Read: case Phys:
      return run_access(s, call);
    case Mmap: case Touch: case Munmap:
      return run_process_operation(s, call);
  }
  return Value{};
}

}  // namespace vitro::lab
