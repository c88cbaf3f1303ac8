"""Gaussian bits against eager torch and torch.compile of it.

    python benchmarks/bench_gaussian_bits.py [--device cpu] [--dtypes float32 bfloat16] [--threads 1 2] [--quick]
                                             [--json benchmarks/results/gaussian-bits-NAME.json] [--plot FILE.png]

Residuals with noise and log-normal scales, latents of pictures of 224x224, 768x512 and 1920x1080. Rates count what must
at least be moved: forward q, scales and bits, backward these inputs again, the gradient coming in and both gradients.
Processor times on one thread of a CPU, wall times on more, device times on CUDA; medians over rounds in which the sides
take turns. No figure is printed for a shape whose bits and gradients are not those of the float64 reference.
"""

from __future__ import annotations

from typing import Any

import torch
from elementwise import OURS, Side, forward_backward, require_close, run
from torch import Tensor

from pylatent.ops import gaussian_bits
from pylatent.ops.gaussian_bits import gaussian_bits_reference

TOLERANCES = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}  # the largest of 10^6 errors


class GaussianBits:
    def __init__(self) -> None:
        self.variant: dict[str, Any] = {}
        self.sides: dict[str, Side] = {
            OURS: lambda q, scales: gaussian_bits(q, scales, backend="native"),
            "eager": gaussian_bits_reference,
        }

    def inputs(self, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
        normal = torch.Generator().manual_seed(0)
        scales = torch.exp(torch.randn(shape, generator=normal))
        return [(torch.randn(shape, generator=normal) * scales).to(dtype), scales.to(dtype)]

    def check(self, inputs: list[Tensor]) -> None:
        grad = torch.randn(inputs[0].shape, generator=torch.Generator().manual_seed(1))
        exact = forward_backward(gaussian_bits_reference, [t.double().cpu() for t in inputs], grad.double())
        mine = forward_backward(self.sides[OURS], inputs, grad.to(inputs[0].device))
        for got, expected in zip(mine, exact, strict=True):
            require_close(OURS, got, expected, TOLERANCES[inputs[0].dtype])

    def bytes(self, inputs: list[Tensor], backward: bool) -> int:
        n, size = inputs[0].numel(), inputs[0].element_size()
        return n * (2 * size + 4) + (n * (4 * size + 4) if backward else 0)


if __name__ == "__main__":
    run(__doc__, [GaussianBits()])
