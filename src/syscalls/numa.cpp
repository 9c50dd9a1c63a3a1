// Memory policy on a machine of one node (mm/mempolicy.c): it is always the default one, and every page lies on node 0.
#include <algorithm>

#include "syscalls/arguments.h"
#include "syscalls/handlers.h"

namespace vitro::syscalls {

Result<long> sys_get_mempolicy(Context& c) {
  constexpr uint64_t kNode = 1, kAddress = 2, kMemsAllowed = 4;
  const uint64_t flags = c[4], most_nodes = c[2];
  if (flags & ~(kNode | kAddress | kMemsAllowed)) return fail(Errno::Invalid);
  if (c[1] != 0 && most_nodes < 1) return fail(Errno::Invalid);
  uint64_t nodes = 0;
  int32_t answer = 0;  // MPOL_DEFAULT, or node 0
  if (flags & kMemsAllowed) {
    if (flags & (kNode | kAddress)) return fail(Errno::Invalid);
    nodes = 1;
  } else if (flags & kAddress) {
    if (!c.task.space()->find(address_argument(c, 3))) return fail(Errno::Fault);
    // The node is that of the page, which is brought in for that.
    if (flags & kNode) TRY(c.user.get<uint8_t>(address_argument(c, 3)));
  } else if (c[3] != 0 || (flags & kNode)) {
    return fail(Errno::Invalid);
  }
  if (c[0] != 0) TRY(c.user.put(address_argument(c, 0), answer));
  if (c[1] != 0) {
    // As many words as the caller has room for, the rest cleared.
    const uint64_t bytes = (std::min(most_nodes - 1, uint64_t{1} << 20) + 63) / 64 * 8;
    if (bytes > kPageSize) return fail(Errno::Invalid);
    if (bytes > sizeof nodes) TRY(c.user.clear(VirtAddr{c[1] + sizeof nodes}, bytes - sizeof nodes));
    TRY(c.user.copy_out(address_argument(c, 1), std::as_bytes(std::span{&nodes, 1}).first(std::min<uint64_t>(bytes, sizeof nodes))));
  }
  return 0;
}

// No other policy can be set: with one node they would all come to the same.
Result<long> sys_set_mempolicy(Context& c) {
  constexpr int kDefault = 0;
  if (int_argument(c, 0) != kDefault) return fail(Errno::Invalid);
  if (c[1] == 0 || c[2] <= 1) return 0;
  uint64_t nodes = 0;
  const uint64_t bits = std::min<uint64_t>(c[2] - 1, 64);
  TRY(c.user.copy_in(address_argument(c, 1), std::as_writable_bytes(std::span{&nodes, 1}).first((bits + 7) / 8)));
  return nodes == 0 ? Result<long>{0} : fail(Errno::Invalid);
}

}  // namespace vitro::syscalls
