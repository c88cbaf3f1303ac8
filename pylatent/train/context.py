"""From a trained residual hyperprior to a context hyperprior: its weights stay, the context is trained on its latents.

With transforms and hyper-networks fixed, latents are computed once and distortion does not change: what remains to be
learned is rate, from crops of latents that are small enough for two CPU cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pylatent._native import has_bf16
from pylatent.codecs import ContextHyperprior, Latents, ResidualHyperprior
from pylatent.codecs.base import pad
from pylatent.codecs.rounding import nearest
from pylatent.entropy.gaussian import gaussian_bits
from pylatent.train.muon import Muon
from pylatent.train.tables import fit_tables

_ALIVE = 1e-5  # a channel with a smaller part of the bits of every quality is not coded
_NOISY = 0.4  # part of the elements whose rate is that of uniform noise: it teaches the means, rounding the scales
_WARM_UP = 100
_PRIOR_STEPS, _PRIOR_RATE, _PRIOR_POSITIONS = 800, 2e-2, 512


@dataclass(frozen=True)
class ContextRecipe:
    """channels: of the context's networks; crop: side of the crops in latents; one crop a quality in every step."""

    channels: tuple[int, int] = (128, 192)
    bands: int = 4
    crop: int = 20
    steps: int = 15_000
    learning_rate: float = 1.5e-3
    seed: int = 0


@torch.no_grad()
def analyzed(codec: ResidualHyperprior, pictures: Sequence[Tensor]) -> list[Tensor]:
    """y of pictures, uint8 (3, H, W), before the gain: float16 (M, h, w)."""
    x = (pad(picture[None].to(codec.device).float() / 255, codec.alignment) for picture in pictures)
    return [codec.without_gain(each)[0].half().cpu() for each in x]


def with_context(base: ResidualHyperprior, ys: Sequence[Tensor], recipe: ContextRecipe) -> ContextHyperprior:
    """A context hyperprior that computes what `base` does, its channels sorted into those that are coded and the rest.

    ys: as from `analyzed`; they decide which channels carry information. Raises ValueError for a fixed rate.
    """
    if base.lambdas is None:
        raise ValueError("the codec must have a variable rate")
    order_y, order_z, coded = _sorted_channels(base, ys)
    config = base.config | {"coded": coded, "context": recipe.channels, "bands": recipe.bands}
    codec = ContextHyperprior(**config)
    state = base.float_state()
    last = len(base.g_a) - 1
    outputs = [*order_y[: coded[0]].tolist(), *(order_y + base.M).tolist()]  # scales of the coded, means of all
    for part in ("weight", "bias"):
        state[f"g_a.{last}.{part}"] = state[f"g_a.{last}.{part}"][order_y]
        state[f"h_a.4.{part}"] = state[f"h_a.4.{part}"][order_z]
        state[f"h_s.4.{part}"] = state[f"h_s.4.{part}"][outputs]
    for name, order in (("g_s.0.weight", order_y), ("h_a.0.weight", order_y)):
        state[name] = state[name][:, order]
    state["h_s.0.weight"] = state["h_s.0.weight"][order_z]
    for name in ("gain", "inverse_gain"):
        state[name] = state[name][:, order_y]
    prior = {name: value for name, value in state.items() if name.startswith("entropy_bottleneck.")}
    for name, value in prior.items():
        state[name] = value[order_z[: coded[1]]].repeat(recipe.bands, *[1] * (value.ndim - 1))
    state["constants"] = prior["entropy_bottleneck.quantiles"][order_z[coded[1] :], 0, 1]
    missing, unexpected = codec.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("context.") for name in missing)
    return codec.eval()


@torch.no_grad()
def _sorted_channels(base: ResidualHyperprior, ys: Sequence[Tensor]) -> tuple[Tensor, Tensor, tuple[int, int]]:
    """Channels of y and z, those worth coding first in their own order, and the numbers of these."""
    assert base.lambdas is not None
    share = [torch.zeros(base.M), torch.zeros(base.N)]
    for quality in range(1, len(base.lambdas) + 1):
        bits = [torch.zeros(base.M), torch.zeros(base.N)]
        for y in ys:
            latents = base.quantize(_latents(base, [y], [quality]), nearest).latents
            assert latents.scales is not None
            assert latents.scales[0] is not None
            bits[0] += gaussian_bits(_residual(latents, 0), latents.scales[0]).sum((0, 2, 3)).cpu()
            bits[1] += base.prior.bits(_residual(latents, 1)).sum((0, 2, 3)).cpu()
        total = sum(float(each.sum()) for each in bits)
        share = [torch.maximum(old, new / total) for old, new in zip(share, bits, strict=True)]
    orders, counts = [], []
    for each, multiple in zip(share, (2, 1), strict=True):
        count = max(1, int((each > _ALIVE).sum()))
        count += count % multiple
        chosen = each.topk(count).indices.sort().values
        others = torch.ones(len(each), dtype=torch.bool)
        others[chosen] = False
        orders.append(torch.cat([chosen, others.nonzero()[:, 0]]))
        counts.append(count)
    return orders[0], orders[1], (counts[0], counts[1])


def _latents(codec: ResidualHyperprior, ys: Sequence[Tensor], qualities: Sequence[float]) -> Latents:
    """Unquantised latents of y of one size, a quality each."""
    y = torch.stack(tuple(ys)).to(codec.device).float()
    with torch.no_grad():
        levels = codec.levels_above(codec.gained(y, torch.tensor(qualities, dtype=torch.float32, device=y.device)))
    side = codec.alignment
    return Latents(levels, (side * y.shape[2], side * y.shape[3]), tuple(float(quality) for quality in qualities))


