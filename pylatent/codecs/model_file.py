"""Model files: safetensors with the architecture, the card and everything that coding needs. Loading never unpickles.

Transforms are stored in half precision. Networks that are made exact are stored once, as the integers of that form;
their float weights are what those integers stand for. Other receivers are beside them: their layers, and how many of
the full synthesis come before. An integer analysis is made of the weights and of stored scales. Large tensors are
packed without loss (packing.py).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pylatent._files import write_bytes
from pylatent._model_header import KEY, PACKED, PACKED_VERSION, VERSION, Header, read_header
from pylatent._receivers import SIDES
from pylatent.codecs import ARCHITECTURES, CLC, Codec, Dictionary
from pylatent.codecs.definition import CODING
from pylatent.codecs.dictionary import SUFFIX as DICTIONARY_SUFFIX
from pylatent.codecs.packing import pack, unpack
from pylatent.codecs.receivers import is_of_receivers
from pylatent.errors import ModelError

_ANALYSIS = "analysis."
_DRAWS = (nn.init.kaiming_uniform_, nn.init.uniform_)  # of torch's own layers
_HALF = ("g_a.", "g_s.", "h_a.", "base.g_a.", "base.g_s.", "base.h_a.")


def save_codec(codec: Codec, path: str | os.PathLike[str], *, name: str, card: dict[str, Any]) -> Header:
    """Write a codec that is ready for coding; the file appears complete or not at all.

    Rounding to half precision changes the weights, so files coded with `codec` before may not decode with the stored
    model: code with `load_codec(path)`.
    """
    header, data = model_bytes(codec, name=name, card=card)
    write_bytes(path, data)
    return header


def model_bytes(codec: Codec, *, name: str, card: dict[str, Any]) -> tuple[Header, bytes]:
    """The header and the bytes of a model file, as `save_codec` writes them."""
    tensors: dict[str, Tensor] = {}
    integers = codec.kept_as_integers
    for key, value in codec.float_state().items():
        if key not in integers:
            value = value.detach().cpu().contiguous()
            tensors[key] = value.half() if key.startswith(_HALF) else value.float()
    tensors |= {CODING + key: value.contiguous() for key, value in codec.coding_state().items()}
    tensors |= {key: value.contiguous() for key, value in codec.receivers_state().items()}
    tensors |= {_ANALYSIS + key: value.contiguous() for key, value in codec.analysis_state().items()}
    header = Header(name, type(codec).__name__, codec.config, "", card)
    restored = _restore(header, tensors)
    header = replace(header, hash=restored.fingerprint().hex(), light=restored.receivers_fingerprint().hex())
    fields = {key: value for key, value in asdict(header).items() if key != "light" or value}
    stored, packed = pack(tensors)
    fields |= {"version": PACKED_VERSION, PACKED: packed} if packed else {"version": VERSION}
    return header, save(stored, {KEY: json.dumps(fields)})


def load_codec(path: str | os.PathLike[str]) -> Codec:
    """The codec of a model file, in eval mode on the CPU, ready for coding. Raises ModelError.

    A conditional codec gets its dictionary from the same folder; where it is missing, the codec says so when used.
    """
    header = read_header(path)
    try:
        # In the caller's inference mode, if any, weights would be made that are for inference alone.
        with torch.inference_mode(False), safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a dict)
            codec = _restore(header, unpack(tensors, json.loads(file.metadata()[KEY]).get(PACKED, {})))
    except (SafetensorError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise ModelError(f"{path} does not hold a complete {header.architecture}: {error}") from error
    if codec.fingerprint().hex() != header.hash or codec.receivers_fingerprint().hex() != header.light:
        raise ModelError(f"{path} is damaged: its weights do not have the fingerprint that its header gives")
    if isinstance(codec, CLC) and (beside := dictionary_beside(path, codec)).is_file():
        codec.attach(Dictionary.load(beside))
    return codec


def dictionary_beside(path: str | os.PathLike[str], codec: CLC) -> Path:
    """Where the dictionary of a conditional codec is looked for: in the folder of its model file."""
    return Path(path).parent / f"{codec.needed['name']}{DICTIONARY_SUFFIX}"


class _Undrawn(TorchFunctionMode):
    """New layers get zeros: others are loaded, and drawing these first would take a fifth of the time."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        return kwargs["tensor"].detach().zero_() if func in _DRAWS else func(*args, **kwargs)


def _lambdas(card: dict[str, Any]) -> tuple[float, ...] | None:
    recipe = card.get("recipe")
    values = recipe.get("lambdas") if isinstance(recipe, dict) else None
    return tuple(float(value) for value in values) if values else None


def _restore(header: Header, tensors: dict[str, Tensor]) -> Codec:
    if header.architecture not in ARCHITECTURES:
        raise ModelError(
            f"model {header.name} has architecture {header.architecture}, which this release does not know"
        )
    with _Undrawn():
        codec = ARCHITECTURES[header.architecture](**header.config).eval()
    codec.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster on CPUs
    coding = {key.removeprefix(CODING): value for key, value in tensors.items() if key.startswith(CODING)}
    receivers = {key: value for key, value in tensors.items() if is_of_receivers(key)}
    analysis = {key.removeprefix(_ANALYSIS): value for key, value in tensors.items() if key.startswith(_ANALYSIS)}
    others = (CODING, _ANALYSIS, *(f"{name}." for name in SIDES))
    weights = {key: value.float() for key, value in tensors.items() if not key.startswith(others)}
    found = codec.load_state_dict(weights, strict=False)
    codec.load_coding_state(coding)
    codec.load_receivers_state(receivers)
    codec.load_analysis_state(analysis)
    if missing := set(found.missing_keys) - codec.kept_as_integers:
        raise KeyError(f"its weights lack {', '.join(sorted(missing))}")
    if found.unexpected_keys:
        raise KeyError(f"it has unknown weights {', '.join(sorted(found.unexpected_keys))}")
    codec.name, codec.card = header.name, header.card
    codec.lambdas = _lambdas(header.card) or codec.lambdas
    return codec
