"""SGA+ refinement: latents of one picture optimised by stochastic Gumbel annealing, with the codec's weights frozen.

Perugachi-Diaz et al., "Robustly overfitting latents for flexible neural image compression" (arXiv 2401.17789), after
Yang, Bamler and Mandt (NeurIPS 2020). All levels are optimised together by Adam. Rounding is a sample of
`ops.sga_sample` on the grid that is coded: residuals around the mean, and around the median of a factorized prior.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from pylatent._native import has_bf16
from pylatent._threads import for_pixels
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import Rounding, straight_through, uniform_noise
from pylatent.errors import ModelError
from pylatent.ops.sga_sample import sga_sample
from pylatent.refine.objective import TrueLoss, relaxed_loss, true_loss
from pylatent.refine.schedule import Annealing

if TYPE_CHECKING:
    from pylatent.codecs.base import Codec

Method = Literal["atanh", "linear", "cosine", "ssl", "straight-through", "noise"]
# The best of those tried on validation pictures, from 0.001 to 0.04.
_LEARNING_RATES: dict[Method, float] = {
    "atanh": 0.01,
    "linear": 0.04,
    "cosine": 0.04,
    "ssl": 0.04,
    "straight-through": 1e-3,
    "noise": 0.04,
}
METHODS = tuple(_LEARNING_RATES)


@dataclass(frozen=True)
class Reading:
    """The true loss at a step, per picture (B,); `seconds` since the start, `tau` the temperature then."""

    step: int
    seconds: float
    tau: float
    true: TrueLoss


@dataclass(frozen=True)
class Refined:
    """The outcome of a refinement.

    latents: those of the best true loss seen for each picture, the start included; `codec.encode` codes them.
    best: their true loss. history: all readings, the first of the latents as analysed.
    stopped: "steps", "time", "patience", "asked", or "diverged": latents were no longer finite. steps, seconds: what
    was spent.
    """

    latents: Latents
    best: TrueLoss
    history: tuple[Reading, ...]
    stopped: str
    steps: int
    seconds: float


class SgaPlus:
    """Refines latents of `codec` under bits per pixel + lambda 255² MSE.

    method: logits of the relaxed rounding ("atanh" is plain SGA), or a baseline: "straight-through" or "noise".
    classes, a, r, n: as in `ops.sga_sample`. annealing: the temperature's schedule; by default scaled to the run, from
    1, for atanh from 0.5. learning_rate: Adam's at first, falling linearly to 0 over the run; the default is the
    method's. bf16: run the synthesis under bf16 autocast, by default where the processor computes in bf16; the true
    loss is always taken in full precision. every: steps between readings of the true loss; None for about 20 in a run.
    """

    def __init__(
        self,
        codec: Codec,
        *,
        method: Method = "ssl",
        classes: Literal[2, 3] = 2,
        a: float | None = None,
        r: float | None = None,
        n: float | None = None,
        annealing: Annealing | None = None,
        learning_rate: float | None = None,
        bf16: bool | None = None,
        every: int | None = None,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, got {method!r}")
        learning_rate = _LEARNING_RATES[method] if learning_rate is None else learning_rate
        if not 0 < learning_rate < 1:
            raise ValueError(f"`learning_rate` must be between 0 and 1, got {learning_rate}")
        if every is not None and every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}")
        self.codec, self.method, self.classes = codec, method, classes
        self.a, self.r, self.n = a, r, n
        self.annealing = annealing or Annealing(0.5 if method == "atanh" else 1.0)
        self.learning_rate, self.every = learning_rate, every
        self.bf16 = has_bf16(codec.device) if bf16 is None else bf16

    def refine(
        self,
        x: Tensor,
        *,
        lam: float | None = None,
        quality: float | None = None,
        steps: int = 500,
        seed: int = 0,
        time_budget: float | None = None,
        patience: int | None = None,
        report: Callable[[Reading], None] | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> Refined:
        """Pixels (B, 3, H, W) in [0, 1] on the codec's device -> latents of the same or a lower true loss.

        lam: weight of the distortion; the one that the model was trained with at `quality` if not given. Any other one
            works (semi-multi-rate). quality: of a variable-rate codec; its own default if not given.
        steps, time_budget: whichever ends first, the second in seconds; the temperature follows the part of the run
            that is done. patience: stop after so many readings in a row that improve no picture by 0.01 %.
        seed: of the sampling; equal seeds give equal results on one machine unless a time budget ends the run.
        report: gets every reading. stop: asked before every step; true ends the run, with the best so far.

        Raises ValueError for wrong arguments, ModelError for a codec without tables, or without `lam` if it does not
        say with which it was trained.
        """
        self._check(x, steps, time_budget, patience)
        codec = self.codec
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            start = codec.analyze(x, quality)
        lam = trained_lambda(codec, start.quality) if lam is None else lam
        if not lam > 0:
            raise ValueError(f"`lam` must be above 0, got {lam}")
        run = _Run(self, x, start, lam, steps, time_budget, torch.Generator(x.device).manual_seed(seed))
        run.read(report)
        every = self.every or max(1, steps // 20)
        stopped, stale = "steps", 0
        with _frozen(codec):
            while run.step < steps:
                if stop is not None and stop():
                    stopped = "asked"
                    break
                if time_budget is not None and run.seconds >= time_budget:
                    stopped = "time"
                    break
                run.advance()
                if run.step % every == 0 and not run.is_finite:
                    stopped = "diverged"
                    break
                if run.step % every == 0 and run.step < steps:
                    stale = 0 if run.read(report) else stale + 1
                    if patience is not None and stale >= patience:
                        stopped = "patience"
                        break
        if run.history[-1].step != run.step and run.is_finite:
            run.read(report)
        return Refined(run.best_latents(), run.best, tuple(run.history), stopped, run.step, run.seconds)

    def rounding(self, tau: float | Tensor, generator: torch.Generator | None = None) -> Rounding:
        """The relaxed rounding at a temperature, for `codec.quantize`."""
        if self.method == "straight-through":
            return straight_through
        if self.method == "noise":
            return uniform_noise

        def sample(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
            relaxed = sga_sample(
                residual,
                tau,
                method=self.method,  # type: ignore[arg-type]  # the two others have returned
                classes=self.classes,
                a=self.a,
                r=self.r,
                n=self.n,
                generator=generator,
            )
            return relaxed, relaxed

        return sample

    def _check(self, x: Tensor, steps: int, time_budget: float | None, patience: int | None) -> None:
        if x.dtype != torch.float32:
            raise ValueError(f"`x` must be float32, got {x.dtype}")
        if steps < 1:
            raise ValueError(f"`steps` must be at least 1, got {steps}")
        if time_budget is not None and not time_budget > 0:
            raise ValueError(f"`time_budget` must be above 0 seconds, got {time_budget}")
        if patience is not None and patience < 1:
            raise ValueError(f"`patience` must be at least 1, got {patience}")


class _Run:
    """The state of one refinement."""

    def __init__(
        self,
        settings: SgaPlus,
        x: Tensor,
        start: Latents,
        lam: float,
        steps: int,
        time_budget: float | None,
        generator: torch.Generator,
    ) -> None:
        self.settings, self.x, self.lam, self.generator = settings, x, lam, generator
        self.steps, self.time_budget = steps, time_budget
        self.latents = replace(start, levels=tuple(v.detach().clone().requires_grad_() for v in start.levels))
        fused = x.device.type in ("cpu", "cuda")
        self.adam = torch.optim.Adam(self.latents.levels, lr=settings.learning_rate, fused=fused)
        self.step, self.started = 0, time.monotonic()
        self.history: list[Reading] = []
        self.best: TrueLoss
        self._best: tuple[Tensor, ...] = ()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def is_finite(self) -> bool:
        return all(bool(torch.isfinite(level).all()) for level in self.latents.levels)

    @property
    def position(self) -> float:
        """The step that the schedules go by: ahead of `step` where the time budget will not last for all of them."""
        if self.time_budget is None:
            return float(self.step)
        return max(self.step, self.steps * min(1.0, self.seconds / self.time_budget))

    @property
    def tau(self) -> float:
        return self.settings.annealing.at(self.position, self.steps)

    def advance(self) -> None:
        with for_pixels(self.x[:, 0].numel()):
            self._advance()

    def _advance(self) -> None:
        rounding = self.settings.rounding(self.tau, self.generator)
        self.adam.param_groups[0]["lr"] = self.settings.learning_rate * (1 - self.position / self.steps)
        kind = self.x.device.type
        with torch.enable_grad(), torch.autocast(kind, torch.bfloat16, enabled=self.settings.bf16):
            loss = relaxed_loss(self.settings.codec, self.latents, self.x, self.lam, rounding).sum()
        # `backward` gives a gradient the strides of its latents, which the fused Adam takes for granted.
        loss.backward(inputs=list(self.latents.levels))
        self.adam.step()
        self.adam.zero_grad()
        self.step += 1

    def read(self, report: Callable[[Reading], None] | None) -> bool:
        """Takes the true loss; whether it improved that of some picture by 0.01 %."""
        latents = replace(self.latents, levels=tuple(v.detach() for v in self.latents.levels))
        with for_pixels(self.x[:, 0].numel()), torch.autocast(self.x.device.type, enabled=False):
            true = true_loss(self.settings.codec, latents, self.x, self.lam)
        reading = Reading(self.step, self.seconds, self.tau, true)
        self.history.append(reading)
        if not self._best:
            self.best, self._best = true, tuple(v.clone() for v in latents.levels)
            improved = True
        else:
            better = true.loss < self.best.loss
            improved = bool((true.loss < 0.9999 * self.best.loss).any())
            rows = better[:, None, None, None]
            self._best = tuple(torch.where(rows, new, old) for new, old in zip(latents.levels, self._best, strict=True))
            self.best = TrueLoss(
                torch.where(better, true.loss, self.best.loss),
                torch.where(better, true.bpp, self.best.bpp),
                torch.where(better, true.mse, self.best.mse),
            )
        if report is not None:
            report(reading)
        return improved

    def best_latents(self) -> Latents:
        return replace(self.latents, levels=self._best)


def trained_lambda(codec: Codec, quality: tuple[float, ...] | None) -> float:
    """The weight of the distortion with which the model was trained, between integer qualities geometrically.

    Raises ModelError if the model does not say, ValueError if the pictures of the batch have different qualities.
    """
    lambdas = codec.lambdas
    if lambdas is None:
        raise ModelError(
            f"model {codec.name} does not say with which lambda it was trained: give `lam` (--refine-lambda)"
        )
    if quality is None or len(lambdas) == 1:
        return lambdas[0]
    if len(set(quality)) > 1:
        raise ValueError(f"`quality` must be the same for all pictures of a batch, got {quality}")
    below = min(int(quality[0]), len(lambdas) - 1) - 1
    part = quality[0] - 1 - below
    return lambdas[below] ** (1 - part) * lambdas[below + 1] ** part


@contextmanager
def _frozen(codec: Codec) -> Iterator[None]:
    """No gradients of the weights, whose computation would cost as much again as those of the latents."""
    trained = [p for p in codec.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
