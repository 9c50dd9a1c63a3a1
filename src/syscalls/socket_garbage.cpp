// Which sockets can still be reached: from a descriptor, or through the messages and connections that wait at a socket that can.
#include <set>

#include "syscalls/unix_socket.h"

namespace vitro::syscalls {

void SocketGarbage::collect() {
  if (!possible_ || collecting_) return;
  collecting_ = true;
  std::map<UnixSocket*, long> in_flight;   // claims that lie in messages
  std::map<UnixSocket*, long> claims;      // all claims of the same descriptions
  std::set<UnixSocket*> offered;
  for (const auto& [order, s] : sockets_) {
    for (const auto& server : s->offered_) offered.insert(server.get());
    for (const auto& m : s->messages_)
      for (const auto& claim : m.claims)
        if (auto* carried = dynamic_cast<UnixSocket*>(claim->file.get())) ++in_flight[carried], claims[carried] = claim.use_count();
  }
  possible_ = !in_flight.empty();
  // The roots: what a process, or a call in progress, holds. A connection that nobody has accepted has no descriptor; its listener stands for it.
  std::vector<UnixSocket*> found;
  std::set<UnixSocket*> reachable;
  const auto reach = [&](UnixSocket* s) {
    if (reachable.insert(s).second) found.push_back(s);
  };
  for (const auto& [order, s] : sockets_) {
    const auto it = in_flight.find(s);
    if (it == in_flight.end() ? !offered.contains(s) : claims[s] > it->second) reach(s);
  }
  while (!found.empty()) {
    UnixSocket* s = found.back();
    found.pop_back();
    for (const auto& server : s->offered_) reach(server.get());
    for (const auto& m : s->messages_)
      for (const auto& claim : m.claims)
        if (auto* carried = dynamic_cast<UnixSocket*>(claim->file.get())) reach(carried);
  }
  std::vector<Claims> doomed;
  for (const auto& [order, s] : sockets_)
    if (!reachable.contains(s))
      for (auto& m : s->messages_) doomed.push_back(std::exchange(m.claims, {}));
  doomed.clear();  // closes them, each of which may free the next
  collecting_ = false;
}

}  // namespace vitro::syscalls
