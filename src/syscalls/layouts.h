// The structures that system calls exchange with user space, as x86-64 Linux lays them out (include/uapi). Mirrored by hand: host headers may differ.
#pragma once

#include <array>
#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::syscalls {

struct UserTimespec {
  int64_t seconds, nanoseconds;
};
struct UserTimeval {
  int64_t seconds, microseconds;
};
struct UserItimerval {
  UserTimeval interval, value;
};
struct UserItimerspec {
  UserTimespec interval, value;
};
struct UserTms {
  int64_t user, system, children_user, children_system;  // in 1/100 s
};

struct UserStat {
  uint64_t device, inode, links;
  uint32_t mode, uid, gid, pad0;
  uint64_t special_device;
  int64_t size, block_size, blocks;
  UserTimespec accessed, modified, changed;
  int64_t unused[3];
};
static_assert(sizeof(UserStat) == 144);

struct UserStatxTime {
  int64_t seconds;
  uint32_t nanoseconds;
  int32_t reserved;
};
struct UserStatx {
  uint32_t mask, block_size;
  uint64_t attributes;
  uint32_t links, uid, gid;
  uint16_t mode, spare0;
  uint64_t inode, size, blocks, attributes_mask;
  UserStatxTime accessed, born, changed, modified;
  uint32_t special_major, special_minor, device_major, device_minor;
  uint64_t mount_id;
  uint32_t direct_memory_align, direct_offset_align;
  uint64_t spare3[12];
};
static_assert(sizeof(UserStatx) == 256);

struct UserStatfs {
  int64_t type, block_size;
  uint64_t blocks, blocks_free, blocks_available, files, files_free;
  int32_t id[2];
  int64_t name_length, fragment_size, flags;
  int64_t spare[4];
};
static_assert(sizeof(UserStatfs) == 120);

struct UserRlimit {
  uint64_t soft, hard;
};

struct UserRusage {
  UserTimeval user, system;
  int64_t max_rss, ixrss, idrss, isrss, min_flt, maj_flt, swaps, in_blocks, out_blocks, messages_sent, messages_received, signals, voluntary, involuntary;
};
static_assert(sizeof(UserRusage) == 144);

struct UserSigaction {
  uint64_t handler, flags, restorer, mask;
};
static_assert(sizeof(UserSigaction) == 32);

struct UserStack {
  uint64_t base;
  int32_t flags, pad;
  uint64_t size;
};
static_assert(sizeof(UserStack) == 24);

struct UserSiginfo {
  int32_t signal, error, code, pad;
  union {
    struct {
      int32_t pid;
      uint32_t uid;
      uint64_t value;
    } sent;  // kill, sigqueue
    struct {
      int32_t id, overrun;
      uint64_t value;
    } timer;
    struct {
      int32_t pid;
      uint32_t uid;
      int32_t status, pad;
      int64_t user_time, system_time;
    } child;
    struct {
      uint64_t address;
    } fault;
    uint8_t bytes[112];
  };
};
static_assert(sizeof(UserSiginfo) == 128);

struct UserPollFd {
  int32_t fd;
  int16_t events, revents;
};
static_assert(sizeof(UserPollFd) == 8);

#pragma pack(push, 1)
struct UserEpollEvent {
  uint32_t events;
  uint64_t data;
};
#pragma pack(pop)
static_assert(sizeof(UserEpollEvent) == 12);

struct UserIovec {
  uint64_t base, length;
};

struct UserFlock {
  int16_t type, whence;
  int32_t pad0;
  int64_t start, length;
  int32_t pid, pad1;
};
static_assert(sizeof(UserFlock) == 32);

struct UserUtsname {
  std::array<char, 65> system, node, release, version, machine, domain;
};
static_assert(sizeof(UserUtsname) == 390);

struct UserSysinfo {
  int64_t uptime;
  uint64_t loads[3], total_ram, free_ram, shared_ram, buffer_ram, total_swap, free_swap;
  uint16_t processes, pad;
  uint32_t pad1;
  uint64_t total_high, free_high;
  uint32_t unit, pad2;
};
static_assert(sizeof(UserSysinfo) == 112);

struct UserCloneArguments {  // clone3, CLONE_ARGS_SIZE_VER2
  uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
};
static_assert(sizeof(UserCloneArguments) == 88);

struct UserOpenHow {
  uint64_t flags, mode, resolve;
};

struct UserSchedParam {
  int32_t priority;
};

struct UserCapabilityHeader {
  uint32_t version;
  int32_t pid;
};
struct UserCapabilityData {
  uint32_t effective, permitted, inheritable;
};

struct UserSigevent {
  uint64_t value;
  int32_t signal, notify, thread_id;
  uint8_t rest[44];
};
static_assert(sizeof(UserSigevent) == 64);

// dirent64's head; the name follows, zero-terminated, the record padded to 8 bytes.
inline constexpr size_t kDirentNameOffset = 19;
inline constexpr size_t kOldDirentNameOffset = 18;


}  // namespace vitro::syscalls
