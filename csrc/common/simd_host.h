// The SIMD policy of one lane for the CPU: reads and writes every element type.
#pragma once

#include "common/half.h"
#include "common/simd_scalar.h"

namespace pylatent {
namespace {

struct HostScalar : Scalar {
  template <class T>
  static F load(const T* p) {
    return to_float(*p);
  }
  template <class T>
  static void store(T* p, F x) {
    *p = from_float<T>(x);
  }
};

}  // namespace
}  // namespace pylatent
