// The transposition of 8 x 8 floats for the AVX2 and AVX-512 variants, which include this in their own namespaces.
#pragma once

#include "common/transpose.h"

namespace pylatent::deform_conv2d {
namespace {

struct TransposeFloats {
  static constexpr int kBlock = 8;
  static void transpose_block(const float* from, int64_t from_row, float* to, int64_t to_row) {
    transpose_8x8(from, from_row, to, to_row);
  }
};

}  // namespace
}  // namespace pylatent::deform_conv2d
