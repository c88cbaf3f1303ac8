import math
from statistics import NormalDist

import pytest
import torch

from pylatent._bounds import lower_bound
from pylatent.entropy.gaussian import default_scales, gaussian_bits


@pytest.mark.parametrize("q", [0.0, 1.0, -3.0, 0.25])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.5])
def test_bits_are_the_mass_of_the_unit_bin(q, scale):
    normal = NormalDist(0, scale)
    mass = max(normal.cdf(abs(q) * -1 + 0.5) - normal.cdf(abs(q) * -1 - 0.5), 1e-9)
    got = gaussian_bits(torch.tensor([q], dtype=torch.float32), torch.tensor([scale]))
    assert float(got) == pytest.approx(-math.log2(mass), rel=2e-4, abs=1e-5)


def test_scales_below_the_bound_cost_as_much_as_the_bound():
    q = torch.tensor([0.0, 1.0])
    torch.testing.assert_close(gaussian_bits(q, torch.full((2,), 0.01)), gaussian_bits(q, torch.full((2,), 0.11)))


def test_gradients_agree_with_finite_differences():
    q = torch.tensor([0.3, -1.2, 2.0], requires_grad=True)
    scale = torch.tensor([0.5, 1.0, 3.0], requires_grad=True)
    gaussian_bits(q, scale).sum().backward()
    for tensor, other, first in ((q, scale, True), (scale, q, False)):
        for i in range(3):
            step = torch.zeros(3)
            step[i] = 1e-2
            with torch.no_grad():
                ends = [
                    gaussian_bits(*((q + s, scale) if first else (q, scale + s))).double().sum() for s in (step, -step)
                ]
            assert float(tensor.grad[i]) == pytest.approx(float(ends[0] - ends[1]) / 2e-2, rel=2e-2, abs=2e-3)
        assert other.grad is not None


def test_lower_bound_lets_the_gradient_out_of_the_bound_only_upwards():
    x = torch.tensor([0.0, 0.0, 2.0, 2.0], requires_grad=True)
    (lower_bound(x, 1.0) * torch.tensor([1.0, -1.0, 1.0, -1.0])).sum().backward()
    assert x.grad.tolist() == [0.0, -1.0, 1.0, -1.0]


def test_the_64_scales():
    scales = default_scales()
    assert len(scales) == 64
    assert float(scales[0]) == pytest.approx(0.11, rel=1e-6)
    assert float(scales[-1]) == pytest.approx(256, rel=1e-6)
