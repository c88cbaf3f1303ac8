"""Every SIMD level of the deformable convolution against the float64 reference, each in its own process."""

import pytest
import torch
from deform_conv2d_cases import Case, random_cases
from simd_levels import EVERY_LEVEL, passes_at
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import deform_conv2d

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

# Channels around the widths of the vectors, and more outputs than are computed together.
CASES = [Case(channels=c, out_channels=9, size=(5, 9), batch=1) for c in (1, 7, 8, 9, 15, 16, 17, 23, 33)]


def check(case: Case, dtype: torch.dtype) -> None:
    results = []
    for backend, kind in (("native", dtype), ("torch", torch.float64)):
        tensors = [None if t is None else t.to(kind).requires_grad_() for t in case.tensors(dtype=dtype)]
        input, offset, weight, bias, mask = tensors
        out = deform_conv2d(input, offset, weight, bias, mask=mask, **case.geometry, backend=backend)
        out.backward(torch.linspace(-0.5, 1.5, out.numel(), dtype=torch.float64).view_as(out).to(out))
        results.append([out.detach(), *(t.grad for t in tensors if t is not None)])
    for got, expected in zip(*results, strict=True):
        assert_close(got, expected, name=f"a result of {case}")


@EVERY_LEVEL
def test_every_level(level):
    passes_at(level, __file__)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for case in [*CASES, *random_cases(40, seed=4, most=9)]:
        for dtype in (torch.float32, torch.float64):
            check(case, dtype)
    print(_native.core().simd)
