"""Whether weights are still those that something was made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

Stamp = tuple[tuple[int, int | bytes], ...]


def named_weights(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """`named_parameters`, shared ones as often as they are there: each coding asks for them several times, and that one
    would take most of a small picture's time."""
    modules = [("", module)]
    while modules:
        prefix, each = modules.pop()
        for name, weight in each._parameters.items():
            if weight is not None:
                yield prefix + name, weight
        modules += [(f"{prefix}{name}.", child) for name, child in each._modules.items() if child is not None]


class Witness:
    """Remembers weights by what they hold; as long as nobody has written to them, at no cost."""

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self._digest = _digest(weights)
        self._stamp = stamp(weights)

    def agrees(self, weights: Sequence[Tensor]) -> bool:
        """Whether these hold the same values, in whatever dtype, layout or place."""
        now = stamp(weights)
        if now == self._stamp:
            return True
        if _digest(weights) != self._digest:
            return False
        self._stamp = now
        return True


def stamp(weights: Iterable[Tensor]) -> Stamp:
    """Differs from an earlier one of the same tensors if they were written to: torch's count of that or, for tensors
    made in inference mode, which have none, the values' digest."""
    return tuple((each.data_ptr(), _digest([each]) if each.is_inference() else each._version) for each in weights)


def _digest(weights: Sequence[Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for each in weights:
        digest.update(each.detach().to("cpu", torch.float32).contiguous().numpy().data)
    return digest.digest()
