// The forward pass of a task: scores of a tile's whole windows stay in the first-level cache.
#pragma once

#include <algorithm>

#include "neighborhood_attention/neighborhood_attention_queries.h"

namespace pylatent::neighborhood {
namespace {

// exp(x), and something below the normal numbers' square root for -inf.
template <class S>
typename S::F exp_bounded(typename S::F x) {
  return S::exp(S::max(S::set(-87.0f), x));
}

// scores[i][lane] becomes exp(scores - their maximum); returns the sums, and the maxima in `highest`.
template <class S>
[[gnu::flatten]] typename S::F exponentiate(float* scores, int64_t count, typename S::F& highest) {
  using F = typename S::F;
  constexpr int64_t W = S::width;
  F even = S::load(scores), odd = even;  // counts are odd
  for (int64_t i = 1; i < count; i += 2) {
    even = S::max(S::load(scores + i * W), even);
    odd = S::max(S::load(scores + (i + 1) * W), odd);
  }
  highest = S::max(even, odd);
  F sum = exp_bounded<S>(S::load(scores) - highest), other = S::set(0.0f);
  S::store(scores, sum);
  for (int64_t i = 1; i < count; i += 2) {
    const F a = exp_bounded<S>(S::load(scores + i * W) - highest);
    const F b = exp_bounded<S>(S::load(scores + (i + 1) * W) - highest);
    S::store(scores + i * W, a);
    S::store(scores + (i + 1) * W, b);
    other = other + a;
    sum = sum + b;
  }
  return sum + other;
}

template <class S, class T>
class Forward {
 public:
  static constexpr int64_t W = S::width;

  Forward(const Job& job, const Task& task, Arena& arena)
      : job_(job), task_(task), access_(job, task, arena), queries_(job, task, false, arena) {
    for (int a = 0; a < kRows<S>; ++a) {
      q_[a] = arena.take(job.dim * W);
      out_[a] = arena.take(job.dim * W);
      scores_[a] = arena.take(job.kernel * job.kernel * W);
    }
  }

  void run() {
    queries_.start(reinterpret_cast<const float*>(job_.bias));
    for (int64_t y = task_.y0; y < task_.y1; y += kRows<S>) {
      queries_.advance(access_, y);
      for (int64_t x = task_.x0; x < task_.x1; x += W) tile(x);
    }
  }

 private:
  void tile(int64_t x) {
    const int64_t size = job_.dim * W, columns = std::min(W, task_.x1 - x);
    for (int a = 0; a < queries_.rows(); ++a) {
      access_.read(job_.q, queries_.y() + a, x, columns, job_.scale, q_[a], W);
      clear_lanes<S>(q_[a], job_.dim, columns);
      std::fill_n(out_[a], size, 0.0f);
    }
    queries_.dots(x, queries_.keys(), q_, true, scores_);
    float lse[W];
    typename S::F factors[kRows<S>] = {};
    for (int a = 0; a < queries_.rows(); ++a) {
      typename S::F highest;
      const typename S::F sum = exponentiate<S>(scores_[a], job_.kernel * job_.kernel, highest);
      factors[a] = S::divide(S::set(1.0f), sum);
      S::store(lse, highest + S::log_near_one(sum));
      float* to = reinterpret_cast<float*>(job_.lse);
      for (int64_t i = 0; i < columns; ++i) to[access_.place(queries_.y() + a, x + i)] = lse[i];
    }
    queries_.sums(x, queries_.values(), scores_, out_);
    for (int a = 0; a < queries_.rows(); ++a) {
      for (int64_t i = 0; i < size; i += W) S::store(out_[a] + i, factors[a] * S::load(out_[a] + i));
      access_.write(job_.out, queries_.y() + a, x, columns, 1.0f, out_[a], W);
    }
  }

  const Job& job_;
  const Task& task_;
  Access<S, T> access_;
  Queries<S> queries_;
  float *q_[kRows<S>], *out_[kRows<S>], *scores_[kRows<S>];
};

}  // namespace
}  // namespace pylatent::neighborhood
