// Labs as a whole: what the operations do to the allocators, and what they say about mistakes.
#include "vitro/lab/lab.h"

#include <gmock/gmock.h>

#include "rig.h"

namespace vitro::lab {
namespace {

using test::Rig;
using ::testing::HasSubstr;

TEST(Lab, KmallocServes100BytesFromKmalloc128) {
  Rig r;
  r.good("p = kmalloc 100 GFP_KERNEL\nexpect cache(p) == kmalloc-128\nexpect size(p) == 128\nexpect in_use(kmalloc-128) == 1\nkfree p\nexpect in_use(kmalloc-128) == 0\nexpect live(p) == no");
  r.good("q = kmalloc 9000\nexpect cache(q) == kmalloc-large\nexpect order(q) == 2\nexpect contiguous(q) == yes\nkfree q");
  r.good("z = kmalloc 0\nkfree z\nn = kmalloc 5M\nexpect n == NULL\nkfree n");
}

TEST(Lab, FlagsChooseTheZone) {
  Rig r;
  r.good("b = alloc_pages 4 GFP_DMA\nexpect zone(b) == DMA\nexpect pages(b) == 16\nfree_pages b 4\nc = alloc_pages 0 GFP_KERNEL\nexpect zone(c) == DMA32\nfree_pages c");
  r.good("d = kmalloc 64 GFP_KERNEL|GFP_DMA\nexpect cache(d) == dma-kmalloc-64\nexpect zone(d) == DMA\nkfree d");
}

TEST(Lab, ZeroedMemoryIsZero) {
  Rig r;
  r.good("p = kmalloc 64\nwrite p 0 0x41 64\nkfree p\nq = kzalloc 64\nexpect virt(q) == virt(p)\nexpect byte(q, 63) == 0\nkfree q");
  r.good("g = get_zeroed_page\nexpect byte(g, 4095) == 0\nfree_page g");
}

TEST(Lab, BuddyBlocksSplitAndMerge) {
  Rig r;
  r.good("drain\nlet before = free(DMA, 10)\nb = alloc_pages 8 GFP_DMA\nexpect free(DMA, 10) == before - 1\nexpect free(DMA, 8) == 1\nfree_pages b\nexpect free(DMA, 10) == before");
}

TEST(Lab, ConstructorsRunOncePerObject) {
  Rig r;
  r.good("c = kmem_cache_create foo 192 ctor=0x5a\no = kmem_cache_alloc c\nexpect byte(o, 191) == 0x5a\nwrite o 0 0x41\nkmem_cache_free c o\np = kmem_cache_alloc c\nexpect byte(p, 0) == 0x41\nkmem_cache_free c p\nkmem_cache_destroy c");
}

TEST(Lab, KreallocMovesOnlyWhereItMust) {
  Rig r;
  r.good("p = kmalloc 100\nwrite p 0 0x41 100\nq = krealloc p 120\nexpect virt(q) == virt(p)\ns = krealloc q 200\nexpect cache(s) == kmalloc-256\nexpect byte(s, 99) == 0x41\nexpect live(q) == no\nkfree s");
}

TEST(Lab, VmallocIsContiguousInVirtualAddressesOnly) {
  Rig r;
  r.good("repeat 40 { b[i] = alloc_pages 0 }\nrepeat 20 { free_pages b[i * 2] }\nv = vmalloc 64K\nexpect contiguous(v) == no\nexpect pages(v) == 16\nwrite v 0 0x41 64K\nexpect byte(v, 65535) == 0x41\nvfree v");
  EXPECT_THAT(r.error("w = vmalloc 4K\nwrite w 4096 0x41"), HasSubstr("unable to handle page fault"));  // the guard page
}

TEST(Lab, VmapShowsFramesTwice) {
  Rig r;
  r.good("repeat 4 { b[i] = alloc_pages 0 }\nv = vmap b 4\nwrite v 4096 0x5a\nexpect byte(b[1], 0) == 0x5a\nexpect phys(v, 8192) == phys(b[2])");
  EXPECT_THAT(r.error("free_pages b[1]"), HasSubstr("while v (line 2) maps them"));
  r.good("vunmap v\nfree_pages b[1]");
}

TEST(Lab, ADoubleFreeNamesCacheObjectAndLines) {
  Rig r;
  const std::string e = r.error("p = kmalloc 100 GFP_KERNEL\nkfree p\nkfree p\n");
  EXPECT_THAT(e, HasSubstr("double free"));
  EXPECT_THAT(e, HasSubstr("kmalloc-128, allocated as p at line 1, was freed at line 2"));
  // Where the memory has a new owner, the double free would take it from him.
  EXPECT_THAT(r.error("q = kmalloc 100\nkfree p"), HasSubstr("it belongs to q (line 4) now"));
  r.good("kfree q");
  EXPECT_THAT(r.error("b = alloc_pages 3\nfree_pages b\nfree_pages b"), HasSubstr("double free"));
  EXPECT_THAT(r.error("v = vmalloc 8K\nvfree v\nvfree v"), HasSubstr("double free"));
  EXPECT_THAT(r.error("k = kmalloc 20K\nkfree k\nkfree k"), HasSubstr("double free"));
}

TEST(Lab, WrongWaysToFreeAreNamed) {
  Rig r;
  r.good("p = kmalloc 100\nb = alloc_pages 1\nv = vmalloc 8K\nc = kmem_cache_create foo 64\nd = kmem_cache_create bar 64\no = kmem_cache_alloc c");
  EXPECT_THAT(r.error("kfree p + 8"), HasSubstr("8 bytes into p"));
  EXPECT_THAT(r.error("kfree v"), HasSubstr("use vfree"));
  EXPECT_THAT(r.error("vfree p"), HasSubstr("use kfree"));
  EXPECT_THAT(r.error("free_pages p"), HasSubstr("use kfree"));
  EXPECT_THAT(r.error("free_pages b 2"), HasSubstr("wrong order"));
  EXPECT_THAT(r.error("kfree 0xffff888000100000"), HasSubstr("which nobody was given"));
  EXPECT_THAT(r.error("kmem_cache_destroy c"), HasSubstr("Objects remaining in foo"));
  EXPECT_THAT(r.error("kmem_cache_free d o"), HasSubstr("Wrong slab cache. bar but object is from foo"));
  r.good("kfree p\nfree_pages b 1\nvfree v\nkmem_cache_destroy c\nkmem_cache_destroy d");
  EXPECT_THAT(r.error("o = kmem_cache_alloc c"), HasSubstr("use after free"));
}

TEST(Lab, NullPointersAreNoCrash) {
  Rig r;
  r.good("kfree NULL\nvfree NULL\nfree_pages NULL\nkmem_cache_destroy NULL\nexpect zone(NULL) == none");
  EXPECT_THAT(r.error("write NULL 0 0x41"), HasSubstr("kernel NULL pointer dereference, address: 0000000000000000"));
  EXPECT_THAT(r.error("p = kmalloc 8M\nread p 0"), HasSubstr("kernel NULL pointer dereference"));
  EXPECT_THAT(r.error("c = kmem_cache_create foo 0\no = kmem_cache_alloc c"), HasSubstr("NULL"));
}

TEST(Lab, AccessesStayOutOfWhatIsNotTheLabs) {
  Rig r;
  EXPECT_THAT(r.error("write 0xffff888000001000 0 0x41"), HasSubstr("reserved"));
  EXPECT_THAT(r.error("write 0x8000000000000000 0 0x41"), HasSubstr("general protection fault"));
  EXPECT_THAT(r.error("read 0xffff888100000000 0"), HasSubstr("unable to handle page fault"));  // beyond 64 MiB of RAM
  EXPECT_THAT(r.error("read 0xffffffffffffffff 0 16"), HasSubstr("unable to handle page fault"));
  EXPECT_THAT(r.error("m = mmap 64K\nwrite 0x7ffff7fef000 0 1"), HasSubstr("unable to handle page fault"));
}

TEST(Lab, RedZonesCatchOverrunsOnBothSides) {
  Rig r;
  r.good("c = kmem_cache_create foo 100 SLAB_RED_ZONE|SLAB_POISON\no = kmem_cache_alloc c\nwrite o 99 0x41 2");
  EXPECT_THAT(r.error("kmem_cache_free c o"), HasSubstr("BUG foo: Right Redzone overwritten: object of o, allocated at line 2"));
  r.good("kmem_cache_free c o");  // restored, as SLUB does
  r.good("p = kmem_cache_alloc c\nwrite p -1 0x41\nexpect_error \"Left Redzone overwritten\" kmem_cache_free c p\nkmem_cache_free c p");
  EXPECT_TRUE(r.printed("First byte 0x41 instead of 0xcc"));
}

TEST(Lab, PoisonCatchesWritesToFreedObjects) {
  Rig r;
  r.good("c = kmem_cache_create foo 100 SLAB_POISON\no = kmem_cache_alloc c\nkmem_cache_free c o\nexpect byte(o, 0) == 0x6b\nwrite o 3 0x41");
  EXPECT_THAT(r.error("p = kmem_cache_alloc c"), HasSubstr("BUG foo: Poison overwritten: object of o, allocated at line 2, freed at line 3"));
  r.good("expect virt(p) != virt(o)");  // the slab was set aside, and another one serves
}

TEST(Lab, AnOverwrittenFreePointerIsReported) {
  Rig r;
  r.good("p = kmalloc 64\nq = kmalloc 64\nkfree q\nkfree p\nwrite p 0 0x41 64");
  EXPECT_THAT(r.error("s = kmalloc 64"), HasSubstr("Freepointer corrupt"));
}

TEST(Lab, ExpectationsThatFailShowBothSides) {
  Rig r;
  const Ending e = r.run("p = kmalloc 100\nexpect cache(p) == kmalloc-96");
  EXPECT_EQ(e.kind, Ending::Kind::ExpectFailed);
  EXPECT_EQ(e.status(), 1);
  EXPECT_EQ(e.what, "expect cache(p) == kmalloc-96: left is kmalloc-128, right is kmalloc-96");
  EXPECT_EQ(r.run("write p 0 0x41\nexpect byte(p, 0) == 0x42").what, "expect byte(p, 0) == 0x42: left is 0x41, right is 0x42");
  const Ending none = r.run("expect_error \"double free\" kfree p");
  EXPECT_EQ(none.kind, Ending::Kind::ExpectFailed);
  const Ending other = r.run("expect_error \"poison\" kfree p");
  EXPECT_EQ(other.kind, Ending::Kind::KernelError);
}

TEST(Lab, MistakesThatOnlyShowWhileRunningEndWithStatusTwo) {
  Rig r;
  EXPECT_EQ(r.run("let n = 1 / 0").status(), 2);
  EXPECT_EQ(r.run("repeat 3 { p[i] = kmalloc 8 }\nkfree p[3]").what, "p[3] has no value: nothing was assigned to it");
  EXPECT_EQ(r.run("expect meminfo.Slap > 0").what, "meminfo has no line 'Slap': show meminfo prints it");
  EXPECT_EQ(r.run("set min_free_kbytes -1").status(), 2);
  EXPECT_EQ(r.run("expect in_use(nosuch) == 0").status(), 2);
  EXPECT_EQ(r.run("repeat 1 { let m = DMA\nexpect m < 1 }").status(), 2);
}

TEST(Lab, LoopsAreToldInOneLineEach) {
  Rig r;
  r.good("repeat 100 {\np[i] = kmalloc 64 GFP_ATOMIC\nbreak if i == 49\n}");
  EXPECT_TRUE(r.printed("50 turns, then break"));
  EXPECT_TRUE(r.printed("line 2: kmalloc: 50 done"));
  EXPECT_TRUE(r.printed("kmalloc-64: objects in use 0 -> 50"));
  EXPECT_FALSE(r.printed("p[7]"));
}

TEST(Lab, AtomicRequestsReachBelowTheMinWatermark) {
  Rig r;
  r.good("repeat 100000 { k[i] = alloc_pages 0 GFP_KERNEL|__GFP_NOWARN\nbreak if k[i] == NULL }\nlet left = free(DMA32)\nexpect left <= min(DMA32)\n"
         "a = alloc_pages 0 GFP_ATOMIC\nexpect a != NULL\nn = alloc_pages 0 GFP_NOWAIT\nexpect n == NULL");
}

TEST(Lab, UserMemoryTakesFramesWhenItIsTouched) {
  Rig r;
  r.good("m = mmap 1M\nexpect resident(m) == 0\ntouch m 0 64K\nexpect resident(m) == 16\nmunmap m 0 32K\nexpect resident(m) == 8\nmunmap m\nexpect live(m) == no");
  EXPECT_THAT(r.error("touch m"), HasSubstr("was unmapped"));
  EXPECT_EQ(r.run("n = mmap 64K\ntouch n 64K 1").status(), 2);
}

TEST(Lab, WhatIsNeverFreedIsReported) {
  Rig r;
  r.good("p = kmalloc 100\nrepeat 5 { q[i] = kmalloc 50 }\nc = kmem_cache_create foo 64");
  r.output.clear();
  EXPECT_EQ(r.lab->report_leaks(), 7u);
  EXPECT_EQ(r.output,
            "still allocated at the end:\n  line 1: p = kmalloc 100: 100 bytes\n  line 2: q[i] = kmalloc 50: 5 allocations, 250 bytes\n"
            "  line 3: cache foo was not destroyed\n");
}

TEST(Lab, HighMemoryNeedsKmap) {
  Rig r({.ram = mib(64), .highmem = mib(48), .verify = true});
  r.good("b = alloc_pages 0 GFP_HIGHUSER\nexpect zone(b) == HighMem\nk = kmap b\nwrite k 0 0x5a\nexpect byte(k, 0) == 0x5a");
  EXPECT_THAT(r.error("write b 0 0x41"), HasSubstr("kmap pfn"));
  EXPECT_THAT(r.error("free_pages b"), HasSubstr("while k (line 3) maps them"));
  r.good("kunmap b\nfree_pages b\np = kmalloc 64K\nexpect zone(p) != HighMem");
  EXPECT_THAT(r.error("kunmap b"), HasSubstr("use after free"));
}

TEST(Lab, CompactionBringsLargeBlocksBack) {
  Rig r;
  r.good("m = mmap 40M\ntouch m\nrepeat 5120 { munmap m i * 8K 4K }\ndrain\nlet before = free(DMA32, 9) + 2 * free(DMA32, 10)\ncompact\ndrain\n"
         "expect free(DMA32, 9) + 2 * free(DMA32, 10) > before\nexpect resident(m) == 5120\nmunmap m");
}

TEST(Lab, TheFirstLineSaysWhichMachine) {
  const auto script = parse("# a comment\nmachine ram=512M highmem=128M cpus=2\nkfree NULL");
  ASSERT_TRUE(script);
  EXPECT_EQ(machine_of(**script).ram, mib(512));
  EXPECT_EQ(machine_of(**script).highmem, mib(128));
  EXPECT_EQ(machine_of(**script).cpus, 2u);
  EXPECT_NE(test::mistake("kfree NULL\nmachine ram=1G"), "");
  EXPECT_NE(test::mistake("machine rom=1G"), "");
}

TEST(Lab, EachCpuHasItsOwnSlab) {
  Rig r({.ram = mib(64), .cpus = 2, .verify = true});
  r.good("p = kmalloc 64\nset cpu 1\nq = kmalloc 64\nexpect slab(p) != slab(q)\nexpect cpu_slabs(kmalloc-64) == 2\nkfree p\nkfree q");
  EXPECT_EQ(r.run("set cpu 2").status(), 2);
}

TEST(Lab, TheSameScriptPrintsTheSame) {
  const auto output = [] {
    Rig r;
    r.good("repeat 200 { p[i] = kmalloc 8 * i + 1 }\nrepeat 100 { kfree p[2 * i] }\nv = vmalloc 1M\nshow v\nshow slabinfo\nshow buddyinfo\nshow zoneinfo\nshow meminfo\nshow vmstat\nshow vmallocinfo\nshow leaks");
    return r.output;
  };
  EXPECT_EQ(output(), output());
}

TEST(Lab, TooLittleRamIsTheUsersMistake) {
  EXPECT_FALSE(Lab::create({.ram = mib(1)}, [](std::string_view) {}));
  EXPECT_FALSE(Lab::create({.ram = mib(64), .cpus = 0}, [](std::string_view) {}));
}

}  // namespace
}  // namespace vitro::lab
