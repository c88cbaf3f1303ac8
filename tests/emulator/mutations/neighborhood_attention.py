"""Edits of the kernels of neighbourhood attention, and of the windows that they share with the CPU kernels."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_neighborhood_attention.py", "-k", "cuda-emulated and not compile"]
TILE = "csrc/neighborhood_attention/neighborhood_attention_cuda_tile.h"
FORWARD = "csrc/neighborhood_attention/neighborhood_attention_cuda.cu"
BACKWARD = "csrc/neighborhood_attention/neighborhood_attention_backward_cuda.cu"
WINDOW = "csrc/neighborhood_attention/neighborhood_attention_window.h"
MUTANTS = [
    ("windows cut at the end", WINDOW, "first > last ? last : first", "first"),
    ("windows not shifted at the start", WINDOW, "first < 0 ? 0 : first", "first < 1 ? 1 : first"),
    ("keys of the first window", WINDOW, "i < kernel ? 0", "i < kernel - 1 ? 0"),
    ("keys of the last window", WINDOW, "length - 1 - i < kernel ?", "length - 1 - i < kernel - 1 ?"),
    ("length of a residue", WINDOW, "length - phase + dilation - 1", "length + dilation - 1"),
    (
        "residues of rows and columns swapped",
        TILE,
        "(row_phase + grid.dilation * r)",
        "(column_phase + grid.dilation * r)",
    ),
    (
        "shorter residues not left out",
        TILE,
        "y0 >= rows.length || x0 >= columns.length",
        "false",
        "no thread of such a tile is inside: it reads what is there, and writes nothing but zero sums",
    ),
    ("threads outside", TILE, "y < rows.length && x < columns.length", "y < rows.length"),
    ("elements beyond the head", TILE, "    if (d < grid.dim) {", "    if (true) {"),
    ("half of a vector", TILE, "sum += a[d + i] * four[i]", "sum += a[d] * four[i]"),
    ("no maximum", FORWARD, "most = fmaxf(most, scores[n]);", "most = 0.0f;"),
    ("total without decay", FORWARD, "total *= decay;", ""),
    ("sums without decay", FORWARD, "sum[d] *= decay;", "sum[d] *= 1.0f;"),
    ("bias of the wrong row", FORWARD, "r + row - tile.y + kernel - 1", "r + row - tile.y + kernel - 2"),
    ("bias of the query's column", FORWARD, "start_column + n - tile.x + kernel - 1", "n + kernel / 2"),
    ("no barrier before rows are replaced", FORWARD, "    __syncthreads();  // the rows before have been used\n", ""),
    ("no barrier after rows are read", FORWARD, "1.0f, values);\n    __syncthreads();", "1.0f, values);"),
    ("lse without the maximum", FORWARD, "highest + logf(total)", "logf(total)"),
    ("delta left out", BACKWARD, "sum[d] -= products * plain[d]", "sum[d] -= 0.0f * plain[d]"),
    ("scale of the gradient of queries", BACKWARD, "sum, grid.dim, grid.scale);", "sum, grid.dim, 1.0f);"),
    ("queries without their scale", BACKWARD, "columns, grid.scale, queries);", "columns, 1.0f, queries);"),
    ("delta left out for keys", BACKWARD, "gradients + at) - mean)", "gradients + at))"),
    ("slots that no window has", BACKWARD, "seen && x >= column_begin && x < column_end", "seen && x >= column_begin"),
    ("bias of the mirrored column", BACKWARD, "* span + span - 1 - slot;", "* span + slot;"),
    ("lanes that are not summed", BACKWARD, "int step = kTileColumns / 2;", "int step = kTileColumns / 4;"),
    ("lanes of two rows summed", BACKWARD, "int step = kTileColumns / 2;", "int step = kTileColumns;"),
    (
        "rows of the bias not zeroed",
        BACKWARD,
        "i < kTileRows * entries; i += kThreads) of_bias[i]",
        "i < entries; i += kThreads) of_bias[i]",
    ),
    (
        "blocks of other heads",
        BACKWARD,
        "for (int64_t b = head; b < blocks; b += heads)",
        "for (int64_t b = head; b < blocks; ++b)",
    ),
    (
        "no barrier before the bias is summed",
        BACKWARD,
        "  if (!sums) return;\n  __syncthreads();",
        "  if (!sums) return;",
    ),
]
