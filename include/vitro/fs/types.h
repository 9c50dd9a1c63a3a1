// What every file system speaks: attributes, credentials, open flags, poll events. Values are Linux's (x86-64).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vitro/base/types.h"

namespace vitro::fs {

// File types in st_mode.
inline constexpr uint32_t kTypeMask = 0170000, kSocket = 0140000, kSymlink = 0120000, kRegular = 0100000, kBlockDevice = 0060000,
                          kDirectory = 0040000, kCharDevice = 0020000, kFifo = 0010000;

struct Time {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
};

struct Attributes {
  uint64_t device = 0, inode = 0;
  uint32_t mode = 0;
  uint64_t links = 1;
  uint32_t uid = 0, gid = 0;
  uint64_t special_device = 0;  // st_rdev
  uint64_t size = 0;
  uint64_t block_size = 4096;
  uint64_t blocks = 0;          // of 512 bytes
  Time accessed, modified, changed, born;
};

// What setattr changes; absent: stays.
struct AttributeChange {
  std::optional<uint32_t> mode;  // permission bits
  std::optional<uint32_t> uid, gid;
  std::optional<uint64_t> size;
  std::optional<Time> accessed, modified;
  bool times_are_now = false;    // utimensat(2) without times or with UTIME_NOW for both: write permission suffices
};

struct Credentials {
  uint32_t uid = 0, euid = 0, suid = 0, fsuid = 0;
  uint32_t gid = 0, egid = 0, sgid = 0, fsgid = 0;
  std::vector<uint32_t> groups;
  bool privileged() const { return fsuid == 0; }  // CAP_DAC_OVERRIDE and its like: root has them
};

inline constexpr unsigned kMayExec = 1, kMayWrite = 2, kMayRead = 4;
// fs/namei.c: generic_permission. False: EACCES.
bool permitted(const Attributes& a, const Credentials& who, unsigned wanted);

// open(2) flags.
inline constexpr unsigned kOpenAccessMode = 3, kOpenRead = 0, kOpenWrite = 1, kOpenReadWrite = 2, kOpenCreate = 0100, kOpenExclusive = 0200, kOpenNoCtty = 0400,
                          kOpenTruncate = 01000, kOpenAppend = 02000, kOpenNonBlock = 04000, kOpenDsync = 010000, kOpenDirect = 040000, kOpenLargeFile = 0100000,
                          kOpenDirectory = 0200000, kOpenNoFollow = 0400000, kOpenNoAtime = 01000000, kOpenCloseOnExec = 02000000, kOpenSync = 04010000,
                          kOpenPath = 010000000, kOpenTmpFile = 020200000;

// poll(2) events.
inline constexpr unsigned kPollIn = 1, kPollPri = 2, kPollOut = 4, kPollErr = 8, kPollHup = 0x10, kPollInvalid = 0x20, kPollRdNorm = 0x40, kPollWrNorm = 0x100, kPollRdHup = 0x2000;

// Limits of a path and of one component (include/uapi/linux/limits.h); of symbolic links followed in one resolution (include/linux/namei.h: MAXSYMLINKS).
inline constexpr size_t kPathMax = 4096, kNameMax = 255, kMaxSymlinks = 40;
// The most one read or write transfers (include/linux/fs.h: MAX_RW_COUNT).
inline constexpr size_t kMaxTransfer = 0x7ffff000;
// Offsets are signed 64-bit numbers.
inline constexpr uint64_t kMaxOffset = INT64_MAX;

constexpr uint64_t make_device(uint64_t major, uint64_t minor) { return ((major & 0xfffff000) << 32) | ((major & 0xfff) << 8) | ((minor & 0xffffff00) << 12) | (minor & 0xff); }

struct DirectoryEntry {
  uint64_t inode = 0;
  uint32_t type = 0;       // file type bits of st_mode
  std::string_view name;
  uint64_t next = 0;       // offset from which the listing goes on after this entry
};

struct FileSystemStatistics {  // statfs(2)
  uint64_t type = 0, block_size = 4096, blocks = 0, blocks_free = 0, blocks_available = 0, files = 0, files_free = 0, name_max = 255, flags = 0;
};

}  // namespace vitro::fs
