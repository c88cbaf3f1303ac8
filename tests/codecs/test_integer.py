"""Integer syntheses: the definition, its limits, and the conversion of float networks."""

import copy
import dataclasses
import pickle

import pytest
import torch
from integer_networks import by_hand, gain_by_hand, integers, latents, random_synthesis
from torch import nn

from pylatent.codecs import _integer_native, integer
from pylatent.codecs.integer import LIMITS, IntegerSynthesis, largest_sum
from pylatent.codecs.integer_convert import convert
from pylatent.codecs.integer_gains import gains_of, integer_sqrt
from pylatent.codecs.integer_ranges import calibrate, float_layers
from pylatent.errors import ModelError


class Block(nn.Module):
    def __init__(self, channels, limit):
        super().__init__()
        self.conv1, self.conv2, self.limit = (
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.Conv2d(channels, channels, 3, padding=1),
            limit,
        )

    def forward(self, x):
        inner = self.conv2(nn.functional.leaky_relu(self.conv1(x), 0.01))
        return torch.clamp(x + inner, -self.limit, self.limit)


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __get__(self, instance, owner):
        return lambda *args, **kwargs: self(instance, *args, **kwargs)

    def __call__(self, *args, **kwargs):
        self.calls += 1
        return self.function(*args, **kwargs)


@pytest.fixture
def network():
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(6, 20, 3, padding=1),
        Block(20, 3.0),
        nn.Conv2d(20, 4 * 17, 1),
        nn.PixelShuffle(2),
        Block(17, 2.0),
        nn.Conv2d(17, 9, 3, padding=1),
        nn.LeakyReLU(),
        nn.Conv2d(9, 48, 3, padding=1),
        nn.PixelShuffle(4),
    )
    with torch.no_grad():
        network[-2].bias.fill_(0.5)
        network[-2].weight.mul_(3)
    return network


@pytest.fixture
def inverse_gain():
    return torch.tensor([[1.5], [0.7], [0.2]]) * torch.linspace(0.5, 1.5, 6)


def inputs(generator, inverse_gain):
    return [latents(generator, 2, 6, 9, 8) * inverse_gain[q][:, None, None] for q in range(3)]


@pytest.mark.parametrize("seed", range(3))
def test_the_definition_in_pythons_integers(seed):
    synthesis = random_synthesis(seed, (2, 3, 2, 2))
    y_hat = latents(torch.Generator().manual_seed(seed), 1, 2, 2, 3)
    for gains in synthesis.gains:
        expected = by_hand(synthesis, y_hat[0], gains)
        got = synthesis.reference(y_hat, gains[None])
        assert got.dtype == torch.uint8
        assert torch.equal(got[0].long(), expected)
        assert expected.unique().numel() > 1


def test_gains_between_qualities():
    gains = integers(torch.Generator().manual_seed(0), 0, 2**31 - 1, 4, 50).to(torch.int32)
    gains[:, 0], gains[:, 1] = 0, 2**31 - 1
    for step in range(3 * 64 + 1):
        row, place = divmod(step, 64)
        got = gains_of(gains, 1 + step / 64)
        expected = [gain_by_hand(*(int(gains[min(row + i, 3), c]) for i in (0, 1)), place) for c in range(50)]
        assert got.dtype == torch.int32
        assert got.tolist() == expected
    assert torch.equal(gains_of(gains[:1], None), gains[0])


def test_integer_square_roots():
    roots = torch.cat(
        [torch.arange(0, 300), 2**31 - torch.arange(1, 300), integers(torch.Generator(), 0, 2**31 - 1, 500)]
    )
    for offset in (0, 1, -1):
        squares = (roots * roots + offset).clamp_min(0)
        expected = roots - ((roots * roots > squares).long())
        big = squares >= 4
        assert torch.equal(integer_sqrt(squares)[big], expected[big])


@torch.no_grad()
def test_converted_is_close_to_float(network, inverse_gain):
    generator = torch.Generator().manual_seed(1)
    synthesis = convert(network, inverse_gain, calibrate(network, inputs(generator, inverse_gain)))
    for quality in (1, 2, 3):
        y_hat = latents(generator, 2, 6, 11, 5)
        expected = (network(y_hat * inverse_gain[quality - 1][:, None, None]).clamp(0, 1) * 255).round()
        got = synthesis(y_hat, [quality] * 2).float()
        assert float((got - expected).abs().max()) <= 1
        assert float((got != expected).float().mean()) < 0.25
        assert expected.unique().numel() > 50


@torch.no_grad()
def test_one_rate_has_one_row_of_gains(network):
    generator = torch.Generator().manual_seed(1)
    synthesis = convert(network, None, calibrate(network, [latents(generator, 2, 6, 9, 8)]))
    y_hat = latents(generator, 1, 6, 4, 4)
    expected = (network(y_hat).clamp(0, 1) * 255).round()
    assert float((synthesis(y_hat, None).float() - expected).abs().max()) <= 1


