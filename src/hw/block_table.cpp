#include "hw/block_table.h"

#include <algorithm>
#include <cstring>

#include "hw/instruction_scan.h"

namespace vitro::hw {

BlockTable::BlockTable(std::span<const std::byte> ram)
    : ram_(ram),
      frames_(ram.size() >> kPageShift),
      entries_storage_(std::make_unique<std::array<Entry, kEntries>>()),
      entries_(entries_storage_->data()) {}

std::span<const std::byte> BlockTable::bytes(const BlockPlace& place, std::span<std::byte, kMaximumSize> buffer) const {
  const uint64_t start = place.start.value();
  const uint64_t size = std::min(place.size, kMaximumSize);
  const uint64_t first = std::min(size, kPageSize - (start & kPageOffsetMask));
  if (first == size) return ram_.subspan(start, size);
  const uint64_t second = std::min(size - first, kPageSize);
  std::memcpy(buffer.data(), ram_.data() + start, first);
  std::memcpy(buffer.data() + first, ram_.data() + place.second_frame.address().value(), second);
  return {buffer.data(), first + second};
}

// Calls visit(offset, instruction) until it returns false. The last instruction of a block ends where the emulator says the block ends,
// so a sequence that only the emulator understands (or refuses) still counts as one.
template <class Visit>
void BlockTable::for_each_instruction(const BlockPlace& place, Visit visit) const {
  std::array<std::byte, kMaximumSize> buffer;
  const std::span<const std::byte> code = bytes(place, buffer);
  for (size_t at = 0; at < code.size();) {
    const ScannedInstruction i = scan_instruction(code.subspan(at));
    if (!visit(static_cast<uint32_t>(at), i)) return;
    at += i.length;
  }
}

BlockFacts BlockTable::decode(const BlockPlace& place) const {
  BlockFacts facts;
  for_each_instruction(place, [&](uint32_t, const ScannedInstruction& i) {
    ++facts.instructions;
    facts.ends_in_branch = i.kind == InstructionKind::Branch || i.kind == InstructionKind::RepString;
    if (i.kind == InstructionKind::PortIo) facts.needs_care = true;
    return true;
  });
  return facts;
}

BlockFacts BlockTable::find_slowly(const BlockPlace& place, uint64_t epoch) {
  const Pfn first = place.start.pfn(), second = place.second_frame;
  const bool cacheable = !writable(first, epoch) && (second == Pfn{0} || !writable(second, epoch));
  if (!cacheable) return decode(place);
  Entry& e = entries_[index(place.start)];
  const uint32_t version = frames_[first.value()].version;
  const uint32_t second_version = second == Pfn{0} ? 0 : frames_[second.value()].version;
  if (e.start != place.start.value() || e.size != place.size || e.version != version || e.second_frame != second.value() ||
      e.second_version != second_version)
    e = {place.start.value(), second.value(), place.size, version, second_version, decode(place)};
  return e.facts;
}

unsigned BlockTable::instructions_from(const BlockPlace& place, uint32_t offset) const {
  unsigned n = 0;
  for_each_instruction(place, [&](uint32_t at, const ScannedInstruction&) {
    if (at >= offset) ++n;
    return true;
  });
  return n;
}

uint32_t BlockTable::first_careful_offset(const BlockPlace& place) const {
  uint32_t found = place.size;
  for_each_instruction(place, [&](uint32_t at, const ScannedInstruction& i) {
    const bool careful = i.kind == InstructionKind::PortIo || i.kind == InstructionKind::Invalid;
    if (careful) found = at;
    return !careful;
  });
  return found;
}

uint32_t BlockTable::first_offset_reaching(const BlockPlace& place, uint32_t offset) const {
  uint32_t found = 0;
  for_each_instruction(place, [&](uint32_t at, const ScannedInstruction& i) {
    found = at;
    return at + i.length <= offset;
  });
  return found;
}

uint32_t BlockTable::last_offset(const BlockPlace& place) const {
  uint32_t last = 0;
  for_each_instruction(place, [&](uint32_t at, const ScannedInstruction&) {
    last = at;
    return true;
  });
  return last;
}

}  // namespace vitro::hw
