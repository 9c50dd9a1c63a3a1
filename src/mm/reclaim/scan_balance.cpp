// How much of each list a pass looks at (mm/vmscan.c: prepare_scan_count, get_scan_count).
#include "mm/reclaim/reclaim_state.h"

namespace vitro::mm {
namespace {

uint64_t int_sqrt(uint64_t n) {
  uint64_t root = 0;
  for (uint64_t bit = uint64_t{1} << 31; bit; bit >>= 1)
    if ((root | bit) * (root | bit) <= n) root |= bit;
  return root;
}

constexpr LruList inactive_of(bool file) { return file ? LruList::InactiveFile : LruList::InactiveAnon; }
constexpr LruList active_of(bool file) { return file ? LruList::ActiveFile : LruList::ActiveAnon; }

}  // namespace

bool Reclaimer::State::inactive_is_low(bool file) {
  const uint64_t inactive = lru().size(inactive_of(file)), active = lru().size(active_of(file));
  const uint64_t gigabytes = (inactive + active) >> (30 - kPageShift);
  const uint64_t ratio = gigabytes ? int_sqrt(10 * gigabytes) : 1;
  return inactive * ratio < active;
}

// lruvec_lru_size: zones above the highest that is of use do not count.
uint64_t Reclaimer::State::list_size(LruList list, unsigned reclaim_idx) {
  if (reclaim_idx >= kZoneMovable) return lru().size(list);
  const auto item = static_cast<VmItem>(static_cast<unsigned>(VmItem::nr_zone_inactive_anon) + static_cast<unsigned>(list));
  int64_t sum = 0;
  for (unsigned z = 0; z <= reclaim_idx; ++z) sum += stat().get_zone(z, item);
  return static_cast<uint64_t>(sum);
}

uint64_t Reclaimer::State::zone_reclaimable(unsigned zone) {
  int64_t n = stat().get_zone(zone, VmItem::nr_zone_inactive_file) + stat().get_zone(zone, VmItem::nr_zone_active_file);
  if (self.can_swap()) n += stat().get_zone(zone, VmItem::nr_zone_inactive_anon) + stat().get_zone(zone, VmItem::nr_zone_active_anon);
  return static_cast<uint64_t>(n);
}

void Reclaimer::State::prepare_scan_count(ScanControl& sc) {
  sc.cost = {lru().cost(false), lru().cost(true)};
  for (const bool file : {false, true}) {
    // Refaults mean that a new working set comes up: what was active before goes then, however short the inactive list is not.
    const int64_t now = stat().get(file ? VmItem::workingset_activate_file : VmItem::workingset_activate_anon);
    sc.may_deactivate[file] = sc.force_deactivate || now != refaults[file] || inactive_is_low(file);
  }
  // Plenty of inactive file pages that nobody misses: those first.
  sc.cache_trim_mode = lru().size(LruList::InactiveFile) >> sc.priority && !sc.may_deactivate[1];
  // A tiny file cache looks ever more attractive the more it thrashes; anonymous memory is to bear it then.
  uint64_t free = 0, high = 0;
  for (const Zone& z : vm.physical().zones()) {
    if (z.managed().value() == 0) continue;
    free += z.free_frames().value();
    high += z.watermark(Watermark::High).value();
  }
  const uint64_t file = lru().size(LruList::ActiveFile) + lru().size(LruList::InactiveFile);
  sc.file_is_tiny = file + free <= high && !sc.may_deactivate[0] && lru().size(LruList::InactiveAnon) >> sc.priority;
}

std::array<uint64_t, 4> Reclaimer::State::scan_count(const ScanControl& sc) {
  enum class Balance { Equal, Fraction, Anonymous, File } balance;
  const auto swappiness = static_cast<uint64_t>(self.swappiness);
  std::array<uint64_t, 2> fraction{};
  if (!sc.may_swap || !self.can_swap()) {
    balance = Balance::File;
  } else if (sc.priority == 0 && swappiness) {
    balance = Balance::Equal;  // close to running out
  } else if (sc.file_is_tiny) {
    balance = Balance::Anonymous;
  } else if (sc.cache_trim_mode) {
    balance = Balance::File;
  } else {
    balance = Balance::Fraction;
    // The pressure on each kind is inversely proportional to what its reclaim costs, but at least a third before swappiness.
    const uint64_t total = sc.cost[0] + sc.cost[1];
    const uint64_t anonymous = total + sc.cost[0], file = total + sc.cost[1];
    const uint64_t all = anonymous + file;
    fraction[0] = swappiness * (all + 1) / (anonymous + 1);
    fraction[1] = (200 - swappiness) * (all + 1) / (file + 1);
  }
  std::array<uint64_t, 4> result{};
  for (unsigned list = 0; list < 4; ++list) {
    const bool file = list >= 2;
    uint64_t scan = list_size(static_cast<LruList>(list), sc.reclaim_idx) >> sc.priority;
    switch (balance) {
      case Balance::Equal: break;
      case Balance::Fraction: scan = scan * fraction[file] / (fraction[0] + fraction[1]); break;
      case Balance::Anonymous:
      case Balance::File:
        if ((balance == Balance::File) != file) scan = 0;
        break;
    }
    result[list] = scan;
  }
  return result;
}

}  // namespace vitro::mm
