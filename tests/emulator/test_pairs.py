from __future__ import annotations

import emulation
import pytest
import torch


@pytest.fixture
def kernels():
    return emulation.module("_emulator_kernels")


def test_partial_blocks(kernels) -> None:
    x, out = torch.randn(1000), torch.zeros(1000)
    for seed in range(5):
        kernels.set_seed(seed)
        kernels.swap_pairs(x.data_ptr(), out.zero_().data_ptr(), 1000, 96, 0)
        assert torch.equal(out.view(-1, 2).flip(1).flatten(), x)
