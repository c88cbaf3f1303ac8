#include "transform_residual/blocks_impl.h"
#include "transform_residual/search_impl.h"

namespace pylatent::transform_residual {

Kernels avx512_kernels() { return {transform_row, restore_row, know_row, sum_bands, find_row}; }

}  // namespace pylatent::transform_residual
