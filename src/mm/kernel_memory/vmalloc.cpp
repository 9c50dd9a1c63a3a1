#include "vitro/mm/vmalloc.h"

#include <fmt/format.h>

#include <bit>

#include "mm/kernel_memory/kernel_page_table.h"
#include "mm/space/tlb_gather.h"
#include "mm/kernel_memory/vmap_tree.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {
constexpr Bytes kVmStruct{64};         // sizeof(struct vm_struct)
constexpr uint64_t kGuard = kPageSize;
constexpr Gfp kReclaimMask = Gfp::Reclaim | Gfp::High | Gfp::Io | Gfp::Fs | Gfp::NoWarn | Gfp::RetryMayFail | Gfp::NoFail | Gfp::NoRetry | Gfp::MemAlloc |
                             Gfp::NoMemAlloc | Gfp::Atomic_;  // mm/internal.h: GFP_RECLAIM_MASK
}  // namespace

struct Vmalloc::Index {
  Tree holes, used, lazy;
};

const char* vmalloc_error_text(VmallocError e) {
  return e == VmallocError::NotAnArea ? "no vmalloc area starts at this address" : "the area was made by the other of vmalloc and vmap";
}

Vmalloc::Vmalloc(PhysicalMemory& physical, KernelPageTable& tables, hw::Mmu& mmu, unsigned cpus)
    : physical_(physical), tables_(tables), mmu_(mmu), cpus_(cpus), index_(std::make_unique<Index>()) {
  auto memory = physical.caches().allocate(KernelCache::VmapArea);
  CHECK(memory, "no memory for the first vmap_area");
  Node* all = new Node;
  all->start = kVmallocBase.value();
  all->end = (kVmallocBase + kVmallocSize).value();
  all->memory = std::move(*memory);
  index_->holes.insert(*all);
}

Vmalloc::~Vmalloc() {
  while (Node* n = index_->used.first()) release(n, Pages{n->pages});
  for (Tree* tree : {&index_->lazy, &index_->holes})
    while (Node* n = tree->first()) {
      tree->remove(*n);
      delete n;
    }
}

Pages Vmalloc::lazy_max() const { return Pages{std::bit_width(cpus_) * mib(32).pages_down().value()}; }

// Takes `size` bytes of the lowest hole that has room (adjust_va_to_fit_type). Null: no hole, or no memory for a second one.
Vmalloc::Node* Vmalloc::allocate_hole(Bytes size, Bytes align) {
  Node* hole = index_->holes.lowest_fit(size.value(), align.value());
  if (!hole) return nullptr;
  auto memory = physical_.caches().allocate(KernelCache::VmapArea, Gfp::Kernel & kReclaimMask);
  if (!memory) return nullptr;
  // The allocation may have waited, and with it the holes may have changed.
  hole = index_->holes.lowest_fit(size.value(), align.value());
  if (!hole) return nullptr;
  const uint64_t start = (hole->start + align.value() - 1) & ~(align.value() - 1), end = start + size.value();
  if (hole->start == start && hole->end == end) {
    index_->holes.remove(*hole);
    delete hole;
  } else if (hole->start == start) {
    hole->start = end;
    index_->holes.resized(*hole);
  } else if (hole->end == end) {
    hole->end = start;
    index_->holes.resized(*hole);
  } else {
    auto rest_memory = physical_.caches().allocate(KernelCache::VmapArea, Gfp::NoWait);
    if (!rest_memory) return nullptr;
    Node* rest = new Node;
    rest->start = end;
    rest->end = hole->end;
    rest->memory = std::move(*rest_memory);
    hole->end = start;
    index_->holes.resized(*hole);
    index_->holes.insert(*rest);
  }
  Node* node = new Node;
  node->start = start;
  node->end = end;
  node->memory = std::move(*memory);
  index_->used.insert(*node);
  return node;
}

