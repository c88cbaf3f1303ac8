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


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize(
    ("dtype", "rtol"), [(torch.float64, 1e-10), (torch.float32, 1e-4), (torch.bfloat16, 5e-2)], ids=str
)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
def test_frozen_gdn_has_the_gradient_of_the_trained_one(inverse, dtype, rtol, memory_format):
    torch.manual_seed(1)
    layer = GDN(6, inverse=inverse).double()
    with torch.no_grad():
        layer.gamma.uniform_(0.1, 0.6)
        layer.beta.uniform_(0.5, 1.5)
    x = torch.randn(2, 6, 5, 7, dtype=torch.float64).to(memory_format=memory_format).requires_grad_()
    grad = torch.randn(2, 6, 5, 7, dtype=torch.float64)
    expected = torch.autograd.grad(layer(x), x, grad)[0]
    frozen = layer.to(dtype).requires_grad_(False)
    low = x.detach().to(dtype).requires_grad_()
    output = frozen(low)
    assert output.dtype == dtype
    (got,) = torch.autograd.grad(output, low, grad.to(dtype))
    torch.testing.assert_close(got.double(), expected, rtol=rtol, atol=rtol)


def test_frozen_gdn_under_autocast_keeps_the_precision_of_its_input():
    layer = GDN(4).requires_grad_(False)
    x = torch.randn(1, 4, 3, 3, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(x)
    torch.testing.assert_close(output, layer(x), rtol=0, atol=0)
    output.sum().backward()
    assert x.grad.dtype == torch.float32
