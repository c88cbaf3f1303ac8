#include "integer_synthesis/synthesis_kernel_impl.h"
#include "integer_synthesis/synthesis_lanes_avx512.h"

namespace pylatent::integers {
namespace {

using Lanes = Lanes512<exact::LanesMadd512>;

}  // namespace

Kernels avx512_kernels() { return {multiply_block<Lanes>, spread<Lanes>, finish3<Lanes>, finish1<Lanes>}; }

}  // namespace pylatent::integers
