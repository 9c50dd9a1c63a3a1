// Moving a page to another frame while it is in use: content, owner, and every entry that maps it (mm/migrate.c). Nothing of the guest runs in
// between, so the entries change from the old frame to the new one directly, without migration entries.
#pragma once

#include "vitro/base/types.h"

namespace vitro::mm {

class VirtualMemory;

// Takes a frame off its LRU list and holds a reference, so that nobody else frees or moves it. False: it is on no list.
bool isolate_from_lru(VirtualMemory& vm, Pfn frame);
// Undoes that.
void put_back_on_lru(VirtualMemory& vm, Pfn frame);

// Moves the page in `from`, which is isolated, to `to`, a fresh single frame of the same zone: `to` goes on the LRU in its place and `from` is
// freed. False: somebody else holds it, or it is being written; both frames are as before.
bool migrate_frame(VirtualMemory& vm, Pfn from, Pfn to);

}  // namespace vitro::mm
