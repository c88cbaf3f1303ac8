// Jobs of what Python passes: for the bindings.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>

#include "common/checks.h"
#include "neighborhood_attention/neighborhood_attention.h"

namespace pylatent::neighborhood {

using Sizes = std::array<int64_t, 7>;                   // batch, height, width, heads, dim, kernel, dilation
using Strides = std::array<std::array<int64_t, 4>, 3>;  // of q, k and v: batch, row, column, head
using ForwardAddresses = std::array<uintptr_t, 6>;      // q, k, v, bias, out, lse
using BackwardAddresses = std::array<uintptr_t, 10>;    // q, k, v, bias, grad, lse, grad_q, grad_k, grad_v, grad_bias

inline Tokens contiguous(uintptr_t data, const Sizes& s) {
  return {data, s[1] * s[2] * s[3] * s[4], s[2] * s[3] * s[4], s[3] * s[4], s[4]};
}

inline Tokens strided(uintptr_t data, const std::array<int64_t, 4>& s) { return {data, s[0], s[1], s[2], s[3]}; }

inline Job forward_job(const Sizes& sizes, const Strides& strides, float scale, int dtype,
                       const ForwardAddresses& addresses) {
  const auto [batch, height, width, heads, dim, kernel, dilation] = sizes;
  check_range("kernel", kernel, 3, 13);
  check_equal("kernel % 2", kernel % 2, 1);
  check_range("dilation", dilation, 1, INT64_C(1) << 30);
  check_range("dim", dim, 1, INT64_C(1) << 20);
  check_range("height", height, kernel * dilation, INT64_C(1) << 30);
  check_range("width", width, kernel * dilation, INT64_C(1) << 30);
  Job job{};
  job.batch = batch, job.height = height, job.width = width, job.heads = heads, job.dim = dim;
  job.kernel = kernel, job.dilation = dilation, job.scale = scale, job.dtype = to_dtype(dtype);
  job.q = strided(addresses[0], strides[0]);
  job.k = strided(addresses[1], strides[1]);
  job.v = strided(addresses[2], strides[2]);
  job.bias = addresses[3];
  job.out = contiguous(addresses[4], sizes);
  job.lse = addresses[5];
  return job;
}

inline Job backward_job(const Sizes& sizes, const Strides& strides, float scale, int dtype,
                        const BackwardAddresses& addresses) {
  const auto& a = addresses;
  Job job = forward_job(sizes, strides, scale, dtype, {a[0], a[1], a[2], a[3], a[4], a[5]});
  job.grad_q = contiguous(a[6], sizes);
  job.grad_k = contiguous(a[7], sizes);
  job.grad_v = contiguous(a[8], sizes);
  job.grad_bias = a[9];
  return job;
}

}  // namespace pylatent::neighborhood
