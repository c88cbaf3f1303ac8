"""What nvcc makes of the vocabulary of kernels, where it is installed: the emulator runs what g++ makes of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2]
NVCC = shutil.which("nvcc")

KERNEL = """
#include "common/device.h"

template <class T, int N>
__global__ void copy(pylatent::Global<const T> from, pylatent::Global<T> to) {
  pylatent::store_vec(to + N * threadIdx.x, pylatent::load_vec<N>(from + N * threadIdx.x));
}
template __global__ void copy<float, 4>(const float*, float*);
template __global__ void copy<pylatent::f16, 8>(const pylatent::f16*, pylatent::f16*);
template __global__ void copy<pylatent::bf16, 8>(const pylatent::bf16*, pylatent::bf16*);
"""


@pytest.mark.skipif(NVCC is None, reason="needs nvcc")
def test_vectors_are_moved_at_once(tmp_path: Path) -> None:
    (tmp_path / "copy.cu").write_text(KERNEL)
    command = [
        str(NVCC),
        "-std=c++17",
        "-O3",
        "-arch=sm_90",
        f"-I{SOURCE / 'csrc'}",
        "-ptx",
        "copy.cu",
        "-o",
        "copy.ptx",
    ]
    subprocess.run(command, cwd=tmp_path, check=True)
    moves = re.findall(r"\b(ld|st)\.global\.([\w.]+)", (tmp_path / "copy.ptx").read_text())
    assert len(moves) == 6
    assert all(kind.startswith("v4.") for _, kind in moves), moves
