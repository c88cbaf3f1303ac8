// Global<T> and Shared<T> of the emulator: pointers that check every access. p[i] of a non-const T is a Reference,
// which reads when converted to T and writes when assigned to; it is not kept: `T x = p[i]`, never `auto x = p[i]`.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "common/vec.h"
#include "emulator/block.h"
#include "emulator/fault.h"
#include "emulator/global_memory.h"

namespace pylatent::emulator {

// An index that knows where it was used.
struct Index {
  int64_t value;
  Where where;

  template <class I, class = std::enable_if_t<std::is_integral_v<I>>>
  Index(I value, const char* file = __builtin_FILE(), int line = __builtin_LINE())
      : value(static_cast<int64_t>(value)), where{file, line} {}
};

template <class Pointer>
class Reference {
 public:
  using T = typename Pointer::Value;
  Reference(const Pointer& at, const Where& where) : at_(at), where_(where) {}

  operator T() const&& { return at_.template load<T>(where_); }
  void operator=(const T& value) const&& { at_.store(value, where_); }
  void operator=(const Reference& other) const&& { at_.store(other.at_.template load<T>(other.where_), where_); }
  void operator+=(const T& value) const&& { at_.store(T(at_.template load<T>(where_) + value), where_); }
  void operator-=(const T& value) const&& { at_.store(T(at_.template load<T>(where_) - value), where_); }
  void operator*=(const T& value) const&& { at_.store(T(at_.template load<T>(where_) * value), where_); }
  Pointer operator&() const&& { return at_; }

 private:
  Pointer at_;
  Where where_;
};

}  // namespace pylatent::emulator

namespace pylatent {

template <class T>
class Global {
 public:
  using Element = T;
  using Value = std::remove_const_t<T>;

  Global() = default;
  Global(T* pointer, const emulator::Extent& extent) : pointer_(pointer), extent_(extent) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_const_v<U>>>
  Global(const Global<U>& other) : pointer_(other.raw()), extent_(other.extent()) {}

  explicit operator bool() const { return pointer_ != nullptr; }
  // Addresses are computed as integers: the sum may lie outside of the array as long as nothing is accessed there.
  friend Global operator+(const Global& p, int64_t n) {
    const auto address = reinterpret_cast<uintptr_t>(p.pointer_) + static_cast<uintptr_t>(n) * sizeof(T);
    return {reinterpret_cast<T*>(address), p.extent_};
  }
  Global& operator+=(int64_t n) { return *this = *this + n; }

  auto operator[](const emulator::Index& index) const {
    const Global at = *this + index.value;
    if constexpr (std::is_const_v<T>) {
      return at.template load<Value>(index.where);
    } else {
      return emulator::Reference<Global>(at, index.where);
    }
  }

  T* raw() const { return pointer_; }
  const emulator::Extent& extent() const { return extent_; }

  template <class V>
  V load(const emulator::Where& where) const {
    emulator::check_global(pointer_, sizeof(V), extent_, emulator::Access::read, where);
    V value;
    std::memcpy(&value, pointer_, sizeof(V));
    return value;
  }
  template <class V>
  void store(const V& value, const emulator::Where& where) const {
    emulator::check_global(pointer_, sizeof(V), extent_, emulator::Access::write, where);
    std::memcpy(pointer_, &value, sizeof(V));
  }
  Value add(const Value& value, const emulator::Where& where) const {
    emulator::check_global(pointer_, sizeof(T), extent_, emulator::Access::atomic, where);
    const Value before = *pointer_;
    *pointer_ = before + value;
    return before;
  }

 private:
  T* pointer_ = nullptr;
  emulator::Extent extent_;
};

template <class T>
class Shared {
 public:
  static_assert(sizeof(T) >= 2, "races are told apart down to two bytes");
  using Element = T;
  using Value = std::remove_const_t<T>;

  Shared() = default;
  explicit Shared(int64_t byte) : byte_(byte) {}
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_const_v<U>>>
  Shared(const Shared<U>& other) : byte_(other.byte()) {}

