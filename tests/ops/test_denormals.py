"""No kernel computes with numbers below the normal ones, on any thread, and torch's own setting stays as it was."""

import pytest
import torch
from simd_levels import EVERY_LEVEL, passes_at

from pylatent import _native
from pylatent.ops import deform_conv2d, gated_fusion, gaussian_bits, neighborhood_attention, sga_sample
from pylatent.ops.sga_sample import _PARAMETERS

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")

SMALLEST = torch.finfo(torch.float32).smallest_normal
COUNT = 1 << 18  # enough for several threads


def denormals(*tensors):
    return sum(int(((t != 0) & (t.abs() < SMALLEST)).sum()) for t in tensors)


def random(*shape, scale=1.0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)) * scale


def results(function, *inputs):
    """The result and all gradients."""
    inputs = [tensor.requires_grad_() for tensor in inputs]
    out = function(*inputs)
    return [out.detach(), *torch.autograd.grad(out, inputs, torch.ones_like(out))]


def sga(method, classes, tau):
    def sample(v):
        generator = torch.Generator().manual_seed(1)
        return sga_sample(v, tau, method=method, classes=classes, generator=generator, backend="native")

    return results(sample, random(COUNT, scale=0.6))


def gaussian():
    return results(lambda q, scales: gaussian_bits(q, scales, backend="native"), random(COUNT), random(COUNT).exp())


def fusion(layout):
    """A gate that closes: v is about -85."""
    y, s = (random(1, 16, 128, 128).contiguous(memory_format=layout) for _ in range(2))
    weights, biases = [random(16, 16, scale=0.1) for _ in range(2)], [random(16), torch.full((16,), -85.0)]
    return results(lambda *inputs: gated_fusion(*inputs, backend="native"), y, s, *weights, *biases)[:1]


def deformed():
    """Of values that are below the normal numbers themselves."""
    x, offset = torch.full((1, 16, 64, 64), 2.0**-130), random(1, 18, 64, 64)
    return results(lambda x, offset: deform_conv2d(x, offset, torch.ones(16, 16, 3, 3), padding=1), x, offset)


def attended():
    """Of values that are below the normal numbers themselves."""
    q, k = (random(1, 40, 40, 1, 8) for _ in range(2))
    v = torch.full((1, 40, 40, 1, 8), 2.0**-130)
    return results(lambda q, k, v: neighborhood_attention(q, k, v, kernel=3, backend="native"), q, k, v)


def run_cases() -> None:
    kept = torch.full((1 << 20,), 2.0**-130)
    for threads in (1, 2):
        torch.set_num_threads(threads)
        for flush in (False, True) if threads == 1 else (False,):  # torch sets it on the calling thread alone
            torch.set_flush_denormal(flush)
            for method, classes in _PARAMETERS:
                for tau in (1.0, 0.15, 0.1):
                    assert denormals(*sga(method, classes, tau)) == 0, (method, classes, tau)
            assert denormals(*gaussian()) == 0
            for layout in (torch.contiguous_format, torch.channels_last):
                assert denormals(*fusion(layout)) == 0, layout
            assert deformed()[0].count_nonzero() == 0
            assert attended()[0].count_nonzero() == 0
            assert bool((kept * 1).count_nonzero() == 0) == flush, "torch's setting has changed"
        torch.set_flush_denormal(False)


@EVERY_LEVEL
def test_every_level(level):
    if not torch.set_flush_denormal(False):
        pytest.skip("this processor cannot flush them")
    passes_at(level, __file__)


if __name__ == "__main__":
    run_cases()
    print(_native.core().simd)
