"""Perception-oriented fine-tuning of a trained variable-rate codec (Zhang et al. 2025, arXiv 2507.01608).

    codec:          λ_rate R + λ_d MSE + λ_perc LPIPS(VGG) + λ_G BCE(D(y_hat, x_hat), original), pixels in [-1, 1]
    discriminator:  BCE(D(y_hat, x), original) + BCE(D(y_hat, x_hat), decoding)

One quality a step, a discriminator each; codec and discriminator learn in turn, after a part of the run without one.
Muon trains the codec's convolutions and matrices, Adam the rest and the discriminators.
Where no λ_rate are given, each follows the bits of the model that the run started from, and keeps to them. With
`receiver_only` nothing learns but what decoding alone needs: files and their bits stay as they are.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from pylatent._files import write_bytes
from pylatent._native import has_bf16
from pylatent.codecs import Codec
from pylatent.codecs.chain import Chain
from pylatent.codecs.rounding import mixed
from pylatent.errors import ModelError
from pylatent.evaluation.lpips import LPIPS
from pylatent.train.checkpoint import read_checkpoint, write_checkpoint
from pylatent.train.data import load_images, random_crops
from pylatent.train.discriminator import Discriminator, judged, share_right
from pylatent.train.muon import Muon, split
from pylatent.train.perceptual_receiver import with_perceptual
from pylatent.train.perceptual_recipe import PerceptualRecipe, check_recipe, natural_rate
from pylatent.train.perceptual_terms import CodecPass, Progress, code, perceived

_WARM_UP = 100  # steps: the first ones are as long as the rate whatever the gradient
# λ_rate follows the logarithm of the bits' excess, averaged over some 20 steps of a quality: at once, and its sum.
_AVERAGED, _AT_ONCE, _FOLLOW = 0.05, 4.0, 0.1
_OPTIMIZERS = "Muon and Adam"  # of the codec, in checkpoints
_LOOK = 20  # steps between looks at whether the losses were numbers: a look waits for the device


class PerceptualTrainer:
    """One run: codec, discriminators, optimisers and averages, with a checkpoint that it resumes from.

    codec: a trained one, which stays as it is. metric: LPIPS on VGG, or None where the recipe has no perception. Raises
    ValueError for a codec or recipe that cannot be.
    """

    def __init__(
        self,
        codec: Codec,
        metric: LPIPS | None,
        recipe: PerceptualRecipe,
        folder: Path,
        *,
        precision: str = "auto",
        devices: int = 1,
    ) -> None:
        check_recipe(codec, metric, recipe)
        if precision == "auto":
            precision = "bf16-mixed" if torch.cuda.is_available() or has_bf16(torch.device("cpu")) else "32-true"
        self.start, self.recipe, self.folder = codec, recipe, folder
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
        count = devices if accelerator == "cuda" else 1
        self.fabric = Fabric(accelerator=accelerator, devices=count, precision=precision)  # type: ignore[arg-type]
        self.fabric.launch()
        self.fabric.seed_everything(recipe.seed + self.fabric.global_rank, verbose=False)
        device = self.fabric.device
        self.metric = None if metric is None else metric.to(device)
        self.codec = copy.deepcopy(codec).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.codec.drop_synthesis()
        if recipe.receiver_only:
            for name, parameter in self.codec.named_parameters():
                parameter.requires_grad_(name.startswith(codec.decoder_names))
        self._bits_of = copy.deepcopy(self.codec).requires_grad_(False)  # the start, for the bits that it takes
        self.learning = {name: p for name, p in self.codec.named_parameters() if p.requires_grad}
        self.average = {name: p.detach().clone() for name, p in self.learning.items()}
        channels = codec.level_shapes((recipe.crop, recipe.crop))[0][0]
        self.critics = [Discriminator(channels).to(device) for _ in recipe.qualities]
        weights, rest = split(self.learning)
        self.muon = Muon(weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
        self.adam = torch.optim.Adam(rest, lr=recipe.learning_rate)
        optimizers = [torch.optim.Adam(critic.parameters(), lr=recipe.learning_rate) for critic in self.critics]
        self.rates = torch.tensor(
            recipe.rates or [natural_rate(codec, each, recipe.distortion) for each in recipe.qualities]
        )
        self.excess = torch.zeros(len(recipe.qualities))  # of bits, as natural logarithms
        self.accuracy = torch.full((len(recipe.qualities),), 0.5)
        self.step, self.elapsed = 0, 0.0
        self._resume(optimizers)
        self.rates, self.excess, self.accuracy = (t.to(device) for t in (self.rates, self.excess, self.accuracy))
        self.failed = torch.full((), -1, device=device)  # the first step whose loss was no number
        learner = CodecPass(self.codec, recipe.receiver_only)
        self.model, self.muon, self.adam = self.fabric.setup(learner, self.muon, self.adam)
        self.judges = [
            self.fabric.setup(critic, optimizer) for critic, optimizer in zip(self.critics, optimizers, strict=True)
        ]

    def _resume(self, optimizers: list[torch.optim.Adam]) -> None:
        """Go on from the folder's checkpoint, if there is one. Raises ModelError if it is of another run."""
        known = read_checkpoint(self.folder / "checkpoint.pt", self.fabric.device)
        if known is None:
            return
        for name, here in self._settled().items():
            if known.get(name) != here:
                raise ModelError(
                    f"{self.folder} holds a run with {name} {known.get(name)}, here {here}: give those, or another "
                    "folder"
                )
        try:
            self.codec.load_state_dict(known["model"])
        except RuntimeError as error:
            raise ModelError(
                f"{self.folder} holds a run of another architecture, or of other levels of quality: {error}"
            ) from error
        self.average = known["average"]
        self.muon.load_state_dict(known["muon"])
        self.adam.load_state_dict(known["adam"])
        for critic, optimizer, state in zip(self.critics, optimizers, known["critics"], strict=True):
            critic.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        self.rates, self.accuracy = known["rates"], known["accuracy"]
        self.excess = known.get("excess", self.excess)
        self.step, self.elapsed = known["step"], known["elapsed"]

    def _settled(self) -> dict[str, Any]:
        """What a run that goes on cannot change."""
        recipe = self.recipe
        return {"qualities": list(recipe.qualities), "receiver_only": recipe.receiver_only, "optimizers": _OPTIMIZERS}

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
        """Train to the end. Every `every` steps: checkpoint, and a line in log.jsonl with `validate`'s results.

        Raises ModelError if a loss is no number any more, with its step; the last checkpoint is kept.
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
            if progress is not None:
                report(progress)
            if self.step % _LOOK == 0 or self.step % every == 0 or self.fraction >= 1:
                self._check_numbers()
            if self.step % every == 0 or self.fraction >= 1:
                self._log(validate)
                self.save()

    def _train_step(self, x: Tensor) -> Progress | None:
        rate = self.recipe.learning_rate * (1 - self.fraction) * min(1.0, (self.step + 1) / _WARM_UP)
        for optimizer in (self.muon, self.adam, *(each for _, each in self.judges)):
            optimizer.param_groups[0]["lr"] = rate
        x = (x.pin_memory() if self.fabric.device.type == "cuda" else x).to(self.fabric.device, non_blocking=True)
        x = (x.float() / 255).contiguous(memory_format=torch.channels_last)
        adversarial = self.recipe.adversarial > 0 and self.fraction >= self.recipe.alone
        place = (self.step // 2 if adversarial else self.step) % len(self.recipe.qualities)
        if adversarial and self.step % 2 == 0:
            self._teach_critic(x, place)
            return None
        return self._teach_codec(x, place, adversarial)

    def _teach_critic(self, x: Tensor, place: int) -> None:
        with torch.no_grad():
            x_hat, y_hat, _ = self.model(x, self.recipe.qualities[place])
        judge, optimizer = self.judges[place]
        logits = judge(torch.cat([y_hat, y_hat]), torch.cat([x, x_hat.clamp(0, 1)]))
        of_originals, of_decodings = logits.chunk(2)
        loss = judged(of_originals, True) + judged(of_decodings, False)
        self._descend(loss, [optimizer], self.critics[place].parameters())
        self.accuracy[place].lerp_(share_right(of_originals, of_decodings), 0.05)

    def _teach_codec(self, x: Tensor, place: int, adversarial: bool) -> Progress:
        recipe, quality = self.recipe, self.recipe.qualities[place]
        x_hat, y_hat, bpp = self.model(x, quality)
        mse = (x_hat - x).square().mean()
        loss = recipe.distortion * 4 * mse  # of pixels in [-1, 1]
        distance = torch.zeros((), device=x.device)
        if self.metric is not None:
            with self.fabric.autocast():
                distance = perceived(self.metric, x, x_hat)
            loss = loss + recipe.perception * distance
        if adversarial:
            critic = self.critics[place].requires_grad_(False)
            with self.fabric.autocast():
                loss = loss + recipe.adversarial * judged(critic(y_hat, x_hat), True)
            critic.requires_grad_(True)
        if not recipe.receiver_only:
            if not recipe.rates:
                self._follow(place, x, bpp.detach().mean())
            loss = loss + self.rate(place) * bpp.mean()
        self._descend(loss, [self.muon, self.adam], self.learning.values())
        with torch.no_grad():
            decay = min(recipe.average, (self.step + 1) / (self.step + 10))
            for name, value in self.learning.items():
                self.average[name].lerp_(value.detach(), 1 - decay)
        means = torch.stack([bpp.detach().mean(), mse.detach(), distance.detach()])
        return Progress(self.step, self.fraction, means, self.accuracy)

    def rate(self, place: int) -> Tensor:
        """λ_rate of the quality in this place."""
        return self.rates[place] * (_AT_ONCE * self.excess[place]).exp()

    @torch.no_grad()
    def _follow(self, place: int, x: Tensor, bpp: Tensor) -> None:
        """λ_rate rises where the codec takes more bits than the start does for the same pictures."""
        with self.fabric.autocast():
            _, wanted = code(self._bits_of, x, self.recipe.qualities[place], mixed)
        self.excess[place].lerp_((bpp / wanted.mean()).log(), _AVERAGED)
        self.rates[place] *= (_FOLLOW * self.excess[place]).exp()

    def _descend(self, loss: Tensor, optimizers: list[Any], parameters: Any) -> None:
        failed = ~torch.isfinite(loss.detach()) & (self.failed < 0)
        self.failed = torch.where(failed, self.step, self.failed)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        torch.nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        for optimizer in optimizers:
            optimizer.step()

    def _check_numbers(self) -> None:
        failed: Any = self.fabric.all_reduce(self.failed, reduce_op="max")
        if (step := int(failed)) >= 0:
            path = self.folder / "checkpoint.pt"
            kept = f"{path} is the last good one" if path.exists() else "there is no checkpoint yet"
            raise ModelError(f"the loss of step {step} is not a number; {kept}: go on with a lower learning rate")

    def averaged(self) -> Codec:
        """The start with the averaged weights, in eval mode, on the CPU, its pixels by the float synthesis.

        With `receiver_only` it codes what the start codes; otherwise it needs `update`.
        """
        codec = copy.deepcopy(self.start)
        codec.drop_synthesis()
        with torch.no_grad():
            for name, parameter in codec.named_parameters():
                if name in self.average:
                    parameter.copy_(self.average[name])
        if not self.recipe.receiver_only:
            codec.fit_prior()
        return codec.eval()

    def finished(self, photos: Path) -> Codec:
        """`averaged`, ready for coding. Where the start's synthesis is in integers, so is the trained one, fitted to
        the photos; with `receiver_only` as the start's perceptual receiver."""
        codec = self.averaged()
        if not self.recipe.receiver_only:
            codec.update()
        if isinstance(self.start, Chain) and isinstance(codec, Chain) and self.start.defines_pixels:
            pictures = (picture[None].float() / 255 for picture in load_images(photos, self.recipe.crop))
            if self.recipe.receiver_only:
                return with_perceptual(self.start, codec, pictures)
            codec.calibrate(pictures)
        return codec

    def _log(self, validate: Callable[[Codec], dict[str, Any]] | None) -> None:
        if self.fabric.global_rank == 0:
            line: dict[str, Any] = {"step": self.step, "minutes": self.elapsed / 60}
            line |= {"rates": self.rates.tolist(), "excess of bits": self.excess.tolist()}
            line |= {"discriminator accuracy": self.accuracy.tolist()}
            if validate is not None:
                line |= validate(self.averaged())
            with open(self.folder / "log.jsonl", "a") as log:
                log.write(json.dumps(line) + "\n")

    def save(self) -> None:
        """Write the checkpoint: to a temporary name, then renamed."""
        if self.fabric.global_rank == 0:
            critics = [
                {"model": critic.state_dict(), "optimizer": optimizer.state_dict()}
                for critic, (_, optimizer) in zip(self.critics, self.judges, strict=True)
            ]
            state = {
                **self._settled(),
                "model": self.codec.float_state(),
                "average": self.average,
                "muon": self.muon.state_dict(),
                "adam": self.adam.state_dict(),
                "critics": critics,
                "rates": self.rates,
                "excess": self.excess,
                "accuracy": self.accuracy,
                "step": self.step,
                "elapsed": self.elapsed,
            }
            write_checkpoint(self.folder / "checkpoint.pt", state)
