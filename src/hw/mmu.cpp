#include "vitro/hw/mmu.h"

#include <algorithm>

#include "large_page_fills.h"
#include "unbounded_tlb.h"
#include "vitro/base/check.h"

namespace vitro::hw {
namespace {

constexpr const char* kSizeNames[] = {"4K", "2M", "1G"};
// include/trace/events/tlb.h: TLB_FLUSH_REASON.
constexpr const char* kTracedReasons[] = {"flush on task switch", "remote shootdown", "local shootdown", "local mm shootdown", "remote ipi send"};
constexpr const char* kFlushReasons[] = {"task_switch", "remote_shootdown", "local_shootdown", "local_mm_shootdown", "remote_send_ipi"};
static_assert(std::size(kFlushReasons) == static_cast<size_t>(FlushReason::Count));

constexpr int64_t kAllPages = -1;  // as Linux's tracepoint prints TLB_FLUSH_ALL

TlbData tlb_data(const WalkResult& walk) {
  return TlbData{(walk.leaf.raw & Pte::kFrameMask & ~(bytes(walk.size).value() - 1)) | (walk.writable ? TlbData::kWritable : 0) |
                 (walk.executable ? TlbData::kExecutable : 0) | (walk.user ? TlbData::kUser : 0) |
                 (walk.leaf.dirty() ? TlbData::kDirty : 0) | (walk.leaf.global() ? TlbData::kGlobal : 0)};
}

Translation translation(const WalkResult& walk) { return {walk.address, walk.size, walk.leaf, walk.writable, walk.executable, walk.user}; }

void count_miss(MmuCounters::Level& level, PageSize size, Access access) {
  ++level.misses;
  ++level.misses_by_size[static_cast<size_t>(size)];
  ++level.misses_by_access[static_cast<size_t>(access)];
}

bool in_kernel_half(VirtAddr a) { return a.value() >> 63; }

}  // namespace

const char* flush_reason_name(FlushReason r) { return kFlushReasons[static_cast<size_t>(r)]; }

Mmu::Mmu(Ram& ram, const TlbConfig& config, const TimingModel& timing, Tracer& tracer)
    : ram_(ram),
      timing_(timing),
      tracer_(tracer),
      tlbs_(std::make_unique<TlbHierarchy>(config)),
      unbounded_(std::make_unique<UnboundedTlb>()),
      large_fills_(std::make_unique<LargePageFills>()) {
  recent_data_.mask = std::min<uint64_t>(config.l1d_4k.sets(), RecentPages::kSlots) - 1;
  // Where hits change nothing, any page that the array holds may be remembered, not only the last one of each set.
  const bool hits_matter = config.l1i.policy == Replacement::Lru || config.l1i.policy == Replacement::TreePlru;
  recent_code_.mask = hits_matter ? std::min<uint64_t>(config.l1i.sets(), RecentPages::kSlots) - 1 : RecentPages::kSlots - 1;
  forget_recent();
}

Mmu::~Mmu() = default;

void Mmu::forget_recent() {
  if (!any_recent_) return;
  any_recent_ = false;
  recent_data_.pages.fill(RecentPages::kNone);
  recent_code_.pages.fill(RecentPages::kNone);
}

void Mmu::count_unfiltered(VirtAddr address, Access access) {
  if (!modelled_) return;
  const bool fetch = access == Access::Fetch;
  MmuCounters::Level& level = fetch ? counters_.l1i : counters_.l1d;
  ++level.accesses;
  if (tlbs_->hit_first(address, access, needed_rights(access, Privilege::User), tag_)) [[likely]]
    ++level.hits;
  else
    miss_first(address, access, Privilege::User);
  const uint64_t vpn = address.value() >> kPageShift;
  if (tlbs_->shares_with_large(access)) return forget_recent();
  RecentPages& recent = fetch ? recent_code_ : recent_data_;
  const bool small = tlbs_->holds_small(address, access, tag_);
  recent.pages[vpn & recent.mask] = small ? vpn << 1 | (access == Access::Write) : RecentPages::kNone;
  any_recent_ = true;
}

void Mmu::load_cr3(PhysAddr root, Pcid pcid, KeepPcid keep) {
  forget_recent();
  root_ = root;
  pcid_ = pcid;
  tag_ = tag_of(pcid);
  flush_soft();
  if (!tlbs_->config().pcid) {
    tlbs_->flush_non_global();
    unbounded_->flush_non_global();
  } else if (keep == KeepPcid::No) {
    tlbs_->flush_pcid(tag_);
    unbounded_->flush_pcid(tag_);
    if (const auto twin = twin_of(tag_)) tlbs_->flush_pcid(*twin), unbounded_->flush_pcid(*twin);
  } else {
    // Nothing is flushed, and Linux's tracepoint says so (arch/x86/mm/tlb.c: switch_mm_irqs_off).
    TRACE(tracer_, Event::TlbFlush, 0, kTracedReasons[static_cast<size_t>(FlushReason::TaskSwitch)], static_cast<int>(FlushReason::TaskSwitch));
    return;
  }
  count_flush(FlushReason::TaskSwitch, kAllPages);
}

void Mmu::switch_isolation(PhysAddr root, Pcid pcid) {
  DCHECK(isolated_ && same_space(pcid, pcid_), "PCID {} is not of the address space of {}", pcid.value(), pcid_.value());
  ++counters_.isolation_switches;
  root_ = root;
  pcid_ = pcid;
  tag_ = tag_of(pcid);
  if (tlbs_->config().pcid) return;
  forget_recent();
  flush_soft();
  tlbs_->flush_non_global();
  unbounded_->flush_non_global();
}

WalkResult Mmu::walk_tables(VirtAddr address, Access access, Privilege privilege) {
  WalkResult result = walk(ram_, root_, address, access, privilege, SetAccessedDirty::Yes);
  if (!result.ok) {
    ++counters_.faulting_walks;
    counters_.faulting_walk_references += result.references;
  }
  return result;
}

Result<Translation, Fault> Mmu::translate(VirtAddr address, Access access, Privilege privilege) {
  // The tables are asked first, so that a fault leaves no trace in the TLBs. The order cannot be observed: what the TLBs hold, the tables
  // hold.
  const WalkResult tables = walk_tables(address, access, privilege);
  if (!tables.ok) return fail(tables.fault);
  if (modelled_) {
    forget_recent();
    MmuCounters::Level& level = access == Access::Fetch ? counters_.l1i : counters_.l1d;
    ++level.accesses;
    if (tlbs_->hit_first(address, access, needed_rights(access, privilege), tag_))
      ++level.hits;
    else
      miss_first(address, access, privilege);
    if (soft_holds_most_recent_ && access != Access::Fetch) note_most_recent(address);
  }
  return translation(tables);
}

Result<Translation, Fault> Mmu::resolve(VirtAddr address, Access access, Privilege privilege) {
  resolved_ = walk_tables(address, access, privilege);
  if (!resolved_.ok) return fail(resolved_.fault);
  resolved_access_ = access;
  if (resolved_.size != PageSize::k4K) large_fills_->add(address, resolved_.size);
  return translation(resolved_);
}

WalkResult Mmu::inspect(VirtAddr address) const {
  return walk(ram_, root_, address, Access::Read, Privilege::Supervisor, SetAccessedDirty::No);
}

void Mmu::hit_second(VirtAddr address, Access access, Privilege privilege, PageSize size, TlbData data) {
  count_miss(access == Access::Fetch ? counters_.l1i : counters_.l1d, size, access);
  ++counters_.l2.accesses;
  ++counters_.l2.hits;
  counters_.l2_hit_cycles += timing_.cycles_l2_tlb_hit;
  fill_first(address, access, size, data);
  TRACE(tracer_, Event::TlbMiss, access == Access::Fetch ? "l1i" : "l1d", address.value(), kSizeNames[static_cast<size_t>(size)], 0);
  if (observer_) [[unlikely]] observer_->tlb_missed({address, access, privilege, size});
}

void Mmu::miss_first(VirtAddr address, Access access, Privilege privilege, const WalkResult* known) {
  MmuCounters::Level& first = access == Access::Fetch ? counters_.l1i : counters_.l1d;
  MmuCounters::Level& second = counters_.l2;
  const uint64_t rights = needed_rights(access, privilege);
  if (const auto hit = tlbs_->hit_second(address, access, rights, tag_)) return hit_second(address, access, privilege, hit->size, hit->data);

  // A page that is cached with all the rights but Dirty: the hardware walks once more to set Dirty in the table (SDM 4.8), which costs
  // what a miss costs and is counted as one; in `trap` the soft TLB holds such a page read-only, so that this access is seen there too.
  bool cached_clean = false;
  if (access == Access::Write) {
    const uint64_t but_dirty = rights & ~TlbData::kDirty;
    const auto in_first = tlbs_->peek_first(address, access, tag_), in_second = tlbs_->peek_second(address, access, tag_);
    cached_clean = (in_first && in_first->has(but_dirty)) || (in_second && in_second->has(but_dirty));
  }

  const WalkStart start = tlbs_->walk_start(address, root_, tag_);
  std::optional<WalkResult> walked;
  if (known == nullptr) walked = walk(ram_, start.table, address, access, privilege, SetAccessedDirty::Yes, start.level, start.rights);
  const WalkResult& w = known == nullptr ? *walked : *known;
  // Of a walk from the top, what the hardware would have read from `start` on.
  const std::span<const WalkStep> steps = std::span{w.steps}.first(w.references).subspan(known == nullptr ? 0 : 4 - start.level);
  DCHECK(w.ok, "{:#x} was answered, but its walk from level {} ends with error code {:#x}", address.value(), start.level,
         w.fault.error_code);
  count_miss(first, w.size, access);
  ++second.accesses;
  count_miss(second, w.size, access);
  ++counters_.walks;
  counters_.walk_references += steps.size();
  counters_.walk_cycles += steps.size() * timing_.cycles_walk_reference;
  counters_.dirty_walks += cached_clean;
  bool first_use = false;
  if (w.ok) {
    const TlbData data = tlb_data(w);
    first_use = !unbounded_->insert(address, w.size, tag_, w.leaf.global()) && !cached_clean;
    counters_.cold_walks += first_use;
    tlbs_->remember_walk(address, tag_, start, steps);
    tlbs_->insert_second(address, access, tag_, w.size, data);
    fill_first(address, access, w.size, data);
  }
  TRACE(tracer_, Event::TlbMiss, "l2", address.value(), kSizeNames[static_cast<size_t>(w.size)], steps.size());
  if (observer_) [[unlikely]] observer_->tlb_missed({address, access, privilege, w.size, true, first_use, cached_clean, static_cast<unsigned>(steps.size())});
}

void Mmu::fill_first(VirtAddr address, Access access, PageSize size, TlbData data) {
  const auto evicted = tlbs_->insert_first(address, access, tag_, size, data);
  if (evicted && access == Access::Fetch) {
    uint64_t& recent = recent_code_.pages[evicted->page.vpn().value() & recent_code_.mask];
    if (recent >> 1 == evicted->page.value() >> kPageShift) recent = RecentPages::kNone;
  }
  if (!evicted || !soft_follows_l1d_ || access == Access::Fetch || soft_ == nullptr) return;
  if (!evicted->global && !same_space(evicted->pcid, tag_)) return;  // the soft TLB was emptied when that address space was left
  switch (evicted->size) {
    case PageSize::k4K:
      soft_->evict_data(evicted->page);
      break;
    case PageSize::k2M:
      large_fills_->evict_data(evicted->page, *soft_);
      break;
    case PageSize::k1G:
      flush_soft();
      break;
  }
}

void Mmu::set_soft_follows_l1d(bool on) {
  soft_follows_l1d_ = on;
  counters_.l1d_hits_known = !on;
  flush_soft();
}

void Mmu::set_soft_holds_most_recent(bool on) {
  soft_follows_l1d_ = soft_holds_most_recent_ = on;
  most_recent_.assign(tlbs_->first_sets(), {});
  flush_soft();
}

// The address was accessed and is in the first level: from now on the soft TLB may hold its page, and none other of its set.
void Mmu::note_most_recent(VirtAddr address) {
  const auto place = tlbs_->first_place(address, tag_);
  if (!place || !place->hits_matter) return;
  MostRecent& last = most_recent_[place->set];
  if (last.valid && last.page == place->page && last.size == place->size && last.pcid == tag_) return;
  if (last.valid && soft_ != nullptr) {
    if (last.size == PageSize::k4K) soft_->evict_data(last.page);
    else if (last.size == PageSize::k2M) large_fills_->evict_data(last.page, *soft_);
    else flush_soft();
  }
  last = {place->page, place->size, tag_, true};
}

Mmu::FillRights Mmu::count_fill(VirtAddr address, Access access) {
  if (!modelled_) return {true, access == Access::Write};
  if (access != Access::Fetch && !tlbs_->hit_first(address, access, needed_rights(access, Privilege::User), tag_)) {
    ++(soft_holds_most_recent_ ? uncounted_misses_ : counters_.l1d.accesses);
    const bool known = resolved_.ok && resolved_access_ == access && resolved_.fault.address.page_floor() == address.page_floor();
    miss_first(address, access, Privilege::User, known ? &resolved_ : nullptr);
    // The victim may have cost a flush, and with it the record of the page that is about to be filled.
    if (resolved_.size != PageSize::k4K) large_fills_->add(address, resolved_.size);
  }
  if (soft_holds_most_recent_ && access != Access::Fetch) note_most_recent(address);
  const auto cached = tlbs_->peek_first(address, Access::Read, tag_);
  if (!cached || !cached->has(needed_rights(Access::Read, Privilege::User))) return {};
  return {true, cached->has(needed_rights(Access::Write, Privilege::User))};
}

Mmu::FillRights Mmu::count_cached(VirtAddr address, Access access, const TlbHierarchy::Cached& cached) {
  tlbs_->use(cached);
  if (!cached.first) {
    ++(soft_holds_most_recent_ ? uncounted_misses_ : counters_.l1d.accesses);
    hit_second(address, access, Privilege::User, PageSize::k4K, cached.data);
  }
  if (soft_holds_most_recent_) note_most_recent(address);
  return {true, cached.data.has(needed_rights(Access::Write, Privilege::User))};
}

void Mmu::invalidate_pages(VirtAddr first, Pages n, Pcid pcid, FlushReason reason) {
  forget_recent();
  const Pcid tag = tag_of(pcid);
  // On a core without PCIDs nothing but the current address space is cached; elsewhere `tag` says whose.
  const bool current = same_space(pcid, pcid_);
  const auto twin = twin_of(tag);
  const bool cached = tlbs_->config().pcid || current || in_kernel_half(first);
  const bool soft = soft_ != nullptr && (current || in_kernel_half(first));
  for (Pages i{0}; i < n; ++i) {
    const VirtAddr page = first.page_floor() + i;
    if (cached && modelled_) {
      // Other pages' pieces went with it: the soft TLB must not go on answering those.
      if (tlbs_->invalidate_page(page, tag) && soft_follows_l1d_) flush_soft();
      unbounded_->invalidate_page(page, tag);
      if (twin) {
        if (tlbs_->invalidate_page(page, *twin) && soft_follows_l1d_) flush_soft();
        unbounded_->invalidate_page(page, *twin);
      }
    }
    if (soft && !large_fills_->evict(page, *soft_)) soft_->evict(page);
  }
  count_flush(reason, static_cast<int64_t>(n.value()));
}

void Mmu::flush_pcid(Pcid pcid, FlushReason reason) {
  forget_recent();
  const bool current = same_space(pcid, pcid_);
  if (tlbs_->config().pcid || current) {
    tlbs_->flush_pcid(tag_of(pcid));
    unbounded_->flush_pcid(tag_of(pcid));
    if (const auto twin = twin_of(tag_of(pcid))) tlbs_->flush_pcid(*twin), unbounded_->flush_pcid(*twin);
  }
  if (current) flush_soft();
  count_flush(reason, kAllPages);
}

void Mmu::flush_all(FlushReason reason) {
  forget_recent();
  tlbs_->flush_all();
  unbounded_->flush_all();
  flush_soft();
  count_flush(reason, kAllPages);
}

void Mmu::flush_soft() {
  large_fills_->clear();
  if (soft_ != nullptr) soft_->flush();
}

void Mmu::count_flush(FlushReason reason, int64_t pages) {
  ++counters_.flushes[static_cast<size_t>(reason)];
  TRACE(tracer_, Event::TlbFlush, pages, kTracedReasons[static_cast<size_t>(reason)], static_cast<int>(reason));
}

void Mmu::verify() const {
  tlbs_->verify();
  tlbs_->visit([this](const TlbHierarchy::Slot& slot) {
    if (!slot.global && slot.pcid != tag_) return;
    const WalkResult tables = inspect(slot.page);
    if (slot.array.starts_with("psc-")) {
      const Level level = slot.array == "psc-pde" ? 2 : slot.array == "psc-pdpte" ? 3 : 4;
      const unsigned step = 4 - level;
      CHECK(step < tables.references && tables.steps[step].entry.present() && !tables.steps[step].entry.large() &&
                tables.steps[step].entry.pfn() == slot.data.frame(),
            "{} holds table {:#x} for {:#x}, which the tables do not", slot.array, slot.data.frame().value(), slot.page.value());
      return;
    }
    if (!tables.ok && slot.page >= lazy_first_ && slot.page < lazy_end_) return;
    CHECK(tables.ok, "{} holds {:#x}, which is not mapped", slot.array, slot.page.value());
    CHECK(tables.address == slot.data.frame().address(), "{} holds {:#x} at {:#x}, the tables at {:#x}", slot.array, slot.page.value(),
          slot.data.frame().address().value(), tables.address.value());
    CHECK(tables.size == slot.size || (slot.data.has(TlbData::kPiece) && slot.size < tables.size), "{} holds {:#x} as {}, the tables as {}",
          slot.array, slot.page.value(), static_cast<int>(slot.size), static_cast<int>(tables.size));
    CHECK((!slot.data.has(TlbData::kWritable) || tables.writable) && (!slot.data.has(TlbData::kExecutable) || tables.executable) &&
              (!slot.data.has(TlbData::kUser) || tables.user) && (!slot.data.has(TlbData::kDirty) || tables.leaf.dirty()) &&
              tables.leaf.accessed() && slot.global == tables.leaf.global(),
          "{} holds {:#x} with rights {:#x}, the leaf is {:#x}", slot.array, slot.page.value(), slot.data.raw & kPageOffsetMask,
          tables.leaf.raw);
  });
  const MmuCounters& c = counters_;
  for (const MmuCounters::Level* level : {&c.l1d, &c.l1i, &c.l2})
    CHECK(level->accesses == level->hits + level->misses, "{} accesses, {} hits, {} misses", level->accesses, level->hits, level->misses);
  CHECK(c.walks == c.l2.misses && c.l1d.misses + c.l1i.misses == c.l2.accesses, "{} walks, {} l2 misses", c.walks, c.l2.misses);
}

}  // namespace vitro::hw
