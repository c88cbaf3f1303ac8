// The loops of gaussian_bits over a SIMD policy: included by the file of each level.
#pragma once

#include <stdexcept>

#include "common/simd_stage.h"
#include "gaussian_bits/gaussian_bits_kernel.h"
#include "gaussian_bits/gaussian_math.h"

namespace pylatent::gaussian {
namespace {

template <class S, class T>
[[gnu::flatten]] void forward(const void* q, const void* scale, float* bits_out, int64_t count) {
  const Input<S, T> q_in(static_cast<const T*>(q), count), scale_in(static_cast<const T*>(scale), count);
  Output<S, float> out(bits_out, count);
  for (int64_t i = 0; i < count; i += S::width) {
    S::store(out.data() + i, bits<S>(S::load(q_in.data() + i), S::load(scale_in.data() + i)));
  }
  out.finish();
}

template <class S, class T>
[[gnu::flatten]] void backward(const float* grad, const void* q, const void* scale, void* grad_q, void* grad_scale,
                               int64_t count) {
  const Input<S, float> grad_in(grad, count);
  const Input<S, T> q_in(static_cast<const T*>(q), count), scale_in(static_cast<const T*>(scale), count);
  Output<S, T> q_out(static_cast<T*>(grad_q), count), scale_out(static_cast<T*>(grad_scale), count);
  for (int64_t i = 0; i < count; i += S::width) {
    const Gradients<S> g =
        gradients<S>(S::load(grad_in.data() + i), S::load(q_in.data() + i), S::load(scale_in.data() + i));
    S::store(q_out.data() + i, g.q);
    S::store(scale_out.data() + i, g.scale);
  }
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
