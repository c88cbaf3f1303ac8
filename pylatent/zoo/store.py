"""Model files: safetensors with the architecture, the card and everything that coding needs. Loading never unpickles.

Transforms are stored in half precision. Networks that are made exact are stored once, as the integers of that form;
their float weights are what those integers stand for.
"""

from __future__ import annotations

import json
import os
import pickle
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pylatent.codecs import ARCHITECTURES, Codec
from pylatent.errors import ModelError

SUFFIX = ".safetensors"
_KEY = "pylatent"
_CODING = "coding."
_VERSION = 1
_HALF = ("g_a.", "g_s.", "h_a.")


@dataclass(frozen=True)
class Header:
    """What a model file says about itself.

    name: versioned, such as "default-1". architecture: class name. config: its arguments. hash: the fingerprint in hex,
    whose first 16 digits are in every file coded with the model. card: data, training, licence, results.
    """

    name: str
    architecture: str
    config: dict[str, Any]
    hash: str
    card: dict[str, Any] = field(default_factory=dict)


def save_codec(codec: Codec, path: str | os.PathLike[str], *, name: str, card: dict[str, Any]) -> Header:
    """Write a codec that is ready for coding; the file appears complete or not at all.

    Rounding to half precision changes the weights, so files coded with `codec` before may not decode with the stored
    model: code with `load_codec(path)`.
    """
    tensors: dict[str, Tensor] = {}
    integers = _stored_as_integers(codec)
    for key, value in codec.state_dict().items():
        if key not in integers:
            value = value.detach().cpu().contiguous()
            tensors[key] = value.half() if key.startswith(_HALF) else value.float()
    tensors |= {_CODING + key: value.contiguous() for key, value in codec.coding_state().items()}
    header = Header(name, type(codec).__name__, codec.config, "", card)
    header = replace(header, hash=_restore(header, tensors).fingerprint().hex())
    data = save(tensors, {_KEY: json.dumps({"version": _VERSION, **asdict(header)})})
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return header


def read_header(path: str | os.PathLike[str]) -> Header:
    """The header alone. Raises ModelError if the file is not a model of pylatent."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} cannot be read as a model file: {error}") from error
    if _KEY not in metadata:
        raise ModelError(
            f"{path} holds weights, but is no model of pylatent; `pylatent models import` makes one of a checkpoint"
        )
    try:
        fields = json.loads(metadata[_KEY])
        version = fields.pop("version")
        header = Header(**fields)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path} has a header that cannot be read: {error}") from error
    if version != _VERSION:
        raise ModelError(f"{path} is a model file of version {version}; this release reads version {_VERSION}")
    return header


def is_model(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a model of pylatent, rather than a bare checkpoint."""
    try:
        read_header(path)
    except ModelError:
        return False
    return True


def load_codec(path: str | os.PathLike[str]) -> Codec:
    """The codec of a model file, in eval mode on the CPU, ready for coding. Raises ModelError."""
    header = read_header(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        codec = _restore(header, tensors)
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} does not hold a complete {header.architecture}: {error}") from error
    if codec.fingerprint().hex() != header.hash:
        raise ModelError(f"{path} is damaged: its weights do not have the fingerprint that its header gives")
    return codec


def _lambdas(card: dict[str, Any]) -> tuple[float, ...] | None:
    recipe = card.get("recipe")
    values = recipe.get("lambdas") if isinstance(recipe, dict) else None
    return tuple(float(value) for value in values) if values else None


def _restore(header: Header, tensors: dict[str, Tensor]) -> Codec:
    if header.architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {header.name} has architecture {header.architecture}, which this release does not know"
        )
    codec = ARCHITECTURES[header.architecture](**header.config)
    coding = {key.removeprefix(_CODING): value for key, value in tensors.items() if key.startswith(_CODING)}
    weights = {key: value.float() for key, value in tensors.items() if not key.startswith(_CODING)}
    found = codec.load_state_dict(weights, strict=False)
    if missing := set(found.missing_keys) - _stored_as_integers(codec):
        raise KeyError(f"its weights lack {', '.join(sorted(missing))}")
    if found.unexpected_keys:
        raise KeyError(f"it has unknown weights {', '.join(sorted(found.unexpected_keys))}")
    codec.load_coding_state(coding)
    codec.name = header.name
    codec.lambdas = _lambdas(header.card)
    return codec.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs


def _stored_as_integers(codec: Codec) -> set[str]:
    """Names of the float weights that the integers of exact networks stand for."""
    return {f"{name}.{key}" for name, network in codec.exact_networks.items() for key in network.state_dict()}


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Tensors of a published checkpoint: safetensors, or PyTorch's format with code refused.

    Raises ModelError if torch is older than 2.10 and the file is a pickle: its `weights_only` had holes.
    """
    if path.suffix == SUFFIX:
        try:
            with safe_open(path, framework="pt") as file:
                return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{path} cannot be read as a checkpoint: {error}") from error
    if tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2]) < (2, 10):
        raise ModelError(
            f"{path} is a PyTorch checkpoint; reading one safely needs torch 2.10, this is {torch.__version__}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises many kinds; every one means that the file is not usable
        # torch's own text would advise to run the code in the file.
        refused = isinstance(error, pickle.UnpicklingError)
        reason = "it is damaged, or holds more than tensors" if refused else str(error).partition("\n")[0]
        raise ModelError(f"{path} cannot be read as a checkpoint: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ModelError(f"{path} does not hold a state dict of tensors")
    return state
