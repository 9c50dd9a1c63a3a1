#include "kernel/elf_image.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "vitro/base/rng.h"

namespace vitro::kernel {
namespace {

// A small valid program: two segments, one page each, headers in the first.
struct Elf {
  Elf64_Ehdr header{};
  std::vector<Elf64_Phdr> table;
  uint64_t size = 0x3000;

  Elf() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_entry = 0x401010;
    table.push_back({PT_LOAD, PF_R | PF_X, 0x0, 0x400000, 0, 0x2000, 0x2000, 0x1000});
    table.push_back({PT_LOAD, PF_R | PF_W, 0x2010, 0x403010, 0, 0x100, 0x5000, 0x1000});
    header.e_phnum = 2;
  }
  std::vector<std::byte> header_bytes() const { return bytes(&header, sizeof header); }
  std::vector<std::byte> table_bytes() const { return bytes(table.data(), table.size() * sizeof(Elf64_Phdr)); }
  static std::vector<std::byte> bytes(const void* p, size_t n) {
    const auto* b = static_cast<const std::byte*>(p);
    return {b, b + n};
  }
  Result<ElfImage, ElfProblem> parse() const { return parse_elf(header_bytes(), table_bytes(), size); }
  Errno error() const {
    auto r = parse();
    return r ? Errno{} : r.error().error;
  }
};

TEST(ElfImage, DescribesAValidProgram) {
  const auto image = Elf{}.parse();
  ASSERT_TRUE(image);
  EXPECT_FALSE(image->position_independent);
  EXPECT_EQ(image->entry, 0x401010u);
  ASSERT_EQ(image->segments.size(), 2u);
  EXPECT_EQ(image->low(), 0x400000u);
  EXPECT_EQ(image->high(), 0x409000u);
  EXPECT_EQ(image->table_address(), 0x400040u);
  EXPECT_TRUE(image->segments[0].execute);
  EXPECT_FALSE(image->segments[0].write);
  EXPECT_FALSE(image->executable_stack);
  EXPECT_FALSE(image->interpreter);
}

TEST(ElfImage, RefusesWhatIsNoElfForThisMachine) {
  Elf e;
  e.header.e_ident[0] = 'x';
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_machine = EM_AARCH64;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_type = ET_REL;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_type = ET_CORE;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  EXPECT_FALSE(parse_elf({}, {}, 0));
  const auto four = Elf{}.header_bytes();
  EXPECT_FALSE(parse_elf(std::span{four}.first(4), {}, 4));
}

TEST(ElfImage, RefusesBadProgramHeaderTables) {
  Elf e;
  e.header.e_phentsize = 55;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_phnum = 0;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_phnum = 0xffff;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_phoff = UINT64_MAX - 10;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e = {};
  e.header.e_phoff = e.size - 1;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
}

TEST(ElfImage, RefusesBadSegments) {
  auto with = [](auto change) {
    Elf e;
    change(e);
    return e.error();
  };
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_filesz = 0x6000; }), Errno::Invalid) << "more in the file than in memory";
  EXPECT_EQ(with([](Elf& e) { e.size = 0x1000; }), Errno::ExecFormat) << "truncated";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_offset = UINT64_MAX - 0xfef; }), Errno::ExecFormat) << "offset overflows";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_memsz = UINT64_MAX; }), Errno::Invalid) << "size overflows";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_vaddr = 0xffffffff80000010; }), Errno::Invalid) << "in the kernel half";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_vaddr = 0x7fffffffe010; }), Errno::Invalid) << "reaches beyond user space";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_vaddr = 0x403011; }), Errno::Invalid) << "not congruent with its offset";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_vaddr = 0x401010; }), Errno::Invalid) << "overlaps the first";
  EXPECT_EQ(with([](Elf& e) { e.table[1].p_align = uint64_t{1} << 62; }), Errno::Invalid) << "absurd alignment";
  EXPECT_EQ(with([](Elf& e) { e.table[0].p_vaddr = 0; }), Errno::NotPermitted) << "the zero page";
  EXPECT_EQ(with([](Elf& e) { e.header.e_entry = 0x10; }), Errno::Invalid) << "entry outside";
  EXPECT_EQ(with([](Elf& e) { e.table[0].p_type = e.table[1].p_type = PT_NOTE; }), Errno::ExecFormat) << "nothing to load";
}

TEST(ElfImage, ReadsStackAndInterpreter) {
  Elf e;
  e.table.push_back({PT_GNU_STACK, PF_R | PF_W | PF_X, 0, 0, 0, 0, 0, 0});
  e.table.push_back({PT_INTERP, PF_R, 0x200, 0x400200, 0, 28, 28, 1});
  e.header.e_phnum = 4;
  const auto image = e.parse();
  ASSERT_TRUE(image);
  EXPECT_TRUE(image->executable_stack);
  ASSERT_TRUE(image->interpreter);
  EXPECT_EQ(image->interpreter->offset, 0x200u);
  EXPECT_EQ(image->interpreter->size, 28u);
  e.table[3].p_filesz = 1;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e.table[3].p_filesz = 5000;
  EXPECT_EQ(e.error(), Errno::ExecFormat);
  e.table[3].p_filesz = 28;
  e.table[3].p_offset = UINT64_MAX;
  EXPECT_EQ(e.error(), Errno::IoError);
}

TEST(ElfImage, JunkAlignmentsDoNotCount) {
  Elf e;
  e.table[0].p_align = 3;
  e.table[1].p_align = 0;
  ASSERT_TRUE(e.parse());
  EXPECT_EQ(e.parse()->alignment, 4096u);
  e.table[0].p_align = 0x200000;
  EXPECT_EQ(e.parse()->alignment, 0x200000u);
}

// Whatever the bytes are, the answer keeps its promises.
TEST(ElfImage, SurvivesRandomDamage) {
  constexpr uint64_t kSeed = 20241;
  Rng rng(kSeed);
  unsigned accepted = 0;
  for (int round = 0; round < 20000; ++round) {
    SCOPED_TRACE(testing::Message() << "seed " << kSeed << " round " << round);
    Elf e;
    if (rng.below(2)) e.header.e_type = ET_DYN;
    auto header = e.header_bytes();
    auto table = e.table_bytes();
    for (uint64_t n = 1 + rng.below(4); n > 0; --n) {
      auto& victim = rng.below(3) ? table : header;
      const size_t from = &victim == &header ? 16 : 0;  // the magic would always refuse
      victim[from + rng.below(victim.size() - from)] = static_cast<std::byte>(rng.next());
    }
    const auto image = parse_elf(header, table, e.size);
    if (!image) {
      EXPECT_FALSE(image.error().what.empty());
      continue;
    }
    ++accepted;
    uint64_t last = 0;
    for (const ElfSegment& s : image->segments) {
      ASSERT_GE(s.address, last);
      ASSERT_LE(s.file_size, s.memory_size);
      ASSERT_LE(s.offset + s.file_size, e.size);
      ASSERT_LE(s.end(), 0x7ffffffff000u);
      last = s.end();
    }
    ASSERT_LE(image->low(), image->high());
  }
  EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace vitro::kernel