def test_every_sum_of_a_converted_network_fits(network, inverse_gain):
    generator = torch.Generator().manual_seed(1)
    synthesis = convert(network, inverse_gain, calibrate(network, inputs(generator, inverse_gain)))
    low, high = -synthesis.largest, synthesis.largest
    for layer in synthesis.layers:
        sums = float(largest_sum(layer.weight, layer.bias, low, high).max())
        assert LIMITS[layer.kernel].sums / 8 < sums < LIMITS[layer.kernel].sums  # and the room is used
        low, high = layer.low, layer.high


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_weights_that_cannot_be_converted_are_refused(network, inverse_gain, value):
    ranges = calibrate(network, inputs(torch.Generator(), inverse_gain))
    with torch.no_grad():
        network[4].conv2.bias[0] = value
    with pytest.raises(ModelError, match=r"layer (g_s\.)?4\.conv[12] "):
        convert(network, inverse_gain, ranges)


def test_layers_without_an_integer_form_are_refused():
    for module in (nn.Conv2d(2, 2, 5, padding=2), nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3, 2, 1), nn.Tanh()):
        with pytest.raises(ModelError, match="layer 1 .*no integer form"):
            float_layers(nn.Sequential(nn.Conv2d(2, 2, 1), module))


def broken(synthesis, number, **changes):
    layers = list(synthesis.layers)
    layers[number] = dataclasses.replace(layers[number], name="middle", **changes)
    return synthesis.gains, synthesis.largest, layers


def test_integers_that_could_leave_their_range_are_refused():
    synthesis = random_synthesis(0)
    layer = synthesis.layers[1]
    weight = layer.weight.clone()
    weight[0, 0, 1, 1] = 32767
    with pytest.raises(ModelError, match=r"layer middle .* its weights reach"):
        IntegerSynthesis(*broken(synthesis, 1, weight=weight))
    with pytest.raises(ModelError, match=r"layer middle .* its sums reach"):
        IntegerSynthesis(*broken(synthesis, 1, bias=layer.bias + (1 << 29)))
    with pytest.raises(ModelError, match=r"layer random .* its inputs reach 8192"):
        IntegerSynthesis(*broken(synthesis, 0, high=8192))
    with pytest.raises(ModelError, match="layer middle must have positive multipliers"):
        IntegerSynthesis(*broken(synthesis, 1, multiplier=layer.multiplier * 0))
    with pytest.raises(ModelError, match="layer middle must have positive multipliers and limits"):
        IntegerSynthesis(*broken(synthesis, 1, low=1))
    with pytest.raises(ModelError, match="layer middle must have a bias"):
        IntegerSynthesis(*broken(synthesis, 1, bias=layer.bias[1:]))
    with pytest.raises(ModelError, match="layer middle cannot add"):
        IntegerSynthesis(*broken(synthesis, 3, skip=True))
    with pytest.raises(ModelError, match="must end with 3 channels"):
        IntegerSynthesis(synthesis.gains, synthesis.largest, synthesis.layers[:-1])
    with pytest.raises(ModelError, match="gains"):
        IntegerSynthesis(-synthesis.gains, synthesis.largest, synthesis.layers)


def test_integers_survive_storing():
    synthesis = random_synthesis(1)
    y_hat = latents(torch.Generator().manual_seed(1), 1, 7, 3, 3)
    expected = synthesis.reference(y_hat, synthesis.gains[:1])
    others = (
        IntegerSynthesis.from_state(synthesis.state("g_s"), "g_s"),
        copy.deepcopy(synthesis),
        pickle.loads(pickle.dumps(synthesis)),
    )
    for other in others:
        assert torch.equal(other(y_hat, (1.0,)), expected)


def test_without_native_code_the_pixels_are_the_same(monkeypatch):
    synthesis = random_synthesis(2)
    y_hat = latents(torch.Generator().manual_seed(1), 2, 7, 5, 4)
    expected = synthesis(y_hat, (1.0, 2.75))
    monkeypatch.setattr(_integer_native, "why_not_native", lambda *_: "switched off")
    assert torch.equal(synthesis(y_hat, (1.0, 2.75)), expected)


def test_large_pictures_go_through_the_definition_in_tiles(monkeypatch):
    synthesis = random_synthesis(3, (5, 18, 9, 6))
    monkeypatch.setattr(_integer_native, "why_not_native", lambda *_: "switched off")
    monkeypatch.setattr(integer, "_TILE", 8)
    for size in ((20, 9), (3, 17), (8, 8)):
        y_hat = latents(torch.Generator().manual_seed(1), 2, 5, *size)
        expected = synthesis.reference(y_hat, synthesis.gains[[0, 2]])
        monkeypatch.setattr(IntegerSynthesis, "reference", counted := Counted(IntegerSynthesis.reference))
        assert torch.equal(synthesis(y_hat, (1.0, 3.0)), expected)
        assert counted.calls == -(-size[0] // 8) * -(-size[1] // 8)
        monkeypatch.setattr(IntegerSynthesis, "reference", counted.function)


@pytest.mark.parametrize("channels", [(7, 40, 33, 5), (1, 1, 1, 1), (7, 8, 8, 4)])
def test_pixels_of_random_networks_tell_latents_and_gains_apart(channels):
    """Other tests compare them: where nearly all were 0 or 255, whatever the latents, these would notice nothing."""
    synthesis = random_synthesis(4, channels)
    y_hat = latents(torch.Generator().manual_seed(0), 2, channels[0], 2, 3)
    pixels = synthesis.reference(y_hat, synthesis.gains[:2])
    for other, gains in ((-y_hat, synthesis.gains[:2]), (y_hat, synthesis.gains[1:])):
        assert float((synthesis.reference(other, gains) != pixels).float().mean()) > 0.1