def _residual(quantized: Latents, level: int) -> Tensor:
    """Values less means."""
    assert quantized.means is not None
    mean = quantized.means[level]
    assert mean is not None
    return quantized.levels[level] - mean


def _partly_noisy(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
    """Pays for uniform noise in some elements and for the rounded value in the others."""
    rounded = torch.round(residual).detach()
    noisy = torch.rand_like(residual) < _NOISY
    return torch.where(noisy, residual + torch.rand_like(residual) - 0.5, rounded), rounded


def train_context(
    codec: ContextHyperprior,
    ys: Sequence[Tensor],
    recipe: ContextRecipe,
    report: Callable[[int, float], None] = lambda step, bpp: None,
) -> None:
    """Trains the context's networks alone, then the priors of z, then fits the tables: the codec is ready for coding.

    report: is told of steps done and of bits per pixel, a mean over the qualities. Raises ValueError if no picture has
    crop x crop latents.
    """
    assert codec.lambdas is not None
    crops = _crops(ys, len(codec.lambdas), recipe)
    torch.manual_seed(recipe.seed)
    parameters = list(codec.context.parameters())
    codec.requires_grad_(False)
    codec.context.requires_grad_(True)
    muon = Muon([p for p in parameters if p.ndim == 4], lr=0.0)
    adam = torch.optim.Adam([p for p in parameters if p.ndim != 4], lr=0.0)
    qualities = [float(number + 1) for number in range(len(codec.lambdas))]
    running = torch.zeros(len(qualities), device=codec.device)
    for step in range(recipe.steps):
        rate = recipe.learning_rate * (1 - step / recipe.steps) * min(1.0, (step + 1) / _WARM_UP)
        for optimizer in (muon, adam):
            optimizer.param_groups[0]["lr"] = rate
        latents = _latents(codec, next(crops), qualities)
        with torch.autocast(codec.device.type, torch.bfloat16, enabled=has_bf16(codec.device)):
            bits = codec.quantize(latents, _partly_noisy).bits
        bpp = bits[0] / (latents.size[0] * latents.size[1])
        with torch.no_grad():
            running = torch.where(running == 0, bpp, running.lerp(bpp, 0.02))
        (bpp / running).mean().backward()
        for optimizer in (muon, adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % 100 == 99 or step == recipe.steps - 1:
            report(step + 1, float((running + bits[1].mean() / (latents.size[0] * latents.size[1])).mean()))
    codec.requires_grad_(True)
    codec.entropy_bottleneck.quantiles.requires_grad_(False)
    codec.constants.requires_grad_(False)
    _fit_priors(codec, ys)
    codec.update()
    of_all = (_latents(codec, [y], [quality]) for y in ys for quality in qualities)
    codec.update((fit_tables(codec, of_all), codec.prior.tables()))


def _crops(ys: Sequence[Tensor], count: int, recipe: ContextRecipe) -> Iterator[list[Tensor]]:
    """Endless lists of crops, one a quality, half of them mirrored."""
    side = recipe.crop
    large = [y for y in ys if min(y.shape[1:]) >= side]
    if not large:
        raise ValueError(f"no picture has {side} x {side} latents; take smaller crops or larger pictures")
    generator = np.random.default_rng(recipe.seed)
    return _drawn(large, count, side, generator)


def _drawn(ys: Sequence[Tensor], count: int, side: int, generator: np.random.Generator) -> Iterator[list[Tensor]]:
    while True:
        crops = []
        for y in (ys[int(number)] for number in generator.integers(len(ys), size=count)):
            top, left = (int(generator.integers(length - side + 1)) for length in y.shape[1:])
            crop = y[:, top : top + side, left : left + side]
            crops.append(crop.flip(2) if generator.random() < 0.5 else crop)
        yield crops


def _fit_priors(codec: ContextHyperprior, ys: Sequence[Tensor]) -> None:
    """The density of every band from the rounded values of z; medians stay, since h_s knows them."""
    prior, coded = codec.entropy_bottleneck, codec.coded[1]
    assert codec.lambdas is not None
    values: list[list[Tensor]] = [[] for _ in range(codec.bands)]
    for number in range(len(codec.lambdas)):
        for y in ys:
            latents = _latents(codec, [y], [number + 1])
            with torch.no_grad():
                symbols = _residual(codec.quantize(latents, nearest).latents, 1)[:, :coded]
            values[codec.band_of(number + 1)].append(symbols.flatten(2)[0])
    adam = torch.optim.Adam(prior.parameters(), lr=0.0)
    for step in range(_PRIOR_STEPS):
        adam.param_groups[0]["lr"] = _PRIOR_RATE * (1 - step / _PRIOR_STEPS)
        loss = torch.zeros((), device=codec.device)
        for band, parts in enumerate(values):
            symbols = parts[step % len(parts)]
            drawn = symbols[:, torch.randint(symbols.shape[1], (_PRIOR_POSITIONS,), device=symbols.device)]
            loss = loss + prior.bits(drawn[None, :, None], band * coded).sum() / _PRIOR_POSITIONS
        adam.zero_grad()
        loss.backward()
        adam.step()
    medians = prior.medians.clone()
    prior.fit_quantiles()
    with torch.no_grad():
        prior.quantiles[:, 0, 1] = medians
