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


def orthogonalize(matrices: Tensor) -> Tensor:
    """(..., m, n): the nearest semi-orthogonal matrices, roughly, whose singular values lie between 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    rows, columns = matrices.shape[-2:]
    wide = matrices.bfloat16() if rows <= columns else matrices.bfloat16().mT
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(_STEPS):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return (wide if rows <= columns else wide.mT).to(matrices.dtype)


def split(parameters: Mapping[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights of convolutions and linear layers, which are Muon's, and the rest; gains are matrices of another kind."""
    weights = {name: p for name, p in parameters.items() if p.ndim == 4 or (p.ndim == 2 and name.endswith(".weight"))}
    return list(weights.values()), [p for name, p in parameters.items() if name not in weights]


class Muon(torch.optim.Optimizer):
    """Nesterov momentum with orthogonalised updates, for weights of two or more dimensions; of one shape together.

    lr: a number, or a 0-d tensor on the weights' device, which a captured CUDA graph reads anew.
    weight_decay: decoupled, weights shrink by lr * weight_decay a step. Without it, directions that no picture of the
    training uses grow for ever, and a picture that does use them is coded at 10 dB (seen).
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float | Tensor = 1e-3, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            alike: dict[tuple[int, ...], list[Tensor]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    alike.setdefault(tuple(weight.shape), []).append(weight)
            for weights in alike.values():
                for weight in weights:
                    if not self.state[weight]:
                        self.state[weight]["momentum"] = torch.zeros_like(weight)
                grads, averages = (
                    [w.grad for w in weights if w.grad is not None],
                    [self.state[w]["momentum"] for w in weights],
                )
                torch._foreach_mul_(averages, momentum)
                torch._foreach_add_(averages, grads)
                updates = torch.stack(torch._foreach_add(grads, averages, alpha=momentum)).flatten(2)
                step = orthogonalize(updates) * (lr * 0.2 * max(updates.shape[1:]) ** 0.5)
                for weight, change in zip(weights, step.unbind(0), strict=True):
                    weight.mul_(1 - lr * group["weight_decay"]).sub_(change.view_as(weight))
