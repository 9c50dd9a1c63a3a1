// Whole disks as block special files: /dev/vdb, for mkswap, swapon and dd. Reads and writes go straight to the disk.
#pragma once

#include <cstdint>

#include "vitro/base/result.h"
#include "vitro/hw/disk.h"
#include "vitro/mm/swap.h"

namespace vitro::fs {

class File;
class Vfs;

inline constexpr uint64_t kVirtioDiskMajor = 254;  // virtblk; each disk has 16 minors

// Makes /dev/NAME for the disk. /dev must be mounted; the disk must outlive the Vfs.
Status add_disk_device(Vfs& vfs, hw::Disk& disk, uint64_t minor);
// The number that swapon(2) and stat(2) know the disk by.
uint64_t disk_device_number(uint64_t minor);
// The disk behind an open file; null where it is none.
hw::Disk* disk_of(const File& file);

// Where a file without holes lies on the simulated disk. As long as somebody holds what is returned it can be neither written nor removed. Invalid: not
// on the disk, or it has holes; Busy: lent already.
Result<mm::SwapSource> lend_to_swap(File& file);
// By which a swap area in this file is known; 0: there can be none.
uint64_t swap_identity(File& file);

}  // namespace vitro::fs
