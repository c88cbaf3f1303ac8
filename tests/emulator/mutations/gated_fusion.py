"""Edits of the kernels of the gated fusion."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_gated_fusion_cuda.py", "tests/ops/test_gated_fusion.py", "-k", "cuda-emulated"]
FORWARD = "csrc/gated_fusion/gated_fusion_cuda.cu"
BACKWARD = "csrc/gated_fusion/gated_fusion_backward_cuda.cu"
TILE = "csrc/gated_fusion/gated_fusion_tile.h"
GATE = "csrc/gated_fusion/gated_fusion_gate_cuda.cu"
MATHS = "csrc/gated_fusion/gated_fusion_math.h"
MUTANTS = [
    (
        "forward: no barrier in the loop",
        FORWARD,
        "__syncthreads();  // this stage has arrived, and the one before has been read by all",
        "",
    ),
    (
        "forward: waits one stage too late",
        FORWARD,
        "cp_async_wait<Tile::stages - 2>();",
        "cp_async_wait<Tile::stages - 1>();",
    ),
    ("forward: no barrier before the results", FORWARD, "__syncthreads();  // the shared memory is free", ""),
    (
        "forward: no barrier after the results",
        FORWARD,
        "  __syncthreads();\n  if (a.out_vector == 16) {",
        "  if (a.out_vector == 16) {",
    ),
    (
        "forward: no commit of empty stages",
        FORWARD,
        "if (step + Tile::stages - 1 < steps) load(step + Tile::stages - 1);\n    cp_async_commit();",
        "if (step + Tile::stages - 1 < steps) {\n      load(step + Tile::stages - 1);\n      cp_async_commit();\n    }",
    ),
    (
        "forward: refills the stage in use",
        FORWARD,
        "const Shared<T> to = memory + step % Tile::stages",
        "const Shared<T> to = memory + (step + 1) % Tile::stages",
    ),
    ("forward: gate one step early", FORWARD, "if (step == steps_y) {", "if (step == steps_y - 1) {"),
    (
        "forward: no channel mask at the store",
        FORWARD,
        "if (place.valid && channel < a.channels) {",
        "if (place.valid) {",
    ),
    (
        "forward: no pixel mask at the store",
        FORWARD,
        "if (place.valid && channel < a.channels) {",
        "if (channel < a.channels) {",
    ),
    (
        "forward: no mask at the store, channels last",
        FORWARD,
        "if (pixel < a.all_pixels && channel0 + at < a.channels) {",
        "if (pixel < a.all_pixels) {",
    ),
    (
        "forward: halves of the fragment swapped",
        FORWARD,
        "const int row = channel + i * 16 + half * 8,",
        "const int row = channel + i * 16 + (1 - half) * 8,",
    ),
    ("forward: bias beyond the channels", FORWARD, "a.bias_s && channel < a.channels ?", "a.bias_s ?"),
    ("forward: biases swapped", FORWARD, "to_float(a.bias_y[channel])", "to_float(a.bias_s[channel])"),
    (
        "forward: addresses taken for aligned",
        FORWARD,
        "aligned = aligned && address % bytes == 0;",
        "aligned = aligned && address % 4 == 0;",
    ),
    (
        "forward: rows taken for aligned",
        FORWARD,
        "aligned = aligned && row * size % bytes == 0;",
        "aligned = aligned && row * size % 4 == 0;",
    ),
    (
        "tile: no mask along K",
        TILE,
        "const bool valid = row0 + row < rows && k0 + column < k;",
        "const bool valid = row0 + row < rows;",
    ),
    (
        "tile: rows one too many",
        TILE,
        "const bool valid = row0 + row < rows && k0 + column < k;",
        "const bool valid = row0 + row <= rows && k0 + column < k;",
    ),
    (
        "tile: depth one too many",
        TILE,
        "const bool valid = column.valid && k0 + row < k;",
        "const bool valid = column.valid && k0 + row <= k;",
    ),
    ("tile: pictures mixed", TILE, "(column.picture * k + k0 + row) * pixels", "(column.picture + k0 + row) * pixels"),
    ("tile: halves of K swapped", TILE, "k + lane / 16 * 8));\n    }", "k + (1 - lane / 16) * 8));\n    }"),
    ("tile: not transposed", TILE, "ldmatrix_x4_trans(b,", "ldmatrix_x4(b,"),
    (
        "tile: left pixels twice",
        TILE,
        "mma_m16n8k16<T>(sums[i][j + 1], a[i], right);",
        "mma_m16n8k16<T>(sums[i][j + 1], a[i], left);",
    ),
    (
        "tile: columns of K in another order",
        TILE,
        "a[i].set(1, lower[0]);\n      a[i].set(2, upper[1]);",
        "a[i].set(2, lower[0]);\n      a[i].set(1, upper[1]);",
    ),
    ("tile: small parts lost", TILE, "small[i] = to_tf32(x - __uint_as_float(large[i]));", "small[i] = 0;"),
    ("gate: overflows", MATHS, "EXACT ? expf(-fabsf(v)) :", "EXACT ? expf(-v) :"),
    (
        "backward: last shuffle left out",
        BACKWARD,
        "for (int lanes = 16; lanes > 0; lanes /= 2)",
        "for (int lanes = 16; lanes > 1; lanes /= 2)",
    ),
    (
        "backward: no barrier before the sum, rows",
        BACKWARD,
        "    __syncthreads();\n    if (threadIdx.x < 2) {",
        "    if (threadIdx.x < 2) {",
    ),
    (
        "backward: no barrier before the sum, channels",
        BACKWARD,
        "  __syncthreads();\n  for (int i = threadIdx.x; i < 2 * kVectors * E",
        "  for (int i = threadIdx.x; i < 2 * kVectors * E",
    ),
    ("backward: rows one too many", BACKWARD, "  if (row < a.rows) {\n    for", "  if (row <= a.rows) {\n    for"),
    ("backward: no row mask of the sums", BACKWARD, "if (lane == 0 && row < a.rows) {", "if (lane == 0) {"),
    ("backward: no channel mask", BACKWARD, "  if (channel < a.columns) {\n    for", "  {\n    for"),
    (
        "backward: one warp's sum left out",
        BACKWARD,
        "for (int w = 0; w < kWarps; ++w)",
        "for (int w = 1; w < kWarps; ++w)",
    ),
    (
        "backward: shuffles across channels",
        BACKWARD,
        "for (int lanes = 16; lanes >= kVectors; lanes /= 2)",
        "for (int lanes = 16; lanes >= kVectors / 2; lanes /= 2)",
    ),
    ("backward: sums of v in the place of u", BACKWARD, "a.sums[a.rows + row] = sum_v;", "a.sums[row] = sum_v;"),
    (
        "backward: rows of a block one short",
        BACKWARD,
        "end = min(a.rows, begin + rows_per_block);",
        "end = min(a.rows, begin + rows_per_block - 1);",
    ),
    ("gate: channels of the pixels", GATE, "at % a.channels : at / a.pixels % a.channels", "at / a.pixels % a.channels : at / a.pixels % a.channels"),
    ("gate: one picture's channels", GATE, "at / a.pixels % a.channels)", "at / a.pixels)"),
    ("gate: one bias a vector", GATE, "(CHANNELS_LAST ? i : 0)", "0"),
    ("gate: a bias a pixel", GATE, "(CHANNELS_LAST ? i : 0)", "i"),
    ("gate: biases swapped", GATE, "to_float(a.bias_u[of_bias])", "to_float(a.bias_v[of_bias])"),
    ("gate: bias outside", GATE, "(to_float(u[i]) + bias_u) * gates", "bias_u + to_float(u[i]) * gates"),
    ("gate: without its bias", GATE, "to_float(v[i]) + bias_v;", "to_float(v[i]);"),
    ("gate: not kept", GATE, "if (a.keep) store_vec", "if (!a.keep) store_vec"),
    ("gate: taken for aligned", GATE, "static_cast<uintptr_t>(row)) % bytes == 0", "static_cast<uintptr_t>(row)) % 4 == 0"),
    ("gate: the last vector left out", GATE, "at < a.count; at += stride", "at + E < a.count; at += stride"),
    ("gate: one turn", GATE, "at < a.count; at += stride", "at < a.count; at += a.count"),
]  # fmt: skip
