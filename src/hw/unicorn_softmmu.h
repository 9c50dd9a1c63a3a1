// Unicorn's soft TLB, written to directly, and the accesses that miss it.
//
// Generated code looks an address up in a direct-mapped table; where it finds nothing it calls a function of Unicorn's, which the linker
// lets us replace (ld --wrap). So a miss costs no more than our own part of it, and one page can be taken out by writing to its entry.
//
// The table lies at a place in Unicorn's memory that no header tells: it is looked for when an engine is set up, and what is there must
// look as expected after a few accesses (SoftTable::find). Otherwise the hooks are used.
//
// Unicorn also has a small victim table behind this one. Entries get there when a fill of its own replaces a valid entry, so the entry is
// cleared before each (make_room), and the victim table stays empty.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "vitro/base/types.h"

namespace vitro::hw {

class SoftTable {
 public:
  // `env` is what Unicorn calls its registers; `page` was read through the table, `other` is in the same state, and both lie at `host`.
  // Returns false if that is not what the table says.
  bool find(std::byte* env, uint64_t page, uint64_t physical, const std::byte* host, unsigned fills);
  bool found() const { return fast_ != nullptr; }

  // A page of RAM may be read, and perhaps written, without asking. Returns false if that replaced another page.
  bool put(uint64_t page, uint64_t physical, std::byte* host, bool writable) {
    Entry& e = entry(page);
    const auto addend = reinterpret_cast<uintptr_t>(host) - page;
    const bool same = e.read == page || e.write == page;
    const bool free = e.read == kNone && e.write == kNone;
    if (e.free()) ++*used_;
    if (e.code != page || e.addend != addend) e.code = kNone;
    e.read = page;
    e.write = writable ? page : kNone;
    e.physical = physical;
    e.addend = addend;
    *dirty_ |= kUserBit;
    return same || free;
  }
  void take_data(uint64_t page) {
    Entry& e = entry(page);
    if (e.free()) return;
    if (e.read != kNone && (e.read & kPageMask) == page) e.read = kNone;
    if (e.write != kNone && (e.write & kPageMask) == page) e.write = kNone;
    if (e.free()) --*used_;
  }
  // Unicorn is about to fill the page.
  void make_room(uint64_t page) {
    Entry& e = entry(page);
    if (e.free() || (e.code & kPageMask) == page || (e.read & kPageMask) == page || (e.write & kPageMask) == page) return;
    e.read = e.write = e.code = kNone;
    --*used_;
  }
  // The page's bytes, where the table lets them be read or written without more ado.
  std::byte* look_up(uint64_t address, bool write) const {
    const Entry& e = entry(address);
    if ((write ? e.write : e.read) != (address & kPageMask)) return nullptr;
    return reinterpret_cast<std::byte*>(address + e.addend);
  }
  size_t entries() const { return (fast_->mask >> kEntryBits) + 1; }
  // Before a flush, at which Unicorn makes the table larger or smaller by how full it was; it has no upper bound that suits us.
  static constexpr size_t kMaximumEntries = 32768;
  void before_flush(bool grow) {
    if (grow) *used_ = entries();
    if (entries() >= kMaximumEntries) *used_ = std::min(*used_, entries() / 2);
  }

 private:
  static constexpr unsigned kEntryBits = 6;
  static constexpr uint64_t kNone = UINT64_MAX, kPageMask = ~kPageOffsetMask;
  static constexpr uint16_t kUserBit = 1 << 1;  // of "has entries", by what Unicorn calls MMU modes; user mode is number 1
  struct Entry {
    uint64_t read, write, code;  // the page, or kNone; lower bits say that there is more to it
    uint64_t physical;
    uintptr_t addend;  // from a guest address to the host's
    uint64_t unused[3];
    bool free() const { return read == kNone && write == kNone && code == kNone; }
  };
  static_assert(sizeof(Entry) == 1 << kEntryBits);
  struct Fast {
    uintptr_t mask;
    Entry* table;
  };
  Entry& entry(uint64_t address) const {
    return *reinterpret_cast<Entry*>(reinterpret_cast<uintptr_t>(fast_->table) + ((address >> (kPageShift - kEntryBits)) & fast_->mask));
  }
  Fast* fast_ = nullptr;
  uint16_t* dirty_ = nullptr;
  size_t* used_ = nullptr;
};

// Who makes the accesses of generated code that the table does not answer: the CPU whose engine runs.
class AccessClient {
 public:
  virtual ~AccessClient() = default;
  // False: Unicorn is to do it. `where` is the return address into translated code, as recover_instruction() takes it.
  virtual bool load(uint64_t address, void* to, unsigned size, uintptr_t where) = 0;
  virtual bool store(uint64_t address, const void* from, unsigned size, uintptr_t where) = 0;
  // A helper function of Unicorn's makes an access, which translated code does not count. `where` tells its call from others.
  virtual void count_helper_access(uint64_t where) = 0;
  virtual void helper_access_done() = 0;
};
void set_access_client(AccessClient* client);
// What Unicorn calls its CPU and its registers, as the last fill and the last access that Unicorn made had them.
struct Emulator;
Emulator* last_emulator();
// The address of the last fill, of which Unicorn tells its hook no more than the page.
uint64_t last_filled_address();
std::byte* last_environment();

// In the middle of a block Unicorn's instruction pointer may be at an earlier instruction. Sets it to the one whose translation holds the
// return address `where`; 0 where it is right already.
void recover_instruction(Emulator* emulator, uintptr_t where);
// Unicorn 2.1.1 does not do so before it calls the hook that fills its soft TLB; newer ones do. It takes time, so it is asked for.
void recover_instructions_at_fills(bool on);
bool accesses_can_be_watched();

}  // namespace vitro::hw
