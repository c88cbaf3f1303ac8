// Kernels of the emulator's own tests. `variant` 0 is correct; the others have a planted bug each.
#pragma once

#include <cstdint>
#include <string>

namespace pylatent::tests {

// swap.cu: out[i] = in[i ^ 1] for n floats, through shared memory, in blocks of `block` threads.
void swap_pairs(uintptr_t in, uintptr_t out, int64_t n, int block, int variant);

// product.cu: out (M, N) = a (M, K) b (K, N), of 2-byte floats to float; asynchronous copies, ldmatrix, mma.
void product(uintptr_t a, uintptr_t b, uintptr_t out, int64_t m, int64_t n, int64_t k, int dtype, int variant);

// fragments.cu: what each lane of one warp gets. in: 32 rows of 8 two-byte elements; out: 32 x count registers.
void load_matrices(uintptr_t in, uintptr_t out, int count, bool transposed);
// a: 32 x 4 registers, b: 32 x 2, d: 32 x 4 floats, which are added to. kind: "bf16", "f16" or "tf32".
void multiply(uintptr_t a, uintptr_t b, uintptr_t d, const std::string& kind);
// The same of bytes, d: 32 x 4 int32.
void multiply_bytes(uintptr_t a, uintptr_t b, uintptr_t d, bool signed_a, bool signed_b);
// in: 32 times two words and a selector.
void permute_bytes(uintptr_t in, uintptr_t out);

// warps.cu: sums over rows of `columns` int32, one warp a row, `warps` warps a block; blocks in three dimensions.
void sum_rows(uintptr_t in, uintptr_t out, int64_t depth, int64_t height, int64_t width, int64_t columns, int warps);
// Per lane of one warp of `lanes` threads: the results of every shuffle and vote, 8 int32 a lane.
void shuffles(uintptr_t out, int lanes, int width);
// counts[x]: how often x is in `in`, with atomics in shared memory, then in global memory.
void histogram(uintptr_t in, uintptr_t counts, int64_t n, int64_t bins, int variant);

// bugs.cu: one planted bug by its name.
void bug(const std::string& name, uintptr_t scratch);
// A kernel with an mma, launched like this.
void launch_with(int blocks, int block_x, int block_y, int64_t shared_bytes, uintptr_t scratch);

}  // namespace pylatent::tests
