"""Every SIMD level of sga_sample draws the same noise: each in its own process, with 1 and 2 threads."""

import pytest
import torch
from philox import gumbel_noise
from simd_levels import EVERY_LEVEL, passes_at
from tolerances import assert_close

from pylatent import _native
from pylatent.ops import sga_sample
from pylatent.ops.sga_sample import _PARAMETERS, sga_sample_reference

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")


def run_cases() -> None:
    """Sizes around those of vectors, buffers and tasks, every method and dtype, against the noise as documented."""
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        for size in (1, 15, 65, 16384 + 700) if dtype == torch.float32 else (65,):
            v = (torch.randn(size, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
            key = torch.randint(0, 2**63 - 1, (2,), generator=torch.Generator().manual_seed(1))
            grad = torch.randn(size, generator=torch.Generator().manual_seed(2)).to(dtype)
            for (method, classes), parameters in _PARAMETERS.items():
                exact = v.double().requires_grad_()
                noise = gumbel_noise(key, classes, size)
                expected = sga_sample_reference(exact, 0.5, noise, method=method, **parameters)
                expected.backward(grad.double())
                for threads in (1, 2):
                    torch.set_num_threads(threads)
                    mine = v.clone().requires_grad_()
                    generator = torch.Generator().manual_seed(1)
                    out = sga_sample(mine, 0.5, method=method, classes=classes, generator=generator, backend="native")
                    out.backward(grad)
                    assert_close(out, expected)
                    assert_close(mine.grad, exact.grad)


@EVERY_LEVEL
def test_every_level(level):
    passes_at(level, __file__)


if __name__ == "__main__":
    run_cases()
    print(_native.core().simd)
