// The lazily mapped array of frame descriptors, and the names of the states.
#include <sys/mman.h>

#include "vitro/base/check.h"
#include "vitro/mm/frame.h"

namespace vitro::mm {
namespace {

// One maximal buddy block more than there are frames: see the class comment.
constexpr uint64_t kSlack = 1024;

constexpr std::string_view kStateNames[] = {
    "reserved", "free", "per_cpu", "allocated", "slab", "page_table", "kernel_stack", "vmalloc", "percpu", "zero_page",
    "anonymous", "file_cache", "shmem", "block_cache", "swap_cache_only", "hugetlb", "pipe", "kernel",
};
static_assert(std::size(kStateNames) == static_cast<size_t>(FrameState::Count));

}  // namespace

std::string_view frame_state_name(FrameState s) { return kStateNames[static_cast<size_t>(s)]; }

FrameTable::FrameTable(Pages frames) : size_(frames), mapped_(Bytes{(frames.value() + kSlack) * sizeof(Frame)}) {
  CHECK(frames.value() < Frame::kNone - kSlack, "{} frames: frame numbers are kept in 32 bits", frames.value());
  void* p = ::mmap(nullptr, mapped_.value(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  CHECK(p != MAP_FAILED, "cannot map {} bytes of frame descriptors", mapped_.value());
  // Start-up touches one descriptor in 1024; huge pages of the host would make it pay for all of them.
  ::madvise(p, mapped_.value(), MADV_NOHUGEPAGE);
  frames_ = static_cast<Frame*>(p);
}

FrameTable::~FrameTable() { ::munmap(frames_, mapped_.value()); }

}  // namespace vitro::mm
