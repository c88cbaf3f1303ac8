"""A test file that is a program, run at each SIMD level: kernels are chosen once in a process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pylatent
from pylatent import _native

LEVELS = ["scalar", "avx2", "avx512"]
EVERY_LEVEL = pytest.mark.parametrize("level", LEVELS)


def passes_at(level: str, program: str) -> None:
    """Runs it with the kernels of `level`, which is all that it may print; skips what this machine lacks."""
    if LEVELS.index(level) > LEVELS.index(_native.core().simd):
        pytest.skip(f"this machine has {_native.core().simd} at most")
    folders = [Path(pylatent.__file__).parents[1], Path(__file__).parent, Path(program).parent]
    environment = os.environ | {"PYLATENT_SIMD": level, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    out = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == [level]
