#include "vitro/mm/physical_memory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "memory_rig.h"

namespace vitro::mm {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(PhysicalMemory, MemTotalIsWhatARealMachineOfThatSizeShows) {
  const auto total_mib = [](Bytes ram) { return MemoryRig(ram).pages.managed_frames().bytes().value() >> 20; };
  EXPECT_GE(total_mib(mib(16)), 10u);
  EXPECT_GE(total_mib(mib(256)), 225u);
  EXPECT_LE(total_mib(mib(256)), 250u);
  EXPECT_GE(total_mib(gib(4)), 3789u);
  EXPECT_LE(total_mib(gib(4)), 4050u);
  EXPECT_GE(total_mib(gib(64)), 62u << 10);
}

TEST(PhysicalMemory, ReservesMoreOnRequest) {
  MemoryRig plain(mib(256)), less(mib(256), {.extra_reserved = mib(30)});
  EXPECT_EQ(plain.pages.managed_frames() - less.pages.managed_frames(), mib(30).pages_down());
  EXPECT_EQ(less.pages.frames_in_state(FrameState::Reserved) - plain.pages.frames_in_state(FrameState::Reserved), mib(30).pages_down().value());
}

TEST(PhysicalMemory, RefusesAConfigurationThatLeavesNothing) {
  EXPECT_TRUE(PhysicalMemory::validate(mib(16), {}));
  EXPECT_FALSE(PhysicalMemory::validate(mib(16), {.extra_reserved = mib(10)}));
  EXPECT_FALSE(PhysicalMemory::validate(mib(256), {.extra_reserved = Bytes{UINT64_MAX}}));
  EXPECT_FALSE(PhysicalMemory::validate(mib(256), {.cpus = 0}));
  EXPECT_FALSE(PhysicalMemory::validate(mib(256), {.cpus = 65}));
  const auto error = PhysicalMemory::validate(mib(16), {.extra_reserved = mib(10)}).error();
  EXPECT_NE(error.what.find("10240 KiB reserved"), std::string::npos) << error.what;
}

TEST(PhysicalMemory, EveryFrameIsInExactlyOneState) {
  for (Bytes size : {mib(16), mib(40), mib(256), gib(5)}) {
    MemoryRig m(size);
    m.memory->verify(Verify::Full);
    uint64_t sum = 0;
    for (uint64_t n : m.memory->frames_by_state()) sum += n;
    EXPECT_EQ(sum, size.pages_down().value());
    EXPECT_EQ(m.memory->frames_by_state()[static_cast<size_t>(FrameState::ZeroPage)], 1u);
  }
}

TEST(PhysicalMemory, StateOfAgreesWithTheCounts) {
  MemoryRig m(mib(32));
  (void)m.pages.allocate(Gfp::Kernel, Order{3});
  std::array<uint64_t, static_cast<size_t>(FrameState::Count)> found{};
  for (Pfn f{0}; f.value() < m.ram->frames().value(); ++f) ++found[static_cast<size_t>(m.memory->state_of(f))];
  EXPECT_EQ(found, m.memory->frames_by_state());
  EXPECT_EQ(m.memory->state_of(Pfn{0}), FrameState::Reserved);
  EXPECT_EQ(m.memory->state_of(m.memory->boot_layout().kernel_image.first), FrameState::Reserved);
  EXPECT_EQ(m.memory->state_of(m.memory->zero_frame()), FrameState::ZeroPage);
}

TEST(PhysicalMemory, TheZeroPageIsZero) {
  MemoryRig m;
  for (std::byte b : m.ram->read(m.memory->zero_frame().address(), Bytes{kPageSize})) ASSERT_EQ(b, std::byte{0});
}

TEST(PhysicalMemory, BootTakesNoHostMemoryForWhatNobodyTouches) {
  // A 64 GiB machine has 16 million descriptors; start-up writes one in 1024.
  MemoryRig m(gib(64));
  EXPECT_EQ(m.memory->frames()[Pfn{8'000'001}].state, FrameState::Reserved);
  EXPECT_EQ(m.memory->state_of(Pfn{8'000'001}), FrameState::Free);
}

TEST(PhysicalMemory, BootIsDeterministic) {
  MemoryRig a(mib(256)), b(mib(256));
  EXPECT_EQ(a.memory->buddyinfo(), b.memory->buddyinfo());
  EXPECT_EQ(a.memory->zoneinfo(), b.memory->zoneinfo());
  EXPECT_EQ(a.memory->slabinfo(), b.memory->slabinfo());
  EXPECT_EQ(a.memory->zero_frame(), b.memory->zero_frame());
}

// Zones of the sizes of a real 256 MiB machine; its kernel printed these figures.
struct ReferenceZones {
  ReferenceZones() : frames(mib(256).pages_down()) {
    zones.reserve(3);
    zones.emplace_back(frames, stat, kZoneDma, Pfn{1}, Pfn{4096}, Pages{3998}, 1);
    zones.emplace_back(frames, stat, kZoneDma32, Pfn{4096}, Pfn{65495}, Pages{61399}, 1);
    zones.emplace_back(frames, stat, kZoneNormal, Pfn{65495}, Pfn{65495}, Pages{0}, 1);
    zones[0].release(Pfn{256}, Pfn{4096});
  }
  void dma32(uint64_t managed) { zones[1].release(Pfn{65495 - managed}, Pfn{65495}); }
  VmStat stat;
  FrameTable frames;
  std::vector<Zone> zones;
};

TEST(Watermarks, AreThoseOfARealMachine) {
  ReferenceZones r;
  r.dma32(46120);  // what was free when Linux computed them, before it gave its start-up code back
  Watermarks w(r.zones);
  EXPECT_EQ(w.min_free_kbytes(), 1788u);
  const auto marks = [](const Zone& z) {
    return std::vector<uint64_t>{z.watermark(Watermark::Min).value(), z.watermark(Watermark::Low).value(), z.watermark(Watermark::High).value()};
  };
  EXPECT_EQ(marks(r.zones[0]), (std::vector<uint64_t>{34, 42, 50}));
  EXPECT_EQ(marks(r.zones[1]), (std::vector<uint64_t>{412, 515, 618}));
  EXPECT_EQ(r.zones[0].lowmem_reserve(0), Pages{0});
  for (unsigned j = 1; j < kZoneTypes; ++j) EXPECT_EQ(r.zones[0].lowmem_reserve(j), Pages{180});
  for (unsigned j = 0; j < kZoneTypes; ++j) EXPECT_EQ(r.zones[1].lowmem_reserve(j), Pages{0});
  EXPECT_EQ(w.total_reserve(), Pages{180 + 50 + 618});
  EXPECT_EQ(r.zones[0].per_cpu(0).high(), 42u);
  EXPECT_EQ(r.zones[0].per_cpu(0).batch(), 1u);
  EXPECT_EQ(r.zones[1].per_cpu(0).high(), 515u);
  EXPECT_EQ(r.zones[1].per_cpu(0).batch(), 15u);
  EXPECT_EQ(r.zones[0].stat_threshold(), 2u);
  EXPECT_EQ(r.zones[1].stat_threshold(), 4u);
}

TEST(Watermarks, FollowTheirSettings) {
  ReferenceZones r;
  r.dma32(48839);
  Watermarks w(r.zones);
  w.set_huge_pages_enabled(true);
  EXPECT_NEAR(static_cast<double>(w.min_free_kbytes()), 10396, 8);  // 5 % of memory: less than 11 pageblocks a zone
  w.set_huge_pages_enabled(false);
  EXPECT_LT(w.min_free_kbytes(), 2000u);
  w.set_min_free_kbytes(4096);
  EXPECT_EQ(w.min_free_kbytes(), 4096u);
  const uint64_t sum = r.zones[0].watermark(Watermark::Min).value() + r.zones[1].watermark(Watermark::Min).value();
  EXPECT_NEAR(static_cast<double>(sum), 1024, 1);
  w.set_watermark_scale_factor(1000);
  EXPECT_EQ(r.zones[1].watermark(Watermark::High) - r.zones[1].watermark(Watermark::Low), Pages{4883});
  w.set_lowmem_reserve_ratio(kZoneDma, 32);
  EXPECT_EQ(r.zones[0].lowmem_reserve(kZoneNormal), Pages{48839 / 32});
  w.set_lowmem_reserve_ratio(kZoneDma, 0);
  EXPECT_EQ(r.zones[0].lowmem_reserve(kZoneNormal), Pages{0});
  w.set_high_fraction(8);
  EXPECT_EQ(r.zones[1].per_cpu(0).high(), 48839u / 8);
}

TEST(PhysicalMemory, AvailableFollowsLinux) {
  MemoryRig m(mib(256));
  const auto low = static_cast<int64_t>(m.memory->watermarks().low_sum().value());
  const auto base = static_cast<int64_t>(m.memory->available().value());
  const int64_t reclaimable = m.stat(VmItem::nr_slab_reclaimable);
  EXPECT_EQ(base, m.stat(VmItem::nr_free_pages) - static_cast<int64_t>(m.memory->total_reserve().value()) + reclaimable - std::min(reclaimable / 2, low));
  m.memory->stat().add(VmItem::nr_inactive_file, 100);
  EXPECT_EQ(static_cast<int64_t>(m.memory->available().value()), base + 50);
  m.memory->stat().add(VmItem::nr_active_file, 9900);
  EXPECT_EQ(static_cast<int64_t>(m.memory->available().value()), base + 10000 - low);
}

TEST(ProcText, BuddyinfoHasLinuxFormat) {
  MemoryRig m(mib(256));
  const auto lines = lines_of(m.memory->buddyinfo());
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0].starts_with("Node 0, zone      DMA      ")) << lines[0];
  EXPECT_TRUE(lines[1].starts_with("Node 0, zone    DMA32      ")) << lines[1];
  EXPECT_EQ(lines[0].size(), lines[1].size());
  EXPECT_EQ(lines[0].size(), std::string_view("Node 0, zone      DMA      0      0      0      0      0      1      1      1      0      1      3 ").size());
}