  friend Shared operator+(const Shared& p, int64_t n) { return Shared(p.byte_ + n * int64_t{sizeof(T)}); }
  Shared& operator+=(int64_t n) { return *this = *this + n; }

  auto operator[](const emulator::Index& index) const {
    const Shared at = *this + index.value;
    if constexpr (std::is_const_v<T>) {
      return at.template load<Value>(index.where);
    } else {
      return emulator::Reference<Shared>(at, index.where);
    }
  }

  int64_t byte() const { return byte_; }

  template <class V>
  V load(const emulator::Where& where) const {
    V value;
    std::memcpy(&value, access(sizeof(V), emulator::Access::read, where), sizeof(V));
    return value;
  }
  template <class V>
  void store(const V& value, const emulator::Where& where) const {
    std::memcpy(access(sizeof(V), emulator::Access::write, where), &value, sizeof(V));
  }
  Value add(const Value& value, const emulator::Where& where) const {
    unsigned char* const at = access(sizeof(T), emulator::Access::atomic, where);
    Value before;
    std::memcpy(&before, at, sizeof(T));
    const Value after = before + value;
    std::memcpy(at, &after, sizeof(T));
    return before;
  }

 private:
  unsigned char* access(int bytes, emulator::Access kind, const emulator::Where& where) const {
    return emulator::current->block->shared.access(byte_, bytes, kind, where);
  }

  int64_t byte_ = 0;
};

template <class T>
Global<T> global(T* pointer, int64_t count) {
  const char* const begin = reinterpret_cast<const char*>(pointer);
  return {pointer, {begin, begin + count * int64_t{sizeof(T)}}};
}
template <class T>
Global<T> global(uintptr_t address, int64_t count) {
  return global(reinterpret_cast<T*>(address), count);
}

template <class T>
Shared<T> dynamic_shared(int64_t byte_offset) {
  return Shared<T>(byte_offset);
}

template <int N, class T>
Vec<std::remove_const_t<T>, N> load_vec(Global<T> p, emulator::Where where = emulator::Where::here()) {
  return p.template load<Vec<std::remove_const_t<T>, N>>(where);
}
template <int N, class T>
Vec<std::remove_const_t<T>, N> load_vec(Shared<T> p, emulator::Where where = emulator::Where::here()) {
  return p.template load<Vec<std::remove_const_t<T>, N>>(where);
}
template <class T, int N>
void store_vec(Global<T> p, const Vec<T, N>& v, emulator::Where where = emulator::Where::here()) {
  p.store(v, where);
}
template <class T, int N>
void store_vec(Shared<T> p, const Vec<T, N>& v, emulator::Where where = emulator::Where::here()) {
  p.store(v, where);
}

template <int N>
void atomic_add_vec(Global<float> p, const Vec<float, N>& v, emulator::Where where = emulator::Where::here()) {
  static_assert(N == 2 || N == 4, "two or four floats");
  emulator::check_global(p.raw(), N * 4, p.extent(), emulator::Access::atomic, where);
  for (int i = 0; i < N; ++i) (p + i).add(v[i], where);
}

template <int BYTES, class T, class U>
void cp_async(Shared<T> shared, Global<U> global, bool valid = true, emulator::Where where = emulator::Where::here()) {
  static_assert(std::is_same_v<T, std::remove_const_t<U>>, "both sides hold the same type");
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "4, 8 or 16 bytes");
  if (valid) emulator::check_global(global.raw(), BYTES, global.extent(), emulator::Access::read, where);
  emulator::current->block->shared.start_copy(shared.byte(), valid ? global.raw() : nullptr, BYTES, where);
}
inline void cp_async_commit() { ++emulator::current->copies.open_group; }
template <int N>
void cp_async_wait() {
  static_assert(N >= 0, "the number of groups that may still be under way");
  emulator::current->block->shared.finish_copies(emulator::current->copies, N);
}

}  // namespace pylatent

template <class T, class V>
T atomicAdd(pylatent::Global<T> p, V value, pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return p.add(static_cast<T>(value), where);
}
template <class T, class V>
T atomicAdd(pylatent::Shared<T> p, V value, pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return p.add(static_cast<T>(value), where);
}
