#include "kernel/elf_image.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "vitro/base/types.h"

namespace vitro::kernel {
namespace {

constexpr uint64_t kTaskSize = 0x7fff'ffff'f000;
constexpr uint64_t kLowestAddress = 0x10000;      // vm.mmap_min_addr
constexpr uint64_t kLargestAlignment = 1u << 30;  // no page is larger
constexpr uint64_t kLongestInterpreter = 4096;    // PATH_MAX

auto bad(std::string what, Errno error = Errno::ExecFormat) { return fail(ElfProblem{error, std::move(what)}); }

constexpr uint64_t page_floor(uint64_t a) { return a & ~kPageOffsetMask; }
constexpr uint64_t page_ceil(uint64_t a) { return (a + kPageOffsetMask) & ~kPageOffsetMask; }

// True where [offset, offset + size) lies within a file of `file_size`.
constexpr bool within(uint64_t offset, uint64_t size, uint64_t file_size) { return offset <= file_size && size <= file_size - offset; }

Result<Elf64_Ehdr, ElfProblem> read_header(std::span<const std::byte> bytes) {
  if (bytes.size() < SELFMAG || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0) return bad("it is not an ELF program");
  if (bytes.size() < sizeof(Elf64_Ehdr)) return bad("it is truncated: the ELF header is incomplete");
  Elf64_Ehdr h;
  std::memcpy(&h, bytes.data(), sizeof h);
  if (h.e_ident[EI_CLASS] != ELFCLASS64) return bad("it is a 32-bit ELF program");
  if (h.e_ident[EI_DATA] != ELFDATA2LSB) return bad("it is a big-endian ELF program");
  if (h.e_machine != EM_X86_64) return bad(fmt::format("it is an ELF program for another processor (e_machine {})", h.e_machine));
  if (h.e_type != ET_EXEC && h.e_type != ET_DYN)
    return bad(fmt::format("it is an ELF {} file, not a program", h.e_type == ET_REL    ? "object"
                                                                  : h.e_type == ET_CORE ? "core"
                                                                                        : "unknown"));
  return h;
}

Result<ElfSegment, ElfProblem> check_segment(const Elf64_Phdr& p, unsigned index, bool fixed, uint64_t file_size) {
  if (p.p_filesz > p.p_memsz) return bad(fmt::format("program header {}: more bytes in the file than in memory", index), Errno::Invalid);
  if (!within(p.p_offset, p.p_filesz, file_size)) return bad(fmt::format("it is truncated: segment {} ends beyond the file", index));
  if (p.p_memsz > kTaskSize || p.p_vaddr > kTaskSize - p.p_memsz)
    return bad(fmt::format("segment {} reaches beyond the user address space", index), Errno::Invalid);
  if ((p.p_vaddr - p.p_offset) % kPageSize != 0)
    return bad(fmt::format("segment {}: address and file offset differ within a page", index), Errno::Invalid);
  if (fixed && p.p_vaddr < kLowestAddress)
    return bad(fmt::format("segment {} lies below the lowest mappable address", index), Errno::NotPermitted);
  return ElfSegment{
      p.p_offset, p.p_filesz, p.p_vaddr, p.p_memsz, (p.p_flags & PF_R) != 0, (p.p_flags & PF_W) != 0, (p.p_flags & PF_X) != 0};
}

}  // namespace

uint64_t ElfImage::low() const { return page_floor(segments.front().address); }
uint64_t ElfImage::high() const { return page_ceil(segments.back().end()); }

uint64_t ElfImage::table_address() const {
  for (const ElfSegment& s : segments)
    if (s.offset <= table_offset && table_offset < s.offset + s.file_size) return table_offset - s.offset + s.address;
  return 0;
}

Result<ElfTable, ElfProblem> elf_table(std::span<const std::byte> header, uint64_t file_size) {
  const Elf64_Ehdr h = TRY(read_header(header));
  if (h.e_phentsize != sizeof(Elf64_Phdr))
    return bad(fmt::format("its program headers have {} bytes each instead of {}", h.e_phentsize, sizeof(Elf64_Phdr)));
  if (h.e_phnum == 0) return bad("it has no program headers");
  if (h.e_phnum > kElfMaxProgramHeaders)
    return bad(fmt::format("it has {} program headers, more than {}", h.e_phnum, kElfMaxProgramHeaders));
  const uint64_t size = uint64_t{h.e_phnum} * sizeof(Elf64_Phdr);
  if (!within(h.e_phoff, size, file_size)) return bad("it is truncated: its program headers lie beyond the file");
  return ElfTable{h.e_phoff, size};
}

Result<ElfImage, ElfProblem> parse_elf(std::span<const std::byte> header, std::span<const std::byte> table, uint64_t file_size) {
  const Elf64_Ehdr h = TRY(read_header(header));
  const ElfTable where = TRY(elf_table(header, file_size));
  if (table.size() < where.size) return bad("it is truncated: its program headers lie beyond the file");
  ElfImage image;
  image.position_independent = h.e_type == ET_DYN;
  image.entry = h.e_entry;
  image.table_offset = h.e_phoff;
  image.table_count = h.e_phnum;
  for (unsigned i = 0; i < h.e_phnum; ++i) {
    Elf64_Phdr p;
    std::memcpy(&p, table.data() + i * sizeof p, sizeof p);
    switch (p.p_type) {
      case PT_LOAD: {
        if (p.p_memsz == 0) break;  // nothing to load
        const ElfSegment s = TRY(check_segment(p, i, h.e_type == ET_EXEC, file_size));
        if (!image.segments.empty() && s.address < image.segments.back().end())
          return bad(fmt::format("segment {} overlaps the one before it, or lies below it", i), Errno::Invalid);
        image.segments.push_back(s);
        // maximum_alignment: what is no power of two does not count.
        if (std::has_single_bit(p.p_align)) {
          if (p.p_align > kLargestAlignment)
            return bad(fmt::format("segment {} asks for an alignment of {:#x}", i, p.p_align), Errno::Invalid);
          image.alignment = std::max<uint64_t>(image.alignment, p.p_align);
        }
        break;
      }
      case PT_INTERP:
        if (image.interpreter) break;  // the first counts
        if (p.p_filesz < 2 || p.p_filesz > kLongestInterpreter)
          return bad("the path of its interpreter (PT_INTERP) has an impossible length");
        if (!within(p.p_offset, p.p_filesz, file_size))
          return bad("it is truncated: the path of its interpreter lies beyond the file", Errno::IoError);
        image.interpreter = ElfImage::Range{p.p_offset, p.p_filesz};
        break;
      case PT_GNU_STACK:
        image.executable_stack = p.p_flags & PF_X;
        break;
      default:
        break;
    }
  }
  if (image.segments.empty()) return bad("it has nothing to load");
  const bool entry_inside =
      std::ranges::any_of(image.segments, [&](const ElfSegment& s) { return image.entry >= s.address && image.entry < s.end(); });
  if (!entry_inside) return bad(fmt::format("its entry point {:#x} is in no segment", image.entry), Errno::Invalid);
  return image;
}

}  // namespace vitro::kernel
