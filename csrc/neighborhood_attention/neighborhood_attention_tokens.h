// Tokens between memory, (batch, row, column, head, dim), and the kernels' scratch, [dim][column] floats.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "common/half.h"
#include "common/transpose.h"
#include "neighborhood_attention/neighborhood_attention_kernel.h"

namespace pylatent::neighborhood {
namespace {

// Hands out parts of a block of floats; without a block, counts what is asked for.
class Arena {
 public:
  explicit Arena(float* block) : block_(block) {}
  template <class N = float>
  N* take(int64_t count) {
    static_assert(sizeof(N) == sizeof(float), "an arena is of floats");
    const int64_t at = taken_;
    taken_ += (count + 15) / 16 * 16;
    return block_ == nullptr ? nullptr : reinterpret_cast<N*>(block_ + at);
  }
  int64_t taken() const { return taken_; }

 private:
  float* block_;
  int64_t taken_ = 0;
};

constexpr int64_t kChunk = 16;  // tokens that are converted at once

// What a task reads and writes of its residue, head and picture, in element type T.
template <class S, class T>
class Access {
 public:
  Access(const Job& job, const Task& task, Arena& arena)
      : job_(job), task_(task), chunk_(arena.take(std::is_same_v<T, float> ? 0 : kChunk * job.dim)) {}

  // to[d][i] = factor * the token in row y and column first + i, for i < count; zero outside of the residue.
  void read(const Tokens& tokens, int64_t y, int64_t first, int64_t count, float factor, float* to,
            int64_t pitch) const {
    const int64_t begin = std::max<int64_t>(first, 0), end = std::min(first + count, task_.columns.length);
    const int64_t dim = job_.dim, step = tokens.column * job_.dilation;
    const T* from = address(tokens, y, begin);
    for (int64_t x = begin; x < end; x += kChunk, from += kChunk * step) {
      const int64_t some = std::min(kChunk, end - x);
      if constexpr (std::is_same_v<T, float>) {
        transpose<S>(from, step, to + (x - first), pitch, some, dim);
      } else {
        for (int64_t i = 0; i < some; ++i) widen(from + i * step, chunk_ + i * dim);
        transpose<S>(chunk_, dim, to + (x - first), pitch, some, dim);
      }
    }
    const bool partial = begin > first || end < first + count;
    if (!partial && factor == 1.0f) return;
    for (int64_t d = 0; d < dim; ++d, to += pitch) {
      for (int64_t i = 0; i < count; ++i) to[i] = first + i < begin || first + i >= end ? 0.0f : to[i] * factor;
    }
  }

  // Tokens in row y and columns first ... first + count - 1 become factor * from[d][i].
  void write(const Tokens& tokens, int64_t y, int64_t first, int64_t count, float factor, float* from,
             int64_t pitch) const {
    const int64_t dim = job_.dim, step = tokens.column * job_.dilation;
    if (factor != 1.0f) {
      for (int64_t i = 0; i < dim * pitch; i += S::width) S::store(from + i, S::set(factor) * S::load(from + i));
    }
    T* to = address(tokens, y, first);
    if constexpr (std::is_same_v<T, float>) {
      transpose<S>(from, pitch, to, step, dim, count);
    } else {
      transpose<S>(from, pitch, chunk_, dim, dim, count);
      for (int64_t i = 0; i < count; ++i) narrow(chunk_ + i * dim, to + i * step);
    }
  }

  // Index of row y and column x in floats (batch, heads, height, width).
  int64_t place(int64_t y, int64_t x) const {
    const int64_t row = task_.row_phase + job_.dilation * y, column = task_.column_phase + job_.dilation * x;
    return ((task_.batch * job_.heads + task_.head) * job_.height + row) * job_.width + column;
  }

 private:
  T* address(const Tokens& tokens, int64_t y, int64_t x) const {
    const int64_t row = task_.row_phase + job_.dilation * y, column = task_.column_phase + job_.dilation * x;
    return reinterpret_cast<T*>(tokens.data) + task_.batch * tokens.batch + row * tokens.row + column * tokens.column +
           task_.head * tokens.head;
  }
  void widen(const T* from, float* to) const {
    int64_t d = 0;
    for (; d + S::width <= job_.dim; d += S::width) S::store(to + d, S::load(from + d));
    for (; d < job_.dim; ++d) to[d] = to_float(from[d]);
  }
  void narrow(const float* from, T* to) const {
    int64_t d = 0;
    for (; d + S::width <= job_.dim; d += S::width) S::store(to + d, S::load(from + d));
    for (; d < job_.dim; ++d) to[d] = from_float<T>(from[d]);
  }

  const Job& job_;
  const Task& task_;
  float* chunk_;
};

// The rows of a tensor that are in use, each [dim][pitch] from column `first` on, in a ring.
class Rows {
 public:
  Rows(int64_t ring, int64_t dim, int64_t pitch, Arena& arena)
      : ring_(ring), row_(dim * pitch), data_(arena.take(ring * dim * pitch)) {}
  float* row(int64_t y) const { return data_ + y % ring_ * row_; }

 private:
  int64_t ring_, row_;
  float* data_;
};

}  // namespace
}  // namespace pylatent::neighborhood
