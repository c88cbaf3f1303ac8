"""A light receiver for a trained residual hyperprior: a second, cheaper synthesis of the same latents, for previews.

It begins with the first modules of the full synthesis, as they are, and goes on with a narrow network of its own, which
starts as the rest of the full one, reduced (light_start.py), and learns from that one's pixels and from the originals.
Encoder, rate and files stay as they are, so what it is given is computed once. Its weights are rounded to 8 bits in
training already, with a scale for each output.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from pylatent._native import has_bf16
from pylatent.codecs.integer_convert import convert_after
from pylatent.codecs.integer_ranges import calibrate, float_layers
from pylatent.codecs.latents import Latents
from pylatent.codecs.receivers import SideReceiver
from pylatent.codecs.residual import ResidualHyperprior
from pylatent.errors import ModelError
from pylatent.evaluation.distortion import psnr
from pylatent.layers.residual import ClippedResidualBlock
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint
from pylatent.train.light_start import Sample, start_from_full
from pylatent.train.muon import Muon

WEIGHT_LIMIT = 127  # of 8-bit weights
_WARM_UP = 100
_BORDER = 2  # how many times as often as other places a crop begins at a border, less one
_FITTED, _FITTED_SIDE = 48, 24  # examples that tell where to start, and the side of the part of each in latents
_NOISE = 1e-4  # mean square that is added to `left`: below it decibels are no matter
_MOST_QUALITIES = 256
_EDGE = 16  # pixels around a crop that are not judged, since what lies beyond would change them


@dataclass(frozen=True)
class LightRecipe:
    """Everything that a run depends on. `minutes`, when given, replaces `steps`: the rate then falls by the clock.

    shared: modules of g_s that come first. widths: channels at 1/8 and 1/4 of the picture's sides, there at most those
    of the full synthesis. blocks: residual blocks at 1/4; limit: of these. qualities: how many each picture is decoded
    at, spread over the model's. crop: side in latents. distil: the full synthesis's part in what is learned.
    """

    shared: int = 2
    widths: tuple[int, int] = (48, 44)
    blocks: int = 1
    limit: float = 16.0
    qualities: int = 3
    crop: int = 12
    batch: int = 4
    steps: int = 20_000
    minutes: float | None = None
    learning_rate: float = 1.2e-3
    weight_decay: float = 0.02
    distil: float = 0.75
    seed: int = 0


@dataclass(frozen=True)
class Example:
    """A picture decoded at one quality. features: what the shared modules make of it, float16 (C, h, w); original and
    full (what the full synthesis shows): uint8 (3, 16 h, 16 w); left: the mean square of their difference, of [0, 1].
    """

    quality: float
    features: Tensor
    original: Tensor
    full: Tensor
    left: float


class _Rounded(nn.Module):
    """Weights rounded to 8 bits, with a scale for each output; gradients pass."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12) / WEIGHT_LIMIT
        return weight + (torch.round(weight / scale) * scale - weight).detach()


