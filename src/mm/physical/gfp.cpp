// Names of allocation flags for traces (include/trace/events/mmflags.h: __def_gfpflag_names; print_flags takes the first name that fits).
#include "vitro/mm/gfp.h"

#include <fmt/format.h>

#include <string_view>

namespace vitro::mm {
namespace {

struct Name {
  Gfp mask;
  std::string_view text;
};

constexpr Name kNames[] = {
    {Gfp::TransHuge, "GFP_TRANSHUGE"},
    {Gfp::TransHugeLight, "GFP_TRANSHUGE_LIGHT"},
    {Gfp::HighUserMovable, "GFP_HIGHUSER_MOVABLE"},
    {Gfp::HighUser, "GFP_HIGHUSER"},
    {Gfp::User, "GFP_USER"},
    {Gfp::KernelAccount, "GFP_KERNEL_ACCOUNT"},
    {Gfp::Kernel, "GFP_KERNEL"},
    {Gfp::NoFs, "GFP_NOFS"},
    {Gfp::Atomic, "GFP_ATOMIC"},
    {Gfp::NoIo, "GFP_NOIO"},
    {Gfp::NoWait, "GFP_NOWAIT"},
    {Gfp::Dma, "GFP_DMA"},
    {Gfp::HighMem, "__GFP_HIGHMEM"},
    {Gfp::Dma32, "GFP_DMA32"},
    {Gfp::High, "__GFP_HIGH"},
    {Gfp::Atomic_, "__GFP_ATOMIC"},
    {Gfp::Io, "__GFP_IO"},
    {Gfp::Fs, "__GFP_FS"},
    {Gfp::NoWarn, "__GFP_NOWARN"},
    {Gfp::RetryMayFail, "__GFP_RETRY_MAYFAIL"},
    {Gfp::NoFail, "__GFP_NOFAIL"},
    {Gfp::NoRetry, "__GFP_NORETRY"},
    {Gfp::Comp, "__GFP_COMP"},
    {Gfp::Zero, "__GFP_ZERO"},
    {Gfp::NoMemAlloc, "__GFP_NOMEMALLOC"},
    {Gfp::MemAlloc, "__GFP_MEMALLOC"},
    {Gfp::HardWall, "__GFP_HARDWALL"},
    {Gfp::ThisNode, "__GFP_THISNODE"},
    {Gfp::Reclaimable, "__GFP_RECLAIMABLE"},
    {Gfp::Movable, "__GFP_MOVABLE"},
    {Gfp::Account, "__GFP_ACCOUNT"},
    {Gfp::Write, "__GFP_WRITE"},
    {Gfp::Reclaim, "__GFP_RECLAIM"},
    {Gfp::DirectReclaim, "__GFP_DIRECT_RECLAIM"},
    {Gfp::KswapdReclaim, "__GFP_KSWAPD_RECLAIM"},
};

}  // namespace

std::string gfp_text(Gfp flags) {
  if (flags == Gfp::None) return "none";
  std::string text;
  for (const Name& name : kNames) {
    if (!has(flags, name.mask)) continue;
    flags = without(flags, name.mask);
    if (!text.empty()) text += '|';
    text += name.text;
  }
  if (flags != Gfp::None) fmt::format_to(std::back_inserter(text), "{}0x{:x}", text.empty() ? "" : "|", static_cast<uint32_t>(flags));
  return text;
}

}  // namespace vitro::mm
