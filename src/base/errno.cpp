#include "vitro/base/errno.h"

#include <cstring>

namespace vitro {

std::string_view errno_name(Errno e) {
  switch (e) {
    case Errno::RestartSys: return "ERESTARTSYS";
    case Errno::RestartNoIntr: return "ERESTARTNOINTR";
    case Errno::RestartNoHand: return "ERESTARTNOHAND";
    case Errno::RestartRestartBlock: return "ERESTART_RESTARTBLOCK";
    default: break;
  }
  const char* name = ::strerrorname_np(static_cast<int>(e));
  return name ? name : "E?";
}

}  // namespace vitro
