// The parts of /proc and /sys: each function adds its files to a directory.
#pragma once

#include <memory>
#include <vector>

#include "vitro/fs/process_view.h"
#include "vitro/fs/pseudo_fs.h"
#include "vitro/fs/vfs.h"
#include "vitro/mm/address_space.h"

namespace vitro::fs {

// What every renderer looks at. All of it outlives the file system.
struct ProcContext {
  Vfs& vfs;
  mm::VirtualMemory& vm;
  ProcessTable& processes;
};

void add_system_files(PseudoDirectory& root, const ProcContext& c);
void add_process_directories(PseudoDirectory& root, const ProcContext& c);  // PID, self, thread-self
void add_frame_files(PseudoDirectory& root, const ProcContext& c);          // kpagecount, kpageflags
void add_pressure_files(PseudoDirectory& directory, const ProcContext& c);  // pressure/*
void add_sysctl(PseudoDirectory& root, const ProcContext& c, std::vector<Tunable> tunables);

void add_cpu_tree(PseudoDirectory& root, const ProcContext& c);
void add_node_tree(PseudoDirectory& root, const ProcContext& c);
void add_memory_tree(PseudoDirectory& root, const ProcContext& c);
void add_kernel_mm_tree(PseudoDirectory& root);                      // kernel/mm
void add_block_tree(PseudoDirectory& root, const ProcContext& c);
// Tunables at their paths below `directory`.
void add_tunables(PseudoDirectory& directory, std::vector<Tunable> tunables);

}  // namespace vitro::fs
