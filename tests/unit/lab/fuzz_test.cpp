// Labs made at random, from words of the language and from rubbish: whatever they say, the program survives.
#include <cstdlib>
#include <string>

#include "lab/vocabulary.h"
#include "rig.h"
#include "vitro/base/rng.h"

namespace vitro::lab {
namespace {

using test::Rig;

class Writer {
 public:
  explicit Writer(uint64_t seed) : rng_(seed) {}
  uint64_t below(uint64_t n) { return rng_.below(n); }
  template <size_t N>
  const char* one_of(const char* const (&choices)[N]) {
    return choices[below(N)];
  }

  std::string number() {
    static const char* const kOdd[] = {"0", "1", "7", "8", "63", "64", "100", "4096", "64K", "5M", "-1", "-8", "0xffff888000001000", "4G"};
    return below(2) ? one_of(kOdd) : std::to_string(below(300));
  }
  std::string pointer() {
    std::string p = below(8) == 0 ? "NULL" : (below(2) ? "p" : "q") + ("[" + std::to_string(below(4)) + "]");
    if (below(12) == 0) p += " + " + std::to_string(below(64));
    return p;
  }
  std::string flags() {
    std::string text;
    while (below(3)) text += (text.empty() ? " " : "|") + std::string(gfp_names()[below(gfp_names().size())]);
    return text;
  }

  // A statement that is right by the grammar and often wrong otherwise.
  std::string statement() {
    const std::string n = std::to_string(below(4));
    const std::string cache = "c[" + std::to_string(below(2)) + "]";
    static const char* const kSlabFlags[] = {"", " SLAB_POISON", " SLAB_RED_ZONE", " SLAB_POISON|SLAB_RED_ZONE", " SLAB_HWCACHE_ALIGN", " ctor=7 SLAB_RED_ZONE",
                                             " SLAB_TYPESAFE_BY_RCU|SLAB_POISON"};
    switch (below(24)) {
      case 0: case 1: case 2: return "p[" + n + "] = kmalloc " + number() + flags();
      case 3: return "q[" + n + "] = kzalloc " + std::to_string(8u << below(8)) + flags();
      case 4: case 5: case 6: return "kfree " + pointer();
      case 7: return "b[" + n + "] = alloc_pages " + std::to_string(below(12)) + flags();
      case 8: return "free_pages b[" + n + "]";
      case 9: return cache + " = kmem_cache_create x " + number() + one_of(kSlabFlags);
      case 10: case 11: return "q[" + n + "] = kmem_cache_alloc " + cache + flags();
      case 12: return "kmem_cache_free " + cache + " " + pointer();
      case 13: return "kmem_cache_shrink " + cache;
      case 14: return "kmem_cache_destroy " + cache;
      case 15: return "p[" + n + "] = vmalloc " + number() + flags();
      case 16: return "vfree " + pointer();
      case 17: case 18: case 19: return "write " + pointer() + " " + number() + " " + std::to_string(below(256)) + " " + std::to_string(1 + below(24));
      case 20: return "read " + pointer() + " " + number();
      case 21: return "p[" + n + "] = krealloc " + pointer() + " " + number() + flags();
      case 22: return below(2) ? "touch m " + std::to_string(below(16)) + "K " + std::to_string(below(64)) + "K" : "munmap m 0 8K";
      default: {
        static const char* const kRest[] = {"drain", "shrink", "show p[0]", "show c[0]", "show slabinfo", "v = vmap b 2", "vunmap v", "k = kmap b[0]", "kunmap b[0]",
                                            "show b[1]", "show q[2]", "show leaks", "print contiguous(p[1]) object(q[1]) state(b[2]) size(q[0])", "set cpu 1",
                                            "k = kmap_atomic b[1]", "kunmap_atomic k", "show vmallocinfo"};
        return one_of(kRest);
      }
    }
  }

  std::string rubbish() {
    std::string text;
    for (uint64_t n = 1 + below(40); n-- > 0;) {
      static const char* const kBits[] = {"p", "=", "kmalloc", "100", "{", "}", "repeat", "(", ")", "[", "]", "\"", "\n", ";", "expect", "==", "-", "+", "i", "GFP_KERNEL", "|",
                                          "let", "show", "free", ",", "NULL", "echo", "#", "break", "if", "as", "kmalloc-8", "0x", "9999999999999999999999", "\x80", "meminfo.Slab"};
      text += one_of(kBits);
      if (below(3)) text += ' ';
    }
    return text + '\n';
  }

 private:
  Rng rng_;
};

TEST(LabFuzz, RubbishIsRefusedOrRuns) {
  const uint64_t seed = 20260101;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Writer w(seed);
  Rig r({.ram = mib(16)});
  for (int i = 0; i < 3000; ++i) {
    const std::string text = w.rubbish();
    Names names;
    const auto script = parse(text, names);
    // A repeat with a huge count is right, and only takes for ever.
    if (script && text.find("repeat") == std::string::npos) (void)r.lab->run(**script);
    r.output.clear();
  }
}

// VITRO_FUZZ_RUNS: how many more rounds, each with its own seed.
TEST(LabFuzz, WildPointersAndOverrunsNeverHurtTheProgram) {
  const char* more = std::getenv("VITRO_FUZZ_RUNS");
  const uint64_t rounds = 12 + (more ? std::strtoull(more, nullptr, 10) : 0);
  uint64_t ran = 0, caught = 0;
  for (uint64_t seed = 1; seed <= rounds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Writer w(seed);
    Rig r({.ram = mib(24), .cpus = 2, .verify = true});
    ASSERT_EQ(r.run("repeat 4 { p[i] = kmalloc 8; q[i] = kmalloc 8; b[i] = alloc_pages 0 }\nc[0] = kmem_cache_create a 40 SLAB_POISON|SLAB_RED_ZONE\n"
                    "c[1] = kmem_cache_create b 64\nm = mmap 64K\nv = vmap b 4\nvunmap v\nk = kmap b[0]\n").status(), 0);
    for (int i = 0; i < 400; ++i) {
      const Ending e = r.run(w.statement() + "\n");
      ++ran;
      caught += e.kind == Ending::Kind::KernelError;
      r.output.clear();
    }
    r.lab->report_leaks();
  }
  EXPECT_GT(caught, ran / 20);
  EXPECT_LT(caught, ran / 2);
}

}  // namespace
}  // namespace vitro::lab
