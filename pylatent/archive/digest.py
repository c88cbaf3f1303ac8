"""Keys as 16 bytes, to find those that are there twice among millions."""

from __future__ import annotations

import hashlib

import numpy as np

_SIZE = 16


def key_digest(key: str) -> bytes:
    """16 bytes that stand for a key. The last is never 0: NumPy drops zeros at the end of its strings."""
    return hashlib.blake2b(key.encode(), digest_size=_SIZE - 1).digest() + b"\1"


def digests_of(data: bytes | bytearray) -> np.ndarray:
    """The digests that `data` is made of, as an array of byte strings."""
    return np.frombuffer(bytes(data), f"S{_SIZE}")
