"""Edits of the kernel of sga_sample."""

MODULE = "_emulated"
TESTS = ["tests/ops/test_sga_sample.py", "-k", "cuda-emulated"]
FILE = "csrc/sga_sample/sga_sample_cuda.cu"
MATHS = "csrc/sga_sample/sga_sample_math.h"
MUTANTS = [
    ("counter of another element", FILE, "(first + i) / PER_BLOCK), counter", "first / PER_BLOCK), counter"),
    (
        "halves of the key swapped",
        FILE,
        "static_cast<uint32_t>(low), static_cast<uint32_t>(low >> 32)",
        "static_cast<uint32_t>(low >> 32), static_cast<uint32_t>(low)",
    ),
    ("words of the neighbour", FILE, "words[2 * j] >> 1", "words[j] >> 1"),
    ("two elements a block for two classes", FILE, "CLASSES == 2 ? 4 : 2", "2"),
    ("key read beyond its end", FILE, "int64_t{key[1]}", "int64_t{key[2]}"),
    ("noise of the wrong class", FILE, "noise + 2 * count, first", "noise + count, first"),
    (
        "noise with the wrong sign",
        FILE,
        "next[i] - lowest[i] : up[i] - next[i]",
        "lowest[i] - next[i] : up[i] - next[i]",
    ),
    (
        "noise taken for aligned",
        FILE,
        "aligned({v, noise, value, slope}) && (noise == 0 || count % 4 == 0)",
        "aligned({v, noise, value, slope})",
    ),
    ("views taken for aligned", FILE, "aligned({v, noise, value, slope})", "aligned({value, slope})"),
    ("slope written where it is not wanted", FILE, "if constexpr (SLOPE) store_floats", "store_floats"),
    ("given noise to base e", FILE, "sga::kLog2e * (lowest[i] - next[i])", "lowest[i] - next[i]"),
    ("one turn", FILE, "i < count; i += stride", "i < count; i += count"),
    ("tau of the host", FILE, "tau ? float{tau[0]} : constants.tau", "constants.tau"),
    ("elements one short", FILE, "i < count; i += stride", "i < count - 1; i += stride"),
    ("slope is the value", FILE, "slopes[j] = sample.slope;", "slopes[j] = sample.value;"),
    ("bound of tau", MATHS, "tau > kLeastTau ? tau : kLeastTau", "tau"),
    ("integers are not dead", MATHS, "S::select(dead, zero, other * s * s", "S::select(dead, zero, zero * s * s"),
]
