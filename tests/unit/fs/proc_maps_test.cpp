// Lines that a real Linux 6.1 printed for `cat /proc/self/maps` and its relatives, from the same values.
#include "fs/proc_maps.h"

#include <gtest/gtest.h>

#include "fs/proc_text.h"
#include "vitro/fs/types.h"
#include "vitro/mm/special_mapping.h"

namespace vitro::fs {
namespace {

using mm::VmFlag;

constexpr VmFlag kRead = VmFlag::Read, kWrite = VmFlag::Write, kExec = VmFlag::Exec;

TEST(ProcMaps, LinesAreLinuxsToTheByte) {
  EXPECT_EQ(render_map_line(
                {VirtAddr{0x555555556000}, VirtAddr{0x55555555b000}, kRead | kExec, 0x2000, make_device(254, 0), 339, "/usr/bin/cat"}),
            "555555556000-55555555b000 r-xp 00002000 fe:00 339                        /usr/bin/cat\n");
  EXPECT_EQ(render_map_line({VirtAddr{0x7ffff7dbb000}, VirtAddr{0x7ffff7de0000}, kRead | kWrite, 0, 0, 0, ""}),
            "7ffff7dbb000-7ffff7de0000 rw-p 00000000 00:00 0 \n");
  EXPECT_EQ(render_map_line({VirtAddr{0x7ffffffde000}, VirtAddr{0x7ffffffff000}, kRead | kWrite, 0, 0, 0, "[stack]"}),
            "7ffffffde000-7ffffffff000 rw-p 00000000 00:00 0                          [stack]\n");
  EXPECT_EQ(render_map_line({VirtAddr{0x400000}, VirtAddr{0x401000}, VmFlag::Shared, 0, make_device(0, 1), 7, "/dev/zero (deleted)"}),
            "00400000-00401000 ---s 00000000 00:01 7                                  /dev/zero (deleted)\n");
  // A line that is already wider than the column keeps two blanks, as seq_pad leaves them.
  EXPECT_EQ(render_map_line({VirtAddr{0xffff888000000000}, VirtAddr{0xffff888000001000}, kRead, 0x123456789000, make_device(259, 4000),
                             12345678901234567890u, "/x"}),
            "ffff888000000000-ffff888000001000 r--p 123456789000 103:fa0 12345678901234567890  /x\n");
}

class FakeFile final : public mm::MappedFile {
 public:
  explicit FakeFile(std::string path) : path_(std::move(path)) {}
  mm::PageCache& page_cache() override { std::abort(); }
  uint64_t device_number() const override { return make_device(8, 1); }
  uint64_t inode_number() const override { return 42; }
  std::string mapped_path() const override { return path_; }
  bool opened_for_write() const override { return false; }
  bool opened_for_read() const override { return true; }

