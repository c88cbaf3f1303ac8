"""Time and memory of a step of refinement, against the same loop in plain torch.

    python benchmarks/bench_refinement.py [--rounds 10] [--picture FILE] [--json FILE]
    python benchmarks/bench_refinement.py --memory [--json FILE]

"eager" is the loop as it is usually written: the same weights in plain layers (NCHW, transposed convolutions, GDN and
the sampling as formulas for autograd), frozen, and torch's Adam, without evaluations of the true loss. Before anything
is timed, both loops make ten steps with the same noise and must arrive at the same latents. Processor time on one
thread, the sides taking turns. Memory is the peak of a fresh process that makes two steps, per picture size.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from harness import environment, take_turns, write_json
from torch import Tensor, nn

import pylatent
from pylatent import images
from pylatent.codecs.hyperprior import MeanScaleHyperprior
from pylatent.codecs.latents import Latents
from pylatent.codecs.rounding import Rounding
from pylatent.layers.gdn import GDN
from pylatent.ops import gaussian_bits, sga_sample
from pylatent.refine import SgaPlus
from pylatent.refine.objective import relaxed_loss
from pylatent.refine.sga import trained_lambda

PICTURE = Path(__file__).parents[1] / "examples" / "photos" / "leaves.png"
SIZE = (512, 768)
QUALITY, TAU, LEARNING_RATE = 3.0, 0.5, 1e-2
MEGAPIXELS = (0.4, 1, 3, 12)


class PlainGDN(nn.Module):
    """Inverse GDN as its formula, its parameters made ready once."""

    def __init__(self, layer: GDN) -> None:
        super().__init__()
        self.register_buffer(
            "gamma", (layer.gamma.detach() ** 2 - 2.0**-36).clamp_min(0)[:, :, None, None].contiguous()
        )
        self.register_buffer("beta", layer.beta.detach() ** 2 - 2.0**-36)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sqrt(F.conv2d(x * x, self.gamma, self.beta))


def plain(layer: nn.Module) -> nn.Module:
    """A layer of the synthesis as torch has it, contiguous."""
    if isinstance(layer, GDN):
        return PlainGDN(layer)
    if not isinstance(layer, nn.ConvTranspose2d):
        return layer
    copy = nn.ConvTranspose2d(layer.in_channels, layer.out_channels, 5, stride=2, padding=2, output_padding=1)
    copy.weight.data, copy.bias.data = layer.weight.data.contiguous(), layer.bias.data.clone()  # type: ignore[union-attr]
    return copy


class Eager:
    """The loop in plain torch."""

    def __init__(self, codec: MeanScaleHyperprior, latents: Latents, x: Tensor, lam: float) -> None:
        self.x, self.lam = x.contiguous(), lam
        self.g_s = nn.Sequential(*map(plain, codec.g_s)).requires_grad_(False)
        self.h_s = nn.Sequential(*(_contiguous(layer) for layer in codec.h_s)).requires_grad_(False)
        self.prior = codec.entropy_bottleneck
        self.medians = self.prior.medians.detach().view(-1, 1, 1)
        self.undo = codec._gain(codec.inverse_gain, torch.tensor([QUALITY])).detach()
        self.levels = [level.detach().clone().contiguous().requires_grad_() for level in latents.levels]
        self.adam = torch.optim.Adam(self.levels, lr=LEARNING_RATE)

    def sample(self, v: Tensor, noise: Tensor | None) -> Tensor:
        return sga_sample(v, TAU, noise=noise, backend="torch")

    def loss(self, noises: list[Tensor] | None) -> Tensor:
        y, z = self.levels
        z_residual = self.sample(z - self.medians, noises and noises[1])
        _, _, height, width = y.shape
        scale, mean = self.h_s(z_residual + self.medians)[..., :height, :width].chunk(2, 1)
        y_residual = self.sample(y - mean, noises and noises[0])
        bits = gaussian_bits(y_residual, scale, backend="torch").sum() + self.prior.bits(z_residual).sum()
        x_hat = self.g_s((y_residual + mean) * self.undo)[..., : self.x.shape[2], : self.x.shape[3]]
        pixels = self.x.shape[2] * self.x.shape[3]
        return bits / pixels + self.lam * 255**2 * (x_hat - self.x).square().mean()

    def step(self, noises: list[Tensor] | None = None) -> Tensor:
        self.adam.zero_grad()
        loss = self.loss(noises)
        loss.backward()
        self.adam.step()
        return loss.detach()


class Ours:
    """One step as `SgaPlus` makes it."""

    def __init__(
        self, codec: MeanScaleHyperprior, latents: Latents, x: Tensor, lam: float, bf16: bool, compiled: bool = False
    ) -> None:
        self.codec, self.x, self.lam, self.bf16 = codec, x, lam, bf16
        levels = tuple(level.detach().clone().requires_grad_() for level in latents.levels)
        self.latents = Latents(levels, latents.size, latents.quality)
        self.adam = torch.optim.Adam(levels, lr=LEARNING_RATE, fused=True)
        self.sampling = SgaPlus(codec, bf16=bf16).rounding(TAU)
        self.objective = torch.compile(relaxed_loss) if compiled else relaxed_loss

    def step(self, noises: list[Tensor] | None = None) -> Tensor:
        rounding: Rounding = self.sampling
        if noises is not None:

            def given(residual: Tensor, level: int) -> tuple[Tensor, Tensor]:
                relaxed = sga_sample(residual, TAU, noise=noises[level])
                return relaxed, relaxed

            rounding = given
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            loss = self.objective(self.codec, self.latents, self.x, self.lam, rounding).sum()
        loss.backward(inputs=list(self.latents.levels))
        self.adam.step()
        self.adam.zero_grad()
        return loss.detach()


def _contiguous(layer: nn.Module) -> nn.Module:
    if isinstance(layer, nn.ConvTranspose2d):
        return plain(layer)
    if not isinstance(layer, nn.Conv2d):
        return layer
    copy = nn.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)  # type: ignore[arg-type]
    copy.weight.data, copy.bias.data = layer.weight.data.contiguous(), layer.bias.data.clone()  # type: ignore[union-attr]
    return copy


def require_same_trajectory(ours: Ours, eager: Eager) -> None:
    """SystemExit unless ten steps with the same noise have the same losses and lead to the same latents.

    Adam turns a gradient near 0 into a whole step whose sign rounding decides, so that single elements may part.
    """
    generator = torch.Generator().manual_seed(0)
    starts = [level.detach().clone() for level in eager.levels]
    for _ in range(10):
        noises = [_gumbel((2, *level.shape), generator) for level in eager.levels]
        loss, expected = float(ours.step(noises)), float(eager.step(noises))
        if not abs(loss / expected - 1) < 1e-4:
            raise SystemExit(f"the loss is {loss}, in plain torch {expected}; no figures")
    for a, b, start in zip(ours.latents.levels, eager.levels, starts, strict=True):
        apart = float((a.detach() - b.detach()).norm() / (b.detach() - start).norm())
        if not apart < 0.05:
            raise SystemExit(f"after ten steps the latents differ by {100 * apart:.1f} % of their way; no figures")


def _gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return -torch.log(-torch.log(torch.rand(shape, generator=generator).clamp(1e-6, 1 - 1e-6)))


def sampling_and_rate(shape: tuple[int, ...], backend: Any) -> Callable[[], None]:
    """Sampling and Gaussian rate of y, forward and backward."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(shape, generator=generator).requires_grad_()
    scale = (torch.rand(shape, generator=generator) * 3 + 0.1).requires_grad_()
    grad = torch.randn(shape, generator=generator)

    def call() -> None:
        q = sga_sample(v, TAU, backend=backend)
        bits = gaussian_bits(q, scale, backend=backend).sum()
        torch.autograd.grad((q, bits), (v, scale), (grad, torch.ones(())))

    return call


