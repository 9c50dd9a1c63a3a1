// What System V segments, semaphores and message queues have in common: a key, owners, rights (ipc/util.c).
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <memory>

#include "syscalls/arguments.h"
#include "vitro/fs/types.h"

namespace vitro::syscalls {

inline constexpr int kIpcCreate = 01000, kIpcExclusive = 02000, kIpcNoWait = 04000;
inline constexpr int kIpcRemove = 0, kIpcSet = 1, kIpcStat = 2, kIpcInfo = 3;
inline constexpr Errno kIdentifierRemoved{43}, kNoMessage{42};

struct IpcOwnership {
  int id = 0;
  int32_t key = 0;
  uint32_t mode = 0;
  uint32_t uid = 0, gid = 0, creator_uid = 0, creator_gid = 0;
};

struct UserIpcPerm {  // struct ipc64_perm
  int32_t key;
  uint32_t uid, gid, creator_uid, creator_gid, mode;
  uint16_t sequence, pad;
  uint32_t pad1;
  uint64_t unused[2];
};
static_assert(sizeof(UserIpcPerm) == 48);

inline UserIpcPerm user_form(const IpcOwnership& o) { return {o.key, o.uid, o.gid, o.creator_uid, o.creator_gid, o.mode, 0, 0, 0, {}}; }

inline void fill_ownership(const Context& c, IpcOwnership& o, int32_t key, int flags) {
  o.key = key;
  o.mode = static_cast<uint32_t>(flags) & 0777;
  o.uid = o.creator_uid = c.task.process->credentials.euid;
  o.gid = o.creator_gid = c.task.process->credentials.egid;
}

inline void change_ownership(IpcOwnership& o, const UserIpcPerm& u) {
  o.uid = u.uid;
  o.gid = u.gid;
  o.mode = (o.mode & ~0777u) | (u.mode & 0777);
}

inline bool owns(const Context& c, const IpcOwnership& o) {
  const uint32_t me = c.task.process->credentials.euid;
  return me == 0 || me == o.uid || me == o.creator_uid;
}

// `wanted`: fs::kMayRead, fs::kMayWrite.
inline bool permitted(const Context& c, const IpcOwnership& o, unsigned wanted) {
  fs::Attributes a;
  a.mode = fs::kRegular | (o.mode & 0777);
  a.uid = o.uid;
  a.gid = o.gid;
  const fs::Credentials& who = c.task.process->credentials;
  if (who.euid == 0 || who.euid == o.creator_uid) a.uid = who.fsuid;
  return who.euid == 0 || fs::permitted(a, who, wanted);
}

// What the flags of a ...get call ask of an object that is there already.
inline unsigned wanted_rights(int flags) { return static_cast<unsigned>(flags >> 6 | flags >> 3 | flags) & 6; }

// The objects of one kind, by number (ipc/util.c: struct ipc_ids). Whoever waits for one holds it, so that it outlives its removal.
template <class Object>
class IpcTable {
 public:
  // Null: there is none.
  std::shared_ptr<Object> find(int id) const {
    const auto it = objects_.find(id);
    return it == objects_.end() ? nullptr : it->second;
  }
  std::shared_ptr<Object> find_key(int32_t key) const {
    for (const auto& [id, o] : objects_)
      if (o->key == key) return o;
    return nullptr;
  }
  // By its place in the table, as the ..._STAT commands name them, and the highest one there is, which the ..._INFO commands answer.
  std::shared_ptr<Object> at(int place) const { return static_cast<size_t>(place) < objects_.size() ? std::next(objects_.begin(), place)->second : nullptr; }
  long highest_place() const { return objects_.empty() ? 0 : static_cast<long>(objects_.size()) - 1; }
  // Gives it a number.
  void add(std::shared_ptr<Object> o) {
    o->id = next_id_++;
    objects_[o->id] = std::move(o);
  }
  const std::map<int, std::shared_ptr<Object>>& all() const { return objects_; }

 protected:
  std::map<int, std::shared_ptr<Object>> objects_;

 private:
  int next_id_ = 0;
};

// What a ...get call finds: the number of the object with its key; nullopt: one is to be made. `fits`: what else it must be.
template <class Object, class Fits>
Result<std::optional<int>> find_for_get(const Context& c, const std::shared_ptr<Object>& found, int32_t key, int flags, Fits fits) {
  if (key == 0) return std::nullopt;
  if (!found) {
    if (!(flags & kIpcCreate)) return fail(Errno::NoEntry);
    return std::nullopt;
  }
  if ((flags & kIpcCreate) && (flags & kIpcExclusive)) return fail(Errno::Exists);
  if (!fits(*found)) return fail(Errno::Invalid);
  if (!permitted(c, *found, wanted_rights(flags))) return fail(Errno::Access);
  return found->id;
}

inline int64_t now_seconds(const Context& c) { return static_cast<int64_t>(c.kernel.realtime().value() / 1'000'000'000); }

}  // namespace vitro::syscalls
