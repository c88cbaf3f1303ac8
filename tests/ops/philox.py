"""Philox4x32-10 in NumPy (Salmon et al., SC11), and the Gumbel noise that sga_sample draws with it."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def philox4x32(counter_low: np.ndarray, counter_high: int, key: int) -> np.ndarray:
    """(n, 4) uint32 words of the 64-bit counters; `counter_high` and `key` have 64 bits."""
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    low, high = counter_low.astype(np.uint64), np.full(len(counter_low), counter_high, np.uint64)
    c = [low & mask, low >> half, high & mask, high >> half]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        p, q = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(q >> half) ^ c[1] ^ np.uint64(k[0]), q & mask, (p >> half) ^ c[3] ^ np.uint64(k[1]), p & mask]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return np.stack(c, 1).astype(np.uint32)


def gumbel_noise(key: Tensor, classes: int, count: int) -> Tensor:
    """(classes, count) float64: minus the logarithm of spacings of 31-bit uniform numbers, up to a common constant."""
    each = 4 if classes == 2 else 2
    blocks = np.arange(-(-count // each))
    words = philox4x32(blocks, int(key[1]), int(key[0])).astype(np.int64) >> 1
    drawn = np.sort(words.reshape(-1, classes - 1)[:count], 1)
    edges = np.concatenate([np.zeros((count, 1)), drawn, np.full((count, 1), 0x7FFFFFFF)], 1)
    return torch.from_numpy(-np.log(np.diff(edges, axis=1) + 0.5).T.copy())
