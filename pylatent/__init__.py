"""pylatent: learned image compression that is fast enough to use."""

import importlib
from typing import TYPE_CHECKING, Any

from pylatent._version import __version__
from pylatent.errors import FormatError, ImageError, MismatchError, ModelError, PylatentError, PylatentWarning

if TYPE_CHECKING:
    from pylatent.api import compress, decompress, load
    from pylatent.compat.patch import patch, unpatch
    from pylatent.config import show_config

__all__ = [
    "FormatError",
    "ImageError",
    "MismatchError",
    "ModelError",
    "PylatentError",
    "PylatentWarning",
    "__version__",
    "compress",
    "decompress",
    "load",
    "patch",
    "show_config",
    "unpatch",
]

# Loaded at first use, since they import torch and the command line should answer --help at once.
_FUNCTIONS = {
    "compress": "api",
    "decompress": "api",
    "load": "api",
    "patch": "compat.patch",
    "show_config": "config",
    "unpatch": "compat.patch",
}
_MODULES = {
    "archive",
    "codecs",
    "coding",
    "compat",
    "entropy",
    "evaluation",
    "images",
    "layers",
    "ops",
    "refine",
    "train",
    "zoo",
}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return getattr(importlib.import_module(f"pylatent.{_FUNCTIONS[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"pylatent.{name}")
    raise AttributeError(f"module 'pylatent' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_FUNCTIONS, *_MODULES})