// __get_vm_area_node.
Result<Vmalloc::Node*> Vmalloc::reserve(Bytes size, Bytes align, std::string_view caller) {
  SlabObject area = TRY(physical_.caches().allocate_bytes(kVmStruct, Gfp::Kernel | Gfp::Zero));
  const Bytes whole = size.pages_up().bytes() + Bytes{kGuard};
  Node* node = allocate_hole(whole, align);
  if (!node && lazy_.value() != 0) {
    purge();
    node = allocate_hole(whole, align);
  }
  if (!node) return fail(Errno::NoMemory);
  node->area_memory = std::move(area);
  node->caller = caller;
  return node;
}

Result<VirtAddr> Vmalloc::allocate(Bytes size, const VmallocRequest& request) {
  CHECK(std::has_single_bit(request.align.value()) && request.align.value() >= kPageSize, "vmalloc alignment {:#x}", request.align.value());
  if (size.value() == 0 || size.pages_up() > physical_.allocator().managed_frames()) return fail(Errno::NoMemory);
  Node* node = TRY(reserve(size, request.align, request.caller));
  node->kind = Area::Kind::Vmalloc;
  if (!fill(*node, request)) {
    release(node, Pages{node->pages});
    return fail(Errno::NoMemory);
  }
  return VirtAddr{node->start};
}

// __vmalloc_area_node. On failure what was mapped stays for the caller to release.
bool Vmalloc::fill(Node& node, const VmallocRequest& request) {
  const uint64_t pages = (node.size() - kGuard) / kPageSize;
  const Bytes array{pages * sizeof(uint64_t)};
  const Gfp nested = (request.flags & kReclaimMask) | Gfp::Zero;
  if (array.value() > kPageSize) {
    auto area = allocate(array, {.flags = nested, .caller = request.caller});
    if (!area) return false;
    node.pages_area = *area;
  } else {
    auto memory = physical_.caches().allocate_bytes(array, nested);
    if (!memory) return false;
    node.pages_memory = std::move(*memory);
  }
  Gfp flags = request.flags | Gfp::NoWarn;
  if (!has_any(flags, Gfp::Dma | Gfp::Dma32)) flags = flags | Gfp::HighMem;
  PageAllocator& allocator = physical_.allocator();
  for (uint64_t i = 0; i < pages; ++i) {
    const auto frame = allocator.allocate(flags);
    if (!frame) return false;
    if (!tables_.map(VirtAddr{node.start + i * kPageSize}, *frame)) {
      allocator.free(*frame);
      return false;
    }
    allocator.set_state(*frame, Order{0}, request.state);
    ++node.pages;
    ++allocated_;
  }
  return true;
}

Result<VirtAddr> Vmalloc::map(std::span<const Pfn> frames, std::string_view caller) {
  if (frames.empty() || frames.size() > physical_.allocator().managed_frames().value()) return fail(frames.empty() ? Errno::Invalid : Errno::NoMemory);
  Node* node = TRY(reserve(Pages{frames.size()}.bytes(), Bytes{kPageSize}, caller));
  node->kind = Area::Kind::Vmap;
  for (const Pfn frame : frames) {
    if (!tables_.map(VirtAddr{node->start + node->pages * kPageSize}, frame)) {
      release(node, Pages{node->pages});
      return fail(Errno::NoMemory);
    }
    ++node->pages;
  }
  return VirtAddr{node->start};
}

Result<void, VmallocError> Vmalloc::try_free(VirtAddr start) {
  Node* node = index_->used.at_start(start.value());
  if (!node) return fail(VmallocError::NotAnArea);
  if (node->kind != Area::Kind::Vmalloc) return fail(VmallocError::WrongKind);
  release(node, Pages{node->pages});
  return {};
}

Result<void, VmallocError> Vmalloc::try_unmap(VirtAddr start) {
  Node* node = index_->used.at_start(start.value());
  if (!node) return fail(VmallocError::NotAnArea);
  if (node->kind != Area::Kind::Vmap) return fail(VmallocError::WrongKind);
  release(node, Pages{node->pages});
  return {};
}

