import pytest
import torch
from torch import nn

from pylatent.codecs.exact import ExactNetwork, exact_layers, table_indexes, to_grid
from pylatent.codecs.transforms import conv, deconv
from pylatent.errors import ModelError


@pytest.fixture
def network():
    torch.manual_seed(1)
    return nn.Sequential(deconv(5, 7), nn.LeakyReLU(), deconv(7, 6), nn.ReLU(), conv(6, 8, 3, 1))


@torch.no_grad()
def test_exact_is_close_to_float(network):
    x = torch.randn(2, 5, 3, 4) * 5
    exact = ExactNetwork(exact_layers(network))(to_grid(x)) / 256
    assert float((exact - network(x)).abs().max()) < 0.05


@torch.no_grad()
def test_exact_against_python_integers():
    torch.manual_seed(2)
    convolution = conv(2, 1, 3, 1)
    layer = exact_layers(nn.Sequential(convolution, nn.LeakyReLU()))[0]
    values = torch.randint(-5000, 5000, (1, 2, 3, 3)).double()
    got = ExactNetwork([layer])(values)[0, 0, 1, 1]
    weights = layer.weight[0].long().flatten().tolist()
    total = sum(w * v for w, v in zip(weights, values.long().flatten().tolist(), strict=True)) + int(layer.bias)
    if total < 0:
        expected = (total * 10 + (1 << 19)) >> 20
    else:
        expected = (total + (1 << 9)) >> 10
    assert int(got) == expected


@torch.no_grad()
def test_every_result_is_an_integer_whatever_the_input(network):
    exact = ExactNetwork(exact_layers(network))
    values = torch.randint(-(2**31), 2**31, (1, 5, 3, 3)).double()
    result = exact(values)
    assert torch.equal(result, result.round())
    assert float(result.abs().max()) <= 2**20


@torch.no_grad()
def test_order_of_summation_does_not_matter(network):
    layers = exact_layers(network)
    values = torch.randint(-(2**19), 2**19, (1, 5, 4, 4)).double()
    order = torch.randperm(5)
    first = layers[0]
    shuffled = [type(first)(**{**first.__dict__, "weight": first.weight[order]}), *layers[1:]]
    assert torch.equal(ExactNetwork(layers)(values), ExactNetwork(shuffled)(values[:, order]))


def test_weights_too_large_to_be_exact_are_refused(network):
    with torch.no_grad():
        network[0].weight.mul_(1e9)
    with pytest.raises(ModelError, match=r"layer 0 .* cannot be made exact"):
        ExactNetwork(exact_layers(network))


def test_weights_that_are_not_finite_are_refused(network):
    with torch.no_grad():
        network[2].weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(ModelError, match=r"layer 2 .* not finite"):
        exact_layers(network)


def test_other_layers_are_refused():
    with pytest.raises(ModelError, match="Tanh"):
        exact_layers(nn.Sequential(conv(2, 2), nn.Tanh()))


def test_integers_survive_storing(network):
    exact = ExactNetwork(exact_layers(network))
    restored = ExactNetwork(exact_layers(network)).with_state(exact.state("h_s"), "h_s")
    for a, b in zip(exact.layers, restored.layers, strict=True):
        assert torch.equal(a.weight, b.weight)
        assert torch.equal(a.bias, b.bias)


@torch.no_grad()
def test_a_part_of_the_result(network):
    exact = ExactNetwork(exact_layers(network))
    values = torch.randint(-(2**12), 2**12, (2, 5, 3, 4)).double()
    whole = exact(values)
    assert torch.equal(whole, exact.reference(values))
    for size in ((1, 1), (5, 16), (12, 3), (99, 99)):
        part = exact(values, size=size, dtype=torch.float32)
        assert part.dtype == torch.float32
        assert torch.equal(part.double(), whole[..., : size[0], : size[1]])


def test_the_table_of_a_scale_is_the_number_of_thresholds_below_it():
    scales = torch.cat([torch.arange(-5, 400), torch.tensor([-(2**20), 2**20, 9999, 10000, 10001, 70000])]).float()
    for thresholds in ([0], [2**20], [3, 3, 3, 9], [0, 1, 2, 28, 29, 399, 10000], list(range(255))):
        expected = torch.tensor([sum(limit < scale for limit in thresholds) for scale in scales.tolist()])
        limits = torch.tensor(thresholds).double()
        indexes = table_indexes(scales, limits)
        assert indexes.dtype == torch.uint8
        assert torch.equal(indexes.long(), expected)
        assert torch.equal(table_indexes(torch.stack([scales, -scales])[0:1].T, limits), indexes[:, None])
