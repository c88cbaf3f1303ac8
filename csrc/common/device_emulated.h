// The vocabulary of device.h for a host compiler: kernels run in the emulator (csrc/emulator), for tests.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "common/half.h"
#include "common/vec.h"
#include "emulator/launch.h"
#include "emulator/pointers.h"
#include "emulator/tensor_core.h"
#include "emulator/warp.h"

#define __global__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define threadIdx (::pylatent::emulator::current->thread)
#define blockIdx (::pylatent::emulator::current->block->index)
#define blockDim (::pylatent::emulator::current->block->launch->block)
#define gridDim (::pylatent::emulator::current->block->launch->grid)

constexpr int warpSize = 32;

inline void __syncthreads(pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  pylatent::emulator::barrier(where);
}
inline void __syncwarp(unsigned mask = ~0u, pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  pylatent::emulator::sync_warp(mask, where);
}
inline unsigned __ballot_sync(unsigned mask, bool predicate,
                              pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::ballot(mask, predicate, where);
}
inline bool __any_sync(unsigned mask, bool predicate,
                       pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::ballot(mask, predicate, where) != 0;
}
inline bool __all_sync(unsigned mask, bool predicate,
                       pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::ballot(mask, !predicate, where) == 0;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32,
              pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::shuffle_value(pylatent::emulator::Shuffle::index, mask, value, lane, width, where);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32,
                  pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::shuffle_value(pylatent::emulator::Shuffle::exclusive_or, mask, value, lanes, width, where);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::shuffle_value(pylatent::emulator::Shuffle::down, mask, value, static_cast<int>(delta),
                                           width, where);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 pylatent::emulator::Where where = pylatent::emulator::Where::here()) {
  return pylatent::emulator::shuffle_value(pylatent::emulator::Shuffle::up, mask, value, static_cast<int>(delta), width,
                                           where);
}

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
inline int __float_as_int(float x) { return pylatent::bit_cast<int>(x); }
inline float __int_as_float(int x) { return pylatent::bit_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return pylatent::bit_cast<unsigned>(x); }
inline float __uint_as_float(unsigned x) { return pylatent::bit_cast<float>(x); }
// Four of the eight bytes of x and y, numbered from the lowest of x, by the nibbles of `selector`.
inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const uint64_t bytes = x | uint64_t{y} << 32;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) {
    result |= static_cast<unsigned>(bytes >> (selector >> 4 * i & 7) * 8 & 0xff) << 8 * i;
  }
  return result;
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
inline float normcdff(float x) { return 0.5f * std::erfc(-x * 0.70710678f); }
using std::max;
using std::min;

namespace pylatent {

template <class T>
Vec<float, 2> to_floats(const Vec<T, 2>& x) {
  return {{to_float(x[0]), to_float(x[1])}};
}
template <class T>
Vec<T, 2> from_floats(float first, float second) {
  return {{from_float<T>(first), from_float<T>(second)}};
}

// Fast maths is wrong by up to the bounds of the CUDA programming guide and the PTX manual: so are these, by amounts
// that depend on the bits.
float fast_exp(float x);
float fast_exp2(float x);
float fast_log(float x);
float fast_log2(float x);
float fast_divide(float a, float b);

}  // namespace pylatent
