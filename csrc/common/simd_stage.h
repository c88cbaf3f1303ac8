// Elementwise kernels work on blocks of floats whose size is a multiple of their step. Blocks of other types, and the
// last block of a tensor, go through a buffer: its rest is filled with zeros and never written back.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace pylatent {

constexpr int64_t kBlock = 512;  // elements; the buffers of a kernel stay in the first-level cache
constexpr int64_t kStep = 64;    // every kernel's step divides this

namespace {

// How `count` <= kBlock elements at p are read as floats.
template <class S, class T>
class Input {
 public:
  Input(const T* p, int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      if (count % kStep == 0) {
        data_ = p;
        return;
      }
    }
    const int64_t padded = (count + kStep - 1) / kStep * kStep;
    T tail[kStep] = {};
    const int64_t whole = count / kStep * kStep;
    std::memcpy(tail, p + whole, static_cast<size_t>(count - whole) * sizeof(T));
    for (int64_t i = 0; i < whole; i += S::width) S::store(buffer_ + i, S::load(p + i));
    for (int64_t i = whole; i < padded; i += S::width) S::store(buffer_ + i, S::load(tail + (i - whole)));
    data_ = buffer_;
  }
  const float* data() const { return data_; }

 private:
  const float* data_;
  alignas(64) float buffer_[kBlock];
};

// How floats are written as `count` <= kBlock elements at p: to data(), then finish(). A null p drops them.
template <class S, class T>
class Output {
 public:
  Output(T* p, int64_t count) : to_(p), count_(count), data_(buffer_) {
    if constexpr (std::is_same_v<T, float>) {
      if (count % kStep == 0 && p != nullptr) data_ = p;
    }
  }
  float* data() { return data_; }
  void finish() {
    if (data_ != buffer_ || to_ == nullptr) return;
    const int64_t whole = count_ / kStep * kStep;
    for (int64_t i = 0; i < whole; i += S::width) S::store(to_ + i, S::load(buffer_ + i));
    if (whole == count_) return;
    T tail[kStep];
    for (int64_t i = 0; i < kStep; i += S::width) S::store(tail + i, S::load(buffer_ + whole + i));
    std::memcpy(to_ + whole, tail, static_cast<size_t>(count_ - whole) * sizeof(T));
  }

 private:
  T* to_;
  int64_t count_;
  float* data_;
  alignas(64) float buffer_[kBlock];
};

}  // namespace
}  // namespace pylatent
