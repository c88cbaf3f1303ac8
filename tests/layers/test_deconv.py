import torch

from pylatent.layers.deconv import FewOutputsDeconv, deconv_by_phases


def test_phases_are_the_transposed_convolution():
    torch.manual_seed(0)
    layer = FewOutputsDeconv(6, 3).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = torch.nn.functional.conv_transpose2d(x, layer.weight, layer.bias, 2, 2, 1)
    torch.testing.assert_close(deconv_by_phases(layer, x), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    assert layer(x).requires_grad


def test_frozen_weights_leave_the_gradient_of_the_input():
    torch.manual_seed(1)
    layer = FewOutputsDeconv(6, 3).double()
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 3, 10, 14, dtype=torch.float64)
    (expected,) = torch.autograd.grad(layer(x), x, grad)
    layer.requires_grad_(False)
    (got,) = torch.autograd.grad(layer(x), x, grad)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
