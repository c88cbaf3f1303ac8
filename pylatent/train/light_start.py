"""Where a light receiver's own network starts: as what the full synthesis computes, pruned to its widths.

The channels at 1/8 and 1/4 of the sides are replaced by fewer combinations of them, those that lose least of what the
next layer makes of them; residual blocks keep the hidden channels that contribute most, those of several blocks in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.layers.residual import ClippedResidualBlock


@dataclass
class _Stage:
    """One resolution of the full synthesis: blocks, and the convolution that follows them. moment: (C, C) of that one's
    inputs; energies: mean squares of each block's hidden channels."""

    blocks: list[ClippedResidualBlock]
    following: nn.Conv2d
    moment: Tensor
    energies: list[Tensor]


@torch.no_grad()
def start_as_pruned(network: nn.Sequential, rest: Sequence[nn.Module], features: Iterable[Tensor]) -> None:
    """Sets a network of `light_network` from the full synthesis's modules that it stands for.

    features: batches of what these are given (B, C, h, w). Raises ValueError if it is wider than they are.
    """
    up, *stages = _observed(rest, features)
    modules = list(network)
    places = [number for number, module in enumerate(modules) if isinstance(module, nn.Conv2d)]
    first, second, last = (module for module in modules if isinstance(module, nn.Conv2d))
    middle, fine = stages
    for own, stage in ((first, middle), (second, fine)):
        if own.out_channels // 4 > stage.following.in_channels:
            raise ValueError(
                f"`widths` must be at most those of the full synthesis, {middle.following.in_channels} and "
                f"{fine.following.in_channels}, got {first.out_channels // 4} and {second.out_channels // 4}"
            )
    take8, give8 = _reduced(middle, first.out_channels // 4)
    take4, give4 = _reduced(fine, second.out_channels // 4)
    for own, theirs, take, give in (
        (first, up.following, take8, torch.eye(first.in_channels)),
        (second, middle.following, take4, give8),
    ):
        weight = theirs.weight.flatten(1).view(-1, 4, theirs.in_channels)
        own.weight.copy_(torch.einsum("rc,cki,ij->rkj", take, weight, give).flatten(0, 1)[:, :, None, None])
        _bias(own).copy_((take @ _bias(theirs).view(-1, 4)).flatten())
    last.weight.copy_(torch.einsum("oikl,ir->orkl", fine.following.weight, give4))
    _bias(last).copy_(_bias(fine.following))
    pruned = ((middle, take8, give8), (fine, take4, give4))
    for (start, end), (stage, take, give) in zip(pairwise(places), pruned, strict=True):
        blocks = [module for module in modules[start:end] if isinstance(module, ClippedResidualBlock)]
        _prune_blocks(blocks, stage, take, give)


def _bias(convolution: nn.Conv2d) -> Tensor:
    assert convolution.bias is not None
    return convolution.bias


def _observed(rest: Sequence[nn.Module], features: Iterable[Tensor]) -> list[_Stage]:
    """The stages of modules, with what their values are."""
    stages: list[_Stage] = []
    for count, values in enumerate(features):
        number = 0
        blocks: list[ClippedResidualBlock] = []
        energies: list[Tensor] = []
        for module in rest:
            if isinstance(module, ClippedResidualBlock):
                blocks.append(module)
                energies.append(F.leaky_relu(module.conv1(values), 0.01).square().mean((0, 2, 3)))
            elif isinstance(module, nn.Conv2d):
                flat = values.transpose(0, 1).flatten(1)
                moment = flat @ flat.T / flat.shape[1]
                if count == 0:
                    stages.append(_Stage(blocks, module, moment, energies))
                else:
                    stages[number].moment += moment
                    stages[number].energies = [a + b for a, b in zip(stages[number].energies, energies, strict=True)]
                number, blocks, energies = number + 1, [], []
            values = module(values)
    return stages


def _reduced(stage: _Stage, rank: int) -> tuple[Tensor, Tensor]:
    """(rank, C) and (C, rank): to `rank` combinations of channels and back, with the least error of what follows."""
    weight = stage.following.weight.double()
    seen = torch.einsum("oikl,ojkl->ij", weight, weight)
    moment = stage.moment.double() / stage.moment.diagonal().mean()
    moment = moment + 1e-6 * torch.eye(len(moment))
    root, of_weights = (_power(matrix, 0.5) for matrix in (moment, seen))
    _, _, directions = torch.linalg.svd(of_weights @ root)
    kept = directions[:rank].T
    return (kept.T @ _power(moment, -0.5)).float(), (root @ kept).float()


def _power(matrix: Tensor, exponent: float) -> Tensor:
    """Of a symmetric positive matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    return vectors * values.clamp_min(1e-12).pow(exponent) @ vectors.T


def _prune_blocks(own: Sequence[ClippedResidualBlock], stage: _Stage, take: Tensor, give: Tensor) -> None:
    """Each block gets the hidden channels that contribute most, of those that it stands for."""
    for number, block in enumerate(own):
        part = range(number * len(stage.blocks) // len(own), (number + 1) * len(stage.blocks) // len(own))
        theirs = [stage.blocks[place] for place in part]
        into = torch.cat([each.conv1.weight for each in theirs])
        out_of = torch.cat([each.conv2.weight for each in theirs], 1)
        offsets = torch.cat([_bias(each.conv1) for each in theirs])
        out_of = torch.einsum("rc,chkl->rhkl", take, out_of)
        score = torch.cat([stage.energies[place] for place in part]) * out_of.square().sum((0, 2, 3))
        kept = score.topk(block.conv1.out_channels).indices.sort().values
        block.conv1.weight.copy_(torch.einsum("hckl,cr->hrkl", into[kept], give))
        _bias(block.conv1).copy_(offsets[kept])
        block.conv2.weight.copy_(out_of[:, kept])
        _bias(block.conv2).copy_(take @ torch.stack([_bias(each.conv2) for each in theirs]).sum(0))