void Vmalloc::free(VirtAddr start) {
  const auto done = try_free(start);
  CHECK(done, "vfree of {:#x}: {}", start.value(), vmalloc_error_text(done.error()));
}

void Vmalloc::unmap(VirtAddr start) {
  const auto done = try_unmap(start);
  CHECK(done, "vunmap of {:#x}: {}", start.value(), vmalloc_error_text(done.error()));
}

// __vunmap: the entries are cleared now, the frames freed, and the addresses kept until the next purge.
void Vmalloc::release(Node* node, Pages mapped) {
  index_->used.remove(*node);
  for (Pages i{0}; i < mapped; ++i) {
    const Pfn frame = tables_.unmap(VirtAddr{node->start} + i);
    if (node->kind != Area::Kind::Vmalloc) continue;
    physical_.allocator().free(frame);
    --allocated_;
  }
  const VirtAddr pages_area = node->pages_area;
  node->pages_memory.release();
  node->area_memory.release();
  node->pages_area = VirtAddr{0};
  node->pages = 0;
  node->kind = Area::Kind::Unpurged;
  // free_vmap_area_noflush; neighbours that are waiting too become one.
  lazy_ += Bytes{node->size()}.pages_down();
  Tree& lazy = index_->lazy;
  if (Node* low = lazy.below(node->start); low && low->end == node->start) {
    lazy.remove(*low);
    node->start = low->start;
    delete low;
  }
  if (Node* high = lazy.above(node->start); high && high->start == node->end) {
    lazy.remove(*high);
    node->end = high->end;
    delete high;
  }
  lazy.insert(*node);
  if (pages_area.value() != 0) free(pages_area);
  if (lazy_ > lazy_max()) purge();
}

void Vmalloc::give_back(Node* node) {
  Tree& holes = index_->holes;
  Node* low = holes.below(node->start);
  Node* high = holes.above(node->start);
  if (high && high->start == node->end) {
    node->end = high->end;
    holes.remove(*high);
    delete high;
  }
  if (low && low->end == node->start) {
    low->end = node->end;
    holes.resized(*low);
    delete node;
  } else {
    holes.insert(*node);
  }
}

Pages Vmalloc::purge() {
  const Pages purged = lazy_;
  if (index_->lazy.empty()) return purged;
  ++purges_;
  uint64_t low = UINT64_MAX, high = 0;
  index_->lazy.for_each([&](const Node& n) { low = std::min(low, n.start), high = std::max(high, n.end); });
  // flush_tlb_kernel_range.
  const Pages range = Bytes{high - low}.pages_down();
  if (range > TlbGather::kSinglePageCeiling || tables_.isolated()) mmu_.flush_all(hw::FlushReason::LocalShootdown);
  else mmu_.invalidate_pages(VirtAddr{low}, range, mmu_.pcid(), hw::FlushReason::LocalShootdown);
  while (Node* n = index_->lazy.first()) {
    index_->lazy.remove(*n);
    give_back(n);
  }
  lazy_ = Pages{0};
  return purged;
}

std::optional<Vmalloc::Area> Vmalloc::find(VirtAddr a) const {
  const Node* n = index_->used.find(a.value());
  if (!n) return std::nullopt;
  return Area{VirtAddr{n->start}, Bytes{n->size()}, Pages{n->pages}, n->kind, n->caller};
}

std::optional<Pfn> Vmalloc::frame_of(VirtAddr a) const {
  if (a < kVmallocBase || a >= kVmallocBase + kVmallocSize) return std::nullopt;
  return tables_.frame_at(a);
}

