// Allocation flags (include/linux/gfp_types.h): where a frame may come from and what the allocator may do to find one.
#pragma once

#include <cstdint>
#include <string>

namespace vitro::mm {

// Bit values are Linux 6.1's, so that traces read the same.
enum class Gfp : uint32_t {
  None = 0,
  Dma = 0x01, HighMem = 0x02, Dma32 = 0x04, Movable = 0x08, Reclaimable = 0x10, High = 0x20, Io = 0x40, Fs = 0x80, Zero = 0x100, Atomic_ = 0x200,
  DirectReclaim = 0x400, KswapdReclaim = 0x800, Write = 0x1000, NoWarn = 0x2000, RetryMayFail = 0x4000, NoFail = 0x8000, NoRetry = 0x10000,
  MemAlloc = 0x20000, Comp = 0x40000, NoMemAlloc = 0x80000, HardWall = 0x100000, ThisNode = 0x200000, Account = 0x400000,
  Reclaim = DirectReclaim | KswapdReclaim,
  Kernel = Reclaim | Io | Fs,
  KernelAccount = Kernel | Account,
  Atomic = High | Atomic_ | KswapdReclaim,
  NoWait = KswapdReclaim,
  NoIo = Reclaim,
  NoFs = Reclaim | Io,
  User = Kernel | HardWall,
  HighUser = User | HighMem,
  HighUserMovable = HighUser | Movable,
  TransHugeLight = (HighUserMovable | Comp | NoMemAlloc | NoWarn) & ~Reclaim,
  TransHuge = TransHugeLight | DirectReclaim,
};
constexpr Gfp operator|(Gfp a, Gfp b) { return static_cast<Gfp>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b)); }
constexpr Gfp operator&(Gfp a, Gfp b) { return static_cast<Gfp>(static_cast<uint32_t>(a) & static_cast<uint32_t>(b)); }
constexpr Gfp without(Gfp flags, Gfp bits) { return static_cast<Gfp>(static_cast<uint32_t>(flags) & ~static_cast<uint32_t>(bits)); }
constexpr bool has(Gfp flags, Gfp bits) { return (flags & bits) == bits; }

constexpr bool has_any(Gfp flags, Gfp bits) { return (flags & bits) != Gfp::None; }

// "GFP_KERNEL|__GFP_ZERO", as ftrace prints it (include/trace/events/mmflags.h).
std::string gfp_text(Gfp flags);

}  // namespace vitro::mm
