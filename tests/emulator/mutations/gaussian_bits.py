"""Edits of the elementwise kernels, in gaussian_bits and in what it shares with sga_sample."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_gaussian_bits_cuda.py", "tests/ops/test_gaussian_bits.py", "-k", "cuda-emulated"]
FILE = "csrc/gaussian_bits/gaussian_bits_cuda.cu"
SHARED = "csrc/common/elementwise_device.h"
MATHS = "csrc/gaussian_bits/gaussian_bits_math.h"
MUTANTS = [
    (
        "vectors at the tail of loads",
        SHARED,
        "if (vectors && first + N <= count) {\n    for (int i = 0; i < N; i += WIDTH) {\n      const",
        "if (vectors) {\n    for (int i = 0; i < N; i += WIDTH) {\n      const",
    ),
    (
        "vectors at the tail of stores",
        SHARED,
        "if (vectors && first + N <= count) {\n    for (int i = 0; i < N; i += WIDTH) {\n      Vec",
        "if (vectors) {\n    for (int i = 0; i < N; i += WIDTH) {\n      Vec",
    ),
    (
        "no mask at the tail of loads",
        SHARED,
        "    if (first + i < count) {\n      const",
        "    if (true) {\n      const",
    ),
    ("no mask at the tail of stores", SHARED, "if (first + i < count) p[first", "p[first"),
    ("tail one short", SHARED, "if (first + i < count) p[first", "if (first + i < count - 1) p[first"),
    ("second half of a vector", SHARED, "v[j] = from_float<T>(x[i + j]);", "v[j] = from_float<T>(x[j]);"),
    ("too few blocks", SHARED, "(count + N * kElementwiseThreads - 1) / (N", "count / (N"),
    ("views taken for aligned", FILE, "aligned({q, scales, bits})", "true"),
    ("gradients taken for aligned", FILE, "aligned({grad, q, scales, grad_q, grad_scales})", "aligned({q, scales})"),
    (
        "stride of one thread",
        FILE,
        "const int64_t stride = int64_t{N<T>} * gridDim.x * blockDim.x;\n  for (int64_t i = N<T> * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x); i < count; i += stride) {\n    float x",
        "const int64_t stride = int64_t{N<T>} * gridDim.x;\n  for (int64_t i = N<T> * (int64_t{blockIdx.x} * blockDim.x + threadIdx.x); i < count; i += stride) {\n    float x",
    ),
    ("one turn only", FILE, "i < count; i += stride) {\n    float g", "i < count; i += count) {\n    float g"),
    (
        "elements one short",
        FILE,
        "i < count; i += stride) {\n    float x",
        "i < count - 1; i += stride) {\n    float x",
    ),
    (
        "gradients swapped",
        FILE,
        "x[j] = gradients.q;\n      s[j] = gradients.scale;",
        "x[j] = gradients.scale;\n      s[j] = gradients.q;",
    ),
    ("gradient of the wrong element", FILE, "(g[j], x[j], s[j])", "(g[0], x[j], s[j])"),
    ("sign of the gradient of q", MATHS, "S::select(S::less(q, zero), zero - grad_t, grad_t)", "grad_t"),
    (
        "no lower bound of the likelihood",
        MATHS,
        "S::max(S::set(kLikelihoodBound), bin_of<S>(q, scale).mass)",
        "bin_of<S>(q, scale).mass",
    ),
]
