// A doubly linked list whose links lie in the elements: no allocation, O(1) removal from anywhere.
//
//   struct Task { ListLink run_queue_link; };
//   IntrusiveList<Task, &Task::run_queue_link> queue;
//   queue.push_back(task);
//
// An element is in at most one list per link and must be removed before it is destroyed (checked).
#pragma once

#include <cstddef>
#include <iterator>

#include "vitro/base/check.h"

namespace vitro {

class ListLink {
 public:
  ListLink() = default;
  ListLink(const ListLink&) = delete;
  ListLink& operator=(const ListLink&) = delete;
  ~ListLink() { DCHECK(!linked(), "an element was destroyed inside a list"); }
  bool linked() const { return next_ != nullptr; }

 private:
  template <class T, ListLink T::*Link>
  friend class IntrusiveList;
  ListLink* next_ = nullptr;
  ListLink* previous_ = nullptr;
};

template <class T, ListLink T::*Link>
class IntrusiveList {
 public:
  class iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_category = std::forward_iterator_tag;
    using pointer = T*;
    using reference = T&;
    iterator() = default;
    explicit iterator(ListLink* at) : at_(at) {}
    T& operator*() const { return *owner(at_); }
    T* operator->() const { return owner(at_); }
    iterator& operator++() { at_ = at_->next_; return *this; }
    iterator operator++(int) { iterator old = *this; ++*this; return old; }
    bool operator==(const iterator&) const = default;

   private:
    ListLink* at_ = nullptr;
  };

  IntrusiveList() { head_.next_ = head_.previous_ = &head_; }
  IntrusiveList(const IntrusiveList&) = delete;
  IntrusiveList& operator=(const IntrusiveList&) = delete;
  ~IntrusiveList() {
    while (!empty()) remove(front());
    head_.next_ = head_.previous_ = nullptr;
  }

  bool empty() const { return head_.next_ == &head_; }
  size_t size() const { return size_; }
  T& front() { return *owner(head_.next_); }
  T& back() { return *owner(head_.previous_); }
  void push_back(T& element) { insert_before(&head_, element); }
  void push_front(T& element) { insert_before(head_.next_, element); }
  // Inserts `element` before `position`, which must be in this list.
  void insert(T& position, T& element) { insert_before(&(position.*Link), element); }
  void remove(T& element) {
    ListLink& link = element.*Link;
    DCHECK(link.linked(), "removing an element that is in no list");
    link.previous_->next_ = link.next_;
    link.next_->previous_ = link.previous_;
    link.next_ = link.previous_ = nullptr;
    --size_;
  }
  T* pop_front() {
    if (empty()) return nullptr;
    T& element = front();
    remove(element);
    return &element;
  }
  static bool contains(const T& element) { return (element.*Link).linked(); }
  iterator begin() const { return iterator{const_cast<ListLink*>(head_.next_)}; }
  iterator end() const { return iterator{const_cast<ListLink*>(&head_)}; }

 private:
  static T* owner(ListLink* link) {
    alignas(T) static char probe[sizeof(T)];
    const auto offset = reinterpret_cast<char*>(&(reinterpret_cast<T*>(probe)->*Link)) - probe;
    return reinterpret_cast<T*>(reinterpret_cast<char*>(link) - offset);
  }
  void insert_before(ListLink* position, T& element) {
    ListLink& link = element.*Link;
    DCHECK(!link.linked(), "inserting an element that is in a list already");
    link.previous_ = position->previous_;
    link.next_ = position;
    position->previous_->next_ = &link;
    position->previous_ = &link;
    ++size_;
  }
  ListLink head_;
  size_t size_ = 0;
};

}  // namespace vitro
