// The gradients of queries and bias: with probabilities p and their gradients g = grad_out v,
// delta = sum of p g over the window, grad_score = p (g - delta), grad_q = scale times the sum of grad_score k.
#pragma once

#include <algorithm>

#include "neighborhood_attention/neighborhood_attention_forward.h"

namespace pylatent::neighborhood {
namespace {

// scores -> their gradients, given those of the probabilities; returns delta.
template <class S>
[[gnu::flatten]] typename S::F score_gradients(float* scores, const float* gradients, int64_t count,
                                               typename S::F lse) {
  using F = typename S::F;
  constexpr int64_t W = S::width;
  F delta = S::set(0.0f);
  for (int64_t i = 0; i < count * W; i += W) {
    const F p = exp_bounded<S>(S::load(scores + i) - lse);
    S::store(scores + i, p);
    delta = S::fma(p, S::load(gradients + i), delta);
  }
  for (int64_t i = 0; i < count * W; i += W) {
    S::store(scores + i, S::load(scores + i) * (S::load(gradients + i) - delta));
  }
  return delta;
}

template <class S, class T>
class BackwardQueries {
 public:
  static constexpr int64_t W = S::width;

  BackwardQueries(const Job& job, const Task& task, Arena& arena)
      : job_(job), task_(task), access_(job, task, arena), queries_(job, task, job.grad_bias != 0, arena) {
    for (int a = 0; a < kRows<S>; ++a) {
      q_[a] = arena.take(job.dim * W);
      grad_[a] = arena.take(job.dim * W);
      grad_q_[a] = arena.take(job.dim * W);
      scores_[a] = arena.take(job.kernel * job.kernel * W);
      gradients_[a] = arena.take(job.kernel * job.kernel * W);
    }
  }

  void run(float* delta, float* grad_bias) {
    queries_.start(reinterpret_cast<const float*>(job_.bias));
    for (int64_t y = task_.y0; y < task_.y1; y += kRows<S>) {
      queries_.advance(access_, y);
      for (int64_t x = task_.x0; x < task_.x1; x += W) tile(x, delta, grad_bias != nullptr);
    }
    if (grad_bias != nullptr) queries_.tiles().collect(grad_bias);
  }

 private:
  void tile(int64_t x, float* deltas, bool with_bias) {
    const int64_t columns = std::min(W, task_.x1 - x), count = job_.kernel * job_.kernel;
    for (int a = 0; a < queries_.rows(); ++a) {
      access_.read(job_.q, queries_.y() + a, x, columns, job_.scale, q_[a], W);
      access_.read(job_.out, queries_.y() + a, x, columns, 1.0f, grad_[a], W);
      clear_lanes<S>(q_[a], job_.dim, columns);
      clear_lanes<S>(grad_[a], job_.dim, columns);
      std::fill_n(grad_q_[a], job_.dim * W, 0.0f);
    }
    queries_.dots(x, queries_.keys(), q_, true, scores_);
    queries_.dots(x, queries_.values(), grad_, false, gradients_);
    const float* all = reinterpret_cast<const float*>(job_.lse);
    for (int a = 0; a < queries_.rows(); ++a) {
      const int64_t y = queries_.y() + a;
      float lanes[W];
      std::fill_n(lanes, W, kNoQuery);
      for (int64_t i = 0; i < columns; ++i) lanes[i] = all[access_.place(y, x + i)];
      const typename S::F delta = score_gradients<S>(scores_[a], gradients_[a], count, S::load(lanes));
      S::store(lanes, delta);
      for (int64_t i = 0; i < columns; ++i) deltas[access_.place(y, x + i)] = lanes[i];
      if (with_bias) add_to_bias(x, y, scores_[a]);
    }
    queries_.sums(x, queries_.keys(), scores_, grad_q_);
    for (int a = 0; a < queries_.rows(); ++a) {
      access_.write(job_.grad_q, queries_.y() + a, x, columns, job_.scale, grad_q_[a], W);
    }
  }

  void add_to_bias(int64_t x, int64_t y, const float* gradients) const {
    const int64_t first = task_.rows.start(y) - y + job_.kernel - 1, count = job_.kernel * job_.kernel * W;
    float* to = queries_.tiles().gradient(x, first);  // the window's rows follow one another there, too
    for (int64_t i = 0; i < count; i += W) S::store(to + i, S::load(to + i) + S::load(gradients + i));
  }

  const Job& job_;
  const Task& task_;
  Access<S, T> access_;
  Queries<S> queries_;
  float *q_[kRows<S>], *grad_[kRows<S>], *grad_q_[kRows<S>], *scores_[kRows<S>], *gradients_[kRows<S>];
};

}  // namespace
}  // namespace pylatent::neighborhood
