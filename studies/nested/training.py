"""Training for the ablation of nested codecs: entropy levels on latents of the shipped model's transforms.

y of whole training photographs is computed once, before the gain; a step takes random crops of it, at qualities that
take turns. Everything random follows from the seed and the number of the step, so that a run that was cut goes on as it
would have.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import pylatent
from pylatent import images
from pylatent.codecs import Latents, MeanScaleHyperprior, NestedCodec
from pylatent.codecs.rounding import mixed, nearest
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint
from pylatent.train.data import find_images
from pylatent.train.muon import Muon

CROP = 32  # positions of y, 512 pixels: the deepest of five levels has 2x2
BATCH = 4
RATE, PRIOR_RATE = 5e-3, 5e-2  # of Muon (and Adam for biases), and of Adam for a learned prior
_FIT_EVERY, _SAVE_EVERY, _WARM_UP, _RATE_BATCHES = 100, 200, 20, 8
_SIZE = (16 * CROP, 16 * CROP)


@dataclass(frozen=True)
class Setting:
    """One row of the ablation."""

    levels: int
    prior: str
    scale: float = 1.0
    common_dim: bool = True
    predict_mean: bool = True
    seed: int = 1

    @property
    def label(self) -> str:
        """The setting without its seed."""
        parts = [f"L{self.levels}", self.prior if self.prior == "factorized" else f"logistic-s{self.scale:g}"]
        parts += [] if self.common_dim else ["shrinking"]
        parts += [] if self.predict_mean else ["zero-mean"]
        return "-".join(parts)

    @property
    def name(self) -> str:
        return f"{self.label}-seed{self.seed}"

    def codec(self, base: MeanScaleHyperprior) -> NestedCodec:
        """With the transforms and gains of `base`, and entropy levels drawn by the seed."""
        torch.manual_seed(self.seed)
        codec = NestedCodec(
            self.levels,
            channels=base.N,
            latent_channels=base.M,
            prior=self.prior,  # type: ignore[arg-type]
            common_dim=self.common_dim,
            predict_mean=self.predict_mean,
            gains=base.config["gains"],
            logistic_scale=self.scale,
        )
        shared = {name: value for name, value in base.state_dict().items() if name.startswith(("g_", "gain", "inv"))}
        left = codec.load_state_dict(shared, strict=False)
        assert not left.unexpected_keys
        assert not any(name.startswith(("g_", "gain", "inv")) for name in left.missing_keys)
        for name, parameter in codec.named_parameters():
            parameter.requires_grad_(name.startswith(("h_", "deepest")) and not name.endswith("quantiles"))
        codec.lambdas = base.lambdas
        return codec


@dataclass(frozen=True)
class TrainingSet:
    """y (1, M, h, w) of each photograph before the gain; gains (Q, M); mean bits per pixel of the base model (Q,)."""

    photos: list[Tensor]
    gains: Tensor
    rates: Tensor

    def crops(self, seed: int, step: int) -> Tensor:
        """(BATCH, M, CROP, CROP) from photographs drawn by area."""
        generator = np.random.default_rng([seed, step])
        areas = np.array([photo.shape[2] * photo.shape[3] for photo in self.photos], dtype=np.float64)
        crops = []
        for index in generator.choice(len(self.photos), BATCH, p=areas / areas.sum()):
            photo = self.photos[index]
            top, left = (int(generator.integers(0, side - CROP + 1)) for side in photo.shape[2:])
            crops.append(photo[0, :, top : top + CROP, left : left + CROP])
        return torch.stack(crops)


@torch.no_grad()
def training_set(base: MeanScaleHyperprior, folder: Path, cache: Path) -> TrainingSet:
    """Read from `cache`, or computed and written there."""
    assert base.gain is not None
    state = read_checkpoint(cache, torch.device("cpu"))
    if state is None:
        state = {"photos": [], "rates": torch.zeros(len(base.gain))}
        for path in find_images(folder):
            x = images.read(path).tensor[None].float() / 255
            height, width = (side // 16 * 16 for side in x.shape[2:])
            if min(height, width) >= 16 * CROP:
                state["photos"].append(base.analysis(x[..., :height, :width], None)[0])
        data = TrainingSet(state["photos"], base.gain, state["rates"])
        for step in range(_RATE_BATCHES):
            for pick, gain in enumerate(base.gain):
                levels = base.levels_above(data.crops(0, step) * gain[:, None, None])
                bits = base.quantize(Latents(levels, _SIZE), nearest).bits
                data.rates[pick] += bits_per_pixel(bits).mean() / _RATE_BATCHES
        write_checkpoint(cache, state)
    return TrainingSet(state["photos"], base.gain.detach(), state["rates"])


def bits_per_pixel(bits: tuple[Tensor, ...]) -> Tensor:
    """(B,) of crops, all levels together."""
    return torch.stack(bits).sum(0) / (_SIZE[0] * _SIZE[1])


def train(
    setting: Setting, base: MeanScaleHyperprior, data: TrainingSet, steps: int, checkpoint: Path
) -> tuple[NestedCodec, float]:
    """The trained codec, ready for coding, and the seconds of processor time spent.

    The loss is bits per pixel over those of the base model, by quality.
    """
    codec = setting.codec(base)
    h = {name: p for name, p in codec.named_parameters() if name.startswith("h_")}
    muon = Muon([p for p in h.values() if p.ndim == 4], lr=RATE)
    groups = [{"params": [p for p in h.values() if p.ndim != 4], "peak": RATE}]
    learned = [p for p in codec.deepest.parameters() if p.requires_grad]
    adam = torch.optim.Adam([*groups, {"params": learned, "peak": PRIOR_RATE}] if learned else groups)
    optimizers = {"muon": muon, "adam": adam}
    start, seconds = 0, 0.0
    state = read_checkpoint(checkpoint, torch.device("cpu"))
    if state is not None:
        codec.load_state_dict(state["codec"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state[name])
        start, seconds = state["step"], state["seconds"]
    codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    began, losses = time.process_time(), []
    for step in range(start, steps):
        if setting.prior == "factorized" and step % _FIT_EVERY == 0:
            codec.fit_prior()
        torch.manual_seed(1_000_003 * setting.seed + step)
        picks = (step * BATCH + torch.arange(BATCH)) % len(data.gains)
        y = data.crops(setting.seed, step) * data.gains[picks][:, :, None, None]
        rate = (1 - step / steps) ** 2 * min(1.0, (step + 1) / _WARM_UP)
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate * group.get("peak", RATE)
        levels = codec.levels_above(y.contiguous(memory_format=torch.channels_last))
        loss = (bits_per_pixel(codec.quantize(Latents(levels, _SIZE), mixed).bits) / data.rates[picks]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in codec.parameters() if p.requires_grad], 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        if (step + 1) % _SAVE_EVERY == 0 or step + 1 == steps:
            spent = seconds + time.process_time() - began
            state = {"codec": codec.state_dict(), "step": step + 1, "seconds": spent}
            write_checkpoint(checkpoint, state | {name: each.state_dict() for name, each in optimizers.items()})
            print(f"{setting.name}: step {step + 1}, loss {np.mean(losses[-100:]):.4f}, {spent:.0f} s", flush=True)
    codec.fit_prior()
    codec.update()
    return codec.eval(), seconds + time.process_time() - began


def shipped() -> MeanScaleHyperprior:
    """The shipped model, whose transforms and gains all settings share."""
    base = pylatent.load("default")
    assert isinstance(base, MeanScaleHyperprior)
    return base
