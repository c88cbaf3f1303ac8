"""Edits of the deformable convolution."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_deform_conv2d_cuda.py", "tests/ops/test_deform_conv2d.py", "-k", "cuda-emulated"]
TILES = "csrc/deform_conv2d/deform_conv2d_tiles.h"
SAMPLING = "csrc/deform_conv2d/deform_conv2d_sampling.h"
FORWARD = "csrc/deform_conv2d/deform_conv2d_cuda.cu"
BACKWARD = "csrc/deform_conv2d/deform_conv2d_backward_cuda.cu"
WEIGHT = "csrc/deform_conv2d/deform_conv2d_backward_weight_cuda.cu"
MUTANTS = [
    ("A along: blocks swapped", TILES, "(row + low + middle) * a_stride + k + high", "(row + low + high) * a_stride + k + middle"),
    ("A across: blocks swapped", TILES, "(k + low + high) * a_stride + row + middle", "(k + low + middle) * a_stride + row + high"),
    ("B along: blocks swapped", TILES, "(column + low + high) * b_stride + k + middle", "(column + low + middle) * b_stride + k + high"),
    ("B across: blocks swapped", TILES, "(k + low + middle) * b_stride + column + high", "(k + low + high) * b_stride + column + middle"),
    ("B: fragments mixed", TILES, "left[2] = {fb[0], fb[1]}", "left[2] = {fb[0], fb[2]}"),
    ("float A: depths swapped", TILES, "k + member + r / 2 * 4", "k + member + (1 - r / 2) * 4"),
    ("one product of the split left out", TILES, "mma_m16n8k8_tf32(acc[i][j], fa[i], fb_rest);", ""),
    ("warps' rows overlap", TILES, "warp % 2 * 16 * MT", "warp % 2 * 16"),
    ("a vector is not fetched", TILES, "i < ROWS * VECS;", "i < ROWS * VECS - 1;"),
    ("a row too low", SAMPLING, "y < static_cast<float>(s.in_h)", "y <= static_cast<float>(s.in_h)"),
    ("a column too far, above", SAMPLING, "row >= 0 && column + 1 < s.in_w", "row >= 0 && column + 1 <= s.in_w"),
    ("a column too far, below", SAMPLING, "s.in_h && column + 1 < s.in_w", "s.in_h && column + 1 <= s.in_w"),
    ("left of the picture", SAMPLING, "if (row >= 0 && column >= 0)", "if (row >= 0)"),
    ("weights of the lower corners swapped", SAMPLING, "lower * (1 - right), lower * right", "lower * right, lower * (1 - right)"),
    ("mask of another tap", SAMPLING, "mask[index * plane + at]", "mask[index + at]"),
    ("rows of the input's width", SAMPLING, "y = rest / s.out_w;", "y = rest / s.in_w;"),
    ("offsets of x and y swapped", SAMPLING, "offset[2 * index * plane + at], offset[(2 * index + 1) * plane + at]",
     "offset[(2 * index + 1) * plane + at], offset[2 * index * plane + at]"),
    ("tail of the channels not masked", SAMPLING, "valid && pixels[k] >= 0", "pixels[k] >= 0"),
    ("forward: waits too late", FORWARD, "cp_async_wait<1>();", "cp_async_wait<2>();"),
    ("forward: no barrier", FORWARD, "cp_async_wait<1>();\n    __syncthreads();", "cp_async_wait<1>();"),
    ("forward: two stages", FORWARD, "STAGES = 3", "STAGES = 2"),
    ("forward: next plan too late", FORWARD, "depth.channel == 0", "depth.channel != 0"),
    ("forward: one plan", FORWARD, "tap_count % 2 * 4 * ROWS", "tap_count % 1 * 4 * ROWS"),
    ("forward: weights of one channel more", FORWARD, "channel + k < s.segment &&", "channel + k <= s.segment &&"),
    ("forward: tail of the outputs not masked", FORWARD, " && first_column + n < s.outputs", ""),
    ("forward: an output too many", FORWARD, "if (!pairs && column + c < out.channels)", "if (!pairs && column + c <= out.channels)"),
    ("forward: first group only", FORWARD, "start{group * segments}", "start{0}"),
    ("forward: wrong offset group", FORWARD, "plan_depth.segment / (s.segments / s.offset_groups)", "plan_depth.segment % s.offset_groups"),
    ("forward: samples one step late", FORWARD, "a + step % 2 * Memory::A, Memory::A_STRIDE", "a + (step + 1) % 2 * Memory::A, Memory::A_STRIDE"),
    ("backward: no barrier before the product is read", BACKWARD, "    __syncthreads();\n    scatter", "    scatter"),
    ("backward: no barrier in the loop", BACKWARD, "cp_async_wait<1>();\n    __syncthreads();", "cp_async_wait<1>();"),
    ("backward: sums not cleared", BACKWARD, "block[0] = block[1] = block[2] = block[3] = 0;", ""),
    ("backward: tail of the pixels not masked", BACKWARD, "first_row + r < pixels && ", ""),
    ("backward: tail of the outputs not masked", BACKWARD, "first_row + r < pixels && depth + k < s.outputs", "first_row + r < pixels"),
    ("backward: half of the lanes", BACKWARD, "int step = LANES / 2;", "int step = LANES / 4;"),
    ("backward: offset without mask", BACKWARD, "factor * sums[pass][1]", "sums[pass][1]"),
    ("backward: columns instead of rows", BACKWARD, "k % 2 == 0 ? -row_weight", "k < 2 ? -row_weight"),
    ("backward: not scaled", BACKWARD, "llrintf(sample[i] * scale)", "llrintf(sample[i])"),
    ("backward: channels of the next tile", BACKWARD, "if (current.channel + 4 * lane >= s.segment) return;", ""),
    ("weight: splits too short", WEIGHT, "(all_steps + static_cast<int>(gridDim.z) - 1) / static_cast<int>(gridDim.z)",
     "all_steps / static_cast<int>(gridDim.z)"),
    ("weight: plan a step late", WEIGHT, "write_plan(step + 2);", "write_plan(step + 1);"),
    ("weight: no barrier", WEIGHT, "cp_async_wait<1>();\n    __syncthreads();", "cp_async_wait<1>();"),
    ("weight: tail of the channels not masked", WEIGHT, "if (row >= s.segment) continue;", ""),
    ("weight: tail of the pixels not masked", WEIGHT, "pixel + k < pixels && ", ""),
    ("weight: wrong tap", WEIGHT, "blockIdx.x) / tiles % taps", "blockIdx.x) % tiles % taps"),
]  # fmt: skip
