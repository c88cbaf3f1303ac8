// The sets of kernels that this machine can run.
#pragma once

#include <vector>

#include "integer_conv/conv_kernel.h"

namespace pylatent::integers {

enum class Level { amx_model, scalar, sse2, avx2, avx_vnni, avx512_vl_vnni, avx512, avx512_vnni, amx, neon };

// Names of those that PYLATENT_SIMD allows, the fastest last. With AVX2, the first is a model of AMX, for tests.
std::vector<const char*> variants();

// The kernels of a place in variants(), or of the last for -1. Throws std::invalid_argument.
const Kernels& kernels_of(int variant);

// What a place in variants(), or -1 for the last, needs. Throws std::invalid_argument.
Level level_of(int variant);

// The place of an argument that may be -1. Throws std::invalid_argument.
int variant_number(int variant);

}  // namespace pylatent::integers