TEST(ProcText, PagetypeinfoHasLinuxFormat) {
  MemoryRig m(mib(256));
  const auto lines = lines_of(m.memory->pagetypeinfo());
  ASSERT_EQ(lines.size(), 18u);
  EXPECT_EQ(lines[0], "Page block order: 9");
  EXPECT_EQ(lines[1], "Pages per block:  512");
  EXPECT_EQ(lines[3], "Free pages count per migrate type at order       0      1      2      3      4      5      6      7      8      9     10 ");
  EXPECT_EQ(lines[4].substr(0, 47), "Node    0, zone      DMA, type    Unmovable    ");
  EXPECT_EQ(lines[4].size(), lines[3].size());
  EXPECT_EQ(lines[13], "Node    0, zone    DMA32, type      Isolate      0      0      0      0      0      0      0      0      0      0      0 ");
  EXPECT_EQ(lines[15], "Number of blocks type     Unmovable      Movable  Reclaimable   HighAtomic      Isolate ");
  EXPECT_EQ(lines[16], "Node 0, zone      DMA            1            7            0            0            0 ");
  // The first megabyte's pageblock is no movable one, and has given 32 frames to a DMA pool: as on a PC of this size under Linux 6.1.
  EXPECT_EQ(lines[4], "Node    0, zone      DMA, type    Unmovable      0      0      0      0      0      1      1      1      0      0      0 ");
  EXPECT_EQ(lines[5], "Node    0, zone      DMA, type      Movable      0      0      0      0      0      0      0      0      0      1      3 ");
}

