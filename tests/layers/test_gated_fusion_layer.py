import pytest
import torch
from tolerances import assert_close

from pylatent import _native
from pylatent.layers import GatedFusion


@pytest.fixture
def inputs():
    torch.manual_seed(0)
    return torch.randn(2, 6, 4, 5), torch.rand(2, 3, 4, 5) * 4


@pytest.mark.parametrize("log_scales", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_layer_is_equation_1(inputs, log_scales, bias):
    y, s = inputs
    layer = GatedFusion(6, 3, 8, log_scales=log_scales, bias=bias)
    exact = GatedFusion(6, 3, 8, log_scales=log_scales, bias=bias).double()
    exact.load_state_dict(layer.state_dict())
    scales = s.double().clamp_min(0.11).log() if log_scales else s.double()
    expected = torch.sigmoid(exact.gate(scales)) * exact.latent(y.double())
    assert_close(layer(y, s), expected)
    assert (layer.gate.bias is not None) == bias


def test_scales_of_zero_have_a_finite_logarithm(inputs):
    layer = GatedFusion(6, 3, 8, log_scales=True)
    assert torch.isfinite(layer(inputs[0], torch.zeros_like(inputs[1]))).all()


def test_gradients_reach_all_parameters(inputs):
    layer = GatedFusion(6, 3, 8, log_scales=True)
    layer(*inputs).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_layer_exports(inputs):
    layer = GatedFusion(6, 3, 8, log_scales=True).eval()
    batch, height = torch.export.Dim("batch", min=2), torch.export.Dim("height", min=2)
    dims = {0: batch, 2: height}
    with torch.no_grad():
        program = torch.export.export(layer, inputs, dynamic_shapes=(dims, dims))
        exported = any("pylatent.gated_fusion" in str(node.target) for node in program.graph.nodes)
        assert exported == (_native.why_not_native() is None)
        other = torch.randn(3, 6, 7, 5), torch.rand(3, 3, 7, 5)
        torch.testing.assert_close(program.module()(*other), layer(*other))


def test_layer_compiles_without_graph_breaks(inputs):
    layer = GatedFusion(6, 3, 8, log_scales=True)
    compiled = torch.compile(layer, fullgraph=True)
    torch.testing.assert_close(compiled(*inputs), layer(*inputs))
