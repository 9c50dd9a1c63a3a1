#include "kernel/fibre.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

namespace vitro::kernel {
namespace {

TEST(Fibre, RunsUntilItSuspendsAndGoesOnWhereItWas) {
  FibreStacks stacks;
  std::string trail;
  Fibre f(stacks, [&] {
    trail += "a";
    Fibre::suspend();
    trail += "b";
    Fibre::suspend();
    trail += "c";
  });
  EXPECT_FALSE(Fibre::inside());
  f.resume();
  trail += "1";
  f.resume();
  trail += "2";
  EXPECT_FALSE(f.ended());
  f.resume();
  EXPECT_TRUE(f.ended());
  EXPECT_EQ(trail, "a1b2c");
}

TEST(Fibre, DestructorsOnItsStackRunWhenTheBodyReturns) {
  FibreStacks stacks;
  auto token = std::make_shared<int>(1);
  Fibre f(stacks, [&, held = token] {
    auto another = token;
    Fibre::suspend();
  });
  f.resume();
  EXPECT_EQ(token.use_count(), 3);
  f.resume();
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Fibre, InterleavesManyWithDeepStacks) {
  FibreStacks stacks;
  std::vector<int> sums(50);
  std::vector<std::unique_ptr<Fibre>> fibres;
  for (int i = 0; i < 50; ++i) {
    fibres.push_back(std::make_unique<Fibre>(stacks, [&sums, i] {
      for (int round = 0; round < 10; ++round) {
        std::array<char, 4096> room;
        room.front() = static_cast<char>(i);
        room.back() = static_cast<char>(round);
        Fibre::suspend();
        sums[static_cast<size_t>(i)] += room.front() + room.back();
      }
    }));
  }
  for (int round = 0; round <= 10; ++round)
    for (auto& f : fibres) f->resume();
  for (int i = 0; i < 50; ++i) {
    EXPECT_TRUE(fibres[static_cast<size_t>(i)]->ended());
    EXPECT_EQ(sums[static_cast<size_t>(i)], 10 * i + 45);
  }
}

TEST(Fibre, StacksAreReused) {
  FibreStacks stacks;
  void* first = stacks.take();
  stacks.give_back(first);
  EXPECT_EQ(stacks.take(), first);
  stacks.give_back(first);
}

}  // namespace
}  // namespace vitro::kernel
