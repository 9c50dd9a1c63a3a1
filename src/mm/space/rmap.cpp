#include "vitro/mm/rmap.h"

#include "mm/space/rmap_walk.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
bool anonymous(const Frame& f) { return f.state == FrameState::Anonymous || f.state == FrameState::SwapCacheOnly; }
}  // namespace

void rmap_for_each_vma(VirtualMemory& vm, Pfn frame, const std::function<void(Vma&, VirtAddr)>& visit) {
  rmap_walk(vm, frame, [&visit](Vma& v, VirtAddr a, PhysAddr, Pte) {
    visit(v, a);
    return true;
  });
}

void rmap_for_each(VirtualMemory& vm, Pfn frame, const std::function<void(AddressSpace&, VirtAddr)>& visit) {
  rmap_for_each_vma(vm, frame, [&visit](Vma& v, VirtAddr a) { visit(*v.space, a); });
}

void Rmap::add_new_anonymous(VirtualMemory& vm, Pfn frame, const Vma& v, VirtAddr a) {
  Frame& f = vm.physical().frames()[frame];
  vm.physical().allocator().set_state(frame, Order{0}, FrameState::Anonymous);
  f.anon_vma = v.anon_vma;
  f.index = v.index_of(a).value();
  f.mapcount = 1;
  f.set(FrameFlag::SwapBacked);
  f.set(FrameFlag::Uptodate);
  f.set(FrameFlag::AnonExclusive);
  f.set(FrameFlag::Dirty);
  vm.physical().stat().add(VmItem::nr_anon_pages);
  if (has(v.flags, VmFlag::Locked)) {
    f.set(FrameFlag::Unevictable);
    mlock(vm, frame);
  }
  vm.lru().add(frame);
}

void Rmap::add(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  if (f.mapcount++ == 0) vm.physical().stat().add(anonymous(f) ? VmItem::nr_anon_pages : VmItem::nr_mapped);
}

void Rmap::remove(VirtualMemory& vm, Pfn frame, const Vma& v) {
  Frame& f = vm.physical().frames()[frame];
  CHECK(f.mapcount > 0, "pfn {} is not mapped", frame.value());
  if (--f.mapcount == 0) {
    vm.physical().stat().add(anonymous(f) ? VmItem::nr_anon_pages : VmItem::nr_mapped, -1);
    if (f.state == FrameState::Anonymous && f.has(FrameFlag::SwapCache)) vm.physical().allocator().set_state(frame, Order{0}, FrameState::SwapCacheOnly);
  }
  if (f.has(FrameFlag::Mlocked) && has(v.flags, VmFlag::Locked)) munlock(vm, frame);
}

void Rmap::mlock(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  if (f.has(FrameFlag::Mlocked)) return;
  f.set(FrameFlag::Mlocked);
  vm.physical().stat().add_zone(f.zone, VmItem::nr_mlock, 1);
  vm.physical().stat().add(VmItem::unevictable_pgs_mlocked);
  // A page that reclaim holds is culled when it is put back; a new one comes here before it is on any list (mm/mlock.c: __mlock_page, __mlock_new_page).
  if (f.has(FrameFlag::Lru) != f.has(FrameFlag::Unevictable)) vm.physical().stat().add(VmItem::unevictable_pgs_culled);
  vm.lru().set_unevictable(frame, true);
}

void Rmap::munlock(VirtualMemory& vm, Pfn frame) {
  Frame& f = vm.physical().frames()[frame];
  if (!f.has(FrameFlag::Mlocked)) return;
  bool still_locked = false;
  rmap_for_each_vma(vm, frame, [&](Vma& v, VirtAddr) { still_locked |= has(v.flags, VmFlag::Locked); });
  if (still_locked) return;
  f.clear(FrameFlag::Mlocked);
  vm.physical().stat().add_zone(f.zone, VmItem::nr_mlock, -1);
  vm.physical().stat().add(VmItem::unevictable_pgs_munlocked);
  if (f.has(FrameFlag::Lru) && f.has(FrameFlag::Unevictable)) vm.physical().stat().add(VmItem::unevictable_pgs_rescued);
  vm.lru().set_unevictable(frame, false);
}

}  // namespace vitro::mm
