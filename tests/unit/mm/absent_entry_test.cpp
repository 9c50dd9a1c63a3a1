#include "vitro/mm/absent_entry.h"

#include <gtest/gtest.h>

#include "mm/space/page_table.h"

namespace vitro::mm {
namespace {

TEST(AbsentEntry, SaysNothingOfAnEmptyOrAPresentEntry) {
  EXPECT_EQ(describe_absent_entry(hw::Pte{0}), "");
  EXPECT_EQ(describe_absent_entry(hw::Pte{0x1067}), "");
}

TEST(AbsentEntry, NamesTheFrameThatAProtNonePageKeeps) {
  EXPECT_NE(describe_absent_entry(hw::make_pte(Pfn{0x123}, kPteProtNone)).find("keeps frame 0x123"), std::string::npos);
}

TEST(AbsentEntry, PrintsWhatItDoesNotKnow) { EXPECT_NE(describe_absent_entry(hw::Pte{0x40}).find("0x40"), std::string::npos); }

}  // namespace
}  // namespace vitro::mm
