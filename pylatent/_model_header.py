"""What a model file says about itself, read without torch: listing models and checking options should take no time."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylatent.errors import ModelError

SUFFIX = ".safetensors"
FILE_NAME = f"model{SUFFIX}"  # in a folder of its own
KEY = "pylatent"
PACKED = "packed"  # within it: tensors that codecs/packing.py has packed, which makes a file one of the second version
VERSION, PACKED_VERSION = 1, 2
_MAX_HEADER = 100 << 20  # of safetensors itself


@dataclass(frozen=True)
class Header:
    """What a model file says about itself.

    name: versioned, such as "default-1". architecture: class name. config: its arguments. hash: the fingerprint in hex,
    whose first 16 digits are in every file coded with the model. card: data, training, licence, results. light: the
    fingerprint of the receivers beside the full one, which files do not depend on; empty if there is none.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    hash: str
    card: dict[str, Any] = field(default_factory=dict)
    light: str = ""

    @property
    def qualities(self) -> tuple[float, float] | None:
        """Lowest and highest quality; None for a fixed rate."""
        config = self.config["base"]["config"] if "base" in self.config else self.config  # of a conditional codec
        count = config.get("gains") or len(config.get("lambdas", ()))
        return (1.0, float(count)) if count else None


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header alone. Raises ModelError if the file is not a model of pylatent."""
    metadata = _metadata(path)
    if KEY not in metadata:
        raise ModelError(
            f"{path} holds weights, but is no model of pylatent; `pylatent models import` makes one of a checkpoint"
        )
    try:
        fields = json.loads(metadata[KEY])
        version = fields.pop("version")
        fields.pop(PACKED, None)
        header = Header(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} has a header that cannot be read: {error}") from error
    if version not in (VERSION, PACKED_VERSION):
        raise ModelError(
            f"{path} is a model file of version {version}; this release reads versions {VERSION} and {PACKED_VERSION}"
        )
    return header


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a model of pylatent, rather than a bare checkpoint."""
    try:
        read_header(path)
    except ModelError:
        return False
    return True


def _metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The strings in the header of a safetensors file: eight bytes of length, then JSON."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if not 2 <= size <= min(_MAX_HEADER, os.fstat(file.fileno()).st_size - 8):
                raise ModelError(f"{path} cannot be read as a model file: it is no safetensors file, or is cut off")
            content = json.loads(file.read(size))
            metadata = content.get("__metadata__", {})
            return {str(key): str(value) for key, value in metadata.items()}
    except OSError as error:
        raise ModelError(f"{Path(path)} cannot be read as a model file: {error.strerror or error}") from error
    except (ValueError, AttributeError) as error:
        raise ModelError(f"{path} cannot be read as a model file: it is no safetensors file") from error
