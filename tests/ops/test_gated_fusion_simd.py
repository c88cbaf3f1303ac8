"""Every SIMD level of the gated fusion against the float64 reference, each in its own process, with 1 and 2 threads."""

import pytest
import torch
from simd_levels import EVERY_LEVEL, passes_at
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import gated_fusion
from pylatent.ops.gated_fusion import gated_fusion_reference

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


def run_cases() -> None:
    """Rows shorter and longer than a block of the kernel (256), in both layouts, forward and backward."""
    for dtype in DTYPES:
        for shape in ((2, 5, 7, 300, 3, 5), (1, 3, 4, 33, 17, 31)):
            for memory_format in (torch.contiguous_format, torch.channels_last):
                check(shape, dtype, memory_format)


def check(shape: tuple[int, ...], dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    b, cy, cs, c, h, w = shape
    inputs = [torch.randn(b, cy, h, w), torch.randn(b, cs, h, w)]
    inputs = [x.to(dtype, memory_format=memory_format) for x in inputs]
    inputs += [torch.randn(size).to(dtype) for size in ((c, cy), (c, cs), (c,), (c,))]
    exact = [t.clone().double().requires_grad_() for t in inputs]
    expected = gated_fusion_reference(*exact)
    grad = torch.randn(expected.shape).to(dtype)
    expected.backward(grad.double())
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        mine = [t.clone().requires_grad_() for t in inputs]
        out = gated_fusion(*mine, backend="native")
        out.backward(grad)
        assert_close(out, expected)
        for tensor, reference in zip(mine, exact, strict=True):
            assert_close(tensor.grad, reference.grad)
        results.append([mine[4].grad, mine[5].grad])
    for one, two in zip(*results, strict=True):
        assert_close(one, two.double())


@EVERY_LEVEL
def test_every_level(level):
    passes_at(level, __file__)


if __name__ == "__main__":
    run_cases()
    print(_native.core().simd)
