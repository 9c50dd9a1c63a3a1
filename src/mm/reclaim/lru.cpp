#include "vitro/mm/lru.h"

#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
constexpr VmItem node_item(LruList l) { return static_cast<VmItem>(static_cast<unsigned>(VmItem::nr_inactive_anon) + static_cast<unsigned>(l)); }
constexpr VmItem zone_item(LruList l) { return static_cast<VmItem>(static_cast<unsigned>(VmItem::nr_zone_inactive_anon) + static_cast<unsigned>(l)); }
}  // namespace

void Lru::count(const Frame& f, LruList list, int64_t delta) {
  stat_.add(node_item(list), delta);
  stat_.add_zone(f.zone, zone_item(list), delta);
}

void Lru::add(Pfn pfn) {
  Frame& f = frames_[pfn];
  DCHECK(!f.has(FrameFlag::Lru), "pfn {} is on a list already", pfn.value());
  const LruList which = list_of(f);
  List& list = lists_[static_cast<size_t>(which)];
  const uint32_t n = static_cast<uint32_t>(pfn.value());
  f.previous = Frame::kNone;
  f.next = list.head;
  (list.head == Frame::kNone ? list.tail : frames_[Pfn{list.head}].previous) = n;
  list.head = n;
  ++list.size;
  f.set(FrameFlag::Lru);
  count(f, which, 1);
}

void Lru::add_tail(Pfn pfn) {
  Frame& f = frames_[pfn];
  DCHECK(!f.has(FrameFlag::Lru), "pfn {} is on a list already", pfn.value());
  const LruList which = list_of(f);
  List& list = lists_[static_cast<size_t>(which)];
  const uint32_t n = static_cast<uint32_t>(pfn.value());
  f.next = Frame::kNone;
  f.previous = list.tail;
  (list.tail == Frame::kNone ? list.head : frames_[Pfn{list.tail}].next) = n;
  list.tail = n;
  ++list.size;
  f.set(FrameFlag::Lru);
  count(f, which, 1);
}

void Lru::remove(Pfn pfn) {
  Frame& f = frames_[pfn];
  DCHECK(f.has(FrameFlag::Lru), "pfn {} is on no list", pfn.value());
  const LruList which = list_of(f);
  List& list = lists_[static_cast<size_t>(which)];
  (f.previous == Frame::kNone ? list.head : frames_[Pfn{f.previous}].next) = f.next;
  (f.next == Frame::kNone ? list.tail : frames_[Pfn{f.next}].previous) = f.previous;
  f.next = f.previous = Frame::kNone;
  --list.size;
  f.clear(FrameFlag::Lru);
  count(f, which, -1);
}

template <class Change>
void Lru::move(Pfn pfn, Change change) {
  const bool listed = frames_[pfn].has(FrameFlag::Lru);
  if (listed) remove(pfn);
  change(frames_[pfn]);
  if (listed) add(pfn);
}

void Lru::mark_accessed(Pfn pfn) {
  Frame& f = frames_[pfn];
  if (!f.has(FrameFlag::Referenced)) {
    f.set(FrameFlag::Referenced);
  } else if (!f.has(FrameFlag::Unevictable) && !f.has(FrameFlag::Active)) {
    activate(pfn);
    f.clear(FrameFlag::Referenced);
    age_nonresident(1);  // workingset_activation
  }
}

void Lru::activate(Pfn pfn) {
  if (!frames_[pfn].has(FrameFlag::Lru) || frames_[pfn].has(FrameFlag::Active) || frames_[pfn].has(FrameFlag::Unevictable)) return;
  move(pfn, [](Frame& f) { f.set(FrameFlag::Active); });
  stat_.add(VmItem::pgactivate);
}

void Lru::deactivate(Pfn pfn) {
  if (!frames_[pfn].has(FrameFlag::Lru) || !frames_[pfn].has(FrameFlag::Active) || frames_[pfn].has(FrameFlag::Unevictable)) return;
  move(pfn, [](Frame& f) { f.clear(FrameFlag::Active), f.clear(FrameFlag::Referenced); });
  stat_.add(VmItem::pgdeactivate);
}

void Lru::rotate(Pfn pfn) {
  Frame& f = frames_[pfn];
  if (!f.has(FrameFlag::Lru) || f.has(FrameFlag::Unevictable) || f.has(FrameFlag::Locked) || f.has(FrameFlag::Dirty)) return;
  remove(pfn);
  f.clear(FrameFlag::Active);
  add_tail(pfn);
  stat_.add(VmItem::pgrotated);
}

void Lru::note_cost(bool file, uint64_t pages) {
  costs_[file] += pages;
  // Earlier events count less and less.
  const uint64_t size = lists_[0].size + lists_[1].size + lists_[2].size + lists_[3].size;
  if (costs_[0] + costs_[1] > size / 4) costs_[0] /= 2, costs_[1] /= 2;
}

void Lru::set_unevictable(Pfn pfn, bool on) {
  if (frames_[pfn].has(FrameFlag::Unevictable) == on) return;
  move(pfn, [on](Frame& f) {
    if (on) f.set(FrameFlag::Unevictable), f.clear(FrameFlag::Active);
    else f.clear(FrameFlag::Unevictable);
  });
}

void Lru::set_swap_backed(Pfn pfn, bool on) {
  if (frames_[pfn].has(FrameFlag::SwapBacked) == on) return;
  move(pfn, [on](Frame& f) {
    if (on) f.set(FrameFlag::SwapBacked);
    else f.clear(FrameFlag::SwapBacked), f.clear(FrameFlag::Active), f.clear(FrameFlag::Referenced);
  });
}

void Lru::verify() const {
  std::array<std::array<int64_t, static_cast<size_t>(LruList::Count)>, kMaxZones> by_zone{};
  for (size_t which = 0; which < lists_.size(); ++which) {
    const List& list = lists_[which];
    uint64_t n = 0;
    uint32_t previous = Frame::kNone;
    for (uint32_t at = list.head; at != Frame::kNone; at = frames_[Pfn{at}].next) {
      const Frame& f = frames_[Pfn{at}];
      CHECK(f.has(FrameFlag::Lru) && f.previous == previous, "pfn {}: broken list", at);
      CHECK(static_cast<size_t>(list_of(f)) == which, "pfn {}: on list {}, flags {:#x}", at, which, f.flags);
      CHECK(f.state == FrameState::Anonymous || f.state == FrameState::FileCache || f.state == FrameState::Shmem || f.state == FrameState::BlockCache ||
                f.state == FrameState::SwapCacheOnly,
            "pfn {}: state {} on the LRU", at, frame_state_name(f.state));
      CHECK(f.refcount > 0, "pfn {}: free frame on the LRU", at);
      ++by_zone[f.zone][which];
      previous = at;
      CHECK(++n <= list.size, "list {} is longer than {}", which, list.size);
    }
    CHECK(n == list.size && list.tail == previous, "list {}: {} frames, {} counted", which, n, list.size);
    CHECK(static_cast<int64_t>(n) == stat_.get(node_item(static_cast<LruList>(which))), "list {}: {} frames, counter {}", which, n,
          stat_.get(node_item(static_cast<LruList>(which))));
  }
  for (unsigned zone = 0; zone < kMaxZones; ++zone)
    for (size_t which = 0; which < lists_.size(); ++which)
      CHECK(by_zone[zone][which] == stat_.get_zone(zone, zone_item(static_cast<LruList>(which))), "zone {} list {}: {} frames, counter {}", zone, which,
            by_zone[zone][which], stat_.get_zone(zone, zone_item(static_cast<LruList>(which))));
}

}  // namespace vitro::mm
