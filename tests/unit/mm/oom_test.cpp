// Who is killed when memory runs out.
#include "vitro/mm/oom.h"

#include "unit/mm/virtual_memory_rig.h"

namespace vitro::mm::test {
namespace {

class FakeTasks final : public OomTasks {
 public:
  std::vector<OomTask> oom_tasks() const override { return all; }
  std::optional<OomTask> oom_current() const override { return std::nullopt; }
  void oom_kill(Pid process) override { killed.push_back(process.value()); }
  void oom_log(const std::string&) override {}
  void oom_panic(const std::string&) override {}

  std::vector<OomTask> all;
  std::vector<int32_t> killed;
};

class Oom : public VirtualMemoryRig {
 protected:
  Oom() { vm_->oom().attach(&tasks_); }
  ~Oom() override {
    vm_->oom().attach(nullptr);
    tasks_.all.clear();
  }
  void add(int32_t pid, uint64_t pages) {
    std::shared_ptr<AddressSpace> space = make_space();
    load(*space);
    const VirtAddr a = must(space->mmap(anonymous(Pages{pages}.bytes())));
    for (uint64_t i = 0; i < pages; ++i) poke(*space, a + Pages{i}, 1);
    OomTask t;
    t.pid = Pid{pid};
    t.comm = "hog";
    t.space = std::move(space);
    tasks_.all.push_back(std::move(t));
  }
  std::vector<int32_t> killed() {
    EXPECT_TRUE(vm_->oom().out_of_memory(Gfp::HighUserMovable, Order{0}));
    return tasks_.killed;
  }
  FakeTasks tasks_;
};

TEST_F(Oom, TheLargestDies) {
  add(10, 20);
  add(11, 30);
  add(12, 5);
  EXPECT_EQ(killed(), std::vector<int32_t>{11});
}

TEST_F(Oom, OfEqualsTheYoungestDies) {
  add(10, 20);
  add(11, 20);
  add(12, 5);
  EXPECT_EQ(killed(), std::vector<int32_t>{11});
}

TEST_F(Oom, WhoeverAskedForItDiesFirst) {
  add(10, 20);
  add(11, 2);
  tasks_.all.back().origin = true;
  EXPECT_EQ(killed(), std::vector<int32_t>{11});
}

}  // namespace
}  // namespace vitro::mm::test
