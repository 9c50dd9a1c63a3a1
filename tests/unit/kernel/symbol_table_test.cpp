#include "kernel/symbol_table.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "vitro/base/rng.h"

namespace vitro::kernel {
namespace {

// A file with one segment (offset 0x1000 at address 0x401000) and a symbol table.
std::vector<std::byte> sample() {
  std::vector<std::byte> file(0x2000);
  auto put = [&](size_t at, const auto& value) { std::memcpy(file.data() + at, &value, sizeof value); };
  Elf64_Ehdr h{};
  std::memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = ELFCLASS64;
  h.e_phoff = 0x40, h.e_phnum = 1;
  h.e_shoff = 0x100, h.e_shnum = 2;
  put(0, h);
  put(0x40, Elf64_Phdr{PT_LOAD, PF_R | PF_X, 0x1000, 0x401000, 0, 0x800, 0x800, 0x1000});
  Elf64_Shdr symbols{}, strings{};
  symbols.sh_type = SHT_SYMTAB, symbols.sh_offset = 0x300, symbols.sh_size = 4 * sizeof(Elf64_Sym), symbols.sh_link = 1;
  strings.sh_type = SHT_STRTAB, strings.sh_offset = 0x500, strings.sh_size = 32;
  put(0x100, symbols);
  put(0x100 + sizeof symbols, strings);
  const char names[] = "\0main\0helper\0gone";
  std::memcpy(file.data() + 0x500, names, sizeof names);
  auto symbol = [](uint32_t name, uint64_t value, uint64_t size, uint16_t section) {
    return Elf64_Sym{name, ELF64_ST_INFO(STB_GLOBAL, STT_FUNC), 0, section, value, size};
  };
  put(0x300 + 1 * sizeof(Elf64_Sym), symbol(6, 0x401100, 0x20, 1));
  put(0x300 + 2 * sizeof(Elf64_Sym), symbol(1, 0x401010, 0x50, 1));
  put(0x300 + 3 * sizeof(Elf64_Sym), symbol(13, 0x401200, 0x20, SHN_UNDEF));
  return file;
}

TEST(FileSymbols, FindsTheFunctionThatHoldsAnAddress) {
  const FileSymbols s = FileSymbols::parse(sample());
  EXPECT_EQ(s.size(), 2u);
  const auto inside = s.find(0x1010 + 0x1c);
  ASSERT_TRUE(inside);
  EXPECT_EQ(inside->name, "main");
  EXPECT_EQ(inside->offset, 0x1cu);
  EXPECT_EQ(s.find(0x1100)->name, "helper");
  EXPECT_FALSE(s.find(0x1090)) << "between two functions";
  EXPECT_FALSE(s.find(0x1210)) << "undefined here";
  EXPECT_FALSE(s.find(0x1900)) << "outside of every segment";
  EXPECT_FALSE(s.find(0x10)) << "below it";
}

TEST(FileSymbols, SurvivesDamage) {
  constexpr uint64_t kSeed = 7;
  Rng rng(kSeed);
  for (int round = 0; round < 3000; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " round " << round);
    auto file = sample();
    for (int n = 0; n < 4; ++n) file[rng.below(0x540)] = static_cast<std::byte>(rng.next());
    file.resize(rng.below(4) ? file.size() : rng.below(file.size()));
    const FileSymbols s = FileSymbols::parse(file);
    for (uint64_t a = 0; a < 0x2000; a += 0x10) (void)s.find(a);
  }
}

}  // namespace
}  // namespace vitro::kernel
