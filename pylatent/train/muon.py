"""Muon for convolutions: momentum whose matrix is orthogonalised by Newton-Schulz steps (Jordan et al. 2024).

torch.optim.Muon takes matrices only; here a convolution's weight is seen as the matrix (dim 0, rest), and the update is
scaled so that its root mean square compares with Adam's (Liu et al. 2025, arXiv 2502.16982, §2.2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalize(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values come out between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    wide = matrix.bfloat16() if matrix.shape[0] <= matrix.shape[1] else matrix.bfloat16().T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(_STEPS):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide if matrix.shape[0] <= matrix.shape[1] else wide.T).to(matrix.dtype)


def split(parameters: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights of convolutions and linear layers, which are Muon's, and the rest; gains are matrices of another kind."""
    weights = {name: p for name, p in parameters.items() if p.ndim == 4 or (p.ndim == 2 and name.endswith(".weight"))}
    return list(weights.values()), [p for name, p in parameters.items() if name not in weights]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonalised updates, for weights of two or more dimensions.

    weight_decay: decoupled, weights shrink by lr * weight_decay a step. Without it, directions that no picture of the
    training uses grow for ever, and a picture that does use them is coded at 10 dB (seen).
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            momentum = group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].mul_(momentum).add_(weight.grad)
                update = weight.grad.add(state["momentum"], alpha=momentum).flatten(1)
                scale = 0.2 * max(update.shape) ** 0.5
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(orthogonalize(update).view_as(weight), alpha=group["lr"] * scale)
