"""Optimisers and linear shortcuts for the rate-distortion training, at equal processor time and small scale.

    python studies/optimizers/study.py PHOTOS/train PHOTOS/val [--minutes 5] [-o RESULT.json]

A small residual hyperprior (its analysis and synthesis have 1/4 of the default's products) is trained from the same
random weights on the same crops, one thread, for the same processor time: with Muon as in `pylatent train rd`, with
Adam for everything, with SOAP (Vyas et al., arXiv 2409.11321; for learned codecs arXiv 2601.20769), and with Muon and
the linear wavelet shortcuts of AuxT (arXiv 2501.13751, section 3.2) beside both transforms. The rate of learning falls
to 0 over the budget as in `train rd`. Reported is the loss of averaged weights on validation crops, quality by quality,
relative to Muon's.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pylatent.codecs.latents import Latents
from pylatent.codecs.residual import ResidualHyperprior
from pylatent.codecs.rounding import mixed, nearest
from pylatent.train.colours import unusual_colours
from pylatent.train.data import load_images, random_crops
from pylatent.train.muon import Muon
from pylatent.train.recipe import LAMBDAS

CROP, BATCH = 128, 8
QUALITIES = (1, 4, 8)


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioners; a weight is seen as the matrix (dim 0, rest).

    Sides longer than `longest` keep their basis. A basis follows by one QR step every `every` steps (their section 5).
    """

    def __init__(self, parameters: list[Tensor], lr: float, every: int = 10, longest: int = 600) -> None:
        super().__init__(parameters, {"lr": lr, "every": every, "longest": longest})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        beta1, beta2, shampoo = 0.95, 0.95, 0.95
        for group in self.param_groups:
            for weight in group["params"]:
                gradient = weight.grad.flatten(1) if weight.ndim > 1 else weight.grad[None]
                state = self.state[weight]
                sides = [0, 1] if weight.ndim > 1 else []
                sides = [side for side in sides if gradient.shape[side] <= group["longest"]]
                if not state:
                    state["step"], state["m"], state["v"] = 0, torch.zeros_like(gradient), torch.zeros_like(gradient)
                    state["L"] = {side: _gram(gradient, side) for side in sides}
                    state["Q"] = {side: torch.linalg.eigh(L)[1].flip(1) for side, L in state["L"].items()}
                    continue  # the first step only begins the basis
                state["step"] += 1
                number, Q = state["step"], state["Q"]
                projected = _turned(gradient, Q)
                state["m"].lerp_(gradient, 1 - beta1)
                state["v"].lerp_(projected.square(), 1 - beta2)
                m = _turned(state["m"], Q) / (1 - beta1**number)
                update = m / ((state["v"] / (1 - beta2**number)).sqrt() + 1e-8)
                weight.sub_(_turned(update, Q, back=True).view_as(weight), alpha=group["lr"])
                for side, L in state["L"].items():
                    L.lerp_(_gram(gradient, side), 1 - shampoo)
                if number % group["every"] == 0:
                    old = {side: q.clone() for side, q in Q.items()}
                    order_of: dict[int, Tensor] = {}
                    for side, L in state["L"].items():
                        order = torch.argsort((old[side].T @ L @ old[side]).diagonal(), descending=True)
                        Q[side] = torch.linalg.qr(L @ old[side][:, order])[0]
                        order_of[side] = order
                    for side, order in order_of.items():
                        state["v"] = state["v"].index_select(side, order)


def _gram(gradient: Tensor, side: int) -> Tensor:
    return gradient @ gradient.T if side == 0 else gradient.T @ gradient


def _turned(matrix: Tensor, Q: dict[int, Tensor], back: bool = False) -> Tensor:
    if 0 in Q:
        matrix = (Q[0] if back else Q[0].T) @ matrix
    if 1 in Q:
        matrix = matrix @ (Q[1].T if back else Q[1])
    return matrix


