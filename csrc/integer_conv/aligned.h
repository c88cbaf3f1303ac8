// Memory that starts on a cache line, so that no vector of it lies across two.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>

namespace pylatent::integers {

template <class T>
struct FreeAligned {
  void operator()(T* p) const { ::operator delete(p, std::align_val_t{64}); }
};

template <class T>
using Aligned = std::unique_ptr<T[], FreeAligned<T>>;

// `count` elements, uninitialised.
template <class T>
Aligned<T> allocate(int64_t count) {
  if (count < 0 || static_cast<uint64_t>(count) > std::numeric_limits<size_t>::max() / 2 / sizeof(T)) {
    throw std::bad_alloc();
  }
  return Aligned<T>(static_cast<T*>(::operator new(static_cast<size_t>(count) * sizeof(T), std::align_val_t{64})));
}

}  // namespace pylatent::integers
