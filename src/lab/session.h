// The state of a running lab, and what its operations share: the machine, the ledger, variables, the current step's notes and errors.
#pragma once

#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lab/ast.h"
#include "lab/ledger.h"
#include "lab/machine.h"
#include "lab/value.h"

namespace vitro::lab {

// What a kernel would print as BUG or oops.
struct KernelError {
  std::string headline;  // one line: "double free of p ..."
  std::string text;      // lines, each with its newline; may be empty
};

// One slab cache that the script made.
struct LabCache {
  mm::SlabCache* cache = nullptr;  // null: destroyed
  std::string name;                // SlabCache does not outlive its destruction
  unsigned line = 0, destroyed_line = 0;
};

// An operation on its way: the statement, and its operands' values.
struct Call {
  const Statement& statement;
  std::vector<Value> operands;
  std::string name;  // of what it assigns to
  unsigned line() const { return statement.at.line; }
};
using Outcome = Result<Value, ScriptError>;

class Session {
 public:
  Session(std::unique_ptr<LabMachine> machine_, const LabConfig& config_) : config(config_), machine(std::move(machine_)) {}

  // A line under the current step.
  template <class... Args>
  void note(fmt::format_string<Args...> format, Args&&... args) {
    notes.push_back(fmt::format(format, std::forward<Args>(args)...));
  }
  void report(KernelError e) { errors.push_back(std::move(e)); }

  // Books an allocation and returns the pointer to it.
  Value booked(Allocation a, const Call& call);
  // "line 3 (p = kmalloc 100 GFP_KERNEL)".
  static std::string origin(const Allocation& a);

  mm::FrameTable& frames() { return machine->physical().frames(); }
  bool in_direct_map(VirtAddr a) const {
    return a >= mm::kDirectMapBase && machine->ram().contains(mm::direct_map_physical(a));
  }
  mm::Zone& zone_of(Pfn f);
  std::string_view zone_name_of(Pfn f) { return zone_of(f).name(); }
  // Frames of high memory have no address in the direct map.
  bool in_high_memory(Pfn f) { return zone_name_of(f) == "HighMem"; }
  // The frame behind an address of the kernel, by its page tables; nullopt where nothing is mapped.
  std::optional<Pfn> frame_behind(VirtAddr a);
  // The object of a slab that `a` lies in, padding and red zones included, by the slab's layout.
  std::optional<VirtAddr> object_around(VirtAddr a);
  // The variable or the name of a cache; null where it is neither.
  mm::SlabCache* cache_of(const Value& v);

  const LabConfig config;
  std::unique_ptr<LabMachine> machine;
  Ledger ledger;
  std::vector<LabCache> caches;
  std::map<std::string, std::map<int64_t, Value>> variables;  // plain variables have the index 0
  std::vector<std::string> notes;
  std::vector<KernelError> errors;
  bool corrupted = false;  // the script wrote where it should not have: recounts would find that
};

// The operations, by family; each returns what its variable becomes.
Outcome run_operation(Session& s, const Call& call);
Outcome run_slab_operation(Session& s, const Call& call);
Outcome run_page_operation(Session& s, const Call& call);
Outcome run_vmalloc_operation(Session& s, const Call& call);
Outcome run_access(Session& s, const Call& call);
Outcome run_process_operation(Session& s, const Call& call);

}  // namespace vitro::lab
