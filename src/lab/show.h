// What `show` prints.
#pragma once

#include "lab/session.h"

namespace vitro::lab {

// A topic: a /proc file, or a table of the lab's own. With its newlines.
std::string show_topic(Session& s, std::string_view topic);
// One cache: its layout and the places of its slabs.
std::string show_cache(const mm::SlabCache& cache);
// Everything about one variable.
std::string show_value(Session& s, std::string_view name, const Value& v);
// What was allocated and never freed; empty where there is nothing.
std::string leaks_text(const Session& s, size_t* count = nullptr);

}  // namespace vitro::lab
