#include "vitro/hw/tlb_config.h"

#include <gtest/gtest.h>

#include <set>

#include "vitro/hw/tlb.h"

namespace vitro::hw {
namespace {

TEST(TlbGeometry, ParsesShapesAndPolicies) {
  EXPECT_EQ(*parse_tlb_geometry("64x4"), (TlbGeometry{64, 4, Replacement::Lru}));
  EXPECT_EQ(*parse_tlb_geometry("64x4:fifo"), (TlbGeometry{64, 4, Replacement::Fifo}));
  EXPECT_EQ(*parse_tlb_geometry("1536x12:plru"), (TlbGeometry{1536, 12, Replacement::TreePlru}));
  EXPECT_EQ(*parse_tlb_geometry("65536x65536:random"), (TlbGeometry{65536, 65536, Replacement::Random}));
  EXPECT_EQ(*parse_tlb_geometry("7x7:lru"), (TlbGeometry{7, 7, Replacement::Lru}));
  for (const char* text : {"64x4:lru", "1x1:fifo", "48x12:plru", "128x1:random"}) EXPECT_EQ(to_string(*parse_tlb_geometry(text)), text);
}

TEST(TlbGeometry, SaysWhatIsWrong) {
  const auto what = [](std::string_view text) {
    auto g = parse_tlb_geometry(text);
    if (g) return std::string("accepted");
    EXPECT_EQ(g.error().hint, "write ENTRIESxWAYS[:lru|plru|fifo|random], e.g. 64x4:lru");
    EXPECT_EQ(g.error().what.find('\n'), std::string::npos);
    return g.error().what;
  };
  EXPECT_EQ(what("64x0"), "TLB geometry '64x0' has 0 ways");
  EXPECT_EQ(what("0x1"), "TLB geometry '0x1' has 0 entries");
  EXPECT_EQ(what("4x8"), "TLB geometry '4x8' has more ways than entries");
  EXPECT_EQ(what("63x4:lru"), "TLB geometry '63x4:lru' has 63 entries, which 4 ways do not divide");
  EXPECT_EQ(what("48x4"), "TLB geometry '48x4' has 12 sets, which is no power of two");
  EXPECT_EQ(what("64x4:mystery"), "TLB geometry '64x4:mystery' has an unknown replacement policy 'mystery'");
  EXPECT_EQ(what("64x4:"), "TLB geometry '64x4:' has an unknown replacement policy ''");
  EXPECT_EQ(what("131072x4"), "TLB geometry '131072x4' has more than 65536 entries");
  for (const char* text :
       {"", "64", "x", "64x", "x4", "-64x4", "+64x4", " 64x4", "64x4x2", "64X4", "0x40", "99999999999999999999x1", "64x4.0"})
    EXPECT_NE(what(text), "accepted") << text;
}

TEST(TlbPresets, AreRealCoresWithSourcesAndCanBeBuilt) {
  EXPECT_GE(tlb_presets().size(), 5u);
  std::set<std::string_view> names;
  for (const TlbPreset& preset : tlb_presets()) {
    EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
    EXPECT_FALSE(preset.description.empty() || preset.source.empty()) << preset.name;
    EXPECT_EQ(find_tlb_preset(preset.name), &preset);
    const TlbConfig& c = preset.config;
    for (const TlbGeometry& g : {c.l1i, c.l1d_4k, c.l1d_2m, c.l1d_1g, c.l2, c.l1i_2m, c.l2_1g, c.l2i})
      EXPECT_TRUE(g.entries == 0 || parse_tlb_geometry(to_string(g)).has_value()) << preset.name << " " << to_string(g);
    TlbHierarchy(preset.config).verify();
  }
  EXPECT_EQ(find_tlb_preset("no-such-core"), nullptr);
}

TEST(TlbPresets, TheDefaultIsSkylake) {
  const TlbConfig& skylake = find_tlb_preset("skylake")->config;
  const TlbConfig standard;
  EXPECT_EQ(skylake.l1i, standard.l1i);
  EXPECT_EQ(skylake.l1d_4k, standard.l1d_4k);
  EXPECT_EQ(skylake.l1d_2m, standard.l1d_2m);
  EXPECT_EQ(skylake.l1d_1g, standard.l1d_1g);
  EXPECT_EQ(skylake.l2, standard.l2);
  EXPECT_EQ(skylake.l1i_2m, standard.l1i_2m);
  EXPECT_EQ(skylake.l2_1g, standard.l2_1g);
  EXPECT_EQ(skylake.pcid, standard.pcid);
}

}  // namespace
}  // namespace vitro::hw
