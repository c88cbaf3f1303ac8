"""The dictionary of a conditional codec: latents of reference pictures, and what finds those most like a picture.

One file (safetensors), of which a SHA-256 over everything is the identity:

    latents   (K, C, h, w)  int8, times `steps` (K,), or float16       y before any gain, of square pictures
    mean      (D,)          float32     of pooled features: maxima over grids of 1, 2 and 4 cells a side, D = 21 C for
                                        those of the codec's encoder, 21 times its channels for another backbone's
    axes      (D, d)        float32     their principal axes
    features  (K, d)        float32     of the entries, in these axes

`pylatent clc build` makes one; "Conditional Latent Coding with Learnable Synthesized Reference" (arXiv 2502.09971).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pylatent._files import write_bytes
from pylatent.coding.container import check_model_name
from pylatent.errors import ModelError

SUFFIX = ".dictionary"
GRIDS = (1, 2, 4)
MOST_ENTRIES = 4080  # what one table of the lane coder holds without escapes
_KEY, _VERSION = "pylatent_dictionary", 1
_TENSORS = ("axes", "features", "latents", "mean", "steps")


@dataclass(frozen=True)
class Backbone:
    """The network that finds references (codecs/features.py): its name, SHA-256 of its weights, and preprocessing."""

    name: str
    hash: str
    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


@dataclass(frozen=True)
class Facts:
    """What a dictionary says about itself: its name; the codec whose latents it holds, with its fingerprint in hex;
    the side of the pictures in pixels; what the entries were chosen from; and of which backbone the features are, None
    for the codec's own encoder."""

    name: str
    codec: str
    codec_hash: str
    crop: int
    chosen_from: int
    seed: int
    backbone: Backbone | None = None

    def to_json(self) -> dict[str, Any]:
        """As a file has it: without the backbone if there is none."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_json(cls, head: Mapping[str, Any]) -> Facts:
        """Raises KeyError, TypeError or AttributeError for what is none."""
        values = {name: head[name] for name in cls.__dataclass_fields__ if name != "backbone"}
        found = head.get("backbone")
        if found is None:
            return cls(**values)
        lists: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return cls(**values, backbone=Backbone(**lists))


@dataclass(frozen=True)
class Dictionary:
    """See the module; immutable. latents: int8 or float16; steps: (K,), of ones for float16."""

    facts: Facts
    latents: Tensor
    steps: Tensor
    features: Tensor
    mean: Tensor
    axes: Tensor

    def __post_init__(self) -> None:
        check_model_name(self.facts.name)
        count, channels = self.latents.shape[:2]
        if not 2 <= count <= MOST_ENTRIES:
            raise ValueError(f"a dictionary must have 2 to {MOST_ENTRIES} entries, got {count}")
        cells = sum(grid * grid for grid in GRIDS)
        width, wide = self.features.shape[-1], channels * cells
        if self.facts.backbone is not None:
            wide = max(1, len(self.mean) // cells) * cells
        wanted = {"steps": (count,), "features": (count, width), "mean": (wide,), "axes": (wide, width)}
        for name, shape in wanted.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"`{name}` must have shape {shape}, got {tuple(getattr(self, name).shape)}")

    def __len__(self) -> int:
        return len(self.latents)

    def __deepcopy__(self, memo: Any) -> Dictionary:
        return self  # immutable

    @cached_property
    def hash(self) -> str:
        """SHA-256 in hex over everything."""
        digest = hashlib.sha256(json.dumps(self.facts.to_json(), sort_keys=True).encode())
        for name in _TENSORS:
            tensor = getattr(self, name).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            array = tensor.numpy()
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def query(self, maps: Tensor) -> Tensor:
        """y before any gain, or the backbone's map, (B, C, h, w) -> (B, d) in the axes of `features`, on the CPU."""
        return (pooled(maps).cpu() - self.mean) @ self.axes

    def nearest(self, query: Tensor, count: int) -> Tensor:
        """(B, d) -> (B, count) numbers of the entries nearest to each, the nearest first.

        One product with all features: in so many dimensions a ball tree looks at nearly all of them, too.
        """
        distances = torch.addmm(self._squares, query, self.features.T, alpha=-2)
        return distances.topk(count, largest=False).indices

    @cached_property
    def _squares(self) -> Tensor:
        return self.features.square().sum(1)

    def entries(self, numbers: Tensor) -> Tensor:
        """(B, M) numbers from 0 to K - 1 -> their latents (B, M, C, h, w), float32, on the CPU."""
        steps = self.steps[numbers].view(*numbers.shape, 1, 1, 1)
        return self.latents[numbers].float() * steps

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file, whole or not at all."""
        head = {"version": _VERSION, "hash": self.hash, **self.facts.to_json()}
        write_bytes(path, save({name: getattr(self, name).contiguous() for name in _TENSORS}, {_KEY: json.dumps(head)}))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Dictionary:
        """Read a file. Raises ModelError if it is missing, damaged or no dictionary, giving its name and hash."""
        head = read_facts(path)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
            dictionary = cls(Facts.from_json(head), **tensors)
        except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            raise ModelError(f"{path} does not hold a complete dictionary: {error}") from error
        if dictionary.hash != head["hash"]:
            raise ModelError(
                f"{path} is damaged: dictionary {head['name']} should have hash {head['hash'][:16]}, "
                f"this file's content has {dictionary.hash[:16]}"
            )
        return dictionary


def read_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the head of a dictionary's file says, not verified. Raises ModelError if it is none."""
    if not Path(path).is_file():
        raise ModelError(f"there is no dictionary {path}")
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {})[_KEY])
            latents = file.get_slice("latents")
            head |= {"shape": latents.get_shape(), "dtype": latents.get_dtype()}
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} is no dictionary of pylatent, or is damaged: {error}") from error
    if head.get("version") != _VERSION:
        raise ModelError(f"{path} is a dictionary of version {head.get('version')}; this release reads {_VERSION}")
    return head


def pooled(maps: Tensor) -> Tensor:
    """Maxima of each channel over grids of 1, 2 and 4 cells a side: (B, C, h, w) -> (B, 21 C), any size from 1x1.

    A cell of a coarser grid is four of the finer one, at sizes that 4 does not divide, too, where cells overlap.
    """
    layers = [F.adaptive_max_pool2d(maps, GRIDS[-1])]
    while len(layers) < len(GRIDS):
        layers.insert(0, F.max_pool2d(layers[0], 2))
    return torch.cat([layer.flatten(1) for layer in layers], 1)


def stored(y: Tensor, *, half: bool = False) -> tuple[Tensor, Tensor]:
    """(K, C, h, w) -> latents and steps as a dictionary stores them: int8, or float16 if `half`."""
    if half:
        return y.half(), torch.ones(len(y))
    steps = y.flatten(1).abs().amax(1).clamp_min(1e-12) / 127
    return torch.round(y / steps.view(-1, 1, 1, 1)).to(torch.int8), steps
