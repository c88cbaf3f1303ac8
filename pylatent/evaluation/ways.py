"""The ways in which one codec is measured: its latents refined or not, its files shown by one receiver or another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pylatent._receivers import Receiver


@dataclass(frozen=True)
class Way:
    """receiver: by which files are shown. refined: whether latents are, before they are coded."""

    receiver: Receiver = "full"
    refined: bool = False

    @property
    def key(self) -> str:
        """Its name in JSON documents."""
        if self.refined:
            return "refined" if self.receiver == "full" else f"{self.receiver} refined"
        return "codec" if self.receiver == "full" else self.receiver

    def name(self, model: str, ways: Sequence[Way] = ()) -> str:
        """Its name in tables and legends. ways: all that are shown; the full receiver is named beside another."""
        named = self.receiver != "full" or any(way.receiver != "full" for way in ways)
        return ", ".join([model, *([self.receiver] if named else []), *(["refined"] if self.refined else [])])


def ways_of(receivers: Sequence[Receiver], *, refined: bool = False) -> tuple[Way, ...]:
    """Every receiver as it is, then with refinement too, if that is measured."""
    return tuple(Way(receiver, more) for more in ((False, True) if refined else (False,)) for receiver in receivers)
