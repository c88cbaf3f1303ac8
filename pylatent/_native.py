"""Loads the native core `pylatent._C`, or remembers why it is missing.

torch is imported first: the core takes its threads from the OpenMP runtime that torch has loaded (DESIGN §3).
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

import torch

from pylatent._version import __version__

REINSTALL = "PYLATENT_REQUIRE_NATIVE=1 pip install --force-reinstall --no-deps --no-cache-dir pylatent"


def _load() -> tuple[ModuleType | None, str | None]:
    """The native module, or the reason why there is none."""
    if os.environ.get("PYLATENT_PURE", "").strip().lower() not in ("", "0", "false", "no", "off"):
        return None, "PYLATENT_PURE is set, so the native module is ignored"
    if find_spec("pylatent._C") is None:
        return None, (
            "this installation has no native module, because the package was installed without a working C++ compiler; "
            f"install one, then reinstall with `{REINSTALL}` to see what the build says"
        )
    try:
        module = import_module("pylatent._C")
    except ImportError as error:
        return None, f"the native module could not be imported ({error}); reinstall with `{REINSTALL}`"
    built = getattr(module, "version", "an unknown version")
    if built != __version__:
        return None, f"the native module belongs to pylatent {built}, not {__version__}; reinstall with `{REINSTALL}`"
    return module, None


_C, _reason = _load()


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
