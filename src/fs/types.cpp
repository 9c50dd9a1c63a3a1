#include "vitro/fs/types.h"

#include <algorithm>

namespace vitro::fs {

bool permitted(const Attributes& a, const Credentials& who, unsigned wanted) {
  unsigned granted = a.mode & 7;
  if (who.fsuid == a.uid) granted = (a.mode >> 6) & 7;
  else if (who.fsgid == a.gid || std::find(who.groups.begin(), who.groups.end(), a.gid) != who.groups.end()) granted = (a.mode >> 3) & 7;
  if ((granted & wanted) == wanted) return true;
  if (!who.privileged()) return false;
  // CAP_DAC_OVERRIDE: anything but executing a file that nobody may execute.
  return !(wanted & kMayExec) || (a.mode & kTypeMask) == kDirectory || (a.mode & 0111);
}

}  // namespace vitro::fs
