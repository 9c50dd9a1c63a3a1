#include "kernel/vdso.h"

#include <algorithm>
#include <array>
#include <span>

#include "vitro/base/check.h"
#include "vitro/mm/physical_memory.h"

// src/kernel/vdso/image.S
extern "C" const std::byte vitro_vdso_image[], vitro_vdso_image_end[];

namespace vitro::kernel {
namespace {

constexpr uint64_t kImagePages = 2, kDataPages = 4;  // as 6.1's: its data, two pages for clocks of hypervisors, one for time namespaces

}  // namespace

Vdso::Vdso(mm::VirtualMemory& vm) : vm_(vm) {
  using enum mm::VmFlag;
  image_ = {"[vdso]", Read | Exec | MayRead | MayWrite | MayExec, {}};
  // The data page is all zero: "this clock cannot be read from user mode" (VDSO_CLOCKMODE_NONE), which is so. The other pages exist on machines
  // that need them only.
  data_ = {"[vvar]", Read | MayRead | Io | DontDump | PfnMap, {}};
  data_.frames.resize(kDataPages);
  data_.frames[0] = vm.physical().zero_frame();
  const std::span<const std::byte> bytes(vitro_vdso_image, vitro_vdso_image_end);
  CHECK(bytes.size() <= kImagePages * kPageSize, "the vdso has {} bytes", bytes.size());
  for (uint64_t i = 0; i < kImagePages; ++i) {
    const auto frame = vm.physical().allocator().allocate(mm::Gfp::Kernel | mm::Gfp::Zero);
    CHECK(frame, "no memory for the vdso");
    vm.physical().allocator().set_state(*frame, Order{0}, mm::FrameState::Kernel);
    vm.physical().frames()[*frame].index = i;
    const auto part = bytes.subspan(std::min<size_t>(i * kPageSize, bytes.size()));
    std::ranges::copy(part.first(std::min<size_t>(part.size(), kPageSize)), vm.physical().ram().write(frame->address(), Bytes{kPageSize}).begin());
    image_.frames.push_back(*frame);
  }
}

Vdso::~Vdso() {
  for (const auto& frame : image_.frames) vm_.physical().allocator().put(*frame);
}

Result<VirtAddr> Vdso::map(mm::AddressSpace& space) const {
  const VirtAddr data = TRY(space.map_special(std::array{&data_, &image_}));
  return data + Pages{data_.frames.size()};
}

}  // namespace vitro::kernel
