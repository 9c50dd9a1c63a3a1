// Whole disks as block special files: /dev/vdb, for mkswap, swapon and dd. Reads and writes go straight to the disk.
#pragma once

#include <cstdint>

#include "vitro/base/result.h"
#include "vitro/hw/disk.h"

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

}  // namespace vitro::fs
