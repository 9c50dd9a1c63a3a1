#include "kernel/symbol_table.h"

#include <elf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "vitro/mm/page_cache.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::kernel {
namespace {

// Nobody ships a larger program; a sparse file of terabytes must not be read.
constexpr uint64_t kLargestFile = 256u << 20;

template <class T>
std::optional<T> read_at(std::span<const std::byte> bytes, uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

// Pages that are cached from RAM, the others from storage below the cache. False where something cannot be read.
bool read_file(mm::VirtualMemory& vm, mm::MappedFile& file, std::vector<std::byte>& out) {
  mm::PageCache& cache = file.page_cache();
  const uint64_t size = cache.backing().size().value();
  if (size == 0 || size > kLargestFile) return false;
  out.resize((size + kPageSize - 1) / kPageSize * kPageSize);
  for (uint64_t i = 0; i * kPageSize < size; ++i) {
    std::span<std::byte> page{out.data() + i * kPageSize, kPageSize};
    if (auto frame = cache.find(PageIndex{i})) {
      std::memcpy(page.data(), vm.physical().ram().read(frame->address(), Bytes{kPageSize}).data(), kPageSize);
    } else if (cache.state() == mm::FrameState::FileCache) {
      if (!cache.backing().read_pages(PageIndex{i}, std::span{&page, 1})) return false;
    }
  }
  out.resize(size);
  return true;
}

}  // namespace

FileSymbols FileSymbols::parse(std::span<const std::byte> file) {
  FileSymbols result;
  const auto header = read_at<Elf64_Ehdr>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 || header->e_ident[EI_CLASS] != ELFCLASS64) return result;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto p = read_at<Elf64_Phdr>(file, header->e_phoff + uint64_t{i} * sizeof(Elf64_Phdr));
    if (!p) break;
    if (p->p_type == PT_LOAD) result.segments_.push_back({p->p_offset, p->p_filesz, p->p_vaddr});
  }
  std::optional<Elf64_Shdr> table;
  for (unsigned i = 0; i < header->e_shnum; ++i) {
    const auto s = read_at<Elf64_Shdr>(file, header->e_shoff + uint64_t{i} * sizeof(Elf64_Shdr));
    if (!s) break;
    if (s->sh_type == SHT_SYMTAB)
      table = s;
    else if (s->sh_type == SHT_DYNSYM && !table)
      table = s;
  }
  if (!table || table->sh_offset > file.size()) return result;
  const auto strings = read_at<Elf64_Shdr>(file, header->e_shoff + uint64_t{table->sh_link} * sizeof(Elf64_Shdr));
  if (!strings || strings->sh_offset > file.size()) return result;
  const auto names = file.subspan(strings->sh_offset, std::min<uint64_t>(strings->sh_size, file.size() - strings->sh_offset));
  const auto entries = file.subspan(table->sh_offset, std::min<uint64_t>(table->sh_size, file.size() - table->sh_offset));
  for (uint64_t at = 0; at + sizeof(Elf64_Sym) <= entries.size(); at += sizeof(Elf64_Sym)) {
    const auto symbol = *read_at<Elf64_Sym>(entries, at);
    const unsigned type = ELF64_ST_TYPE(symbol.st_info);
    if ((type != STT_FUNC && type != STT_OBJECT && type != STT_NOTYPE && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF ||
        symbol.st_shndx >= SHN_LORESERVE || symbol.st_name >= names.size())
      continue;
    const auto* text = reinterpret_cast<const char*>(names.data()) + symbol.st_name;
    const size_t length = ::strnlen(text, names.size() - symbol.st_name);
    if (length == 0) continue;
    result.symbols_.push_back({symbol.st_value, symbol.st_size, std::string(text, length)});
  }
  // Of several names for one address the first in the table's order, which is the same on every host.
  std::stable_sort(result.symbols_.begin(), result.symbols_.end(), [](const Symbol& a, const Symbol& b) { return a.value < b.value; });
  return result;
}

std::optional<FileSymbols::Found> FileSymbols::find(uint64_t file_offset) const {
  for (const Segment& s : segments_) {
    if (file_offset < s.offset || file_offset - s.offset >= s.file_size) continue;
    const uint64_t address = file_offset - s.offset + s.address;
    auto after =
        std::upper_bound(symbols_.begin(), symbols_.end(), address, [](uint64_t a, const Symbol& symbol) { return a < symbol.value; });
    // The nearest one below that covers the address; a symbol without a size covers up to the next.
    bool nearest = true;
    for (auto it = after; it != symbols_.begin();) {
      --it;
      if (address - it->value < it->size || (it->size == 0 && nearest)) {
        while (it != symbols_.begin() && std::prev(it)->value == it->value && std::prev(it)->size == it->size) --it;
        return Found{it->name, address - it->value};
      }
      if (it->size != 0) nearest = false;
      if (after - it > 64) break;
    }
  }
  return std::nullopt;
}

std::optional<uint64_t> FileSymbols::value(std::string_view name) const {
  for (const Symbol& s : symbols_)
    if (s.name == name) return s.value;
  return std::nullopt;
}

std::optional<uint64_t> FileSymbols::link_address(uint64_t file_offset) const {
  for (const Segment& s : segments_)
    if ((s.offset & ~kPageOffsetMask) == file_offset) return s.address & ~kPageOffsetMask;
  return std::nullopt;
}

const FileSymbols& SymbolTable::symbols_of(mm::AddressSpace& space, mm::MappedFile& file) {
  const Key key{file.device_number(), file.inode_number(), file.page_cache().backing().size().value()};
  auto known = files_.find(key);
  if (known == files_.end()) {
    std::vector<std::byte> bytes;
    FileSymbols symbols;
    if (read_file(space.vm(), file, bytes)) symbols = FileSymbols::parse(bytes);
    known = files_.emplace(key, std::move(symbols)).first;
  }
  return known->second;
}

std::optional<VirtAddr> SymbolTable::find(mm::AddressSpace& space, std::string_view name) {
  std::optional<VirtAddr> found;
  const mm::MappedFile* last = nullptr;
  space.for_each_vma([&](const mm::Vma& v) {
    if (found || !v.file || v.file.get() == last) return;
    const FileSymbols& symbols = symbols_of(space, *v.file);
    const std::optional<uint64_t> linked = symbols.link_address(v.page_offset.offset().value());
    if (!linked) return;
    last = v.file.get();
    if (const auto value = symbols.value(name)) found = VirtAddr{v.start.value() + (*value - *linked)};
  });
  return found;
}

std::string SymbolTable::name(mm::AddressSpace& space, VirtAddr a) {
  const mm::Vma* v = space.find(a);
  if (!v || !v->file) return "-";
  mm::MappedFile& file = *v->file;
  const FileSymbols& symbols = symbols_of(space, file);
  const uint64_t offset = v->page_offset.offset().value() + (a - v->start).value();
  if (auto found = symbols.find(offset)) return fmt::format("{}+0x{:x}", found->name, found->offset);
  const std::string path = file.mapped_path();
  return fmt::format("[{}+0x{:x}]", path.substr(path.rfind('/') + 1), offset);
}

}  // namespace vitro::kernel
