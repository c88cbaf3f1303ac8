"""What looks at torch's dispatcher sees the operators, which pass it by elsewhere; vmap runs the references."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from pylatent import _native, ops

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="needs the native core")


def residual():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 4, generator=generator), torch.rand(2, 3, 4, generator=generator) + 0.2


class Seen(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


def test_a_mode_sees_both_passes():
    q, scales = (each.requires_grad_() for each in residual())
    with Seen() as seen:
        ops.gaussian_bits(q, scales).sum().backward()
    assert "pylatent.gaussian_bits.default" in seen.names
    assert "pylatent.gaussian_bits_backward.default" in seen.names


@pytest.mark.parametrize("mode", ["real", "fake"])
def test_a_tracer_records_the_operator(mode):
    traced = make_fx(lambda q, scales: ops.gaussian_bits(q, scales), tracing_mode=mode)(*residual())
    assert "pylatent.gaussian_bits.default" in str(traced.graph)
    assert_close(traced(*residual()), ops.gaussian_bits(*residual()))


def test_torch_jit_records_the_operator():
    traced = torch.jit.trace(lambda q, scales: ops.gaussian_bits(q, scales), residual())
    assert "pylatent::gaussian_bits" in str(traced.graph)


def test_a_parameter_is_no_other_kind_of_tensor():
    q, scales = residual()
    assert_close(ops.gaussian_bits(torch.nn.Parameter(q), scales).detach(), ops.gaussian_bits(q, scales))


def test_vmap_runs_the_reference():
    generator = torch.Generator().manual_seed(0)
    y, s, weight = (torch.randn(shape, generator=generator) for shape in ((3, 1, 6, 4, 5), (3, 1, 6, 4, 5), (8, 6)))
    assert_close(
        torch.vmap(lambda *each: ops.gated_fusion(*each, weight, weight))(y, s),
        torch.stack([ops.gated_fusion(*each, weight, weight) for each in zip(y, s, strict=True)]),
    )
    loss = torch.func.grad(lambda *each: ops.gated_fusion(*each, weight, weight).square().sum())
    of_one = y[1].clone().requires_grad_()
    ops.gated_fusion(of_one, s[1], weight, weight).square().sum().backward()
    assert_close(torch.vmap(loss)(y, s)[1], of_one.grad)
    with pytest.raises(RuntimeError, match="no native kernels for the tensors of vmap"):
        torch.vmap(lambda *each: ops.gated_fusion(*each, weight, weight, backend="native"))(y, s)
