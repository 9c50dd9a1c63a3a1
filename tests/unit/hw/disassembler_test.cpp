#include "vitro/hw/disassembler.h"

#include <gtest/gtest.h>

#include <vector>

#include "hw/instruction_scan.h"
#include "vitro/base/rng.h"

namespace vitro::hw {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> b;
  for (int v : values) b.push_back(static_cast<std::byte>(v));
  return b;
}

TEST(Disassembler, DecodesToIntelSyntax) {
  const Disassembler d;
  const auto i = d.decode(bytes({0xc6, 0x00, 0x01, 0x90}), VirtAddr{0x1000});
  ASSERT_TRUE(i.has_value());
  EXPECT_EQ(i->length, 3u);
  EXPECT_EQ(i->text, "mov byte ptr [rax], 1");
  EXPECT_EQ(d.decode(bytes({0xeb, 0xfe}), VirtAddr{0x1000})->text, "jmp 0x1000");
  EXPECT_FALSE(d.decode(bytes({0x06}), VirtAddr{0}).has_value());
  EXPECT_FALSE(d.decode({}, VirtAddr{0}).has_value());
  EXPECT_EQ(d.count(bytes({0x90, 0x90, 0xc3, 0x06, 0x90})), 3u);
}

struct Case {
  std::initializer_list<int> code;
  Access access;
  uint64_t page, address;
};

TEST(Disassembler, TellsTheExactAddressOfAnAccess) {
  const Disassembler d;
  UserRegisters r;
  r.rip = 0x400000;
  r.rsp = 0x7fff0008;
  r.rbp = 0x7fff1000;
  r.rdi = 0x600ffc;
  r.rsi = 0x500010;
  r.rbx = 0x700000;
  r.rax = 0x123;
  r.rcx = static_cast<uint64_t>(-9);
  r.fs_base = 0x10000;
  const Case cases[] = {
      {{0x48, 0x8b, 0x04, 0xc6}, Access::Read, 0x500000, 0x500010 + 8 * 0x123},   // mov rax,[rsi+rax*8]
      {{0x48, 0x89, 0x07}, Access::Write, 0x601000, 0x601000},                    // straddles: second page
      {{0x48, 0x89, 0x07}, Access::Write, 0x600000, 0x600ffc},                    // first page
      {{0x48, 0x8b, 0x05, 0x10, 0, 0, 0}, Access::Read, 0x400000, 0x400017},      // mov rax,[rip+0x10]
      {{0x64, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0}, Access::Read, 0x10000, 0x10028},  // mov eax,fs:[0x28]
      {{0x67, 0x8b, 0x06}, Access::Read, 0x500000, 0x500010},                     // mov eax,[esi]
      {{0x50}, Access::Write, 0x7fff0000, 0x7fff0000},                            // push rax
      {{0x58}, Access::Read, 0x7fff0000, 0x7fff0008},                             // pop rax
      {{0x66, 0x50}, Access::Write, 0x7fff0000, 0x7fff0006},                      // push ax
      {{0xe8, 0, 0, 0, 0}, Access::Write, 0x7fff0000, 0x7fff0000},                // call
      {{0xff, 0x16}, Access::Read, 0x500000, 0x500010},                           // call [rsi]: the pointer
      {{0xff, 0x16}, Access::Write, 0x7fff0000, 0x7fff0000},                      // call [rsi]: the stack
      {{0xc3}, Access::Read, 0x7fff0000, 0x7fff0008},                             // ret
      {{0xc9}, Access::Read, 0x7fff1000, 0x7fff1000},                             // leave
      {{0xf3, 0xa4}, Access::Read, 0x500000, 0x500010},                           // rep movsb
      {{0xf3, 0xa4}, Access::Write, 0x600000, 0x600ffc},                          // rep movsb
      {{0x48, 0xab}, Access::Write, 0x601000, 0x601000},                          // stosq, straddling
      {{0xd7}, Access::Read, 0x700000, 0x700023},                                 // xlatb
      {{0x8f, 0x44, 0x24, 0x08}, Access::Write, 0x7fff0000, 0x7fff0018},          // pop [rsp+8]: rsp after the pop
      {{0x48, 0x0f, 0xab, 0x0e}, Access::Write, 0x500000, 0x500008},              // bts [rsi],rcx with rcx = -9
      {{0xf0, 0x48, 0x0f, 0xc7, 0x0e}, Access::Write, 0x500000, 0x500010},        // lock cmpxchg16b
      {{0x0f, 0xae, 0x07}, Access::Write, 0x601000, 0x601000},                    // fxsave, straddling
  };
  for (const Case& c : cases) {
    const auto code = bytes(c.code);
    SCOPED_TRACE(d.decode(code, VirtAddr{r.rip})->text);
    const VirtAddr page = VirtAddr{c.address}.page_floor();
    EXPECT_EQ(d.accessed_address(code, r, page, c.access).value(), c.address);
  }
  // What cannot be told is the page.
  EXPECT_EQ(d.accessed_address(bytes({0x90}), r, VirtAddr{0x900000}, Access::Read).value(), 0x900000u);
}

