// A file of shared memory without a file system (shmem_file_setup): behind MAP_SHARED|MAP_ANONYMOUS, memfd and SysV shm; tmpfs uses the same PageCache state.
#pragma once

#include <memory>
#include <string>

#include "vitro/mm/page_cache.h"
#include "vitro/mm/ports.h"

namespace vitro::mm {

class VirtualMemory;

// When shared memory is added to Committed_AS (mm/shmem.c: shmem_acct_size, shmem_acct_block). WholeSize: the caller asked may_commit().
enum class ShmemAccounting : uint8_t { PageByPage, WholeSize };

// `name` is what /proc/PID/maps shows: "/dev/zero (deleted)" for shared anonymous memory. Null where there is no memory for its inode.
std::shared_ptr<MappedFile> make_shmem_file(VirtualMemory& vm, std::string name, Bytes size, ShmemAccounting accounting = ShmemAccounting::PageByPage);

}  // namespace vitro::mm
