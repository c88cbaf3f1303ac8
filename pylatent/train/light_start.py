"""Where a light receiver's own network starts: as what the full synthesis computes, reduced to its widths.

    features ─ 1x1, shuffle, 1x1, shuffle ─► values at 1/4 of the sides ─ residual blocks ─ 3x3 ─► pixels

Channels at 1/4 are replaced by fewer combinations of them, those that lose least of what the last convolution makes of
them. The two 1x1 convolutions become the linear map that comes nearest to all that the full synthesis does up to there,
blocks at 1/8 included; the blocks keep the hidden channels that contribute most; the last convolution is fitted to the
pixels that are wanted. No step of this is iterative.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.residual import ClippedResidualBlock

_RIDGE = 1e-6  # in parts of the mean square
_EDGE = 1  # latents around a crop that are not fitted: what lies beyond the crop would change them


@dataclass(frozen=True)
class Sample:
    """features (1, C, h, w), the pixels that are wanted of them (1, 3, 16 h, 16 w), and how much they count."""

    features: Tensor
    pixels: Tensor
    weight: float


@torch.no_grad()
def start_from_full(network: nn.Sequential, rest: Sequence[nn.Module], samples: Sequence[Sample]) -> None:
    """Sets a network of `light_network` from the full synthesis's modules that it stands for.

    Raises ValueError if it is wider than they are.
    """
    shuffles = [number for number, module in enumerate(rest) if isinstance(module, nn.PixelShuffle)]
    front = nn.Sequential(*rest[: shuffles[1] + 1])
    blocks = [module for module in rest[shuffles[1] + 1 :] if isinstance(module, ClippedResidualBlock)]
    theirs = rest[shuffles[2] - 1]
    assert isinstance(theirs, nn.Conv2d)
    first, second, last = (module for module in network if isinstance(module, nn.Conv2d))
    channels, rank = last.in_channels, first.out_channels // 4
    if channels > theirs.in_channels:
        raise ValueError(
            f"`widths` must be at most {theirs.in_channels} at 1/4 of the sides, as the full synthesis, got {channels}"
        )
    moment, energies = _observed(front, blocks, samples)
    seen = torch.einsum("oikl,ojkl->ij", theirs.weight, theirs.weight)
    take, give = _reduced(moment, seen, channels)
    _fit_front(first, second, rank, front, take, (give.T @ seen @ give).diagonal(), samples)
    own = [module for module in network if isinstance(module, ClippedResidualBlock)]
    for number, block in enumerate(own):
        part = slice(number * len(blocks) // len(own), (number + 1) * len(blocks) // len(own))
        _prune(block, blocks[part], energies[part], take, give)
    _fit_last(network, last, samples)


def _observed(
    front: nn.Sequential, blocks: Sequence[ClippedResidualBlock], samples: Sequence[Sample]
) -> tuple[Tensor, list[Tensor]]:
    """The moment (C, C) of the last convolution's inputs; mean squares of each block's hidden channels."""
    moments: list[Tensor] = []
    energies: list[list[Tensor]] = [[] for _ in blocks]
    for sample in samples:
        values = front(sample.features)
        for block, energy in zip(blocks, energies, strict=True):
            energy.append(F.leaky_relu(block.conv1(values), 0.01).square().mean((0, 2, 3)))
            values = block(values)
        flat = _inner(values, 4)
        moments.append(flat @ flat.T / flat.shape[1])
    return torch.stack(moments).mean(0), [torch.stack(energy).mean(0) for energy in energies]


def _reduced(moment: Tensor, seen: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(rank, C) and (C, rank): to `rank` combinations of channels and back. seen (C, C): what errors of them cost."""
    moment = moment.double() / moment.diagonal().mean()
    moment = moment + _RIDGE * torch.eye(len(moment))
    root = _power(moment, 0.5)
    _, _, directions = torch.linalg.svd(_power(seen.double(), 0.5) @ root)
    kept = directions[:rank].T
    return (kept.T @ _power(moment, -0.5)).float(), (root @ kept).float()


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(1e-12).pow(exponent) @ vectors.T