def synthesis(codec: MeanScaleHyperprior, eager: Eager | None, latents: Latents, bf16: bool) -> Callable[[], None]:
    """Synthesis of y, forward and backward."""
    y = latents.levels[0].detach().clone().requires_grad_()
    quality = torch.tensor([QUALITY])

    def call() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            x_hat = codec.synthesis((y,), quality) if eager is None else eager.g_s(y * eager.undo)
        x_hat.float().sum().backward(inputs=[y])
        y.grad = None

    return call


def time_steps(picture: Path, rounds: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    codec = pylatent.load()
    assert isinstance(codec, MeanScaleHyperprior)
    codec.requires_grad_(False)
    whole = images.read(picture).tensor.float() / 255
    x = whole[None, :, : SIZE[0], : SIZE[1]].contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        latents = codec.analyze(x, QUALITY)
    lam = trained_lambda(codec, (QUALITY,))

    def ours(bf16: bool = False, compiled: bool = False) -> Ours:
        return Ours(codec, latents, x, lam, bf16, compiled)

    require_same_trajectory(ours(), Eager(codec, latents, x, lam))
    eager = Eager(codec, latents, x, lam)
    sides = {"eager": eager, "pylatent": ours(), "pylatent bf16": ours(bf16=True)}
    steps = take_turns({name: side.step for name, side in sides.items()}, rounds)
    compiled = take_turns(
        {"plain": ours().step, "compiled": ours(compiled=True).step, "plain bf16": ours(bf16=True).step}
        | {"compiled bf16": ours(bf16=True, compiled=True).step},
        rounds,
    )
    shape = tuple(latents.levels[0].shape)
    parts = {
        "sampling and rate": take_turns({s: sampling_and_rate(shape, s) for s in ("torch", "native")}, rounds),
        "synthesis": take_turns(
            {
                "eager": synthesis(codec, eager, latents, False),
                "pylatent": synthesis(codec, None, latents, False),
                "pylatent bf16": synthesis(codec, None, latents, True),
            },
            rounds,
        ),
    }
    final = {}
    streams = {"unrefined": codec.encode(latents)}
    for name, bf16 in (("float32", False), ("bf16", True)):
        refined = SgaPlus(codec, bf16=bf16).refine(x, quality=QUALITY, steps=200)
        final[name] = float(refined.best.loss.mean())
        streams["refined"] = codec.encode(refined.latents)
    decode = take_turns({name: partial(codec.decompress, stream) for name, stream in streams.items()}, rounds)
    return {
        "size": SIZE,
        "steps": steps,
        "torch.compile": compiled,
        "parts": parts,
        "true loss, 200 steps": final,
        "decode": decode,
    }


def peak_memory() -> dict[str, Any]:
    """MB above a process that has only loaded the model, of two steps on pictures of several sizes."""
    rows = []
    for megapixels in (0.0, *MEGAPIXELS):
        command = [sys.executable, __file__, "--peak-of", str(megapixels)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    base = rows[0]["peak_mb"]
    return {"loaded_mb": base, "rows": [{**row, "above_mb": row["peak_mb"] - base} for row in rows[1:]]}


def _peak_of(megapixels: float) -> None:
    codec = pylatent.load()
    if megapixels:
        width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 16) * 16
        height = round(megapixels * 1e6 / width / 16) * 16
        coarse = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(0))
        x = F.interpolate(coarse, size=(height, width), mode="bilinear")
        SgaPlus(codec, every=100).refine(x, quality=QUALITY, steps=2)
    else:
        codec.compress(torch.rand(1, 3, 64, 64), QUALITY)
    print(json.dumps({"megapixels": megapixels, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--memory", action="store_true", help="peak memory, not time")
    parser.add_argument("--peak-of", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.peak_of is not None:
        _peak_of(options.peak_of)
        return
    results = peak_memory() if options.memory else time_steps(options.picture, options.rounds)
    results = {"environment": environment(), **results}
    print(json.dumps(results, indent=1))
    write_json(options.json, results)


if __name__ == "__main__":
    main()
