"""Rate-distortion training of a variable-rate codec: one set of weights for all qualities.

One lambda per picture of the batch, stratified over the qualities; each picture's loss is divided by the running mean
of its quality's loss, so that low and high rates count alike. Muon with weight decay trains the convolutions, Adam the
rest; some pictures get colours that few photographs have. The averaged weights are kept beside the raw ones and are
what is exported. A step does not wait for the device: what it reports are tensors until someone reads them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from pylatent._files import write_bytes
from pylatent._native import has_bf16
from pylatent.codecs.chain import Chain
from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.codecs.latents import Latents
from pylatent.codecs.nested import NestedCodec, PriorName
from pylatent.codecs.residual import ResidualHyperprior
from pylatent.codecs.rounding import mixed
from pylatent.errors import ModelError
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint
from pylatent.train.colours import unusual_colours
from pylatent.train.data import load_images, random_crops
from pylatent.train.muon import Muon

_WARM_UP_STEPS = 200
LAMBDAS = (0.0018, 0.0035, 0.0067, 0.013, 0.025, 0.0483, 0.0932, 0.18)  # times 255^2 MSE; qualities 1 to 8


@dataclass(frozen=True)
class Nested:
    """What makes a recipe's codec a nested one: arguments of `NestedCodec`, whose channels are N and M."""

    levels: int = 4
    prior: PriorName = "logistic"
    common_dim: bool = True
    predict_mean: bool = True
    logistic_scale: float = 1.0
    bin_width: float = 1.0


@dataclass(frozen=True)
class Residual:
    """What makes it a residual hyperprior: arguments of `ResidualHyperprior`, whose other channels are N and M."""

    widths: tuple[int, int, int] = (64, 128, 192)
    hyper: tuple[int, int] = (160, 192)


@dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on. `minutes`, when given, replaces `steps`: the rate then falls by the clock.

    colours: the part of the crops that `unusual_colours` changes, of each kind. weight_decay: of the convolutions.
    """

    N: int = 64
    M: int = 128
    nested: Nested | None = None
    residual: Residual | None = None
    lambdas: tuple[float, ...] = LAMBDAS
    crop: int = 192
    batch: int = 4
    steps: int = 100_000
    minutes: float | None = None
    learning_rate: float = 1e-3
    average: float = 0.999
    weight_decay: float = 0.1
    colours: float = 0.2
    clip: float = 1.0
    seed: int = 0


def make_codec(recipe: Recipe) -> Chain:
    """The codec that a recipe trains, with random weights. Raises ValueError for a nested one that cannot be."""
    gains = len(recipe.lambdas)
    if recipe.residual is not None:
        return ResidualHyperprior(M=recipe.M, N=recipe.N, lambdas=recipe.lambdas, **asdict(recipe.residual))
    if recipe.nested is None:
        return MeanScaleHyperprior(recipe.N, recipe.M, gains=gains)
    return NestedCodec(channels=recipe.N, latent_channels=recipe.M, gains=gains, **asdict(recipe.nested))


@dataclass(frozen=True)
class Progress:
    """What the caller's progress bar is told; reading `loss`, `bpp` or `psnr` waits for the device."""

    step: int
    fraction: float
    means: Tensor  # loss, bits per pixel, MSE of the batch

    @property
    def loss(self) -> float:
        return float(self.means[0])

    @property
    def bpp(self) -> float:
        return float(self.means[1])

    @property
    def psnr(self) -> float:
        return float(-10 * torch.log10(self.means[2]))


def _shape(weights: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(weights[name].shape) if name in weights else None


class _Objective(nn.Module):
    """Plain tensors out, as Fabric's wrappers need them: (mse, bits per pixel), each (B,)."""

    def __init__(self, codec: Chain) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, x: Tensor, quality: Tensor) -> tuple[Tensor, Tensor]:
        size = (x.shape[2], x.shape[3])
        rated = self.codec.quantize(Latents(self.codec.analysis(x, quality), size), mixed)
        x_hat = self.codec.synthesis(rated.latents.levels, quality)
        bits = torch.stack([level.float() for level in rated.bits]).sum(0)
        return (x_hat.float() - x).pow(2).mean((1, 2, 3)), bits / (size[0] * size[1])


