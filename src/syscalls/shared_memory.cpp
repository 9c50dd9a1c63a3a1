// SysV segments and memfd.
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "syscalls/runtime.h"
#include "syscalls/shared_segments.h"
#include "vitro/mm/physical_memory.h"
#include "vitro/mm/shmem.h"

namespace vitro::syscalls {

void SharedSegments::sweep() {
  std::erase_if(objects_, [](const auto& entry) { return entry.second->doomed() && entry.second->attachments() == 0; });
}

namespace {

constexpr int kHugeTlb = 04000;
constexpr unsigned kReadOnly = 010000, kRound = 020000, kRemap = 040000, kExecute = 0100000;

// A segment as it is mapped: the device and inode that /proc/PID/maps shows for it are the segment's number.
class AttachedSegment final : public mm::MappedFile {
 public:
  AttachedSegment(std::shared_ptr<mm::MappedFile> memory, int32_t key, int id) : memory_(std::move(memory)), key_(key), id_(id) {}
  mm::PageCache& page_cache() override { return memory_->page_cache(); }
  uint64_t device_number() const override { return memory_->device_number(); }
  uint64_t inode_number() const override { return static_cast<uint64_t>(id_); }
  std::string mapped_path() const override {
    constexpr char kDigits[] = "0123456789abcdef";
    std::string path = "/SYSV";
    for (int shift = 28; shift >= 0; shift -= 4) path += kDigits[static_cast<uint32_t>(key_) >> shift & 0xf];
    return path + " (deleted)";
  }
  bool opened_for_write() const override { return true; }
  bool opened_for_read() const override { return true; }

