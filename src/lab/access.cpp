// Reading and writing memory through a pointer, as a module does: past the end of an object, or after it was freed, where the kernel's page
// tables allow it. What a real machine would not survive (page tables, the kernel's own objects) is refused and reported instead.
#include <algorithm>

#include "lab/reports.h"
#include "lab/session.h"

namespace vitro::lab {
namespace {

constexpr int64_t kMostBytes = int64_t{64} << 20;

bool owned_by_lab(const Session& s, const mm::SlabCache& cache) {
  return cache.is_kmalloc() || std::ranges::any_of(s.caches, [&](const LabCache& c) { return c.cache == &cache; });
}

// Why a frame must not be touched; empty where it may be.
std::string refusal(Session& s, Pfn f) {
  const mm::FrameState state = s.machine->physical().state_of(f);
  const mm::Frame& frame = s.frames()[f];
  switch (state) {
    case mm::FrameState::Slab:
      if (owned_by_lab(s, *frame.slab)) return "";
      return fmt::format("an object of the kernel's own cache {}", frame.slab->name());
    case mm::FrameState::Kernel: case mm::FrameState::Vmalloc: return "";
    case mm::FrameState::Free: case mm::FrameState::PerCpu: return frame.written ? "" : "a frame that nobody ever had";
    default: return fmt::format("a frame of state {}", mm::frame_state_name(state));
  }
}

// Where `n` bytes from `a` on lie, page by page; nothing after a report of why not.
std::optional<std::vector<std::pair<PhysAddr, Bytes>>> locate(Session& s, VirtAddr a, Bytes n, bool write) {
  std::vector<std::pair<PhysAddr, Bytes>> pieces;
  for (Bytes done{0}; done < n;) {
    const VirtAddr at = a + done;
    const Bytes piece = std::min(n - done, Bytes{kPageSize} - at.page_offset());
    const auto frame = s.frame_behind(at);
    if (!frame) {
      s.report(oops_report(s, at, write));
      return std::nullopt;
    }
    if (std::string why = refusal(s, *frame); !why.empty()) {
      s.report({fmt::format("BUG: {} at {:#x} would {} {} (pfn {:#x})", write ? "write" : "read", at.value(), write ? "destroy" : "look into", why, frame->value()), ""});
      return std::nullopt;
    }
    pieces.emplace_back(frame->address() + at.page_offset(), piece);
    done += piece;
  }
  return pieces;
}

// A free object's pointer to the next free one, and the slab that it must lead into.
struct Link {
  PhysAddr at;
  uint64_t value;
  VirtAddr slab;
  Bytes slab_size;
};

// The links of free objects that lie in [a, a + n), a part of one page.
void collect_links(Session& s, VirtAddr a, Bytes n, std::vector<Link>& links) {
  const mm::SlabCache* cache = s.machine->slabs().cache_of(a);
  if (!cache) return;
  const Pfn slab = s.frames().head_of(mm::direct_map_physical(a).pfn());
  const VirtAddr start = mm::direct_map(slab.address());
  const Bytes size{kPageSize << s.frames()[slab].order};
  const uint64_t step = cache->size().value();
  for (uint64_t i = (a - start).value() / step; i < s.frames()[slab].slab_objects; ++i) {
    const VirtAddr object = start + cache->red_zone_left() + Bytes{i * step}, link = object + cache->free_pointer_offset();
    if (object - cache->red_zone_left() >= a + n) break;
    if (link + Bytes{8} <= a || link >= a + n) continue;
    if (const auto state = cache->check(object); state || state.error() != mm::SlabError::DoubleFree) continue;
    const PhysAddr at = mm::direct_map_physical(link);
    links.push_back({at, s.machine->ram().at<uint64_t>(at), start, size});
  }
}

// Linux stores free pointers encoded (CONFIG_SLAB_FREELIST_HARDENED), so that one of which a part was overwritten leads nowhere near its slab.
// Here they are plain addresses: one that was changed and still leads into the slab is turned into the same rubbish. Lists may lose objects that
// way, and never gain a loop or an object that somebody has.
void scramble(Session& s, const std::vector<Link>& links) {
  for (const Link& l : links) {
    uint64_t& now = s.machine->ram().at<uint64_t>(l.at);
    if (now != l.value && now - l.slab.value() < l.slab_size.value()) now = ~now;
  }
}

VirtAddr address_of(const Value& v) { return v.kind == Value::Kind::Number ? VirtAddr{static_cast<uint64_t>(v.number)} : v.address; }

// Says what an access does that is none of the pointer's business.
void note_strays(Session& s, const Value& v, VirtAddr a, Bytes n, bool write) {
  if (!v.allocation) {
    s.corrupted |= write;
    return;
  }
  const Allocation& own = s.ledger.at(v.allocation);
  const std::string_view verb = write ? "written" : "read";
  if (!own.live()) {
    s.corrupted |= write;
    s.note("use after free: {} was freed at line {}", own.name, own.freed_line);
    if (const Allocation* now = s.ledger.containing(a); now && now->id != own.id) s.note("what is {} belongs to {} (line {}) now", verb, now->name, now->line);
    return;
  }
  const bool before = a < own.address, behind = a + n > own.address + own.size;
  if (!before && !behind) return;
  const Bytes usable = own.kind == Allocation::Kind::Object || own.kind == Allocation::Kind::LargeKmalloc ? s.machine->slabs().usable_size(own.address) : own.size;
  if (!before && a + n <= own.address + usable) {
    s.note("{} bytes behind the {} asked for: still {}'s, as its object has {}", (a + n - (own.address + own.size)).value(), own.size.value(), own.name, usable.value());
    return;
  }
  s.corrupted |= write;
  if (before) s.note("out of bounds: {} bytes in front of {}", std::min(own.address - a, n).value(), own.name);
  if (behind) s.note("out of bounds: up to {} bytes behind the {} of {}", (a + n - (own.address + usable)).value(), usable.value(), own.name);
  for (const Allocation& other : s.ledger.all())
    if (other.live() && other.id != own.id && other.kind != Allocation::Kind::UserMemory && other.address < a + n && a < other.address + other.size)
      s.note("bytes of {} (line {}) are {}", other.name, other.line, verb);
}

Outcome access(Session& s, const Call& call, bool write) {
  const Value& v = call.operands[0];
  const size_t at_count = write ? 3 : 2;
  const int64_t offset = call.operands[1].number;
  const int64_t count = call.operands.size() > at_count ? call.operands[at_count].number : write ? 1 : 16;
  if (count < 1 || count > kMostBytes) return fail(ScriptError{call.statement.at, fmt::format("{} bytes: the count is 1 to {}", count, kMostBytes)});
  const int64_t value = write ? call.operands[2].number : 0;
  if (value < 0 || value > 255) return fail(ScriptError{call.statement.at, fmt::format("{} is no byte: 0 to 255, or 0x00 to 0xff", value)});
  if (v.kind == Value::Kind::Pages && s.in_high_memory(v.frame)) {
    s.report({fmt::format("BUG: pages of high memory have no address: kmap pfn {:#x} first", v.frame.value()), ""});
    return Value{};
  }
  const VirtAddr a{address_of(v).value() + static_cast<uint64_t>(offset)};
  const Bytes n{static_cast<uint64_t>(count)};
  if (a.value() > UINT64_MAX - n.value()) {
    s.report(oops_report(s, a, write));
    return Value{};
  }
  const auto pieces = locate(s, a, n, write);
  if (!pieces) return Value{};
  note_strays(s, v, a, n, write);
  std::string dump;
  std::vector<Link> links;
  VirtAddr at = a;
  for (const auto& [where, size] : *pieces) {
    if (write && s.in_direct_map(at)) collect_links(s, at, size, links);
    at = at + size;
  }
  at = a;
  for (const auto& [where, size] : *pieces) {
    if (write) std::ranges::fill(s.machine->ram().write(where, size), std::byte(value));
    else append_hex_dump(dump, "", at, s.machine->ram().read(where, size));
    at = at + size;
  }
  scramble(s, links);
  for (size_t from = 0; from < dump.size();) {
    const size_t end = dump.find('\n', from);
    s.note("{}", dump.substr(from + 9, end - from - 9));
    from = end + 1;
  }
  return Value{};
}

Outcome phys(Session& s, const Call& call) {
  const Value& v = call.operands[0];
  if (v.kind == Value::Kind::Pages) {
    s.note("page_to_phys: pfn {:#x} << 12 = {:#x}", v.frame.value(), v.frame.address().value());
    return Value{};
  }
  const VirtAddr a = address_of(v);
  const auto frame = s.frame_behind(a);
  if (!frame) s.note("{:#x}: nothing is mapped there", a.value());
  else if (s.in_direct_map(a)) s.note("virt_to_phys({:#x}) = {:#x} - {:#x} = {:#x}", a.value(), a.value(), mm::kDirectMapBase.value(), mm::direct_map_physical(a).value());
  else s.note("{:#x} is not in the direct map: the page tables lead to {:#x} (pfn {:#x})", a.value(), (frame->address() + a.page_offset()).value(), frame->value());
  return Value{};
}

}  // namespace

Outcome run_access(Session& s, const Call& call) {
  switch (call.statement.operation->id) {
    case OperationId::Write: return access(s, call, true);
    case OperationId::Read: return access(s, call, false);
    default: return phys(s, call);
  }
}

}  // namespace vitro::lab
