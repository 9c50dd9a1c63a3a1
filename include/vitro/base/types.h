// Strong types for addresses, page numbers, sizes and times. A bare integer is never an address, a page number or a size.
//
//   VirtAddr a{0x7fff'ffff'e000};
//   Vpn page = a.vpn();                 // the page that holds a
//   Bytes distance = a - VirtAddr{0};   // subtracting two addresses gives bytes
//   PhysAddr p = a;                     // does not compile: spaces never mix
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace vitro {

inline constexpr unsigned kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;
inline constexpr uint64_t kPageOffsetMask = kPageSize - 1;

// A number with a unit. Derived units add the arithmetic that makes sense for them.
template <class Self, class Rep = uint64_t>
class Unit {
 public:
  using rep = Rep;
  constexpr Unit() = default;
  constexpr explicit Unit(Rep v) : value_(v) {}
  constexpr Rep value() const { return value_; }
  friend constexpr bool operator==(const Self& a, const Self& b) { return a.value() == b.value(); }
  friend constexpr auto operator<=>(const Self& a, const Self& b) { return a.value() <=> b.value(); }

 protected:
  Rep value_{};
};

// A unit that adds up: sizes, counts, durations.
template <class Self, class Rep = uint64_t>
class Quantity : public Unit<Self, Rep> {
 public:
  using Unit<Self, Rep>::Unit;
  friend constexpr Self operator+(Self a, Self b) { return Self{static_cast<Rep>(a.value() + b.value())}; }
  friend constexpr Self operator-(Self a, Self b) { return Self{static_cast<Rep>(a.value() - b.value())}; }
  friend constexpr Self operator*(Self a, Rep n) { return Self{static_cast<Rep>(a.value() * n)}; }
  friend constexpr Self operator*(Rep n, Self a) { return a * n; }
  friend constexpr Self operator/(Self a, Rep n) { return Self{static_cast<Rep>(a.value() / n)}; }
  friend constexpr Rep operator/(Self a, Self b) { return a.value() / b.value(); }
  friend constexpr Self operator%(Self a, Self b) { return Self{static_cast<Rep>(a.value() % b.value())}; }
  friend constexpr Self& operator+=(Self& a, Self b) { return a = a + b; }
  friend constexpr Self& operator-=(Self& a, Self b) { return a = a - b; }
  friend constexpr Self& operator++(Self& a) { return a = a + Self{1}; }
  friend constexpr Self& operator--(Self& a) { return a = a - Self{1}; }
};

struct Pages;

// A size or an offset in bytes.
struct Bytes : Quantity<Bytes> {
  using Quantity::Quantity;
  constexpr Pages pages_up() const;    // rounded up to whole pages
  constexpr Pages pages_down() const;  // whole pages only
  constexpr bool page_aligned() const { return (value_ & kPageOffsetMask) == 0; }
};

// A count of 4 KiB pages or frames.
struct Pages : Quantity<Pages> {
  using Quantity::Quantity;
  constexpr Bytes bytes() const { return Bytes{value_ << kPageShift}; }
};

constexpr Pages Bytes::pages_up() const { return Pages{(value_ >> kPageShift) + ((value_ & kPageOffsetMask) != 0)}; }
constexpr Pages Bytes::pages_down() const { return Pages{value_ >> kPageShift}; }

constexpr Bytes kib(uint64_t n) { return Bytes{n << 10}; }
constexpr Bytes mib(uint64_t n) { return Bytes{n << 20}; }
constexpr Bytes gib(uint64_t n) { return Bytes{n << 30}; }

// An index into pages: differences are counts of pages.
template <class Self>
class PageNumber : public Unit<Self> {
 public:
  using Unit<Self>::Unit;
  friend constexpr Self operator+(Self a, Pages n) { return Self{a.value() + n.value()}; }
  friend constexpr Self operator-(Self a, Pages n) { return Self{a.value() - n.value()}; }
  friend constexpr Pages operator-(Self a, Self b) { return Pages{a.value() - b.value()}; }
  friend constexpr Self& operator+=(Self& a, Pages n) { return a = a + n; }
  friend constexpr Self& operator-=(Self& a, Pages n) { return a = a - n; }
  friend constexpr Self& operator++(Self& a) { return a = Self{a.value() + 1}; }
};

// An address: differences are bytes.
template <class Self, class Number>
class Address : public Unit<Self> {
 public:
  using Unit<Self>::Unit;
  friend constexpr Self operator+(Self a, Bytes n) { return Self{a.value() + n.value()}; }
  friend constexpr Self operator-(Self a, Bytes n) { return Self{a.value() - n.value()}; }
  friend constexpr Self operator+(Self a, Pages n) { return a + n.bytes(); }
  friend constexpr Self operator-(Self a, Pages n) { return a - n.bytes(); }
  friend constexpr Bytes operator-(Self a, Self b) { return Bytes{a.value() - b.value()}; }
  friend constexpr Self& operator+=(Self& a, Bytes n) { return a = a + n; }
  friend constexpr Self& operator-=(Self& a, Bytes n) { return a = a - n; }
  constexpr Self page_floor() const { return Self{this->value_ & ~kPageOffsetMask}; }
  constexpr Self page_ceil() const { return Self{(this->value_ + kPageOffsetMask) & ~kPageOffsetMask}; }
  constexpr Bytes page_offset() const { return Bytes{this->value_ & kPageOffsetMask}; }
  constexpr bool page_aligned() const { return (this->value_ & kPageOffsetMask) == 0; }

 protected:
  constexpr Number number() const { return Number{this->value_ >> kPageShift}; }
};

struct Pfn;
struct Vpn;

struct PhysAddr : Address<PhysAddr, Pfn> {  // a guest-physical byte address
  using Address::Address;
  constexpr Pfn pfn() const;
};
struct VirtAddr : Address<VirtAddr, Vpn> {  // a guest-virtual byte address (linear address)
  using Address::Address;
  constexpr Vpn vpn() const;
};
struct Pfn : PageNumber<Pfn> {  // physical frame number: index of a 4 KiB frame of guest RAM
  using PageNumber::PageNumber;
  constexpr PhysAddr address() const { return PhysAddr{value_ << kPageShift}; }
};
struct Vpn : PageNumber<Vpn> {  // virtual page number: virtual address >> 12
  using PageNumber::PageNumber;
  constexpr VirtAddr address() const { return VirtAddr{value_ << kPageShift}; }
};
struct PageIndex : PageNumber<PageIndex> {  // page number inside a file or another object
  using PageNumber::PageNumber;
  constexpr Bytes offset() const { return Bytes{value_ << kPageShift}; }
};

constexpr Pfn PhysAddr::pfn() const { return Pfn{value_ >> kPageShift}; }
constexpr Vpn VirtAddr::vpn() const { return Vpn{value_ >> kPageShift}; }

// log2 of a number of contiguous frames, 0..10 in the buddy allocator.
struct Order : Unit<Order, uint8_t> {
  using Unit::Unit;
  constexpr Pages pages() const { return Pages{uint64_t{1} << value_}; }
};

struct Pid : Unit<Pid, int32_t> {
  using Unit::Unit;
};

// Virtual time or a duration of it.
struct Nanoseconds : Quantity<Nanoseconds> {
  using Quantity::Quantity;
};
constexpr Nanoseconds microseconds(uint64_t n) { return Nanoseconds{n * 1000}; }
constexpr Nanoseconds milliseconds(uint64_t n) { return Nanoseconds{n * 1000 * 1000}; }
constexpr Nanoseconds seconds(uint64_t n) { return Nanoseconds{n * 1000 * 1000 * 1000}; }

}  // namespace vitro

template <class T>
  requires requires(const T& t) { t.value(); typename T::rep; }
struct std::hash<T> {
  size_t operator()(const T& t) const noexcept { return std::hash<typename T::rep>{}(t.value()); }
};
