// What becomes of each page at the end of its list: freed, written, kept or activated (mm/vmscan.c: shrink_folio_list and what it calls).
#include "mm/reclaim/reclaim_state.h"
#include "mm/swap/swap_state.h"
#include "vitro/base/check.h"
#include "vitro/base/trace.h"

namespace vitro::mm {
namespace {

enum class Verdict : uint8_t { Reclaim, ReclaimClean, Keep, Activate };

// folio_check_references.
Verdict judge_references(VirtualMemory& vm, Pfn pfn) {
  Frame& f = vm.physical().frames()[pfn];
  const References used = take_references(vm, pfn);
  const bool was_referenced = f.has(FrameFlag::Referenced);
  f.clear(FrameFlag::Referenced);
  if (has(used.flags, VmFlag::Locked)) return Verdict::Activate;
  const bool file = !f.has(FrameFlag::SwapBacked);
  if (used.areas > 0) {
    // Every mapped page starts out used, by the fault that mapped it: a second look decides.
    f.set(FrameFlag::Referenced);
    if (was_referenced || used.areas > 1) return Verdict::Activate;
    if (has(used.flags, VmFlag::Exec) && file) return Verdict::Activate;
    return Verdict::Keep;
  }
  return was_referenced && file ? Verdict::ReclaimClean : Verdict::Reclaim;
}

// One page on its way through; ends in one of these.
enum class Fate : uint8_t { Freed, Kept, Activated };

class PageShrinker {
 public:
  PageShrinker(Reclaimer::State& s, ScanControl& sc, ReclaimStat& stat, bool ignore_references)
      : s_(s), vm_(s.vm), sc_(sc), stat_(stat), ignore_references_(ignore_references) {}

  Fate shrink(Pfn pfn) {
    Frame& f = s_.frame(pfn);
    if (f.has(FrameFlag::Locked)) return Fate::Kept;  // being read
    ++sc_.nr_scanned;
    s_.work(vm_.timing().reclaim_scan);
    if (f.has(FrameFlag::Mlocked)) return Fate::Kept;  // put_back() takes it to the unevictable list
    const bool writeback = f.has(FrameFlag::Writeback);
    // Anonymous pages are dirty until they are swapped; only their writeback counts (folio_check_dirty_writeback).
    const bool dirty = f.has(FrameFlag::Dirty) && f.state != FrameState::Anonymous && !f.has(FrameFlag::SwapBacked);
    if (!f.has(FrameFlag::SwapBacked) || writeback) {
      if (dirty || (writeback && !f.has(FrameFlag::SwapBacked))) ++stat_.nr_dirty;
      if (dirty && !writeback) ++stat_.nr_unqueued_dirty;
    }
    if (writeback) {
      if (!f.has(FrameFlag::SwapBacked) && f.has(FrameFlag::Reclaim)) ++stat_.nr_congested;
      if (sc_.kswapd && f.has(FrameFlag::Reclaim) && s_.writeback_flag) {
        ++stat_.nr_immediate;
      } else {
        f.set(FrameFlag::Reclaim);
        ++stat_.nr_writeback;
      }
      return activate(f);
    }
    Verdict verdict = Verdict::Reclaim;
    if (!ignore_references_) verdict = judge_references(vm_, pfn);
    if (verdict == Verdict::Activate) return activate(f);
    if (verdict == Verdict::Keep) {
      ++stat_.nr_ref_keep;
      return Fate::Kept;
    }
    if (f.state == FrameState::Anonymous && f.has(FrameFlag::SwapBacked) && !f.has(FrameFlag::SwapCache)) {
      if (!has(sc_.gfp, Gfp::Io)) return Fate::Kept;
      if (!vm_.swap().state().add_to_swap(pfn)) return activate(f);
    }
    if (f.mapcount > 0) {
      s_.work(vm_.timing().reclaim_unmap);
      if (!unmap_everywhere(vm_, pfn)) {
        ++stat_.nr_unmap_fail;
        return activate(f);
      }
    }
    if (f.state == FrameState::Anonymous && !f.has(FrameFlag::SwapCache)) return drop_lazily_freed(pfn);
    if (f.has(FrameFlag::Dirty)) {
      const std::optional<Fate> fate = clean(pfn, verdict);
      if (fate) return *fate;
    }
    return drop_cached(pfn) ? Fate::Freed : Fate::Kept;
  }

 private:
  Fate activate(Frame& f) {
    // No candidate for swapping, so its slot may serve another.
    SwapSpace& swap = vm_.swap();
    if (f.has(FrameFlag::SwapCache) && (swap.nearly_full() || f.has(FrameFlag::Mlocked))) swap.state().try_free(vm_.physical().frames().pfn_of(f));
    if (f.has(FrameFlag::Mlocked)) return Fate::Kept;
    f.set(FrameFlag::Active);
    ++stat_.nr_activate[!f.has(FrameFlag::SwapBacked)];
    return Fate::Activated;
  }

