// Names for user addresses, from the ELF symbol tables of mapped files. For people and traces only: reading a file here costs no virtual
// time and leaves the page cache as it was.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/mm/address_space.h"
#include "vitro/mm/ports.h"

namespace vitro::kernel {

class FileSymbols {
 public:
  // From a whole ELF file's bytes; anything wrong with them gives fewer symbols, never a crash. Prefers .symtab over .dynsym.
  static FileSymbols parse(std::span<const std::byte> file);
  // The function or object that holds the byte at `offset` of the file: its name, and how far into it.
  struct Found {
    std::string_view name;
    uint64_t offset = 0;
  };
  std::optional<Found> find(uint64_t file_offset) const;
  size_t size() const { return symbols_.size(); }
  // The link-time address of the first symbol of this name.
  std::optional<uint64_t> value(std::string_view name) const;
  // The link-time address of a page of the file, where a mapping of it at `file_offset` begins.
  std::optional<uint64_t> link_address(uint64_t file_offset) const;

 private:
  struct Symbol {
    uint64_t value, size;
    std::string name;
  };
  struct Segment {
    uint64_t offset, file_size, address;
  };
  std::vector<Symbol> symbols_;  // ascending by value
  std::vector<Segment> segments_;
};

class SymbolTable {
 public:
  // "main+0x1c", "[libc.so.6+0x1234]", "[heap]"-like names for anonymous memory are not made up: "-".
  std::string name(mm::AddressSpace& space, VirtAddr a);
  // Where a symbol of one of the mapped files lies: of the first such file in address order.
  std::optional<VirtAddr> find(mm::AddressSpace& space, std::string_view name);

 private:
  const FileSymbols& symbols_of(mm::AddressSpace& space, mm::MappedFile& file);
  // By device and inode; the size tells a rewritten file from the one that was read.
  struct Key {
    uint64_t device, inode, size;
    auto operator<=>(const Key&) const = default;
  };
  std::map<Key, FileSymbols> files_;
};

}  // namespace vitro::kernel