def light_network(inputs: int, recipe: LightRecipe) -> nn.Sequential:
    """Features (B, inputs, h, w) -> pixels (B, 3, 16 h, 16 w), with random weights."""
    b, a = recipe.widths
    network = nn.Sequential(
        nn.Conv2d(inputs, 4 * b, 1),
        nn.PixelShuffle(2),
        nn.Conv2d(b, 4 * a, 1),
        nn.PixelShuffle(2),
        *(ClippedResidualBlock(a, recipe.limit) for _ in range(recipe.blocks)),
        nn.Conv2d(a, 48, 3, padding=1),
        nn.PixelShuffle(4),
    )
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def examples(
    codec: ResidualHyperprior, pictures: Sequence[Tensor], recipe: LightRecipe, qualities: Sequence[float] = ()
) -> Iterator[Example]:
    """Pictures uint8 (3, H, W), cropped to whole latents, each decoded at some qualities, drawn if none are given."""
    generator = np.random.default_rng(recipe.seed)
    lowest, highest = codec.qualities or (1.0, 1.0)
    for picture in pictures:
        height, width = (side // codec.alignment * codec.alignment for side in picture.shape[1:])
        original = picture[:, :height, :width].contiguous()
        y = codec.without_gain(original[None].to(codec.device).float() / 255)
        for number in range(len(qualities) or recipe.qualities):
            place = (number + float(generator.random())) / recipe.qualities
            quality = qualities[number] if qualities else lowest + round(64 * place * (highest - lowest)) / 64
            yield _example(codec, y, quality, original, recipe)


def _example(codec: ResidualHyperprior, y: Tensor, quality: float, original: Tensor, recipe: LightRecipe) -> Example:
    at = torch.tensor([quality], device=y.device)
    levels = codec.levels_above(codec.gained(y, at))
    size = (int(original.shape[1]), int(original.shape[2]))
    decoded = codec.as_coded(Latents(levels, size, (quality,)))
    full = codec.synthesize_bytes(decoded)[0]
    values = decoded.y * codec._gain(codec.inverse_gain, at)
    features = codec.g_s[: recipe.shared](values)[0]
    left = float((full.float() - original.to(full.device).float()).square().mean()) / 255**2
    return Example(quality, features.half().cpu(), original, full.cpu(), max(left, 1e-6))


class LightTrainer:
    """One run: a network, its optimisers, and a checkpoint that it resumes from.

    data: as `examples` gives them. Raises ValueError for widths above the full synthesis's, or if no example has
    crop x crop latents.
    """

    def __init__(
        self, codec: ResidualHyperprior, data: Sequence[Example], recipe: LightRecipe, checkpoint: Path | None = None
    ) -> None:
        self.recipe, self.checkpoint = recipe, checkpoint
        self.data = [each for each in data if min(each.features.shape[1:]) >= recipe.crop]
        if not self.data:
            side = recipe.crop
            raise ValueError(f"no picture has {side} x {side} latents; take smaller crops or larger pictures")
        torch.manual_seed(recipe.seed)
        self.network = light_network(self.data[0].features.shape[0], recipe)
        some = self.data[:: -(-len(self.data) // _FITTED)]
        start_from_full(self.network, list(codec.g_s)[recipe.shared :], [_sample(each, recipe) for each in some])
        for module in self.network.modules():
            if isinstance(module, nn.Conv2d):
                parametrize.register_parametrization(module, "weight", _Rounded())
        parameters = list(self.network.parameters())
        self.muon = Muon([p for p in parameters if p.ndim == 4], lr=0.0, weight_decay=recipe.weight_decay)
        self.adam = torch.optim.Adam([p for p in parameters if p.ndim != 4], lr=0.0)
        self.step, self.elapsed = 0, 0.0
        self.missed = torch.zeros(_MOST_QUALITIES)  # running means of what is missed of the full synthesis, over `left`
        known = None if checkpoint is None else read_checkpoint(checkpoint, torch.device("cpu"))
        if known is not None:
            self.network.load_state_dict(known["network"])
            self.muon.load_state_dict(known["muon"])
            self.adam.load_state_dict(known["adam"])
            self.step, self.elapsed, self.missed = known["step"], known["elapsed"], known["missed"]

    @property
    def fraction(self) -> float:
        """The part of the run that is done, 0 to 1."""
        if self.recipe.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.recipe.minutes))
        return min(1.0, self.step / self.recipe.steps)

    def run(self, *, every: int = 1000, report: Callable[[LightTrainer], None] = lambda run: None) -> nn.Sequential:
        """Train to the end; every `every` steps report and write the checkpoint. Returns the rounded network."""
        generator = np.random.default_rng(self.recipe.seed + 1000 * self.step)
        while self.fraction < 1:
            started = time.monotonic()
            self._train_step([_crop(self.data, self.recipe.crop, generator) for _ in range(self.recipe.batch)])
            self.elapsed += time.monotonic() - started
            if self.step % every == 0 or self.fraction >= 1:
                report(self)
                self.save()
        return quantised(self.network)

    def _train_step(self, drawn: list[tuple[Example, Tensor]]) -> None:
        recipe, crops = self.recipe, [crop for crop, _ in drawn]
        rate = recipe.learning_rate * (1 - self.fraction) * min(1.0, (self.step + 1) / _WARM_UP)
        for optimizer in (self.muon, self.adam):
            optimizer.param_groups[0]["lr"] = rate
        features = torch.stack([crop.features for crop in crops]).float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_bf16(torch.device("cpu"))):
            pixels = self.network(features)
        original, full = (torch.stack(each) for each in ([c.original for c in crops], [c.full for c in crops]))
        pixels, original, full = pixels.float(), original / 255, full / 255
        judged = torch.stack([part for _, part in drawn])
        target = full.lerp(original, 1 - recipe.distil)
        left = torch.tensor([crop.left for crop in crops])
        bins = torch.tensor([int(crop.quality) for crop in crops])
        with torch.no_grad():
            for number, ratio in zip(bins, ((pixels - full).square() * judged).mean((1, 2, 3)) / left, strict=True):
                known = self.missed[number]
                self.missed[number] = known.lerp(ratio, 0.01) if known > 0 else ratio
        # The gradient of the mean of pictures' decibels.
        weight = 1 / ((left + _NOISE) * (1 + self.missed[bins]))
        (((pixels - target).square() * judged).mean((1, 2, 3)) * weight).mean().backward()
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1

    def save(self) -> None:
        """Write the checkpoint: to a temporary name, then renamed."""
        if self.checkpoint is not None:
            state: dict[str, Any] = {"network": self.network.state_dict(), "muon": self.muon.state_dict()}
            state |= {"adam": self.adam.state_dict(), "step": self.step, "elapsed": self.elapsed, "missed": self.missed}
            write_checkpoint(self.checkpoint, state)


