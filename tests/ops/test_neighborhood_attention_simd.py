"""Every SIMD level of neighborhood_attention against brute force, each in its own process, with 1 and 2 threads."""

import pytest
import torch
from simd_levels import EVERY_LEVEL, passes_at
from tolerances import assert_close
from windows import attend_to_all

from pylatent import _native
from pylatent.ops import neighborhood_attention

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

# Tiles that are borders on both sides, on one, and the interior; an odd number of rows; lanes left over.
SHAPES = [((1, 3, 3, 1, 1), 3, 1), ((1, 9, 37, 2, 5), 7, 1), ((2, 13, 15, 1, 16), 13, 1), ((1, 11, 40, 1, 9), 5, 2)]


def run_cases() -> None:
    generator = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for shape, kernel, dilation in SHAPES:
            inputs = [torch.randn(shape, generator=generator).to(dtype) for _ in range(3)]
            inputs.append(torch.randn(shape[3], 2 * kernel - 1, 2 * kernel - 1, generator=generator))
            exact = [x.double().requires_grad_() for x in inputs]
            expected = attend_to_all(*exact, kernel, dilation, shape[4] ** -0.5)
            grad = torch.randn(shape, generator=generator).to(dtype)
            expected.backward(grad.double())
            for threads in (1, 2):
                torch.set_num_threads(threads)
                mine = [x.clone().requires_grad_() for x in inputs]
                out = neighborhood_attention(*mine, kernel=kernel, dilation=dilation, backend="native")
                out.backward(grad)
                assert_close(out, expected)
                for tensor, reference in zip(mine, exact, strict=True):
                    assert_close(tensor.grad, reference.grad)


@EVERY_LEVEL
def test_every_level(level):
    passes_at(level, __file__)


if __name__ == "__main__":
    run_cases()
    print(_native.core().simd)
