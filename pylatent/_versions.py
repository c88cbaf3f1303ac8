"""Versions without importing what has them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from pylatent._version import __version__


def version_line() -> str:
    """Version and native state in one line, for `pylatent --version`; whether the module loads, `config` says."""
    native = not is_pure() and find_spec("pylatent._C") is not None
    kind = "native" if native else "pure Python (`pylatent config` says why)"
    return f"pylatent {__version__} ({kind}; torch {_installed('torch')})"


def versions() -> dict[str, str]:
    """The first facts of `pylatent config`, by their names."""
    return {
        "pylatent": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": _installed("torch"),
        "numpy": _installed("numpy"),
    }


def line_of(name: str, fact: str) -> str:
    """A line of `pylatent config`."""
    return f"{name.replace('_', ' '):<13} {fact}"


def is_pure() -> bool:
    """Whether PYLATENT_PURE asks to ignore the native module."""
    return os.environ.get("PYLATENT_PURE", "").strip().lower() not in ("", "0", "false", "no", "off")


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"
