"""Models by name, and the files they are stored in."""

from pylatent.zoo.registry import ModelInfo, add, find, import_checkpoint, load, models, resolve, shared
from pylatent.zoo.store import Header, load_codec, read_header, save_codec

__all__ = [
    "Header",
    "ModelInfo",
    "add",
    "find",
    "import_checkpoint",
    "load",
    "load_codec",
    "models",
    "read_header",
    "resolve",
    "save_codec",
    "shared",
]
