#include "fs/disk_volume.h"

namespace vitro::fs {

std::unique_ptr<BlockStore> make_block_store(hw::Disk& disk, Blocking& blocking) { return std::make_unique<DiskVolume>(disk, blocking); }

}  // namespace vitro::fs
