#include "vitro/base/types.h"

#include <gtest/gtest.h>

namespace vitro {
namespace {

template <class A, class B>
concept Subtracts = requires(A a, B b) { a - b; };
template <class A, class B>
concept Adds = requires(A a, B b) { a + b; };
template <class A, class B>
concept Compares = requires(A a, B b) { a < b; };
template <class To, class From>
concept Converts = std::is_convertible_v<From, To>;

// Mixing spaces or units does not compile.
static_assert(!Subtracts<VirtAddr, PhysAddr> && !Compares<VirtAddr, PhysAddr> && !Converts<PhysAddr, VirtAddr>);
static_assert(!Adds<VirtAddr, VirtAddr> && !Adds<Pfn, Pfn> && !Adds<Pfn, Bytes> && !Adds<Bytes, Pages>);
static_assert(!Compares<Pfn, Vpn> && !Compares<Bytes, Pages> && !Compares<Bytes, Nanoseconds>);
static_assert(!Converts<VirtAddr, uint64_t> && !Converts<uint64_t, Bytes> && !Converts<Pages, int>);
static_assert(std::is_same_v<decltype(VirtAddr{} - VirtAddr{}), Bytes> && std::is_same_v<decltype(Pfn{} - Pfn{}), Pages>);
static_assert(sizeof(VirtAddr) == 8 && sizeof(Order) == 1);

TEST(Types, AddressesKnowTheirPage) {
  const VirtAddr a{0x7fff'ffff'e123};
  EXPECT_EQ(a.vpn(), Vpn{0x7'ffff'fffe});
  EXPECT_EQ(a.page_floor(), VirtAddr{0x7fff'ffff'e000});
  EXPECT_EQ(a.page_ceil(), VirtAddr{0x7fff'ffff'f000});
  EXPECT_EQ(a.page_offset(), Bytes{0x123});
  EXPECT_EQ(VirtAddr{0x1000}.page_ceil(), VirtAddr{0x1000});
}

TEST(Types, SizesRoundToPages) {
  EXPECT_EQ(Bytes{1}.pages_up(), Pages{1});
  EXPECT_EQ(Bytes{4096}.pages_up(), Pages{1});
  EXPECT_EQ(Bytes{4097}.pages_up(), Pages{2});
  EXPECT_EQ(Bytes{4097}.pages_down(), Pages{1});
  EXPECT_EQ(Bytes{UINT64_MAX}.pages_up(), Pages{uint64_t{1} << 52}) << "rounding up does not overflow";
  EXPECT_EQ(mib(1).pages_up().bytes(), mib(1));
}

TEST(Types, DifferencesHaveTheRightUnit) {
  EXPECT_EQ(VirtAddr{0x3000} - VirtAddr{0x1000}, kib(8));
  EXPECT_EQ(VirtAddr{0x1000} + Pages{2}, VirtAddr{0x3000});
  EXPECT_EQ(Pfn{7} - Pfn{3}, Pages{4});
  EXPECT_EQ(seconds(1), milliseconds(1000));
}

}  // namespace
}  // namespace vitro
