"""Models of torchvision with and without `install()`: the same results, and no trace afterwards."""

import sys
import types

import pytest
import torch
from extras import extra

from pylatent import _native
from pylatent.compat import torchvision as compat

pytestmark = pytest.mark.skipif(_native.why_not_native() is not None, reason="install() needs the native core")


def test_without_torchvision(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision.ops", None)
    with pytest.raises(ImportError, match=r"needs torchvision \(pip install torchvision\)"):
        compat.install()


def test_without_native_core(monkeypatch):
    monkeypatch.setattr(_native, "_reason", "PYLATENT_PURE is set")
    with pytest.raises(RuntimeError, match="PYLATENT_PURE is set"):
        compat.install()


def test_uninstall_needs_install():
    with pytest.raises(RuntimeError, match="`install` must be called first"):
        compat.uninstall()


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, True),
        ("cuda", torch.float32, False),
        ("cuda", torch.float16, False),
        ("cuda", torch.bfloat16, True),
    ],
    ids=str,
)
def test_what_torchvision_does_faster_stays_there(monkeypatch, device, dtype, expected):
    monkeypatch.setattr(compat, "_why_not_native", lambda input: None)
    tensor = types.SimpleNamespace(is_cuda=device == "cuda", dtype=dtype)  # there may be no device
    assert compat._is_faster_here(tensor) is expected


@pytest.fixture
def ops():
    return extra("torchvision.ops")


@pytest.fixture
def calls(monkeypatch):
    """The arguments of the calls that reach our operator."""
    seen = []
    ours = compat.ops.deform_conv2d

    def counted(*args, **kwargs):
        seen.append(args)
        return ours(*args, **kwargs)

    monkeypatch.setattr(compat.ops, "deform_conv2d", counted)
    return seen


@pytest.fixture
def model(monkeypatch):
    """A module of a user's that has imported torchvision's function by name."""
    module = types.ModuleType("a_users_model")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec("from torchvision.ops import deform_conv2d", vars(module))
    return module


def test_layer_and_imported_names(ops, model, calls):
    torch.manual_seed(0)
    layer = ops.DeformConv2d(4, 6, 3, padding=1)
    x, offset, mask = torch.randn(2, 4, 6, 5), torch.randn(2, 18, 6, 5), torch.rand(2, 9, 6, 5)
    theirs = ops.deform_conv2d
    expected = layer(x, offset, mask)
    with compat.installed():
        torch.testing.assert_close(layer(x, offset, mask), expected, rtol=1e-4, atol=1e-5)
        assert len(calls) == 1
        again = model.deform_conv2d(x, offset, layer.weight, layer.bias, 1, 1, mask=mask)
        torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5)
        assert len(calls) == 2
        exec("from torchvision.ops import deform_conv2d as late", vars(model))
        assert ops.deform_conv2d is model.deform_conv2d is model.late is not theirs
    assert (
        ops.deform_conv2d
        is model.deform_conv2d
        is model.late
        is sys.modules["torchvision.ops.deform_conv"].deform_conv2d
        is theirs
    )
    assert torch.equal(layer(x, offset, mask), expected)
    assert len(calls) == 2


def test_gradients(ops, calls):
    torch.manual_seed(0)
    layer = ops.DeformConv2d(4, 6, 3, padding=1)
    inputs = [torch.randn(1, 4, 6, 5), torch.randn(1, 18, 6, 5), torch.rand(1, 9, 6, 5)]
    inputs = [t.requires_grad_() for t in inputs]
    theirs = torch.autograd.grad(layer(*inputs).square().sum(), [*inputs, *layer.parameters()])
    with compat.installed():
        ours = torch.autograd.grad(layer(*inputs).square().sum(), [*inputs, *layer.parameters()])
    assert len(calls) == 1
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_what_we_have_no_kernel_for_goes_to_torchvision(ops, calls, monkeypatch):
    with compat.installed():
        monkeypatch.setattr(_native, "_reason", "the native module is gone")
        ops.deform_conv2d(torch.randn(1, 2, 4, 4), torch.randn(1, 18, 2, 2), torch.randn(3, 2, 3, 3))
    assert not calls


def test_calls_nest(ops):
    theirs = ops.deform_conv2d
    compat.install()
    ours = ops.deform_conv2d
    compat.install()
    compat.uninstall()
    assert ops.deform_conv2d is ours
    compat.uninstall()
    assert ops.deform_conv2d is theirs