void Vmalloc::set_state(VirtAddr start, FrameState state) {
  const Node* n = index_->used.at_start(start.value());
  CHECK(n && n->kind == Area::Kind::Vmalloc, "{:#x} is no vmalloc area", start.value());
  for (Pages i{0}; i < Pages{n->pages}; ++i) physical_.allocator().set_state(*frame_of(start + i), Order{0}, state);
}

Bytes Vmalloc::largest_hole() const { return Bytes{index_->holes.largest()}; }

std::vector<Vmalloc::Area> Vmalloc::areas() const {
  std::vector<Area> result;
  const auto add = [&](const Node& n) { result.push_back({VirtAddr{n.start}, Bytes{n.size()}, Pages{n.pages}, n.kind, n.caller}); };
  index_->used.for_each(add);
  index_->lazy.for_each(add);
  std::ranges::sort(result, {}, &Area::start);
  return result;
}

std::string Vmalloc::vmallocinfo() const {
  std::string out;
  const auto to = std::back_inserter(out);
  index_->used.for_each([&](const Node& n) {
    fmt::format_to(to, "0x{:016x}-0x{:016x} {:7} {}", n.start, n.end, n.size(), n.caller);
    if (n.kind == Area::Kind::Vmalloc) fmt::format_to(to, " pages={} vmalloc", n.pages);
    else fmt::format_to(to, " vmap");
    if (n.pages_area.value() != 0) fmt::format_to(to, " vpages");
    if (n.kind == Area::Kind::Vmalloc) fmt::format_to(to, " N0={}", n.pages);
    out += '\n';
  });
  index_->lazy.for_each([&](const Node& n) { fmt::format_to(to, "0x{:016x}-0x{:016x} {:7} unpurged vm_area\n", n.start, n.end, n.size()); });
  return out;
}

void Vmalloc::verify() const {
  index_->holes.verify();
  index_->used.verify();
  index_->lazy.verify();
  // Together they cover the range, each address once.
  uint64_t covered = 0, mapped = 0, waiting = 0, owned = 0;
  index_->holes.for_each([&](const Node& n) { covered += n.size(); });
  index_->lazy.for_each([&](const Node& n) { covered += n.size(), waiting += n.size(); });
  index_->used.for_each([&](const Node& n) {
    covered += n.size();
    mapped += n.pages;
    if (n.kind == Area::Kind::Vmalloc) owned += n.pages;
    for (uint64_t i = 0; i < n.pages; ++i) {
      const auto frame = tables_.frame_at(VirtAddr{n.start + i * kPageSize});
      CHECK(frame, "vmalloc area {:#x}: page {} is not mapped", n.start, i);
      const FrameState state = physical_.frames()[*frame].state;
      CHECK(n.kind == Area::Kind::Vmap || state == FrameState::Vmalloc || state == FrameState::KernelStack, "vmalloc area {:#x}: pfn {} is {}", n.start,
            frame->value(), frame_state_name(state));
    }
    CHECK(!tables_.frame_at(VirtAddr{n.end - kGuard}), "vmalloc area {:#x}: its guard page is mapped", n.start);
  });
  CHECK(covered == kVmallocSize.value(), "vmalloc ranges cover {:#x} bytes", covered);
  CHECK(waiting == lazy_.bytes().value(), "{} lazily freed pages, {:#x} bytes found", lazy_.value(), waiting);
  CHECK(owned == allocated_.value(), "{} vmalloc pages, {} found", allocated_.value(), owned);
  const uint64_t entries = tables_.mapped_pages(kVmallocBase, kVmallocBase + kVmallocSize);
  CHECK(entries == mapped, "{} pages are mapped in the vmalloc area, areas have {}", entries, mapped);
  const auto states = physical_.frames_by_state();
  const uint64_t frames = states[static_cast<size_t>(FrameState::Vmalloc)] + states[static_cast<size_t>(FrameState::KernelStack)];
  CHECK(frames == owned, "{} frames are vmalloc's or kernel stacks, areas have {}", frames, owned);
}

}  // namespace vitro::mm
