"""Every SIMD level of gaussian_bits against the float64 reference, each in its own process, with 1 and 2 threads."""

import pytest
import torch
from simd_levels import EVERY_LEVEL, passes_at
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import gaussian_bits
from pylatent.ops.gaussian_bits import gaussian_bits_reference

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")


def run_cases() -> None:
    """Sizes around those of vectors, buffers and tasks, every dtype, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for size in (1, 15, 64, 511, 16384 + 700):
            scales = torch.exp(torch.randn(size, generator=generator) * 2).to(dtype)
            q = (torch.randn(size, generator=generator) * scales).to(dtype)
            exact = [x.double().requires_grad_() for x in (q, scales)]
            expected = gaussian_bits_reference(*exact)
            grad = torch.randn(size, generator=generator)
            expected.backward(grad.double())
            for threads in (1, 2):
                torch.set_num_threads(threads)
                mine = [x.clone().requires_grad_() for x in (q, scales)]
                bits = gaussian_bits(*mine, backend="native")
                bits.backward(grad)
                assert_close(bits, expected)
                for tensor, reference in zip(mine, exact, strict=True):
                    assert_close(tensor.grad, reference.grad)


@EVERY_LEVEL
def test_every_level(level):
    passes_at(level, __file__)


if __name__ == "__main__":
    run_cases()
    print(_native.core().simd)
