#include "vitro/mm/absent_entry.h"

#include <fmt/format.h>

#include "mm/page_table.h"

namespace vitro::mm {

std::string describe_absent_entry(hw::Pte entry) {
  if (entry.present() || entry.raw == 0) return {};
  if (holds_frame(entry)) return fmt::format("PROT_NONE: the page may not be touched, but keeps frame {:#x}", entry.pfn().value());
  return fmt::format("{:#x} is no entry of this kernel's", entry.raw);
}

}  // namespace vitro::mm
