// The gradients of keys and values: lanes are keys, which meet the queries whose windows have them, with the
// probabilities computed again from the logarithms of their sums. No two tasks add to one gradient.
#pragma once

#include <algorithm>

#include "neighborhood_attention/neighborhood_attention_forward.h"

namespace pylatent::neighborhood {
namespace {

template <class S, class T>
class BackwardKeys {
 public:
  static constexpr int64_t W = S::width;

  BackwardKeys(const Job& job, const Task& task, Arena& arena)
      : job_(job),
        task_(task),
        kernel_(job.kernel),
        products_(products_for<S>(job.kernel)),
        pitch_((kStrip + 4 * job.kernel + W + 15) / 16 * 16),
        first_(task.x0 - (job.kernel - 1)),
        access_(job, task, arena),
        queries_(2 * job.kernel, job.dim, pitch_, arena),
        grads_(2 * job.kernel, job.dim, pitch_, arena),
        lse_(2 * job.kernel, 1, pitch_, arena),
        delta_(2 * job.kernel, 1, pitch_, arena),
        zeros_(arena.take(job.kernel * W)) {
    for (int a = 0; a < kRows<S>; ++a) {
      k_[a] = arena.take(job.dim * W);
      v_[a] = arena.take(job.dim * W);
      grad_k_[a] = arena.take(job.dim * W);
      grad_v_[a] = arena.take(job.dim * W);
      scores_[a] = arena.take(job.kernel * W);
      gradients_[a] = arena.take(job.kernel * W);
    }
  }

  void run(const float* delta) {
    std::fill_n(zeros_, kernel_ * W, 0.0f);
    loaded_ = task_.rows.first_query(task_.y0);
    for (int64_t r = task_.y0; r < task_.y1; r += kRows<S>) {
      r_ = r;
      rows_ = static_cast<int>(std::min<int64_t>(kRows<S>, task_.y1 - r));
      const int64_t last = task_.rows.last_query(r + rows_ - 1);
      for (; loaded_ <= last; ++loaded_) load(loaded_, delta);
      for (int64_t c = task_.x0; c < task_.x1; c += W) tile(c);
    }
  }

 private:
  void load(int64_t y, const float* delta) {
    const int64_t columns = (task_.x1 - task_.x0 + W - 1) / W * W + 3 * kernel_;
    access_.read(job_.q, y, first_, columns, job_.scale, queries_.row(y), pitch_);
    access_.read(job_.out, y, first_, columns, 1.0f, grads_.row(y), pitch_);
    const float* lse = reinterpret_cast<const float*>(job_.lse);
    float *lse_row = lse_.row(y), *delta_row = delta_.row(y);
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t x = first_ + i;
      const bool inside = x >= 0 && x < task_.columns.length;
      lse_row[i] = inside ? lse[access_.place(y, x)] : kNoQuery;
      delta_row[i] = inside ? delta[access_.place(y, x)] : 0.0f;
    }
  }

  void tile(int64_t c) {
    const int64_t columns = std::min(W, task_.x1 - c);
    for (int a = 0; a < rows_; ++a) {
      access_.read(job_.k, r_ + a, c, columns, 1.0f, k_[a], W);
      access_.read(job_.v, r_ + a, c, columns, 1.0f, v_[a], W);
      clear_lanes<S>(k_[a], job_.dim, columns);
      clear_lanes<S>(v_[a], job_.dim, columns);
      std::fill_n(grad_k_[a], job_.dim * W, 0.0f);
      std::fill_n(grad_v_[a], job_.dim * W, 0.0f);
    }
    // Slot s of a lane is the query s + 1 - kernel columns from its key.
    int64_t begin = 2 * kernel_, end = 0;
    for (int64_t i = 0; i < columns; ++i) {
      begin = std::min(begin, task_.columns.first_query(c + i) - (c + i) + kernel_ - 1);
      end = std::max(end, task_.columns.last_query(c + i) - (c + i) + kernel_);
    }
    const bool interior = c >= kernel_ && c + W - 1 + kernel_ < task_.columns.length;
    const int64_t last = task_.rows.last_query(r_ + rows_ - 1);
    for (int64_t y = task_.rows.first_query(r_); y <= last; ++y) {
      for (int64_t s = begin; s < end; s += kernel_) meet(c, y, s, interior);
    }
    for (int a = 0; a < rows_; ++a) {
      access_.write(job_.grad_k, r_ + a, c, columns, 1.0f, grad_k_[a], W);
      access_.write(job_.grad_v, r_ + a, c, columns, 1.0f, grad_v_[a], W);
    }
  }

