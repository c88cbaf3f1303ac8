"""Edits of the kernels of integer convolutions."""

MODULE = "_emulated"
TESTS = [
    "tests/codecs/test_integer_cuda.py",
    "tests/codecs/test_exact_cuda.py",
    "-k",
    "cuda-emulated and not default_models",
]
KERNEL = "csrc/integer_conv/conv_cuda.cu"
TILE = "csrc/integer_conv/conv_cuda_tile.h"
FOLLOW = "csrc/integer_conv/conv_cuda_follow.h"
READ = "csrc/integer_conv/conv_read_cuda.cu"
MUTANTS = [
    ("low digits taken for signed", TILE, "mma_m16n8k32<uint8_t, uint8_t>", "mma_m16n8k32<int8_t, uint8_t>"),
    ("the last digit taken for unsigned", TILE, "mma_m16n8k32<int8_t, int8_t>", "mma_m16n8k32<uint8_t, int8_t>"),
    ("high weights taken for unsigned", TILE, "mma_m16n8k32<uint8_t, int8_t>", "mma_m16n8k32<uint8_t, uint8_t>"),
    ("digits added at the wrong place", TILE, "(sums[i + 1], a[i], high)", "(sums[i], a[i], high)"),
    ("bytes of the wrong pair", TILE, "0x7531", "0x7513"),
    ("the middle digit of three", TILE, "__byte_perm(first, second, 0x7632)", "__byte_perm(first, second, 0x5410)"),
    (
        "pieces not exchanged where they are written",
        KERNEL,
        "Place::place(pixel, piece);",
        "(pixel * Place::pieces + piece);",
    ),
    ("halves of a group swapped", TILE, "piece(0, 2 * half + lane / 16)", "piece(0, 2 - 2 * half + lane / 16)"),
    (
        "sums of the digits in 32 bits",
        TILE,
        "using Bits = std::make_unsigned_t<Sum<DIGITS>>;\n  Bits total",
        "using Bits = uint32_t;\n  Bits total",
    ),
    ("the border's left column", KERNEL, "x >= 0 && x < job.width", "x > 0 && x < job.width"),
    ("the border's last row", KERNEL, "y >= 0 && y < job.height", "y >= 0 && y <= job.height"),
    ("inputs beyond the last", KERNEL, "in_picture && channel < job.inputs", "in_picture"),
    ("groups beyond the last", KERNEL, "group < groups && unit < units", "unit < units"),
    ("units beyond the last", KERNEL, "group < groups && unit < units", "group < groups"),
    ("weights of the first tap", KERNEL, "phase.weights + step.row * phase.columns + step.column", "phase.weights"),
    ("weights of the first phase", KERNEL, "tap = phase.weights + step.row", "tap = step.row"),
    ("the tile's second picture", KERNEL, "a.x + image * job.height", "a.x + 0 * job.height"),
    ("inverse of the width", KERNEL, "(1 << kInverseBits) / width + 1", "(1 << kInverseBits) / width"),
    (
        "a slot too few",
        KERNEL,
        "divide_up(Tile::stages - 1, extent.taps)) + 1",
        "divide_up(Tile::stages - 1, extent.taps))",
    ),
    (
        "slots for the most taps",
        KERNEL,
        "std::min(extent.taps,",
        "std::max<int64_t>(extent.taps == INT64_MAX ? 0 : extent.taps,",
    ),
    ("one step waited for too few", KERNEL, "cp_async_wait<Tile::stages - 2>();", "cp_async_wait<Tile::stages - 1>();"),
    (
        "no barrier in a step",
        KERNEL,
        "    __syncthreads();  // this step has arrived, and the one before has been used by all\n",
        "",
    ),
    ("no barrier before the sums", KERNEL, "  __syncthreads();  // sums take the place of what was multiplied\n", ""),
    ("no barrier after the sums", KERNEL, "    }\n  }\n  __syncthreads();\n", "    }\n  }\n"),
    ("a warp's part of the groups", KERNEL, "(warp_k * Tile::N + warp_n) / kChunk + j", "warp_n / kChunk + j"),
    ("one part of the sums only", FOLLOW, "for (int k = 0; k < K; ++k)", "for (int k = 0; k < 1; ++k)"),
    (
        "columns outside of the picture",
        KERNEL,
        "y >= phase.height || x >= phase.width) continue",
        "y >= phase.height) continue",
    ),
    ("halves rounded down", FOLLOW, "(int64_t{1} << 31)) >> 32", "(int64_t{1} << 31) - 1) >> 32"),
    ("halves of exact sums rounded down", FOLLOW, "(int64_t{1} << 19)) >> 20", "(int64_t{1} << 19) - 1) >> 20"),
    ("no multiplier of negative sums", FOLLOW, "sums[i] < 0 ? negative[i] : positive[i]", "positive[i]"),
    ("no slope", FOLLOW, "sums[i] < 0 ? a.job.slope : 1 << 10", "1 << 10"),
    ("the product in 32 bits", FOLLOW, "const int64_t factor =", "const int32_t factor ="),
    ("nothing added", FOLLOW, "results[i] += skipped[i]", "results[i] += 0 * skipped[i]"),
    ("no lower bound", FOLLOW, "x < low ? low : x > high", "x > high"),
    ("rows of a shuffle", FOLLOW, "row * shuffle + place / shuffle", "row * shuffle + place % shuffle"),
    ("lines of pixels", FOLLOW, "row * job.shuffle + channel / line", "row * job.shuffle"),
    (
        "channels beyond the last",
        FOLLOW,
        "if (channel >= job.outputs) continue;",
        "if (channel > job.outputs) continue;",
    ),
    ("rows of the first phase", FOLLOW, "phase.row + job.step * y", "job.step * y"),
    ("latents rounded towards zero", READ, "rintf(", "truncf("),
    ("latents not a number", READ, "scaled == scaled ? scaled : 0.0f", "scaled"),
    ("gains of the first picture", READ, "gains[plane]", "gains[plane % 7]"),
    ("padding channels", READ, "channel < images.channels ?", "true ?"),
]
