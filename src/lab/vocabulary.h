// Everything a lab can say, in tables: operations with their operands, fields of expressions, what `show` and `set` know, allocation flags.
// The parser checks against these tables, the interpreter runs by their ids, and `vitro lab --list` prints them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/lab/script.h"
#include "vitro/mm/gfp.h"
#include "vitro/mm/slab.h"

namespace vitro::lab {

enum class OperationId : uint8_t {
  Kmalloc, Kzalloc, Krealloc, Kfree, AllocPages, FreePages, GetFreePages, GetZeroedPage, CacheCreate, CacheAlloc, CacheZalloc, CacheFree, CacheShrink,
  CacheDestroy, Vmalloc, Vzalloc, Vfree, Vmap, Vunmap, Kmap, KmapAtomic, Kunmap, KunmapAtomic, Write, Read, Phys, Virt, Mmap, Touch, Munmap, Compact, Drain, Shrink,
};

struct Operation {
  OperationId id;
  std::string_view name;
  VariableKind result;
  // One letter an operand: s number, p pointer, b pages, a pages or an array of them, x pointer or pages, c cache, m user memory, n name of a new cache; lower case: needed,
  // upper case: may be left out. f: takes allocation flags, anywhere. o: takes the options of kmem_cache_create.
  std::string_view operands;
  std::string_view usage, help;
};
std::span<const Operation> operations();
const Operation* find_operation(std::string_view name);

enum class FieldId : uint8_t {
  Zone, Pfn, Phys, Virt, Order, Size, Pages, Cache, Slab, Object, State, RefCount, MigrateType, Contiguous, Byte, Live,
  Free, PerCpu, Min, Low, High, Managed, Present, Reserve, Pageblocks, Largest,
  Slabs, Objects, InUse, Full, Partial, Empty, CpuSlabs, PerSlab, ObjectSize, SlabOrder, Resident,
};

struct Field {
  FieldId id;
  std::string_view name;
  // One letter an argument: x pointer or pages, c cache (variable or name), z zone, o number, t migrate type, m user memory, l a pointer, pages or user memory; upper
  // case: may be left out.
  std::string_view arguments;
  std::string_view usage, help;
};
std::span<const Field> fields();
const Field* find_field(std::string_view name);

struct Topic {
  std::string_view name, help;
};
std::span<const Topic> show_topics();
std::span<const Topic> settings();
std::span<const Topic> statements();

std::optional<mm::Gfp> find_gfp(std::string_view name);
std::optional<mm::SlabFlag> find_slab_flag(std::string_view name);
std::vector<std::string_view> gfp_names();
std::vector<std::string_view> slab_flag_names();

// Words that cannot be variables.
bool is_reserved(std::string_view word);
// ": did you mean X?" for the nearest candidate, or nothing when none is near.
std::string suggestion(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace vitro::lab
