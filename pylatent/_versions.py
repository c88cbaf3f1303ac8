"""Versions without importing what has them."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path

from pylatent._version import __version__


def version_line() -> str:
    """Version and native state in one line, for `pylatent --version`; whether the module loads, `config` says."""
    native = not is_pure() and find_spec("pylatent._C") is not None
    kind = "native" if native else "pure Python (`pylatent config` says why)"
    return f"pylatent {__version__} ({kind}; torch {_torch()})"


def versions() -> dict[str, str]:
    """The first facts of `pylatent config`, by their names."""
    return {
        "pylatent": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "torch": _torch(),
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


def _torch() -> str:
    """With its build ("+cu132"), which the metadata of wheels on PyPI leave out."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return "is not installed"
    return str(run_path(str(Path(spec.origin).with_name("version.py")))["__version__"])
