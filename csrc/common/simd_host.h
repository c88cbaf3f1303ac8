// The SIMD policy of one lane for the CPU: reads and writes every element type.
#pragma once

#include "common/half.h"
#include "common/simd_scalar.h"

namespace pylatent {
namespace {

struct HostScalar : Scalar {
  static F permute(F a, I) { return a; }
  static I load(const int32_t* p) { return *p; }
  static void store(int32_t* p, I x) { *p = x; }
  template <class T>
  static F load(const T* p) {
    return to_float(*p);
  }
  template <class T>
  static void store(T* p, F x) {
    *p = from_float<T>(x);
  }
  // Unlike rintf and floorf, instructions that every CPU has: compilers turn loops over one lane into vectors.
  static F round(F a) {
    const F magic = 8388608.0f;  // 2^23, from which on floats are integers
    return fabsf(a) < magic ? copysignf((fabsf(a) + magic) - magic, a) : a;
  }
  static F floor(F a) {
    const F nearest = round(a);
    return nearest > a ? nearest - 1.0f : nearest;
  }
};

}  // namespace
}  // namespace pylatent
