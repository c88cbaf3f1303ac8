"""The networks of conditional latent coding."""

import pytest
import torch

from pylatent.layers.matching import LatentBlend, LatentMatching
from pylatent.ops import match_latents


def test_references_of_another_size_and_their_order():
    torch.manual_seed(0)
    layer = LatentMatching(6, width=8)
    y, references = torch.randn(2, 6, 5, 7), torch.randn(2, 3, 6, 4, 3)
    result = layer(y, references)
    assert result.shape == y.shape
    torch.testing.assert_close(layer(y, references.flip(1)), result)  # a set
    torch.testing.assert_close(layer(y[1:], references[1:]), result[1:])  # no picture depends on another
    same = references[:, :1].expand(-1, 3, -1, -1, -1)
    torch.testing.assert_close(layer(y, same), layer(y, references[:, :1]))


def test_a_reference_is_found_wherever_it_lies():
    """With latents as their own features, a latent is matched by the same one with its positions shuffled."""
    torch.manual_seed(0)
    layer = LatentMatching(6, width=6, temperature=0.01)
    layer.known = lambda y: (y, torch.nn.functional.normalize(y))
    seen = []
    layer.align.register_forward_hook(lambda module, arguments, result: seen.append(arguments[1]))
    y = torch.randn(1, 6, 4, 4)
    layer(y, y.flatten(2)[..., torch.randperm(16)].view(1, 1, 6, 4, 4))
    torch.testing.assert_close(seen[0], y, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("inner", [None, 3])
def test_gradients_reach_every_weight(inner):
    torch.manual_seed(0)
    layer, blend = LatentMatching(4, width=6, inner=inner), LatentBlend(4, hidden=6)
    torch.nn.init.normal_(layer.align.head[-1].weight, std=0.1)
    if inner is not None:
        torch.nn.init.normal_(layer.widen.weight)
    y = torch.randn(1, 4, 6, 6)
    blend(y, layer(y, torch.randn(1, 2, 4, 6, 6))).square().sum().backward()
    for name, parameter in (*layer.named_parameters(), *blend.named_parameters()):
        assert torch.any(parameter.grad != 0) or name == "score.bias", name  # which all references share


@torch.no_grad()
def test_positions_are_told_apart_from_the_start():
    """Before any training, and where all latents have much in common, a latent finds itself in a reference."""
    torch.manual_seed(0)
    layer, y = LatentMatching(24, width=16, inner=8), torch.randn(2, 24, 8, 8) + 10
    values, keys = layer.known(y)
    matched = match_latents(keys, keys, values, layer.temperature)
    assert float((matched - values).std() / values.std()) < 0.2
    assert torch.equal(layer.known(y[:, :, :1, :1])[1], torch.zeros(2, 16, 1, 1))  # one position is like any other
    assert torch.equal(layer(y[:, :, :1, :1], y[:, None]), y[:, :, :1, :1])


def test_channels_inside_are_those_asked_for():
    torch.manual_seed(0)
    layer, y, references = LatentMatching(12, width=5, inner=4), torch.randn(2, 12, 6, 7), torch.randn(2, 3, 12, 4, 4)
    assert {branch.in_channels for branch in layer.align.branches} == {4}
    values, keys = layer.known(references.flatten(0, 1))
    assert (values.shape, keys.shape) == ((6, 4, 4, 4), (6, 5, 4, 4))
    known = values.unflatten(0, (2, 3)), keys.unflatten(0, (2, 3))
    assert torch.equal(layer(y, references), y)  # at the start
    torch.nn.init.normal_(layer.widen.weight)
    result = layer(y, references)
    assert not torch.allclose(result, y)
    torch.testing.assert_close(layer.fused(y, *known), result)
    published = LatentMatching(320)
    assert (published.phi[0].in_channels, published.phi[0].out_channels) == (320, 256)
    assert published.widen is None


def test_the_blend_lies_between_and_starts_near_the_latent():
    torch.manual_seed(0)
    blend, y, aligned = LatentBlend(5), torch.randn(2, 5, 3, 3), torch.randn(2, 5, 3, 3)
    share = (blend(y, aligned).detach() - aligned) / (y - aligned)
    assert 0.9 < float(share.min()) <= float(share.max()) < 1
