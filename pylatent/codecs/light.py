"""Light receiver: a second integer synthesis of the same latents, cheaper and less exact, for previews.

It begins with layers of the full synthesis, which are stored once, and goes on with its own. Nothing that codes depends
on it, so it is no part of a model's fingerprint: a model that is in use can get one, and its files stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent.codecs.integer import IntegerLayer, IntegerSynthesis, layers_from_state, layers_state
from pylatent.errors import ModelError

PREFIX = "light"  # in the names of tensors


@dataclass(frozen=True)
class LightReceiver:
    """shared: how many layers of the full synthesis come first. synthesis: these and its own."""

    shared: int
    synthesis: IntegerSynthesis

    @classmethod
    def of(cls, full: IntegerSynthesis, shared: int, layers: Sequence[IntegerLayer]) -> LightReceiver:
        """From the full synthesis and its own layers. Raises ModelError if they do not fit."""
        if not 0 <= shared < len(full.layers):
            raise ModelError(
                f"a light receiver must share fewer layers than the {len(full.layers)} of the full synthesis, "
                f"got {shared}"
            )
        light = IntegerSynthesis(full.gains, full.largest, (*full.layers[:shared], *layers))
        if light.scale != full.scale:
            raise ModelError(f"a light receiver must make {full.scale} pixels of a latent's side, not {light.scale}")
        return cls(shared, light)

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """Its own."""
        return self.synthesis.layers[self.shared :]

    def state(self) -> dict[str, Tensor]:
        """Tensors that `from_state` reads."""
        shared = torch.tensor([self.shared], dtype=torch.int32)
        return {f"{PREFIX}.shared": shared} | layers_state(self.layers, PREFIX)

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], full: IntegerSynthesis | None) -> LightReceiver | None:
        """The receiver of `state`'s tensors, None if there are none. Raises ModelError or KeyError."""
        if not state:
            return None
        if full is None:
            raise ModelError("a light receiver needs an integer synthesis, whose layers it shares")
        return cls.of(full, int(state[f"{PREFIX}.shared"]), layers_from_state(state, PREFIX))


def products_a_pixel(synthesis: IntegerSynthesis) -> float:
    """Products of weights with values for every pixel of the picture, as plain convolutions need them."""
    total, scale = 0.0, 1
    for layer in synthesis.layers:
        total += layer.weight.numel() * scale**2
        scale *= layer.shuffle
    return total / scale**2
