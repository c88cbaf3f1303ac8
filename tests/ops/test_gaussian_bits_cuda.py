"""Paths of the elementwise CUDA kernels that sizes and layouts of ordinary tests do not reach."""

from __future__ import annotations

import emulation
import pytest
import torch
from test_gaussian_bits import DTYPES, check, tensors

from pylatent import _native
from pylatent.ops import gaussian_bits

pytestmark = pytest.mark.parametrize("device", ["cuda", "cuda-emulated-0"], indirect=True)


def test_more_elements_than_the_grid_has_threads(device):
    if _native.is_emulated():
        emulation.module("_emulated").set_multiprocessors(1)
    try:
        check(*tensors(device, (21003,)))
    finally:
        if _native.is_emulated():
            emulation.module("_emulated").set_multiprocessors(4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("unaligned", ["q", "scales", "the gradient"])
def test_views_that_are_not_aligned(device, unaligned, dtype):
    def place(name, x):
        room = torch.empty(x.numel() + 1, dtype=x.dtype, device=x.device)
        return room[1:].copy_(x) if name == unaligned else x

    def run(place):
        q, scales = (
            place(name, x).requires_grad_()
            for name, x in zip(("q", "scales"), tensors(device, (130,), dtype), strict=True)
        )
        bits = gaussian_bits(q, scales, backend="native")
        grad = place("the gradient", torch.ones_like(q, dtype=torch.float32))
        return [bits.detach(), *torch.autograd.grad(bits, (q, scales), grad)]

    for found, expected in zip(run(place), run(lambda name, x: x), strict=True):
        assert torch.equal(found, expected)
