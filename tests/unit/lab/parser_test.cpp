#include "lab/ast.h"
#include "lab/token.h"
#include "rig.h"

namespace vitro::lab {
namespace {

using test::mistake;

std::shared_ptr<const Script> parsed(std::string_view text) {
  auto script = parse(text);
  EXPECT_TRUE(script) << (script ? "" : script.error().what) << "\n" << text;
  return script ? *script : std::make_shared<const Script>();
}

TEST(Token, NumbersHaveUnitsAndWordsHaveMinusSigns) {
  const auto tokens = *tokenize("kmalloc-128 0x1f 64K 2M 1G 7 a-1 p -8");
  ASSERT_EQ(tokens.size(), 12u);
  EXPECT_EQ(tokens[0].text, "kmalloc-128");
  EXPECT_EQ(tokens[1].number, 0x1f);
  EXPECT_EQ(tokens[2].number, 64 << 10);
  EXPECT_EQ(tokens[3].number, 2 << 20);
  EXPECT_EQ(tokens[4].number, 1 << 30);
  EXPECT_EQ(tokens[6].text, "a-1");
  EXPECT_TRUE(tokens[8].is("-") && tokens[8].tight && tokens[8].after_space);
}

TEST(Token, AddressesUseAll64Bits) { EXPECT_EQ(static_cast<uint64_t>((*tokenize("0xffff888000000000"))[0].number), 0xffff888000000000u); }

TEST(Parser, ReadsAnOperationWithItsFlagsAnywhere) {
  for (std::string_view text : {"b = alloc_pages 4 GFP_DMA|__GFP_ZERO", "b = alloc_pages GFP_DMA|__GFP_ZERO 4", "b=alloc_pages 4 GFP_DMA | __GFP_ZERO # yes"}) {
    const auto script = parsed(text);
    ASSERT_EQ(script->statements.size(), 1u);
    const Statement& s = script->statements[0];
    EXPECT_EQ(s.operation->id, OperationId::AllocPages);
    EXPECT_EQ(s.gfp, mm::Gfp::Dma | mm::Gfp::Zero);
    EXPECT_EQ(s.operands.size(), 1u);
    EXPECT_EQ(s.target->name, "b");
  }
  EXPECT_EQ(parsed("p = kmalloc 100")->statements[0].gfp, mm::Gfp::Kernel);
}

TEST(Parser, ReadsACacheWithItsOptions) {
  const auto script = parsed("c = kmem_cache_create foo 192 ctor=0x5a align=64 SLAB_HWCACHE_ALIGN|SLAB_POISON SLAB_RED_ZONE");
  const Statement& s = script->statements[0];
  EXPECT_EQ(s.name, "foo");
  EXPECT_EQ(s.constructor->number, 0x5a);
  EXPECT_EQ(s.align->number, 64);
  EXPECT_EQ(s.slab_flags, mm::SlabFlag::HwCacheAlign | mm::SlabFlag::Poison | mm::SlabFlag::RedZone);
}

TEST(Parser, ANegativeOperandIsNoSubtraction) {
  EXPECT_EQ(parsed("p = kmalloc 8\nwrite p -8 0x41 8")->statements[1].operands.size(), 4u);
  EXPECT_EQ(parsed("p = kmalloc 8\nread p 16-8")->statements[1].operands[1].kind, Expression::Kind::Binary);
  EXPECT_EQ(parsed("p = kmalloc 8\nkfree p + 8")->statements[1].operands.size(), 1u);
}

TEST(Parser, AMinusSignAfterAVariableIsASubtraction) {
  const auto script = parsed("repeat 3 { p[i] = kmalloc 8\nbreak if p[i-1] == NULL }\nlet n = 4\nexpect n-1 == 3");
  EXPECT_EQ(script->statements[2].condition->left.kind, Expression::Kind::Binary);
  EXPECT_EQ(parsed("p = kmalloc 8\nexpect cache(p) == kmalloc-8")->statements[1].condition->right.text, "kmalloc-8");
}

TEST(Parser, RepeatsNestAndMayStandOnOneLine) {
  const auto script = parsed("repeat 2 { repeat 3 as j { p[j] = kmalloc 8; kfree p[j] } }");
  ASSERT_EQ(script->statements.size(), 1u);
  const Statement& inner = script->statements[0].body[0];
  EXPECT_EQ(inner.name, "j");
  EXPECT_EQ(inner.body.size(), 2u);
  EXPECT_EQ(inner.body[1].source, "kfree p[j]");
}

TEST(Parser, EchoTakesTheRestOfItsLine) { EXPECT_EQ(parsed("echo a = {b, \"c\n")->statements[0].operands[0].text, "a = {b, \"c"); }

TEST(Parser, NamesLineAndColumnOfAMistake) {
  EXPECT_EQ(mistake("\n\np = kmaloc 100"), "lab:3:5: unknown operation 'kmaloc': did you mean kmalloc?");
  EXPECT_EQ(mistake("p = kmalloc 100 GFP_KERNLE"), "lab:1:17: unknown flag 'GFP_KERNLE': did you mean GFP_KERNEL?");
  EXPECT_EQ(mistake("b = alloc_pages 0 GFP_HIGHUSER_MOVABLE|__GFP_RECLAIMABLE"), "lab:1:19: memory is __GFP_MOVABLE or __GFP_RECLAIMABLE, not both");
  EXPECT_EQ(mistake("  kfree q"), "lab:1:9: 'q' is not the name of a variable");
  EXPECT_EQ(mistake("p = kmalloc 100\nshow buddyinf"), "lab:2:6: 'buddyinf' cannot be shown: did you mean buddyinfo?");
  EXPECT_EQ(mistake("p = kmalloc 1Q"), "lab:1:13: '1Q' is no number: write 100, 0x64, 64K, 1M or 1G");
  EXPECT_EQ(mistake("p = kmalloc"), "lab:1:12: kmalloc is incomplete: p = kmalloc SIZE [FLAGS]");
  EXPECT_EQ(mistake("p = kmalloc 1 2"), "lab:1:15: '2' is too much after p = kmalloc SIZE [FLAGS]");
  EXPECT_EQ(mistake("p = kmalloc 8\nq = kfree p"), "lab:2:5: kfree returns nothing that 'q' could be");
  EXPECT_EQ(mistake("repeat 3 {\nkmalloc 8"), "lab:1:1: this repeat is not closed: '}' is missing");
  EXPECT_EQ(mistake("kfree NULL }"), "lab:1:12: '}' closes nothing");
  EXPECT_EQ(mistake("print \"abc"), "lab:1:7: the text has no closing \"");
  EXPECT_EQ(mistake("expect zone(NULL) == DMA64"), "");  // a word like any other
  EXPECT_EQ(mistake("expect free(DMA64) == 1"), "lab:1:13: 'DMA64' is no zone: it is one of DMA, DMA32, Normal, HighMem, Movable");
  EXPECT_EQ(mistake("expect fre(DMA) == 1"), "lab:1:8: unknown field 'fre': did you mean free?");
  EXPECT_EQ(mistake("expect n == 1"), "lab:1:8: 'n' is not the name of a variable");
  EXPECT_EQ(mistake("p = kmalloc 8 \x01"), "lab:1:15: byte 0x01 means nothing here");
}

TEST(Parser, AVariableKeepsItsKind) {
  EXPECT_EQ(mistake("p = kmalloc 8\np = alloc_pages 0"), "lab:2:1: 'p' is a pointer since line 1 and cannot become pages");
  EXPECT_EQ(mistake("p = kmalloc 8\np[1] = kmalloc 8"), "lab:2:1: 'p' is no array since line 1");
  EXPECT_EQ(mistake("p = kmalloc 8\nkmem_cache_free p p"), "lab:2:17: 'p' is a pointer, and a variable with a cache is needed here");
  EXPECT_EQ(mistake("b = alloc_pages 0\nkfree b"), "lab:2:7: 'b' is pages, and a pointer is needed here");
  EXPECT_EQ(mistake("kmalloc = kmalloc 8"), "lab:1:1: 'kmalloc' is a word of the language: choose another name for the variable");
  EXPECT_EQ(mistake("repeat 3 { i = kmalloc 8 }"), "lab:1:12: 'i' is the counter of this repeat");
  EXPECT_EQ(mistake("repeat 3 { repeat 3 { kmalloc 8 } }"), "lab:1:12: the repeat outside of this one counts with 'i': write repeat N as j");
}

TEST(Parser, DeepBracketsAndLongSumsAreMistakesNotCrashes) {
  EXPECT_NE(mistake("expect " + std::string(100000, '(') + "1"), "");
  std::string sum = "let n = 1";
  for (int i = 0; i < 100000; ++i) sum += " + 1";
  EXPECT_NE(mistake(sum), "");
  std::string blocks;
  for (int i = 0; i < 1000; ++i) blocks += "repeat 1 as v" + std::to_string(i) + " { ";
  EXPECT_NE(mistake(blocks), "");
}

TEST(Parser, LaterScriptsKnowEarlierNamesAndCountOnTheirLines) {
  Names names;
  ASSERT_TRUE(parse("p = kmalloc 8\n", names));
  ASSERT_FALSE(parse("q = kmaloc 8\n", names));
  const auto third = parse("kfree p\n", names);
  ASSERT_TRUE(third);
  EXPECT_EQ((*third)->statements[0].at.line, 3u);
  EXPECT_FALSE(parse("kfree q\n", names));
}

TEST(Vocabulary, EveryOperationHasOneUsageAndEveryNameIsFound) {
  for (const Operation& o : operations()) EXPECT_EQ(find_operation(o.name), &o) << o.name;
  for (const Field& f : fields()) EXPECT_EQ(find_field(f.name), &f) << f.name;
  for (std::string_view name : gfp_names()) EXPECT_TRUE(find_gfp(name));
  EXPECT_NE(vocabulary_text().find("kmem_cache_create"), std::string::npos);
}

}  // namespace
}  // namespace vitro::lab
