"""Models by name, and the files they are stored in."""

from typing import TYPE_CHECKING

from pylatent import _lazy
from pylatent._model_header import Header, read_header

if TYPE_CHECKING:
    from pylatent.codecs.model_file import save_codec
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

__all__ = [
    "Header",
    "ModelInfo",
    "add",
    "find",
    "import_checkpoint",
    "installed",
    "load",
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
        ".codecs.model_file": ("save_codec",),
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
    },
    ("checkpoints", "registry"),
)
