"""Every SIMD level writes the same bytes, and reads them: each level runs in its own process."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import pylatent
from pylatent import _native
from pylatent.coding import rans
from pylatent.coding.tables import CdfTables

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

# (number of tables, widest table, number of symbols): few and many tables, every number of lanes, escapes, a cut row.
CASES = [(64, 30, 9001), (64, 30, 30003), (64, 200, 40017), (3, 500, 90001), (150, 600, 230007)]


def run_cases() -> tuple[str, str]:
    """The SIMD level, and a digest of the bytes of all cases, each decoded and compared."""
    digest = hashlib.sha256()
    for seed, (count, widest, n) in enumerate(CASES):
        rng = np.random.default_rng(seed)
        rows = []
        for _ in range(count):
            inner = np.sort(rng.choice(np.arange(1, 65536), int(rng.integers(1, widest)), replace=False))
            rows.append(np.concatenate([[0], inner, [65536]]))
        tables = CdfTables.from_flat(np.concatenate(rows), [len(r) for r in rows], rng.integers(-300, 300, count))
        indexes = torch.from_numpy(rng.integers(0, count, n).astype(np.uint8))
        symbols = tables.offset[indexes] + rng.integers(0, tables.length[indexes] - 2)
        symbols[rng.integers(0, n, 300)] = rng.integers(-(2**31), 2**31, 300)
        symbols = torch.from_numpy(symbols.astype(np.int32))
        data = rans.encode(symbols, indexes, tables)
        assert torch.equal(rans.decode(data, indexes, tables), symbols)
        digest.update(data)
    return _native.core().simd, digest.hexdigest()


@pytest.fixture(scope="module")
def expected():
    return run_cases()


@pytest.mark.parametrize("level", ["scalar", "avx2"])
def test_every_level_writes_the_same_bytes(level, expected):
    if _native.core().simd in ("scalar", level):
        pytest.skip(f"this machine has no level above {level}")
    paths = os.pathsep.join([str(Path(pylatent.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYLATENT_SIMD": level, "PYTHONPATH": paths}
    out = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == [level, expected[1]]


if __name__ == "__main__":
    print(*run_cases())
