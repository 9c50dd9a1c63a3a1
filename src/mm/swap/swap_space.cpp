// Swap areas coming and going (mm/swapfile.c: swapon, swapoff, read_swap_header), and what can be seen of them.
#include "vitro/mm/swap.h"

#include <algorithm>
#include <cstring>

#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

// union swap_header: the signature ends the page, the numbers lie behind a kilobyte for a boot loader.
constexpr size_t kInfo = 1024, kBadPages = kInfo + 12 + 16 + 16 + 117 * 4, kMagic = kPageSize - 10;
constexpr std::string_view kSignature = "SWAPSPACE2";
constexpr uint32_t kMostBadPages = (kMagic - kBadPages) / 4;

struct Header {
  uint64_t pages = 0;   // the header included
  std::vector<uint64_t> bad;
};

Result<Header> read_header(std::span<const std::byte> page, uint64_t area_pages, bool regular_file) {
  if (page.size() < kPageSize || std::memcmp(page.data() + kMagic, kSignature.data(), kSignature.size()) != 0) return fail(Errno::Invalid);
  bool swapped = false;
  const auto word = [&](size_t at) {
    uint32_t n;
    std::memcpy(&n, page.data() + at, sizeof n);
    return swapped ? __builtin_bswap32(n) : n;
  };
  swapped = __builtin_bswap32(word(kInfo)) == 1;  // made on a machine of the other byte order
  const uint32_t version = word(kInfo), last = word(kInfo + 4), bad = word(kInfo + 8);
  if (version != 1 || last == 0 || bad > kMostBadPages || (bad && regular_file)) return fail(Errno::Invalid);
  Header h{uint64_t{last} + 1, {}};
  if (h.pages > area_pages) return fail(Errno::Invalid);
  for (uint32_t i = 0; i < bad; ++i) {
    const uint32_t n = word(kBadPages + 4 * i);
    if (n == 0 || n > last) return fail(Errno::Invalid);
    h.bad.push_back(n);
  }
  return h;
}

}  // namespace

SwapSpace::SwapSpace(VirtualMemory& vm) : state_(std::make_unique<State>(*this, vm)) {}

SwapSpace::~SwapSpace() {
  State& s = *state_;
  // What nobody refers to any more but the cache.
  for (auto& a : s.areas) {
    if (!a) continue;
    for (auto& index : a->cache)
      while (const auto e = index->next(PageIndex{0})) {
        Frame& f = s.frame(e->frame);
        f.clear(FrameFlag::Writeback);
        f.clear(FrameFlag::Locked);
        index->erase(e->index);
        f.clear(FrameFlag::SwapCache);
        drop_reference(s.vm, e->frame);
      }
    s.vm.vmalloc().free(a->map_memory);
  }
}

std::vector<std::byte> SwapSpace::make_header(Pages pages) {
  std::vector<std::byte> page(kPageSize);
  const uint32_t version = 1, last = static_cast<uint32_t>(pages.value() - 1);
  std::memcpy(page.data() + kInfo, &version, sizeof version);
  std::memcpy(page.data() + kInfo + 4, &last, sizeof last);
  std::memcpy(page.data() + kMagic, kSignature.data(), kSignature.size());
  return page;
}

Status SwapSpace::swap_on(SwapSource source, std::span<const std::byte> header_page, std::optional<int> priority) {
  State& s = *state_;
  if (uses(source.identity)) return fail(Errno::Busy);
  uint64_t area_pages = 0;
  for (const SwapExtent& e : source.extents) area_pages = std::max(area_pages, e.first + e.count);
  const Header header = TRY(read_header(header_page, area_pages, !source.partition));
  size_t number = 0;
  while (number < s.areas.size() && s.areas[number]) ++number;
  if (number >= kMaxSwapfiles) return fail(Errno::NotPermitted);

  auto a = std::make_unique<SwapArea>();
  a->source = std::move(source);
  a->number = static_cast<unsigned>(number);
  a->max = header.pages;
  a->highest = a->max - 1;
  // The map is a byte a slot of vmalloc'ed memory.
  a->map_memory = TRY(s.vm.vmalloc().allocate(Bytes{a->max}, {.flags = Gfp::Kernel | Gfp::Zero, .caller = "__do_sys_swapon"}));
  a->map.resize(a->max);
  a->map[0] = SwapArea::kBad;
  for (const uint64_t n : header.bad) a->map[n] = SwapArea::kBad;
  a->pages = static_cast<uint64_t>(std::ranges::count(a->map, 0u));
  for (uint64_t first = 0; first < a->max; first += kSwapAddressSpacePages)
    a->cache.push_back(std::make_unique<FrameIndex>(s.vm.physical().caches(), &s.vm.state().shadow_nodes));
  a->priority = priority ? *priority : --s.next_priority;
  a->writable = true;
  s.free_slots += static_cast<int64_t>(a->pages);
  s.total += a->pages;
  s.vm.swap_total = Pages{s.total};
  const auto after = std::ranges::find_if(s.order, [&](const SwapArea* other) { return other->priority < a->priority; });
  s.order.insert(after, a.get());
  if (number == s.areas.size()) s.areas.emplace_back();
  s.areas[number] = std::move(a);
  return {};
}

