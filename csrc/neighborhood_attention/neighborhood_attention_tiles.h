// Tiles of queries: `width` neighbouring columns of a row. Where a tile's windows stop at a border, its lanes' first
// keys are not neighbours, and neither are the entries of the bias that its slots meet: each such tile has tables of
// these, and the tiles of the interior share one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "neighborhood_attention/neighborhood_attention_tokens.h"

namespace pylatent::neighborhood {
namespace {

template <class S>
class Tiles {
 public:
  static constexpr int64_t W = S::width;

  Tiles(const Job& job, const Task& task, bool gradient, Arena& arena)
      : columns_(task.columns),
        kernel_(job.kernel),
        x0_(task.x0),
        x1_(task.x1),
        table_((2 * job.kernel - 1) * job.kernel * W),
        tables_(2 * ((job.kernel / 2 + W - 1) / W) + 2),
        number_(arena.take<int32_t>(kStrip / W)),
        shift_(arena.take<int32_t>(tables_ * W)),
        bias_(arena.take(tables_ * table_)),
        gradient_(arena.take(gradient ? tables_ * table_ : 0)) {}

  void fill(const float* bias) {
    int32_t used = 1;  // the table of the interior is the first
    each_table([&](int64_t x, bool inside) {
      const int32_t number = inside ? 0 : used++;
      for (int64_t lane = 0; lane < W; ++lane) {
        shift_[number * W + lane] = static_cast<int32_t>(columns_.start(column(x, lane)) - columns_.start(x));
      }
      fill_table(bias, x, bias_ + number * table_);
      number_[(x - x0_) / W] = number;
    });
    if (gradient_ != nullptr) std::fill_n(gradient_, used * table_, 0.0f);
  }

  bool interior(int64_t x) const { return x >= kernel_ / 2 && x + W - 1 + kernel_ / 2 < columns_.length; }
  const int32_t* shift(int64_t x) const { return shift_ + number(x) * W; }
  // [kernel][width]: the bias of the slots in a row of keys that is `row` + 1 - kernel below the queries.
  const float* bias(int64_t x, int64_t row) const { return bias_ + number(x) * table_ + row * kernel_ * W; }
  float* gradient(int64_t x, int64_t row) const { return gradient_ + number(x) * table_ + row * kernel_ * W; }

  // Adds the gradients of all slots to those of the bias, (2 kernel - 1)^2.
  void collect(float* grad_bias) const {
    const int64_t span = 2 * kernel_ - 1;
    each_table([&](int64_t x, bool) {
      for (int64_t row = 0; row < span; ++row) {
        const float* from = gradient(x, row);
        for (int64_t n = 0; n < kernel_; ++n) {
          for (int64_t lane = 0; lane < W; ++lane) grad_bias[row * span + entry(x, lane, n)] += *from++;
        }
      }
    });
  }

 private:
  int64_t column(int64_t x, int64_t lane) const { return std::min(x + lane, columns_.length - 1); }
  int64_t number(int64_t x) const { return number_[(x - x0_) / W]; }
  // fn(x, inside) for the first column of a tile with each table.
  template <class Fn>
  void each_table(Fn fn) const {
    bool interior_done = false;
    for (int64_t x = x0_; x < x1_; x += W) {
      const bool inside = interior(x);
      if (inside && interior_done) {
        number_[(x - x0_) / W] = 0;
      } else {
        fn(x, inside);
      }
      interior_done = interior_done || inside;
    }
  }
  int64_t entry(int64_t x, int64_t lane, int64_t n) const {
    const int64_t at = column(x, lane);
    return columns_.start(at) + n - at + kernel_ - 1;
  }
  void fill_table(const float* bias, int64_t x, float* to) const {
    const int64_t span = 2 * kernel_ - 1;
    for (int64_t row = 0; row < span; ++row) {
      for (int64_t n = 0; n < kernel_; ++n) {
        for (int64_t lane = 0; lane < W; ++lane) *to++ = bias == nullptr ? 0.0f : bias[row * span + entry(x, lane, n)];
      }
    }
  }

  Window columns_;
  int64_t kernel_, x0_, x1_, table_, tables_;
  int32_t *number_, *shift_;
  float *bias_, *gradient_;
};

}  // namespace
}  // namespace pylatent::neighborhood
