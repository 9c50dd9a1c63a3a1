#include "fs/proc_maps.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "fs/proc_text.h"
#include "vitro/fs/process_view.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/special_mapping.h"

namespace vitro::fs {
namespace {

using mm::VmFlag;
using Smaps = mm::AddressSpace::SmapsEntry;

constexpr unsigned kPssShift = 12;
constexpr size_t kNameColumn = 73;  // 25 + 6 * sizeof(long) - 1 columns are padded, then a blank (show_vma_header_prefix)

struct FlagName {
  unsigned bit;
  char name[3];
};
// fs/proc/task_mmu.c: show_smap_vma_flags, in order of the bits.
constexpr FlagName kFlagNames[] = {{0, "rd"},  {1, "wr"},  {2, "ex"},  {3, "sh"},  {4, "mr"},  {5, "mw"},  {6, "me"},
                                   {7, "ms"},  {8, "gd"},  {10, "pf"}, {13, "lo"}, {14, "io"}, {15, "sr"}, {16, "rr"},
                                   {17, "dc"}, {18, "de"}, {19, "??"}, {20, "ac"}, {21, "nr"}, {22, "ht"}, {23, "sf"}, {24, "ar"},
                                   {25, "wf"}, {26, "dd"}, {27, "sd"}, {28, "mm"}, {29, "hg"}, {30, "nh"}, {31, "mg"}};

void line_kib(std::string& out, std::string_view label, uint64_t kib) {
  fmt::format_to(std::back_inserter(out), "{:<16}{:>8} kB\n", label, kib);
}
void line_bytes(std::string& out, std::string_view label, uint64_t bytes) { line_kib(out, label, bytes >> 10); }
void line_pss(std::string& out, std::string_view label, uint64_t shifted) { line_kib(out, label, shifted >> (10 + kPssShift)); }

// What smaps and its rollup have in common, from Shared_Clean on.
void render_common(std::string& out, const Smaps& s) {
  line_bytes(out, "Shared_Clean:", s.shared_clean);
  line_bytes(out, "Shared_Dirty:", s.shared_dirty);
  line_bytes(out, "Private_Clean:", s.private_clean);
  line_bytes(out, "Private_Dirty:", s.private_dirty);
  line_bytes(out, "Referenced:", s.referenced);
  line_bytes(out, "Anonymous:", s.anonymous);
  line_bytes(out, "LazyFree:", s.lazy_free);
  line_bytes(out, "AnonHugePages:", s.anon_huge);
  line_bytes(out, "ShmemPmdMapped:", s.shmem_pmd);
  line_bytes(out, "FilePmdMapped:", s.file_pmd);
  line_bytes(out, "Shared_Hugetlb:", s.shared_hugetlb);
  line_bytes(out, "Private_Hugetlb:", s.private_hugetlb);
  line_bytes(out, "Swap:", s.swap);
  line_pss(out, "SwapPss:", s.swap_pss_shifted);
  line_pss(out, "Locked:", s.locked_shifted);
}

void add(Smaps& sum, const Smaps& s) {
  sum.rss += s.rss, sum.pss_shifted += s.pss_shifted, sum.pss_dirty_shifted += s.pss_dirty_shifted;
  sum.shared_clean += s.shared_clean, sum.shared_dirty += s.shared_dirty, sum.private_clean += s.private_clean,
      sum.private_dirty += s.private_dirty;
  sum.referenced += s.referenced, sum.anonymous += s.anonymous, sum.lazy_free += s.lazy_free, sum.anon_huge += s.anon_huge;
  sum.shmem_pmd += s.shmem_pmd, sum.file_pmd += s.file_pmd, sum.shared_hugetlb += s.shared_hugetlb,
      sum.private_hugetlb += s.private_hugetlb;
  sum.swap += s.swap, sum.swap_pss_shifted += s.swap_pss_shifted, sum.locked_shifted += s.locked_shifted;
}

// Splits the PSS of one area. A private mapping of a file holds both kinds of pages, so its pages are looked at one by one.
void split_pss(mm::AddressSpace& space, const mm::Vma& vma, const Smaps& s, PssByKind& pss) {
  if (s.pss_shifted == 0) return;
  if (vma.anonymous()) {
    pss.anonymous += s.pss_shifted;
    return;
  }
  mm::PhysicalMemory& physical = space.vm().physical();
  uint64_t anonymous = 0, shmem = 0;
  for (Vpn page = vma.start.vpn(); page < vma.end.vpn(); ++page) {
    const uint64_t word = space.pagemap_entry(page);
    if (!(word >> 63)) continue;
    const Pfn frame{word & ((uint64_t{1} << 55) - 1)};
    if (frame.value() >= physical.frames().size().value()) continue;
    const mm::Frame& f = physical.frames()[frame];
    const uint64_t share = f.mapcount ? (kPageSize << kPssShift) / f.mapcount : 0;
    if (f.state == mm::FrameState::Anonymous)
      anonymous += share;
    else if (f.state == mm::FrameState::Shmem)
      shmem += share;
  }
  anonymous = std::min(anonymous, s.pss_shifted);
  shmem = std::min(shmem, s.pss_shifted - anonymous);
  pss.anonymous += anonymous, pss.shmem += shmem, pss.file += s.pss_shifted - anonymous - shmem;
}

}  // namespace

MapLine describe_area(const mm::Vma& vma, const mm::AddressSpace::Layout& layout) {
  MapLine line{vma.start, vma.end, vma.flags, 0, 0, 0, {}};
  if (vma.file) {
    line.offset = vma.page_offset.offset().value();
    line.device = vma.file->device_number();
    line.inode = vma.file->inode_number();
    line.name = escape(vma.file->mapped_path(), "\n");
  } else if (vma.special) {
    line.name = vma.special->name;
  } else if (vma.start <= layout.brk && vma.end >= layout.start_brk) {
    line.name = "[heap]";
  } else if (vma.start <= layout.start_stack && vma.end >= layout.start_stack) {
    line.name = "[stack]";
  }
  return line;
}

std::string render_map_line(const MapLine& l) {
  const auto bit = [&](VmFlag f, char yes) { return has(l.flags, f) ? yes : '-'; };
  std::string out = fmt::format("{:08x}-{:08x} {}{}{}{} {:08x} {:02x}:{:02x} {} ", l.start.value(), l.end.value(), bit(VmFlag::Read, 'r'),
                                bit(VmFlag::Write, 'w'), bit(VmFlag::Exec, 'x'), has(l.flags, VmFlag::Shared) ? 's' : 'p', l.offset,
                                device_major(l.device), device_minor(l.device), l.inode);
  if (!l.name.empty()) {
    out.append(out.size() < kNameColumn - 1 ? kNameColumn - out.size() : 1, ' ');
    out += l.name;
  }
  out += '\n';
  return out;
}

std::string maps_text(mm::AddressSpace& space) { return render_maps(space); }

std::string area_label(const mm::Vma& area) {
  const MapLine line = describe_area(area, area.space->layout);
  const auto bit = [&](VmFlag f, char yes) { return has(line.flags, f) ? yes : '-'; };
  return fmt::format("{} {}{}{}{}", line.name.empty() ? "anonymous" : line.name, bit(VmFlag::Read, 'r'), bit(VmFlag::Write, 'w'),
                     bit(VmFlag::Exec, 'x'), has(line.flags, VmFlag::Shared) ? 's' : 'p');
}

std::string vm_flags_text(VmFlag flags) {
  std::string out;
  for (const FlagName& f : kFlagNames)
    if (static_cast<uint64_t>(flags) >> f.bit & 1) (out += f.name) += ' ';
  return out;
}

std::string render_smaps_entry(const Smaps& s, Bytes length, VmFlag flags, bool thp_eligible) {
  const uint64_t page_kib = has(flags, VmFlag::HugeTlb) ? 2048 : 4;
  std::string out;
  line_bytes(out, "Size:", length.value());
  line_kib(out, "KernelPageSize:", page_kib);
  line_kib(out, "MMUPageSize:", page_kib);
  line_bytes(out, "Rss:", s.rss);
  line_pss(out, "Pss:", s.pss_shifted);
  line_pss(out, "Pss_Dirty:", s.pss_dirty_shifted);
  render_common(out, s);
  fmt::format_to(std::back_inserter(out), "THPeligible:    {}\nProtectionKey:  {:>8}\nVmFlags: {}\n", thp_eligible ? 1 : 0, 0,
                 vm_flags_text(flags));
  return out;
}

std::string render_smaps_rollup(VirtAddr start, VirtAddr end, const Smaps& sum, const PssByKind& pss) {
  std::string out = render_map_line({start, end, VmFlag::None, 0, 0, 0, "[rollup]"});
  line_bytes(out, "Rss:", sum.rss);
  line_pss(out, "Pss:", sum.pss_shifted);
  line_pss(out, "Pss_Dirty:", sum.pss_dirty_shifted);
  line_pss(out, "Pss_Anon:", pss.anonymous);
  line_pss(out, "Pss_File:", pss.file);
  line_pss(out, "Pss_Shmem:", pss.shmem);
  render_common(out, sum);
  return out;
}

std::string render_maps(mm::AddressSpace& space) {
  std::string out;
  space.for_each_vma([&](const mm::Vma& vma) { out += render_map_line(describe_area(vma, space.layout)); });
  return out;
}

std::string render_smaps(mm::AddressSpace& space) {
  std::string out;
  space.for_each_vma([&](const mm::Vma& vma) {
    out += render_map_line(describe_area(vma, space.layout));
    out += render_smaps_entry(space.smaps(vma), vma.length(), vma.flags, false);
  });
  return out;
}

// fs/proc/task_mmu.c: show_numa_map.
std::string render_numa_maps(mm::AddressSpace& space) {
  std::string out;
  const auto to = std::back_inserter(out);
  space.for_each_vma([&](const mm::Vma& vma) {
    const auto& layout = space.layout;
    fmt::format_to(to, "{:08x} default", vma.start.value());
    if (vma.file) {
      fmt::format_to(to, " file={}", escape(vma.file->mapped_path(), "\n\t= "));
    } else if (vma.start <= layout.brk && vma.end >= layout.start_brk) {
      out += " heap";
    } else if (vma.start <= layout.start_stack && vma.end >= layout.start_stack) {
      out += " stack";
    }
    const mm::AddressSpace::NumaMapEntry n = space.numa_map(vma);
    if (n.pages) {
      if (n.anonymous) fmt::format_to(to, " anon={}", n.anonymous);
      if (n.dirty) fmt::format_to(to, " dirty={}", n.dirty);
      if (n.pages != n.anonymous && n.pages != n.dirty) fmt::format_to(to, " mapped={}", n.pages);
      if (n.most_mapped > 1) fmt::format_to(to, " mapmax={}", n.most_mapped);
      if (n.swap_cache) fmt::format_to(to, " swapcache={}", n.swap_cache);
      if (n.active < n.pages) fmt::format_to(to, " active={}", n.active);
      if (n.writeback) fmt::format_to(to, " writeback={}", n.writeback);
      fmt::format_to(to, " N0={} kernelpagesize_kB=4", n.pages);
    }
    out += '\n';
  });
  return out;
}

std::string render_smaps_rollup(mm::AddressSpace& space) {
  Smaps sum;
  PssByKind pss;
  VirtAddr start{0}, end{0};
  space.for_each_vma([&](const mm::Vma& vma) {
    if (end.value() == 0) start = vma.start;
    end = vma.end;
    const Smaps s = space.smaps(vma);
    add(sum, s);
    split_pss(space, vma, s, pss);
  });
  if (end.value() == 0) return {};
  return render_smaps_rollup(start, end, sum, pss);
}

}  // namespace vitro::fs