class Trainer:
    """One run: model, optimisers and averages, with a checkpoint that it resumes from."""

    def __init__(self, recipe: Recipe, folder: Path, *, precision: str = "auto", devices: int = 1) -> None:
        if precision == "auto":
            precision = "bf16-mixed" if torch.cuda.is_available() or has_bf16(torch.device("cpu")) else "32-true"
        self.recipe, self.folder = recipe, folder
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        count = devices if accelerator == "cuda" else 1
        self.fabric = Fabric(accelerator=accelerator, devices=count, precision=precision)  # type: ignore[arg-type]
        self.fabric.launch()
        self.fabric.seed_everything(recipe.seed + self.fabric.global_rank, verbose=False)
        self.codec = make_codec(recipe)
        self.step, self.elapsed = 0, 0.0
        self.scale = torch.zeros(len(recipe.lambdas))  # running mean loss of each quality

    def start_from(self, state_dict: dict[str, Tensor]) -> None:
        """Take the weights of an earlier run (as `Codec.state_dict`). ModelError for another architecture's."""
        self._load(state_dict, "the weights to start from are")

    def prepare(self) -> None:
        """Build optimisers and averages, then resume from the folder's checkpoint if there is one.

        Raises ModelError if that is of a run with another architecture.
        """
        self.codec.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights = [p for name, p in self.codec.named_parameters() if p.ndim == 4]
        rest = [p for p in self.codec.parameters() if p.ndim != 4 and p.requires_grad]
        muon = Muon(weights, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)
        adam = torch.optim.Adam(rest, lr=self.recipe.learning_rate, fused=True)
        self.average = {name: p.detach().clone() for name, p in self.codec.float_state().items()}
        checkpoint = read_checkpoint(self.folder / "checkpoint.pt", self.fabric.device)
        if checkpoint is not None:
            self._load(checkpoint["model"], f"{self.folder} holds a run")
            self.average = checkpoint["average"]
            muon.load_state_dict(checkpoint["muon"])
            adam.load_state_dict(checkpoint["adam"])
            self.step, self.elapsed, self.scale = checkpoint["step"], checkpoint["elapsed"], checkpoint["scale"]
        self.scale = self.scale.to(self.fabric.device)
        self._lambdas = torch.tensor(self.recipe.lambdas, device=self.fabric.device)
        self._places = torch.arange(self.recipe.batch, device=self.fabric.device)
        self.model, self.muon, self.adam = self.fabric.setup(_Objective(self.codec), muon, adam)

    def _load(self, weights: dict[str, Tensor], whose: str) -> None:
        try:
            self.codec.load_state_dict(weights)
        except RuntimeError as error:
            wanted = self.codec.float_state()
            other = [name for name in weights.keys() | wanted.keys() if _shape(weights, name) != _shape(wanted, name)]
            name = min(other, default="its weights")
            raise ModelError(
                f"{whose} of another architecture: {name} has shape {_shape(weights, name)}, here "
                f"{_shape(wanted, name)}: give the options that it was made with, or another folder"
            ) from error

    @property
    def fraction(self) -> float:
        """The part of the run that is done, 0 to 1."""
        if self.recipe.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.recipe.minutes))
        return min(1.0, self.step / self.recipe.steps)

    def run(
        self,
        photos: Path,
        *,
        validate: Callable[[Chain], dict[str, Any]] | None = None,
        every: int = 2000,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Train to the end. Every `every` steps: checkpoint, and a line of `validate`'s results in log.jsonl."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / "recipe.json", json.dumps(asdict(self.recipe), indent=1).encode())
        images = load_images(photos, self.recipe.crop)
        seed = self.recipe.seed + 1000 * self.step + self.fabric.global_rank
        crops = random_crops(images, self.recipe.crop, self.recipe.batch, seed)
        self.model.train()
        while self.fraction < 1:
            started = time.monotonic()
            progress = self._train_step(next(crops))
            self.elapsed += time.monotonic() - started
            self.step += 1
            report(progress)
            if self.step % every == 0 or self.fraction >= 1:
                self._log(progress, validate)
                self.save()

    def _train_step(self, x: Tensor) -> Progress:
        recipe = self.recipe
        warm_up = min(1.0, max((self.step + 1) / _WARM_UP_STEPS, 20 * self.fraction))
        rate = recipe.learning_rate * (1 - self.fraction) ** 2 * warm_up
        for optimizer in (self.muon, self.adam):
            for group in optimizer.param_groups:
                group["lr"] = rate
        if self.fabric.device.type == "cuda":
            x = x.pin_memory()
        x = x.to(self.fabric.device, non_blocking=True).float() / 255
        x = unusual_colours(x, recipe.colours).contiguous(memory_format=torch.channels_last)
        picks = (self._places + self.step * recipe.batch) % len(recipe.lambdas)
        mse, bpp = self.model(x, picks + 1.0)
        losses = self._lambdas[picks] * 255**2 * mse + bpp
        self._follow(picks, losses.detach())
        self.fabric.backward((losses / self.scale[picks]).mean())
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), recipe.clip)
        for optimizer in (self.muon, self.adam):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.step % 1000 == 999:
            self.codec.fit_prior()
        with torch.no_grad():
            decay = min(recipe.average, (self.step + 1) / (self.step + 10))
            for name, value in self.codec.float_state().items():
                self.average[name].lerp_(value, 1 - decay)
        means = torch.stack([losses.detach().mean(), bpp.detach().mean(), mse.detach().mean()])
        return Progress(self.step, self.fraction, means)

    def _follow(self, picks: Tensor, losses: Tensor) -> None:
        """Running means of the loss at the qualities of this batch."""
        count = torch.zeros_like(self.scale).index_add(0, picks, torch.ones_like(losses))
        mean = torch.zeros_like(self.scale).index_add(0, picks, losses) / count.clamp_min(1)
        followed = torch.where(self.scale > 0, 0.99 * self.scale + 0.01 * mean, mean)
        self.scale = torch.where(count > 0, followed, self.scale)

    def averaged(self) -> Chain:
        """The model with averaged weights, in eval mode, on the CPU: what is validated and exported."""
        codec = make_codec(self.recipe)
        codec.load_state_dict({name: value.cpu() for name, value in self.average.items()})
        codec.fit_prior()
        return codec.eval()

    def _log(self, progress: Progress, validate: Callable[[Chain], dict[str, Any]] | None) -> None:
        if self.fabric.global_rank == 0:
            line: dict[str, Any] = {"step": self.step, "minutes": self.elapsed / 60, "loss": self.scale.tolist()}
            if validate is not None:
                line |= validate(self.averaged())
            with open(self.folder / "log.jsonl", "a") as log:
                log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write the checkpoint: to a temporary name, then renamed."""
        if self.fabric.global_rank == 0:
            state = {
                "model": self.codec.float_state(),
                "average": self.average,
                "muon": self.muon.state_dict(),
                "adam": self.adam.state_dict(),
                "step": self.step,
                "elapsed": self.elapsed,
                "scale": self.scale,
            }
            write_checkpoint(self.folder / "checkpoint.pt", state)
