// The loops of gaussian_bits over a SIMD policy: included by the file of each level.
#pragma once

#include <stdexcept>

#include "common/simd_stage.h"
#include "gaussian_bits/gaussian_bits_kernel.h"
#include "gaussian_bits/gaussian_bits_math.h"

namespace pylatent::gaussian {
namespace {

// The loops are of floats, one for all dtypes.
template <class S>
[[gnu::flatten, gnu::noinline]] void forward_floats(const float* q, const float* scale, float* out, int64_t count) {
  for (int64_t i = 0; i < count; i += S::width) S::store(out + i, bits<S>(S::load(q + i), S::load(scale + i)));
}

template <class S>
[[gnu::flatten, gnu::noinline]] void backward_floats(const float* grad, const float* q, const float* scale,
                                                     float* grad_q, float* grad_scale, int64_t count) {
  for (int64_t i = 0; i < count; i += S::width) {
    const Gradients<S> g = gradients<S>(S::load(grad + i), S::load(q + i), S::load(scale + i));
    S::store(grad_q + i, g.q);
    S::store(grad_scale + i, g.scale);
  }
}

template <class S, class T>
void forward(const void* q, const void* scale, float* bits_out, int64_t count) {
  const Input<S, T> q_in(static_cast<const T*>(q), count), scale_in(static_cast<const T*>(scale), count);
  Output<S, float> out(bits_out, count);
  forward_floats<S>(q_in.data(), scale_in.data(), out.data(), count);
  out.finish();
}

template <class S, class T>
void backward(const float* grad, const void* q, const void* scale, void* grad_q, void* grad_scale, int64_t count) {
  const Input<S, float> grad_in(grad, count);
  const Input<S, T> q_in(static_cast<const T*>(q), count), scale_in(static_cast<const T*>(scale), count);
  Output<S, T> q_out(static_cast<T*>(grad_q), count), scale_out(static_cast<T*>(grad_scale), count);
  backward_floats<S>(grad_in.data(), q_in.data(), scale_in.data(), q_out.data(), scale_out.data(), count);
  q_out.finish();
  scale_out.finish();
}

template <class S>
Kernels kernels(Dtype dtype) {
  switch (dtype) {
    case Dtype::float32:
      return {forward<S, float>, backward<S, float>};
    case Dtype::float16:
      return {forward<S, f16>, backward<S, f16>};
    case Dtype::bfloat16:
      return {forward<S, bf16>, backward<S, bf16>};
    default:
      unsupported_dtype("gaussian_bits", dtype);
  }
}

}  // namespace
}  // namespace pylatent::gaussian
