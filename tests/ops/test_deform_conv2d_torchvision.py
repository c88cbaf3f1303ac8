"""ops.deform_conv2d reproduces torchvision: its results in a file, and random calls where it is installed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from deform_conv2d_cases import GOLDEN, NAMES, Case, golden_cases, random_cases
from extras import extra
from test_deform_conv2d import skip_without_kernels
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import deform_conv2d


def run(function, case: Case, dtype: torch.dtype, device="cpu", **options) -> dict[str, torch.Tensor]:
    """The result and all gradients, for a gradient that differs from pixel to pixel."""
    tensors = [None if t is None else t.requires_grad_() for t in case.tensors(device, dtype)]
    input, offset, weight, bias, mask = tensors
    out = function(input, offset, weight, bias, mask=mask, **case.geometry, **options)
    (out * torch.linspace(-0.5, 1.5, out.numel(), dtype=torch.float64).view_as(out).to(out)).sum().backward()
    grads = {name: t.grad for name, t in zip(NAMES, tensors, strict=True) if t is not None}
    return {"out": out.detach(), **grads}


def check_golden(results, i: int) -> None:
    with np.load(GOLDEN) as golden:
        expected = {name: torch.from_numpy(golden[f"{i} {name}"]).double() for name in results}
    for name, tensor in results.items():
        assert_close(tensor, expected[name], torch.float32, name)


@pytest.mark.parametrize("i", range(len(golden_cases())))
def test_golden_results_of_the_reference(i):
    check_golden(run(deform_conv2d, golden_cases()[i], torch.float64, backend="torch"), i)


@pytest.mark.parametrize("i", range(len(golden_cases())))
def test_golden_results(device, i):
    skip_without_kernels(device)
    check_golden(run(deform_conv2d, golden_cases()[i], torch.float32, device, backend="native"), i)


@pytest.mark.parametrize(("backend", "seed"), [("torch", 0), *(("native", seed) for seed in range(10))])
def test_a_hundred_random_calls(backend, seed):
    theirs = extra("torchvision.ops").deform_conv2d
    if backend == "native" and _native.why_not_native() is not None:
        pytest.skip(_native.why_not_native())
    for case in random_cases(100, seed, most=9):
        expected = run(theirs, case, torch.float64)
        for dtype in (torch.float64, torch.float32):
            for name, tensor in run(deform_conv2d, case, dtype, backend=backend).items():
                assert_close(tensor, expected[name], name=f"{name} of {case}")
