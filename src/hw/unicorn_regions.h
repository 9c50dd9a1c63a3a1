// A cache in front of Unicorn's search for the memory region of an address.
#pragma once

namespace vitro::hw {

// To be called after every change of what is mapped.
void forget_regions();

}  // namespace vitro::hw
