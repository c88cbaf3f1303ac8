"""The names of receivers: what turns the same latents into pixels."""

from typing import Literal, TypeAlias, get_args

Side: TypeAlias = Literal["light", "perceptual"]  # beside the full one
Receiver: TypeAlias = Literal["full", "light", "perceptual"]
SIDES: tuple[Side, ...] = get_args(Side)
RECEIVERS: tuple[Receiver, ...] = get_args(Receiver)
