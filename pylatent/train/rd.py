"""Rate-distortion training of a variable-rate codec: one set of weights for all qualities.

One lambda per picture of the batch, stratified over the qualities; each picture's loss is divided by the running mean
of its quality's loss, so that low and high rates count alike. Muon with weight decay trains convolutions and matrices,
Adam the rest; some pictures get colours that few photographs have. The averaged weights are kept beside the raw ones
and are what is exported. A step does not wait for the device: what it reports are tensors until someone reads them, and
everything that changes from step to step lies in tensors that stay where they are, so that on one CUDA device a step is
captured as a graph (`graph_step`).
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
from pylatent._text import count
from pylatent.codecs.base import Codec
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import mixed
from pylatent.errors import ModelError
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint
from pylatent.train.colours import unusual_colours
from pylatent.train.data import load_images, random_crops
from pylatent.train.graph_step import GraphStep
from pylatent.train.muon import Muon, split
from pylatent.train.recipe import Recipe, make_codec

_WARM_UP_STEPS = 200
_LOOKED_AT = 20  # steps between looks at whether the loss is finite, each of which waits for the device


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


def _levels(weights: dict[str, Tensor]) -> str:
    """How many qualities a codec's gains are for."""
    return count(len(weights["gain"]), "quality level") if "gain" in weights else "a fixed rate"


