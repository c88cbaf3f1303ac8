"""Calls of deform_conv2d for its tests: geometries, and tensors that are the same on every machine."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

GOLDEN = Path(__file__).with_name("deform_conv2d_golden.npz")
NAMES = ("input", "offset", "weight", "bias", "mask")


@dataclass(frozen=True)
class Case:
    batch: int = 2
    channels: int = 6
    size: tuple[int, int] = (6, 7)
    out_channels: int = 4
    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    offset_groups: int = 1
    bias: bool = True
    mask: bool = True
    reach: float = 2.0  # offsets lie in [-reach, reach)
    whole: bool = False  # offsets are whole numbers
    seed: int = 0

    @property
    def geometry(self) -> dict[str, tuple[int, int]]:
        return {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}

    @property
    def out(self) -> tuple[int, int]:
        values = zip(self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((size + 2 * p - d * (k - 1) - 1) // s + 1 for size, k, s, p, d in values)
        return height, width

    def tensors(self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64) -> list[Tensor | None]:
        """input, offset, weight, bias, mask. Exact in float32, and so are the coordinates: samples lie on the same side
        of a pixel in float32 as in float64."""
        generator = np.random.PCG64(self.seed)  # `random_raw` is the same in every version of NumPy

        def uniform(*shape: int) -> Tensor:
            words = np.asarray(generator.random_raw(int(np.prod(shape))), np.uint64).reshape(shape)
            return torch.from_numpy((words >> np.uint64(52)).astype(np.float64) / 2048 - 1 + 1 / 4096)

        taps = self.kernel[0] * self.kernel[1]
        offset = uniform(self.batch, 2 * self.offset_groups * taps, *self.out) * self.reach
        per_group = self.channels // self.groups
        tensors: list[Tensor | None] = [
            uniform(self.batch, self.channels, *self.size),
            offset.round() if self.whole else offset,
            uniform(self.out_channels, per_group, *self.kernel) * max(1, per_group * taps) ** -0.5,
            uniform(self.out_channels) if self.bias else None,
            uniform(self.batch, self.offset_groups * taps, *self.out) / 2 + 0.5 if self.mask else None,
        ]
        return [None if t is None else t.to(device, dtype) for t in tensors]


def random_cases(count: int, seed: int, most: int = 3) -> Iterator[Case]:
    """Cases with up to `most` channels a group and offset group, and a few pixels."""
    rng = random.Random(seed)

    def pair(low: int, high: int) -> tuple[int, int]:
        return rng.randint(low, high), rng.randint(low, high)

    while count:
        groups, offset_groups = rng.choice([1, 1, 2, 3]), rng.choice([1, 1, 2, 3])
        case = Case(
            batch=rng.randint(1, 3),
            channels=groups * offset_groups * rng.randint(1, most),
            size=pair(1, 8),
            out_channels=groups * rng.randint(1, most),
            kernel=pair(1, 4),
            stride=pair(1, 3),
            padding=pair(0, 3),
            dilation=pair(1, 3),
            groups=groups,
            offset_groups=offset_groups,
            bias=rng.random() < 0.5,
            mask=rng.random() < 0.7,
            reach=rng.choice([0.5, 2.0, 8.0]),
            whole=rng.random() < 0.25,
            seed=rng.randrange(2**31),
        )
        if min(case.out) >= 1:
            count -= 1
            yield case


def golden_cases() -> list[Case]:
    return [replace(case, batch=min(case.batch, 2)) for case in random_cases(24, seed=2026, most=2)]