 private:
  std::shared_ptr<mm::MappedFile> memory_;
  int32_t key_;
  int id_;
};

struct UserShmid {
  UserIpcPerm perm;
  uint64_t size;
  int64_t attached_time, detached_time, changed_time;
  int32_t creator, last;
  uint64_t attachments, unused[2];
};
static_assert(sizeof(UserShmid) == 112);

UserShmid state_of(const SharedSegment& s) {
  UserShmid u{};
  u.perm = user_form(s);
  u.size = s.size;
  u.attached_time = s.attached_time;
  u.detached_time = s.detached_time;
  u.changed_time = s.changed_time;
  u.creator = s.creator.value();
  u.last = s.last.value();
  u.attachments = s.attachments();
  return u;
}

}  // namespace

Result<long> sys_shmget(Context& c) {
  const auto key = static_cast<int32_t>(c[0]);
  const int flags = int_argument(c, 2);
  SharedSegments& segments = *c.runtime.segments;
  segments.sweep();
  if (const auto id = TRY(find_for_get(c, segments.find_key(key), key, flags, [&c](const SharedSegment& s) { return c[1] <= s.size; }))) return *id;
  // ipc/shm.c: newseg
  if (c[1] < 1 || c[1] > SharedSegments::kMostBytes) return fail(Errno::Invalid);
  if (flags & kHugeTlb) return fail(Errno::NoMemory);
  if (segments.all().size() >= SharedSegments::kMostSegments) return fail(Errno::NoSpace);
  const Bytes size{(c[1] + kPageOffsetMask) & ~kPageOffsetMask};
  if (size.value() > mm::kUserEnd.value()) return fail(Errno::NoMemory);
  if (!c.kernel.vm().may_commit(size.pages_up())) return fail(Errno::NoMemory);
  auto s = std::make_shared<SharedSegment>();
  fill_ownership(c, *s, key, flags);
  s->size = c[1];
  s->creator = c.task.process->pid;
  s->changed_time = now_seconds(c);
  auto memory = mm::make_shmem_file(c.kernel.vm(), "SYSV", size, mm::ShmemAccounting::WholeSize);
  if (!memory) return fail(Errno::NoMemory);
  segments.add(s);
  s->mapped = s->kept = std::make_shared<AttachedSegment>(std::move(memory), s->key, s->id);
  return s->id;
}

Result<long> sys_shmat(Context& c) {
  const unsigned flags = unsigned_argument(c, 2);
  uint64_t address = c[1];
  if (int_argument(c, 0) < 0) return fail(Errno::Invalid);
  mm::MmapRequest request;
  if (address != 0) {
    if (address & kPageOffsetMask) {
      if (!(flags & kRound)) return fail(Errno::Invalid);
      address &= ~kPageOffsetMask;
      if (address == 0 && (flags & kRemap)) return fail(Errno::Invalid);
    }
    request.fixed = true;
    request.fixed_noreplace = !(flags & kRemap);
  } else if (flags & kRemap) {
    return fail(Errno::Invalid);
  }
  c.runtime.segments->sweep();
  const auto s = c.runtime.segments->find(int_argument(c, 0));
  if (!s) return fail(Errno::Invalid);
  unsigned wanted = fs::kMayRead;
  request.protection = mm::VmFlag::Read;
  if (!(flags & kReadOnly)) wanted |= fs::kMayWrite, request.protection = request.protection | mm::VmFlag::Write;
  if (flags & kExecute) wanted |= fs::kMayExec, request.protection = request.protection | mm::VmFlag::Exec;
  if (!permitted(c, *s, wanted)) return fail(Errno::Access);
  request.hint = VirtAddr{address};
  request.length = Bytes{(s->size + kPageOffsetMask) & ~kPageOffsetMask};
  request.shared = true;
  request.file = s->mapped.lock();
  if (address != 0 && !in_user_range(address, request.length.value())) return fail(Errno::Invalid);
  const auto at = c.task.space()->mmap(request);
  if (!at) return fail(at.error() == Errno::Exists ? Errno::Invalid : at.error());
  s->attached_time = now_seconds(c);
  s->last = c.task.process->pid;
  return static_cast<long>(at->value());
}

Result<long> sys_shmdt(Context& c) {
  const VirtAddr address{c[0]};
  if (!address.page_aligned()) return fail(Errno::Invalid);
  // The areas of one attachment: of the same segment, each at its place relative to the address (ipc/shm.c: ksys_shmdt).
  const mm::MappedFile* file = nullptr;
  std::vector<std::pair<VirtAddr, Bytes>> areas;
  c.task.space()->for_each_vma([&](const mm::Vma& v) {
    if (v.start < address || !v.file || !dynamic_cast<const AttachedSegment*>(v.file.get())) return;
    if (v.page_offset.offset() != v.start - address) return;
    if (file && file != v.file.get()) return;
    file = v.file.get();
    areas.emplace_back(v.start, v.length());
  });
  if (areas.empty()) return fail(Errno::Invalid);
  for (const auto& [id, s] : c.runtime.segments->all()) {
    if (s->mapped.lock().get() != file) continue;
    s->detached_time = now_seconds(c);
    s->last = c.task.process->pid;
    break;
  }
  for (const auto& [start, length] : areas) TRY(c.task.space()->munmap(start, length));
  c.runtime.segments->sweep();
  return 0;
}

Result<long> sys_shmctl(Context& c) {
  constexpr int kRemove = 0, kSet = 1, kStat = 2, kInfo = 3, kLock = 11, kUnlock = 12, kShmStat = 13, kShmInfo = 14, kShmStatAny = 15;
  struct UserShminfo {
    uint64_t most_bytes, least_bytes, most_segments, most_per_process, most_pages, unused[4];
  };
  struct UserShmInfoNow {
    int32_t used, pad;
    uint64_t total, resident, swapped, swap_attempts, swap_successes;
  };
  const int command = int_argument(c, 1);
  SharedSegments& segments = *c.runtime.segments;
  if (int_argument(c, 0) < 0 || command < 0) return fail(Errno::Invalid);
  segments.sweep();
  switch (command) {
    case kInfo:
      TRY(c.user.put(address_argument(c, 2), UserShminfo{SharedSegments::kMostBytes, 1, SharedSegments::kMostSegments, SharedSegments::kMostSegments, SharedSegments::kMostBytes, {}}));
      return segments.highest_place();
    case kShmInfo: {
      UserShmInfoNow info{};
      info.used = static_cast<int32_t>(segments.all().size());
      for (const auto& [id, s] : segments.all()) {
        info.total += Bytes{s->size}.pages_up().value();
        if (const auto file = s->mapped.lock()) info.resident += file->page_cache().cached_pages().value();
      }
      TRY(c.user.put(address_argument(c, 2), info));
      return segments.highest_place();
    }
    default: break;
  }
  const auto s = command == kShmStat || command == kShmStatAny ? segments.at(int_argument(c, 0)) : segments.find(int_argument(c, 0));
  if (!s) return fail(Errno::Invalid);
  const bool owner = owns(c, *s);
  switch (command) {
    case kStat:
    case kShmStat:
    case kShmStatAny:
      if (command != kShmStatAny && !permitted(c, *s, fs::kMayRead)) return fail(Errno::Access);
      TRY(c.user.put(address_argument(c, 2), state_of(*s)));
      return command == kStat ? 0 : s->id;
    case kSet: {
      const auto u = TRY(c.user.get<UserShmid>(address_argument(c, 2)));
      if (!owner) return fail(Errno::NotPermitted);
      change_ownership(*s, u.perm);
      s->changed_time = now_seconds(c);
      return 0;
    }
    case kRemove:
      if (!owner) return fail(Errno::NotPermitted);
      s->mode |= 01000;  // SHM_DEST
      s->key = 0;
      s->kept.reset();
      segments.sweep();
      return 0;
    case kLock:
    case kUnlock: return fail(Errno::NotPermitted);
    default: return fail(Errno::Invalid);
  }
}

Result<long> sys_memfd_create(Context& c) {
  constexpr unsigned kCloseOnExec = 1, kAllowSealing = 2;
  constexpr size_t kMostName = 249;  // NAME_MAX less "memfd:"
  const unsigned flags = unsigned_argument(c, 1);
  if (flags & ~(kCloseOnExec | kAllowSealing)) return fail(Errno::Invalid);
  auto name = c.user.string_in(address_argument(c, 0), kMostName);
  if (!name) return fail(name.error() == Errno::NameTooLong ? Errno::Invalid : name.error());
  auto file = TRY(c.kernel.vfs().make_memfd(std::move(*name), flags));
  return install(c, std::move(file), flags & kCloseOnExec);
}

}  // namespace vitro::syscalls
