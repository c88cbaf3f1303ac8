"""Writes compressai_golden.npz with CompressAI's own coder: `python tests/compat/make_compressai_golden.py`."""

import compressai._CXX as cxx
import compressai.ans as ans
import numpy as np
from compressai_cases import GOLDEN, Segment, gaussian_symbols, gaussian_tables, random_cases, save_golden

CASES, PMFS = 160, 60


def encode(case: list[Segment]) -> bytes:
    if len(case) == 1:
        return ans.RansEncoder().encode_with_indexes(*case[0].arguments)
    encoder = ans.BufferedRansEncoder()
    for segment in case:
        encoder.encode_with_indexes(*segment.arguments)
    return encoder.flush()


def main() -> None:
    cases = list(random_cases(CASES, seed=2026))
    symbols, indexes = gaussian_symbols(4000, seed=1)
    cdf, length, offset = (a.tolist() for a in gaussian_tables())
    cases.append([Segment(symbols.tolist(), indexes.tolist(), cdf, length, offset)])
    rng = np.random.default_rng(7)
    pmfs = []
    for i in range(PMFS):
        n = int(rng.choice([1, 2, 5, 60, 800]))
        pmf = (rng.random(n) ** float(rng.choice([1, 10, 60]))).astype(np.float32)
        pmf[0] += np.float32(1e-3)
        if i % 3:
            pmf /= pmf.sum()
        precision = int(rng.choice([10, 12, 16]))
        pmfs.append((pmf, precision, cxx.pmf_to_quantized_cdf(pmf.tolist(), precision)))
    save_golden([(case, encode(case)) for case in cases], pmfs)
    print(f"{GOLDEN}: {len(cases)} streams, {len(pmfs)} CDFs, {GOLDEN.stat().st_size} bytes")


if __name__ == "__main__":
    main()