def _fit_front(
    first: nn.Conv2d,
    second: nn.Conv2d,
    rank: int,
    front: nn.Sequential,
    take: Tensor,
    costs: Tensor,
    samples: Sequence[Sample],
) -> None:
    """The two 1x1 convolutions: the best linear map from features to what `front` makes of them, of limited rank.

    costs: (channels,) what squared errors of the result cost.
    """
    channels, inputs = len(take), first.in_channels

    def pairs() -> Iterable[tuple[Tensor, Tensor, float]]:
        for sample in samples:
            values = torch.einsum("rc,bchw->brhw", take, front(sample.features))
            wanted = F.pixel_unshuffle(F.pixel_unshuffle(values, 2), 2)
            yield _inner(sample.features, 1), _inner(wanted, 1), sample.weight

    map_, moment = _least_squares(pairs())
    inputs += 1  # the last is the constant 1
    map_ = map_.view(channels, 4, 4, inputs)  # channel, place at 1/4 within 1/8, place at 1/8 within 1/16
    root = _power(moment / moment[-1, -1], 0.5)
    importance = costs.double().clamp_min(1e-12).sqrt()[:, None, None, None]
    matrix = ((map_ * importance).transpose(0, 1) @ root).reshape(4 * channels, 4 * inputs)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    rank = min(rank, len(values))
    halves = values[:rank].sqrt()
    into = (right[:rank] * halves[:, None]).view(rank, 4, inputs) @ torch.linalg.inv(root)
    out_of = (left[:, :rank] * halves).view(4, channels, rank) / importance.view(1, -1, 1)
    for parameter in (*first.parameters(), *second.parameters()):
        parameter.zero_()
    first.weight[: 4 * rank, :, 0, 0] = into[..., :-1].reshape(4 * rank, -1).float()
    _bias(first)[: 4 * rank] = into[..., -1].flatten().float()
    second.weight[:, :rank, 0, 0] = out_of.transpose(0, 1).reshape(-1, rank).float()


def _prune(
    own: ClippedResidualBlock,
    blocks: Sequence[ClippedResidualBlock],
    energies: Sequence[Tensor],
    take: Tensor,
    give: Tensor,
) -> None:
    """A block gets the hidden channels that contribute most, of those that it stands for."""
    into = torch.cat([each.conv1.weight for each in blocks])
    offsets = torch.cat([_bias(each.conv1) for each in blocks])
    out_of = torch.einsum("rc,chkl->rhkl", take, torch.cat([each.conv2.weight for each in blocks], 1))
    score = torch.cat(list(energies)) * out_of.square().sum((0, 2, 3))
    kept = score.topk(own.conv1.out_channels).indices.sort().values
    own.conv1.weight.copy_(torch.einsum("hckl,cr->hrkl", into[kept], give))
    _bias(own.conv1).copy_(offsets[kept])
    own.conv2.weight.copy_(out_of[:, kept])
    _bias(own.conv2).copy_(take @ torch.stack([_bias(each.conv2) for each in blocks]).sum(0))


def _fit_last(network: nn.Sequential, last: nn.Conv2d, samples: Sequence[Sample]) -> None:
    before = network[:-2]

    def pairs() -> Iterable[tuple[Tensor, Tensor, float]]:
        for sample in samples:
            values = before(sample.features)
            taps = F.unfold(values, 3, padding=1).view(1, -1, *values.shape[2:])
            yield _inner(taps, 4), _inner(F.pixel_unshuffle(sample.pixels, 4), 4), sample.weight

    map_, _ = _least_squares(pairs())
    last.weight.copy_(map_[:, :-1].reshape(last.weight.shape))
    _bias(last).copy_(map_[:, -1])


def _least_squares(pairs: Iterable[tuple[Tensor, Tensor, float]]) -> tuple[Tensor, Tensor]:
    """The affine map (outputs, inputs + 1) from inputs (inputs, N) to outputs (outputs, N), and the inputs' moment."""
    moment = cross = torch.zeros((), dtype=torch.float64)
    for inputs, outputs, weight in pairs:
        inputs = F.pad(inputs, (0, 0, 0, 1), value=1.0)
        moment = moment + weight * (inputs @ inputs.T).double()
        cross = cross + weight * (outputs @ inputs.T).double()
    ridge = _RIDGE * moment.diagonal().mean() * torch.eye(len(moment))
    return torch.linalg.solve(moment + ridge, cross.T).T, moment


def _inner(values: Tensor, scale: int) -> Tensor:
    """(1, C, scale h, scale w) -> (C, N), without the edge."""
    edge = _EDGE * scale
    return values[0, :, edge:-edge, edge:-edge].flatten(1)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias
