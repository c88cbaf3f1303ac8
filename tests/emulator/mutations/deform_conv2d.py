"""Edits of the kernels of the deformable convolution."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_deform_conv2d_cuda.py", "tests/ops/test_deform_conv2d.py", "-k", "cuda-emulated"]
SAMPLING = "csrc/deform_conv2d/deform_conv2d_sampling.h"
LAUNCH = "csrc/deform_conv2d/deform_conv2d_launch.h"
GATHER = "csrc/deform_conv2d/deform_conv2d_cuda.cu"
SCATTER = "csrc/deform_conv2d/deform_conv2d_backward_cuda.cu"
MUTANTS = [
    ("a row too low", SAMPLING, "y < static_cast<float>(s.in_h)", "y <= static_cast<float>(s.in_h)"),
    ("a column too far, above", SAMPLING, "row >= 0 && column + 1 < s.in_w", "row >= 0 && column + 1 <= s.in_w"),
    ("a column too far, below", SAMPLING, "s.in_h && column + 1 < s.in_w", "s.in_h && column + 1 <= s.in_w"),
    ("left of the picture", SAMPLING, "if (row >= 0 && column >= 0)", "if (row >= 0)"),
    ("weights of the lower corners swapped", SAMPLING, "lower * (1 - right), lower * right", "lower * right, lower * (1 - right)"),
    ("mask of another tap", SAMPLING, "mask = index * plane + at;", "mask = index + at;"),
    ("rows of the input's width", SAMPLING, "y = rest / s.out_w;", "y = rest / s.in_w;"),
    ("offsets of x and y swapped", SAMPLING, "x = y + plane;", "x = y;\n    y = y + plane;"),
    ("corners that are not there", SAMPLING, "corner[k] = c.pixel[k] >= 0 ?", "corner[k] = c.pixel[k] >= -1 ?"),
    ("tile begins with the batch", SAMPLING, "index = tile.first + row", "index = row"),
    ("a pixel beyond the tile", SAMPLING, "if (row >= tile.count)", "if (row > tile.count)",
     "both kernels look at the tile's end themselves, and use nothing of such a pixel"),
    ("runs overlap", SAMPLING, "run * RUN + within % RUN", "run + within % RUN"),
    ("a tap too far", SAMPLING, "tap_x = tap - tap_y * s.kernel_w", "tap_x = tap - tap_y * s.kernel_w + 1"),
    ("first group only", SAMPLING, "int64_t{group} * tile.count + at.row", "int64_t{0} * tile.count + at.row"),
    ("segments of a group mixed", SAMPLING, "segment - group * per_group", "0"),
    ("second of two elements lost", SAMPLING, "out[2 * i + 1] = rounded[1];", "out[2 * i + 1] = rounded[0];"),
    ("half offsets read as floats", SAMPLING, "return wide ? float{wide[i]} : to_float(narrow[i]);", "return float{wide[i]};"),
    ("blocks one short", LAUNCH, "dim3(static_cast<unsigned>(ceil_divide(all, passes))", "dim3(static_cast<unsigned>(all / passes)"),
    ("pixels not rounded up to runs", LAUNCH, "ceil_divide(plan.pixels[1], RUN) * RUN * taps", "plan.pixels[1] * taps"),
    ("gather: first offset group only", GATHER, "int i = offset_group * segments; i <", "int i = 0; i <"),
    ("gather: without mask", GATHER, "mask ? mask.at(place.mask) : 1.0f", "1.0f"),
    ("gather: one pass", GATHER, "pass < passes;", "pass < 1;"),
    ("gather: eight lanes' channels alone", GATHER, "channel < s.segment; channel += STEP", "channel < STEP; channel += STEP"),
    ("scatter: beyond the tile", SCATTER, "const bool valid = at.row < tile.count;", "const bool valid = true;"),
    ("scatter: half of the lanes", SCATTER, "int lanes = LANES / 2;", "int lanes = LANES / 4;"),
    ("scatter: offset without mask", SCATTER, "factor * to_y", "to_y"),
    ("scatter: offset's x without mask", SCATTER, "factor * to_x", "to_x"),
    ("scatter: columns instead of rows", SCATTER, "dots[2] + c.right * below - dots[0] - c.right * above", "dots[1] + c.right * below - dots[0] - c.right * above"),
    ("scatter: mask's gradient of the upper row", SCATTER, " + c.down * (dots[2] + c.right * below);", ";"),
    ("scatter: not scaled", SCATTER, "llrintf(sample[i] * scale)", "llrintf(sample[i])"),
    ("scatter: second half of a vector lost", SCATTER, "part < VEC; part += 4", "part < 4; part += 4"),
    ("scatter: gradients take the place of columns", SCATTER, "if (keep) store_vec", "if (!keep) store_vec"),
    ("scatter: columns without corners", SCATTER, "if (to_coordinates || keep) gathered.load", "if (to_coordinates) gathered.load"),
    ("scatter: all lanes write", SCATTER, "threadIdx.x % LANES != 0 || !valid", "!valid"),
    ("scatter: invalid samples write", SCATTER, "threadIdx.x % LANES != 0 || !valid", "threadIdx.x % LANES != 0"),
    ("scatter: one group's channels", SCATTER, "c.pixel[k] * pixel_stride + int64_t{i} * s.segment + channel", "c.pixel[k] * pixel_stride + channel"),
]  # fmt: skip