Status SwapSpace::swap_off(uint64_t identity) {
  State& s = *state_;
  const auto found = std::ranges::find_if(s.areas, [&](const auto& a) { return a && a->writable && a->source.identity == identity; });
  if (found == s.areas.end()) return fail(Errno::Invalid);
  SwapArea& a = **found;
  if (!s.vm.may_commit(Pages{a.pages})) return fail(Errno::NoMemory);
  s.drop_batches();
  s.submit();
  const auto place = std::ranges::find(s.order, &a);
  const auto index = static_cast<size_t>(place - s.order.begin());
  s.order.erase(place);
  if (a.priority < 0) {
    // Those added after it move up.
    for (size_t i = index; i < s.order.size(); ++i) ++s.order[i]->priority;
    ++s.next_priority;
  }
  s.free_slots -= static_cast<int64_t>(a.pages - a.in_use);
  s.total -= a.pages;
  s.vm.swap_total = Pages{s.total};
  a.writable = false;
  TaskReclaim* const task = s.vm.reclaimer().state().task();
  if (task) task->oom_origin = true;
  const Status status = s.bring_back(a);
  if (task) task->oom_origin = false;
  if (!status) {
    // As it was (reinsert_swap_info).
    a.writable = true;
    if (a.priority < 0) a.priority = --s.next_priority;
    s.order.insert(std::ranges::find_if(s.order, [&](const SwapArea* o) { return o->priority < a.priority; }), &a);
    s.free_slots += static_cast<int64_t>(a.pages - a.in_use);
    s.total += a.pages;
    s.vm.swap_total = Pages{s.total};
    return status;
  }
  CHECK(a.in_use == 0, "{} slots are in use after swapoff", a.in_use);
  s.vm.vmalloc().free(a.map_memory);
  found->reset();
  return {};
}

bool SwapSpace::uses(uint64_t identity) const {
  return std::ranges::any_of(state_->areas, [&](const auto& a) { return a && a->source.identity == identity; });
}

std::vector<SwapAreaState> SwapSpace::areas() const {
  std::vector<SwapAreaState> result;
  for (const auto& a : state_->areas)
    if (a && a->writable) result.push_back({a->source.path, a->source.partition, Pages{a->pages}.bytes(), Pages{a->in_use}.bytes(), a->priority});
  return result;
}

Pages SwapSpace::free_slots() const { return Pages{static_cast<uint64_t>(std::max<int64_t>(state_->free_slots, 0))}; }
Pages SwapSpace::total() const { return Pages{state_->total}; }
Pages SwapSpace::cached() const { return Pages{state_->cached}; }

void SwapSpace::verify() const {
  State& s = *state_;
  if (s.areas.empty()) return;
  // Users of each slot, from the tables and from shared memory.
  std::map<uint64_t, uint32_t> users;
  for (AddressSpace::State& space : s.vm.state().spaces) {
    uint64_t entries = 0;
    for (const Vma* v = space.vmas.first(); v; v = v->tree.next)
      space.tables.for_each(v->start, v->end, [&](VirtAddr, PhysAddr, Pte pte) {
        if (is_swap(pte)) ++users[mm::slot_of(pte).value], ++entries;
      });
    CHECK(entries == space.usage.swapents, "{} swap entries, {} counted", entries, space.usage.swapents);
  }
  for (PageCache::State& c : s.vm.state().caches) {
    if (c.has_storage()) continue;
    uint64_t n = 0;
    for (auto v = c.pages.next_value(PageIndex{0}); v; v = c.pages.next_value(v->index + Pages{1}), ++n) ++users[c.swapped_to(v->index)->value];
    CHECK(n == c.swapped, "{} pages of shared memory are swapped, {} counted", n, c.swapped);
  }
  uint64_t cached = 0, used = 0;
  int64_t free = 0;
  for (const auto& a : s.areas) {
    if (!a) continue;
    uint64_t in_use = 0;
    for (uint64_t i = 1; i < a->max; ++i) {
      if (a->map[i] & SwapArea::kBad) continue;
      const SwapSlot slot{a->number, i};
      const auto it = users.find(slot.value);
      const uint32_t expected = it == users.end() ? 0 : it->second;
      CHECK((a->map[i] & SwapArea::kCount) == expected, "slot {}: {} users, {} counted", i, expected, a->map[i] & SwapArea::kCount);
      in_use += a->map[i] != 0;
      const auto f = s.find(slot);
      if (!f) continue;
      ++cached;
      const Frame& frame = s.frame(*f);
      CHECK((a->map[i] & SwapArea::kHasCache) && frame.has(FrameFlag::SwapCache) && frame.private_data == slot.value && frame.has(FrameFlag::SwapBacked),
            "slot {}: pfn {} in the cache, flags {:#x}, slot {:#x}", i, f->value(), frame.flags, frame.private_data);
    }
    CHECK(in_use == a->in_use, "{} slots in use, {} counted", in_use, a->in_use);
    used += in_use;
    if (a->writable) free += static_cast<int64_t>(a->pages - in_use);
  }
  CHECK(cached == s.cached, "{} pages in the swap cache, {} counted", cached, s.cached);
  CHECK(free == s.free_slots, "{} slots are free, {} counted", free, s.free_slots);
}

}  // namespace vitro::mm
