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


pytestmark = pytest.mark.skipif(NVCC is None, reason="needs nvcc")


def ptx_of(file: Path, folder: Path) -> str:
    command = [
        str(NVCC),
        "-std=c++17",
        "-O3",
        "-arch=sm_90",
        f"-I{SOURCE / 'csrc'}",
        "-ptx",
        str(file),
        "-o",
        "out.ptx",
    ]
    subprocess.run(command, cwd=folder, check=True)
    return (folder / "out.ptx").read_text()


def test_vectors_are_moved_at_once(tmp_path: Path) -> None:
    (tmp_path / "copy.cu").write_text(KERNEL)
    moves = re.findall(r"\b(ld|st)\.global\.([\w.]+)", ptx_of(tmp_path / "copy.cu", tmp_path))
    assert len(moves) == 6
    assert all(kind.startswith("v4.") for _, kind in moves), moves


def test_integer_convolutions_load_16_bytes_and_multiply_bytes(tmp_path: Path) -> None:
    ptx = ptx_of(SOURCE / "csrc" / "integer_conv" / "conv_cuda.cu", tmp_path)
    assert {kind for kind in re.findall(r"\bld\.global\.([\w.]+)", ptx)} == {"v4.u32", "v2.u64"}
    assert {kind for kind in re.findall(r"\bcp\.async\.(c[ag])", ptx)} == {"cg"}
    assert "ld.local" not in ptx
    products = {kind for kind in re.findall(r"\bmma\.sync\.aligned\.m16n8k32\.row\.col\.([\w.]+)", ptx)}
    assert products == {f"s32.{a}.{b}.s32" for a in ("s8", "u8") for b in ("s8", "u8")}
