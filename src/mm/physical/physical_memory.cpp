// Boot of physical memory: what is reserved, which zones there are, and what is free. And the recount of everything.
#include "vitro/mm/physical_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "mm/physical/machine_memory.h"
#include "vitro/base/check.h"

namespace vitro::mm {
namespace {

constexpr uint64_t kLowMemory = mib(1).pages_down().value();   // reserved as a whole, as Linux does on x86
constexpr uint64_t kHoleFirst = 0x9f;                          // up to kLowMemory there is no RAM on a PC: EBDA, video memory, ROMs
constexpr uint64_t kDmaEnd = mib(16).pages_down().value();
constexpr uint64_t kDma32End = gib(4).pages_down().value();
constexpr uint64_t kDescriptorBytes = 64;                      // sizeof(struct page)
constexpr Bytes kLeastFree = mib(4);
constexpr Bytes kFullKernel = mib(64);                          // RAM from which on the kernel is a distribution's, not a small one

Bytes clamp_bytes(Bytes n, Bytes low, Bytes high) { return std::clamp(n, low, high); }

// A small machine runs a small kernel: 12 MiB from 192 MiB on, at least 2 MiB. Hash tables grow with RAM, as in Linux.
Bytes kernel_size(Bytes ram) { return Bytes{clamp_bytes(ram / 16, mib(2), mib(12)).pages_up().bytes()}; }
Bytes boot_data_size(Bytes ram) { return Bytes{clamp_bytes(ram / 256, kib(128), mib(16)).pages_up().bytes()}; }

Pfn high_start_of(Bytes ram, const PhysicalMemoryConfig& config) {
  return Pfn{(config.highmem_start.value() == 0 ? ram : std::min(ram, config.highmem_start)).pages_down().value()};
}

// Everything lies in low memory.
BootLayout plan(Bytes ram, const PhysicalMemoryConfig& config) {
  const Pages frames = ram.pages_down();
  BootLayout l;
  // At 16 MiB, as a relocatable x86 kernel is loaded, so that the DMA zone stays free; a machine that is too small for that has it at 1 MiB.
  const Pfn image{ram >= kFullKernel ? kDmaEnd : kLowMemory};
  l.kernel_image = {image, image + kernel_size(ram).pages_up()};
  const Pfn end = high_start_of(ram, config);
  l.descriptors = {end - Bytes{frames.value() * kDescriptorBytes}.pages_up(), end};
  const Pages data = boot_data_size(ram).pages_up() + config.extra_reserved.pages_up();
  l.boot_data = {l.descriptors.first - data, l.descriptors.first};
  return l;
}

}  // namespace

Result<void, UserError> PhysicalMemory::validate(Bytes ram, const PhysicalMemoryConfig& config) {
  if (config.cpus == 0 || config.cpus > 64) return fail(UserError{fmt::format("{} CPUs cannot be simulated", config.cpus), "use 1 to 64"});
  const uint64_t descriptors = Bytes{ram.pages_down().value() * kDescriptorBytes}.pages_up().bytes().value();
  const uint64_t taken = mib(1).value() + kernel_size(ram).value() + boot_data_size(ram).value() + descriptors + kLeastFree.value();
  const uint64_t low = high_start_of(ram, config).address().value();
  if (low < ram.value() && low < taken)
    return fail(UserError{fmt::format("high memory from {} KiB on leaves too little for the kernel: {} KiB of RAM need {} KiB of low memory", low >> 10,
                                      ram.value() >> 10, taken >> 10),
                          "let high memory start later"});
  if (ram.value() < taken || config.extra_reserved.value() > low - taken)
    return fail(UserError{fmt::format("{} KiB of RAM leave less than {} KiB free with {} KiB reserved", ram.value() >> 10,
                                      kLeastFree.value() >> 10, config.extra_reserved.value() >> 10),
                          "give the machine more RAM or reserve less"});
  return {};
}

std::unique_ptr<PhysicalMemory> PhysicalMemory::create(hw::Ram& ram, const PhysicalMemoryConfig& config, Tracer& tracer) {
  const auto valid = validate(ram.size(), config);
  CHECK(valid, "{}", valid.error().what);
  return std::make_unique<MachineMemory>(ram, config, tracer);
}

MachineMemory::MachineMemory(hw::Ram& ram, const PhysicalMemoryConfig& config, Tracer& tracer)
    : ram_(ram), tracer_(tracer), cpus_(config.cpus), high_start_(high_start_of(ram.size(), config)), frames_(ram.frames()), layout_(plan(ram.size(), config)), zones_(make_zones(config.cpus)),
      watermarks_(zones_), pages_(ram, frames_, zones_, stat_, tracer), slabs_(ram, frames_, pages_, stat_, tracer, config.cpus), caches_(slabs_) {
  const auto zero = pages_.allocate(Gfp::Kernel | Gfp::Zero, Order{0});
  CHECK(zero, "no memory for the zero page");
  zero_frame_ = *zero;
  pages_.set_state(zero_frame_, Order{0}, FrameState::ZeroPage);
  reserve_dma_pools();
}

// kernel/dma/pool.c: dma_atomic_pool_init. Drivers that must not wait take coherent memory from these. What it means for everybody else: the
// DMA zone has a pageblock for unmovable pages from boot on, so that the first table that ends up there steals no movable one.
void MachineMemory::reserve_dma_pools() {
  if (ram_.size() < kFullKernel) return;
  const uint64_t wanted = std::max(pages_.managed_frames().value() / (gib(1).value() / kib(128).value()), kib(128).pages_down().value());
  Order order{0};
  while (order.pages().value() < wanted && order.value() + 1u < kOrders) order = Order{static_cast<uint8_t>(order.value() + 1)};
  for (const Gfp zone : {Gfp::None, Gfp::Dma, Gfp::Dma32})
    if (const auto pool = pages_.allocate(Gfp::Kernel | Gfp::NoWarn | zone, order)) pages_.set_state(*pool, order, FrameState::Kernel);
}

std::vector<Zone> MachineMemory::make_zones(unsigned cpus) {
  const uint64_t end = high_start_.value();
  std::vector<Zone> zones;
  zones.reserve(kPopulatedZones);
  // Frame 0 belongs to no zone: nothing may ever be at physical address 0.
  zones.emplace_back(frames_, stat_, kZoneDma, Pfn{1}, Pfn{std::min(end, kDmaEnd)}, Pages{std::min(end, kDmaEnd) - 1 - (kLowMemory - kHoleFirst)},
                     cpus);
  const uint64_t bounds[] = {kDmaEnd, kDma32End, UINT64_MAX};
  for (unsigned i = kZoneDma32; i <= kZoneNormal; ++i) {
    const uint64_t first = std::min(bounds[i - 1], end), last = std::min(bounds[i], end);
    zones.emplace_back(frames_, stat_, i, Pfn{first}, Pfn{last}, Pages{last - first}, cpus);
  }
  const Pfn ram_end{ram_.frames().value()};
  zones.emplace_back(frames_, stat_, kZoneHighMem, high_start_, ram_end, ram_end - high_start_, cpus);
  const BootLayout::Range free[] = {
      {Pfn{kLowMemory}, layout_.kernel_image.first}, {layout_.kernel_image.end, layout_.boot_data.first}, {high_start_, ram_end}};
  for (Zone& zone : zones)
    for (const auto& range : free) zone.release(std::max(range.first, zone.first()), std::min(range.end, zone.first() + zone.spanned()));
  return zones;
}

std::array<uint64_t, static_cast<size_t>(FrameState::Count)> MachineMemory::frames_by_state() const {
  std::array<uint64_t, static_cast<size_t>(FrameState::Count)> counts{};
  for (size_t i = 0; i < counts.size(); ++i) counts[i] = pages_.frames_in_state(static_cast<FrameState>(i));
  return counts;
}

Pages MachineMemory::available() const {
  const auto low = static_cast<int64_t>(watermarks_.low_sum().value());
  int64_t available = static_cast<int64_t>(pages_.free_frames().value()) - static_cast<int64_t>(total_reserve().value());
  // At least half of the page cache, or as much as the low watermarks, has to stay; the same for reclaimable slabs.
  const int64_t cache = stat_.get(VmItem::nr_active_file) + stat_.get(VmItem::nr_inactive_file);
  available += cache - std::min(cache / 2, low);
  const int64_t reclaimable = stat_.get(VmItem::nr_slab_reclaimable) + stat_.get(VmItem::nr_kernel_misc_reclaimable);
  available += reclaimable - std::min(reclaimable / 2, low);
  return Pages{static_cast<uint64_t>(std::max<int64_t>(available, 0))};
}

FrameState MachineMemory::state_of(Pfn f) const {
  const FrameState own = frames_[f].state;
  if (own != FrameState::Reserved) return own;
  // Never handed out: reserved, or inside a free block, whose first frame then says so.
  for (unsigned order = 0; order < kOrders; ++order) {
    const Frame& head = frames_[Pfn{f.value() & ~((uint64_t{1} << order) - 1)}];
    if (head.state == FrameState::Free && head.order >= order) return FrameState::Free;
    if (head.state == FrameState::PerCpu && head.order >= order) return FrameState::PerCpu;
  }
  return FrameState::Reserved;
}

void MachineMemory::set_current_cpu(unsigned cpu) {
  CHECK(cpu < cpus_, "CPU {} of {}", cpu, cpus_);
  cpu_ = cpu;
  pages_.set_cpu(cpu);
  slabs_.set_cpu(cpu);
}

void MachineMemory::set_verify_level(Verify level) {
  pages_.set_poison(level == Verify::Full);
  slabs_.set_checking(level == Verify::Full);
}

void MachineMemory::verify(Verify level) const {
  if (level == Verify::Off) return;
  uint64_t sum = 0;
  for (uint64_t n : frames_by_state()) sum += n;
  CHECK(sum == ram_.frames().value(), "{} frames are in some state, but there are {}", sum, ram_.frames().value());
  int64_t free = 0;
  for (const Zone& zone : zones_) free += static_cast<int64_t>(zone.free_frames().value());
  CHECK(stat_.get(VmItem::nr_free_pages) == free, "nr_free_pages {} but {} frames", stat_.get(VmItem::nr_free_pages), free);
  if (level == Verify::Cheap) return;
  for (const Zone& zone : zones_) zone.verify();
  verify_frames();
  slabs_.verify();
}

// Walks all frames from the bottom, over each free block in one step, so that only descriptors that mean something are read as such.
void MachineMemory::verify_frames() const {
  std::array<uint64_t, static_cast<size_t>(FrameState::Count)> found{};
  const uint64_t end = ram_.frames().value();
  for (uint64_t pfn = 0; pfn < end;) {
    const Frame& f = frames_[Pfn{pfn}];
    CHECK(f.state < FrameState::Count, "pfn {}: state {}", pfn, static_cast<unsigned>(f.state));
    if (f.state != FrameState::Free && f.state != FrameState::PerCpu) {
      ++found[static_cast<size_t>(f.state)];
      if (f.is_tail()) {
        const Frame& head = frames_[Pfn{f.compound_head}];
        CHECK(head.has(FrameFlag::Head) && f.compound_head < pfn && pfn < f.compound_head + (uint64_t{1} << head.order) && f.refcount == 0,
              "pfn {} is no tail of a block at {}", pfn, f.compound_head);
      }
      ++pfn;
      continue;
    }
    const uint64_t size = uint64_t{1} << f.order;
    found[static_cast<size_t>(f.state)] += size;
    for (uint64_t i = 0; i < size; ++i) {
      const Frame& inner = frames_[Pfn{pfn + i}];
      CHECK(inner.state == f.state || (inner.state == FrameState::Reserved && f.state == FrameState::Free && !inner.written),
            "pfn {} is {} inside a free block at {} of order {}", pfn + i, frame_state_name(inner.state), pfn, f.order);
      CHECK(inner.refcount == 0 && inner.mapcount == 0 && inner.owner == nullptr, "free pfn {} still belongs to somebody", pfn + i);
      if (!inner.poisoned) continue;
      const auto bytes = ram_.read(Pfn{pfn + i}.address(), Bytes{kPageSize});
      CHECK(std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{kFramePoison}; }),
            "pfn {}: written to while it is free", pfn + i);
    }
    pfn += size;
  }
  pages_.verify_counts(found);
}

}  // namespace vitro::mm
