"""Head files: safetensors with what a classifier is, what it was trained on and its weights; nothing is unpickled."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pylatent._files import write_bytes
from pylatent.codecs.latents import Latents
from pylatent.coding.container import HASH_BYTES
from pylatent.errors import MismatchError, ModelError, PylatentWarning
from pylatent.tasks import heads
from pylatent.tasks.adapter import AdaptedClassifier
from pylatent.tasks.heads import LatentHead

_KEY = "pylatent-head"
_VERSION = 1
_ARCHITECTURES = {
    kind.__name__: kind
    for kind in (
        heads.LatentMLP,
        heads.LatentResNet,
        heads.FusionGated,
        heads.SelfGated,
        heads.ScalesResNet,
        heads.ConcatResNet,
        AdaptedClassifier,
    )
}


@dataclass(frozen=True)
class HeadHeader:
    """What a head file says about itself.

    classes: names, in the order of the logits. architecture, config: class name and arguments. model, model_hash: the
    codec's name and the first 16 hex digits of its fingerprint. qualities: lowest and highest trained on, None for a
    codec with a fixed rate. size: height and width in pixels of the pictures trained on. card: data, training, results.
    """

    classes: tuple[str, ...]
    architecture: str
    config: dict[str, Any]
    model: str
    model_hash: str
    qualities: tuple[float, float] | None
    size: tuple[int, int]
    card: dict[str, Any] = field(default_factory=dict)

    def check(self, latents: Latents, model_hash: str) -> None:
        """Raises MismatchError for latents that the head was not made for; warns of qualities that it has not seen.

        model_hash: of the codec that decoded them; its first 16 hex digits count.
        """
        found = model_hash[: 2 * HASH_BYTES]
        if found != self.model_hash:
            raise MismatchError(
                f"the head was trained on latents of model {self.model} with hash {self.model_hash}, these are of a "
                f"model with hash {found}: train a head for it, or compress with {self.model}"
            )
        channels = latents.y.shape[1]
        if channels != self.config["channels"]:
            raise MismatchError(f"the head takes latents of {self.config['channels']} channels, got {channels}")
        if "height" in self.config and latents.size != self.size:
            raise MismatchError(f"the head takes pictures of {_text(self.size)} pixels only, got {_text(latents.size)}")
        if latents.size != self.size:
            _warn(f"the head was trained on pictures of {_text(self.size)} pixels, some are {_text(latents.size)}")
        if self.qualities is not None and latents.quality is not None:
            lowest, highest = self.qualities
            beyond = [quality for quality in latents.quality if not lowest <= quality <= highest]
            if beyond:
                trained = f"quality {lowest:g}" if lowest == highest else f"qualities {lowest:g} to {highest:g}"
                _warn(f"the head was trained on {trained}, some pictures have {beyond[0]:g}: expect more errors")


def save_head(head: LatentHead, path: str | os.PathLike[str], header: HeadHeader) -> None:
    """Write a head; the file appears whole or not at all. `architecture` and `config` are taken from the head."""
    if len(header.classes) != head.classes:
        raise ValueError(f"the head has {head.classes} classes, the header names {len(header.classes)}")
    header = HeadHeader(**{**_fields(header), "architecture": type(head).__name__, "config": head.config})
    tensors = {key: value.detach().cpu().contiguous() for key, value in head.state_dict().items()}
    write_bytes(path, save(tensors, {_KEY: json.dumps({"version": _VERSION, **asdict(header)})}))


def load_head(path: str | os.PathLike[str]) -> tuple[LatentHead, HeadHeader]:
    """A head in eval mode on the CPU, and its header. Raises ModelError."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if _KEY not in metadata:
                raise ModelError(f"{path} is no head of pylatent; `pylatent train classifier` makes one")
            header = _header(metadata[_KEY], path)
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as a head file: {error}") from error
    kind = _ARCHITECTURES.get(header.architecture)
    if kind is None:
        raise ModelError(f"{path} holds a {header.architecture}, which this release does not know")
    try:
        head = kind(**header.config)
        head.load_state_dict(tensors)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ModelError(f"{path} does not hold a complete {header.architecture}: {error}") from error
    if head.classes != len(header.classes):
        raise ModelError(f"{path} has {head.classes} outputs, but names {len(header.classes)} classes")
    return head.eval().to(memory_format=torch.channels_last), header  # type: ignore[call-overload]  # faster on CPUs


def _fields(header: HeadHeader) -> dict[str, Any]:
    return {name: getattr(header, name) for name in HeadHeader.__dataclass_fields__}


def _header(text: str, path: str | os.PathLike[str]) -> HeadHeader:
    try:
        fields = json.loads(text)
        version = fields.pop("version")
        if version != _VERSION:
            raise ModelError(f"{path} is a head file of version {version}; this release reads version {_VERSION}")
        for name in ("classes", "qualities", "size"):
            fields[name] = None if fields[name] is None else tuple(fields[name])
        return HeadHeader(**fields)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} has a header that cannot be read: {error}") from error


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"


def _warn(message: str) -> None:
    warnings.warn(message, PylatentWarning, stacklevel=4)
