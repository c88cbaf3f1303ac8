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
