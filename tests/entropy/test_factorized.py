import numpy as np
import pytest
import torch

from pylatent.entropy.factorized import FactorizedPrior


@pytest.fixture
def prior():
    torch.manual_seed(3)
    prior = FactorizedPrior(4)
    with torch.no_grad():
        for factor in prior.factors:
            factor.normal_(0, 0.3)
        prior.biases[0].add_(torch.tensor([0.0, 1.0, -2.0, 5.0]).view(-1, 1, 1))
    prior.fit_quantiles()
    return prior


def test_quantiles_have_the_mass_that_they_promise(prior):
    cumulative = torch.sigmoid(prior.logits(prior.quantiles.double()))[:, 0]
    expected = torch.tensor([0.5e-9, 0.5, 1 - 0.5e-9], dtype=torch.float64).expand(4, 3)
    torch.testing.assert_close(cumulative[:, 1], expected[:, 1], rtol=1e-4, atol=0)
    torch.testing.assert_close(cumulative[:, 0], expected[:, 0], rtol=1e-2, atol=0)
    torch.testing.assert_close(1 - cumulative[:, 2], 1 - expected[:, 2], rtol=1e-2, atol=0)


def test_bits_sum_to_a_distribution(prior):
    values = torch.arange(-200, 201).float().view(1, 1, 1, -1).expand(1, 4, 1, -1)
    mass = torch.exp2(-prior.bits(values)).double().sum(-1)
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=1e-5, atol=1e-5)


def test_tables_cost_what_bits_says(prior):
    tables = prior.tables()
    for channel in range(4):
        length, offset = int(tables.length[channel]), int(tables.offset[channel])
        frequencies = np.diff(tables.cdf[channel, :length]) / 65536
        symbols = torch.arange(offset, offset + length - 2).float()
        values = symbols.view(1, 1, 1, -1).expand(1, 4, 1, -1)
        bits = prior.bits(values)[0, channel, 0].detach().numpy()
        divergence = np.sum(frequencies[:-1] * (bits + np.log2(frequencies[:-1])))
        assert abs(divergence) < 0.05  # the long tails hold one count in each bin


def test_gradients_reach_every_parameter(prior):
    prior.bits(torch.randn(2, 4, 3, 3) * 4).sum().backward()
    for name, parameter in prior.named_parameters():
        if name != "quantiles":
            assert torch.any(parameter.grad != 0), name