class _Objective(nn.Module):
    """Plain tensors out, as Fabric's wrappers need them: (mse, bits per pixel), each (B,)."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    def forward(self, x: Tensor, quality: Tensor, qualities: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """quality: (B,), on the device what `qualities` are here."""
        size = (x.shape[2], x.shape[3])
        rated = self.codec.quantize(Latents(self.codec.analysis(x, quality), size, qualities), mixed)
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
        device, self._qualities = self.fabric.device, len(recipe.lambdas)
        self.scale = torch.zeros(self._qualities, device=device)  # running mean loss of each quality
        self.failed = torch.zeros((), dtype=torch.int64, device=device)  # the first step of no finite loss
        self._lambdas = torch.tensor(recipe.lambdas, device=device)
        self._places = torch.arange(recipe.batch, device=device)
        # What a step reads and writes: pixels, its number, the learning rate, the weight of the averages, means.
        self._x = torch.zeros((recipe.batch, 3, recipe.crop, recipe.crop), dtype=torch.uint8, device=device)
        self._number = torch.zeros((), dtype=torch.int64, device=device)
        self._rate, self._decay, self._means = (torch.zeros(n, device=device) for n in ((), (), (3,)))

    def start_from(self, state_dict: dict[str, Tensor]) -> None:
        """Take the weights of an earlier run (as `Codec.state_dict`). ModelError for another architecture's."""
        self._load(state_dict, "the weights to start from are")

    def prepare(self) -> None:
        """Build optimisers and averages, then resume from the folder's checkpoint if there is one.

        Raises ModelError if that is of a run with another architecture.
        """
        self.codec.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        weights, rest = split({name: p for name, p in self.codec.named_parameters() if p.requires_grad})
        muon = Muon(weights, lr=self._rate, weight_decay=self.recipe.weight_decay)
        captured = self.fabric.device.type == "cuda"
        adam = torch.optim.Adam(rest, lr=self._rate, fused=True, capturable=captured)
        self.average = {name: p.detach().clone() for name, p in self.codec.float_state().items()}
        checkpoint = read_checkpoint(self.folder / "checkpoint.pt", self.fabric.device)
        if checkpoint is not None:
            self._load(checkpoint["model"], f"{self.folder} holds a run")
            self.average = checkpoint["average"]
            muon.load_state_dict(checkpoint["muon"])
            adam.load_state_dict(checkpoint["adam"])
            self.step, self.elapsed = checkpoint["step"], checkpoint["elapsed"]
            self.scale.copy_(checkpoint["scale"])
            for group in (*muon.param_groups, *adam.param_groups):  # which the checkpoint had of its own
                group["lr"] = self._rate
            adam.param_groups[0]["capturable"] = captured
        self._number.fill_(self.step)
        self.model, self.muon, self.adam = self.fabric.setup(_Objective(self.codec), muon, adam)
        alone = self.fabric.world_size == 1  # captured, there is nobody to wait for
        self._run_step: Callable[[], None] = self._step
        if captured and alone:
            self._run_step = GraphStep(self._step, self.why_not_captured())

    def why_not_captured(self) -> str | None:
        """Captured, every step has the same tuple of qualities."""
        batch, levels = self.recipe.batch, self._qualities
        if batch % levels == 0:
            return None
        return f"--batch {batch} is no multiple of the {levels} qualities: {levels * (batch // levels + 1)} is"

    def _load(self, weights: dict[str, Tensor], whose: str) -> None:
        try:
            self.codec.load_state_dict(weights)
        except RuntimeError as error:
            wanted = self.codec.float_state()
            theirs, ours = (_levels(state) for state in (weights, wanted))
            if theirs != ours:
                raise ModelError(
                    f"{whose} of {theirs}, this one is of {ours}: give as many --lambdas, or another folder"
                ) from error
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
        validate: Callable[[Codec], dict[str, Any]] | None = None,
        every: int = 2000,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        """Train to the end. Every `every` steps: checkpoint, and a line of `validate`'s results in log.jsonl.

        Raises ModelError, and keeps the last checkpoint, when the loss is not a finite number.
        """
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
            saves = self.step % every == 0 or self.fraction >= 1
            if saves or self.step % _LOOKED_AT == 0:
                self._stop_if_not_finite()
            if saves:
                self._log(progress, validate)
                self.save()

    def _train_step(self, x: Tensor) -> Progress:
        recipe = self.recipe
        warm_up = min(1.0, max((self.step + 1) / _WARM_UP_STEPS, 20 * self.fraction))
        rate = recipe.learning_rate * (1 - self.fraction) ** 2 * warm_up
        self._rate.fill_(rate)
        self._decay.fill_(min(recipe.average, (self.step + 1) / (self.step + 10)))
        self._x.copy_(x.pin_memory() if self.fabric.device.type == "cuda" else x, non_blocking=True)
        if self.step % 1000 == 0 and self.step:
            self.codec.fit_prior()
        self._run_step()
        return Progress(self.step, self.fraction, self._means.clone())

    def _step(self) -> None:
        """One step on the crops in `_x`, with nothing from Python that changes, but for `qualities` (see `prepare`)."""
        recipe, levels = self.recipe, self._qualities
        for optimizer in (self.muon, self.adam):
            optimizer.zero_grad(set_to_none=True)
        x = unusual_colours(self._x.float() / 255, recipe.colours).contiguous(memory_format=torch.channels_last)
        first = self.step * recipe.batch
        qualities = tuple((first + i) % levels + 1.0 for i in range(recipe.batch))
        picks = (self._places + self._number * recipe.batch) % levels
        mse, bpp = self.model(x, picks + 1.0, qualities)
        losses = self._lambdas[picks] * 255**2 * mse + bpp
        self._follow(picks, losses.detach())
        self._number.add_(1)
        failed = ~losses.detach().isfinite().all() & (self.failed == 0)
        self.failed.copy_(torch.where(failed, self._number, self.failed))
        self.fabric.backward((losses / self.scale[picks]).mean())
        torch.nn.utils.clip_grad_norm_(self.codec.parameters(), recipe.clip)
        self.muon.step()
        self.adam.step()
        with torch.no_grad():
            live = self.codec.float_state()
            kept = [self.average[name] for name in live]
            torch._foreach_mul_(kept, self._decay)
            torch._foreach_add_(kept, torch._foreach_mul(list(live.values()), 1 - self._decay))
        self._means.copy_(torch.stack([losses.detach().mean(), bpp.detach().mean(), mse.detach().mean()]))

    def _stop_if_not_finite(self) -> None:
        if step := int(self.fabric.all_reduce(self.failed, reduce_op="max")):  # type: ignore[arg-type]  # a tensor
            kept = read_checkpoint(self.folder / "checkpoint.pt", torch.device("cpu"))
            left = "there is no checkpoint yet" if kept is None else f"the checkpoint of step {kept['step']} stays"
            raise ModelError(
                f"the loss of step {step} is not finite: {left}; start from it with a smaller "
                "--learning-rate, another --seed or --precision 32-true"
            )

    def _follow(self, picks: Tensor, losses: Tensor) -> None:
        """Running means of the loss at the qualities of this batch."""
        count = torch.zeros_like(self.scale).index_add(0, picks, torch.ones_like(losses))
        mean = torch.zeros_like(self.scale).index_add(0, picks, losses) / count.clamp_min(1)
        followed = torch.where(self.scale > 0, 0.99 * self.scale + 0.01 * mean, mean)
        self.scale.copy_(torch.where(count > 0, followed, self.scale))

    def averaged(self) -> Codec:
        """The model with averaged weights, in eval mode, on the CPU: what is validated and exported."""
        codec = make_codec(self.recipe)
        codec.load_state_dict({name: value.cpu() for name, value in self.average.items()})
        codec.fit_prior()
        return codec.eval()

    def _log(self, progress: Progress, validate: Callable[[Codec], dict[str, Any]] | None) -> None:
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
