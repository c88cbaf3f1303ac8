"""Checkpoints of a training run: written to a temporary name and renamed, read without unpickling code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pylatent._files import atomic_writer


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    with atomic_writer(path) as file:
        torch.save(state, file)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state that was written, or None if there is no such file."""
    if not path.exists():
        return None
    return torch.load(path, map_location=device, weights_only=True)
