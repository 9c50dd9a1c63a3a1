// Checks a file system on a disk from its bytes alone, as fsck does; the journal must have been replayed.
#pragma once

#include <string>

#include "vitro/base/result.h"
#include "vitro/hw/disk.h"

namespace vitro::fs {

// Every block has one owner and is marked used, every name leads to an inode of its tree, link counts agree, checksums hold. The error is the first
// thing that is wrong.
Result<void, std::string> verify_disk(const hw::Disk& disk);

}  // namespace vitro::fs
