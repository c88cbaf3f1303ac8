// Rows of queries against the keys and values of their windows: what the forward pass and the gradient of the queries
// share.
#pragma once

#include <algorithm>

#include "neighborhood_attention/neighborhood_attention_products.h"
#include "neighborhood_attention/neighborhood_attention_tiles.h"

namespace pylatent::neighborhood {
namespace {

constexpr float kNoQuery = 1e30f;  // the "lse" of lanes without a query: all their probabilities vanish

// lanes[d][i] = 0 for i >= count.
template <class S>
void clear_lanes(float* lanes, int64_t dim, int64_t count) {
  if (count == S::width) return;
  for (int64_t d = 0; d < dim; ++d) std::fill(lanes + d * S::width + count, lanes + (d + 1) * S::width, 0.0f);
}

template <class S>
class Queries {
 public:
  static constexpr int64_t W = S::width;

  Queries(const Job& job, const Task& task, bool gradient, Arena& arena)
      : task_(task),
        kernel_(job.kernel),
        dim_(job.dim),
        products_(products_for<S>(job.kernel)),
        pitch_((kStrip + 2 * job.kernel + W + 15) / 16 * 16),
        first_(task.columns.start(task.x0)),
        columns_(task.columns.start(task.x1 - 1) + job.kernel - first_),
        tiles_(job, task, gradient, arena),
        keys_(job.kernel + 1, job.dim, pitch_, arena),
        values_(job.kernel + 1, job.dim, pitch_, arena),
        zeros_(arena.take(job.kernel * W)),
        k_(job.k),
        v_(job.v) {}

  void start(const float* bias) {
    tiles_.fill(bias == nullptr ? nullptr : bias + task_.head * (2 * kernel_ - 1) * (2 * kernel_ - 1));
    std::fill_n(zeros_, kernel_ * W, 0.0f);
    loaded_ = task_.rows.start(task_.y0);
  }

  // Takes the query rows y, y + 1 ... next; the keys that they need are read.
  template <class Access>
  void advance(const Access& access, int64_t y) {
    y_ = y;
    rows_ = static_cast<int>(std::min<int64_t>(kRows<S>, task_.y1 - y));
    const int64_t end = task_.rows.start(y + rows_ - 1) + kernel_;
    for (; loaded_ < end; ++loaded_) {
      access.read(k_, loaded_, first_, columns_, 1.0f, keys_.row(loaded_), pitch_);
      access.read(v_, loaded_, first_, columns_, 1.0f, values_.row(loaded_), pitch_);
    }
  }

  int64_t y() const { return y_; }
  int rows() const { return rows_; }
  const Rows& keys() const { return keys_; }
  const Rows& values() const { return values_; }
  const Tiles<S>& tiles() const { return tiles_; }

  // scores[a][m][n] of row y + a: products of its lanes with slot n of its window's row m; with the bias, or without.
  void dots(int64_t x, const Rows& other, float* const* lanes, bool bias, float* const* scores) const {
    each_row(
        x, other,
        [&](Products& job, int i, int a, int64_t row, int64_t m) {
          job.lanes[i] = lanes[a];
          job.initial[i] = bias ? tiles_.bias(x, row) : zeros_;
          job.results[i] = scores[a] + m * kernel_ * W;
        },
        products_.dots);
  }

  // sums[a][d] += weights[a][m][n] times slot n of row m.
  void sums(int64_t x, const Rows& other, float* const* weights, float* const* sums) const {
    each_row(
        x, other,
        [&](Products& job, int i, int a, int64_t, int64_t m) {
          job.lanes[i] = weights[a] + m * kernel_ * W;
          job.results[i] = sums[a];
        },
        products_.sums);
  }

 private:
  // For every row that the windows have: fill(job, i, a, row of the bias, m) for the query rows that see it.
  template <class Fill>
  void each_row(int64_t x, const Rows& other, Fill fill, const Product (&products)[2][2]) const {
    const Window& window = task_.rows;
    const int64_t end = window.start(y_ + rows_ - 1) + kernel_, offset = task_.columns.start(x) - first_;
    for (int64_t r = window.start(y_); r < end; ++r) {
      Products job{dim_, pitch_, other.row(r) + offset, tiles_.shift(x), {}, {}, {}};
      int count = 0;
      for (int a = 0; a < rows_; ++a) {
        const int64_t m = r - window.start(y_ + a);
        if (m >= 0 && m < kernel_) fill(job, count++, a, r - (y_ + a) + kernel_ - 1, m);
      }
      products[count - 1][!tiles_.interior(x)](job);
    }
  }

  const Task& task_;
  int64_t kernel_, dim_;
  ProductsOfKernel products_;
  int64_t pitch_, first_, columns_;
  Tiles<S> tiles_;
  Rows keys_, values_;
  float* zeros_;
  Tokens k_, v_;
  int64_t loaded_ = 0, y_ = 0;
  int rows_ = 0;
};

}  // namespace
}  // namespace pylatent::neighborhood
