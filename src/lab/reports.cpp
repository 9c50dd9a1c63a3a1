#include "lab/reports.h"

#include <algorithm>

namespace vitro::lab {
namespace {

constexpr Bytes kMostShown{64};  // of an object's content in a report; SLUB shows up to a page

template <class... Args>
void print(std::string& out, fmt::format_string<Args...> format, Args&&... args) {
  fmt::format_to(std::back_inserter(out), format, std::forward<Args>(args)...);
}

void append_history(std::string& out, const Allocation* a) {
  if (!a) {
    out += "Never allocated in this lab\n";
    return;
  }
  print(out, "Allocated as {} at line {}: {}\n", a->name, a->line, a->call);
  if (!a->live()) print(out, "Freed at line {}\n", a->freed_line);
}

void append_slab(std::string& out, Session& s, VirtAddr object) {
  const Pfn slab = s.frames().head_of(mm::direct_map_physical(object).pfn());
  const mm::Frame& f = s.frames()[slab];
  print(out, "Slab at pfn {:#x}: objects={} used={} fp={:#x}\n", slab.value(), f.slab_objects, f.slab_inuse, f.slab_freelist);
  print(out, "Object {:#x} @offset={}\n", object.value(), (object - mm::direct_map(slab.address())).value());
}

std::string headline_text(std::string_view subject, std::string_view what) {
  constexpr std::string_view kDoubleRule = "=============================================================================\n";
  constexpr std::string_view kRule = "-----------------------------------------------------------------------------\n";
  return fmt::format("{}BUG {} (Not tainted): {}\n{}", kDoubleRule, subject, what, kRule);
}

std::span<const std::byte> bytes_at(Session& s, VirtAddr a, Bytes n) { return s.machine->ram().read(mm::direct_map_physical(a), n); }

}  // namespace

void append_hex_dump(std::string& out, std::string_view label, VirtAddr from, std::span<const std::byte> bytes) {
  for (size_t at = 0; at < bytes.size(); at += 16) {
    const auto row = bytes.subspan(at, std::min<size_t>(16, bytes.size() - at));
    print(out, "{:<9}{:016x}: ", label, from.value() + at);
    std::string ascii;
    for (size_t i = 0; i < 16; ++i) {
      if (i >= row.size()) {
        out += "   ";
        continue;
      }
      const auto b = static_cast<unsigned>(row[i]);
      print(out, "{:02x} ", b);
      ascii += b >= 32 && b < 127 ? static_cast<char>(b) : '.';
    }
    print(out, " {}\n", ascii);
  }
}

std::string describe_object(Session& s, VirtAddr object) {
  const mm::SlabCache* cache = s.machine->slabs().cache_of(object);
  if (!cache) return "no slab object";
  const Pfn slab = s.frames().head_of(mm::direct_map_physical(object).pfn());
  const uint64_t number = (object - mm::direct_map(slab.address())).value() / cache->size().value();
  return fmt::format("{} object {} of {} in the slab at pfn {:#x} (zone {})", cache->name(), number, s.frames()[slab].slab_objects, slab.value(),
                     s.zone_name_of(slab));
}

KernelError slab_damage_report(Session& s, const mm::SlabDamage& damage) {
  const mm::SlabCache& cache = *damage.cache;
  const std::string_view what = mm::slab_damage_text(damage.kind);
  const Allocation* about = s.ledger.find(damage.object);
  const Pfn slab = s.frames().head_of(mm::direct_map_physical(damage.object).pfn());
  KernelError e;
  e.headline = fmt::format("BUG {}: {}", cache.name(), what);
  if (about) e.headline += fmt::format(": object of {}, allocated at line {}", about->name, about->line);
  if (about && !about->live()) e.headline += fmt::format(", freed at line {}", about->freed_line);
  e.text = headline_text(cache.name(), what);
  const VirtAddr last = damage.first + damage.length - Bytes{1};
  print(e.text, "{:#x}-{:#x} @offset={}. First byte {:#x}", damage.first.value(), last.value(), (damage.first - mm::direct_map(slab.address())).value(),
        static_cast<unsigned>(damage.found));
  if (damage.kind != mm::SlabDamage::Kind::FreePointer) print(e.text, " instead of {:#x}", static_cast<unsigned>(damage.expected));
  e.text += '\n';
  append_history(e.text, about);
  append_slab(e.text, s, damage.object);
  const Bytes left = cache.red_zone_left(), right = cache.red_zone_right();
  if (left.value()) append_hex_dump(e.text, "Redzone", damage.object - left, bytes_at(s, damage.object - left, left));
  append_hex_dump(e.text, "Object", damage.object, bytes_at(s, damage.object, std::min(cache.object_size(), kMostShown)));
  if (right.value()) append_hex_dump(e.text, "Redzone", damage.object + cache.object_size(), bytes_at(s, damage.object + cache.object_size(), right));
  return e;
}

KernelError free_report(Session& s, VirtAddr address, std::string headline, const Allocation* about) {
  KernelError e;
  const mm::SlabCache* cache = s.machine->slabs().cache_of(address);
  e.text = headline_text(cache ? cache->name() : "mm", headline);
  append_history(e.text, about);
  if (cache)
    if (const auto object = s.object_around(address)) append_slab(e.text, s, *object);
  e.headline = std::move(headline);
  return e;
}

KernelError oops_report(Session& s, VirtAddr address, bool write) {
  KernelError e;
  if (!hw::canonical(address)) {
    e.headline = fmt::format("general protection fault, probably for non-canonical address {:#x}", address.value());
    return e;
  }
  const hw::WalkResult walk = s.machine->walk_kernel(address);
  e.headline = address.value() < kPageSize ? fmt::format("BUG: kernel NULL pointer dereference, address: {:016x}", address.value())
                                           : fmt::format("BUG: unable to handle page fault for address: {:016x}", address.value());
  e.text = e.headline + "\n";
  print(e.text, "#PF: supervisor {} access in kernel mode\n#PF: error_code({:#06x}) - not-present page\n", write ? "write" : "read", write ? 2 : 0);
  constexpr std::string_view kLevels[] = {"", "PTE", "PMD", "PUD", "PGD"};
  for (unsigned i = 0; i < walk.references; ++i)
    print(e.text, "{}{} {:x}", i ? " " : "", kLevels[walk.steps[i].level], walk.steps[i].entry.raw);
  if (walk.references) e.text += '\n';
  return e;
}

void note_failure(Session& s, mm::Gfp flags, Order order) {
  if (mm::has(flags, mm::Gfp::NoWarn)) return;
  s.note("page allocation failure: order:{}, mode:{:#x}({})", order.value(), static_cast<uint32_t>(flags), mm::gfp_text(flags));
}

}  // namespace vitro::lab