class Haar(nn.Module):
    """(B, C, 2 h, 2 w) -> (B, 4 C, h, w), orthonormal; `back` inverts it. Then a scale a band and a 1x1 projection."""

    def __init__(self, inputs: int, outputs: int, back: bool = False) -> None:
        super().__init__()
        self.back = back
        self.scale = nn.Parameter(torch.ones(1, 4 * (outputs if back else inputs), 1, 1))
        self.project = nn.Conv2d(inputs if back else 4 * inputs, 4 * outputs if back else outputs, 1, bias=False)
        nn.init.orthogonal_(self.project.weight)
        signs = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]
        self.register_buffer("mix", torch.tensor(signs, dtype=torch.float32) / 2)

    def forward(self, x: Tensor) -> Tensor:
        if self.back:
            bands = self.project(x) * self.scale
            return F.pixel_shuffle(self._mixed(bands), 2)
        return self.project(self._mixed(F.pixel_unshuffle(x, 2)) * self.scale)

    def _mixed(self, x: Tensor) -> Tensor:
        b, channels, h, w = x.shape
        return torch.einsum("ij,bcjhw->bcihw", self.mix, x.view(b, channels // 4, 4, h, w)).reshape(b, channels, h, w)

    def orthogonality(self) -> Tensor:
        w = self.project.weight.flatten(1)
        gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
        return (gram - torch.eye(len(gram))).square().sum()


class WithShortcuts(nn.Module):
    """A sequential transform with AuxT's shortcuts: what one has at a resolution is added to that stage's end."""

    def __init__(self, main: nn.Sequential, ends: dict[int, nn.Module], first: nn.Module | None) -> None:
        super().__init__()
        self.main, self.first = main, first
        self.ends = nn.ModuleDict({str(number): module for number, module in ends.items()})

    def forward(self, x: Tensor) -> Tensor:
        aux = x if self.first is None else self.first(x - 0.5)  # Haar multiplies a mean by 2 a level
        for number, module in enumerate(self.main):
            x = module(x)
            if str(number) in self.ends:
                aux = self.ends[str(number)](aux)
                x = x + aux
        return x


def with_shortcuts(codec: ResidualHyperprior, widths: tuple[int, int, int], M: int) -> list[Haar]:
    """Puts the shortcuts into both transforms; what they must keep orthogonal."""
    a, b, c = widths
    down = [Haar(3, 12), Haar(12, a), Haar(a, b), Haar(b, c)]
    project = nn.Conv2d(c, M, 1, bias=False)
    nn.init.orthogonal_(project.weight)
    # Ends of the stages of `_analysis`: blocks at 1/4, 1/8, 1/16, and the last convolution.
    codec.g_a = WithShortcuts(codec.g_a, {2: down[1], 6: down[2], 9: down[3], 10: project}, down[0])  # type: ignore[assignment]
    up = [Haar(c, b, True), Haar(b, a, True), Haar(a, 12, True), Haar(12, 3, True)]
    unproject = nn.Conv2d(M, c, 1, bias=False)
    nn.init.orthogonal_(unproject.weight)
    ends = {2: unproject, 6: up[0], 9: up[1], 11: nn.Sequential(up[2], up[3])}
    codec.g_s = WithShortcuts(codec.g_s, ends, None)  # type: ignore[assignment]
    return [*down, *up]


def train(which: str, rate: float, images: list[Tensor], minutes: float) -> tuple[ResidualHyperprior, int]:
    torch.manual_seed(0)
    widths, M = (32, 64, 96), 128
    codec = ResidualHyperprior(widths, M=M, N=64, hyper=(64, 96), lambdas=LAMBDAS)
    torch.manual_seed(1)
    shortcuts = with_shortcuts(codec, widths, M) if which == "Muon, AuxT" else []
    codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    matrices = [p for p in codec.parameters() if p.ndim == 4]
    rest = [p for p in codec.parameters() if p.ndim != 4]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.Adam(rest, lr=rate, fused=True)]
    if which.startswith("Muon"):
        optimizers.append(Muon(matrices, lr=rate, weight_decay=0.1))
    elif which == "SOAP":
        optimizers.append(Soap(matrices, lr=rate))
    else:
        optimizers.append(torch.optim.Adam(matrices, lr=rate, fused=True))
    average = copy.deepcopy(codec)
    lambdas, scale = torch.tensor(LAMBDAS), torch.zeros(len(LAMBDAS))
    crops = random_crops(images, CROP, BATCH, 0)
    budget, step, start = 60 * minutes, 0, time.process_time()
    picks = torch.arange(BATCH)
    while (fraction := (time.process_time() - start) / budget) < 1:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - fraction) ** 2 * min(1.0, (step + 1) / 100)
        x = unusual_colours(next(crops).float() / 255, 0.2).contiguous(memory_format=torch.channels_last)
        mse, bpp = distortion_and_rate(codec, x, picks + 1.0, mixed)
        losses = lambdas * 255**2 * mse + bpp
        scale = losses.detach() if step == 0 else 0.99 * scale + 0.01 * losses.detach()
        loss = (losses / scale).mean() + 0.01 * sum(module.orthogonality() for module in shortcuts)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(codec.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            decay = min(0.995, (step + 1) / (step + 10))
            for mean, value in zip(average.parameters(), codec.parameters(), strict=True):
                mean.lerp_(value, 1 - decay)
        step += 1
    average.fit_prior()
    return average.eval(), step


def distortion_and_rate(codec: ResidualHyperprior, x: Tensor, quality: Tensor, rounding: Any) -> tuple[Tensor, Tensor]:
    size = (x.shape[2], x.shape[3])
    levels = codec.levels_above(codec.gained(codec.g_a(x), quality))
    rated = codec.quantize(Latents(levels, size), rounding)
    x_hat = codec.g_s(rated.latents.levels[0] * codec._gain(codec.inverse_gain, quality))
    bits = torch.stack([level.float() for level in rated.bits]).sum(0)
    return (x_hat - x).square().mean((1, 2, 3)), bits / (size[0] * size[1])


@torch.no_grad()
def validate(codec: ResidualHyperprior, pictures: list[Tensor]) -> list[float]:
    """lambda 255² MSE + bits per pixel at QUALITIES, rounded latents, middle 256x256 of every picture."""
    losses = []
    for quality in QUALITIES:
        total = 0.0
        for pixels in pictures:
            top, left = (pixels.shape[1] - 256) // 2, (pixels.shape[2] - 256) // 2
            x = pixels[None, :, top : top + 256, left : left + 256].float() / 255
            mse, bpp = distortion_and_rate(codec, x, torch.tensor([float(quality)]), nearest)
            total += float(LAMBDAS[quality - 1] * 255**2 * mse + bpp)
        losses.append(total / len(pictures))
    return losses


RUNS = (
    ("Muon", 1e-3),
    ("Muon", 2e-3),
    ("Adam", 1e-3),
    ("SOAP", 1e-3),
    ("SOAP", 3e-3),
    ("Muon, AuxT", 1e-3),
    ("Muon, AuxT", 2e-3),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("val", type=Path)
    parser.add_argument("--minutes", type=float, default=5, help="processor time of each run")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    images, pictures = load_images(options.train, CROP), load_images(options.val, 256)
    rows: list[dict[str, Any]] = []
    for which, rate in RUNS:
        codec, steps = train(which, rate, images, options.minutes)
        losses = validate(codec, pictures)
        rows.append({"optimizer": which, "rate": rate, "steps": steps, "losses": losses})
        relative = [loss / first - 1 for loss, first in zip(losses, rows[0]["losses"], strict=True)]
        print(f"{which:12} {rate:.0e} {steps:6} steps", *(f"{100 * value:+6.2f} %" for value in relative), flush=True)
        if options.output is not None:
            result = {"minutes": options.minutes, "crop": CROP, "batch": BATCH, "qualities": QUALITIES, "runs": rows}
            options.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
