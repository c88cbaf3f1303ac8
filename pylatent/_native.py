"""Loads the native core `pylatent._C`, or remembers why it is missing.

torch is imported first: the core takes its OpenMP runtime from the one that torch has loaded (DESIGN §3).
"""

from __future__ import annotations

import os
from types import ModuleType

import torch

_C: ModuleType | None = None
_reason: str | None = None

if os.environ.get("PYLATENT_PURE", "") not in ("", "0"):
    _reason = "PYLATENT_PURE is set"
else:
    try:
        from pylatent import _C as _C  # type: ignore[no-redef,attr-defined]
    except ImportError as error:
        _reason = f"the native module could not be imported: {error}"


def why_not_native() -> str | None:
    """The reason why the native core cannot be used, or None if it can."""
    return _reason


def core() -> ModuleType:
    """The native module; raises RuntimeError with the reason if there is none."""
    if _C is None:
        raise RuntimeError(f"the native core is not available: {_reason}")
    return _C


def thread_count(threads: int | None) -> int:
    """Number of CPU threads: `threads` if given (at least 1), else torch's own count."""
    if threads is None:
        return torch.get_num_threads()
    if threads < 1:
        raise ValueError(f"`threads` must be at least 1, got {threads}")
    return threads