def _sample(example: Example, recipe: LightRecipe) -> Sample:
    """The middle of an example, and what is wanted of it."""
    height, width = (min(side, _FITTED_SIDE) for side in example.features.shape[1:])
    top, left = (example.features.shape[1] - height) // 2, (example.features.shape[2] - width) // 2
    pixels = (..., slice(16 * top, 16 * (top + height)), slice(16 * left, 16 * (left + width)))
    wanted = (example.full[pixels] / 255).lerp(example.original[pixels] / 255, 1 - recipe.distil)
    features = example.features[:, top : top + height, left : left + width].float()
    return Sample(features[None], wanted[None], 1 / (example.left + _NOISE))


def _crop(data: Sequence[Example], side: int, generator: np.random.Generator) -> tuple[Example, Tensor]:
    """A place of one of the examples, more often at the picture's border than elsewhere; and which of its pixels are
    judged, (1, 16 side, 16 side) of mean 1. At the picture's own border all are: there the network pads, too."""
    example = data[int(generator.integers(len(data)))]
    judged = torch.ones(1, 16 * side, 16 * side)
    places = []
    for axis, length in enumerate(example.features.shape[1:], 1):
        last = length - side
        place = min(max(int(generator.integers(-_BORDER, last + _BORDER + 1)), 0), last)
        if place > 0:
            judged.narrow(axis, 0, _EDGE).zero_()
        if place < last:
            judged.narrow(axis, 16 * side - _EDGE, _EDGE).zero_()
        places.append(place)
    top, left = places
    pixels = (..., slice(16 * top, 16 * (top + side)), slice(16 * left, 16 * (left + side)))
    features = example.features[:, top : top + side, left : left + side]
    crop = replace(example, features=features, original=example.original[pixels], full=example.full[pixels])
    return crop, judged / judged.mean()


def quantised(network: nn.Sequential) -> nn.Sequential:
    """The network with weights rounded to 8 bits, as its training sees them, in place of its own; in eval mode."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            if not parametrize.is_parametrized(module, "weight"):
                parametrize.register_parametrization(module, "weight", _Rounded())
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
    return network.eval()


def give_light(
    codec: ResidualHyperprior, network: nn.Sequential, data: Sequence[Example], recipe: LightRecipe
) -> SideReceiver:
    """Makes a trained network, as `LightTrainer.run` returns it, the codec's light receiver, in integers.

    data: some examples, which tell the ranges of activations. Raises ModelError if the network has no integer form.
    """
    coding = codec._ready()
    if coding.synthesis is None:
        raise ModelError(f"model {codec.name} needs an integer synthesis: call `calibrate` before")
    shared = len(float_layers(nn.Sequential(*list(codec.g_s)[: recipe.shared])))
    ranges = calibrate(network, (example.features[None].float() for example in data))
    layers = convert_after(network, coding.synthesis, shared, ranges, largest=WEIGHT_LIMIT, name="light")
    light = SideReceiver.after(coding.synthesis, shared, layers)
    codec.set_receiver("light", light)
    return light


@torch.no_grad()
def decibels_lost(
    codec: ResidualHyperprior, pictures: Sequence[Tensor], qualities: Sequence[float] = ()
) -> dict[float, float]:
    """How far the light receiver's pixels are below the full synthesis's in PSNR: by quality, means over pictures,
    uint8 (3, H, W)."""
    lost: dict[float, float] = {}
    for quality in qualities or range(1, int((codec.qualities or (1, 1))[1]) + 1):
        total = 0.0
        for picture in pictures:
            decoded = codec.as_coded(codec.analyze(picture[None].to(codec.device).float() / 255, float(quality)))
            full, light = (psnr(picture, codec.synthesize_bytes(decoded, each)[0].cpu()) for each in ("full", "light"))
            total += full - light
        lost[float(quality)] = total / len(pictures)
    return lost
