// Host side of the CUDA kernels of the deformable convolution: checks, counts, and how samples are dealt to blocks.
#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <tuple>

#include "common/checks.h"
#include "common/dtype.h"
#include "deform_conv2d/deform_conv2d_cuda.h"
#include "deform_conv2d/deform_conv2d_sampling.h"

namespace pylatent::deform_conv2d {

inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

inline DeformConv2dSizes checked_sizes(const DeformConv2dPlan& plan) {
  constexpr int PAD_H = 9, PAD_W = 10;
  const DeformConv2dShape& shape = plan.shape;
  constexpr int64_t limit = std::numeric_limits<int>::max();
  for (size_t i = 0; i < shape.size(); ++i) check_range("shape", shape[i], i == PAD_H || i == PAD_W ? 0 : 1, limit);
  std::array<int, std::tuple_size<DeformConv2dShape>::value> v{};
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<int>(shape[i]);
  const DeformConv2dSizes s{v[0], v[1],  v[2],  v[3],  v[4],  v[5],  v[6],  v[7], v[8],
                            v[9], v[10], v[11], v[12], v[13], v[14], v[15], v[16]};
  check_equal("segments modulo groups", s.segments % s.groups, 0);
  check_equal("segments modulo offset_groups", s.segments % s.offset_groups, 0);
  check_equal("segment modulo 16 bytes", s.segment * element_size(to_dtype(plan.dtypes[0])) % 16, 0);
  // Pixels, samples and grid positions are counted in int.
  check_range("pixels of input", int64_t{s.batch} * s.in_h * s.in_w, 0, limit);
  const int64_t pixels = int64_t{s.batch} * s.out_h * s.out_w;
  check_range("pixels of output", pixels, 0, limit);
  check_range("first pixel of the tile", plan.pixels[0], 0, pixels);
  check_range("pixels of the tile", plan.pixels[1], 1, pixels - plan.pixels[0]);
  check_range("offset_groups", s.offset_groups, 1, 65535);
  const int64_t taps = int64_t{s.kernel_h} * s.kernel_w;
  check_range("samples of the tile", taps * (plan.pixels[1] + 2 * RUN), 1, limit - THREADS);
  return s;
}

// Elements of the tensors; samples are those of the mask.
struct Counts {
  int64_t input, samples, columns;
};

inline Counts counts(const DeformConv2dSizes& s, const DeformConv2dPlan& plan) {
  const int64_t taps = int64_t{s.kernel_h} * s.kernel_w, channels = int64_t{s.segments} * s.segment;
  return {channels * s.batch * s.in_h * s.in_w, int64_t{s.batch} * s.out_h * s.out_w * s.offset_groups * taps,
          channels * taps * plan.pixels[1]};
}

// The grid, and how often each of its threads takes a sample: as often as gives a block all taps of RUN pixels, whose
// corners are mostly the same, but so that every multiprocessor has eight blocks.
struct Deal {
  dim3 grid;
  int passes;
};

inline Deal deal(const DeformConv2dSizes& s, const DeformConv2dPlan& plan) {
  const int64_t taps = int64_t{s.kernel_h} * s.kernel_w, together = THREADS / LANES;
  const int64_t samples = ceil_divide(plan.pixels[1], RUN) * RUN * taps;
  const int64_t all = ceil_divide(samples, together), enough = int64_t{8} * multiprocessor_count(plan.device);
  const int64_t passes = std::clamp<int64_t>(all * s.offset_groups / enough, 1, ceil_divide(RUN * taps, together));
  return {dim3(static_cast<unsigned>(ceil_divide(all, passes)), static_cast<unsigned>(s.offset_groups)),
          static_cast<int>(passes)};
}

// Where numbers of `dtype`, float or T, lie; nowhere if the address is null.
template <class T>
Given<T> given(uintptr_t address, int dtype, int64_t count) {
  const bool narrow = to_dtype(dtype) != Dtype::float32;
  const uintptr_t floats = narrow ? 0 : address, others = narrow ? address : 0;
  return {global<const float>(floats, floats ? count : 0), global<const T>(others, others ? count : 0)};
}

template <class T>
Result<T> result(uintptr_t address, int dtype, int64_t count) {
  const bool narrow = to_dtype(dtype) != Dtype::float32;
  const uintptr_t floats = narrow ? 0 : address, others = narrow ? address : 0;
  return {global<float>(floats, floats ? count : 0), global<T>(others, others ? count : 0)};
}

// fn(Type<T>{}) for the type of the input.
template <class Fn>
void with_type(const char* function, const DeformConv2dPlan& plan, Fn fn) {
  const Dtype dtype = to_dtype(plan.dtypes[0]);
  for (int i : {1, 2}) {
    const Dtype beside = to_dtype(plan.dtypes[i]);
    if (beside != dtype && beside != Dtype::float32) unsupported_dtype(function, beside);
  }
  switch (dtype) {
    case Dtype::float32:
      return fn(Type<float>{});
    case Dtype::float16:
      return fn(Type<f16>{});
    case Dtype::bfloat16:
      return fn(Type<bf16>{});
    default:
      unsupported_dtype(function, dtype);
  }
}

}  // namespace pylatent::deform_conv2d
