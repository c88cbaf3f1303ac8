"""patch(model): what it replaces and leaves, the same results and strings, and no trace after unpatch."""

import copy
import pickle

import pytest
import torch
from extras import extra
from torch import nn

from pylatent import _native, layers, patch, unpatch
from pylatent.compat._patched import Patched

needs_native = pytest.mark.skipif(_native.why_not_native() is not None, reason=str(_native.why_not_native()))


@pytest.fixture
def torchvision():
    return extra("torchvision")


@pytest.fixture
def compressai():
    return extra("compressai.models")


def test_a_model_without_anything_to_replace():
    report = patch(nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()))
    assert (report.replaced, report.left) == ((), ())
    assert str(report) == "the model has no deformable convolution, gated fusion or CompressAI entropy model"


def test_our_own_layers_are_left():
    model = nn.ModuleDict({"fuse": layers.GatedFusion(2, 2, 2), "align": layers.DeformConv2d(2, 2, 3)})
    report = patch(model)
    assert [part.name for part in report.left] == ["fuse", "align"]
    assert {part.what for part in report.left} == {"it is pylatent's own"}


def test_wrong_argument():
    with pytest.raises(TypeError, match="`model` must be an nn.Module, got list"):
        patch([])


def test_without_native_core(torchvision, monkeypatch):
    monkeypatch.setattr(_native, "_reason", "PYLATENT_PURE is set")
    report = patch(torchvision.ops.DeformConv2d(2, 2, 3))
    assert report.replaced == ()
    assert report.left[0].what == "the native core is not available: PYLATENT_PURE is set"


class Deforming(nn.Module):
    def __init__(self, torchvision):
        super().__init__()
        self.offsets = nn.Conv2d(4, 18, 3, padding=1)
        self.deform = torchvision.ops.DeformConv2d(4, 6, 3, padding=1)

    def forward(self, x):
        return self.deform(x, self.offsets(x))


@needs_native
def test_torchvision(torchvision):
    torch.manual_seed(0)
    model, x = Deforming(torchvision), torch.randn(2, 4, 9, 7)
    expected, state, seen = model(x), copy.deepcopy(model.state_dict()), []
    model.deform.register_forward_hook(lambda *arguments: seen.append(1))
    report = patch(model)
    assert [(part.name, part.kind) for part in report.replaced] == [("deform", "DeformConv2d")]
    assert str(report) == "replaced  deform  DeformConv2d  computes with pylatent.ops.deform_conv2d"
    assert isinstance(model.deform, torchvision.ops.DeformConv2d)
    assert repr(model.deform) == repr(torchvision.ops.DeformConv2d(4, 6, 3, padding=1))
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    torch.testing.assert_close(model(x), expected)
    assert seen == [1]
    again = patch(model)
    assert (again.replaced, again.left[0].what) == ((), "it is patched already")
    assert unpatch(model) == 1
    assert type(model.deform) is torchvision.ops.DeformConv2d
    assert torch.equal(model(x), expected)
    assert unpatch(model) == 0


@needs_native
def test_the_native_kernel_runs(torchvision, monkeypatch):
    from pylatent.compat import torchvision as compat

    model = Deforming(torchvision)
    patch(model)
    monkeypatch.setattr(compat.ops, "deform_conv2d", lambda *arguments: "ours")
    assert model(torch.randn(1, 4, 5, 5)) == "ours"


@needs_native
def test_copies_are_patched_too(torchvision):
    model, x = torchvision.ops.DeformConv2d(2, 2, 3), torch.randn(1, 2, 5, 5)
    offset = torch.randn(1, 18, 3, 3)
    patch(model)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert isinstance(other, Patched)
        assert torch.equal(other(x, offset), model(x, offset))
        other.weight.data.zero_()
        unpatch(other)
        assert type(other) is torchvision.ops.DeformConv2d
    assert model.weight.any()


@needs_native
def test_what_is_left_says_why(torchvision, compressai):
    class Mine(torchvision.ops.DeformConv2d):
        pass

    class Calling(nn.Module):
        def forward(self, x, offset):
            return torchvision.ops.deform_conv2d(x, offset, self.weight)

    models = [Mine(2, 2, 3), Calling(), compressai.JointAutoregressiveHierarchicalPriors(8, 12)]
    report = patch(nn.ModuleList(models))
    reasons = {part.kind: part.what for part in report.left}
    assert "only torchvision's DeformConv2d itself" in reasons["Mine"]
    assert "it calls torchvision's function by name" in reasons["Calling"]
    assert "its methods name CompressAI's coder" in reasons["JointAutoregressiveHierarchicalPriors"]
    assert {part.kind for part in report.replaced} == {"EntropyBottleneck", "GaussianConditional"}


@needs_native
def test_compressai(compressai):
    from test_compressai_install import small

    model = small(compressai, "MeanScaleHyperprior")
    x = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, strings = model(x), model.compress(x)
        pixels = model.decompress(**strings)["x_hat"]
    gradients = likelihood_gradients(model, x)
    report = patch(model)
    assert [part.name for part in report.replaced] == ["entropy_bottleneck", "gaussian_conditional"]
    with torch.no_grad():
        ours = model(x)
        assert model.compress(x) == strings
        assert torch.equal(model.decompress(**strings)["x_hat"], pixels)
    assert torch.equal(ours["x_hat"], expected["x_hat"])
    for name, likelihoods in expected["likelihoods"].items():
        torch.testing.assert_close(ours["likelihoods"][name], likelihoods, rtol=2e-4, atol=2e-8)
    for ours_gradient, gradient in zip(likelihood_gradients(model, x), gradients, strict=True):
        scale = gradient.abs().max()
        torch.testing.assert_close(ours_gradient / scale, gradient / scale, rtol=1e-3, atol=1e-4)
    assert unpatch(model) == 2
    with torch.no_grad():
        assert model.compress(x) == strings


def likelihood_gradients(model, x):
    loss = -model(x)["likelihoods"]["y"].log().sum()
    return torch.autograd.grad(loss, [model.h_s[0].weight, model.h_s[-1].weight])


@needs_native
def test_other_bounds_are_left(compressai):
    from compressai.entropy_models import GaussianConditional

    report = patch(GaussianConditional([0.5, 1.0], scale_bound=0.5))
    assert report.left[0].what == "its lower bound of the scale is 0.5, and the fused kernel has 0.11"
