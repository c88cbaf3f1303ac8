"""Large tensors of model files without their redundancy, and without loss: bytes of equal weight together, deflated.

The high bytes of weights are nearly always a few values, the low ones nearly random: Huffman's code stores integers of
16 bits in 9 and halves in 13, for some 50 ms of a core for the 20 MB of the shipped model (docs/format.md).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

_TYPES = {
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "F16": torch.float16,
    "F32": torch.float32,
}  # by the names that safetensors gives them
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_LEAST = 1 << 14  # bytes of a tensor that is worth it
_MOST_A_BYTE = 1032  # that deflate can make


def pack(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors, the large ones as uint8 (n,) where that is shorter, and what these unpack to: {name: [type, shape]}."""
    stored: dict[str, Tensor] = dict(tensors)
    packed: dict[str, Any] = {}
    for name, tensor in tensors.items():
        if tensor.nbytes < _LEAST or tensor.dtype not in _NAMES:
            continue
        planes = tensor.reshape(-1, 1).view(torch.uint8).T.contiguous()
        deflate = zlib.compressobj(strategy=zlib.Z_RLE)  # weights repeat as runs of zeros, if at all
        data = deflate.compress(planes.numpy().data) + deflate.flush()
        if len(data) < tensor.nbytes:
            stored[name] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            packed[name] = [_NAMES[tensor.dtype], list(tensor.shape)]
    return stored, packed


def unpack(tensors: Mapping[str, Tensor], packed: Any) -> dict[str, Tensor]:
    """What `pack` was given, from what it returned. Raises ValueError, with the tensor's name, if anything is wrong."""
    try:
        described = {
            name: (_TYPES[kind], [_size(number) for number in shape]) for name, (kind, shape) in packed.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the list of its packed tensors cannot be read: {error}") from error
    found = dict(tensors)
    for name, (dtype, shape) in described.items():
        if name not in tensors:
            raise ValueError(f"tensor {name} is listed as packed, but there is none of this name")
        found[name] = _unpacked(name, tensors[name], dtype, shape)
    return found


def _size(number: object) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"a shape must hold numbers from 0, not {number!r}")
    return number


def _unpacked(name: str, packed: Tensor, dtype: torch.dtype, shape: list[int]) -> Tensor:
    if packed.dtype != torch.uint8 or packed.ndim != 1:
        raise ValueError(f"tensor {name} is listed as packed, but is {packed.dtype} {tuple(packed.shape)}, not bytes")
    count = math.prod(shape)
    size = count * dtype.itemsize
    if not 0 < size <= _MOST_A_BYTE * len(packed):
        raise ValueError(f"packed tensor {name} cannot hold {size} bytes in {len(packed)}: it is damaged")
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(packed.numpy().data, size)
        complete = inflate.decompress(inflate.unconsumed_tail, 1) == b"" and inflate.eof
    except zlib.error as error:
        raise ValueError(f"packed tensor {name} is damaged: {error}") from error
    if len(data) != size or not complete or inflate.unused_data:
        raise ValueError(f"packed tensor {name} is damaged: it must hold {size} bytes, neither fewer nor more")
    values = np.empty((count, dtype.itemsize), np.uint8)
    for place, plane in enumerate(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, count)):
        values[:, place] = plane
    return torch.from_numpy(values).view(dtype).view(shape)
