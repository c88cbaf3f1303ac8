"""The counters, against kernels whose traffic is known by hand."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
import torch


@pytest.fixture
def counting(kernels: ModuleType) -> Iterator[ModuleType]:
    kernels.reset_counters()
    kernels.count(True)
    yield kernels
    kernels.count(False)
    kernels.reset_counters()


def only(kernels: ModuleType) -> dict[str, int]:
    (counts,) = kernels.counters()
    return counts


@pytest.mark.parametrize("seed", range(4))
def test_a_streaming_kernel_moves_each_byte_once(counting: ModuleType, seed: int) -> None:
    x, out = torch.zeros(1000), torch.zeros(1000)
    counting.set_seed(seed)
    counting.swap_pairs(x.data_ptr(), out.data_ptr(), 1000, 256, 0)
    counts = only(counting)
    assert (counts["name"], counts["threads"], counts["shared_bytes"]) == ("swap", 256, 1024)
    assert (counts["launches"], counts["blocks"]) == (1, 4)
    assert (counts["bytes_read"], counts["bytes_written"], counts["bytes_needed"]) == (4000, 4000, 8000)
    assert counts["global_sectors"] == counts["global_sectors_ideal"] == 250
    assert counts["shared_turns"] == counts["shared_turns_ideal"] == 4 * 8 * 2


def test_atomics_are_counted_apart(counting: ModuleType) -> None:
    x, counts = torch.zeros(128, dtype=torch.int32), torch.zeros(16, dtype=torch.int32)
    counting.histogram(x.data_ptr(), counts.data_ptr(), 128, 16, 0)
    assert (only(counting)["bytes_read"], only(counting)["bytes_added"]) == (512, 64)


@pytest.mark.parametrize("seed", range(4))
def test_a_product(counting: ModuleType, seed: int) -> None:
    m, n, k = 64, 96, 32
    a, b, out = torch.zeros(m, k).bfloat16(), torch.zeros(k, n).bfloat16(), torch.zeros(m, n)
    counting.set_seed(seed)
    counting.product(a.data_ptr(), b.data_ptr(), out.data_ptr(), m, n, k, 3, 0)
    counts = only(counting)
    blocks = (m // 32) * (n // 32)
    assert counts["blocks"] == blocks
    assert counts["mma_16bit"] == m * n * k // (16 * 8 * 16)
    assert counts["ldmatrix"] == blocks * 4 * 2 * 3
    assert counts["bytes_read"] == blocks * 2 * (32 * 16 + 16 * 32) * 2
    assert counts["bytes_written"] == 2 * m * n * 4  # neighbours are stored by two instructions, half a sector each
    assert counts["bytes_needed"] == (m * k + k * n) * 2 + m * n * 4
    # Eight rows take one turn if they are in eight different eighths of a 128-byte line: 32 bytes apart, they are in
    # four, 64 bytes apart in two.
    assert counts["ldmatrix_turns_ideal"] == blocks * 4 * 2 * (4 + 2 * 2)
    assert counts["ldmatrix_turns"] == blocks * 4 * 2 * (4 * 2 + 2 * 2 * 4)