TEST(PhysicalMemory, SetsDmaPoolsAsideUnlessItIsSmall) {
  const auto kernel = [](MemoryRig& m) { return m.memory->frames_by_state()[static_cast<size_t>(FrameState::Kernel)]; };
  MemoryRig small(mib(32)), usual(mib(256)), large(gib(4));
  EXPECT_EQ(kernel(small), 0u);
  EXPECT_EQ(kernel(usual), 3 * 32u);   // 128 KiB each
  EXPECT_EQ(kernel(large), 3 * 128u);  // 128 KiB for each GiB, rounded up to a block
}

TEST(ProcText, ZoneinfoHasLinuxFormat) {
  MemoryRig m(mib(256));
  const std::string text = m.memory->zoneinfo();
  const auto lines = lines_of(text);
  EXPECT_EQ(lines[0], "Node 0, zone      DMA");
  EXPECT_EQ(lines[1], "  per-node stats");
  EXPECT_EQ(lines[2], "      nr_inactive_anon 0");
  EXPECT_EQ(lines[44], "      pgpromote_candidate 0");
  EXPECT_EQ(lines[45].substr(0, 17), "  pages free     ");
  for (const char* part :
       {"\n        boost    0\n        min      ", "\n        spanned  4095\n        present  3998\n        managed  3840\n        cma      0\n        protection: (0, ",
        "\n      nr_free_cma  0\n      numa_hit     ", "\n  pagesets\n    cpu: 0\n              count: ", "\n              high:  ", "\n              batch: 15\n",
        "\n  vm stats threshold: 2\n  node_unreclaimable:  0\n  start_pfn:           1\nNode 0, zone    DMA32\n  pages free ",
        "\n  start_pfn:           4096\nNode 0, zone   Normal\n  pages free     0\n        boost    0\n        min      0\n        low      0\n        high     0\n"
        "        spanned  0\n        present  0\n        managed  0\n        cma      0\n        protection: (0, 0, 0, 0, 0)\nNode 0, zone  Movable\n",
        "Node 0, zone   Device\n"})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  EXPECT_TRUE(text.ends_with("        protection: (0, 0, 0, 0, 0)\n"));
  m.memory->set_node_unreclaimable(true);
  EXPECT_NE(m.memory->zoneinfo().find("node_unreclaimable:  1"), std::string::npos);
}