  // A dirty page of a file or of shared memory. Nullopt: it is clean now and can be freed.
  std::optional<Fate> clean(Pfn pfn, Verdict verdict) {
    Frame& f = s_.frame(pfn);
    const bool file = !f.has(FrameFlag::SwapBacked);
    // Writing single file pages from here spoils the flusher's order: kswapd does it when it finds nothing but dirty pages, for the second
    // time. Everybody else marks the page, so that it goes as soon as it is written.
    if (file && (!sc_.kswapd || !f.has(FrameFlag::Reclaim) || !s_.dirty_flag)) {
      s_.stat().add(VmItem::nr_vmscan_immediate_reclaim);
      f.set(FrameFlag::Reclaim);
      return activate(f);
    }
    const bool may_enter = has(sc_.gfp, Gfp::Fs) || (f.has(FrameFlag::SwapCache) && has(sc_.gfp, Gfp::Io));
    if (verdict == Verdict::ReclaimClean || !may_enter || !sc_.may_writepage) return Fate::Kept;
    if (f.refcount != 2) return Fate::Kept;  // somebody works with it
    if (!file) {
      f.set(FrameFlag::Reclaim);
      if (f.state == FrameState::Shmem) {
        if (vm_.swap().total().value() == 0 || !f.page_cache->internals().swap_out(PageIndex{f.index}, pfn)) {
          f.clear(FrameFlag::Reclaim);
          return activate(f);
        }
      } else {
        vm_.swap().state().write(pfn);
      }
      note_pageout(pfn, "RECLAIM_WB_ANON|RECLAIM_WB_ASYNC");
      if (f.has(FrameFlag::Writeback) || f.has(FrameFlag::Dirty)) return Fate::Kept;
      f.clear(FrameFlag::Reclaim);
      return std::nullopt;
    }
    f.set(FrameFlag::Reclaim);
    (void)f.page_cache->start_writing_page(PageIndex{f.index});
    note_pageout(pfn, "RECLAIM_WB_FILE|RECLAIM_WB_ASYNC");
    if (f.has(FrameFlag::Writeback) || f.has(FrameFlag::Dirty) || f.has(FrameFlag::Locked)) return Fate::Kept;
    f.clear(FrameFlag::Reclaim);
    return std::nullopt;
  }

  void note_pageout(Pfn pfn, const char* how) {
    TRACE(vm_.tracer(), Event::MmVmscanWriteFolio, descriptor_address(pfn), pfn.value(), how);
    s_.stat().add(VmItem::nr_vmscan_write);
    ++stat_.nr_pageout;
  }

  // __remove_mapping.
  bool drop_cached(Pfn pfn) {
    Frame& f = s_.frame(pfn);
    if (f.refcount != 2 || f.has(FrameFlag::Dirty) || f.has(FrameFlag::Writeback)) return false;
    if (f.has(FrameFlag::SwapCache)) {
      vm_.swap().state().remove_from_cache(pfn, evict_shadow(vm_, pfn));
      drop_reference(vm_, pfn);
      return true;
    }
    if (!f.page_cache) return false;
    PageCache::State& cache = f.page_cache->internals();
    const uint64_t shadow = f.has(FrameFlag::SwapBacked) ? 0 : evict_shadow(vm_, pfn);
    cache.remove(PageIndex{f.index}, pfn, shadow);
    drop_reference(vm_, pfn);
    return true;
  }

  Fate drop_lazily_freed(Pfn pfn) {
    if (s_.frame(pfn).refcount != 1) return Fate::Kept;
    s_.stat().add(VmItem::pglazyfreed);
    drop_reference(vm_, pfn);
    return Fate::Freed;
  }

  Reclaimer::State& s_;
  VirtualMemory& vm_;
  ScanControl& sc_;
  ReclaimStat& stat_;
  bool ignore_references_;
};

}  // namespace

uint64_t Reclaimer::State::shrink_frames(IsolatedFrames& frames, ScanControl& sc, ReclaimStat& result, bool ignore_references) {
  PageShrinker shrinker(*this, sc, result, ignore_references);
  const size_t n = std::exchange(frames.size, 0);
  uint64_t freed = 0;
  for (size_t i = 0; i < n; ++i) {
    const uint32_t pfn = frames.pfn[i];
    if (shrinker.shrink(Pfn{pfn}) == Fate::Freed) ++freed, --isolated;
    else frames.pfn[frames.size++] = pfn;
  }
  stat().add(VmItem::pgactivate, static_cast<int64_t>(result.nr_activate[0] + result.nr_activate[1]));
  return freed;
}

}  // namespace vitro::mm
