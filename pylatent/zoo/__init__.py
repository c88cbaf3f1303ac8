"""Models by name, and the files they are stored in."""

from typing import TYPE_CHECKING

from pylatent import _lazy

if TYPE_CHECKING:
    from pylatent.zoo.header import Header, read_header
    from pylatent.zoo.registry import (
        ModelInfo,
        add,
        find,
        import_checkpoint,
        installed,
        load,
        models,
        path_of,
        remove,
        resolve,
        shared,
    )
    from pylatent.zoo.store import load_codec, save_codec

__all__ = [
    "Header",
    "ModelInfo",
    "add",
    "find",
    "import_checkpoint",
    "installed",
    "load",
    "load_codec",
    "models",
    "path_of",
    "read_header",
    "remove",
    "resolve",
    "save_codec",
    "shared",
]

# Codecs import torch, and `pylatent models list` does without.
__getattr__, __dir__ = _lazy.names(
    __name__,
    {
        "header": ("Header", "read_header"),
        "registry": (
            "ModelInfo",
            "add",
            "find",
            "import_checkpoint",
            "installed",
            "load",
            "models",
            "path_of",
            "remove",
            "resolve",
            "shared",
        ),
        "store": ("load_codec", "save_codec"),
    },
    ("header", "registry", "store"),
)
