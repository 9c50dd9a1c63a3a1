// Memory calls: what user space says, translated to mm's terms.
#include <vector>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"
#include "vitro/mm/address_space.h"
#include "vitro/mm/physical_memory.h"

namespace vitro::syscalls {
namespace {

using mm::VmFlag;

constexpr uint64_t kProtRead = 1, kProtWrite = 2, kProtExec = 4, kProtGrowsDown = 0x01000000, kProtGrowsUp = 0x02000000, kProtSem = 8;
constexpr uint64_t kMapShared = 1, kMapPrivate = 2, kMapSharedValidate = 3, kMapTypeMask = 0xf, kMapFixed = 0x10, kMapAnonymous = 0x20, kMap32Bit = 0x40,
                   kMapGrowsDown = 0x100, kMapDenyWrite = 0x800, kMapExecutable = 0x1000, kMapLocked = 0x2000, kMapNoReserve = 0x4000, kMapPopulate = 0x8000,
                   kMapNonBlock = 0x10000, kMapStack = 0x20000, kMapHugeTlb = 0x40000, kMapSync = 0x80000, kMapFixedNoReplace = 0x100000;
constexpr uint64_t kKnownMapFlags = kMapTypeMask | kMapFixed | kMapAnonymous | kMap32Bit | kMapGrowsDown | kMapDenyWrite | kMapExecutable | kMapLocked | kMapNoReserve |
                                    kMapPopulate | kMapNonBlock | kMapStack | kMapHugeTlb;

VmFlag protection_of(uint64_t prot) {
  VmFlag flags = VmFlag::None;
  if (prot & kProtRead) flags = flags | VmFlag::Read;
  if (prot & kProtWrite) flags = flags | VmFlag::Write;
  if (prot & kProtExec) flags = flags | VmFlag::Exec;
  return flags;
}

// What the task may lock depends on its credentials (CAP_IPC_LOCK), of which mm knows nothing: asked anew for each call.
mm::AddressSpace& space(Context& c) {
  mm::AddressSpace& s = *c.task.space();
  s.limits.locked = privileged(c) ? ~0ull : c.task.process->limits[kernel::kLimitMemlock].soft;
  return s;
}

// The lowest gap of `length` bytes in [1 GiB, 2 GiB), where MAP_32BIT looks (arch/x86/kernel/sys_x86_64.c: find_start_end).
std::optional<VirtAddr> find_low_gap(const mm::AddressSpace& space, Bytes length) {
  constexpr VirtAddr kBegin{0x40000000}, kEnd{0x80000000};
  VirtAddr candidate = kBegin;
  bool found = false;
  space.for_each_vma([&](const mm::Vma& v) {
    if (found || v.end <= candidate) return;
    if (v.start >= candidate && v.start - candidate >= length) {
      found = true;
      return;
    }
    candidate = v.end;
  });
  if (candidate > kEnd || kEnd - candidate < length) return std::nullopt;
  return candidate;
}

// mm/mmap.c: do_mmap's checks of a file against what is asked.
Status check_file_rights(fs::File& file, uint64_t flags, uint64_t prot) {
  if (!file.readable()) return fail(Errno::Access);
  if ((flags & kMapTypeMask) != kMapPrivate && (prot & kProtWrite) && !file.writable()) return fail(Errno::Access);
  return {};
}

}  // namespace

Result<long> sys_mmap(Context& c) {
  const uint64_t prot = c[2], flags = c[3];
  if (c[5] & kPageOffsetMask) return fail(Errno::Invalid);
  std::shared_ptr<fs::File> file;
  if (!(flags & kMapAnonymous)) {
    file = TRY(file_argument(c, 4));
    if (flags & kMapHugeTlb) return fail(Errno::Invalid);  // the file is not of hugetlbfs
  }
  if (c[1] == 0) return fail(Errno::Invalid);
  const uint64_t length = (c[1] + kPageOffsetMask) & ~kPageOffsetMask;
  if (length == 0 || length > mm::kUserEnd.value()) return fail(Errno::NoMemory);
  if (c[5] + length < c[5]) return fail(Errno::Overflow);

  mm::MmapRequest request;
  switch (flags & kMapTypeMask) {
    case kMapShared: request.shared = true; break;
    case kMapPrivate: break;
    case kMapSharedValidate:
      if (!file) return fail(Errno::Invalid);
      if (flags & ~kKnownMapFlags) return fail(Errno::NotSupported);
      request.shared = true;
      break;
    default: return fail(Errno::Invalid);
  }
  if (flags & kMapHugeTlb) return fail(Errno::NoMemory);  // the pool of huge pages is empty
  if (request.shared && (flags & kMapGrowsDown)) return fail(Errno::Invalid);
  request.fixed = flags & (kMapFixed | kMapFixedNoReplace);
  request.fixed_noreplace = flags & kMapFixedNoReplace;
  request.hint = VirtAddr{request.fixed ? c[0] : (c[0] & ~kPageOffsetMask)};
  if (request.fixed && (c[0] & kPageOffsetMask)) return fail(Errno::Invalid);
  if (request.fixed && !in_user_range(c[0], length)) return fail(Errno::NoMemory);
  request.length = Bytes{length};
  request.may_map_low = privileged(c);  // security/commoncap.c: cap_mmap_addr
  request.protection = protection_of(prot);
  if ((c.task.personality & 0x0400000) && (prot & kProtRead)) request.protection = request.protection | VmFlag::Exec;  // READ_IMPLIES_EXEC
  request.grows_down = flags & kMapGrowsDown;
  request.no_reserve = flags & kMapNoReserve;
  request.locked = flags & kMapLocked;
  request.populate = (flags & (kMapPopulate | kMapNonBlock)) == kMapPopulate || request.locked;
  if (file) {
    TRY(check_file_rights(*file, flags, prot));
    if (request.shared && file->writable()) {  // mm/shmem.c: shmem_mmap, and the file's count of writable mappings
      if (file->inode().sealed(fs::Inode::kSealWrite)) return fail(Errno::NotPermitted);
      request.never_writable = file->inode().sealed(fs::Inode::kSealFutureWrite);
      if (request.never_writable && (prot & kProtWrite)) return fail(Errno::NotPermitted);
    }
    request.file = TRY(file->map(request.shared));
    request.offset = Bytes{request.file ? c[5] : 0};
  }
  if ((flags & kMap32Bit) && !request.fixed) {
    const auto gap = find_low_gap(space(c), request.length);
    if (!gap) return fail(Errno::NoMemory);
    request.hint = *gap;
  }
  return static_cast<long>(TRY(space(c).mmap(request)).value());
}

Result<long> sys_munmap(Context& c) {
  if ((c[0] & kPageOffsetMask) || c[1] == 0 || !in_user_range(c[0], c[1])) return fail(Errno::Invalid);
  return done(space(c).munmap(VirtAddr{c[0]}, Bytes{(c[1] + kPageOffsetMask) & ~kPageOffsetMask}));
}

Result<long> sys_mprotect(Context& c) {
  uint64_t start = c[0];
  const uint64_t length = (c[1] + kPageOffsetMask) & ~kPageOffsetMask, prot = c[2];
  const uint64_t grows = prot & (kProtGrowsDown | kProtGrowsUp);
  if (grows == (kProtGrowsDown | kProtGrowsUp) || (start & kPageOffsetMask)) return fail(Errno::Invalid);
  if (c[1] == 0) return 0;
  if (length == 0 || start + length <= start) return fail(Errno::NoMemory);
  if (prot & ~(kProtRead | kProtWrite | kProtExec | kProtSem | kProtGrowsDown | kProtGrowsUp)) return fail(Errno::Invalid);
  if (!in_user_range(start, length)) return fail(Errno::NoMemory);
  uint64_t end = start + length;
  if (grows == kProtGrowsUp) return fail(Errno::Invalid);  // no stack grows up on x86
  if (grows == kProtGrowsDown) {
    const mm::Vma* vma = space(c).find(VirtAddr{start});
    if (!vma) return fail(Errno::NoMemory);
    if (!mm::has(vma->flags, VmFlag::GrowsDown)) return fail(Errno::Invalid);
    start = vma->start.value();
  }
  return done(space(c).mprotect(VirtAddr{start}, Bytes{end - start}, protection_of(prot)));
}

// This CPU has no protection keys: only the default key exists.
Result<long> sys_pkey_mprotect(Context& c) { return static_cast<int>(c[3]) == -1 ? sys_mprotect(c) : Result<long>{fail(Errno::Invalid)}; }
Result<long> sys_pkey_alloc(Context& c) { return fail(c[0] != 0 || (c[1] & ~3ull) ? Errno::Invalid : Errno::NoSpace); }
Result<long> sys_pkey_free(Context&) { return fail(Errno::Invalid); }

Result<long> sys_mremap(Context& c) {
  constexpr uint64_t kMayMove = 1, kFixed = 2, kDontUnmap = 4;
  const uint64_t flags = c[3];
  if ((flags & ~(kMayMove | kFixed | kDontUnmap)) || ((flags & kFixed) && !(flags & kMayMove))) return fail(Errno::Invalid);
  if ((flags & kDontUnmap) && (!(flags & kMayMove) || c[1] != c[2])) return fail(Errno::Invalid);
  if (c[0] & kPageOffsetMask) return fail(Errno::Invalid);
  const uint64_t old_length = (c[1] + kPageOffsetMask) & ~kPageOffsetMask, new_length = (c[2] + kPageOffsetMask) & ~kPageOffsetMask;
  if (new_length == 0 || old_length < c[1]) return fail(Errno::Invalid);
  if (!in_user_range(c[0], old_length)) return fail(Errno::Fault);
  if (new_length > mm::kUserEnd.value()) return fail(Errno::NoMemory);
  if ((flags & kFixed) && ((c[4] & kPageOffsetMask) || !in_user_range(c[4], new_length))) return fail(Errno::Invalid);
  const auto result = TRY(space(c).mremap(VirtAddr{c[0]}, Bytes{old_length}, Bytes{new_length}, static_cast<unsigned>(flags), VirtAddr{c[4]}));
  return static_cast<long>(result.value());
}

Status advise(mm::AddressSpace& s, uint64_t start, uint64_t bytes, int advice) {
  if (start & kPageOffsetMask) return fail(Errno::Invalid);
  const uint64_t length = (bytes + kPageOffsetMask) & ~kPageOffsetMask;
  if (bytes != 0 && length == 0) return fail(Errno::Invalid);
  if (start + length < start) return fail(Errno::Invalid);
  if (length != 0 && !in_user_range(start, length)) return fail(Errno::NoMemory);
  return s.madvise(VirtAddr{start}, Bytes{length}, advice);
}

Result<long> sys_madvise(Context& c) { return done(advise(space(c), c[0], c[1], int_argument(c, 2))); }

// mm/mmap.c: remap_file_pages, which is an mmap() of another part of the same file since 4.0.
Result<long> sys_remap_file_pages(Context& c) {
  const uint64_t start = c[0] & ~kPageOffsetMask, size = c[1] & ~kPageOffsetMask, page = c[3];
  if (c[2] != 0 || start + size <= start || page + (size >> kPageShift) < page) return fail(Errno::Invalid);
  const mm::Vma* v = space(c).find(VirtAddr{start});
  if (!v || !v->shared() || !v->file) return fail(Errno::Invalid);
  for (const mm::Vma* last = v; last->end < VirtAddr{start + size};) {
    const mm::Vma* next = space(c).find(last->end);
    if (!next || next->file != v->file || next->flags != v->flags) return fail(Errno::Invalid);
    last = next;
  }
  mm::MmapRequest request;
  request.hint = VirtAddr{start};
  request.length = Bytes{size};
  request.protection = v->flags & (VmFlag::Read | VmFlag::Write | VmFlag::Exec);
  request.shared = request.fixed = request.populate = true;
  request.locked = mm::has(v->flags, VmFlag::Locked);
  request.never_writable = !mm::has(v->flags, VmFlag::MayWrite);  // sealed against it
  request.file = v->file;
  request.offset = Bytes{page << kPageShift};
  TRY(space(c).mmap(request));
  return 0;
}

Result<long> sys_msync(Context& c) {
  constexpr unsigned kAsync = 1, kInvalidate = 2, kSync = 4;
  const unsigned flags = unsigned_argument(c, 2);
  if ((flags & ~(kAsync | kInvalidate | kSync)) || (c[0] & kPageOffsetMask) || ((flags & kAsync) && (flags & kSync))) return fail(Errno::Invalid);
  const uint64_t length = (c[1] + kPageOffsetMask) & ~kPageOffsetMask;
  if (c[0] + length < c[0] || (c[1] != 0 && length == 0)) return fail(Errno::NoMemory);
  if (length == 0) return 0;
  if (!in_user_range(c[0], length)) return fail(Errno::NoMemory);
  return done(space(c).msync(VirtAddr{c[0]}, Bytes{length}, flags));
}

Result<long> sys_mincore(Context& c) {
  if (c[0] & kPageOffsetMask) return fail(Errno::Invalid);
  if (!in_user_range(c[0], c[1])) return fail(Errno::NoMemory);
  uint64_t pages = Bytes{c[1]}.pages_up().value();
  if (!in_user_range(c[2], pages)) return fail(Errno::Fault);
  // A page of answers at a time, as Linux does, so that the guest's length bounds no allocation.
  VirtAddr at{c[0]}, out{c[2]};
  std::vector<uint8_t> answers;
  while (pages > 0) {
    const uint64_t n = std::min<uint64_t>(pages, kPageSize);
    answers.clear();
    TRY(space(c).mincore(at, Pages{n}.bytes(), answers));
    TRY(c.user.copy_out(out, std::as_bytes(std::span{answers}.first(std::min<size_t>(answers.size(), n)))));
    at += Pages{n}.bytes();
    out += Bytes{n};
    pages -= n;
  }
  return 0;
}

namespace {

// Whole pages that contain [start, start + length).
Result<std::pair<VirtAddr, Bytes>> covering_pages(uint64_t start, uint64_t length) {
  const uint64_t offset = start & kPageOffsetMask;
  if (((length + offset + kPageOffsetMask) & ~kPageOffsetMask) == 0) return std::pair{VirtAddr{start - offset}, Bytes{0}};  // also one that wraps to nothing
  if (length > mm::kUserEnd.value() || !in_user_range(start, length)) return fail(length > ~uint64_t{0} - start ? Errno::Invalid : Errno::NoMemory);
  return std::pair{VirtAddr{start - offset}, Bytes{(length + offset + kPageOffsetMask) & ~kPageOffsetMask}};
}

}  // namespace

Result<long> sys_mlock(Context& c) {
  const auto [start, length] = TRY(covering_pages(c[0], c[1]));
  if (length.value() == 0) return 0;
  return done(space(c).mlock(start, length));
}

Result<long> sys_mlock2(Context& c) {
  constexpr uint64_t kOnFault = 1;
  if (c[2] & ~kOnFault) return fail(Errno::Invalid);
  const auto [start, length] = TRY(covering_pages(c[0], c[1]));
  if (length.value() == 0) return 0;
  return done(space(c).mlock(start, length, c[2] & kOnFault ? mm::LockWhen::OnFault : mm::LockWhen::Now));
}

Result<long> sys_munlock(Context& c) {
  const auto [start, length] = TRY(covering_pages(c[0], c[1]));
  if (length.value() == 0) return 0;
  return done(space(c).munlock(start, length));
}

Result<long> sys_mlockall(Context& c) {
  constexpr uint64_t kCurrent = 1, kFuture = 2, kOnFault = 4;
  const uint64_t flags = c[0];
  if (flags == 0 || (flags & ~(kCurrent | kFuture | kOnFault)) || flags == kOnFault) return fail(Errno::Invalid);
  return done(space(c).mlock_all(flags & kCurrent, flags & kFuture, flags & kOnFault ? mm::LockWhen::OnFault : mm::LockWhen::Now));
}

Result<long> sys_munlockall(Context& c) {
  return done(space(c).munlock_all());
}

Result<long> sys_brk(Context& c) { return static_cast<long>(space(c).brk(VirtAddr{c[0]}).value()); }

// One CPU at a time runs, in program order: a barrier over all of them holds at every system call. Only what needs no registration is offered.
Result<long> sys_membarrier(Context& c) {
  constexpr int kQuery = 0, kGlobal = 1;
  if (c[1] != 0) return fail(Errno::Invalid);
  switch (int_argument(c, 0)) {
    case kQuery: return kGlobal;
    case kGlobal: return 0;
    default: return fail(Errno::Invalid);
  }
}

}  // namespace vitro::syscalls
