"""Which way the gated fusion takes on CUDA: one kernel, or two library products and a pass over their results.

Each way is modelled as the time that its kernels take to start and what follows at a rate. The constants were measured
on an H200 (torch 2.11, CUDA 13), by graph replay: one kernel wins where starts dominate, cuBLAS has 3.6 times its rate
in half precision. On other devices the rates differ more than their ratios.
"""

from __future__ import annotations

from typing import NamedTuple

import torch


class Rates(NamedTuple):
    """Seconds to start, multiplications and additions in a second."""

    kernel_start: float
    kernel: float
    product_start: float
    product: float


# One kernel at 196 and 98,304 pixels of 320 channels in bfloat16 took 6.6 and 278 µs, cuBLAS 3.4 and 39.9 µs for a
# product of 1,536 and 98,304; in TF32 36 µs at 8,160 of 192, and 8.3 and 129 µs.
HALF = Rates(6.6e-6, 148e12, 2.8e-6, 540e12)
TF32 = Rates(6.6e-6, 40e12, 6.4e-6, 164e12)
# Not measured: three products of TF32 instead of one, and four fifths of the card's float32 units.
FLOAT32 = Rates(6.6e-6, 13e12, 6.4e-6, 50e12)
_PASS_START, _BYTES = 2e-6, 4.1e12  # 46 µs for 189 MB

LAUNCHES = 8e-6
"""Seconds that two more launches take the host: what the device must save, unless a graph replays them."""


def seconds_saved(
    dtype: torch.dtype, tf32: bool, pixels: int, channels: int, channels_y: int, channels_s: int, save: bool
) -> float:
    """How much sooner the device is done with two products and a pass, for `pixels` of all pictures."""
    rates = HALF if dtype.itemsize == 2 else TF32 if tf32 else FLOAT32
    work = 2.0 * pixels * channels * (channels_y + channels_s)
    moved = (4 if save else 3) * pixels * channels * dtype.itemsize
    apart = 2 * rates.product_start + work / rates.product + _PASS_START + moved / _BYTES
    return rates.kernel_start + work / rates.kernel - apart
