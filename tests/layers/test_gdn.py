import pytest
import torch

from pylatent.layers.gdn import GDN


@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_is_its_formula(inverse):
    torch.manual_seed(0)
    layer = GDN(5, inverse=inverse).double()
    with torch.no_grad():
        layer.gamma.uniform_(0.01, 0.5)
        layer.beta.uniform_(0.5, 1.5)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    beta, gamma = layer.beta**2 - 2.0**-36, layer.gamma**2 - 2.0**-36
    norm = torch.sqrt(beta.view(1, 5, 1, 1) + torch.einsum("ij,bjhw->bihw", gamma, x**2))
    expected = x * norm if inverse else x / norm
    torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), expected, rtol=1e-12, atol=1e-12)


def test_parameters_at_their_bound_can_still_grow():
    layer = GDN(2)
    with torch.no_grad():
        layer.gamma.zero_()
    (-layer(torch.randn(1, 2, 4, 4)).pow(2).sum()).backward()  # a smaller output is worse: gamma should stay down
    assert torch.all(layer.gamma.grad == 0)
    layer.gamma.grad = None
    layer(torch.randn(1, 2, 4, 4)).pow(2).sum().backward()  # a smaller output is better: gamma may rise
    assert torch.all(layer.gamma.grad < 0)
