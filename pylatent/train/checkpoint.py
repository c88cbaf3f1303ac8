"""Checkpoints of a training run: written to a temporary name and renamed, read without unpickling code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def read_checkpoint(path: Path, device: torch.device) -> dict[str, Any] | None:
    """The state that was written, or None if there is no such file."""
    if not path.exists():
        return None
    return torch.load(path, map_location=device, weights_only=True)
