"""Receivers beside the full one: other integer syntheses of the same latents.

"light" is cheaper and less exact, for previews; "perceptual" was trained for what people see, and costs what the full
one does. One begins with layers of the full synthesis, which are stored once, and goes on with its own; or it shares
nothing, and has gains of its own, too. Nothing that codes depends on them, so they are no part of a model's
fingerprint: a model that is in use can get one, and its files stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pylatent._receivers import SIDES, Side
from pylatent.codecs.integer import IntegerLayer, IntegerSynthesis, layers_from_state, layers_state
from pylatent.errors import ModelError


@dataclass(frozen=True)
class SideReceiver:
    """shared: how many layers of the full synthesis come first. synthesis: these and its own."""

    shared: int
    synthesis: IntegerSynthesis

    @classmethod
    def after(cls, full: IntegerSynthesis, shared: int, layers: Sequence[IntegerLayer]) -> SideReceiver:
        """One that goes on after the first layers of the full synthesis. Raises ModelError if they do not fit."""
        if not 0 < shared < len(full.layers):
            raise ModelError(
                f"a receiver must share fewer layers than the {len(full.layers)} of the full synthesis, at least one, "
                f"got {shared}"
            )
        synthesis = IntegerSynthesis(full.gains, full.largest, (*full.layers[:shared], *layers))
        return cls(shared, _of_size(synthesis, full))

    @classmethod
    def apart(cls, full: IntegerSynthesis, synthesis: IntegerSynthesis) -> SideReceiver:
        """One that shares nothing. Raises ModelError if it does not fit."""
        if synthesis.gains.shape != full.gains.shape:
            theirs, ours = (tuple(each.gains.shape) for each in (synthesis, full))
            raise ModelError(f"a receiver must have gains (qualities, channels) {ours}, got {theirs}")
        return cls(0, _of_size(synthesis, full))

    @property
    def layers(self) -> tuple[IntegerLayer, ...]:
        """Its own."""
        return self.synthesis.layers[self.shared :]

    def state(self, name: Side) -> dict[str, Tensor]:
        """Tensors that `receivers_from_state` reads."""
        state = {f"{name}.shared": torch.tensor([self.shared], dtype=torch.int32)}
        return state | (layers_state(self.layers, name) if self.shared else self.synthesis.state(name))


def receivers_from_state(state: Mapping[str, Tensor], full: IntegerSynthesis | None) -> dict[Side, SideReceiver]:
    """The receivers of `state`'s tensors. Raises ModelError or KeyError."""
    found: dict[Side, SideReceiver] = {}
    for name in SIDES:
        if not any(key.startswith(f"{name}.") for key in state):
            continue
        if full is None:
            raise ModelError(f"a {name} receiver needs an integer synthesis beside it")
        shared = int(state[f"{name}.shared"])
        if shared:
            found[name] = SideReceiver.after(full, shared, layers_from_state(state, name))
        else:
            found[name] = SideReceiver.apart(full, IntegerSynthesis.from_state(state, name))
    return found


def is_of_receivers(name: str) -> bool:
    """Whether a tensor of this name is a side receiver's."""
    return name.partition(".")[0] in SIDES


def products_a_pixel(synthesis: IntegerSynthesis) -> float:
    """Products of weights with values for every pixel of the picture, as plain convolutions need them."""
    total, scale = 0.0, 1
    for layer in synthesis.layers:
        total += layer.weight.numel() * scale**2
        scale *= layer.shuffle
    return total / scale**2


def _of_size(synthesis: IntegerSynthesis, full: IntegerSynthesis) -> IntegerSynthesis:
    if synthesis.scale != full.scale:
        raise ModelError(f"a receiver must make {full.scale} pixels of a latent's side, not {synthesis.scale}")
    return synthesis
