// Result<T, E> and TRY: errors that a caller must look at. The five error roads are in docs/architecture.md.
//
//   Result<Pfn> frame_of(VirtAddr a);
//   Status touch(VirtAddr a) {
//     Pfn frame = TRY(frame_of(a));   // returns the error to our caller
//     ...
//     return {};
//   }
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <type_traits>
#include <utility>

#include "vitro/base/errno.h"

namespace vitro {

template <class T, class E = Errno>
using Result = tl::expected<T, E>;
using Status = Result<void>;

template <class E>
constexpr auto fail(E&& error) {
  return tl::unexpected<std::decay_t<E>>(std::forward<E>(error));
}

// What the user or the host did wrong: one line on stderr and exit status 2.
struct UserError {
  std::string what;  // names the thing
  std::string hint;  // says what to do; may be empty
};

namespace detail {
template <class T, class E>
constexpr T take(tl::expected<T, E>&& r) {
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}
}  // namespace detail

}  // namespace vitro

#define TRY(expression)                                                          \
  ({                                                                             \
    auto try_result_ = (expression);                                             \
    if (!try_result_) [[unlikely]]                                               \
      return ::vitro::fail(std::move(try_result_).error());                      \
    ::vitro::detail::take(std::move(try_result_));                               \
  })