 private:
  std::string path_;
};

struct Area : mm::Vma {
  Area(uint64_t from, uint64_t to) {
    start = VirtAddr{from}, end = VirtAddr{to}, flags = kRead | kWrite;
    page_offset = PageIndex{from >> 12};
  }
};

TEST(ProcMaps, NamesFollowTheLayout) {
  mm::AddressSpace::Layout layout{};
  layout.start_brk = VirtAddr{0x1000}, layout.brk = VirtAddr{0x5000}, layout.start_stack = VirtAddr{0x9800};
  EXPECT_EQ(describe_area(Area(0x1000, 0x5000), layout).name, "[heap]");
  EXPECT_EQ(describe_area(Area(0x2000, 0x3000), layout).name, "[heap]") << "a part of it too";
  EXPECT_EQ(describe_area(Area(0x8000, 0xa000), layout).name, "[stack]");
  const mm::SpecialMapping vdso{"[vdso]", kRead, {}};
  Area special(0x7000, 0x8000);
  special.special = &vdso;
  EXPECT_EQ(describe_area(special, layout).name, "[vdso]");
  EXPECT_EQ(describe_area(Area(0x6000, 0x7000), layout).name, "");
  EXPECT_EQ(describe_area(Area(0x6000, 0x7000), layout).offset, 0u) << "anonymous memory shows no offset";
  Area file(0x1000, 0x2000);
  file.file = std::make_shared<FakeFile>("/tmp/a\nb (deleted)");
  file.page_offset = PageIndex{3};
  const MapLine line = describe_area(file, layout);
  EXPECT_EQ(line.name, "/tmp/a\\012b (deleted)");
  EXPECT_EQ(line.offset, 0x3000u);
  EXPECT_EQ(line.inode, 42u);
}

TEST(ProcMaps, SmapsEntryIsLinuxsToTheByte) {
  mm::AddressSpace::SmapsEntry s;
  s.rss = 8192, s.pss_shifted = 8192u << 12, s.private_clean = 8192, s.referenced = 8192;
  EXPECT_EQ(render_smaps_entry(s, Bytes{8192}, kRead | VmFlag::MayRead | VmFlag::MayWrite | VmFlag::MayExec | VmFlag::SoftDirty, false),
            R"(Size:                  8 kB
KernelPageSize:        4 kB
MMUPageSize:           4 kB
Rss:                   8 kB
Pss:                   8 kB
Pss_Dirty:             0 kB
Shared_Clean:          0 kB
Shared_Dirty:          0 kB
Private_Clean:         8 kB
Private_Dirty:         0 kB
Referenced:            8 kB
Anonymous:             0 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
THPeligible:    0
ProtectionKey:         0
VmFlags: rd mr mw me sd 
)");
}

TEST(ProcMaps, PssIsCutToWholeKib) {
  mm::AddressSpace::SmapsEntry s;
  s.rss = 4096, s.pss_shifted = (4096ull << 12) / 3;
  EXPECT_NE(render_smaps_entry(s, Bytes{4096}, kRead, false).find("Pss:                   1 kB\n"), std::string::npos);
}

TEST(ProcMaps, RollupIsLinuxsToTheByte) {
  mm::AddressSpace::SmapsEntry s;
  const auto pss = [](uint64_t kib) { return kib << 22; };
  s.rss = 1152 << 10, s.pss_shifted = pss(1150), s.pss_dirty_shifted = pss(96), s.shared_clean = 4 << 10, s.private_clean = 1052 << 10,
  s.private_dirty = 96 << 10;
  s.referenced = 1152 << 10, s.anonymous = 96 << 10;
  EXPECT_EQ(render_smaps_rollup(VirtAddr{0x555555554000}, VirtAddr{0x7ffffffff000}, s, {pss(96), pss(1054), 0}),
            R"(555555554000-7ffffffff000 ---p 00000000 00:00 0                          [rollup]
Rss:                1152 kB
Pss:                1150 kB
Pss_Dirty:            96 kB
Pss_Anon:             96 kB
Pss_File:           1054 kB
Pss_Shmem:             0 kB
Shared_Clean:          4 kB
Shared_Dirty:          0 kB
Private_Clean:      1052 kB
Private_Dirty:        96 kB
Referenced:         1152 kB
Anonymous:            96 kB
LazyFree:              0 kB
AnonHugePages:         0 kB
ShmemPmdMapped:        0 kB
FilePmdMapped:         0 kB
Shared_Hugetlb:        0 kB
Private_Hugetlb:       0 kB
Swap:                  0 kB
SwapPss:               0 kB
Locked:                0 kB
)");
}

TEST(ProcMaps, FlagsAreNamedInOrderOfTheirBits) {
  EXPECT_EQ(vm_flags_text(VmFlag::None), "");
  EXPECT_EQ(vm_flags_text(VmFlag::Account | kWrite | kRead | VmFlag::GrowsDown | VmFlag::NoHugePage | VmFlag::Locked),
            "rd wr gd lo ac nh ");
}

TEST(ProcText, EscapesOctally) {
  EXPECT_EQ(escape("a b\\c\n", " \n\\"), "a\\040b\\134c\\012");
  EXPECT_EQ(escape("plain", " "), "plain");
}

TEST(ProcText, CpuMasks) {
  EXPECT_EQ(cpu_mask(1), "1");
  EXPECT_EQ(cpu_mask(4), "f");
  EXPECT_EQ(cpu_mask(5), "1f");
  EXPECT_EQ(cpu_mask(32), "ffffffff");
  EXPECT_EQ(cpu_mask(36), "f,ffffffff");
  EXPECT_EQ(cpu_list(1), "0");
  EXPECT_EQ(cpu_list(4), "0-3");
}

}  // namespace
}  // namespace vitro::fs
