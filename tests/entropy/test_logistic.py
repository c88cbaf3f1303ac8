import math

import numpy as np
import pytest
import torch
from tolerances import assert_close

from pylatent.entropy.logistic import LogisticPrior, logistic_bits


@pytest.mark.parametrize(
    ("scale", "bin_width", "bits"),
    [(1, 1, 2.03), (0.5, 1, 1.11), (0.25, 1, 0.39), (0.2, 1, 0.24), (0.1, 1, 0.019), (1, 2, 1.11), (1, 0.5, 3.01)],
)
def test_the_cheapest_symbol_costs_what_theory_says(scale, bin_width, bits):
    got = float(logistic_bits(torch.zeros(1), scale, bin_width))
    assert got == pytest.approx(-math.log2(math.tanh(bin_width / (4 * scale))), rel=1e-5)
    assert got == pytest.approx(bits, abs=0.006)


@pytest.mark.parametrize(("scale", "expected"), [(1.0, 2.91), (0.5, 1.96), (0.25, 1.07)])
def test_a_matched_source_costs_the_entropy(scale, expected):
    bits = logistic_bits(torch.arange(-100, 101).double(), scale)
    assert float((torch.exp2(-bits) * bits).sum()) == pytest.approx(expected, abs=0.006)


def test_bits_against_float64_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, 5, generator=generator) * 6
    wide = z.double()
    mass = torch.sigmoid((wide + 0.35) / 0.8) - torch.sigmoid((wide - 0.35) / 0.8)
    assert_close(logistic_bits(wide, 0.8, 0.7), -torch.log2(mass), torch.float32)  # where sigmoids cancel
    assert_close(logistic_bits(z, 0.8, 0.7), logistic_bits(wide, 0.8, 0.7))
    assert logistic_bits(z.half()).dtype == torch.float32


@pytest.mark.parametrize("sign", [1, -1])
def test_tails_keep_their_digits_and_gradients(sign):
    z = torch.tensor([0.0, 30.0, 300.0, 3e4]).mul(sign).requires_grad_()
    bits = logistic_bits(z)
    got = bits.detach()
    assert float(got[1]) == pytest.approx((30 - math.log(math.exp(0.5) - math.exp(-0.5))) / math.log(2), rel=1e-6)
    assert float(got[3]) == pytest.approx(3e4 / math.log(2), rel=1e-4)
    bits.sum().backward()
    expected = torch.tensor([0.0, 1, 1, 1]).mul(sign / math.log(2))
    torch.testing.assert_close(z.grad, expected, rtol=1e-6, atol=1e-7)


def test_gradients():
    z = torch.linspace(-4, 4, 12, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: logistic_bits(z, 0.7, 1.3), (z,))


def test_bits_ignore_autocast():
    z = torch.linspace(-9, 9, 20)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(logistic_bits(z), logistic_bits(z))
        assert logistic_bits(z).dtype == torch.float32


def test_only_the_ratio_of_scale_and_bin_width_matters():
    residual = torch.arange(-5.0, 6).view(1, 1, 1, -1)
    one, other = LogisticPrior(1, scale=1, bin_width=2), LogisticPrior(1, scale=0.5)
    assert torch.equal(one.bits(residual), other.bits(residual))
    torch.testing.assert_close(one.bits(residual), logistic_bits(residual * 2, 1, 2))
    assert one.tables().digest == other.tables().digest
    assert not list(one.parameters())
    assert not one.state_dict()


@pytest.mark.parametrize("scale", [0.05, 0.25, 1.0, 16.0])
def test_tables_cost_what_bits_says(scale):
    prior = LogisticPrior(3, scale=scale)
    tables = prior.tables()
    assert tables.num_tables == 1
    length, offset = int(tables.length[0]), int(tables.offset[0])
    frequencies = np.diff(tables.cdf[0, :length]) / 65536
    symbols = torch.arange(offset, offset + length - 2)
    mass = np.exp2(-prior.bits(symbols.double()).numpy())
    assert -offset == (length - 3) / 2
    assert 1 - mass.sum() < 1e-9
    cost = float(-(mass * np.log2(frequencies[:-1])).sum())
    entropy = float(-(mass * np.log2(mass)).sum())
    assert cost == pytest.approx(entropy, rel=0.004, abs=1e-4)  # the long tails hold one count in each bin


@pytest.mark.parametrize(("scale", "bin_width"), [(0.01, 1), (100, 1), (1, 0), (1, -1), (math.nan, 1)])
def test_densities_that_tables_cannot_follow_are_refused(scale, bin_width):
    with pytest.raises(ValueError, match="must be from 0.05 to 16"):
        LogisticPrior(3, scale=scale, bin_width=bin_width)
