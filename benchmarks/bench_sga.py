"""SGA+ sampling against eager torch and torch.compile of it.

    python benchmarks/bench_sga.py [--device cpu] [--dtypes float32 bfloat16] [--threads 1 2] [--quick]
                                   [--json benchmarks/results/sga-NAME.json] [--plot FILE.png]

Latents of pictures of 224x224, 768x512 and 1920x1080 at tau = 0.5, every method with three classes, ssl and atanh with
two. All sides draw their noise. "eager" is the package's reference; "gumbel_softmax" is how it is mostly written, with
the classes in the last dimension and torch's function. Rates count what must at least be moved: v and the sample
forward, both gradients backward. Processor times on one thread of a CPU, wall times on more, device times on CUDA;
medians over rounds in which the sides take turns. No figure is printed for a shape whose samples and gradients under
given noise are not those of the float64 reference.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from elementwise import OURS, Side, forward_backward, require_close, run
from torch import Tensor

from pylatent.ops import sga_sample
from pylatent.ops.sga_sample import (
    _PARAMETERS,
    Method,
    _three_class_logit,
    _two_class_logit,
    sga_sample_reference,
)

TAU = 0.5
TOLERANCES = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}  # the largest of 10^6 errors


class SgaSample:
    def __init__(self, method: Method, classes: int) -> None:
        self.method, self.classes = method, classes
        self.variant: dict[str, Any] = {"method": method, "classes": classes}
        self.parameters = _PARAMETERS[method, classes]
        self.sides: dict[str, Side] = {
            OURS: lambda v: sga_sample(v, TAU, method=method, classes=classes, backend="native"),
            "eager": lambda v: sga_sample(v, TAU, method=method, classes=classes, backend="torch"),
            "gumbel_softmax": self.classes_last,
        }

    def classes_last(self, v: Tensor) -> Tensor:
        logit: Any = _two_class_logit if self.classes == 2 else _three_class_logit
        if self.classes == 2:
            candidates = [torch.floor(v), torch.ceil(v)]
        else:
            k = torch.round(v)
            candidates = [k - 1, k, k + 1]
        logits = [logit(self.method, torch.abs(v - c), **self.parameters) / TAU for c in candidates]
        shares = F.gumbel_softmax(torch.stack(logits, -1), TAU)
        return torch.sum(torch.stack(candidates, -1) * shares, -1)

    def inputs(self, shape: tuple[int, ...], dtype: torch.dtype) -> list[Tensor]:
        return [(3 * torch.randn(shape, generator=torch.Generator().manual_seed(0))).to(dtype)]

    def check(self, inputs: list[Tensor]) -> None:
        v = inputs[0]
        generator = torch.Generator().manual_seed(1)
        noise = -torch.empty((self.classes, *v.shape)).exponential_(generator=generator).log()
        grad = torch.randn(v.shape, generator=generator).to(v)
        got = forward_backward(
            lambda x: sga_sample(
                x, TAU, method=self.method, classes=self.classes, noise=noise.to(v.device), backend="native"
            ),
            inputs,
            grad,
        )
        exact = forward_backward(
            lambda x: sga_sample_reference(x, TAU, noise.double(), method=self.method, **self.parameters),
            [v.double().cpu()],
            grad.double().cpu(),
        )
        for mine, expected in zip(got, exact, strict=True):
            require_close(OURS, mine, expected, TOLERANCES[v.dtype])

    def bytes(self, inputs: list[Tensor], backward: bool) -> int:
        return (4 if backward else 2) * inputs[0].numel() * inputs[0].element_size()


if __name__ == "__main__":
    forms: list[tuple[Method, int]] = [("linear", 3), ("cosine", 3), ("ssl", 3), ("atanh", 3), ("ssl", 2), ("atanh", 2)]
    run(__doc__, [SgaSample(method, classes) for method, classes in forms])