  // The keys of a tile and the queries in row y, slots s ... s + kernel - 1.
  void meet(int64_t c, int64_t y, int64_t s, bool interior) {
    int seeing[kRows<S>], count = 0;
    for (int a = 0; a < rows_; ++a) {
      if (y >= task_.rows.first_query(r_ + a) && y <= task_.rows.last_query(r_ + a)) seeing[count++] = a;
    }
    const int64_t at = c + s - (kernel_ - 1) - first_;
    const float *queries = queries_.row(y) + at, *grads = grads_.row(y) + at;
    Products scores{job_.dim, pitch_, queries, nullptr, {}, {}, {}},
        gradients{job_.dim, pitch_, grads, nullptr, {}, {}, {}};
    Products grad_k = scores, grad_v = gradients;
    for (int i = 0; i < count; ++i) {
      const int a = seeing[i];
      scores.lanes[i] = k_[a];
      gradients.lanes[i] = v_[a];
      scores.initial[i] = gradients.initial[i] = zeros_;
      scores.results[i] = scores_[a];
      gradients.results[i] = gradients_[a];
      grad_k.lanes[i] = gradients_[a];
      grad_v.lanes[i] = scores_[a];
      grad_k.results[i] = grad_k_[a];
      grad_v.results[i] = grad_v_[a];
    }
    products_.dots[count - 1][0](scores);
    products_.dots[count - 1][0](gradients);
    for (int i = 0; i < count; ++i) {
      const int a = seeing[i];
      probabilities(r_ + a - y + kernel_ - 1, s, lse_.row(y) + at, delta_.row(y) + at, scores_[a], gradients_[a]);
      if (!interior) mask(c, s, scores_[a], gradients_[a]);
    }
    products_.sums[count - 1][0](grad_v);
    products_.sums[count - 1][0](grad_k);
  }

  // scores -> probabilities; gradients of probabilities -> gradients of scores. `row` is that of the bias.
  [[gnu::flatten]] void probabilities(int64_t row, int64_t s, const float* lse, const float* delta, float* scores,
                                      float* gradients) const {
    using F = typename S::F;
    const int64_t span = 2 * kernel_ - 1;
    const float* bias = reinterpret_cast<const float*>(job_.bias);
    if (bias != nullptr) bias += (task_.head * span + row) * span;
    for (int64_t n = 0; n < kernel_; ++n) {
      const int64_t entry = std::max<int64_t>(span - 1 - s - n, 0);  // slots beyond all windows are masked
      const F b = S::set(bias == nullptr ? 0.0f : bias[entry]);
      const F p = exp_bounded<S>(S::load(scores + n * W) + b - S::load(lse + n));
      S::store(scores + n * W, p);
      S::store(gradients + n * W, p * (S::load(gradients + n * W) - S::load(delta + n)));
    }
  }

  void mask(int64_t c, int64_t s, float* scores, float* gradients) const {
    for (int64_t n = 0; n < kernel_; ++n) {
      for (int64_t lane = 0; lane < W; ++lane) {
        const int64_t key = c + lane, query = key + s + n - (kernel_ - 1);
        if (query >= task_.columns.first_query(key) && query <= task_.columns.last_query(key)) continue;
        scores[n * W + lane] = gradients[n * W + lane] = 0.0f;
      }
    }
  }

  const Job& job_;
  const Task& task_;
  int64_t kernel_;
  ProductsOfKernel products_;
  int64_t pitch_, first_;
  Access<S, T> access_;
  Rows queries_, grads_, lse_, delta_;
  float* zeros_;
  float *k_[kRows<S>], *v_[kRows<S>], *grad_k_[kRows<S>], *grad_v_[kRows<S>], *scores_[kRows<S>], *gradients_[kRows<S>];
  int64_t loaded_ = 0, r_ = 0;
  int rows_ = 0;
};

}  // namespace
}  // namespace pylatent::neighborhood