TEST(ProcText, SlabinfoAgreesWithLinuxOneCpuSizes) {
  MemoryRig m(mib(64));
  const auto lines = lines_of(m.memory->slabinfo());
  EXPECT_EQ(lines[0], "slabinfo - version: 2.1");
  EXPECT_EQ(lines[1],
            "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> : "
            "slabdata <active_slabs> <num_slabs> <sharedavail>");
  std::map<std::string, std::string> layout;
  for (size_t i = 2; i < lines.size(); ++i) {
    // name, active_objs, num_objs, then what depends on the layout alone.
    std::istringstream in(lines[i]);
    std::string name, active, objects;
    in >> name >> active >> objects;
    std::string rest;
    std::getline(in, rest);
    const size_t colon = rest.find(" : tunables    0    0    0 : slabdata ");
    ASSERT_NE(colon, std::string::npos) << lines[i];
    EXPECT_TRUE(rest.ends_with("      0")) << lines[i];
    layout[name] = rest.substr(0, colon);
  }
  // From a real machine's /proc/slabinfo: objsize, objperslab, pagesperslab.
  const std::pair<const char*, const char*> reference[] = {
      {"ext4_inode_cache", "   1192   13    4"}, {"sock_inode_cache", "    832   19    4"}, {"buffer_head", "    104   39    1"},
      {"proc_inode_cache", "    712   11    2"}, {"shmem_inode_cache", "    784   10    2"}, {"mnt_cache", "    320   12    1"},
      {"filp", "    256   16    1"},             {"inode_cache", "    640   12    2"},      {"dentry", "    192   21    1"},
      {"names_cache", "   4096    8    8"},      {"vm_area_struct", "    152   26    1"},   {"files_cache", "    704   11    2"},
      {"signal_cache", "   1152   14    4"},     {"sighand_cache", "   2112   15    8"},    {"task_struct", "   8448    3    8"},
      {"cred_jar", "    192   21    1"},         {"anon_vma_chain", "     64   64    1"},   {"anon_vma", "    104   39    1"},
      {"pid", "    128   32    1"},              {"radix_tree_node", "    584   14    2"},  {"mm_struct", "   1152   14    4"},
      {"maple_node", "    256   16    1"},       {"vmap_area", "     64   64    1"},        {"sigqueue", "     80   51    1"},
      {"nsproxy", "     72   56    1"},          {"kmalloc-8k", "   8192    4    8"},       {"kmalloc-4k", "   4096    8    8"},
      {"kmalloc-2k", "   2048    8    4"},       {"kmalloc-1k", "   1024    8    2"},       {"kmalloc-512", "    512    8    1"},
      {"kmalloc-192", "    192   21    1"},      {"kmalloc-96", "     96   42    1"},       {"kmalloc-8", "      8  512    1"},
      {"kmalloc-cg-1k", "   1024    8    2"},    {"kmalloc-rcl-96", "     96   42    1"},   {"dma-kmalloc-64", "     64   64    1"},
      {"kmem_cache", "    256   16    1"},       {"kmem_cache_node", "     64   64    1"},
  };
  for (const auto& [name, expected] : reference) EXPECT_EQ(layout[name], expected) << name;
  EXPECT_EQ(lines.back().substr(0, 11), "kmem_cache ");  // the oldest cache comes last
}

TEST(ProcText, SlabinfoCountsObjects) {
  MemoryRig m(mib(64));
  std::vector<SlabObject> inodes;
  for (int i = 0; i < 30; ++i) inodes.push_back(*m.memory->caches().allocate(KernelCache::InodeCache));
  const std::string text = m.memory->slabinfo();
  EXPECT_NE(text.find("inode_cache           36     36    640   12    2 : tunables    0    0    0 : slabdata      3      3      0\n"),
            std::string::npos);
}

TEST(PhysicalMemoryDeath, VerifyFindsAForgedState) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.frame(f).state = FrameState::PageTable;
  EXPECT_DEATH(m.memory->verify(Verify::Full), "frames are");
}
TEST(PhysicalMemoryDeath, VerifyFindsAForgedCounter) {
  MemoryRig m;
  m.memory->stat().add(VmItem::nr_free_pages, 1);
  EXPECT_DEATH(m.memory->verify(Verify::Cheap), "nr_free_pages");
}
TEST(PhysicalMemoryDeath, VerifyFindsAReferenceToAFreeFrame) {
  MemoryRig m;
  const Pfn f = *m.pages.allocate(Gfp::Kernel);
  m.pages.free(f);
  m.frame(f).refcount = 1;
  EXPECT_DEATH(m.memory->verify(Verify::Full), "references");
}

}  // namespace
}  // namespace vitro::mm