TEST(Disassembler, OrdersTheAccessesOfAnInstruction) {
  const Disassembler d;
  UserRegisters r;
  r.rsp = 0x1000;
  r.rdi = 0x2000;
  const auto list = d.accesses(bytes({0x48, 0xff, 0x07}), r);  // inc qword [rdi]
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].access, Access::Read);
  EXPECT_EQ(list[1].access, Access::Write);
  EXPECT_EQ(list[1].size, Bytes{8});
  const auto push = d.accesses(bytes({0xff, 0x37}), r);  // push [rdi]
  ASSERT_EQ(push.size(), 2u);
  EXPECT_EQ(push[0].address.value(), 0x2000u);
  EXPECT_EQ(push[1].address.value(), 0xff8u);
  EXPECT_TRUE(d.accesses(bytes({0x48, 0x8d, 0x07}), r).empty());  // lea
}

TEST(Disassembler, KnowsPrivilegedInstructions) {
  const Disassembler d;
  for (const auto& code :
       {bytes({0xf4}), bytes({0x0f, 0x20, 0xd8}), bytes({0xec}), bytes({0x0f, 0x30}), bytes({0x0f, 0x01, 0x17}), bytes({0xfa})})
    EXPECT_TRUE(d.privileged(code));
  for (const auto& code : {bytes({0x90}), bytes({0x0f, 0x05}), bytes({0x0f, 0xa2}), bytes({0x48, 0x8b, 0x07})})
    EXPECT_FALSE(d.privileged(code));
}

TEST(InstructionScan, AgreesWithCapstoneAboutLengths) {
  const Disassembler d;
  Rng rng(3);
  unsigned compared = 0;
  for (int i = 0; i < 100'000; ++i) {
    std::array<std::byte, 15> code;
    for (std::byte& b : code) b = static_cast<std::byte>(rng.below(256));
    if (rng.below(2)) code[0] = std::byte{0x0f};
    const ScannedInstruction s = scan_instruction(code);
    if (s.kind == InstructionKind::Invalid) continue;
    const auto i2 = d.decode(code, VirtAddr{0});
    if (!i2) continue;
    // Where they differ the emulator decides: it follows AMD in giving near branches a 16-bit displacement with an operand-size prefix, and
    // keeps a REX prefix that another prefix follows.
    bool prefixed = false;
    for (size_t k = 0; k < 14 && !prefixed; ++k) {
      const unsigned b = static_cast<unsigned>(code[k]);
      const bool prefix = b == 0x66 || b == 0x67 || b == 0xf2 || b == 0xf3 || b == 0xf0 || b == 0x2e || b == 0x36 || b == 0x3e ||
                          b == 0x26 || b == 0x64 || b == 0x65;
      const bool rex = (b & 0xf0) == 0x40;
      prefixed = prefix;
      if (!prefix && !rex) break;
    }
    if (prefixed || i2->text.starts_with("vfrcz")) continue;  // XOP, which AMD took back
    ++compared;
    EXPECT_EQ(s.length, i2->length) << i2->text;
  }
  EXPECT_GT(compared, 30'000u);
}

TEST(InstructionScan, KnowsKinds) {
  const auto kind = [](std::initializer_list<int> code) { return scan_instruction(bytes(code)).kind; };
  EXPECT_EQ(kind({0xc3}), InstructionKind::Branch);
  EXPECT_EQ(kind({0x0f, 0x84, 0, 0, 0, 0}), InstructionKind::Branch);
  EXPECT_EQ(kind({0xff, 0xd0}), InstructionKind::Branch);
  EXPECT_EQ(kind({0xff, 0x30}), InstructionKind::Plain);
  EXPECT_EQ(kind({0xf3, 0x48, 0xa5}), InstructionKind::RepString);
  EXPECT_EQ(kind({0x48, 0xa5}), InstructionKind::Plain);
  EXPECT_EQ(kind({0xf3, 0x6e}), InstructionKind::PortIo);
  EXPECT_EQ(kind({0xcd, 0x80}), InstructionKind::Interrupt);
  EXPECT_EQ(kind({0x0f, 0x31}), InstructionKind::ReadClock);
  EXPECT_EQ(kind({0x48, 0xb8, 0, 0}), InstructionKind::Invalid);
  EXPECT_EQ(scan_instruction(bytes({0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8})).length, 10);
  EXPECT_EQ(scan_instruction(bytes({0xf6, 0x04, 0x25, 0, 0, 0, 0, 1})).length, 8);
  EXPECT_EQ(scan_instruction(bytes({0xf6, 0x14, 0x25, 0, 0, 0, 0, 1})).length, 7);
}

}  // namespace
}  // namespace vitro::hw
