// The fixed settings of /proc/sys, and the counts that lie among them.
#pragma once

#include <vector>

#include "vitro/fs/process_view.h"

namespace vitro::fs {

class Vfs;

std::vector<Tunable> fixed_settings(Vfs& vfs, ProcessTable& processes);

}  // namespace vitro::fs
